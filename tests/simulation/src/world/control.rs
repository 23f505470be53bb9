//! The control plane's part, and what a scenario does: people join and leave, slots are given, cameras are
//! switched off, and messages reach those they are for.

use std::time::Duration;

use kall_dataplane::srtp::{Profile, SessionKeys};
use kall_dataplane::time::Time;
use kall_shared::id::{RoomId, SessionId, TrackId};
use kall_shared::link::{CloseReason, Event, Request, Response, ToControl, ToData};
use kall_shared::media::{Kind, SlotWish};

use super::measures::{Estimated, PeerMeasures, SlotMeasures};
use super::paths::HEADERS;
use super::queue::Happening;
use super::{CROSS_BYTES, Connected, World};
use crate::checker::SlotLog;
use crate::peer::negotiation::{self, Wanted, mid, slot_mid, slot_of};
use crate::peer::{Peer, Publishes};
use crate::scenario::{Act, Group};
use crate::talk::Voice;

/// A message from the data plane to a page: two sockets and a browser.
const SIGNALLING: Duration = Duration::from_millis(50);

/// Interval of asking for statistics.
const SAMPLE: Duration = Duration::from_millis(200);

/// The profile of every session; the others are compared elsewhere.
const PROFILE: Profile = Profile::AeadAes128Gcm;

/// What one slot of a person shall show.
pub(super) type Shown = (usize, SlotWish);

fn seconds(seconds: f64) -> Time {
    Time::ZERO + Duration::from_secs_f64(seconds)
}

impl World<'_> {
    /// Plans everything that a scenario says.
    pub(super) fn plan_scenario(&mut self) {
        let scenario = self.scenario;
        let mut person = 0;
        for group in &scenario.people {
            for index in 0..group.count {
                let share = index as f64 / group.count as f64;
                let at = seconds(group.join_s + group.join_within_s * share);
                self.queue.plan(at, Happening::Join { person });
                self.current.push(None);
                self.shown.push(scenario.watched_by(person, group));
                person += 1;
            }
        }
        for (index, action) in scenario.actions.iter().enumerate() {
            self.queue.plan(seconds(action.at_s), Happening::Action { index });
        }
        for (index, cross) in scenario.cross_traffic.iter().enumerate() {
            self.queue.plan(seconds(cross.from_s), Happening::Cross { index });
        }
        self.queue.plan(Time::ZERO + SAMPLE, Happening::Sample);
    }

    pub(super) fn plan_cross(&mut self, index: usize) {
        let cross = &self.scenario.cross_traffic[index];
        let bits = ((CROSS_BYTES + HEADERS) * 8) as f64;
        let next = self.now + Duration::from_secs_f64(bits / (f64::from(cross.kbps) * 1000.0));
        if next < seconds(cross.until_s) {
            self.queue.plan(next, Happening::Cross { index });
        }
    }

    /// What a person's slots shall show.
    pub(crate) fn wishes(&self, person: usize) -> impl Iterator<Item = &SlotWish> {
        self.shown[person].iter().map(|(_, wish)| wish)
    }

    /// The end: counters are read.
    pub(crate) fn close(&mut self) {
        for stats in self.shards.iter().map(kall_dataplane::shard::Shard::stats) {
            for (name, count) in stats.cores.into_iter().flat_map(|core| core.counters) {
                *self.measures.counters.entry(name).or_default() += count;
            }
        }
    }

    fn group_of(&self, person: usize) -> &Group {
        let mut first = 0;
        let found = self.scenario.people.iter().find(|group| {
            first += group.count;
            person < first
        });
        found.expect("every person is of a group")
    }

    /// What the control plane asks; it must be granted.
    pub(super) fn ask(&mut self, core: u8, request: Request) -> Response {
        let core = usize::from(core);
        self.requests += 1;
        let command = ToData {
            id: self.requests,
            request,
        };
        self.shards[core].handle_command(self.now, command);
        self.cross();
        let mut answer = None;
        while let Some(message) = self.shards[core].poll_event() {
            match message {
                ToControl::Answer { result, .. } => answer = Some(result.expect("granted")),
                ToControl::Event(event) => self.on_event(event),
            }
        }
        answer.expect("an answer at once")
    }

    /// A person's page is opened, for the first time or again.
    pub(super) fn join(&mut self, person: usize) {
        if let Some(before) = self.current[person] {
            let session = self.peers[before].peer.session;
            self.ask(session.core(), Request::CloseSession { session });
        }
        let group = self.group_of(person).clone();
        let index = u16::try_from(self.peers.len()).expect("thousands of people, not more");
        let rids = |video: &crate::scenario::Video| {
            // Layers of one stream have no names.
            let named = video.layers.iter().filter(|_| video.scalable.is_none());
            let rids = named.map(|layer| layer.rid.clone());
            (camera_track(index), video.codec, rids.collect())
        };
        let wanted = Wanted {
            microphone: group.audio.then(|| microphone_track(index)),
            camera: group.video.as_ref().map(rids),
            audio_slots: group.hears,
            video_slots: self.shown[person].len(),
        };
        let ufrag = format!("peer{index:04}");
        let core = (usize::from(index) % self.shards.len()) as u8;
        let request = Request::CreateSession {
            room: RoomId::new("rm_simulation").expect("a legal name"),
            label: Vec::new(),
            params: negotiation::params(&ufrag, &wanted),
            returns: false,
        };
        let answer = self.ask(core, request);
        let Response::Session { session, description } = answer else {
            panic!("{answer:?} is no session");
        };
        let random = self.random.split();
        let voice = self.scenario.talk.as_ref().map(|talk| {
            // It draws for itself, or scenarios without a conversation would be others than before.
            Voice::new(talk, person, &self.turns, random.clone().split())
        });
        let publishes = Publishes {
            video: group.video,
            audio: group.audio,
            voice,
        };
        let slots = self.shown[person].len();
        let peer = Peer::new(
            (index, person),
            (session, description),
            &ufrag,
            publishes,
            self.now,
            random,
        );
        self.peers.push(Connected {
            peer,
            logs: (0..slots).map(|_| SlotLog::default()).collect(),
            measures: PeerMeasures {
                slots: (0..slots).map(|_| SlotMeasures::default()).collect(),
                ..PeerMeasures::default()
            },
        });
        let index = usize::from(index);
        self.by_session.insert(session, index);
        self.current[person] = Some(index);
        self.give_slots(person);
        self.after_peer(index);
    }

    /// Fills the slots of somebody who joined, and everybody's slots that shall show him.
    fn give_slots(&mut self, person: usize) {
        for slot in 0..self.shown[person].len() {
            self.give_slot(person, slot);
        }
        for other in 0..self.shown.len() {
            for slot in 0..self.shown[other].len() {
                if other != person && self.shown[other][slot].0 == person {
                    self.give_slot(other, slot);
                }
            }
        }
    }

    /// Tells the data plane what a slot shall show, if both ends are there.
    fn give_slot(&mut self, person: usize, slot: usize) {
        let (shown, wish) = self.shown[person][slot];
        let (Some(to), Some(from)) = (self.current[person], self.current[shown]) else {
            return;
        };
        let session = self.peers[to].peer.session;
        let request = Request::SetSlot {
            session,
            mid: mid(&slot_mid(Kind::Video, slot)),
            track: Some(camera_track(from as u16)),
            wish,
        };
        self.ask(session.core(), request);
    }

    /// The handshake of a peer is done, at both ends.
    pub(super) fn give_keys(&mut self, peer: usize) {
        let mut material = vec![0; PROFILE.keying_material_len()];
        self.random.fill(&mut material);
        let keys = SessionKeys::from_exporter(PROFILE, &material).expect("as long as it must be");
        let session = self.peers[peer].peer.session;
        // A session may have been closed while its handshake was on the way.
        if self.shards[usize::from(session.core())].inject_keys(self.now, session, &keys) {
            self.peers[peer].peer.on_keys(self.now, &keys);
            self.after_peer(peer);
        }
    }

    pub(super) fn on_event(&mut self, event: Event) {
        self.trace_event(&event);
        match event {
            Event::SlotChanged { session, slot } => {
                let (Some(peer), Some((Kind::Video, index))) =
                    (self.peer_of(session), slot_of(slot.mid.as_str()))
                else {
                    return;
                };
                let occupant = slot.track.as_ref().and_then(publisher_of);
                let now = self.now;
                let measures = &mut self.peers[peer].measures.slots[index];
                if measures
                    .occupants
                    .last()
                    .is_none_or(|(_, last)| *last != occupant)
                {
                    measures.occupants.push((now, occupant));
                }
                if measures.paused.last().is_some_and(|(_, paused)| *paused) != slot.paused {
                    measures.paused.push((now, slot.paused));
                }
            }
            Event::Dynacast { session, layers, .. } => {
                self.measures.dynacast += 1;
                if let Some(peer) = self.peer_of(session) {
                    let named = layers.into_iter().map(|(rid, wanted)| (rid.to_string(), wanted));
                    let layers = named.collect();
                    self.queue
                        .plan(self.now + SIGNALLING, Happening::Dynacast { peer, layers });
                }
            }
            Event::SessionClosed { session, reason } => {
                if let Some(peer) = self.peer_of(session) {
                    self.peers[peer].measures.closed = Some(self.now);
                    self.peers[peer].peer.gone = true;
                    if reason != CloseReason::Requested {
                        self.measures
                            .fault(self.now, format!("session of peer {peer} ended: {reason:?}"));
                    }
                }
            }
            Event::ActiveSpeaker { session, .. } => {
                if let Some(peer) = self.peer_of(session) {
                    self.measures.speakers.push((self.now, peer));
                }
            }
            // A simulated core has all the time in the world.
            Event::SessionConnected { .. }
            | Event::TrackStarted { .. }
            | Event::CoreLoad { .. }
            | Event::Overflow { .. } => {}
        }
    }

    fn trace_event(&mut self, event: &Event) {
        self.trace.add(self.now.as_nanos());
        for byte in format!("{event:?}").bytes() {
            self.trace.add(u64::from(byte));
        }
    }

    fn peer_of(&self, session: SessionId) -> Option<usize> {
        self.by_session.get(&session).copied()
    }

    pub(super) fn obey_dynacast(&mut self, peer: usize, layers: &[(String, bool)]) {
        if let Some(camera) = &mut self.peers[peer].peer.camera {
            for (rid, wanted) in layers {
                camera.set_active(rid, *wanted);
            }
        }
    }

    /// Something happens that the scenario says.
    pub(super) fn act(&mut self, index: usize) {
        let scenario = self.scenario;
        let person = |name: &str| scenario.person(name).expect("checked when it was read");
        match &scenario.actions[index].act {
            Act::Mute(who) => self.mute(person(who), true),
            Act::Unmute(who) => self.mute(person(who), false),
            Act::Reconnect { who, away_s } => {
                let person = person(who);
                if let Some(peer) = self.current[person] {
                    self.peers[peer].peer.gone = true;
                }
                let back = self.now + Duration::from_secs_f64(*away_s);
                self.queue.plan(back, Happening::Join { person });
            }
            Act::Wish {
                who,
                slot,
                layer,
                priority,
            } => {
                let person = person(who);
                let (_, wish) = &mut self.shown[person][*slot];
                wish.layer = *layer;
                wish.priority = *priority;
                self.give_slot(person, *slot);
            }
            Act::Watch {
                who,
                slot,
                person: shown,
            } => {
                let who = person(who);
                self.shown[who][*slot].0 = person(shown);
                self.give_slot(who, *slot);
            }
        }
    }

    fn mute(&mut self, person: usize, muted: bool) {
        let Some(peer) = self.current[person] else { return };
        if let Some(camera) = &mut self.peers[peer].peer.camera {
            camera.set_muted(muted);
        }
        let session = self.peers[peer].peer.session;
        let request = Request::SetMuted {
            session,
            track: camera_track(peer as u16),
            muted,
        };
        self.ask(session.core(), request);
        self.muted.push((self.now, peer as u16, muted));
    }

    /// Notes what the server says of its estimates.
    pub(super) fn sample(&mut self) {
        let now = self.now;
        self.queue.plan(now + SAMPLE, Happening::Sample);
        for Connected { measures, .. } in &mut self.peers {
            measures.sent.push((now, measures.sent_bytes));
        }
        for core in 0..self.shards.len() {
            self.sample_core(core as u8);
        }
    }

    fn sample_core(&mut self, core: u8) {
        let now = self.now;
        let mut after = None;
        loop {
            let answer = self.ask(core, Request::SessionStats { room: None, after });
            let Response::SessionStats { sessions, more } = answer else {
                panic!("{answer:?} are no statistics");
            };
            after = sessions.last().map(|stats| stats.session);
            for stats in sessions {
                let Some(peer) = self.peer_of(stats.session) else {
                    continue;
                };
                let Connected { peer, measures, .. } = &mut self.peers[peer];
                if let Some(bps) = stats.estimate_bps {
                    measures.estimates.push(Estimated {
                        at: now,
                        bps,
                        capacity: self.paths.capacity(peer.person, now),
                    });
                }
            }
            if !more {
                return;
            }
        }
    }
}

fn camera_track(peer: u16) -> TrackId {
    negotiation::track(&format!("tr_{peer}_camera"))
}

fn microphone_track(peer: u16) -> TrackId {
    negotiation::track(&format!("tr_{peer}_microphone"))
}

/// The publishing peer of a track.
fn publisher_of(track: &TrackId) -> Option<u16> {
    track.as_str().split('_').nth(1)?.parse().ok()
}
