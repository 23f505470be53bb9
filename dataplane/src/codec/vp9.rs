//! The VP9 payload descriptor (RFC 9628 section 4.2).
//!
//! ```text
//! │I│P│L│F│B│E│V│Z│
//! │M│ picture id  │   if I; 15 bits if M, else 7
//! │ TID │U│ SID │D│   if L
//! │   TL0PICIDX   │   if L and not F
//! │   P_DIFF    │N│   if F and P; up to three while N
//! │ N_S │Y│G│ RSV │   if V: the scalability structure, variable length
//! ```

use super::{FrameSize, PictureId, Reader};
use crate::wire::Malformed;

const HAS_PICTURE_ID: u8 = 0x80;
const INTER_PREDICTED: u8 = 0x40;
const HAS_LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const START_OF_FRAME: u8 = 0x08;
const END_OF_FRAME: u8 = 0x04;
const HAS_STRUCTURE: u8 = 0x02;
const NOT_REFERENCE: u8 = 0x01;

/// Section 4.2: a frame of the flexible mode names at most three references.
const REFERENCES_MAX: usize = 3;

/// Spatial layers are counted in three bits.
const SPATIAL_MAX: usize = 8;

/// Layer indices of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// Temporal layer, 0 to 7.
    pub temporal_id: u8,
    /// No later frame of a higher temporal layer depends on one before this: a receiver may step up.
    pub switching_up: bool,
    /// Spatial layer, 0 to 7.
    pub spatial_id: u8,
    /// The frame depends on the next lower spatial layer of the same picture.
    pub inter_layer_dependency: bool,
    /// Counts pictures of temporal layer 0; in the non-flexible mode only.
    pub tl0_picture_index: Option<u8>,
}

/// What the scalability structure tells a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Structure {
    /// How many spatial layers there are, 1 to 8.
    pub spatial_layers: u8,
    /// Sizes of the spatial layers, smallest first, where they are told.
    sizes: Option<[FrameSize; SPATIAL_MAX]>,
}

/// A parsed descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Counts pictures.
    pub picture_id: Option<PictureId>,
    /// The frame depends on earlier pictures.
    pub inter_predicted: bool,
    /// Layer indices, where the sender gives them.
    pub layers: Option<Layers>,
    /// References are named in each frame.
    pub flexible: bool,
    /// The payload starts a frame of its spatial layer.
    pub start_of_frame: bool,
    /// The payload ends a frame of its spatial layer.
    pub end_of_frame: bool,
    /// Higher spatial layers do not depend on this frame.
    pub not_spatial_reference: bool,
    /// The scalability structure, mostly on key pictures.
    pub structure: Option<Structure>,
    /// Bytes of the descriptor.
    pub header_len: usize,
}

impl Structure {
    /// Sizes of the spatial layers, smallest first; empty where they are not told.
    #[must_use]
    pub fn sizes(&self) -> &[FrameSize] {
        let count = usize::from(self.spatial_layers).min(SPATIAL_MAX);
        self.sizes.as_ref().map_or(&[], |sizes| &sizes[..count])
    }
}

impl Descriptor {
    /// Parses the start of an RTP payload.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when the payload ends inside the descriptor or with it,
    /// [`Malformed::Value`] for a fourth reference.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let first = reader.u8()?;
        let has = |bit: u8| first & bit != 0;
        let picture_id = has(HAS_PICTURE_ID).then(|| reader.picture_id()).transpose()?;
        let layers = has(HAS_LAYERS)
            .then(|| read_layers(&mut reader, has(FLEXIBLE)))
            .transpose()?;
        if has(FLEXIBLE) && has(INTER_PREDICTED) {
            skip_references(&mut reader)?;
        }
        let structure = has(HAS_STRUCTURE)
            .then(|| read_structure(&mut reader))
            .transpose()?;
        if reader.rest().is_empty() {
            return Err(Malformed::Truncated);
        }
        Ok(Self {
            picture_id,
            inter_predicted: has(INTER_PREDICTED),
            layers,
            flexible: has(FLEXIBLE),
            start_of_frame: has(START_OF_FRAME),
            end_of_frame: has(END_OF_FRAME),
            not_spatial_reference: has(NOT_REFERENCE),
            structure,
            header_len: reader.at,
        })
    }

    /// Spatial layer, 0 when none is given.
    #[must_use]
    pub fn spatial_id(&self) -> u8 {
        self.layers.map_or(0, |layers| layers.spatial_id)
    }

    /// Temporal layer, 0 when none is given.
    #[must_use]
    pub fn temporal_id(&self) -> u8 {
        self.layers.map_or(0, |layers| layers.temporal_id)
    }

    /// Whether the payload starts a picture: the frame of its lowest spatial layer.
    #[must_use]
    pub fn is_picture_start(&self) -> bool {
        self.start_of_frame && self.spatial_id() == 0
    }

    /// Whether the payload starts a key picture, from which decoding can begin.
    #[must_use]
    pub fn is_keyframe(&self) -> bool {
        self.is_picture_start() && !self.inter_predicted
    }

    /// Size of the highest spatial layer, where the packet carries a structure with sizes.
    #[must_use]
    pub fn frame_size(&self) -> Option<FrameSize> {
        self.structure.as_ref()?.sizes().last().copied()
    }

    /// Writes other ids over those in `payload`, the one this descriptor was parsed from. Each id
    /// keeps its width, so nothing moves; absent ids stay absent. Does nothing to a payload of
    /// another shape.
    pub fn patch_ids(&self, payload: &mut [u8], picture_id: u16, tl0_picture_index: u8) {
        let mut at = 1;
        match self.picture_id {
            Some(PictureId::Short(_)) => {
                if let Some(byte) = payload.get_mut(at) {
                    *byte = picture_id.to_be_bytes()[1] & 0x7f;
                }
                at += 1;
            }
            Some(PictureId::Long(_)) => {
                if let Some(bytes) = payload.get_mut(at..at + 2) {
                    bytes.copy_from_slice(&(picture_id | 0x8000).to_be_bytes());
                }
                at += 2;
            }
            None => {}
        }
        if self
            .layers
            .is_some_and(|layers| layers.tl0_picture_index.is_some())
            && let Some(byte) = payload.get_mut(at + 1)
        {
            *byte = tl0_picture_index;
        }
    }
}

fn read_layers(reader: &mut Reader<'_>, flexible: bool) -> Result<Layers, Malformed> {
    let byte = reader.u8()?;
    Ok(Layers {
        temporal_id: byte >> 5,
        switching_up: byte & 0x10 != 0,
        spatial_id: byte >> 1 & 0x07,
        inter_layer_dependency: byte & 0x01 != 0,
        tl0_picture_index: (!flexible).then(|| reader.u8()).transpose()?,
    })
}

fn skip_references(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    for _ in 0..REFERENCES_MAX {
        // The lowest bit says that another follows.
        if reader.u8()? & 1 == 0 {
            return Ok(());
        }
    }
    Err(Malformed::Value)
}

fn read_structure(reader: &mut Reader<'_>) -> Result<Structure, Malformed> {
    let first = reader.u8()?;
    let spatial_layers = (first >> 5) + 1;
    let (has_sizes, has_group) = (first & 0x10 != 0, first & 0x08 != 0);
    let mut sizes = None;
    if has_sizes {
        let told = sizes.insert([FrameSize::default(); SPATIAL_MAX]);
        for size in &mut told[..usize::from(spatial_layers)] {
            *size = FrameSize {
                width: reader.u16()?,
                height: reader.u16()?,
            };
        }
    }
    if has_group {
        let pictures = reader.u8()?;
        for _ in 0..pictures {
            // Temporal id, switching up, and two bits that count references of a byte each.
            let references = reader.u8()? >> 2 & 0x03;
            for _ in 0..references {
                reader.u8()?;
            }
        }
    }
    Ok(Structure {
        spatial_layers,
        sizes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As Chromium sends a key frame in the non-flexible mode: picture id, layers, a structure of one
    /// layer with its size and a group of one picture.
    const KEY_FRAME: &[u8] = &[
        0xae, 0x92, 0x34, 0x00, 0x07, 0x18, 0x02, 0x80, 0x01, 0x68, 0x01, 0x04, 0x01, 0x82,
    ];

    #[test]
    fn a_key_frame_with_its_structure() {
        let descriptor = Descriptor::parse(KEY_FRAME).expect("well-formed");
        assert_eq!(descriptor.picture_id, Some(PictureId::Long(0x1234)));
        assert!(descriptor.is_keyframe() && descriptor.end_of_frame && !descriptor.flexible);
        assert_eq!(
            descriptor.layers.and_then(|layers| layers.tl0_picture_index),
            Some(7)
        );
        let structure = descriptor.structure.expect("a key frame has one");
        assert_eq!(structure.spatial_layers, 1);
        assert_eq!(
            structure.sizes(),
            [FrameSize {
                width: 640,
                height: 360
            }]
        );
        assert_eq!(descriptor.header_len, 13);
    }

    #[test]
    fn captured_packets_of_an_encoder() {
        // libvpx behind ffmpeg: no ids, no layers; the first packet starts the key frame.
        let first = Descriptor::parse(include_bytes!("../../fuzz/seeds/vp9/ffmpeg-1")).expect("captured");
        assert!(first.is_keyframe() && first.picture_id.is_none());
        let second = Descriptor::parse(include_bytes!("../../fuzz/seeds/vp9/ffmpeg-2")).expect("captured");
        assert!(!second.is_picture_start());
    }

    #[test]
    fn layers_and_references_of_the_flexible_mode() {
        // I P L F B, 7-bit id, TID 2 U SID 1 D, two references.
        let descriptor = Descriptor::parse(&[0xf8, 0x05, 0x53, 0x03, 0x04, 0xff]).expect("well-formed");
        assert_eq!(descriptor.picture_id, Some(PictureId::Short(5)));
        assert_eq!(
            descriptor.layers,
            Some(Layers {
                temporal_id: 2,
                switching_up: true,
                spatial_id: 1,
                inter_layer_dependency: true,
                tl0_picture_index: None,
            })
        );
        assert_eq!(descriptor.header_len, 5);
        assert!(!descriptor.is_picture_start() && !descriptor.is_keyframe());
        assert_eq!(
            Descriptor::parse(&[0xf8, 0x05, 0x53, 0x03, 0x05, 0x07, 0x08, 0xff]),
            Err(Malformed::Value)
        );
    }

    #[test]
    fn a_key_picture_starts_in_its_lowest_layer() {
        let upper = Descriptor::parse(&[0x28, 0x02, 0x00, 0xff]).expect("well-formed");
        assert!(upper.start_of_frame && !upper.is_keyframe());
        let lower = Descriptor::parse(&[0x28, 0x00, 0x00, 0xff]).expect("well-formed");
        assert!(lower.is_keyframe());
        let middle = Descriptor::parse(&[0x20, 0x00, 0x00, 0xff]).expect("well-formed");
        assert!(!middle.is_keyframe());
        assert!(
            Descriptor::parse(&[0x08, 0xff])
                .expect("well-formed")
                .is_keyframe()
        );
    }

    #[test]
    fn every_cut_is_refused() {
        // The longest cut leaves a whole descriptor without a frame behind it.
        for len in 0..KEY_FRAME.len() {
            let cut = Descriptor::parse(&KEY_FRAME[..len]);
            assert_eq!(cut, Err(Malformed::Truncated), "{len} bytes");
        }
        assert!(Descriptor::parse(KEY_FRAME).is_ok());
    }

    #[test]
    fn ids_are_patched_in_place() {
        let mut data = KEY_FRAME.to_vec();
        let descriptor = Descriptor::parse(&data).expect("well-formed");
        descriptor.patch_ids(&mut data, 0x7fff, 9);
        assert_eq!(data[..5], [0xae, 0xff, 0xff, 0x00, 9]);
        assert_eq!(data[5..], KEY_FRAME[5..]);

        let mut short = [0xa8, 0x05, 0x00, 0x01, 0xff];
        let descriptor = Descriptor::parse(&short).expect("well-formed");
        descriptor.patch_ids(&mut short, 0x1ff, 2);
        assert_eq!(short, [0xa8, 0x7f, 0x00, 0x02, 0xff]);

        let mut none = [0x08, 0xff];
        let descriptor = Descriptor::parse(&none).expect("well-formed");
        descriptor.patch_ids(&mut none, 1, 2);
        assert_eq!(none, [0x08, 0xff]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            mut payload in proptest::collection::vec(any::<u8>(), 0..80),
            picture_id in 0u16..1 << 15, tl0: u8,
        ) {
            if let Ok(descriptor) = Descriptor::parse(&payload) {
                prop_assert!(descriptor.header_len < payload.len());
                let before = payload.clone();
                descriptor.patch_ids(&mut payload, picture_id, tl0);
                let again = Descriptor::parse(&payload).expect("same shape");
                prop_assert_eq!(again.header_len, descriptor.header_len);
                prop_assert_eq!(
                    again.picture_id.map(PictureId::value),
                    descriptor.picture_id.map(|id| picture_id & ((1 << id.bits()) - 1))
                );
                prop_assert_eq!(&payload[descriptor.header_len..], &before[descriptor.header_len..]);
            }
        }
    }
}
