//! From an outbox to sealed bytes: rewrite, write the header, copy, seal.
//!
//! Everything one subscriber gets in a turn is sealed side by side into the batch, so that it leaves
//! as one run. The publisher's packet is read only; what differs per subscriber is written.

use kall_shared::id::Mid;
use kall_shared::media::{Codec, CodecParams, Extension};

use super::Shard;
use super::counters::Counters;
use super::slab::{Key, Slab};
use super::transmit::{MAX_DATAGRAM, TransmitBatch};
use crate::codec::{vp8, vp9};
use crate::forward::publication::Publication;
use crate::forward::rewriter::{PictureIds, Withheld};
use crate::forward::slot::{Slot, codec_for};
use crate::rtp::nack_map::Sent;
use crate::rtp::packet_ring::PacketMeta;
use crate::session::Session;
use crate::session::outbox::Item;
use crate::srtp::{Outbound, SealError};
use crate::time::Time;
use crate::wire::rtp::{HeaderFields, write_header};

impl Shard {
    /// Seals what is ready to leave into `batch`. The driver sends it, clears it and calls again until
    /// it stays empty.
    pub fn poll_transmit(&mut self, now: Time, batch: &mut TransmitBatch) {
        if !self.control.drain_into(batch) {
            self.count_transmits(batch);
            return;
        }
        while batch.has_room() {
            let Some(&key) = self.ready.last() else { break };
            let Some(session) = self.sessions.get_mut(key) else {
                self.ready.pop();
                continue;
            };
            let done = drain(
                now,
                key,
                session,
                &self.publications,
                &mut self.counters,
                batch,
                &mut self.wanting,
            );
            if !done {
                break;
            }
            session.queued = false;
            self.ready.pop();
            // A slot that began or switched wants its sender report at once.
            self.reschedule(key);
        }
        self.ask_for_keyframes(now);
        self.count_transmits(batch);
    }

    /// Slots that met a packet they can't start with ask their publishers; the gates merge them.
    fn ask_for_keyframes(&mut self, now: Time) {
        while let Some((key, slot)) = self.wanting.pop() {
            self.request_keyframe_for(now, key, usize::from(slot));
        }
    }

    fn count_transmits(&mut self, batch: &TransmitBatch) {
        for run in batch.runs() {
            self.counters.tx_packets += u64::from(run.segments);
            self.counters.tx_bytes += run.byte_len() as u64;
        }
        self.counters.tx_runs += batch.runs().len() as u64;
    }
}

/// Empties one session's outbox into the batch. False when the batch is full first.
fn drain(
    now: Time,
    key: Key,
    session: &mut Session,
    publications: &Slab<Publication>,
    counters: &mut Counters,
    batch: &mut TransmitBatch,
    wanting: &mut Vec<(Key, u8)>,
) -> bool {
    let Some((to, from)) = session.transport.path() else {
        session.outbox.clear();
        return true;
    };
    let Some(keyed) = &session.transport.keyed else {
        session.outbox.clear();
        return true;
    };
    while batch.has_room() {
        let Some(item) = session.outbox.pop() else {
            return true;
        };
        let sealed = match item {
            Item::Forward {
                slot: index,
                publication,
                layer,
                seq,
            } => {
                let Some(slot) = session.slots.get_mut(usize::from(index)) else {
                    continue;
                };
                let Some(line) = session.params.lines.get(usize::from(slot.line)) else {
                    continue;
                };
                if slot.occupant() != Some(publication) {
                    continue;
                }
                // Muting counts from its answer on, also for what was queued before it.
                let Some(stream) = publications
                    .get(publication)
                    .filter(|found| !found.muted)
                    .and_then(|found| found.stream(layer))
                else {
                    continue;
                };
                let Some((meta, payload)) = stream.ring.get(seq) else {
                    counters.drop_packet_gone += 1;
                    continue;
                };
                let Some(codec) = codec_for(line, stream) else {
                    counters.drop_codec += 1;
                    continue;
                };
                let out = match slot.rewrite(now, publication, layer, stream, meta) {
                    Ok(out) => out,
                    Err(Withheld::AwaitsEntry | Withheld::NotAligned) => {
                        if wanting.last() != Some(&(key, index)) {
                            wanting.push((key, index));
                        }
                        continue;
                    }
                    Err(_) => continue,
                };
                let fields = HeaderFields {
                    marker: out.marker,
                    payload_type: codec.pt,
                    sequence: out.seq as u16,
                    timestamp: out.timestamp,
                    ssrc: slot.ssrc(),
                };
                let write = Write {
                    slot,
                    codec,
                    meta,
                    payload,
                    ids: out.ids,
                };
                let sealed = write.primary(&fields, out.seq, &keyed.outbound, counters, batch.spare());
                if sealed.is_some() {
                    counters.rtp_out += 1;
                    session.rtx_budget.on_sent(payload.len());
                    if slot.on_sent(now, stream, meta, &out) {
                        session.sender_reports.hasten(now);
                    }
                }
                sealed
            }
            Item::Retransmit { slot: index, out_seq } => {
                let Some(slot) = session.slots.get_mut(usize::from(index)) else {
                    continue;
                };
                let Some(line) = session.params.lines.get(usize::from(slot.line)) else {
                    continue;
                };
                let sealed = slot.on_nack(now, out_seq, session.rtt).ok().and_then(|sent| {
                    let (codec, meta, payload) = find_sent(publications, slot, line, &sent)?;
                    if !session.rtx_budget.spend(now, payload.len()) {
                        return None;
                    }
                    let write = Write {
                        slot,
                        codec,
                        meta,
                        payload,
                        ids: sent.ids,
                    };
                    let sealed = write.retransmission(&sent, &keyed.outbound, counters, batch.spare())?;
                    slot.on_resent(now, sent.seq);
                    Some(sealed)
                });
                match sealed {
                    Some(_) => {
                        counters.rtp_out += 1;
                        counters.rtx_out += 1;
                    }
                    None => counters.rtx_refused += 1,
                }
                sealed
            }
        };
        if let Some(len) = sealed {
            batch.commit(len, to, from);
        }
    }
    session.outbox.is_empty()
}

/// The publisher's packet behind one that was sent, while the slot is still fed by that publication.
fn find_sent<'a>(
    publications: &'a Slab<Publication>,
    slot: &Slot,
    line: &kall_shared::media::MediaLine,
    sent: &Sent,
) -> Option<(CodecParams, &'a PacketMeta, &'a [u8])> {
    let publication = publications.get(slot.occupant()?)?;
    let stream = publication
        .layers
        .iter()
        .filter_map(|layer| layer.stream.as_ref())
        .find(|stream| stream.source == sent.source)?;
    let (meta, payload) = stream.ring.get(sent.source_seq)?;
    Some((codec_for(line, stream)?, meta, payload))
}

/// One packet about to be written for one subscriber.
struct Write<'a> {
    slot: &'a mut Slot,
    codec: CodecParams,
    meta: &'a PacketMeta,
    payload: &'a [u8],
    ids: PictureIds,
}

impl Write<'_> {
    /// Writes and seals the packet itself; its length, or nothing when it can't be sent.
    fn primary(
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
        let sealed = outbound.seal_rtp(&mut self.slot.guard, buf, header_len, plain_len, index);
        seal_result(sealed, counters)
    }

    /// Writes and seals it as a retransmission (RFC 4588 section 4): next number of the slot's second
    /// SSRC, and the number it had in front of the payload.
    fn retransmission(
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

    /// The header. The mid stands on every packet: a receiver that has not seen it yet can't tell
    /// which line an SSRC belongs to.
    fn header(&self, fields: &HeaderFields, buf: &mut [u8]) -> Option<usize> {
        let mut elements: [(u8, &[u8]); 3] = [(0, &[]); 3];
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
        write_header(buf, fields, &elements[..count])
    }

    /// The payload from `start` on, its descriptor with the slot's picture ids. Returns where it ends.
    fn body(&self, start: usize, buf: &mut [u8]) -> Option<usize> {
        let overhead_end = MAX_DATAGRAM.min(buf.len());
        let room = buf.get_mut(start..overhead_end)?;
        let written = match self.codec.codec {
            Codec::Vp8 => vp8_body(self.payload, self.meta, &self.ids, room)?,
            Codec::Vp9 => vp9_body(self.payload, &self.ids, room)?,
            Codec::Opus | Codec::Red | Codec::H264 => {
                room.get_mut(..self.payload.len())?.copy_from_slice(self.payload);
                self.payload.len()
            }
        };
        Some(start + written)
    }
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
