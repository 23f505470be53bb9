//! From an outbox to sealed bytes: rewrite, write, seal, account.
//!
//! Everything one subscriber gets in a turn is sealed side by side into the batch, so that it leaves
//! as one run. Sound leaves at once; what is repaired and pictures leave as the path allows, and what
//! a probe needs beside them is made of what was sent before.

use std::net::IpAddr;
use std::time::Duration;

use kall_shared::media::{Extension, Kind};

use super::Shard;
use super::counters::Counters;
use super::slab::{Key, Slab};
use super::transmit::{EVEN_MAX, MAX_SEGMENTS, TransmitBatch};
use super::write::{Even, Write, padding};
use crate::address::TransportAddress;
use crate::bwe::Class;
use crate::forward::layer_stream::LayerStream;
use crate::forward::publication::Publication;
use crate::forward::rewriter::Withheld;
use crate::forward::slot::Slot;
use crate::rtp::nack_map::Sent;
use crate::rtp::packet_ring::PacketMeta;
use crate::session::Session;
use crate::session::downstream::{Downstream, Feedback};
use crate::session::outbox::{Item, Outbox, Ready};
use crate::session::transport::Keyed;
use crate::time::Time;
use crate::wire::rtp::HeaderFields;

/// Pictures that waited so long for the path are dropped, and the slot begins again at a key frame: by
/// then a decoder has given up, and what is behind them waits as well.
const QUEUE_MAX: Duration = Duration::from_millis(250);

/// The newest packets that probes repeat: a receiver has no use for older ones, were they lost.
const PROBE_BACK_MAX: u64 = 64;

impl Shard {
    /// Seals what is ready to leave into `batch`. The driver sends it, clears it and calls again until
    /// it stays empty.
    pub fn poll_transmit(&mut self, now: Time, batch: &mut TransmitBatch) {
        if !self.control.drain_into(batch) {
            self.count_transmits(batch);
            return;
        }
        while batch.has_room() {
            let Some(&Ready { session: key, .. }) = self.ready.front() else {
                break;
            };
            self.fetch_ahead();
            let Some(session) = self.sessions.get_mut(key) else {
                self.ready.pop_front();
                continue;
            };
            let turn = Turn {
                now,
                key,
                publications: &self.publications,
                counters: &mut self.counters,
                wanting: &mut self.wanting,
                switched: &mut self.switched,
            };
            if turn.drain(session, batch) == Drained::BatchFull {
                break;
            }
            session.outbox.queued = false;
            self.ready.pop_front();
            // A slot that began or switched wants its sender report at once, and what still waits
            // wants to be looked at when the path has room.
            self.reschedule_sending(now, key);
        }
        self.ask_for_keyframes(now);
        self.after_switches(now);
        self.count_transmits(batch);
    }

    /// Fetches the state of the sessions that are next, a step for each turn of another: what is read in one was
    /// fetched in the one before.
    fn fetch_ahead(&self) {
        let ahead = |by: usize| {
            let ready = self.ready.get(by)?;
            Some((self.sessions.get(ready.session)?, ready.slot))
        };
        if let Some((session, _)) = ahead(3) {
            session.prefetch();
        }
        if let Some((session, slot)) = ahead(2) {
            session.prefetch_linked(slot);
        }
        if let Some((session, slot)) = ahead(1) {
            session.prefetch_slots(slot);
        }
    }

    /// Sessions that wait for [`Self::poll_transmit`].
    #[must_use]
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// The session has something to seal.
    pub(super) fn make_ready(&mut self, key: Key) {
        if let Some(session) = self.sessions.get_mut(key)
            && !session.outbox.queued
        {
            let slot = session.outbox.next_slots().next().unwrap_or(0);
            session.outbox.enlist(key, slot, &mut self.ready);
        }
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

/// Where to and where from: looked up once for all that one session gets in a turn.
type Way = (TransportAddress, IpAddr);

/// How the emptying of an outbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// The batch is full; there may be more.
    BatchFull,
    /// Nothing is left that may leave now.
    Done,
}

/// One session's turn.
struct Turn<'a> {
    now: Time,
    key: Key,
    publications: &'a Slab<Publication>,
    counters: &'a mut Counters,
    wanting: &'a mut Vec<(Key, u8)>,
    switched: &'a mut Vec<(Key, u8)>,
}

impl Turn<'_> {
    fn drain(mut self, session: &mut Session, batch: &mut TransmitBatch) -> Drained {
        let (Some(way), true) = (session.transport.path(), session.transport.keyed.is_some()) else {
            session.outbox.clear();
            return Drained::Done;
        };
        let connection = session.transport.is_connection();
        // Two, for a key frame may need its parameter sets before it.
        while batch.has_room_for(2) {
            let before = batch.byte_len();
            if let Some(item) = session.outbox.pop_urgent() {
                self.send(session, way, item, batch);
            } else if session.may_drain(self.now) {
                if let Some(item) = session.outbox.pop_paced() {
                    self.send(session, way, item, batch);
                }
            } else {
                return self.probe(session, way, batch);
            }
            if connection {
                session.transport.take_room(batch.byte_len() - before);
            }
        }
        Drained::BatchFull
    }

    fn send(&mut self, session: &mut Session, way: Way, item: Item, batch: &mut TransmitBatch) {
        match item {
            Item::Forward {
                slot,
                publication,
                layer,
                seq,
            } => self.forward(session, way, slot, publication, (layer, seq), batch),
            Item::Retransmit { slot, out_seq } => {
                let sealed = self.retransmit(session, way, slot, out_seq, batch);
                match sealed {
                    Some(()) => self.counters.rtx_out += 1,
                    None => self.counters.rtx_refused += 1,
                }
            }
        }
    }

    fn forward(
        &mut self,
        session: &mut Session,
        (to, from): Way,
        index: u8,
        publication: Key,
        (layer, seq): (u8, u64),
        batch: &mut TransmitBatch,
    ) {
        let now = self.now;
        let Some(keyed) = &session.transport.keyed else {
            return;
        };
        let Some(slot) = session.slots.get_mut(usize::from(index)) else {
            return;
        };
        if slot.occupant() != Some(publication) {
            return;
        }
        // Muting counts from its answer on, also for what was queued before it.
        let Some(stream) = self
            .publications
            .get(publication)
            .filter(|found| !found.muted)
            .and_then(|found| found.stream(layer))
        else {
            return;
        };
        let Some((meta, payload)) = stream.ring.get(seq) else {
            self.counters.drop_packet_gone += 1;
            return;
        };
        let video = slot.kind() == Kind::Video;
        if video
            && (session.downstream.is_paced() || session.transport.is_connection())
            && now.since(meta.arrival) > QUEUE_MAX
            && now >= slot.patient_until
            && !meta.keyframe_start
            && slot.shown_layer().is_some()
        {
            // The rest of the queue is as late; its pictures would only keep newer ones waiting.
            slot.interrupt();
            self.counters.drop_queue_late += 1 + session.outbox.drop_video(index) as u64;
            self.want_keyframe(index);
            return;
        }
        let Some(carried) = slot.carry(&stream.codec, &session.params.lines) else {
            self.counters.drop_codec += 1;
            return;
        };
        let out = match slot.rewrite(now, publication, layer, stream, meta) {
            Ok(out) => out,
            Err(Withheld::AwaitsEntry | Withheld::NotAligned) => return self.want_keyframe(index),
            Err(_) => return,
        };
        let fields = HeaderFields {
            marker: out.marker,
            payload_type: carried.codec.pt,
            sequence: out.seq as u16,
            timestamp: out.timestamp,
            ssrc: slot.ssrc(),
        };
        let class = if video { Class::Video } else { Class::Audio };
        let transport = session.downstream.next_number(slot);
        if let (Some(number), Some(sets)) = (out.parameter_sets, &stream.parameter_sets) {
            let fields = HeaderFields {
                marker: false,
                sequence: number as u16,
                ..fields
            };
            let write = Write {
                codec: carried.codec,
                published: stream.codec.codec,
                opus_pt: None,
                meta,
                payload,
                descriptor: &[],
                structure: None,
                ids: out.ids,
                transport,
                now,
                slot,
                even: Even::Not,
            };
            let sealed = write.parameter_sets(
                sets,
                &fields,
                number,
                &keyed.outbound,
                self.counters,
                batch.spare(),
            );
            if let Some(len) = sealed {
                self.counters.rtp_out += 1;
                session.downstream.on_sent(now, len, class, transport.is_some());
                batch.commit(len, to, from);
            }
        }
        let transport = session.downstream.next_number(slot);
        let even = if video {
            match batch.segment(to, from) {
                Some(segment) => Even::To(segment),
                None => Even::By(longest_of_run(self.publications, &session.outbox, payload.len())),
            }
        } else {
            Even::Not
        };
        let write = Write {
            codec: carried.codec,
            published: stream.codec.codec,
            opus_pt: carried.opus_pt,
            meta,
            payload,
            descriptor: stream.ring.descriptor(seq),
            structure: meta.picture_id.and_then(|frame| stream.dependencies.of(frame)),
            ids: out.ids,
            transport,
            now,
            slot,
            even,
        };
        let sealed = write.primary(&fields, out.seq, &keyed.outbound, self.counters, batch.spare());
        let Some(len) = sealed else { return };
        self.counters.rtp_out += 1;
        session.rtx_budget.on_sent(payload.len());
        session.downstream.on_sent(now, len, class, transport.is_some());
        if slot.on_sent(now, len, stream, meta, &out) {
            session.sender_reports.hasten(now);
        }
        if out.switched {
            self.switched.push((self.key, index));
        }
        batch.commit(len, to, from);
    }

    fn want_keyframe(&mut self, slot: u8) {
        if self.wanting.last() != Some(&(self.key, slot)) {
            self.wanting.push((self.key, slot));
        }
    }

    fn retransmit(
        &mut self,
        session: &mut Session,
        way: Way,
        index: u8,
        out_seq: u16,
        batch: &mut TransmitBatch,
    ) -> Option<()> {
        let slot = session.slots.get_mut(usize::from(index))?;
        let sent = slot.on_nack(self.now, out_seq, session.rtt).ok()?;
        let (stream, _, payload) = find_sent(self.publications, slot, &sent)?;
        slot.carry(&stream.codec, &session.params.lines)?.codec.rtx_pt?;
        if !session.rtx_budget.spend(self.now, payload.len()) {
            return None;
        }
        self.resend(session, way, index, &sent, Class::Rtx, batch)?;
        session
            .slots
            .get_mut(usize::from(index))?
            .on_resent(self.now, sent.seq);
        Some(())
    }

    /// Sends a packet once more, on the slot's retransmission stream.
    fn resend(
        &mut self,
        session: &mut Session,
        (to, from): Way,
        index: u8,
        sent: &Sent,
        class: Class,
        batch: &mut TransmitBatch,
    ) -> Option<()> {
        let keyed = session.transport.keyed.as_ref()?;
        let slot = session.slots.get_mut(usize::from(index))?;
        let (stream, meta, payload) = find_sent(self.publications, slot, sent)?;
        let carried = slot.carry(&stream.codec, &session.params.lines)?;
        let structure = meta.picture_id.and_then(|frame| stream.dependencies.of(frame));
        if sent.ids.top_layer.is_some() && structure.is_none() {
            // Two key frames came since: nobody can say any more what was said of its targets.
            return None;
        }
        let transport = session.downstream.next_number(slot);
        let write = Write {
            codec: carried.codec,
            published: stream.codec.codec,
            opus_pt: carried.opus_pt,
            meta,
            payload,
            descriptor: stream.ring.descriptor(meta.seq),
            structure,
            ids: sent.ids,
            transport,
            now: self.now,
            slot,
            even: Even::Not,
        };
        let len = write.retransmission(sent, &keyed.outbound, self.counters, batch.spare())?;
        self.counters.rtp_out += 1;
        session
            .downstream
            .on_sent(self.now, len, class, transport.is_some());
        batch.commit(len, to, from);
        Some(())
    }

    /// Adds what a running probe wants beside the media: packets sent a moment ago once more, which
    /// repairs what was lost of them, and where there are none padding.
    fn probe(&mut self, session: &mut Session, way: Way, batch: &mut TransmitBatch) -> Drained {
        if session.downstream.feedback != Feedback::Transport || !session.transport.has_room() {
            return Drained::Done;
        }
        while session.downstream.estimator.probe_bytes(self.now) > 0 {
            if !batch.has_room() {
                return Drained::BatchFull;
            }
            if self.repeat_recent(session, way, batch).is_none() && self.pad(session, way, batch).is_none() {
                break;
            }
        }
        Drained::Done
    }

    fn repeat_recent(&mut self, session: &mut Session, way: Way, batch: &mut TransmitBatch) -> Option<()> {
        let index = probing_slot(session)?;
        let back = session.downstream.probe_back % PROBE_BACK_MAX;
        session.downstream.probe_back = back + 1;
        let sent = session.slots.get(usize::from(index))?.recent(back)?;
        self.resend(session, way, index, &sent, Class::Padding, batch)
    }

    fn pad(&mut self, session: &mut Session, (to, from): Way, batch: &mut TransmitBatch) -> Option<()> {
        let index = probing_slot(session)?;
        let Keyed { outbound, .. } = session.transport.keyed.as_ref()?;
        let slot = session.slots.get_mut(usize::from(index))?;
        // A receiver takes padding by its mid, be there media before it or not.
        let timestamp = slot.newest_sent().unwrap_or(0);
        let line = session.params.lines.get(usize::from(slot.line))?;
        let codec = line.codecs.iter().find(|codec| codec.rtx_pt.is_some())?;
        let transport = session.downstream.next_number(slot);
        let len = padding(
            slot,
            codec,
            timestamp,
            transport,
            outbound,
            self.counters,
            batch.spare(),
        )?;
        self.counters.padding_out += 1;
        session
            .downstream
            .on_sent(self.now, len, Class::Padding, transport.is_some());
        batch.commit(len, to, from);
        Some(())
    }
}

/// By how many bytes the longest of the packets that will follow in a run is longer than its first, whose
/// payload has `first` bytes. What differs by more ends the run anyway.
fn longest_of_run(publications: &Slab<Publication>, outbox: &Outbox, first: usize) -> usize {
    let payload = |item: &Item| match *item {
        Item::Forward {
            publication,
            layer,
            seq,
            ..
        } => {
            let stream = publications.get(publication)?.stream(layer)?;
            Some(stream.ring.get(seq)?.1.len())
        }
        Item::Retransmit { .. } => None,
    };
    outbox
        .video()
        .take(usize::from(MAX_SEGMENTS))
        .map_while(payload)
        .take_while(|len| first.abs_diff(*len) <= EVEN_MAX)
        .map(|len| len.saturating_sub(first))
        .max()
        .unwrap_or(0)
}

/// The slot whose retransmission stream carries probes: one that shows something, if there is one.
fn probing_slot(session: &Session) -> Option<u8> {
    let usable = |slot: &Slot| slot.rtx.is_some() && slot.extensions.id(Extension::TransportCc).is_some();
    let found = session
        .slots
        .iter()
        .position(|slot| usable(slot) && slot.shown_layer().is_some());
    found
        .or_else(|| session.slots.iter().position(usable))
        .map(|index| index as u8)
}

/// The publisher's packet behind one that was sent, while the slot is still fed by that publication and
/// it is not muted.
fn find_sent<'a>(
    publications: &'a Slab<Publication>,
    slot: &Slot,
    sent: &Sent,
) -> Option<(&'a LayerStream, &'a PacketMeta, &'a [u8])> {
    let publication = publications.get(slot.occupant()?)?;
    if publication.muted {
        return None;
    }
    let stream = publication
        .layers
        .iter()
        .filter_map(|layer| layer.stream.as_ref())
        .find(|stream| stream.source == sent.source)?;
    let (meta, payload) = stream.ring.get(sent.source_seq)?;
    Some((stream, meta, payload))
}

impl Downstream {
    /// The number the next packet of a slot takes on the path, where the peer reports on them.
    fn next_number(&self, slot: &Slot) -> Option<u16> {
        let told = slot.extensions.id(Extension::TransportCc).is_some();
        (told && self.feedback == Feedback::Transport).then(|| self.estimator.next_sequence())
    }
}
