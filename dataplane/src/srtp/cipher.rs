//! One direction's transform: which of the two, chosen once per session.
//!
//! An enum and not a trait object: both are known, and the packet path branches once.

use super::cm::Cm;
use super::gcm::Gcm;
use super::{MasterKey, Profile};
use crate::io::prefetch::prefetch;

/// The tag did not match: forged, damaged or sealed under another key or index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadTag;

/// Bytes of an RTCP packet that stay clear: the first header with the sender's SSRC
/// (RFC 3711 section 3.4).
pub(super) const RTCP_CLEAR: usize = 8;

/// The E bit of the ESRTCP word: the packet is encrypted.
pub(super) const RTCP_ENCRYPTED: u32 = 0x8000_0000;

/// The session keys of one direction. Boxed: which of the two it is, and where its keys are, is then known without
/// looking at them, so that those of whoever is next can be fetched ahead.
pub(super) enum Cipher {
    Gcm(Box<Gcm>),
    Cm(Box<Cm>),
}

impl Cipher {
    pub(super) fn new(master: &MasterKey) -> Self {
        match master.profile() {
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => Self::Gcm(Box::new(Gcm::new(master))),
            Profile::AesCm128HmacSha1_80 => Self::Cm(Box::new(Cm::new(master))),
        }
    }

    /// Fetches the keys that RTP packets are sealed with.
    pub(super) fn prefetch(&self) {
        match self {
            Self::Gcm(gcm) => gcm.prefetch(),
            Self::Cm(cm) => prefetch(&**cm),
        }
    }

    /// Fetches the keys of RTCP.
    pub(super) fn prefetch_rtcp(&self) {
        match self {
            Self::Gcm(gcm) => gcm.prefetch_rtcp(),
            Self::Cm(cm) => prefetch(&**cm),
        }
    }

    /// Bytes added to an RTP packet.
    pub(super) const fn rtp_overhead(&self) -> usize {
        match self {
            Self::Gcm(_) => Profile::AeadAes128Gcm.rtp_overhead(),
            Self::Cm(_) => Profile::AesCm128HmacSha1_80.rtp_overhead(),
        }
    }

    /// Bytes added to an RTCP packet.
    pub(super) const fn rtcp_overhead(&self) -> usize {
        self.rtp_overhead() + 4
    }

    /// Seals `packet`, whose last [`Self::rtp_overhead`] bytes are room for the tag.
    #[inline]
    pub(super) fn seal_rtp(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) {
        match self {
            Self::Gcm(gcm) => gcm.seal_rtp(packet, header_len, ssrc, index),
            Self::Cm(cm) => cm.seal_rtp(packet, header_len, ssrc, index),
        }
    }

    /// Opens `packet` in place and gives its length without the tag. After [`BadTag`] the
    /// payload's bytes are unspecified.
    #[inline]
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, BadTag> {
        match self {
            Self::Gcm(gcm) => gcm.open_rtp(packet, header_len, ssrc, index),
            Self::Cm(cm) => cm.open_rtp(packet, header_len, ssrc, index),
        }
    }

    /// Seals `packet`, whose last [`Self::rtcp_overhead`] bytes are room for tag and ESRTCP word.
    pub(super) fn seal_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) {
        match self {
            Self::Gcm(gcm) => gcm.seal_rtcp(packet, ssrc, index),
            Self::Cm(cm) => cm.seal_rtcp(packet, ssrc, index),
        }
    }

    /// The ESRTCP word of a sealed RTCP packet; the caller checked the length.
    pub(super) fn rtcp_word(&self, packet: &[u8]) -> u32 {
        let at = match self {
            // RFC 7714 section 9.1: the word is the last thing, after the tag.
            Self::Gcm(_) => packet.len() - 4,
            // RFC 3711 section 3.4: the word comes before the tag.
            Self::Cm(_) => packet.len() - self.rtcp_overhead(),
        };
        word(packet, at)
    }

    /// Opens an RTCP packet in place and gives its length without tag and ESRTCP word.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<usize, BadTag> {
        match self {
            Self::Gcm(gcm) => gcm.open_rtcp(packet, ssrc, index),
            Self::Cm(cm) => cm.open_rtcp(packet, ssrc, index),
        }
    }
}

/// The big-endian word at `at`.
pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
