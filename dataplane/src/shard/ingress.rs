//! From a datagram to what it means: demultiplex, authenticate, parse, account, fan out.
//!
//! Nothing is believed before it is authenticated: a datagram that fails leaves a counter and no
//! other trace. State is created only for peers that a session was opened for.

use kall_shared::link::Event;
use kall_shared::media::{Codec, Extension, Kind};

use super::counters::Counters;
use super::{Datagram, Shard, session_key, ufrag};
use crate::address::TransportAddress;
use crate::forward::inspect;
use crate::forward::keyframe::Meanwhile;
use crate::forward::publication::{Incoming, Taken};
use crate::forward::slot::Slot;
use crate::ice::Ignored;
use crate::io::prefetch::prefetch;
use crate::session::DEFAULT_RTT;
use crate::session::downstream::Feedback;
use crate::session::formats::Format;
use crate::session::incoming::{Stream, Unmapped};
use crate::session::outbox::Item;
use crate::shard::slab::Key;
use crate::shard::transmit::MAX_DATAGRAM;
use crate::speakers::ONSET;
use crate::srtp::Refused;
use crate::time::Time;
use crate::wire::demux::{Class, classify};
use crate::wire::rtcp::{self, Rtcp};
use crate::wire::rtp::Packet;
use crate::wire::rtp_ext::read_transport_sequence;
use crate::wire::stun;

/// Most packets of the beginning of a word: five of 20 ms.
const ONSET_PACKETS: u64 = 5;

/// How many subscribers before its turn the queue of one is fetched; and twice as many, what says where that is.
const FETCHED_AHEAD: usize = 4;

/// A packet's place among those of its stream that came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// It is newer than all of them.
    New,
    /// So is this one, the sound of somebody who was just given a place: slots that had something else get
    /// what came since.
    Onset(Time),
    /// It was lost, or is late.
    Late,
    /// So is this one, and a key frame begins with it: slots that wait for one refused its successors,
    /// and get them again.
    LateStart,
}

impl Order {
    /// The place of a packet; `heard` is when it came, if its sender was just given a place among those who are heard.
    pub(super) fn of(late: bool, keyframe_start: bool, heard: Option<Time>) -> Self {
        match (late, keyframe_start) {
            (false, _) => heard.map_or(Self::New, |received| Self::Onset(received - ONSET)),
            (true, false) => Self::Late,
            (true, true) => Self::LateStart,
        }
    }
}

impl Shard {
    /// Takes one datagram; `datagram.data` is decrypted in place.
    pub fn handle_datagram(&mut self, now: Time, mut datagram: Datagram<'_>) {
        self.counters.rx_packets += 1;
        self.counters.rx_bytes += datagram.data.len() as u64;
        match classify(datagram.data) {
            Class::Stun => self.on_stun(now, &datagram),
            Class::Dtls => self.on_dtls(&datagram),
            Class::Rtp => self.on_rtp(now, &mut datagram),
            Class::Rtcp => self.on_rtcp(now, &mut datagram),
            Class::Other => self.counters.drop_unknown_class += 1,
        }
    }

    /// What comes after the next datagrams is from there: the session's state is fetched, and of the one told of before
    /// what that leads to.
    pub fn expect_from(&mut self, from: Option<TransportAddress>) {
        let next = from.and_then(|from| self.flows.owner(&from));
        let before = std::mem::replace(&mut self.expected, next);
        if next == before {
            // A publisher's packets come one after the other.
            return;
        }
        if let Some(session) = before.and_then(|key| self.sessions.get(key)) {
            session.prefetch_incoming_linked();
        }
        if let Some(session) = next.and_then(|key| self.sessions.get(key)) {
            session.prefetch_incoming();
        }
    }

    fn on_stun(&mut self, now: Time, datagram: &Datagram<'_>) {
        let Ok(message) = stun::Message::parse(datagram.data) else {
            self.counters.drop_stun_malformed += 1;
            return;
        };
        if message.class() == stun::Class::Request && message.username().is_none() {
            return self.on_bare_stun(now, &message, datagram);
        }
        let key = message
            .username()
            .and_then(|username| self.session_of_username(username));
        let Some((key, session)) =
            key.and_then(|key| self.sessions.get_mut(key).map(|session| (key, session)))
        else {
            self.counters.drop_stun_unknown_user += 1;
            return;
        };
        let known = self.flows.owner(&datagram.from) == Some(key);
        let allowed =
            known || self.check_limit.allow(now, datagram.from.ip()) && session.transport.unproved.allow(now);
        if !allowed {
            self.counters.drop_stun_rate += 1;
            return;
        }
        let mut reply = [0; MAX_DATAGRAM];
        let had_path = session.transport.path().is_some();
        let outcome =
            session
                .transport
                .ice
                .handle_request(now, &message, datagram.from, datagram.to, &mut reply);
        if let Some(ignored) = outcome.ignored {
            *match ignored {
                Ignored::Answer => &mut self.counters.drop_stun_refused,
                Ignored::UnknownUser => &mut self.counters.drop_stun_unknown_user,
                Ignored::Integrity => &mut self.counters.drop_stun_integrity,
            } += 1;
        }
        if had_path && outcome.path_changed {
            self.counters.path_changes += 1;
            session.on_path_change(now);
        }
        // Only a message that knows the password is answered, and a refusal validates nothing.
        let valid = outcome.reply_len > 0 && session.transport.ice.is_validated(&datagram.from);
        if let Some(evicted) = outcome.evicted {
            self.forget_address(&evicted, key);
        }
        if valid {
            self.flows.claim(datagram.from, key);
        }
        if outcome.reply_len > 0 {
            self.counters.stun_answered += 1;
            self.push_control(&reply[..outcome.reply_len], datagram.from, datagram.to);
        }
        self.reschedule(now, key);
    }

    /// Somebody asks for its own address. The answer is twice as long as the shortest question, so it is
    /// rationed by source: a forged one gains nothing worth having.
    fn on_bare_stun(&mut self, now: Time, message: &stun::Message<'_>, datagram: &Datagram<'_>) {
        let Some(limit) = &mut self.bare_limit else {
            self.counters.drop_stun_unknown_user += 1;
            return;
        };
        if !limit.allow(now, datagram.from.ip()) {
            self.counters.drop_stun_rate += 1;
            return;
        }
        let mut reply = [0; MAX_DATAGRAM];
        let mapped = datagram.from.socket();
        if let Some(len) = stun::write_bare_success(&mut reply, message.transaction_id(), mapped) {
            self.counters.stun_bare_answered += 1;
            self.push_control(&reply[..len], datagram.from, datagram.to);
        }
    }

    /// The session of this core that a user fragment was made for.
    fn session_of_username(&self, username: &[u8]) -> Option<Key> {
        let id = ufrag::session_of(username)?;
        (id.core() == self.config.core).then(|| session_key(id))
    }

    pub(super) fn flow(&mut self, from: &TransportAddress) -> Option<Key> {
        let key = self.flows.owner(from);
        if key.is_none() {
            self.counters.drop_unknown_tuple += 1;
        }
        key
    }

    fn count_refused(counters: &mut Counters, refused: Refused) {
        *match refused {
            Refused::Short => &mut counters.drop_srtp_short,
            Refused::Replay => &mut counters.drop_srtp_replay,
            Refused::Auth | Refused::Clear => &mut counters.drop_srtp_auth,
            Refused::TooManyStreams => &mut counters.drop_srtp_streams,
        } += 1;
    }

    fn on_rtp(&mut self, now: Time, datagram: &mut Datagram<'_>) {
        let Some(key) = self.flow(&datagram.from) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(keyed) = &mut session.transport.keyed else {
            self.counters.drop_no_keys += 1;
            return;
        };
        let opened = match keyed.inbound.unprotect_rtp(datagram.data) {
            Ok(opened) => opened,
            Err(refused) => return Self::count_refused(&mut self.counters, refused),
        };
        self.counters.rtp_in += 1;
        session.received.add(now, datagram.data.len());
        if session.transport.ice.on_authenticated_packet(now, datagram.from) {
            self.counters.path_changes += 1;
            session.on_path_change(now);
        }
        let Ok(packet) = Packet::parse(&datagram.data[..opened.len]) else {
            self.counters.drop_rtp_malformed += 1;
            return;
        };
        // Feedback counts every packet of the bundle: probes and padding tell of the path as well.
        if let Some(sequence) = session
            .extensions
            .id(Extension::TransportCc)
            .and_then(|id| packet.extension(id))
            .and_then(read_transport_sequence)
        {
            session
                .arrivals
                .on_packet(datagram.received, sequence, opened.len);
        } else {
            session.remb.on_packet(opened.len);
        }
        match session
            .incoming
            .resolve(&packet, &session.params.lines, &session.extensions)
        {
            Ok((stream, format)) => self.on_media(now, datagram.received, key, &packet, stream, format),
            Err(Unmapped::Unknown) => self.counters.drop_rtp_unmapped += 1,
            Err(Unmapped::TooMany) => self.counters.drop_srtp_streams += 1,
        }
        self.reschedule(now, key);
    }

    fn on_media(
        &mut self,
        now: Time,
        received: Time,
        key: Key,
        packet: &Packet<'_>,
        stream: Stream,
        format: Format,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(publication_key) = session.publication_on(stream.line) else {
            self.counters.drop_rtp_unmapped += 1;
            return;
        };
        let Some(publication) = self.publications.get_mut(publication_key) else {
            return;
        };
        let (codec, ssrc, sequence, payload) = match format {
            Format::Primary(codec) => (codec, Some(packet.ssrc()), packet.sequence(), packet.payload()),
            Format::Rtx(codec) => {
                // RFC 4588 section 4: the original number, then the original payload. Without it
                // the packet is a probe that only feedback cares about.
                let Some((original, payload)) = packet.payload().split_first_chunk::<2>() else {
                    return;
                };
                (codec, None, u16::from_be_bytes(*original), payload)
            }
        };
        let facts = inspect::payload_facts(codec.codec, packet, payload, &session.extensions);
        let descriptor = session
            .extensions
            .id(Extension::DependencyDescriptor)
            .filter(|_| codec.codec == Codec::Av1)
            .and_then(|id| packet.extension(id))
            .unwrap_or_default();
        // Other cores must know what a packet is of before it comes.
        let told_layers = (!publication.peers.is_empty()).then_some(publication.layers.len());
        let taken = publication.take(
            now,
            received,
            &Incoming {
                layer: stream.layer,
                ssrc,
                codec,
                sequence,
                timestamp: packet.timestamp(),
                facts,
                descriptor,
                payload,
            },
            &mut self.sources,
        );
        match taken {
            Taken::NoStream => self.counters.drop_rtp_unmapped += 1,
            Taken::Duplicate => self.counters.drop_rtp_duplicate += 1,
            Taken::Kept {
                seq,
                late,
                keyframe_start,
                first_of_track,
                first_of_stream,
                keyframe_needed,
                codec_changed,
            } => {
                if ssrc.is_none() {
                    self.counters.rtx_in += 1;
                }
                if keyframe_needed {
                    publication.request_keyframe(now, stream.layer, session.rtt, Meanwhile::Something);
                }
                if first_of_stream {
                    session
                        .receiver_reports
                        .hasten(now + crate::rtp::report::RECEIVER_FIRST);
                }
                if first_of_track {
                    let (session, track) = (session.id, publication.track.clone());
                    self.outgoing.event(Event::TrackStarted { session, track });
                    self.on_track_started(now, publication_key);
                }
                if codec_changed {
                    self.check_codecs(now, publication_key);
                }
                if let Some(told) = told_layers {
                    let found = self.publications.get(publication_key);
                    if found.is_some_and(|publication| publication.layers.len() != told) {
                        self.tell_layers(publication_key, false);
                    }
                    if first_of_track || codec_changed {
                        self.tell_codec(publication_key);
                    }
                }
                // Before it is forwarded: a first word makes its own way.
                let heard =
                    !late && ssrc.is_some() && self.on_sound(now, publication_key, facts.meta.audio_level);
                let order = Order::of(late, keyframe_start, heard.then_some(received));
                self.fan_out(now, publication_key, stream.layer, seq, order);
            }
        }
    }

    /// Hands one packet to every slot that wants its layer, and what belongs to it.
    pub(super) fn fan_out(&mut self, now: Time, publication_key: Key, layer: u8, seq: u64, order: Order) {
        let Some(publication) = self.publications.get(publication_key) else {
            return;
        };
        let from = publication.stream(layer).map_or(0, |stream| stream.forward_from);
        if publication.muted {
            self.counters.drop_muted += 1;
            return;
        }
        if seq < from {
            return;
        }
        if !publication.peers.is_empty() {
            self.relay(now, publication_key, layer, seq);
        }
        let Some(publication) = self.publications.get(publication_key) else {
            return;
        };
        let kind = publication.kind;
        // Of one stream with several layers everybody sees every packet: what is left out must not look lost.
        let scalable = publication.is_scalable();
        let described = scalable
            && publication
                .stream(layer)
                .is_some_and(|stream| stream.codec.codec == Codec::Av1);
        for (place, subscriber) in publication.subscribers.iter().enumerate() {
            let ahead = |by: usize| {
                let subscriber = publication.subscribers.get(place + by)?;
                Some(&self.sessions.get(subscriber.session)?.outbox)
            };
            if let Some(outbox) = ahead(2 * FETCHED_AHEAD) {
                prefetch(outbox);
            }
            if let Some(outbox) = ahead(FETCHED_AHEAD) {
                outbox.prefetch_end(kind);
            }
            if !(subscriber.takes(layer) || scalable && subscriber.takes_any()) {
                continue;
            }
            let Some(session) = self.sessions.get_mut(subscriber.session) else {
                continue;
            };
            if !session.outbox.open {
                continue;
            }
            session
                .outbox
                .enlist(subscriber.session, subscriber.slot, &mut self.ready);
            let slot = subscriber.slot;
            let item = |seq| Item::Forward {
                slot,
                publication: publication_key,
                layer,
                seq,
            };
            if order == Order::New {
                let pushed = session.outbox.push(kind, item(seq));
                self.counters.drop_outbox_full += u64::from(!pushed);
                continue;
            }
            let own = session.slots.get(usize::from(slot));
            let waits = own.is_some_and(Slot::waits_for_keyframe);
            let shown = own.is_some_and(|own| {
                let layer = own.shown_layer().filter(|_| scalable).unwrap_or(layer);
                own.shows_layer(publication_key, layer)
            });
            if let Order::Onset(since) = order
                && let Some(stream) = publication.stream(layer)
                && !own.is_some_and(|own| own.shows(stream.source))
            {
                let first = seq.saturating_sub(ONSET_PACKETS).max(from);
                for (meta, _) in (first..seq).filter_map(|seq| stream.ring.get(seq)) {
                    if meta.arrival >= since && !session.outbox.push(kind, item(meta.seq)) {
                        self.counters.drop_outbox_full += 1;
                        break;
                    }
                }
            }
            // Where the layer's key frame may still be queued itself, what belongs to it keeps behind it.
            let late = matches!(order, Order::Late | Order::LateStart);
            let fills = late && kind == Kind::Video && shown;
            let mut push = |seq| {
                if fills {
                    session.outbox.push_late(item(seq))
                } else {
                    session.outbox.push(kind, item(seq))
                }
            };
            let pushed = push(seq);
            self.counters.drop_outbox_full += u64::from(!pushed);
            // So did slots that show it already, where nobody knew what its successors are before it came.
            let refused = if fills { described } else { waits };
            if order == Order::LateStart
                && refused
                && pushed
                && let Some(stream) = publication.stream(layer)
            {
                // A full queue ends it, or a publisher could make work of it that no bound knows.
                for (meta, _) in stream.ring.from(seq + 1) {
                    if !push(meta.seq) {
                        self.counters.drop_outbox_full += 1;
                        break;
                    }
                }
            }
        }
    }

    fn on_rtcp(&mut self, now: Time, datagram: &mut Datagram<'_>) {
        let Some(key) = self.flow(&datagram.from) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(keyed) = &mut session.transport.keyed else {
            self.counters.drop_no_keys += 1;
            return;
        };
        let len = match keyed.inbound.unprotect_rtcp(datagram.data) {
            Ok(len) => len,
            Err(refused) => return Self::count_refused(&mut self.counters, refused),
        };
        self.counters.rtcp_in += 1;
        if session.transport.ice.on_authenticated_packet(now, datagram.from) {
            self.counters.path_changes += 1;
            session.on_path_change(now);
        }
        for message in rtcp::packets(&datagram.data[..len]) {
            let Ok(message) = message else {
                self.counters.drop_rtcp_malformed += 1;
                break;
            };
            self.on_rtcp_message(now, datagram.received, key, &message);
        }
        self.reschedule(now, key);
    }

    fn on_rtcp_message(&mut self, now: Time, received: Time, key: Key, message: &Rtcp<'_>) {
        match message {
            Rtcp::SenderReport(report) => {
                self.on_sender_report(received, key, &report.info());
                for block in report.reports() {
                    self.on_report_block(now, key, &block);
                }
            }
            Rtcp::ReceiverReport(report) => {
                for block in report.reports() {
                    self.on_report_block(now, key, &block);
                }
            }
            Rtcp::Nack(nack) => self.on_nack(key, nack.media_ssrc(), nack.lost()),
            Rtcp::Pli(pli) => self.on_keyframe_request(now, key, pli.media_ssrc),
            Rtcp::Fir(fir) => {
                for entry in fir.entries() {
                    self.on_keyframe_request(now, key, entry.ssrc);
                }
            }
            Rtcp::Twcc(twcc) => self.on_transport_feedback(now, received, key, twcc),
            Rtcp::Remb(remb) => self.on_remb(now, key, remb.bitrate()),
            // Nothing here acts on them: a line never offers what would make a peer send them.
            Rtcp::Sdes(_) | Rtcp::Bye(_) | Rtcp::Unknown { .. } => {}
        }
    }

    /// What came of the packets sent to the peer.
    fn on_transport_feedback(&mut self, now: Time, received: Time, key: Key, twcc: &rtcp::twcc::Twcc<'_>) {
        self.counters.twcc_received += 1;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let downstream = &mut session.downstream;
        if downstream.feedback == Feedback::Transport {
            let outcome = downstream.estimator.on_feedback(now, received, twcc);
            if let Some(rtt) = downstream.estimator.rtt() {
                session.rtt = rtt;
            }
            downstream.follow_estimate(now);
            if let Some(since) = outcome.restored {
                session.release_holds(since);
            }
            self.make_ready(key);
        }
    }

    fn on_remb(&mut self, now: Time, key: Key, bitrate: u64) {
        self.counters.remb_received += 1;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let downstream = &mut session.downstream;
        if downstream.is_paced() {
            downstream.estimator.on_remb(now, bitrate);
            downstream.follow_estimate(now);
        }
    }

    fn on_sender_report(&mut self, received: Time, key: Key, info: &rtcp::sr::SenderInfo) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        for published in &session.published {
            let Some(publication) = self.publications.get_mut(published.publication) else {
                continue;
            };
            for (index, layer) in publication.layers.iter_mut().enumerate() {
                if let Some(stream) = &mut layer.stream
                    && stream.recv.ssrc() == info.ssrc
                {
                    session.capture_clock.on_sender_report(received, info.ntp);
                    stream
                        .recv
                        .on_sender_report(received, info.ntp, info.rtp_timestamp);
                    let publication = published.publication;
                    return self.tell_report(publication, index as u8);
                }
            }
        }
    }

    fn on_report_block(&mut self, now: Time, key: Key, block: &rtcp::ReportBlock) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let wall = self.config.wall;
        if let Some(index) = session.slot_by_ssrc(block.ssrc)
            && let Some(slot) = session.slots.get_mut(index)
        {
            slot.on_report_block(now, &wall, block);
            if let Some(rtt) = slot.rtt() {
                session.rtt = rtt;
            }
            let rtt = slot.rtt();
            session
                .downstream
                .estimator
                .on_report(now, block.fraction_lost, rtt);
        }
    }

    fn on_nack(&mut self, key: Key, media_ssrc: u32, lost: impl Iterator<Item = u16>) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        // Numbers of a retransmission stream are not repaired: they name nothing of the slot.
        let Some(index) = session.slots.iter().position(|slot| slot.ssrc() == media_ssrc) else {
            return;
        };
        for out_seq in lost {
            self.counters.nack_received += 1;
            if let Some(slot) = session.slots.get_mut(index) {
                slot.counts.nack_received += 1;
            }
            let item = Item::Retransmit {
                slot: index as u8,
                out_seq,
            };
            if !session.outbox.push(Kind::Video, item) {
                self.counters.rtx_refused += 1;
                continue;
            }
            session.outbox.enlist(key, index as u8, &mut self.ready);
        }
    }

    fn on_keyframe_request(&mut self, now: Time, key: Key, media_ssrc: u32) {
        self.counters.pli_received += 1;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(index) = session.slot_by_ssrc(media_ssrc) else {
            return;
        };
        // The queue on the path is part of it, and what feedback tells is newer than what reports do.
        let told = session.downstream.estimator.rtt().unwrap_or_default();
        let rtt = session.rtt.max(told);
        let Some(slot) = session.slots.get_mut(index) else {
            return;
        };
        slot.counts.pli_received += 1;
        if slot.on_keyframe_request(now, rtt) {
            // What it sees is broken, whatever else it waits for.
            let shown = slot.shown_layer().zip(slot.occupant());
            if let Some((layer, occupant)) = shown {
                self.request_keyframe_of(now, occupant, layer, Meanwhile::Something);
            }
            self.request_keyframe_for(now, key, index);
        }
    }

    /// Asks the publisher that feeds a slot for a key frame of the layer the slot takes next.
    pub(super) fn request_keyframe_for(&mut self, now: Time, key: Key, slot: usize) {
        // A key frame that comes before the receiver's keys is lost on it, and the next one has to wait for
        // the spacing of requests; it is asked for when the receiver is connected.
        let Some(session) = self
            .sessions
            .get(key)
            .filter(|session| session.transport.keyed.is_some())
        else {
            return;
        };
        let Some(slot) = session.slots.get(slot) else {
            return;
        };
        let Some((publication_key, layer)) = slot.target() else {
            return;
        };
        let meanwhile = if slot.shown_layer().is_some() {
            Meanwhile::Something
        } else {
            Meanwhile::Nothing
        };
        self.request_keyframe_of(now, publication_key, layer, meanwhile);
    }

    pub(super) fn request_keyframe_of(
        &mut self,
        now: Time,
        publication_key: Key,
        layer: u8,
        meanwhile: Meanwhile,
    ) {
        if let Some(publication) = self.publications.get_mut(publication_key) {
            let Some(owner) = publication.own_session() else {
                return self.ask_origin(publication_key, layer, meanwhile);
            };
            let rtt = self.sessions.get(owner).map_or(DEFAULT_RTT, |owner| owner.rtt);
            publication.request_keyframe(now, layer, rtt, meanwhile);
            self.reschedule(now, owner);
        }
    }
}
