//! Pictures from payloads, by the `rtp` crate.

use bytes::{Bytes, BytesMut};
use kall_dataplane::codec::dependency_descriptor::Mandatory;
use rtp::codecs::h264::H264Packet;
use rtp::codecs::vp8::Vp8Packet;
use rtp::codecs::vp9::Vp9Packet;
use rtp::packetizer::Depacketizer;

use crate::clip::Coding;

/// A coded picture from all its payloads; `None` if one of them makes no sense.
pub(crate) fn frame(coding: Coding, payloads: &[Bytes]) -> Option<Bytes> {
    let mut whole = BytesMut::new();
    if coding == Coding::Av1 {
        return temporal_unit(payloads);
    }
    let mut h264 = H264Packet::default();
    for payload in payloads {
        let part = match coding {
            Coding::Vp8 | Coding::Vp8Temporal => Vp8Packet::default().depacketize(payload),
            Coding::H264 => h264.depacketize(payload),
            Coding::Vp9 | Coding::Av1 => Vp9Packet::default().depacketize(payload),
        };
        whole.extend_from_slice(&part.ok()?);
    }
    Some(whole.freeze())
}

/// The OBUs of an AV1 picture (RTP Payload Format for AV1, section 4) as a file has them: after a temporal delimiter,
/// each with its size.
fn temporal_unit(payloads: &[Bytes]) -> Option<Bytes> {
    let mut obus: Vec<Vec<u8>> = Vec::new();
    let mut continues = false;
    for payload in payloads {
        let (aggregation, mut rest) = payload.split_first()?;
        if (aggregation & 0x80 != 0) != continues {
            return None;
        }
        let mut left = match aggregation >> 4 & 3 {
            0 => usize::MAX,
            count => usize::from(count),
        };
        while !rest.is_empty() {
            left -= 1;
            let len = if left == 0 { rest.len() } else { leb128(&mut rest)? };
            let (element, after) = rest.split_at_checked(len)?;
            rest = after;
            if std::mem::take(&mut continues) {
                obus.last_mut()?.extend_from_slice(element);
            } else {
                obus.push(element.to_vec());
            }
        }
        continues = aggregation & 0x40 != 0;
    }
    let mut unit = vec![0x12, 0x00];
    for obu in obus {
        let header = *obu.first()?;
        let header_len = if header & 0x04 == 0 { 1 } else { 2 };
        unit.push(header | 0x02);
        unit.extend_from_slice(obu.get(1..header_len)?);
        let mut size = obu.len() - header_len;
        while size >= 0x80 {
            unit.push(size as u8 | 0x80);
            size >>= 7;
        }
        unit.push(size as u8);
        unit.extend_from_slice(&obu[header_len..]);
    }
    Some(unit.into())
}

fn leb128(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in 0..8 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= usize::from(byte & 0x7f) << (7 * shift);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// What a descriptor says of a picture beside its bytes (RFC 7741 section 4.2, RFC 9628 section 4.2, and AV1's
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
    match coding {
        Coding::Vp8 | Coding::Vp8Temporal => {}
        Coding::H264 => return None,
        Coding::Vp9 => {
            let mut packet = Vp9Packet::default();
            packet.depacketize(payload).ok()?;
            return Some(Description {
                picture_id: packet.picture_id,
                temporal: None,
            });
        }
        Coding::Av1 => {
            return Some(Description {
                picture_id: Mandatory::parse(dependencies?).ok()?.frame_number,
                temporal: None,
            });
        }
    }
    let mut packet = Vp8Packet::default();
    packet.depacketize(payload).ok()?;
    Some(Description {
        picture_id: packet.picture_id,
        temporal: (packet.l == 1 && packet.t == 1).then_some((packet.tl0_pic_idx, packet.tid)),
    })
}

/// Whether a picture can begin with this packet, as far as it alone can tell: for H264 only where it begins with
/// parameter sets, as a key frame does.
pub(crate) fn starts_frame(coding: Coding, payload: &Bytes, dependencies: Option<&Bytes>) -> bool {
    match coding {
        Coding::Vp8 | Coding::Vp8Temporal => {
            let mut packet = Vp8Packet::default();
            packet.depacketize(payload).is_ok() && packet.s == 1 && packet.pid == 0
        }
        Coding::Vp9 => {
            let mut packet = Vp9Packet::default();
            packet.depacketize(payload).is_ok() && packet.b
        }
        Coding::Av1 => {
            dependencies.is_some_and(|data| Mandatory::parse(data).is_ok_and(|own| own.start_of_frame))
        }
        // A STAP-A whose first unit is an SPS.
        Coding::H264 => payload.len() > 3 && payload[0] & 0x1f == 24 && payload[3] & 0x1f == 7,
    }
}
