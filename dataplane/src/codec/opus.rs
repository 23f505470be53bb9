//! The first byte of an Opus packet (RFC 6716 section 3.1): how long its sound lasts, and whether
//! there is any.

use std::time::Duration;

use crate::wire::Malformed;

/// RTP clock rate of Opus, whatever it codes (RFC 7587 section 4.1).
pub const CLOCK_RATE: u32 = 48_000;

/// RFC 6716 section 3.4, R5: a packet holds at most 120 ms.
const DURATION_MAX: u32 = CLOCK_RATE / 1000 * 120;

/// What the table of contents says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Mode, bandwidth and frame length, 0 to 31.
    pub config: u8,
    /// Two channels.
    pub stereo: bool,
    /// Frames in the packet.
    pub frames: u8,
    /// Length of the sound in ticks of the RTP clock.
    pub ticks: u32,
    /// No frame carries anything: the encoder says silence (RFC 6716 section 3.1, DTX).
    pub silent: bool,
}

impl Packet {
    /// Parses a payload.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] for an empty payload or a missing frame count, [`Malformed::Value`] for
    /// a packet of no frames or more than 120 ms.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let (&toc, rest) = payload.split_first().ok_or(Malformed::Truncated)?;
        let config = toc >> 3;
        // RFC 6716 section 3.2: codes 0 to 2 have a fixed count, code 3 has a byte for it.
        let (frames, data) = match toc & 0x03 {
            0 => (1, rest),
            1 | 2 => (2, rest),
            _ => match rest.split_first() {
                Some((count, data)) => (count & 0x3f, data),
                None => return Err(Malformed::Truncated),
            },
        };
        let ticks = u32::from(frames) * frame_ticks(config);
        if frames == 0 || ticks > DURATION_MAX {
            return Err(Malformed::Value);
        }
        Ok(Self {
            config,
            stereo: toc & 0x04 != 0,
            frames,
            ticks,
            // A frame of at most one byte is DTX; with one frame the length says it.
            silent: frames == 1 && data.len() <= 1,
        })
    }

    /// Length of the sound.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_micros(u64::from(self.ticks) * 1_000_000 / u64::from(CLOCK_RATE))
    }
}

/// RFC 6716 table 2: ticks of one frame by configuration.
fn frame_ticks(config: u8) -> u32 {
    let index = usize::from(config & 0x03);
    match config {
        // SILK: 10, 20, 40, 60 ms.
        0..=11 => [480, 960, 1920, 2880][index],
        // Hybrid: 10, 20 ms.
        12..=15 => [480, 960][index & 1],
        // CELT: 2.5, 5, 10, 20 ms.
        _ => [120, 240, 480, 960][index],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_browsers_send() {
        // Fullband CELT, 20 ms, mono, one frame.
        let packet = Packet::parse(&[0xf8, 1, 2, 3]).expect("well-formed");
        assert_eq!((packet.frames, packet.ticks, packet.stereo), (1, 960, false));
        assert_eq!(packet.duration(), Duration::from_millis(20));
        assert!(!packet.silent);
        let silence = Packet::parse(&[0xf8, 0xff]).expect("well-formed");
        assert!(silence.silent);
        assert!(Packet::parse(&[0xf8]).expect("well-formed").silent);
        // Hybrid, 20 ms, stereo.
        let packet = Packet::parse(&[0x7c, 1, 2]).expect("well-formed");
        assert_eq!((packet.config, packet.stereo, packet.ticks), (15, true, 960));
    }

    #[test]
    fn all_frame_lengths() {
        let ticks = |config: u8| Packet::parse(&[config << 3, 1, 2]).expect("well-formed").ticks;
        assert_eq!([0, 1, 2, 3].map(ticks), [480, 960, 1920, 2880]);
        assert_eq!([8, 9, 10, 11].map(ticks), [480, 960, 1920, 2880]);
        assert_eq!([12, 13, 14, 15].map(ticks), [480, 960, 480, 960]);
        assert_eq!([16, 17, 18, 19].map(ticks), [120, 240, 480, 960]);
        assert_eq!([28, 29, 30, 31].map(ticks), [120, 240, 480, 960]);
    }

    #[test]
    fn frame_counts() {
        let packet = Packet::parse(&[0xf9, 1, 2]).expect("well-formed");
        assert_eq!((packet.frames, packet.ticks), (2, 1920));
        let packet = Packet::parse(&[0xfb, 6, 1, 2]).expect("well-formed");
        assert_eq!((packet.frames, packet.ticks), (6, 5760));
        assert_eq!(Packet::parse(&[0xfb, 7, 1]), Err(Malformed::Value));
        assert_eq!(Packet::parse(&[0xfb, 0, 1]), Err(Malformed::Value));
        assert_eq!(Packet::parse(&[0xfb]), Err(Malformed::Truncated));
        assert_eq!(Packet::parse(&[]), Err(Malformed::Truncated));
        // 60 ms twice is the most.
        assert!(Packet::parse(&[0x19, 1, 2]).is_ok());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..16)) {
            if let Ok(packet) = Packet::parse(&payload) {
                prop_assert!(packet.ticks <= DURATION_MAX && packet.frames > 0);
            }
        }
    }
}
