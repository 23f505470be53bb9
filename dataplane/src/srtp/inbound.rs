//! Opening what the peer sent, and what is remembered of it: per SSRC a replay window, whose top
//! is also the packet index that rollover is counted from.
//!
//! Each packet goes through the same order: length, index, replay, tag, and only then the commit.
//! A stream comes into being with its first authenticated packet and stays until the session ends:
//! forgetting one would forget which of its packets were seen, and a recorded packet could be
//! played again. So there is a cap, and past it new SSRCs are refused while known ones go on.

use super::MasterKey;
use super::cipher::{Cipher, RTCP_CLEAR, RTCP_ENCRYPTED, word};
use super::replay::Window;
use super::roc::estimate;
use crate::wire::rtp;

/// SSRCs that one peer may use in a session, RTP and RTCP counted apart. A camera with three
/// layers and RTX takes six; the rest is for tracks that come and go in a day-long call. A window
/// is 136 bytes, so a hostile peer holds at most 36 kB.
const STREAMS_MAX: usize = 256;

/// Longest first packet of a stream that is tried under a second index, in bytes: any datagram
/// that fits a path, with room.
const RETRY_MAX: usize = 2048;

/// 1024 packets of replay window: what a video stream sends in about half a second at its busiest.
type RtpWindow = Window<16>;

/// RTCP is rare: 128 packets.
type RtcpWindow = Window<2>;

/// An opened RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Bytes of header and plain payload: the tag is cut off.
    pub len: usize,
    /// Bytes of the header, with CSRCs and extension.
    pub header_len: usize,
    /// The packet's 48-bit index: rollover counter and sequence number (RFC 3711 section 3.3.1).
    pub index: u64,
}

/// Why a packet was refused. The packet is to be dropped and counted; nothing was remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Shorter than its header and tag, or not RTP or RTCP at all.
    Short,
    /// Seen before, or older than the replay window.
    Replay,
    /// The tag did not match.
    Auth,
    /// SRTCP without encryption, which no profile here allows.
    Clear,
    /// Authentic, but of one SSRC more than a session may have.
    TooManyStreams,
}

/// Opens one peer's packets.
pub struct Inbound {
    cipher: Cipher,
    rtp: Streams<RtpWindow>,
    rtcp: Streams<RtcpWindow>,
}

impl Inbound {
    /// A session's receiving side; `key` is the DTLS client's when we are the server.
    #[must_use]
    pub fn new(key: &MasterKey) -> Self {
        Self {
            cipher: Cipher::new(key),
            rtp: Streams::new(),
            rtcp: Streams::new(),
        }
    }

    /// Fetches the keys of RTCP, and those of RTP from a peer that publishes.
    pub fn prefetch(&self, publishes: bool) {
        self.cipher.prefetch_rtcp();
        if publishes {
            self.cipher.prefetch();
        }
    }

    /// Opens an RTP packet in place. After a refusal the payload's bytes are unspecified.
    ///
    /// # Errors
    /// [`Refused`] says why; nothing has changed then.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<Opened, Refused> {
        let header_len = rtp::header_len(packet).ok_or(Refused::Short)?;
        if packet.len() < header_len + self.cipher.rtp_overhead() {
            return Err(Refused::Short);
        }
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = word(packet, 8);

        let Some(window) = self.rtp.find(ssrc) else {
            return self.open_first_rtp(packet, header_len, ssrc, sequence);
        };
        let index = estimate(window.highest().unwrap_or(0), sequence).ok_or(Refused::Replay)?;
        if !window.is_fresh(index) {
            return Err(Refused::Replay);
        }
        let len = self
            .cipher
            .open_rtp(packet, header_len, ssrc, index)
            .map_err(|_| Refused::Auth)?;
        window.mark(index);
        Ok(Opened {
            len,
            header_len,
            index,
        })
    }

    /// The first packet that we see of an SSRC has rollover counter 0, unless the stream started
    /// close below 2^16 and its first packets were lost: then the counter is already 1. A packet
    /// in the lower half of the cycle is tried under both, the second time from a copy, because a
    /// failed attempt destroys the ciphertext.
    #[cold]
    fn open_first_rtp(
        &mut self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        sequence: u16,
    ) -> Result<Opened, Refused> {
        let mut index = u64::from(sequence);
        let mut copy = [0; RETRY_MAX];
        let mut copy = copy.get_mut(..packet.len()).filter(|_| sequence < 0x8000);
        if let Some(copy) = &mut copy {
            copy.copy_from_slice(packet);
        }
        let mut opened = self.cipher.open_rtp(packet, header_len, ssrc, index);
        if opened.is_err()
            && let Some(copy) = copy
        {
            index |= 1 << 16;
            packet.copy_from_slice(copy);
            opened = self.cipher.open_rtp(packet, header_len, ssrc, index);
        }
        let len = opened.map_err(|_| Refused::Auth)?;
        self.rtp.create(ssrc)?.mark(index);
        Ok(Opened {
            len,
            header_len,
            index,
        })
    }

    /// Opens a compound RTCP packet in place and gives its plain length.
    ///
    /// # Errors
    /// [`Refused`] says why; nothing has changed then.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Refused> {
        if packet.len() < RTCP_CLEAR + self.cipher.rtcp_overhead() {
            return Err(Refused::Short);
        }
        let ssrc = word(packet, 4);
        let esrtcp = self.cipher.rtcp_word(packet);
        if esrtcp & RTCP_ENCRYPTED == 0 {
            return Err(Refused::Clear);
        }
        let index = esrtcp & !RTCP_ENCRYPTED;

        // The index counts per sending SSRC, so its window does too (RFC 3711 section 3.2.3).
        if let Some(window) = self.rtcp.find(ssrc)
            && !window.is_fresh(index.into())
        {
            return Err(Refused::Replay);
        }
        let len = self
            .cipher
            .open_rtcp(packet, ssrc, index)
            .map_err(|_| Refused::Auth)?;
        self.rtcp.get_or_create(ssrc)?.mark(index.into());
        Ok(len)
    }

    /// SSRCs whose RTP was authenticated so far.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.rtp.ssrcs.len()
    }
}

/// Windows by SSRC. The SSRCs lie together, so that finding one among a few is a scan of a cache
/// line or two.
struct Streams<W> {
    ssrcs: Vec<u32>,
    windows: Vec<W>,
}

impl<const WORDS: usize> Streams<Window<WORDS>> {
    const fn new() -> Self {
        Self {
            ssrcs: Vec::new(),
            windows: Vec::new(),
        }
    }

    fn find(&mut self, ssrc: u32) -> Option<&mut Window<WORDS>> {
        let at = self.ssrcs.iter().position(|&known| known == ssrc)?;
        Some(&mut self.windows[at])
    }

    fn create(&mut self, ssrc: u32) -> Result<&mut Window<WORDS>, Refused> {
        if self.ssrcs.len() == STREAMS_MAX {
            return Err(Refused::TooManyStreams);
        }
        self.ssrcs.push(ssrc);
        self.windows.push(Window::new());
        let last = self.windows.len() - 1;
        Ok(&mut self.windows[last])
    }

    fn get_or_create(&mut self, ssrc: u32) -> Result<&mut Window<WORDS>, Refused> {
        match self.ssrcs.iter().position(|&known| known == ssrc) {
            Some(at) => Ok(&mut self.windows[at]),
            None => self.create(ssrc),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::{EgressGuard, Outbound, Profile};

    fn key(profile: Profile) -> MasterKey {
        MasterKey::new(
            profile,
            &[3; 32][..profile.key_len()],
            &[7; 14][..profile.salt_len()],
        )
        .unwrap()
    }

    fn sealed(profile: Profile, ssrc: u32, index: u64) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend_from_slice(&(index as u16).to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 1]);
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet.extend_from_slice(b"payload");
        let plain_len = packet.len();
        packet.resize(plain_len + profile.rtp_overhead(), 0);
        Outbound::new(&key(profile))
            .seal_rtp(&mut EgressGuard::new(), &mut packet, 12, plain_len, index)
            .unwrap();
        packet
    }

    #[test]
    fn a_replay_is_refused_and_a_late_packet_is_not() {
        for profile in Profile::ALL {
            let mut inbound = Inbound::new(&key(profile));
            for index in [10, 12, 11] {
                let opened = inbound.unprotect_rtp(&mut sealed(profile, 1, index));
                assert_eq!(opened.map(|opened| opened.index), Ok(index));
            }
            for index in [10, 11, 12] {
                let refused = inbound.unprotect_rtp(&mut sealed(profile, 1, index));
                assert_eq!(refused, Err(Refused::Replay));
            }
        }
    }

    #[test]
    fn a_forged_packet_leaves_no_state() {
        for profile in Profile::ALL {
            let mut inbound = Inbound::new(&key(profile));
            let mut forged = sealed(profile, 9, 5);
            *forged.last_mut().unwrap() ^= 1;
            assert_eq!(inbound.unprotect_rtp(&mut forged), Err(Refused::Auth));
            assert_eq!(inbound.streams(), 0);

            // A forged jump must not move the rollover counter of a stream that exists.
            inbound.unprotect_rtp(&mut sealed(profile, 9, 5)).unwrap();
            let mut forged = sealed(profile, 9, 0x7000);
            forged[14] ^= 1;
            assert_eq!(inbound.unprotect_rtp(&mut forged), Err(Refused::Auth));
            assert_eq!(
                inbound
                    .unprotect_rtp(&mut sealed(profile, 9, 6))
                    .map(|opened| opened.index),
                Ok(6)
            );
        }
    }

    #[test]
    fn a_stream_whose_first_packets_were_lost_over_the_wrap() {
        for profile in Profile::ALL {
            let mut inbound = Inbound::new(&key(profile));
            let opened = inbound.unprotect_rtp(&mut sealed(profile, 1, 0x1_0003));
            assert_eq!(opened.map(|opened| opened.index), Ok(0x1_0003));
            // A straggler from before the wrap.
            let opened = inbound.unprotect_rtp(&mut sealed(profile, 1, 0xfffe));
            assert_eq!(opened.map(|opened| opened.index), Ok(0xfffe));
        }
    }

    #[test]
    fn rollover_is_counted_per_stream() {
        let profile = Profile::AeadAes128Gcm;
        let mut inbound = Inbound::new(&key(profile));
        for index in (0..0x5_0000).step_by(0x4000) {
            inbound.unprotect_rtp(&mut sealed(profile, 1, index)).unwrap();
        }
        let opened = inbound.unprotect_rtp(&mut sealed(profile, 2, 0xfff0));
        assert_eq!(opened.map(|opened| opened.index), Ok(0xfff0));
    }

    #[test]
    fn one_stream_too_many() {
        let profile = Profile::AeadAes128Gcm;
        let mut inbound = Inbound::new(&key(profile));
        for ssrc in 0..STREAMS_MAX as u32 {
            inbound.unprotect_rtp(&mut sealed(profile, ssrc, 1)).unwrap();
        }
        let refused = inbound.unprotect_rtp(&mut sealed(profile, 9999, 1));
        assert_eq!(refused, Err(Refused::TooManyStreams));
        assert!(inbound.unprotect_rtp(&mut sealed(profile, 0, 2)).is_ok());
    }

    #[test]
    fn rtcp_is_replay_checked_per_ssrc() {
        for profile in Profile::ALL {
            let mut outbound = Outbound::new(&key(profile));
            let mut seal = |ssrc: u8| {
                let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, ssrc];
                packet.resize(8 + profile.rtcp_overhead(), 0);
                outbound.seal_rtcp(&mut packet, 8).unwrap();
                packet
            };
            let (first, second) = (seal(1), seal(2));
            let mut inbound = Inbound::new(&key(profile));
            assert_eq!(inbound.unprotect_rtcp(&mut second.clone()), Ok(8));
            assert_eq!(inbound.unprotect_rtcp(&mut first.clone()), Ok(8));
            assert_eq!(inbound.unprotect_rtcp(&mut first.clone()), Err(Refused::Replay));
        }
    }

    #[test]
    fn rtcp_without_encryption_is_refused() {
        for profile in Profile::ALL {
            let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, 1];
            packet.resize(8 + profile.rtcp_overhead(), 0);
            let refused = Inbound::new(&key(profile)).unprotect_rtcp(&mut packet);
            assert_eq!(refused, Err(Refused::Clear));
        }
    }

    #[test]
    fn short_input_is_refused() {
        for profile in Profile::ALL {
            let mut inbound = Inbound::new(&key(profile));
            let whole = sealed(profile, 1, 1);
            for len in 0..12 + profile.rtp_overhead() {
                let refused = inbound.unprotect_rtp(&mut whole[..len].to_vec());
                assert_eq!(refused, Err(Refused::Short), "{len}");
            }
            for len in 0..8 + profile.rtcp_overhead() {
                let refused = inbound.unprotect_rtcp(&mut vec![0x80; len]);
                assert_eq!(refused, Err(Refused::Short), "{len}");
            }
        }
    }
}
