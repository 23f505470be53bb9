//! Sealing what we send. The caller counts RTP indices in a `u64` per SSRC and brings that SSRC's
//! [`EgressGuard`]; the SRTCP index is counted here, once for the whole session, which makes it
//! unique for every SSRC without a table.

use std::fmt;

use super::cipher::{Cipher, RTCP_CLEAR, word};
use super::{EgressGuard, MasterKey};

/// RFC 3711 section 9.2: at most 2^48 RTP packets under one key.
const RTP_INDEX_END: u64 = 1 << 48;

/// RFC 3711 section 9.2: at most 2^31 RTCP packets under one key.
const RTCP_INDEX_END: u32 = 1 << 31;

/// Why a packet was not sealed. It must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealError {
    /// The lengths don't fit together, or the buffer has no room for tag and word.
    NoRoom,
    /// The index's low 16 bits are not the sequence number in the header.
    WrongIndex,
    /// The index was sealed before: a bug of whoever counts it.
    Reused,
    /// The key has sealed all the packets it may.
    Exhausted,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoom => "no room for the tag",
            Self::WrongIndex => "index and sequence number disagree",
            Self::Reused => "index was used before",
            Self::Exhausted => "key is used up",
        })
    }
}

impl std::error::Error for SealError {}

/// Seals one session's packets.
pub struct Outbound {
    cipher: Cipher,
    next_rtcp: u32,
}

impl Outbound {
    /// A session's sending side; `key` is the DTLS server's when we are the server.
    #[must_use]
    pub fn new(key: &MasterKey) -> Self {
        Self {
            cipher: Cipher::new(key),
            next_rtcp: 1,
        }
    }

    /// Fetches the keys of [`Self::seal_rtp`].
    pub fn prefetch(&self) {
        self.cipher.prefetch();
    }

    /// Bytes that [`Self::seal_rtp`] adds.
    #[must_use]
    pub const fn rtp_overhead(&self) -> usize {
        self.cipher.rtp_overhead()
    }

    /// Bytes that [`Self::seal_rtcp`] adds.
    #[must_use]
    pub const fn rtcp_overhead(&self) -> usize {
        self.cipher.rtcp_overhead()
    }

    /// Seals the RTP packet in `buf[..plain_len]`, whose header takes `header_len` bytes, under
    /// `index` (rollover counter and sequence number), and gives its sealed length. `buf` has
    /// [`Self::rtp_overhead`] bytes of room after the packet.
    ///
    /// # Errors
    /// [`SealError`]; the packet is untouched then.
    #[inline]
    pub fn seal_rtp(
        &self,
        guard: &mut EgressGuard,
        buf: &mut [u8],
        header_len: usize,
        plain_len: usize,
        index: u64,
    ) -> Result<usize, SealError> {
        if header_len < 12 || plain_len < header_len {
            return Err(SealError::NoRoom);
        }
        let sealed_len = plain_len + self.cipher.rtp_overhead();
        let packet = buf.get_mut(..sealed_len).ok_or(SealError::NoRoom)?;
        if u16::from_be_bytes([packet[2], packet[3]]) != index as u16 {
            return Err(SealError::WrongIndex);
        }
        if index >= RTP_INDEX_END {
            return Err(SealError::Exhausted);
        }
        guard.take(index).map_err(|_| SealError::Reused)?;
        let ssrc = word(packet, 8);
        self.cipher.seal_rtp(packet, header_len, ssrc, index);
        Ok(sealed_len)
    }

    /// Seals the compound RTCP packet in `buf[..plain_len]` and gives its sealed length. `buf` has
    /// [`Self::rtcp_overhead`] bytes of room after the packet.
    ///
    /// # Errors
    /// [`SealError`]; the packet is untouched then.
    pub fn seal_rtcp(&mut self, buf: &mut [u8], plain_len: usize) -> Result<usize, SealError> {
        if plain_len < RTCP_CLEAR {
            return Err(SealError::NoRoom);
        }
        let sealed_len = plain_len + self.cipher.rtcp_overhead();
        let packet = buf.get_mut(..sealed_len).ok_or(SealError::NoRoom)?;
        if self.next_rtcp == RTCP_INDEX_END {
            return Err(SealError::Exhausted);
        }
        let ssrc = word(packet, 4);
        self.cipher.seal_rtcp(packet, ssrc, self.next_rtcp);
        self.next_rtcp += 1;
        Ok(sealed_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::Profile;

    fn outbound(profile: Profile) -> Outbound {
        let key = MasterKey::new(
            profile,
            &[1; 32][..profile.key_len()],
            &[2; 14][..profile.salt_len()],
        )
        .unwrap();
        Outbound::new(&key)
    }

    fn packet(sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.resize(12 + 20 + 16, 0);
        packet
    }

    #[test]
    fn an_index_is_sealed_once() {
        for profile in Profile::ALL {
            let outbound = outbound(profile);
            let mut guard = EgressGuard::new();
            let mut seal =
                |index: u64| outbound.seal_rtp(&mut guard, &mut packet(index as u16), 12, 32, index);
            assert_eq!(seal(5), Ok(32 + profile.rtp_overhead()));
            assert_eq!(seal(5), Err(SealError::Reused));
            assert_eq!(seal(0x1_0005), Ok(32 + profile.rtp_overhead()));
        }
    }

    #[test]
    fn what_does_not_fit_together() {
        let outbound = outbound(Profile::AeadAes128Gcm);
        let mut guard = EgressGuard::new();
        let mut seal =
            |header, plain, index| outbound.seal_rtp(&mut guard, &mut packet(7), header, plain, index);
        assert_eq!(seal(11, 32, 7), Err(SealError::NoRoom));
        assert_eq!(seal(33, 32, 7), Err(SealError::NoRoom));
        assert_eq!(seal(12, 33, 7), Err(SealError::NoRoom));
        assert_eq!(seal(12, 32, 8), Err(SealError::WrongIndex));
        assert_eq!(seal(12, 32, (1 << 48) | 7), Err(SealError::Exhausted));
        assert_eq!(seal(12, 32, 7), Ok(48));
    }

    #[test]
    fn the_last_rtcp_index() {
        let mut outbound = outbound(Profile::AesCm128HmacSha1_80);
        outbound.next_rtcp = RTCP_INDEX_END - 1;
        let mut buf = [0; 64];
        assert!(outbound.seal_rtcp(&mut buf, 8).is_ok());
        assert_eq!(outbound.seal_rtcp(&mut buf, 8), Err(SealError::Exhausted));
        assert_eq!(outbound.seal_rtcp(&mut buf, 7), Err(SealError::NoRoom));
    }
}
