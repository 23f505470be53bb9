//! Which track feeds which slot, and what of it: subscriptions, slots that fill by themselves, and
//! the states that the data plane tells.
//!
//! The state of a slot is passed on as it is told; what was asked for is kept apart, so that a slot
//! is never filled twice.

use kall_shared::id::{Identity, Mid, SessionId, TrackId};
use kall_shared::link::{Request, SlotReason, SlotSnapshot};
use kall_shared::media::Kind;
use kall_shared::signalling::{ErrorCode, ServerMessage};

use super::Room;
use super::member::{Member, Place, Session};
use super::messages::{bad, gone};
use super::slots::{self, Candidate};
use super::wish::{self, Asked};
use crate::domain::Rejection;
use crate::domain::outbox::Topic;

/// A track that has begun, and where it is to be seen.
pub(super) struct Offered {
    from: Identity,
    place: Place,
    candidate: Candidate,
}

/// What somebody may get of it: others' tracks, in the same place.
pub(super) fn seen_by(
    receiver: &Member,
    offered: &[Offered],
    wanted: impl Fn(&Identity, &TrackId) -> bool,
) -> Vec<Candidate> {
    let others = offered
        .iter()
        .filter(|offered| offered.from != receiver.identity && offered.place == receiver.place);
    others
        .filter(|offered| wanted(&offered.from, &offered.candidate.track))
        .map(|offered| offered.candidate.clone())
        .collect()
}

impl Room {
    /// Gives a track a video slot. One that has a slot keeps it, and only the wish changes.
    pub(super) fn subscribe(
        &mut self,
        identity: &Identity,
        track: &str,
        mid: Option<&str>,
        asked: &Asked,
    ) -> Result<(), Rejection> {
        let track = TrackId::new(track).map_err(bad)?;
        let mid = mid.map(Mid::new).transpose().map_err(bad)?;
        asked.check()?;
        if !self
            .members
            .get(identity)
            .is_some_and(|member| member.permissions().subscribe)
        {
            return Err(Rejection::new(
                ErrorCode::PermissionDenied,
                "the role does not allow subscribing",
            ));
        }
        let missing = || Rejection::new(ErrorCode::TrackNotFound, format!("track_id: no track '{track}'"));
        let (publisher, found) = self.members.track(&track).ok_or_else(missing)?;
        let elsewhere = publisher.place != self.place_of(identity);
        if publisher.identity == *identity || found.started.is_none() || elsewhere {
            return Err(missing());
        }
        let source = found.source;
        let member = self.members.get_mut(identity).ok_or_else(gone)?;
        if member.unwanted.remove(&track) {
            self.save_label(identity);
        }
        let member = self.members.get_mut(identity).ok_or_else(gone)?;
        // The data plane chooses what is heard; there is nothing more to ask for.
        if source.kind() == Kind::Audio {
            return Ok(());
        }
        let session = member.session.as_mut().ok_or_else(|| no_slot("offer first"))?;
        let has_it = |wanted: &Option<TrackId>| wanted.as_ref() == Some(&track);
        let chosen = match &mid {
            Some(mid) => session
                .slots
                .iter_mut()
                .find(|slot| slot.mid == *mid && slot.kind == Kind::Video)
                .ok_or_else(|| no_slot(&format!("mid: '{mid}' is no video slot")))?,
            None => match session.slots.iter().position(|slot| has_it(&slot.wanted)) {
                Some(at) => &mut session.slots[at],
                None => session
                    .slots
                    .iter_mut()
                    .find(|slot| slot.kind == Kind::Video && slot.wanted.is_none())
                    .ok_or_else(|| no_slot("no video slot is free"))?,
            },
        };
        let wish = asked.wish(source);
        chosen.asked = true;
        if has_it(&chosen.wanted) && chosen.wish == wish {
            return Ok(());
        }
        chosen.wanted = Some(track.clone());
        chosen.wish = wish;
        let request = Request::SetSlot {
            session: session.id,
            mid: chosen.mid.clone(),
            track: Some(track),
            wish,
        };
        self.context.media.tell(request);
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, identity: &Identity, track: &str) -> Result<(), Rejection> {
        let track = TrackId::new(track).map_err(bad)?;
        if self.members.track(&track).is_none() {
            return Err(Rejection::new(
                ErrorCode::TrackNotFound,
                format!("track_id: no track '{track}'"),
            ));
        }
        let member = self.members.get_mut(identity).ok_or_else(gone)?;
        let news = member.unwanted.insert(track.clone());
        if let Some(session) = &mut member.session {
            for slot in session
                .slots
                .iter_mut()
                .filter(|slot| slot.wanted.as_ref() == Some(&track))
            {
                slot.release();
                self.context.media.tell(Request::SetSlot {
                    session: session.id,
                    mid: slot.mid.clone(),
                    track: None,
                    wish: slot.wish,
                });
            }
        }
        if news {
            self.save_label(identity);
        }
        self.fill_slots(identity);
        Ok(())
    }

    pub(super) fn fill_all_slots(&mut self) {
        let offered = self.offered(Kind::Video);
        for identity in self.members.keys().cloned().collect::<Vec<_>>() {
            self.fill_slots_from(&identity, &offered);
        }
    }

    pub(super) fn fill_slots(&mut self, identity: &Identity) {
        let offered = self.offered(Kind::Video);
        self.fill_slots_from(identity, &offered);
    }

    pub(super) fn fill_slots_from(&mut self, identity: &Identity, offered: &[Offered]) {
        let Some(member) = self.members.get(identity) else {
            return;
        };
        if let Some(view) = member.view().cloned() {
            return self.show(identity, &view);
        }
        let free = member.session.as_ref().is_some_and(Session::has_free_video_slot);
        if !free || !member.auto_subscribe || !member.permissions().subscribe {
            return;
        }
        let candidates = seen_by(member, offered, |_, _| true);
        let Some(member) = self.members.get_mut(identity) else {
            return;
        };
        let Some(session) = &mut member.session else {
            return;
        };
        for (mid, candidate) in slots::fill(&session.slots, candidates, &member.unwanted) {
            let wish = wish::of_source(candidate.source);
            let request = session.set_slot(mid, Some(candidate.track), wish);
            self.context.media.tell(request);
        }
    }

    /// All tracks of a kind that have begun, wherever in the room.
    pub(super) fn offered(&self, kind: Kind) -> Vec<Offered> {
        let tracks = self.members.publishing().flat_map(|member| {
            let tracks = member.session.iter().flat_map(|session| &session.tracks);
            tracks.map(move |track| (member, track))
        });
        let tracks = tracks.filter(|(_, track)| track.source.kind() == kind);
        tracks
            .filter_map(|(from, track)| {
                Some(Offered {
                    from: from.identity.clone(),
                    place: from.place.clone(),
                    candidate: Candidate {
                        track: track.id.clone(),
                        source: track.source,
                        spoke: from.spoke,
                        order: track.started?,
                    },
                })
            })
            .collect()
    }

    /// Tracks of others that have begun and that `wanted` takes.
    pub(super) fn candidates(
        &self,
        receiver: &Identity,
        kind: Kind,
        wanted: impl Fn(&Identity, &TrackId) -> bool,
    ) -> Vec<Candidate> {
        let receiver = self.members.get(receiver);
        receiver.map_or_else(Vec::new, |receiver| {
            seen_by(receiver, &self.offered(kind), wanted)
        })
    }

    pub(super) fn slot_changed(&mut self, session: SessionId, state: &SlotSnapshot) {
        let Some(identity) = self.owner(session) else {
            return;
        };
        let own = self
            .members
            .get_mut(&identity)
            .and_then(|member| member.session.as_mut());
        let Some(slot) = own.and_then(|own| own.slots.iter_mut().find(|slot| slot.mid == state.mid)) else {
            return;
        };
        let news = !slot.looks_like(state);
        slot.state = state.clone();
        if news && let Some(outbox) = self.outbox(&identity) {
            outbox.send_latest(Topic::Slot(state.mid.clone()), self.slot_message(state));
        }
    }

    /// Every slot's state, after a resume.
    pub(super) fn send_slots(&self, identity: &Identity) {
        if let Some(member) = self.members.get(identity)
            && let (Some(session), Some(outbox)) = (&member.session, member.outbox())
        {
            for slot in &session.slots {
                outbox.send_latest(Topic::Slot(slot.mid.clone()), self.slot_message(&slot.state));
            }
        }
    }

    fn slot_message(&self, state: &SlotSnapshot) -> ServerMessage {
        let publisher = state.track.as_ref().and_then(|track| self.members.track(track));
        ServerMessage::Slot {
            mid: state.mid.to_string(),
            epoch: state.epoch,
            track_id: state.track.as_ref().map(TrackId::to_string),
            from: publisher.map(|(member, _)| member.identity.to_string()),
            layer: state.layer,
            paused: state.paused,
            reason: state.reason.map(|reason| match reason {
                SlotReason::Codec => "codec".to_owned(),
            }),
        }
    }
}

fn no_slot(message: &str) -> Rejection {
    Rejection::new(ErrorCode::SlotNotFound, message)
}
