//! What a peer reports and asks for over RTCP, both as a receiver and as a publisher.

use kall_shared::media::Kind;

use super::{Datagram, Shard};
use crate::forward::keyframe::Meanwhile;
use crate::session::DEFAULT_RTT;
use crate::session::downstream::Feedback;
use crate::session::outbox::Item;
use crate::shard::slab::Key;
use crate::srtp::Inbound;
use crate::time::Time;
use crate::wire::rtcp::{self, Rtcp};

impl Shard {
    pub(super) fn on_rtcp(&mut self, now: Time, datagram: &mut Datagram<'_>) {
        let Some((key, len)) = self.open(now, datagram, Inbound::unprotect_rtcp) else {
            return;
        };
        self.counters.rtcp_in += 1;
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
