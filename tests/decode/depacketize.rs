//! Pictures from payloads, by the `rtp` crate.

use bytes::{Bytes, BytesMut};
use rtp::codecs::h264::H264Packet;
use rtp::codecs::vp8::Vp8Packet;
use rtp::packetizer::Depacketizer;

use crate::clip::Coding;

/// A coded picture from all its payloads; `None` if one of them makes no sense.
pub(crate) fn frame(coding: Coding, payloads: &[Bytes]) -> Option<Bytes> {
    let mut whole = BytesMut::new();
    let mut h264 = H264Packet::default();
    for payload in payloads {
        let part = match coding {
            Coding::Vp8 | Coding::Vp8Temporal => Vp8Packet::default().depacketize(payload),
            Coding::H264 => h264.depacketize(payload),
        };
        whole.extend_from_slice(&part.ok()?);
    }
    Some(whole.freeze())
}

/// What VP8's descriptor says of a picture beside its bytes (RFC 7741 section 4.2): a browser puts
/// pictures together by it, and a decoder never sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) picture_id: u16,
    /// Number of the last picture of the lowest temporal layer, and the layer of this one.
    pub(crate) temporal: Option<(u8, u8)>,
}

/// The description in a picture's first payload; VP8 only.
pub(crate) fn description(coding: Coding, payload: &Bytes) -> Option<Description> {
    if coding == Coding::H264 {
        return None;
    }
    let mut packet = Vp8Packet::default();
    packet.depacketize(payload).ok()?;
    Some(Description {
        picture_id: packet.picture_id,
        temporal: (packet.l == 1 && packet.t == 1).then_some((packet.tl0_pic_idx, packet.tid)),
    })
}

/// Whether a picture can begin with this payload, as far as the payload alone can tell: for H264 only
/// where it begins with parameter sets, as a key frame does.
pub(crate) fn starts_frame(coding: Coding, payload: &Bytes) -> bool {
    match coding {
        Coding::Vp8 | Coding::Vp8Temporal => {
            let mut packet = Vp8Packet::default();
            packet.depacketize(payload).is_ok() && packet.s == 1 && packet.pid == 0
        }
        // A STAP-A whose first unit is an SPS.
        Coding::H264 => payload.len() > 3 && payload[0] & 0x1f == 24 && payload[3] & 0x1f == 7,
    }
}
