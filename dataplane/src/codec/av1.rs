//! What can be told of AV1 without a dependency descriptor: whether a packet starts a coded video
//! sequence (RTP Payload Format for AV1, section 4.4).
//!
//! ```text
//! │Z│Y│ W │N│-│-│-│   aggregation header
//! ```

use super::Reader;
use crate::wire::Malformed;

/// The first OBU goes on from the packet before.
const CONTINUES: u8 = 0x80;

/// The packet starts a new coded video sequence.
const NEW_SEQUENCE: u8 = 0x08;

/// `obu_type` of a sequence header (AV1 section 6.2.2).
const OBU_SEQUENCE_HEADER: u8 = 1;

/// Most bytes of a LEB128 number that counts bytes of a packet (AV1 section 4.10.5 allows eight).
const LEB128_MAX: usize = 8;

/// Whether the payload begins a coded video sequence, with which decoding can begin. N alone is not believed:
/// the first OBU must be a sequence header that starts here.
///
/// # Errors
/// [`Malformed::Truncated`] when the payload ends before its first OBU's header, [`Malformed::Value`]
/// for a length that is none.
pub fn starts_sequence(payload: &[u8]) -> Result<bool, Malformed> {
    let mut reader = Reader::new(payload);
    let aggregation = reader.u8()?;
    // W counts the elements; the last of them has no length. With W = 0 all have one.
    if aggregation >> 4 & 0x03 != 1 {
        skip_leb128(&mut reader)?;
    }
    let header = reader.u8()?;
    let starts = aggregation & (CONTINUES | NEW_SEQUENCE) == NEW_SEQUENCE;
    Ok(starts && header >> 3 & 0x0f == OBU_SEQUENCE_HEADER)
}

fn skip_leb128(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    for _ in 0..LEB128_MAX {
        if reader.u8()? & 0x80 == 0 {
            return Ok(());
        }
    }
    Err(Malformed::Value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sequence_header_that_starts_here() {
        // N, two elements: a sequence header of ten bytes, then the frame.
        assert_eq!(starts_sequence(&[0x28, 10, 0x08, 0, 0]), Ok(true));
        // One element without a length.
        assert_eq!(starts_sequence(&[0x18, 0x08, 0, 0]), Ok(true));
    }

    #[test]
    fn nothing_else() {
        assert_eq!(starts_sequence(&[0x10, 0x30, 0]), Ok(false), "a frame");
        assert_eq!(starts_sequence(&[0x18, 0x30, 0]), Ok(false), "N before a frame");
        assert_eq!(starts_sequence(&[0x98, 0x08, 0]), Ok(false), "a fragment");
        assert_eq!(starts_sequence(&[0x18]), Err(Malformed::Truncated));
        assert_eq!(starts_sequence(&[0x28, 0x80]), Err(Malformed::Truncated));
        assert_eq!(
            starts_sequence(&[0x28, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 8]),
            Err(Malformed::Value)
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(payload in prop::collection::vec(any::<u8>(), 0..40)) {
            if starts_sequence(&payload) == Ok(true) {
                prop_assert!(payload[0] & 0x88 == 0x08);
            }
        }
    }
}
