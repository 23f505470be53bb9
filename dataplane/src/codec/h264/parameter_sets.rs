//! The newest parameter sets of a stream, for receivers that join at a key frame without them.
//!
//! Some encoders send their sets once, or in packets that a new receiver missed; without them a key
//! frame can't be decoded (RFC 6184 section 8.4).

use super::{NAL_PPS, NAL_SPS, STAP_A, TYPE_MASK, nal_starts};

/// Longest set kept; larger ones don't occur in what browsers and cameras send.
const SET_MAX: usize = 256;

/// Longest payload that [`ParameterSets::write`] makes.
pub const WRITTEN_MAX: usize = 1 + 2 * (2 + SET_MAX);

/// The newest set of each kind.
#[derive(Debug, Clone)]
pub struct ParameterSets {
    sequence: Set,
    picture: Set,
}

#[derive(Debug, Clone)]
struct Set {
    bytes: [u8; SET_MAX],
    len: u16,
}

impl Set {
    const EMPTY: Self = Self {
        bytes: [0; SET_MAX],
        len: 0,
    };

    fn keep(&mut self, nal: &[u8]) {
        if let Some(room) = self.bytes.get_mut(..nal.len()) {
            room.copy_from_slice(nal);
            self.len = nal.len() as u16;
        }
    }

    fn nal(&self) -> Option<&[u8]> {
        self.bytes
            .get(..usize::from(self.len))
            .filter(|nal| !nal.is_empty())
    }
}

impl Default for ParameterSets {
    fn default() -> Self {
        Self {
            sequence: Set::EMPTY,
            picture: Set::EMPTY,
        }
    }
}

impl ParameterSets {
    /// Takes over the sets of a payload. Returns the sequence parameter set, if there was one.
    pub fn on_payload<'a>(&mut self, payload: &'a [u8]) -> Option<&'a [u8]> {
        let mut found = None;
        for nal in nal_starts(payload).ok()? {
            let nal = nal.ok()?;
            match nal[0] & TYPE_MASK {
                NAL_SPS if whole(payload, nal) => {
                    self.sequence.keep(nal);
                    found = Some(nal);
                }
                NAL_PPS if whole(payload, nal) => self.picture.keep(nal),
                _ => {}
            }
        }
        found
    }

    /// Writes both sets as one aggregation packet (RFC 6184 section 5.7.1) and gives its length; none
    /// while one of them is missing or `buf` is too short.
    #[must_use]
    pub fn write(&self, buf: &mut [u8]) -> Option<usize> {
        let (sequence, picture) = (self.sequence.nal()?, self.picture.nal()?);
        // The aggregate is as important as its parts: the highest nal_ref_idc, no forbidden bit.
        let importance = (sequence[0] & 0x60).max(picture[0] & 0x60);
        *buf.first_mut()? = importance | STAP_A;
        let mut at = 1;
        for nal in [sequence, picture] {
            let len = u16::try_from(nal.len()).ok()?;
            buf.get_mut(at..at + 2)?.copy_from_slice(&len.to_be_bytes());
            buf.get_mut(at + 2..at + 2 + nal.len())?.copy_from_slice(nal);
            at += 2 + nal.len();
        }
        Some(at)
    }
}

/// Whether the unit is complete: the start of a fragment is not.
fn whole(payload: &[u8], nal: &[u8]) -> bool {
    payload.first().is_some_and(|first| first & TYPE_MASK == STAP_A) || payload.len() == nal.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: &[u8] = &[0x67, 0x42, 0xe0, 0x1f, 0xda];
    const PPS: &[u8] = &[0x68, 0xce, 0x06];

    #[test]
    fn sets_from_single_packets_come_back_as_one() {
        let mut sets = ParameterSets::default();
        let mut buf = [0; WRITTEN_MAX];
        assert_eq!(sets.on_payload(SPS), Some(SPS));
        assert_eq!(sets.write(&mut buf), None, "half of it is of no use");
        assert_eq!(sets.on_payload(PPS), None);
        let len = sets.write(&mut buf).expect("both are there");
        let again = &mut ParameterSets::default();
        assert_eq!(again.on_payload(&buf[..len]), Some(SPS));
        assert_eq!(buf[0], 0x78);
        let mut other = [0; WRITTEN_MAX];
        assert_eq!(again.write(&mut other), Some(len));
        assert_eq!(buf, other);
    }

    #[test]
    fn fragments_and_giants_are_not_kept() {
        let mut sets = ParameterSets::default();
        sets.on_payload(PPS);
        sets.on_payload(&[0x7c, 0x87, 1, 2, 3]);
        let mut giant = vec![0x67; SET_MAX + 1];
        sets.on_payload(&giant);
        assert_eq!(sets.write(&mut [0; WRITTEN_MAX]), None);
        giant.truncate(SET_MAX);
        sets.on_payload(&giant);
        assert!(sets.write(&mut [0; WRITTEN_MAX]).is_some());
        assert_eq!(sets.write(&mut [0; 8]), None);
    }
}
