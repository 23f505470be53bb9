//! Checked views over received bytes, and writers of the same formats. No state, no allocation.
//!
//! A view is built once, by `parse`, which proves every length it will use; what it hands out
//! afterwards can't fail. What a peer wrote wrong comes back as [`Malformed`]. Writers fill a
//! caller's buffer and give `None` when the message does not fit. [`framing`] alone keeps bytes: a
//! stream hands over its messages in pieces.

pub mod demux;
pub mod framing;
pub mod rtcp;
pub mod rtp;
pub mod rtp_ext;
pub mod stun;

mod crc32;
mod writer;

use thiserror::Error;

/// Why bytes are not the message they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Malformed {
    /// Fewer bytes than the format's fixed part, or than a length inside it promises.
    #[error("shorter than the message promises")]
    Truncated,
    /// Fixed bits are not those of this protocol: version, magic cookie, leading zeros.
    #[error("not of this protocol or version")]
    Version,
    /// A length field contradicts the datagram or its own rules.
    #[error("length field contradicts the message")]
    Length,
    /// The padding count is zero or covers more than the payload.
    #[error("impossible padding")]
    Padding,
    /// A field holds a value its format forbids.
    #[error("forbidden value")]
    Value,
    /// The STUN FINGERPRINT is not that of the message.
    #[error("fingerprint does not match")]
    Fingerprint,
}

/// The big-endian 16 bits at `at`.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let chunk = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*chunk))
}

/// The big-endian 32 bits at `at`.
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let chunk = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*chunk))
}

/// The big-endian 64 bits at `at`.
fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_be_bytes(*chunk))
}
