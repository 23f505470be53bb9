//! Pictures from payloads, by the `rtp` crate.

use bytes::{Bytes, BytesMut};
use kall_dataplane::codec::dependency_descriptor::Mandatory;
use kall_shared::media::Codec;
use kall_tests::av1::temporal_unit;
use rtp::codecs::h264::H264Packet;
use rtp::codecs::vp8::Vp8Packet;
use rtp::codecs::vp9::Vp9Packet;
use rtp::packetizer::Depacketizer;

use crate::clip::Coding;

/// A coded picture from all its payloads; `None` if one of them makes no sense.
pub(crate) fn frame(coding: Coding, payloads: &[Bytes]) -> Option<Bytes> {
    let mut whole = BytesMut::new();
    if coding.codec == Codec::Av1 {
        return temporal_unit(payloads).map(Bytes::from);
    }
    let mut h264 = H264Packet::default();
    for payload in payloads {
        let part = match coding.codec {
            Codec::Vp8 => Vp8Packet::default().depacketize(payload),
            Codec::H264 => h264.depacketize(payload),
            _ => Vp9Packet::default().depacketize(payload),
        };
        whole.extend_from_slice(&part.ok()?);
    }
    Some(whole.freeze())
}

/// What descriptors say of a picture beside its bytes (RFC 7741 section 4.2, RFC 9628 section 4.2, and AV1's
/// dependency descriptor): a browser puts pictures together by it, and a decoder never sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Description {
    /// AV1: the frame number.
    pub(crate) picture_id: u16,
    /// Number of the last picture of the lowest temporal layer, and the layer of this one.
    pub(crate) temporal: Option<(u8, u8)>,
}

/// The description of a picture's first packet; H264 has none.
pub(crate) fn description(
    coding: Coding,
    payload: &Bytes,
    dependencies: Option<&Bytes>,
) -> Option<Description> {
    match coding.codec {
        Codec::Vp8 => {
            let mut packet = Vp8Packet::default();
            packet.depacketize(payload).ok()?;
            Some(Description {
                picture_id: packet.picture_id,
                temporal: (packet.l == 1 && packet.t == 1).then_some((packet.tl0_pic_idx, packet.tid)),
            })
        }
        Codec::Vp9 => {
            let mut packet = Vp9Packet::default();
            packet.depacketize(payload).ok()?;
            Some(Description {
                picture_id: packet.picture_id,
                temporal: (packet.l && !packet.f).then_some((packet.tl0picidx, packet.tid)),
            })
        }
        Codec::Av1 => Some(Description {
            picture_id: Mandatory::parse(dependencies?).ok()?.frame_number,
            temporal: None,
        }),
        _ => None,
    }
}

/// Whether a picture can begin with this packet, as far as it alone can tell: for H264 only where it begins with
/// parameter sets, as a key frame does, and in layers of one stream only where it is of the lowest.
pub(crate) fn starts_frame(coding: Coding, payload: &Bytes, dependencies: Option<&Bytes>) -> bool {
    match coding.codec {
        Codec::Vp8 => {
            let mut packet = Vp8Packet::default();
            packet.depacketize(payload).is_ok() && packet.s == 1 && packet.pid == 0
        }
        Codec::Vp9 => {
            let mut packet = Vp9Packet::default();
            packet.depacketize(payload).is_ok() && packet.b && packet.sid == 0
        }
        Codec::Av1 => dependencies.is_some_and(|data| {
            let starts = Mandatory::parse(data).is_ok_and(|own| own.start_of_frame);
            // With layers only a structure tells, which stands at key pictures.
            let with_structure = data.get(3).is_some_and(|flags| flags & 0x80 != 0);
            starts && (coding.leaning().is_none() || with_structure)
        }),
        // A STAP-A whose first unit is an SPS.
        _ => payload.len() > 3 && payload[0] & 0x1f == 24 && payload[3] & 0x1f == 7,
    }
}
