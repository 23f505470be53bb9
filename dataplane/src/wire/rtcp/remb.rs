//! Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03 section 2.2), an application
//! layer feedback message (RFC 4585 section 6.4).

use super::super::Malformed;
use super::{TYPE_PAYLOAD_FEEDBACK, feedback_ssrcs, finish, start};

pub(super) const FORMAT: u8 = 15;

const IDENTIFIER: &[u8; 4] = b"REMB";
const MANTISSA_BITS: u32 = 18;

/// A parsed estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remb<'a> {
    sender_ssrc: u32,
    bitrate: u64,
    ssrcs: &'a [[u8; 4]],
}

/// Whether an application layer message is this one.
pub(super) fn is_remb(body: &[u8]) -> bool {
    body.get(8..).is_some_and(|rest| rest.starts_with(IDENTIFIER))
}

impl<'a> Remb<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let (sender_ssrc, _, rest) = feedback_ssrcs(body)?;
        let (&[_, _, _, _, count, high, middle, low], rest) =
            rest.split_first_chunk().ok_or(Malformed::Truncated)?;
        let ssrcs = rest
            .as_chunks()
            .0
            .get(..usize::from(count))
            .ok_or(Malformed::Truncated)?;
        let mantissa = u64::from(u32::from_be_bytes([0, high & 0x03, middle, low]));
        let exponent = u32::from(high >> 2);
        // An exponent that shifts bits out is no bitrate any link has.
        let bitrate = mantissa << exponent;
        if bitrate >> exponent != mantissa {
            return Err(Malformed::Value);
        }
        Ok(Self {
            sender_ssrc,
            bitrate,
            ssrcs,
        })
    }

    /// Who estimates.
    #[must_use]
    pub fn sender_ssrc(&self) -> u32 {
        self.sender_ssrc
    }

    /// The estimate for all the sources together, in bits per second.
    #[must_use]
    pub fn bitrate(&self) -> u64 {
        self.bitrate
    }

    /// The sources it is for.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.ssrcs.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// Writes an estimate for at most 255 sources and gives the length. The bitrate is rounded down to
/// the 18 bits of the mantissa.
pub fn write(buf: &mut [u8], sender_ssrc: u32, bitrate: u64, ssrcs: &[u32]) -> Option<usize> {
    let exponent = (u64::BITS - bitrate.leading_zeros()).saturating_sub(MANTISSA_BITS);
    // 6 bits of exponent (at most 46) above 18 bits of mantissa.
    let packed = exponent << MANTISSA_BITS | (bitrate >> exponent) as u32;
    let mut out = start(buf, TYPE_PAYLOAD_FEEDBACK, usize::from(FORMAT))?;
    out.u32(sender_ssrc)?;
    out.u32(0)?;
    out.bytes(IDENTIFIER)?;
    out.u8(u8::try_from(ssrcs.len()).ok()?)?;
    out.u24(packed)?;
    for ssrc in ssrcs {
        out.u32(*ssrc)?;
    }
    finish(out)
}
