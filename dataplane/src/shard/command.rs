//! What the control plane asks of this core.

use kall_shared::id::{RoomId, SessionId, TrackId};
use kall_shared::link::{
    CloseReason, LABEL_MAX_LEN, Refusal, RefusalCode, Request, Response, SNAPSHOT_PAGE_MAX, SessionSnapshot,
    ToData, TrackSnapshot,
};
use kall_shared::media::{MediaLine, SessionDescription, SessionParams, SlotDescription, SlotWish};

use super::slab::Key;
use super::{Shard, session_key, ufrag};
use crate::dtls::Dtls;
use crate::forward::publication::Publication;
use crate::forward::relay::Owner;
use crate::forward::slot::{Slot, SlotSeed};
use crate::ice;
use crate::rtp::report::RECEIVER_INTERVAL;
use crate::rtp::{CaptureClock, RateMeter, RembSource, ReportSchedule, RtxBudget, TwccRecorder};
use crate::session::downstream::{Downstream, Feedback};
use crate::session::formats::ExtensionIds;
use crate::session::incoming::{IncomingStreams, layer_count};
use crate::session::outbox::Outbox;
use crate::session::transport::Transport;
use crate::session::{DEFAULT_RTT, Published, Session, wants_remb};
use crate::time::Time;

/// Letters of an ICE password: 160 bits.
const PWD_LETTERS: usize = 32;

impl Shard {
    /// Takes one request; the answer comes by [`Self::poll_event`].
    pub fn handle_command(&mut self, now: Time, command: ToData) {
        // What a request causes is told after its answer, which is known only at the end.
        let place = self.outgoing.len();
        let result = self.execute(now, command.request);
        self.outgoing.answer_at(place, command.id, result);
    }

    fn execute(&mut self, now: Time, request: Request) -> Result<Response, Refusal> {
        match request {
            Request::CreateSession {
                room, label, params, ..
            } => self.create(now, room, label, params),
            Request::UpdateSession {
                session,
                label,
                params,
            } => self.update(now, session, label, params),
            Request::SetLabel { session, label } => {
                check_label(&label)?;
                self.session_mut(session)?.label = label;
                Ok(Response::Done)
            }
            Request::CloseSession { session } => {
                self.session_mut(session)?;
                self.close_session(now, session_key(session), CloseReason::Requested);
                Ok(Response::Done)
            }
            Request::MoveSession { session, room } => self.move_session(now, session, room),
            Request::SetSlot {
                session,
                mid,
                track,
                wish,
            } => {
                let key = session_key(session);
                let slot = self
                    .session_mut(session)?
                    .slot_index(&mid)
                    .ok_or_else(|| not_found(format!("slot {mid} of session {session}")))?;
                let found = track.as_ref().map(|track| self.track_in_room_of(key, track));
                let publication = match found {
                    Some(Err(refusal)) if self.is_alone() => return Err(refusal),
                    found => found.and_then(Result::ok),
                };
                self.check_slot(key, slot, publication)?;
                match track {
                    // It may be one of another core, from which it has not come yet.
                    Some(track) if publication.is_none() => self.await_track(key, slot as u8, track, wish),
                    _ => self.await_nothing(key, Some(slot as u8)),
                }
                if let Some(slot) = self.session_mut(session)?.slots.get_mut(slot) {
                    slot.assigned = true;
                }
                self.set_occupant(now, key, slot as u8, publication, wish);
                // One slot less for those who are heard by themselves.
                self.sync_hearing(now, key);
                Ok(Response::Done)
            }
            Request::SetMuted {
                session,
                track,
                muted,
            } => {
                let publication = self.own_track(session, &track)?;
                self.set_muted(now, publication, muted);
                Ok(Response::Done)
            }
            Request::Snapshot { after } => Ok(self.snapshot(after)),
            Request::SessionStats { room, after } => Ok(self.session_stats(now, room.as_ref(), after)),
            Request::Stats => Ok(Response::Stats(self.stats())),
            Request::Hello { .. } | Request::Ping | Request::Shutdown => {
                Err(Refusal::new(RefusalCode::Protocol, "not for a core"))
            }
        }
    }

    pub(super) fn session_mut(&mut self, session: SessionId) -> Result<&mut Session, Refusal> {
        let found = if session.core() == self.config.core {
            self.sessions.get_mut(session_key(session))
        } else {
            None
        };
        found.ok_or_else(|| not_found(format!("session {session}")))
    }

    /// A slot takes tracks of its own kind, while its line receives.
    pub(super) fn check_slot(&self, key: Key, slot: usize, publication: Option<Key>) -> Result<(), Refusal> {
        let session = self.sessions.get(key).ok_or_else(|| not_found("session"))?;
        let publication = publication.and_then(|key| self.publications.get(key));
        let kind = session.slots.get(slot).map(Slot::kind);
        if publication.is_some_and(|publication| Some(publication.kind) != kind) {
            return Err(Refusal::new(
                RefusalCode::Invalid,
                "mid: a slot takes tracks of its own kind",
            ));
        }
        if publication.is_some() && !session.receives(slot) {
            return Err(Refusal::new(
                RefusalCode::Invalid,
                "mid: the line does not receive any more",
            ));
        }
        Ok(())
    }

    fn own_track(&mut self, session: SessionId, track: &TrackId) -> Result<Key, Refusal> {
        let published: Vec<Key> = self
            .session_mut(session)?
            .published
            .iter()
            .map(|published| published.publication)
            .collect();
        published
            .into_iter()
            .find(|key| {
                self.publications
                    .get(*key)
                    .is_some_and(|publication| &publication.track == track)
            })
            .ok_or_else(|| not_found(format!("track {track} of session {session}")))
    }

    fn track_in_room_of(&self, key: Key, track: &TrackId) -> Result<Key, Refusal> {
        let room = self
            .sessions
            .get(key)
            .and_then(|session| self.rooms.get(session.room));
        let members = room.map(|room| room.sessions.as_slice()).unwrap_or_default();
        let mirrors = room.map(|room| room.mirrors.as_slice()).unwrap_or_default();
        members
            .iter()
            .filter(|member| **member != key)
            .filter_map(|member| self.sessions.get(*member))
            .flat_map(|session| &session.published)
            .map(|published| published.publication)
            .chain(mirrors.iter().copied())
            .find(|key| {
                self.publications
                    .get(*key)
                    .is_some_and(|publication| &publication.track == track)
            })
            .ok_or_else(|| not_found(format!("track {track} in this room")))
    }

    fn create(
        &mut self,
        now: Time,
        room: RoomId,
        label: Vec<u8>,
        params: SessionParams,
    ) -> Result<Response, Refusal> {
        check_label(&label)?;
        params.validate()?;
        let full = || Refusal::new(RefusalCode::Exhausted, "this core has as many sessions as it may");
        let room_key = self.enter_room(room)?;
        let random = self.entropy.ice_text(ufrag::RANDOM_LEN);
        let pwd = self.entropy.ice_text(PWD_LETTERS);
        let feedback_ssrc = self.entropy.ssrc(|ssrc| declares(&params, ssrc));
        let cname = self.entropy.ice_text(16);
        let extensions = ExtensionIds::of_lines(&params.lines);
        let (core, udp_port) = (self.config.core, self.config.udp_port);
        let identity = &self.config.identity;
        let key = self.sessions.insert_with(|key| {
            let id = SessionId::pack(core, key.index, key.epoch);
            let ufrag = ufrag::of_session(id, &random);
            let local = ice::Credentials {
                ufrag: ufrag.clone(),
                pwd: pwd.clone(),
            };
            let remote = &params.transport;
            let agent = ice::Agent::new(local, remote.ufrag.clone(), now);
            let dtls = Dtls::new(identity, remote.fingerprints.clone(), now);
            Session {
                id,
                room: room_key,
                label,
                description: SessionDescription {
                    ufrag,
                    pwd,
                    fingerprint: identity.fingerprint(),
                    udp_port,
                    cname,
                    slots: Vec::new(),
                },
                extensions,
                transport: Transport::new(agent, Box::new(dtls), now),
                incoming: IncomingStreams::default(),
                published: Vec::new(),
                slots: Vec::with_capacity(params.lines.iter().filter(|line| line.slot).count()),
                hears: 0,
                outbox: Outbox::default(),
                downstream: Downstream::new(now, Feedback::of(&params)),
                received: RateMeter::default(),
                arrivals: TwccRecorder::new(now),
                remb: RembSource::new(now),
                wants_remb: wants_remb(&params),
                rtx_budget: RtxBudget::new(now),
                capture_clock: CaptureClock::new(),
                receiver_reports: ReportSchedule::new(RECEIVER_INTERVAL, Time::FAR_FUTURE),
                sender_reports: ReportSchedule::new(
                    crate::rtp::report::SENDER_VIDEO_INTERVAL,
                    Time::FAR_FUTURE,
                ),
                feedback_ssrc,
                rtt: DEFAULT_RTT,
                fir_sequence: 0,
                handshakes_waiting: 0,
                wake_at: Time::FAR_FUTURE,
                params,
            }
        });
        let Some(key) = key else {
            self.drop_room_if_empty(now, room_key);
            return Err(full());
        };
        if let Some(room) = self.rooms.get_mut(room_key) {
            room.sessions.push(key);
        }
        self.counters.sessions_opened += 1;
        if let Err(refusal) = self.sync_lines(now, key) {
            // Nobody would know its id.
            self.close_session(now, key, CloseReason::Requested);
            return Err(refusal);
        }
        self.sync_hearing(now, key);
        self.reschedule(now, key);
        self.describe(key)
    }

    pub(super) fn drop_room_if_empty(&mut self, now: Time, room_key: Key) {
        if self
            .rooms
            .get(room_key)
            .is_some_and(|room| room.sessions.is_empty())
            && let Some(room) = self.rooms.remove(room_key)
        {
            self.rooms_by_id.remove(&room.id);
            self.on_room_closed(now, &room.id, room.mirrors);
        }
    }

    fn update(
        &mut self,
        now: Time,
        session: SessionId,
        label: Option<Vec<u8>>,
        params: SessionParams,
    ) -> Result<Response, Refusal> {
        if let Some(label) = &label {
            check_label(label)?;
        }
        params.validate()?;
        let key = session_key(session);
        let present = self.session_mut(session)?;
        if present.params.transport.fingerprints != params.transport.fingerprints {
            return Err(Refusal::new(
                RefusalCode::Invalid,
                "transport: the certificates of a living session can't change",
            ));
        }
        for (index, line) in present.params.lines.iter().enumerate() {
            let same = params
                .lines
                .get(index)
                .is_some_and(|new| new.mid == line.mid && new.kind == line.kind);
            // A line may be refused later, but its place is never given to another (RFC 8843).
            if !same {
                return Err(Refusal::new(
                    RefusalCode::Invalid,
                    format!("lines: the line '{}' must stay where it was", line.mid),
                ));
            }
        }
        let restarts = present.params.transport != params.transport;
        present.agree(params);
        if let Some(label) = label {
            present.label = label;
        }
        if restarts {
            self.restart_ice(now, key);
        }
        self.retire_lines(now, key);
        self.empty_retired_slots(now, key);
        self.sync_lines(now, key)?;
        self.sync_hearing(now, key);
        self.reschedule(now, key);
        self.describe(key)
    }

    /// The offer brought new credentials (RFC 8839 section 4.4.3.1.1): new ones of ours answer them. The
    /// session goes on over the path it has until the peer nominates another; handshake, keys and
    /// streams know nothing of it.
    fn restart_ice(&mut self, now: Time, key: Key) {
        let random = self.entropy.ice_text(ufrag::RANDOM_LEN);
        let pwd = self.entropy.ice_text(PWD_LETTERS);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let ufrag = ufrag::of_session(session.id, &random);
        let local = ice::Credentials {
            ufrag: ufrag.clone(),
            pwd: pwd.clone(),
        };
        let remote = session.params.transport.ufrag.clone();
        session.transport.ice.restart(local, remote, now);
        session.description.ufrag = ufrag;
        session.description.pwd = pwd;
        self.counters.ice_restarts += 1;
    }

    /// Removes publications whose line stopped publishing or now publishes something else.
    fn retire_lines(&mut self, now: Time, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let mut gone = Vec::new();
        for published in &session.published {
            let line = session.params.lines.get(usize::from(published.line));
            let kept =
                line.and_then(|line| line.publish.as_ref().map(|publish| (publish, layer_count(line))));
            let publication = self.publications.get(published.publication);
            let same = kept
                .zip(publication)
                .is_some_and(|((publish, layers), publication)| {
                    publish.track == publication.track && layers == publication.encodings()
                });
            if !same {
                gone.push(*published);
            }
        }
        for published in gone {
            self.remove_publication(now, published.publication);
        }
    }

    /// Frees the slots of lines that stopped receiving.
    fn empty_retired_slots(&mut self, now: Time, key: Key) {
        let mut slot = 0;
        while let Some(session) = self.sessions.get(key)
            && slot < session.slots.len()
        {
            if !session.receives(slot) {
                self.await_nothing(key, Some(slot as u8));
                self.set_occupant(now, key, slot as u8, None, SlotWish::default());
            }
            slot += 1;
        }
    }

    /// Creates publications and slots for lines that have none yet.
    fn sync_lines(&mut self, now: Time, key: Key) -> Result<(), Refusal> {
        let Some(session) = self.sessions.get_mut(key) else {
            return Err(not_found("session"));
        };
        session.incoming.set_lines(&session.params.lines);
        let mut published = Vec::new();
        let mut full = false;
        for (index, line) in session.params.lines.iter().enumerate() {
            let index = index as u8;
            if let Some(publish) = &line.publish
                && !session.published.iter().any(|published| published.line == index)
            {
                let publication = Publication::new(
                    Owner::Session(key),
                    session.id,
                    line.mid.clone(),
                    publish,
                    layer_count(line),
                    now,
                );
                let Some(publication) = self.publications.insert_with(|_| publication) else {
                    full = true;
                    break;
                };
                session.published.push(Published {
                    line: index,
                    publication,
                });
                published.push(publication);
            }
            if line.slot && !session.slots.iter().any(|slot| slot.mid() == &line.mid) {
                let rtx = line.codecs.iter().any(|codec| codec.rtx_pt.is_some());
                let taken = |ssrc| {
                    ssrc == session.feedback_ssrc
                        || session.slots.iter().any(|slot| slot.sends(ssrc))
                        || declares(&session.params, ssrc)
                };
                let ssrc = self.entropy.ssrc(taken);
                let seed = SlotSeed {
                    ssrc,
                    rtx_ssrc: rtx.then(|| self.entropy.ssrc(|other| other == ssrc || taken(other))),
                    first_seq: self.entropy.next_u32() as u16,
                    first_rtx_seq: self.entropy.next_u32() as u16,
                    first_ts: self.entropy.next_u32(),
                };
                session.slots.push(new_slot(line, index, seed));
                session.description.slots.push(SlotDescription {
                    mid: line.mid.clone(),
                    ssrc: seed.ssrc,
                    rtx_ssrc: seed.rtx_ssrc,
                });
            }
        }
        for publication in published {
            self.tell_track(now, publication);
        }
        if full {
            let why = "this core has as many tracks as it may";
            return Err(Refusal::new(RefusalCode::Exhausted, why));
        }
        Ok(())
    }

    fn describe(&self, key: Key) -> Result<Response, Refusal> {
        let session = self.sessions.get(key).ok_or_else(|| not_found("session"))?;
        Ok(Response::Session {
            session: session.id,
            description: session.description.clone(),
        })
    }

    fn snapshot(&self, after: Option<SessionId>) -> Response {
        let mut later = self
            .sessions
            .iter()
            .filter(|(_, session)| after.is_none_or(|after| session.id > after))
            .map(|(_, session)| session);
        let sessions: Vec<SessionSnapshot> = later
            .by_ref()
            .take(SNAPSHOT_PAGE_MAX as usize)
            .filter_map(|session| self.snapshot_of(session))
            .collect();
        Response::Snapshot {
            sessions,
            more: later.next().is_some(),
        }
    }

    fn snapshot_of(&self, session: &Session) -> Option<SessionSnapshot> {
        let room = self.rooms.get(session.room)?;
        let tracks = session
            .published
            .iter()
            .filter_map(|published| Some((published, self.publications.get(published.publication)?)))
            .map(|(published, publication)| TrackSnapshot {
                track: publication.track.clone(),
                mid: publication.mid.clone(),
                kind: publication.kind,
                started: publication.started,
                muted: publication.muted,
                speaks: room.contest.speaker() == Some(published.publication),
                layers: publication.dynacast_layers(),
            })
            .collect();
        let slots = session
            .slots
            .iter()
            .enumerate()
            .filter_map(|(index, _)| session.slot_snapshot(index, &self.publications))
            .collect();
        Some(SessionSnapshot {
            session: session.id,
            room: room.id.clone(),
            label: session.label.clone(),
            connected: session.transport.keyed.is_some(),
            params: session.params.clone(),
            description: session.description.clone(),
            tracks,
            slots,
        })
    }
}

/// Whether the peer says that it sends with this SSRC itself.
fn declares(params: &SessionParams, ssrc: u32) -> bool {
    let published = params.lines.iter().filter_map(|line| line.publish.as_ref());
    published
        .flat_map(|publish| &publish.ssrcs)
        .any(|declared| declared.ssrc == ssrc || declared.rtx == Some(ssrc))
}

fn new_slot(line: &MediaLine, index: u8, seed: SlotSeed) -> Slot {
    // Every codec of a kind has the same clock; validation refuses lines without a codec.
    let clock_rate = line
        .codecs
        .first()
        .map_or(90_000, |codec| codec.codec.clock_rate());
    Slot::new(
        line.mid.clone(),
        line.kind,
        index,
        ExtensionIds::of_line(line),
        clock_rate,
        seed,
    )
}

fn check_label(label: &[u8]) -> Result<(), Refusal> {
    if label.len() > LABEL_MAX_LEN {
        return Err(Refusal::new(
            RefusalCode::Invalid,
            format!("label: at most {LABEL_MAX_LEN} bytes"),
        ));
    }
    Ok(())
}

fn not_found(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(RefusalCode::NotFound, format!("there is no {what}"))
}
