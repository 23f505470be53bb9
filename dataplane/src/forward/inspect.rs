//! What a packet tells a router, read once on the way in.

use kall_shared::media::{Codec, Extension};

use crate::codec::{PictureId, av1, h264, vp8, vp9};
use crate::forward::dependencies::Announced;
use crate::forward::publication::PayloadFacts;
use crate::rtp::PacketMeta;
use crate::session::formats::ExtensionIds;
use crate::wire::rtp::Packet;
use crate::wire::rtp_ext::AudioLevel;

/// The facts of a packet of `codec`. `payload` is the original one, also of a retransmission. A payload
/// that can't be read has no facts: it is forwarded, but never taken for an entry point.
#[must_use]
pub fn payload_facts(
    codec: Codec,
    packet: &Packet<'_>,
    payload: &[u8],
    extensions: &ExtensionIds,
) -> PayloadFacts {
    let mut facts = PayloadFacts {
        picture_id: None,
        size: None,
        announced: None,
        parameter_sets: false,
        meta: PacketMeta {
            marker: packet.marker(),
            codec,
            ..PacketMeta::default()
        },
    };
    for (id, data) in packet.extensions() {
        match extensions.extension(id) {
            Some(Extension::AudioLevel) => {
                if let Some(level) = AudioLevel::read(data) {
                    facts.meta.audio_level = Some(level.level);
                    facts.meta.voice = level.voice;
                }
            }
            Some(Extension::VideoOrientation) => facts.meta.orientation = data.first().copied(),
            _ => {}
        }
    }
    if !payload.is_empty() {
        read_payload(codec, payload, &mut facts);
    }
    facts
}

fn read_payload(codec: Codec, payload: &[u8], facts: &mut PayloadFacts) {
    let meta = &mut facts.meta;
    match codec {
        Codec::Opus | Codec::Red => meta.start_of_frame = true,
        Codec::Vp8 => {
            let Ok(descriptor) = vp8::Descriptor::parse(payload) else {
                return;
            };
            facts.picture_id = descriptor.picture_id.map(picture_id);
            meta.descriptor_len = descriptor.header_len as u8;
            meta.tl0picidx = descriptor.tl0_picture_index;
            meta.keyidx = descriptor.key_index;
            meta.temporal = descriptor.temporal_id.unwrap_or(0);
            meta.layer_sync = descriptor.layer_sync;
            meta.start_of_frame = descriptor.is_frame_start();
            meta.keyframe_start = descriptor.is_keyframe();
            facts.size = descriptor.frame_size();
        }
        Codec::Vp9 => {
            let Ok(descriptor) = vp9::Descriptor::parse(payload) else {
                return;
            };
            facts.picture_id = descriptor.picture_id.map(picture_id);
            meta.descriptor_len = descriptor.header_len.min(usize::from(u8::MAX)) as u8;
            meta.tl0picidx = descriptor.layers.and_then(|layers| layers.tl0_picture_index);
            meta.temporal = descriptor.temporal_id();
            meta.layer_sync = descriptor.layers.is_some_and(|layers| layers.switching_up);
            meta.start_of_frame = descriptor.is_picture_start();
            meta.keyframe_start = descriptor.is_keyframe();
            meta.spatial = descriptor.spatial_id();
            meta.end_of_frame = descriptor.end_of_frame;
            let own = 1u8.checked_shl(meta.spatial.into()).unwrap_or(0);
            meta.needed_by = if descriptor.not_spatial_reference {
                own
            } else {
                // It, and everything above.
                own.wrapping_neg()
            };
            if let Some(structure) = descriptor.structure {
                meta.needed_by &= u8::MAX >> (8 - structure.spatial_layers.clamp(1, 8));
                facts.announced = Some(Announced::new(structure.spatial_layers, structure.sizes()));
            }
        }
        // The dependency descriptor says more, where there is one.
        Codec::Av1 => {
            let starts = av1::starts_sequence(payload).unwrap_or(false);
            meta.keyframe_start = starts;
            meta.start_of_frame = starts;
        }
        Codec::H264 => {
            let Ok(found) = h264::inspect(payload) else {
                return;
            };
            // An IDR slice may follow parameter sets in a packet of its own; whether it begins the
            // picture is known only beside the packet before it.
            meta.keyframe_start = found.is_keyframe_start();
            meta.start_of_frame = found.sps;
            facts.parameter_sets = found.sps || found.pps;
        }
    }
}

fn picture_id(id: PictureId) -> (u16, u32) {
    (id.value(), id.bits())
}
