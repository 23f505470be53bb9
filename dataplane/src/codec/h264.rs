//! H.264 payloads (RFC 6184): the NAL units a packet shows, in the three forms that packetization
//! modes 0 and 1 allow: single, STAP-A and FU-A.

pub mod parameter_sets;
pub mod sps;

pub use parameter_sets::ParameterSets;

use crate::wire::Malformed;

/// Slice of an IDR picture (H.264 table 7-1).
pub const NAL_IDR: u8 = 5;
/// Sequence parameter set.
pub const NAL_SPS: u8 = 7;
/// Picture parameter set.
pub const NAL_PPS: u8 = 8;

/// RFC 6184 section 5.7.1.
const STAP_A: u8 = 24;
/// RFC 6184 section 5.8.
const FU_A: u8 = 28;

const TYPE_MASK: u8 = 0x1f;
const FU_START: u8 = 0x80;

/// What a packet's payload shows of the picture it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// A sequence parameter set is in it.
    pub sps: bool,
    /// A picture parameter set is in it.
    pub pps: bool,
    /// A slice of an IDR picture starts in it.
    pub idr: bool,
}

impl Facts {
    /// Whether decoding can begin here. A parameter set is the better sign: an IDR slice alone may
    /// follow parameter sets in earlier packets of the same timestamp.
    #[must_use]
    pub fn is_keyframe_start(&self) -> bool {
        self.sps || self.idr
    }
}

/// Looks at a payload.
///
/// # Errors
/// [`Malformed::Truncated`] when a length points over the end, [`Malformed::Value`] for NAL unit types
/// that packetization modes 0 and 1 don't have, or the forbidden bit.
pub fn inspect(payload: &[u8]) -> Result<Facts, Malformed> {
    let mut facts = Facts::default();
    for nal in nal_starts(payload)? {
        match nal?[0] & TYPE_MASK {
            NAL_SPS => facts.sps = true,
            NAL_PPS => facts.pps = true,
            NAL_IDR => facts.idr = true,
            _ => {}
        }
    }
    Ok(facts)
}

/// Whether the payload starts a picture that decoding can begin with; false for what is malformed.
#[must_use]
pub fn is_keyframe_start(payload: &[u8]) -> bool {
    inspect(payload).is_ok_and(|facts| facts.is_keyframe_start())
}

/// The NAL units whole in a STAP-A, or the one of the packet; none in a later fragment.
fn nal_starts(payload: &[u8]) -> Result<NalStarts<'_>, Malformed> {
    let (&indicator, rest) = payload.split_first().ok_or(Malformed::Truncated)?;
    if indicator & 0x80 != 0 {
        return Err(Malformed::Value);
    }
    match indicator & TYPE_MASK {
        1..=23 => Ok(NalStarts::One(payload)),
        STAP_A if rest.is_empty() => Err(Malformed::Truncated),
        STAP_A => Ok(NalStarts::Aggregated(rest)),
        FU_A => match rest {
            // The fragment's header has the type of the unit it starts.
            [header, _, ..] if header & FU_START != 0 => Ok(NalStarts::One(rest)),
            [_, _, ..] => Ok(NalStarts::One(&[])),
            _ => Err(Malformed::Truncated),
        },
        _ => Err(Malformed::Value),
    }
}

enum NalStarts<'a> {
    One(&'a [u8]),
    Aggregated(&'a [u8]),
}

impl<'a> Iterator for NalStarts<'a> {
    /// Never empty.
    type Item = Result<&'a [u8], Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = match self {
            Self::One([]) | Self::Aggregated([]) => return None,
            Self::One(nal) => return Some(Ok(std::mem::take(nal))),
            Self::Aggregated(rest) => rest,
        };
        let unit = rest.split_first_chunk().and_then(|(len, rest)| {
            let (unit, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            (!unit.is_empty()).then_some((unit, rest))
        });
        match unit {
            Some((unit, after)) => {
                *rest = after;
                Some(Ok(unit))
            }
            None => {
                *rest = &[];
                Some(Err(Malformed::Truncated))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPS: &[u8] = &[0x67, 0x42, 0xe0, 0x1f];
    const PPS: &[u8] = &[0x68, 0xce];
    const IDR: &[u8] = &[0x65, 0x88, 0x84];

    fn stap_a(units: &[&[u8]]) -> Vec<u8> {
        let mut payload = vec![0x78];
        for unit in units {
            payload.extend_from_slice(&u16::try_from(unit.len()).expect("short").to_be_bytes());
            payload.extend_from_slice(unit);
        }
        payload
    }

    #[test]
    fn single_units() {
        assert!(inspect(SPS).expect("well-formed").sps);
        assert!(inspect(IDR).expect("well-formed").idr);
        let pps = inspect(PPS).expect("well-formed");
        assert!(pps.pps && !pps.is_keyframe_start());
        assert_eq!(inspect(&[0x41, 0x9a]), Ok(Facts::default()));
    }

    #[test]
    fn an_aggregate_shows_all_its_units() {
        let facts = inspect(&stap_a(&[SPS, PPS, IDR])).expect("well-formed");
        assert_eq!(
            facts,
            Facts {
                sps: true,
                pps: true,
                idr: true
            }
        );
        assert!(!is_keyframe_start(&stap_a(&[PPS, &[0x41, 0x9a]])));
    }

    #[test]
    fn captured_key_frame() {
        let parameters = inspect(include_bytes!("../../fuzz/seeds/h264/chromium-1")).expect("captured");
        assert!(parameters.sps && parameters.pps && !parameters.idr);
        assert!(is_keyframe_start(include_bytes!(
            "../../fuzz/seeds/h264/chromium-2"
        )));
        assert!(!is_keyframe_start(include_bytes!(
            "../../fuzz/seeds/h264/chromium-3"
        )));
    }

    #[test]
    fn a_fragment_tells_its_unit_only_at_the_start() {
        assert!(is_keyframe_start(&[0x7c, 0x85, 0x88]));
        assert!(!is_keyframe_start(&[0x7c, 0x05, 0x88]));
        assert!(!is_keyframe_start(&[0x7c, 0x45, 0x88]));
        assert!(!is_keyframe_start(&[0x7c, 0x81, 0x88]));
        assert_eq!(inspect(&[0x7c, 0x05, 0x88]), Ok(Facts::default()));
    }

    #[test]
    fn malformed_payloads() {
        assert_eq!(inspect(&[]), Err(Malformed::Truncated));
        assert_eq!(inspect(&[0x78]), Err(Malformed::Truncated));
        assert_eq!(inspect(&[0x78, 0]), Err(Malformed::Truncated));
        assert_eq!(inspect(&[0x78, 0, 0]), Err(Malformed::Truncated));
        assert_eq!(inspect(&[0x78, 0, 9, 0x67]), Err(Malformed::Truncated));
        assert_eq!(inspect(&[0x7c, 0x85]), Err(Malformed::Truncated));
        // Forbidden bit, type 0, STAP-B, a fragment of mode 2.
        for first in [0xe7, 0x60, 0x79, 0x7d] {
            assert_eq!(inspect(&[first, 1, 2, 3]), Err(Malformed::Value));
        }
        // Units before a cut one do not count: the packet is not to be believed.
        let cut = stap_a(&[SPS, PPS]);
        assert!(!is_keyframe_start(&cut[..cut.len() - 1]));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            first in prop_oneof![Just(0x78u8), Just(0x7c), any::<u8>()],
            rest in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = inspect(&[&[first][..], &rest].concat());
        }
    }
}
