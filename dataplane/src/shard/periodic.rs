//! What a session does by the clock: consent, handshake timers, feedback, requests and reports.
//!
//! A session is looked at when its own earliest deadline is due; nothing walks over all of them.

use std::time::Duration;

use kall_shared::link::CloseReason;

use super::Shard;
use super::slab::Key;
use crate::forward::publication::Layer;
use crate::forward::relay::Owner;
use crate::limits;
use crate::session::downstream::Feedback;
use crate::shard::transmit::MAX_DATAGRAM;
use crate::time::Time;
use crate::wire::rtcp;

/// Sequence numbers of one NACK message: four times what one burst usually loses.
const NACK_BATCH: usize = 64;

/// Report blocks of one receiver report (RFC 3550 section 6.4.1).
const BLOCKS_MAX: usize = 31;

impl Shard {
    /// Runs what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.walk_on(now);
        // Taken out first: a deadline that its handler leaves in the past comes up again in the
        // next turn, after everybody else's, and never holds this one.
        let mut due = std::mem::take(&mut self.due);
        while let Some((at, key)) = self.timers.pop_due(now) {
            // An entry that an earlier wake-up has replaced is stale.
            if let Some(session) = self.sessions.get_mut(key)
                && session.wake_at == at
            {
                session.wake_at = Time::FAR_FUTURE;
                due.push(key);
            }
        }
        for key in due.drain(..) {
            self.run_session(now, key);
            self.reschedule(now, key);
        }
        self.due = due;
    }

    /// Plans a session's next wake-up, if it is earlier than the one planned.
    pub(super) fn reschedule(&mut self, now: Time, key: Key) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let mut deadline = session
            .transport
            .poll_deadline()
            .min(session.arrivals.poll_deadline())
            .min(session.receiver_reports.poll_deadline())
            .min(session.sending_deadline(now));
        if session.wants_remb {
            deadline = deadline.min(session.remb.poll_deadline());
        }
        for published in &session.published {
            let Some(publication) = self.publications.get(published.publication) else {
                continue;
            };
            deadline = deadline.min(publication.look_at);
            if publication.has_named_layers() && publication.started {
                deadline = deadline.min(publication.dynacast.poll_deadline());
            }
            for layer in &publication.layers {
                deadline = deadline.min(layer.keyframes.poll_deadline());
                if let Some(stream) = &layer.stream {
                    deadline = deadline.min(stream.nack.poll_deadline());
                }
            }
        }
        self.wake_by(key, deadline);
    }

    /// The same after something was sent, which moves nothing else.
    pub(super) fn reschedule_sending(&mut self, now: Time, key: Key) {
        if let Some(session) = self.sessions.get(key) {
            let deadline = session.sending_deadline(now);
            self.wake_by(key, deadline);
        }
    }

    fn wake_by(&mut self, key: Key, deadline: Time) {
        if let Some(session) = self.sessions.get_mut(key)
            && deadline < session.wake_at
        {
            session.wake_at = deadline;
            self.timers.schedule(key, deadline);
        }
    }

    fn run_session(&mut self, now: Time, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.transport.consent_expired(now) {
            return self.close_session(now, key, CloseReason::ConsentExpired);
        }
        if session.transport.connect_expired(now) {
            return self.close_session(now, key, CloseReason::ConnectTimeout);
        }
        if session.transport.is_dtls_due(now) {
            session.transport.with_dtls(|dtls| dtls.handle_timeout(now));
            self.after_dtls(now, key);
        }
        self.run_downstream(now, key);
        self.look_after_tracks(now, key);
        self.send_transport_feedback(now, key);
        self.send_requests(now, key);
        self.send_reports(now, key);
    }

    /// The estimate, shares that are due, and what waits for its turn.
    fn run_downstream(&mut self, now: Time, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let open = session.outbox.open;
        let downstream = &mut session.downstream;
        if open && downstream.feedback == Feedback::Transport && downstream.estimator.poll_deadline() <= now {
            downstream.estimator.handle_timeout(now);
            downstream.follow_estimate(now);
        }
        if downstream.allocate_at <= now {
            self.allocate(now, key);
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let probing = open
            && session.downstream.feedback == Feedback::Transport
            && session.transport.has_room()
            && session.downstream.estimator.probe_bytes(now) > 0;
        if probing || session.may_drain(now) {
            self.make_ready(key);
        }
    }

    /// Transport-wide feedback, or a bitrate limit for a publisher without it.
    fn send_transport_feedback(&mut self, now: Time, key: Key) {
        while let Some(session) = self.sessions.get_mut(key) {
            let media_ssrc = session.any_incoming_ssrc(&self.publications);
            let buf = &mut self.scratch[..limits::RTCP_COMPOUND_BYTES];
            let (sender, media) = (session.feedback_ssrc, media_ssrc.unwrap_or(0));
            let Some(len) = session.arrivals.poll(now, buf, sender, media) else {
                break;
            };
            self.counters.twcc_sent += 1;
            self.send_rtcp(key, len);
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if !session.wants_remb || now < session.remb.poll_deadline() {
            return;
        }
        for published in &session.published {
            let layers = self
                .publications
                .get_mut(published.publication)
                .into_iter()
                .flat_map(|publication| &mut publication.layers);
            for stream in layers.filter_map(|layer| layer.stream.as_mut()) {
                session.remb.on_lost(stream.recv.take_lost());
            }
        }
        if let Some(bitrate) = session.remb.poll(now) {
            let ssrcs = session.any_incoming_ssrc(&self.publications).map(|ssrc| [ssrc]);
            let ssrcs = ssrcs.as_ref().map_or(&[][..], |ssrcs| &ssrcs[..]);
            let written = rtcp::remb::write(&mut self.scratch, session.feedback_ssrc, bitrate, ssrcs);
            if let Some(len) = written {
                self.send_rtcp(key, len);
            }
        }
    }

    /// NACKs for what is missing and key frame requests that are due.
    fn send_requests(&mut self, now: Time, key: Key) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let (sender, rtt) = (session.feedback_ssrc, session.rtt);
        let mut index = 0;
        while let Some(published) = self
            .sessions
            .get(key)
            .and_then(|session| session.published.get(index))
        {
            let publication_key = published.publication;
            index += 1;
            let layers = self
                .publications
                .get(publication_key)
                .map_or(0, |found| found.layers.len());
            for layer in 0..layers {
                self.send_nacks(now, key, publication_key, layer, (sender, rtt));
                self.send_keyframe_request(now, key, publication_key, layer);
            }
        }
    }

    fn send_nacks(
        &mut self,
        now: Time,
        key: Key,
        publication_key: Key,
        layer: usize,
        (sender, rtt): (u32, Duration),
    ) {
        let mut lost = [0; NACK_BATCH];
        while let Some(stream) = self
            .publications
            .get_mut(publication_key)
            .and_then(|publication| publication.stream_mut(layer))
        {
            let count = stream.nack.poll(now, rtt, &mut lost);
            let media = stream.recv.ssrc();
            if count > 0
                && stream.codec.feedback.nack
                && let Some(len) = rtcp::nack::write(&mut self.scratch, sender, media, &lost[..count])
            {
                self.counters.nack_sent += count as u64;
                self.count_on_layer(publication_key, layer, |layer| layer.nack_sent += count as u64);
                self.send_rtcp(key, len);
            }
            if count < NACK_BATCH {
                break;
            }
        }
    }

    fn count_on_layer(&mut self, publication: Key, layer: usize, count: impl FnOnce(&mut Layer)) {
        if let Some(layer) = self
            .publications
            .get_mut(publication)
            .and_then(|publication| publication.layers.get_mut(layer))
        {
            count(layer);
        }
    }

    fn send_keyframe_request(&mut self, now: Time, key: Key, publication_key: Key, layer: usize) {
        let Some(publication) = self.publications.get_mut(publication_key) else {
            return;
        };
        let Some(layer) = publication.layers.get_mut(layer) else {
            return;
        };
        if !layer.keyframes.poll(now) {
            return;
        }
        let Some(stream) = &layer.stream else { return };
        layer.pli_sent += 1;
        let media = stream.recv.ssrc();
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let sender = session.feedback_ssrc;
        let written = if stream.codec.feedback.pli {
            rtcp::pli::write(&mut self.scratch, sender, media)
        } else if stream.codec.feedback.fir {
            let sequence = session.next_fir();
            let entry = rtcp::fir::Entry {
                ssrc: media,
                sequence,
            };
            rtcp::fir::write(&mut self.scratch, sender, entry)
        } else {
            None
        };
        if let Some(len) = written {
            self.counters.pli_sent += 1;
            self.send_rtcp(key, len);
        }
    }

    fn send_reports(&mut self, now: Time, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.receiver_reports.poll(now) {
            self.send_receiver_reports(now, key);
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.sender_reports.poll(now) {
            self.send_sender_reports(now, key);
        }
    }

    fn send_receiver_reports(&mut self, now: Time, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let mut blocks = [rtcp::ReportBlock::default(); BLOCKS_MAX];
        let mut count = 0;
        for published in &session.published {
            let Some(publication) = self.publications.get_mut(published.publication) else {
                continue;
            };
            for stream in publication
                .layers
                .iter_mut()
                .filter_map(|layer| layer.stream.as_mut())
            {
                if count < BLOCKS_MAX
                    && let Some(block) = stream.recv.report_block(now)
                {
                    blocks[count] = block;
                    count += 1;
                }
            }
        }
        let sender = session.feedback_ssrc;
        if let Some(len) = rtcp::rr::write(&mut self.scratch, sender, &blocks[..count])
            && let Some(len) = append_cname(&mut self.scratch, len, sender, &session.description.cname)
        {
            self.send_rtcp(key, len);
        }
    }

    fn send_sender_reports(&mut self, now: Time, key: Key) {
        let mut index = 0;
        while let Some(session) = self.sessions.get(key)
            && let Some(slot) = session.slots.get(index)
        {
            index += 1;
            let Some(publication) = slot
                .occupant()
                .and_then(|occupant| self.publications.get(occupant))
            else {
                continue;
            };
            let clock = match &publication.owner {
                Owner::Session(owner) => self.sessions.get(*owner).map(|owner| &owner.capture_clock),
                Owner::Core(origin) => Some(&origin.clock),
            };
            let Some(clock) = clock else { continue };
            let info = publication
                .layers
                .iter()
                .filter_map(|layer| layer.stream.as_ref())
                .find(|stream| slot.shows(stream.source))
                .and_then(|stream| slot.sender_info(now, &self.config.wall, stream, clock));
            let Some(info) = info else { continue };
            if let Some(len) = rtcp::sr::write(&mut self.scratch, &info, &[])
                && let Some(len) =
                    append_cname(&mut self.scratch, len, slot.ssrc(), &session.description.cname)
            {
                self.send_rtcp(key, len);
            }
        }
    }

    /// Seals the first `len` bytes of the scratch buffer and queues them for the session's path.
    fn send_rtcp(&mut self, key: Key, len: usize) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some((to, from)) = session.transport.path() else {
            return;
        };
        let Some(keyed) = &mut session.transport.keyed else {
            return;
        };
        match keyed.outbound.seal_rtcp(&mut self.scratch, len) {
            Ok(sealed) => {
                self.counters.rtcp_out += 1;
                if !self.control.push(&self.scratch[..sealed], to, from) {
                    self.counters.drop_control_full += 1;
                }
            }
            Err(_) => self.counters.drop_too_long += 1,
        }
    }
}

/// RFC 3550 section 6.1: every compound names its sender.
fn append_cname(scratch: &mut [u8; MAX_DATAGRAM], len: usize, ssrc: u32, cname: &str) -> Option<usize> {
    let end = limits::RTCP_COMPOUND_BYTES;
    rtcp::sdes::write(scratch.get_mut(len..end)?, ssrc, cname.as_bytes()).map(|added| len + added)
}
