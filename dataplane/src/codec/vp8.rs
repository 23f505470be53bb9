//! The VP8 payload descriptor (RFC 7741 section 4.2), and the start of a key frame (RFC 6386
//! section 9.1).
//!
//! ```text
//! │X│R│N│S│R│ PID │   R: reserved
//! │I│L│T│K│  RSV  │   if X
//! │M│ picture id  │   if I; 15 bits if M, else 7
//! │   TL0PICIDX   │   if L
//! │TID│Y│ KEYIDX  │   if T or K
//! ```
//!
//! A forwarded stream must have ids without jumps of its own, so each copy gets a fresh descriptor:
//! [`Descriptor::write`] always writes 15 bits where there was a picture id at all. Overwriting a
//! 7-bit id in place with 15 bits would eat the byte after it.

use super::{FrameSize, PictureId, Reader};
use crate::wire::Malformed;

/// Longest descriptor that [`Descriptor::write`] makes.
pub const DESCRIPTOR_MAX_LEN: usize = 6;

/// Bytes that a written descriptor may be longer than the one received: a 7-bit picture id grows
/// to 15.
pub const DESCRIPTOR_GROWTH_MAX: usize = 1;

const EXTENDED: u8 = 0x80;
const NON_REFERENCE: u8 = 0x20;
const START_OF_PARTITION: u8 = 0x10;
const PARTITION: u8 = 0x0f;

const HAS_PICTURE_ID: u8 = 0x80;
const HAS_TL0_PICTURE_INDEX: u8 = 0x40;
const HAS_TEMPORAL_ID: u8 = 0x20;
const HAS_KEY_INDEX: u8 = 0x10;

const LAYER_SYNC: u8 = 0x20;
const KEY_INDEX: u8 = 0x1f;

/// Frame tag, start code, width and height (RFC 6386 section 9.1).
const KEY_FRAME_HEADER_LEN: usize = 10;
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];

/// A parsed descriptor. Fields a sender leaves out stay out: writing them would promise a structure
/// that the stream does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// No other picture depends on this one.
    pub non_reference: bool,
    /// The payload starts a partition.
    pub start_of_partition: bool,
    /// Partition index; the first one holds the frame's header.
    pub partition: u8,
    /// Counts pictures.
    pub picture_id: Option<PictureId>,
    /// Counts pictures of the lowest temporal layer.
    pub tl0_picture_index: Option<u8>,
    /// Temporal layer, 0 to 3.
    pub temporal_id: Option<u8>,
    /// The picture depends on the lowest layer only, so a receiver may step up here. Meaningless
    /// without `temporal_id`.
    pub layer_sync: bool,
    /// Counts key frames, 5 bits.
    pub key_index: Option<u8>,
    /// Bytes of the descriptor.
    pub header_len: usize,
    key_frame: bool,
    size: Option<FrameSize>,
}

/// Ids of a forwarded picture, in the receiver's numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MappedIds {
    /// Truncated to 15 bits.
    pub picture_id: u16,
    /// Counts pictures of the lowest temporal layer.
    pub tl0_picture_index: u8,
    /// Truncated to 5 bits.
    pub key_index: u8,
}

impl Descriptor {
    /// Parses the start of an RTP payload.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when the payload ends inside the descriptor, or with it.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let first = reader.u8()?;
        let present = if first & EXTENDED == 0 { 0 } else { reader.u8()? };
        let picture_id = match present & HAS_PICTURE_ID {
            0 => None,
            _ => Some(reader.picture_id()?),
        };
        let tl0_picture_index = match present & HAS_TL0_PICTURE_INDEX {
            0 => None,
            _ => Some(reader.u8()?),
        };
        let layers = match present & (HAS_TEMPORAL_ID | HAS_KEY_INDEX) {
            0 => 0,
            _ => reader.u8()?,
        };
        let frame = reader.rest();
        let start_of_partition = first & START_OF_PARTITION != 0;
        let partition = first & PARTITION;
        // RFC 6386 section 9.1: the lowest bit of the frame tag is clear on key frames.
        let tag = *frame.first().ok_or(Malformed::Truncated)?;
        let key_frame = start_of_partition && partition == 0 && tag & 1 == 0;
        Ok(Self {
            non_reference: first & NON_REFERENCE != 0,
            start_of_partition,
            partition,
            picture_id,
            tl0_picture_index,
            temporal_id: (present & HAS_TEMPORAL_ID != 0).then_some(layers >> 6),
            layer_sync: layers & LAYER_SYNC != 0,
            key_index: (present & HAS_KEY_INDEX != 0).then_some(layers & KEY_INDEX),
            header_len: reader.at,
            key_frame,
            size: if key_frame { key_frame_size(frame) } else { None },
        })
    }

    /// Whether the payload starts a picture.
    #[must_use]
    pub fn is_frame_start(&self) -> bool {
        self.start_of_partition && self.partition == 0
    }

    /// Whether the payload starts a key frame.
    #[must_use]
    pub fn is_keyframe(&self) -> bool {
        self.key_frame
    }

    /// Size of the picture; on the start of a key frame only.
    #[must_use]
    pub fn frame_size(&self) -> Option<FrameSize> {
        self.size
    }

    /// Length that [`Self::write`] will give.
    #[must_use]
    pub fn written_len(&self) -> usize {
        let layers = self.temporal_id.is_some() || self.key_index.is_some();
        let optional = 2 * usize::from(self.picture_id.is_some())
            + usize::from(self.tl0_picture_index.is_some())
            + usize::from(layers);
        1 + usize::from(optional > 0) + optional
    }

    /// Writes the descriptor with other ids, the picture id in 15 bits, and gives its length; `None`
    /// when `buf` is shorter than [`Self::written_len`].
    pub fn write(&self, buf: &mut [u8], ids: &MappedIds) -> Option<usize> {
        let len = self.written_len();
        let mut out = buf.get_mut(..len)?.iter_mut();
        let mut put = |byte: u8| {
            if let Some(next) = out.next() {
                *next = byte;
            }
        };
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        put(flag(len > 1, EXTENDED)
            | flag(self.non_reference, NON_REFERENCE)
            | flag(self.start_of_partition, START_OF_PARTITION)
            | self.partition & PARTITION);
        if len > 1 {
            put(flag(self.picture_id.is_some(), HAS_PICTURE_ID)
                | flag(self.tl0_picture_index.is_some(), HAS_TL0_PICTURE_INDEX)
                | flag(self.temporal_id.is_some(), HAS_TEMPORAL_ID)
                | flag(self.key_index.is_some(), HAS_KEY_INDEX));
        }
        if self.picture_id.is_some() {
            let [high, low] = ids.picture_id.to_be_bytes();
            put(0x80 | high);
            put(low);
        }
        if self.tl0_picture_index.is_some() {
            put(ids.tl0_picture_index);
        }
        if self.temporal_id.is_some() || self.key_index.is_some() {
            let key_index = self.key_index.map_or(0, |_| ids.key_index & KEY_INDEX);
            put(self.temporal_id.unwrap_or(0) << 6 | flag(self.layer_sync, LAYER_SYNC) | key_index);
        }
        Some(len)
    }
}

/// Width and height are 14 bits each, little endian, under two bits of scaling that receivers apply.
fn key_frame_size(frame: &[u8]) -> Option<FrameSize> {
    let header = frame.first_chunk::<KEY_FRAME_HEADER_LEN>()?;
    if header[3..6] != START_CODE {
        return None;
    }
    Some(FrameSize {
        width: u16::from_le_bytes([header[6], header[7]]) & 0x3fff,
        height: u16::from_le_bytes([header[8], header[9]]) & 0x3fff,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Frame tag and header of a 640x360 key frame.
    const KEY_FRAME: [u8; 10] = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];

    fn payload(descriptor: &[u8]) -> Vec<u8> {
        [descriptor, &KEY_FRAME].concat()
    }

    #[test]
    fn a_key_frame_of_a_browser() {
        // Chromium: 15-bit picture id, TL0PICIDX, temporal id 0, no key index.
        let payload = payload(&[0x90, 0xe0, 0x93, 0x88, 0x2a, 0x00]);
        let descriptor = Descriptor::parse(&payload).expect("well-formed");
        assert_eq!(descriptor.picture_id, Some(PictureId::Long(0x1388)));
        assert_eq!(descriptor.tl0_picture_index, Some(0x2a));
        assert_eq!(descriptor.temporal_id, Some(0));
        assert_eq!(descriptor.key_index, None);
        assert_eq!(descriptor.header_len, 6);
        assert!(descriptor.is_frame_start() && descriptor.is_keyframe());
        let size = FrameSize {
            width: 640,
            height: 360,
        };
        assert_eq!(descriptor.frame_size(), Some(size));
    }

    #[test]
    fn a_captured_key_frame() {
        let payload = include_bytes!("../../fuzz/seeds/vp8/chromium-1");
        let descriptor = Descriptor::parse(payload).expect("captured");
        assert_eq!(descriptor.picture_id, Some(PictureId::Long(0x543d)));
        assert!(descriptor.is_keyframe());
        let size = descriptor.frame_size().expect("a key frame");
        assert_eq!(u32::from(size.width) * 9, u32::from(size.height) * 16);
    }

    #[test]
    fn only_the_first_partition_s_start_may_be_a_key_frame() {
        for first in [0x80, 0x91, 0x81] {
            let payload = payload(&[first, 0x80, 0x05]);
            assert!(!Descriptor::parse(&payload).expect("well-formed").is_keyframe());
        }
        let mut inter = payload(&[0x10]);
        inter[1] |= 1;
        let descriptor = Descriptor::parse(&inter).expect("well-formed");
        assert!(descriptor.is_frame_start() && !descriptor.is_keyframe());
        assert_eq!(descriptor.frame_size(), None);
    }

    #[test]
    fn a_cut_key_frame_has_no_size_and_stays_one() {
        let payload = payload(&[0x10]);
        let descriptor = Descriptor::parse(&payload[..9]).expect("well-formed");
        assert!(descriptor.is_keyframe());
        assert_eq!(descriptor.frame_size(), None);
        let mut other = payload.clone();
        other[4] = 0;
        assert_eq!(Descriptor::parse(&other).expect("well-formed").frame_size(), None);
    }

    #[test]
    fn every_optional_field_alone() {
        let payload7 = payload(&[0x90, 0x80, 0x7f]);
        let parsed = Descriptor::parse(&payload7).expect("well-formed");
        assert_eq!(
            (parsed.picture_id, parsed.header_len),
            (Some(PictureId::Short(127)), 3)
        );
        let parsed = Descriptor::parse(&payload(&[0x90, 0x40, 9])).expect("well-formed");
        assert_eq!(
            (parsed.tl0_picture_index, parsed.header_len, parsed.picture_id),
            (Some(9), 3, None)
        );
        let parsed = Descriptor::parse(&payload(&[0x90, 0x20, 0xbf])).expect("well-formed");
        assert_eq!((parsed.temporal_id, parsed.key_index), (Some(2), None));
        assert!(parsed.layer_sync);
        let parsed = Descriptor::parse(&payload(&[0x90, 0x10, 0x1f])).expect("well-formed");
        assert_eq!((parsed.temporal_id, parsed.key_index), (None, Some(31)));
    }

    #[test]
    fn a_payload_that_ends_with_its_descriptor_is_refused() {
        for whole in [
            &[0x10][..],
            &[0x90, 0x00],
            &[0x90, 0xf0, 0x80, 1, 2, 3],
            &[0x90, 0xf0, 1, 2, 3],
        ] {
            for len in 0..=whole.len() {
                assert_eq!(Descriptor::parse(&whole[..len]), Err(Malformed::Truncated));
            }
        }
    }

    #[test]
    fn a_short_picture_id_grows_and_nothing_else_moves() {
        let payload = payload(&[0xb0, 0xf0, 0x05, 0x11, 0x7f]);
        let descriptor = Descriptor::parse(&payload).expect("well-formed");
        let ids = MappedIds {
            picture_id: 0xffff,
            tl0_picture_index: 0x22,
            key_index: 0xff,
        };
        let mut buf = [0; DESCRIPTOR_MAX_LEN];
        assert_eq!(descriptor.write(&mut buf, &ids), Some(6));
        assert_eq!(buf, [0xb0, 0xf0, 0xff, 0xff, 0x22, 0x7f]);
        assert_eq!(
            descriptor.written_len(),
            descriptor.header_len + DESCRIPTOR_GROWTH_MAX
        );
        assert_eq!(descriptor.write(&mut buf[..5], &ids), None);
    }

    #[test]
    fn what_was_absent_stays_absent() {
        let ids = MappedIds {
            picture_id: 1,
            tl0_picture_index: 2,
            key_index: 3,
        };
        let mut buf = [0; DESCRIPTOR_MAX_LEN];
        for (received, written) in [
            (&[0x10][..], &[0x10][..]),
            // An extension byte without fields says nothing.
            (&[0x90, 0x00], &[0x10]),
            (&[0x90, 0x40, 9], &[0x90, 0x40, 2]),
            // Temporal id 2 without a key index: its bits stay zero.
            (&[0x90, 0x20, 0xbf], &[0x90, 0x20, 0xa0]),
            (&[0x90, 0x90, 5, 0x1f], &[0x90, 0x90, 0x80, 1, 3]),
        ] {
            let payload = payload(received);
            let descriptor = Descriptor::parse(&payload).expect("well-formed");
            let len = descriptor.write(&mut buf, &ids).expect("fits");
            assert_eq!(buf[..len], *written);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            payload in proptest::collection::vec(any::<u8>(), 1..24),
            picture_id in 0u16..1 << 15, tl0_picture_index: u8, key_index in 0u8..32,
        ) {
            let Ok(descriptor) = Descriptor::parse(&payload) else {
                return Ok(());
            };
            let ids = MappedIds { picture_id, tl0_picture_index, key_index };
            let mut buf = [0; 40];
            let len = descriptor.write(&mut buf, &ids).expect("fits");
            prop_assert!(len <= DESCRIPTOR_MAX_LEN);
            prop_assert_eq!(len, descriptor.written_len());
            prop_assert!(len <= descriptor.header_len + DESCRIPTOR_GROWTH_MAX);
            let frame = &payload[descriptor.header_len..];
            buf[len..len + frame.len()].copy_from_slice(frame);
            let again = Descriptor::parse(&buf[..len + frame.len()]).expect("own output");
            let expected = Descriptor {
                picture_id: descriptor.picture_id.map(|_| PictureId::Long(picture_id)),
                tl0_picture_index: descriptor.tl0_picture_index.map(|_| tl0_picture_index),
                key_index: descriptor.key_index.map(|_| key_index),
                header_len: len,
                ..descriptor
            };
            prop_assert_eq!(again, expected);
        }
    }
}
