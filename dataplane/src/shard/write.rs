//! One packet for one subscriber: header, payload in the subscriber's terms, seal.
//!
//! The publisher's packet is read only; what differs per subscriber is written into the subscriber's
//! own place in the batch.

use kall_shared::id::Mid;
use kall_shared::media::{Codec, CodecParams, Extension};

use super::counters::Counters;
use super::transmit::{EVEN_MAX, MAX_DATAGRAM};
use crate::codec::dependency_descriptor::{self, Patch, Structure};
use crate::codec::h264::ParameterSets;
use crate::codec::red::Red;
use crate::codec::{vp8, vp9};
use crate::forward::rewriter::PictureIds;
use crate::forward::slot::Slot;
use crate::rtp::nack_map::Sent;
use crate::rtp::packet_ring::PacketMeta;
use crate::srtp::{Outbound, SealError};
use crate::time::Time;
use crate::wire::rtp::{HeaderFields, write_header};

/// One packet about to be written for one subscriber.
pub(super) struct Write<'a> {
    /// Whom for.
    pub(super) slot: &'a mut Slot,
    /// The receiver's codec.
    pub(super) codec: CodecParams,
    /// The publisher's codec.
    pub(super) published: Codec,
    /// Plain Opus in the receiver's terms.
    pub(super) opus_pt: Option<u8>,
    /// What is known of the packet.
    pub(super) meta: &'a PacketMeta,
    /// Its payload.
    pub(super) payload: &'a [u8],
    /// Its dependency descriptor as the publisher wrote it; empty where it has none.
    pub(super) descriptor: &'a [u8],
    /// The structure the descriptor is read by.
    pub(super) structure: Option<&'a Structure>,
    /// Its picture ids in the slot's numbers.
    pub(super) ids: PictureIds,
    /// Its number on the path.
    pub(super) transport: Option<u16>,
    /// When it leaves.
    pub(super) now: Time,
    /// What its length should be.
    pub(super) even: Even,
}

/// How a packet gets the length of others, so that they leave as one run. A packet is padded by at most
/// [`EVEN_MAX`] bytes (RFC 3550 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Even {
    /// It stays as it is.
    Not,
    /// So many bytes longer.
    By(usize),
    /// As long as this when it is sealed, if it is little shorter.
    To(usize),
}

impl Even {
    /// Pads the packet that is so far `len` bytes long, and gives its new length.
    fn pad(self, len: usize, overhead: usize, buf: &mut [u8]) -> usize {
        let missing = match self {
            Self::Not => 0,
            Self::By(bytes) => bytes,
            Self::To(sealed) => sealed.saturating_sub(len + overhead),
        };
        if !(1..=EVEN_MAX).contains(&missing) || len + missing + overhead > MAX_DATAGRAM {
            return len;
        }
        let Some(padding) = buf.get_mut(len..len + missing) else {
            return len;
        };
        padding.fill(0);
        // At most EVEN_MAX.
        padding[missing - 1] = missing as u8;
        buf[0] |= PADDING_BIT;
        len + missing
    }
}

impl Write<'_> {
    /// Writes and seals the packet itself; its length, or nothing when it can't be sent.
    pub(super) fn primary(
        self,
        fields: &HeaderFields,
        index: u64,
        outbound: &Outbound,
        counters: &mut Counters,
        buf: &mut [u8],
    ) -> Option<usize> {
        let header_len = self.header(fields, buf)?;
        let Some(plain_len) = self.body(header_len, buf) else {
            counters.drop_too_long += 1;
            return None;
        };
        let plain_len = self.even.pad(plain_len, outbound.rtp_overhead(), buf);
        let sealed = outbound.seal_rtp(&mut self.slot.guard, buf, header_len, plain_len, index);
        seal_result(sealed, counters)
    }

    /// Writes and seals it as a retransmission (RFC 4588 section 4): next number of the slot's second
    /// SSRC, and the number it had in front of the payload.
    pub(super) fn retransmission(
        self,
        sent: &Sent,
        outbound: &Outbound,
        counters: &mut Counters,
        buf: &mut [u8],
    ) -> Option<usize> {
        let payload_type = self.codec.rtx_pt?;
        let (ssrc, seq) = self.slot.rtx.as_ref().map(|rtx| (rtx.ssrc, rtx.next_seq))?;
        let fields = HeaderFields {
            marker: sent.marker,
            payload_type,
            sequence: seq as u16,
            timestamp: sent.timestamp,
            ssrc,
        };
        let header_len = self.header(&fields, buf)?;
        buf.get_mut(header_len..header_len + 2)?
            .copy_from_slice(&(sent.seq as u16).to_be_bytes());
        let Some(plain_len) = self.body(header_len + 2, buf) else {
            counters.drop_too_long += 1;
            return None;
        };
        let rtx = self.slot.rtx.as_mut()?;
        rtx.next_seq += 1;
        let sealed = outbound.seal_rtp(&mut rtx.guard, buf, header_len, plain_len, seq);
        seal_result(sealed, counters)
    }

    /// Writes and seals the parameter sets of a key frame that lacks them, under the number kept free for
    /// them.
    pub(super) fn parameter_sets(
        self,
        sets: &ParameterSets,
        fields: &HeaderFields,
        index: u64,
        outbound: &Outbound,
        counters: &mut Counters,
        buf: &mut [u8],
    ) -> Option<usize> {
        let header_len = self.header(fields, buf)?;
        let len = sets.write(buf.get_mut(header_len..)?)?;
        let sealed = outbound.seal_rtp(&mut self.slot.guard, buf, header_len, header_len + len, index);
        seal_result(sealed, counters)
    }

    /// The header. The mid stands on every packet: a receiver that has not seen it yet can't tell
    /// which line an SSRC belongs to.
    fn header(&self, fields: &HeaderFields, buf: &mut [u8]) -> Option<usize> {
        let mut elements: [(u8, &[u8]); 6] = [(0, &[]); 6];
        let mut count = 0;
        let mut add = |id: Option<u8>, data| {
            if let Some(id) = id {
                elements[count] = (id, data);
                count += 1;
            }
        };
        let mid: &Mid = self.slot.mid();
        add(self.slot.extensions.id(Extension::Mid), mid.as_str().as_bytes());
        let level = self
            .meta
            .audio_level
            .map(|level| [level | u8::from(self.meta.voice) << 7]);
        if let Some(level) = &level {
            add(self.slot.extensions.id(Extension::AudioLevel), level);
        }
        let orientation = self.meta.orientation.map(|orientation| [orientation]);
        if let Some(orientation) = &orientation {
            add(self.slot.extensions.id(Extension::VideoOrientation), orientation);
        }
        let mut described = [0; dependency_descriptor::LEN_MAX];
        let described = self.describe(&mut described);
        if let Some(described) = described {
            add(
                self.slot.extensions.id(Extension::DependencyDescriptor),
                described,
            );
        }
        let transport = self.transport.map(u16::to_be_bytes);
        if let Some(transport) = &transport {
            add(self.slot.extensions.id(Extension::TransportCc), transport);
        }
        let send_time = abs_send_time(self.now);
        if self.transport.is_none() {
            add(self.slot.extensions.id(Extension::AbsSendTime), &send_time);
        }
        write_header(buf, fields, &elements[..count])
    }

    /// The dependency descriptor in the slot's numbers.
    fn describe<'b>(&self, buf: &'b mut [u8]) -> Option<&'b [u8]> {
        if self.descriptor.is_empty() {
            return None;
        }
        let top = self.ids.top_layer.zip(self.structure);
        let patch = Patch {
            frame_number: self.ids.picture_id?,
            template_shift: self.ids.template_shift,
            active_targets: top.map(|(layer, structure)| structure.targets_up_to(layer)),
            target_count: self
                .structure
                .map_or(0, |structure| structure.targets().len() as u8),
        };
        let len = patch.apply(self.descriptor, buf)?;
        buf.get(..len)
    }

    /// The payload from `start` on, its descriptor with the slot's picture ids. Returns where it ends.
    fn body(&self, start: usize, buf: &mut [u8]) -> Option<usize> {
        let overhead_end = MAX_DATAGRAM.min(buf.len());
        let room = buf.get_mut(start..overhead_end)?;
        let written = match self.codec.codec {
            Codec::Vp8 => vp8_body(self.payload, self.meta, &self.ids, room)?,
            Codec::Vp9 => vp9_body(self.payload, &self.ids, room)?,
            Codec::Opus if self.published == Codec::Red => {
                copied(Red::parse(self.payload).ok()?.newest, room)?
            }
            Codec::Red => Red::parse(self.payload).ok()?.write(room, self.opus_pt?)?,
            Codec::Opus | Codec::H264 | Codec::Av1 => copied(self.payload, room)?,
        };
        Some(start + written)
    }
}

fn copied(payload: &[u8], room: &mut [u8]) -> Option<usize> {
    room.get_mut(..payload.len())?.copy_from_slice(payload);
    Some(payload.len())
}

/// The time of sending in 6.18 fixed-point seconds, for receivers that estimate by themselves.
fn abs_send_time(now: Time) -> [u8; 3] {
    let units = (u128::from(now.as_nanos()) << 18) / 1_000_000_000;
    let [.., high, middle, low] = (units as u32).to_be_bytes();
    [high, middle, low]
}

/// The descriptor is written anew: a picture id always has 15 bits here, so its length may change.
fn vp8_body(payload: &[u8], meta: &PacketMeta, ids: &PictureIds, room: &mut [u8]) -> Option<usize> {
    let Ok(descriptor) = vp8::Descriptor::parse(payload) else {
        room.get_mut(..payload.len())?.copy_from_slice(payload);
        return Some(payload.len());
    };
    // The descriptor writes only the ids it had; what is absent stays absent.
    let mapped = vp8::MappedIds {
        picture_id: ids.picture_id.unwrap_or(0),
        tl0_picture_index: ids.tl0picidx.unwrap_or(0),
        key_index: ids.keyidx.unwrap_or(0),
    };
    let written = descriptor.write(room, &mapped)?;
    let rest = payload.get(usize::from(meta.descriptor_len)..)?;
    room.get_mut(written..written + rest.len())?.copy_from_slice(rest);
    Some(written + rest.len())
}

/// Ids keep their width, so the payload is copied and patched.
fn vp9_body(payload: &[u8], ids: &PictureIds, room: &mut [u8]) -> Option<usize> {
    let copied = room.get_mut(..payload.len())?;
    copied.copy_from_slice(payload);
    if let Ok(descriptor) = vp9::Descriptor::parse(payload)
        && let Some(picture_id) = ids.picture_id
    {
        descriptor.patch_ids(copied, picture_id, ids.tl0picidx.unwrap_or(0));
    }
    Some(payload.len())
}

fn seal_result(sealed: Result<usize, SealError>, counters: &mut Counters) -> Option<usize> {
    match sealed {
        Ok(len) => Some(len),
        Err(SealError::NoRoom) => {
            counters.drop_too_long += 1;
            None
        }
        Err(error @ (SealError::Reused | SealError::WrongIndex | SealError::Exhausted)) => {
            counters.bug_egress_guard += 1;
            tracing::error!(%error, "packet not sealed");
            None
        }
    }
}

/// Bytes of a padding packet's payload: the count stands in its last byte (RFC 3550 section 5.1).
const PADDING_LEN: u8 = 224;

/// Writes and seals a packet of padding on a slot's retransmission stream, where a receiver expects
/// nothing in particular. Its length, or nothing where there is no such stream.
pub(super) fn padding(
    slot: &mut Slot,
    codec: &CodecParams,
    timestamp: u32,
    transport: Option<u16>,
    outbound: &Outbound,
    counters: &mut Counters,
    buf: &mut [u8],
) -> Option<usize> {
    let (ssrc, index) = slot.rtx.as_ref().map(|rtx| (rtx.ssrc, rtx.next_seq))?;
    let fields = HeaderFields {
        marker: false,
        payload_type: codec.rtx_pt?,
        sequence: index as u16,
        timestamp,
        ssrc,
    };
    let number = transport.unwrap_or_default().to_be_bytes();
    let mut elements: [(u8, &[u8]); 2] = [(0, &[]); 2];
    let mut count = 0;
    let transport = transport.map(|_| &number[..]);
    for (extension, data) in [
        (Extension::Mid, Some(slot.mid().as_str().as_bytes())),
        (Extension::TransportCc, transport),
    ] {
        if let (Some(id), Some(data)) = (slot.extensions.id(extension), data) {
            elements[count] = (id, data);
            count += 1;
        }
    }
    let header_len = write_header(buf, &fields, &elements[..count])?;
    buf[0] |= PADDING_BIT;
    let end = header_len + usize::from(PADDING_LEN);
    let body = buf.get_mut(header_len..end)?;
    body.fill(0);
    *body.last_mut()? = PADDING_LEN;
    let rtx = slot.rtx.as_mut()?;
    rtx.next_seq += 1;
    let sealed = outbound.seal_rtp(&mut rtx.guard, buf, header_len, end, index);
    seal_result(sealed, counters)
}

/// P, the third bit of the header (RFC 3550 section 5.1).
const PADDING_BIT: u8 = 0x20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtp::Packet;

    #[test]
    fn padding_evens_out_what_is_little_shorter_and_nothing_else() {
        for (even, len) in [
            (Even::Not, 40),
            (Even::By(1), 41),
            (Even::By(EVEN_MAX), 48),
            (Even::By(EVEN_MAX + 1), 40),
            (Even::To(16 + 40), 40),
            (Even::To(16 + 45), 45),
            (Even::To(16 + 49), 40),
            (Even::To(16 + 39), 40),
        ] {
            let mut buf = [0x5a; 80];
            let header_len = write_header(&mut buf, &HeaderFields::default(), &[]).unwrap();
            assert_eq!(even.pad(40, 16, &mut buf), len, "{even:?}");
            let packet = Packet::parse(&buf[..len]).unwrap();
            assert_eq!(packet.payload(), vec![0x5a; 40 - header_len], "{even:?}");
        }
    }

    #[test]
    fn nothing_is_padded_beyond_a_datagram() {
        let mut buf = [0; MAX_DATAGRAM];
        let len = MAX_DATAGRAM - 16 - 2;
        assert_eq!(Even::By(3).pad(len, 16, &mut buf), len);
        assert_eq!(Even::By(2).pad(len, 16, &mut buf), len + 2);
    }
}
