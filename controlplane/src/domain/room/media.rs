//! The room's side of media: offers and answers, which track feeds which slot, and what the data
//! plane reports.
//!
//! Tracks are announced once media flows. The state of a slot is passed on as the data plane tells
//! it; what was asked for is kept apart, so that a slot is never filled twice.

use std::collections::BTreeSet;

use kall_shared::id::{Identity, Mid, SessionId, TrackId};
use kall_shared::link::{
    CloseReason, Event, RefusalCode, Request, Response, SessionSnapshot, SlotReason, SlotSnapshot,
};
use kall_shared::media::{Kind, PublishParams, SlotWish, Source};
use kall_shared::signalling::{ErrorCode, ServerMessage};
use serde_json::Value;
use tokio::time::Instant;

use super::member::{Member, Negotiated, Session, Track};
use super::messages::{bad, gone};
use super::slots::{self, Candidate};
use super::{RESUME_WINDOW, Room};
use crate::domain::{Rejection, names};
use crate::media::{MediaError, MediaEvent};
use crate::sdp;

impl Room {
    /// Negotiates: the offer's text becomes typed parameters, the data plane's description an answer.
    pub(super) async fn offer(
        &mut self,
        identity: &Identity,
        re: Option<Value>,
        text: &str,
    ) -> Result<(), Rejection> {
        let invalid = |error: sdp::SdpError| Rejection::new(ErrorCode::SdpInvalid, error.to_string());
        let member = self.members.get(identity).ok_or_else(gone)?;
        let offer = sdp::Offer::parse(text).map_err(invalid)?;
        let permissions = member.permissions();
        // The same peer connection keeps its certificate and the session id of its o= line.
        let current = member.session.as_ref().filter(|session| {
            session.negotiated.client == offer.session_id()
                && session.params.transport.fingerprints == offer.transport().fingerprints
        });
        let mut publish = |mid: &Mid, kind: Kind| {
            let named = member
                .sources
                .get(mid)
                .copied()
                .filter(|source| source.kind() == kind);
            let kept = current.and_then(|session| session.tracks.iter().find(|track| track.mid == *mid));
            let source = named.or(kept.map(|track| track.source)).unwrap_or(match kind {
                Kind::Audio => Source::Microphone,
                Kind::Video => Source::Camera,
            });
            let shares = matches!(source, Source::Screen | Source::ScreenAudio);
            if !permissions.publish || (shares && !permissions.screen) {
                return None;
            }
            let kept = kept.filter(|track| track.source == source);
            Some(PublishParams {
                track: kept.map_or_else(new_track_id, |track| track.id.clone()),
                source,
                rids: Vec::new(),
                ssrcs: Vec::new(),
                muted: kept.map_or(member.muted.get(source), |track| track.muted),
            })
        };
        let context = std::sync::Arc::clone(&self.context);
        let media = &context.config.media;
        let codecs: Vec<_> = media.codecs.iter().map(|name| name.codec()).collect();
        let rules = sdp::Rules {
            codecs: &codecs,
            simulcast: media.simulcast,
            subscribe: permissions.subscribe,
        };
        let params = offer.params(&rules, &mut publish).map_err(invalid)?;
        params
            .validate()
            .map_err(|error| Rejection::new(ErrorCode::SdpInvalid, error.to_string()))?;
        let negotiated = Negotiated {
            client: offer.session_id(),
            version: current.map_or(1, |session| session.negotiated.version.wrapping_add(1)),
        };
        let label = member.label(negotiated);
        let address = member.address;

        let client = self.context.media.clone();
        let current = current.map(|session| session.id);
        let description = if let Some(session) = current {
            let request = Request::UpdateSession {
                session,
                label: Some(label),
                params: params.clone(),
            };
            let Response::Session { description, .. } = client.request(request).await.map_err(media_error)?
            else {
                return Err(media_error(MediaError::Unexpected));
            };
            let member = self.members.get_mut(identity).ok_or_else(gone)?;
            let lost = member.session.as_mut().map(|session| {
                session.params = params.clone();
                session.negotiated = negotiated;
                session.refresh(&description)
            });
            self.unpublish(identity, &lost.unwrap_or_default());
            description
        } else {
            self.end_session(identity);
            let opened = client
                .create_session(self.id.clone(), label, params.clone())
                .await
                .map_err(media_error)?;
            let member = self.members.get_mut(identity).ok_or_else(gone)?;
            member.session = Some(Session::new(
                (opened.session, opened.instance, opened.request),
                negotiated,
                params.clone(),
                &opened.description,
            ));
            opened.description
        };
        let info = client.info().ok_or_else(|| media_error(MediaError::Away))?;
        let settings = sdp::AnswerSettings {
            addresses: sdp::candidate_addresses(
                &info.addresses,
                &self.context.public_addresses,
                info.bind,
                address,
            ),
            version: negotiated.version,
            max_bitrate: media.max_bitrate,
            screen_share_bitrate: media.screen_share_bitrate,
            audio_channels: media.audio_channels,
        };
        let sdp = sdp::answer(&offer, &params, &description, &settings);
        if let Some(outbox) = self.outbox(identity) {
            outbox.send(re, ServerMessage::Answer { sdp, from: None });
        }
        self.fill_all_slots();
        Ok(())
    }

    pub(super) fn subscribe(
        &mut self,
        identity: &Identity,
        track: &str,
        mid: Option<&str>,
    ) -> Result<(), Rejection> {
        let track = TrackId::new(track).map_err(bad)?;
        let mid = mid.map(Mid::new).transpose().map_err(bad)?;
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
        let (publisher, found) = self.track(&track).ok_or_else(missing)?;
        if publisher.identity == *identity || found.started.is_none() {
            return Err(missing());
        }
        let audio = found.source.kind() == Kind::Audio;
        let member = self.members.get_mut(identity).ok_or_else(gone)?;
        member.unwanted.remove(&track);
        // The data plane chooses what is heard; there is nothing more to ask for.
        if audio {
            return Ok(());
        }
        let session = member.session.as_mut().ok_or_else(|| no_slot("offer first"))?;
        let already = |wanted: &Option<TrackId>| wanted.as_ref() == Some(&track);
        let chosen = match &mid {
            Some(mid) => session
                .slots
                .iter_mut()
                .find(|slot| slot.mid == *mid && slot.kind == Kind::Video)
                .ok_or_else(|| no_slot(&format!("mid: '{mid}' is no video slot")))?,
            None => match session.slots.iter().position(|slot| already(&slot.wanted)) {
                Some(at) => &mut session.slots[at],
                None => session
                    .slots
                    .iter_mut()
                    .find(|slot| slot.kind == Kind::Video && slot.wanted.is_none())
                    .ok_or_else(|| no_slot("no video slot is free"))?,
            },
        };
        if already(&chosen.wanted) {
            return Ok(());
        }
        chosen.wanted = Some(track.clone());
        let request = Request::SetSlot {
            session: session.id,
            mid: chosen.mid.clone(),
            track: Some(track),
            wish: SlotWish::default(),
        };
        self.context.media.tell(request);
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, identity: &Identity, track: &str) -> Result<(), Rejection> {
        let track = TrackId::new(track).map_err(bad)?;
        if self.track(&track).is_none() {
            return Err(Rejection::new(
                ErrorCode::TrackNotFound,
                format!("track_id: no track '{track}'"),
            ));
        }
        let member = self.members.get_mut(identity).ok_or_else(gone)?;
        member.unwanted.insert(track.clone());
        if let Some(session) = &mut member.session {
            for slot in session
                .slots
                .iter_mut()
                .filter(|slot| slot.wanted.as_ref() == Some(&track))
            {
                slot.wanted = None;
                self.context.media.tell(Request::SetSlot {
                    session: session.id,
                    mid: slot.mid.clone(),
                    track: None,
                    wish: SlotWish::default(),
                });
            }
        }
        self.fill_slots(identity);
        Ok(())
    }

    pub(super) fn media_event(&mut self, event: MediaEvent) {
        match event {
            MediaEvent::Event(Event::SessionConnected {
                session,
                srtp_profile,
            }) => {
                if let Some(identity) = self.owner(session) {
                    tracing::info!(room = %self.id, %identity, %session, srtp_profile, "media connected");
                }
            }
            MediaEvent::Event(Event::TrackStarted { session, track }) => self.track_started(session, &track),
            MediaEvent::Event(Event::SlotChanged { session, slot }) => self.slot_changed(session, &slot),
            MediaEvent::Event(Event::SessionClosed { session, reason }) => {
                if let Some(identity) = self.owner(session) {
                    tracing::info!(room = %self.id, %identity, %session, ?reason, "media closed");
                    self.forget_session(&identity);
                    // The peer connection of a client that lives on is dead on this side.
                    if reason == CloseReason::ConsentExpired
                        && let Some(outbox) = self.outbox(&identity)
                    {
                        outbox.send(None, ServerMessage::MediaRestarted);
                    }
                }
            }
            MediaEvent::Event(Event::Overflow { .. } | Event::Dynacast { .. }) => {}
            MediaEvent::Snapshot {
                instance,
                up_to,
                sessions,
            } => self.reconcile(instance, up_to, sessions),
        }
    }

    fn track_started(&mut self, session: SessionId, track: &TrackId) {
        let order = self.begun;
        let Some(identity) = self.owner(session) else {
            return;
        };
        let own = self
            .members
            .get_mut(&identity)
            .and_then(|member| member.session.as_mut());
        let Some(track) = own.and_then(|own| own.tracks.iter_mut().find(|own| own.id == *track)) else {
            return;
        };
        if track.started.is_some() {
            return;
        }
        track.started = Some(order);
        let announcement = track.announcement(&identity);
        self.begun += 1;
        self.broadcast(None, announcement);
        self.fill_all_slots();
    }

    fn slot_changed(&mut self, session: SessionId, state: &SlotSnapshot) {
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
        slot.state = state.clone();
        if let Some(outbox) = self.outbox(&identity) {
            outbox.send(None, self.slot_message(state));
        }
    }

    /// Every slot's state, after a resume.
    pub(super) fn send_slots(&self, identity: &Identity) {
        if let Some(member) = self.members.get(identity)
            && let (Some(session), Some(outbox)) = (&member.session, member.outbox())
        {
            for slot in &session.slots {
                outbox.send(None, self.slot_message(&slot.state));
            }
        }
    }

    fn slot_message(&self, state: &SlotSnapshot) -> ServerMessage {
        let publisher = state.track.as_ref().and_then(|track| self.track(track));
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

    fn fill_all_slots(&mut self) {
        for identity in self.members.keys().cloned().collect::<Vec<_>>() {
            self.fill_slots(&identity);
        }
    }

    pub(super) fn fill_slots(&mut self, identity: &Identity) {
        let candidates = self.candidates(identity);
        let Some(member) = self.members.get_mut(identity) else {
            return;
        };
        if !member.auto_subscribe || !member.permissions().subscribe {
            return;
        }
        let Some(session) = &mut member.session else {
            return;
        };
        for (mid, track) in slots::fill(&session.slots, candidates, &member.unwanted) {
            if let Some(slot) = session.slots.iter_mut().find(|slot| slot.mid == mid) {
                slot.wanted = Some(track.clone());
            }
            self.context.media.tell(Request::SetSlot {
                session: session.id,
                mid,
                track: Some(track),
                wish: SlotWish::default(),
            });
        }
    }

    fn candidates(&self, receiver: &Identity) -> Vec<Candidate> {
        let others = self
            .members
            .values()
            .filter(|member| member.identity != *receiver);
        let tracks = others
            .filter_map(|member| member.session.as_ref())
            .flat_map(|session| &session.tracks);
        tracks
            .filter(|track| track.source.kind() == Kind::Video)
            .filter_map(|track| {
                Some(Candidate {
                    track: track.id.clone(),
                    source: track.source,
                    order: track.started?,
                })
            })
            .collect()
    }

    /// Ends somebody's session in the data plane, too.
    pub(super) fn end_session(&mut self, identity: &Identity) {
        if let Some(session) = self.forget_session(identity) {
            self.context.media.tell(Request::CloseSession { session });
        }
    }

    fn forget_session(&mut self, identity: &Identity) -> Option<SessionId> {
        let session = self.members.get_mut(identity)?.session.take()?;
        self.unpublish(identity, &session.tracks);
        Some(session.id)
    }

    fn unpublish(&mut self, from: &Identity, tracks: &[Track]) {
        for track in tracks {
            for member in self.members.values_mut() {
                member.unwanted.remove(&track.id);
                let slots = member.session.iter_mut().flat_map(|session| &mut session.slots);
                for slot in slots.filter(|slot| slot.wanted.as_ref() == Some(&track.id)) {
                    slot.wanted = None;
                }
            }
            if track.started.is_some() {
                self.broadcast(
                    None,
                    ServerMessage::TrackUnpublished {
                        track_id: track.id.to_string(),
                        from: from.to_string(),
                    },
                );
            }
        }
        if !tracks.is_empty() {
            self.fill_all_slots();
        }
    }

    /// Brings the room in line with what the data plane really has: after every connect, be it this
    /// process that is new or the other one, and after lost events.
    fn reconcile(&mut self, instance: u64, up_to: u64, snapshots: Vec<SessionSnapshot>) {
        let alive: BTreeSet<SessionId> = snapshots.iter().map(|snapshot| snapshot.session).collect();
        let lost = |session: &Session| {
            session.instance != instance || (session.request <= up_to && !alive.contains(&session.id))
        };
        let bereft: Vec<Identity> = self
            .members
            .values()
            .filter(|member| member.session.as_ref().is_some_and(lost))
            .map(|member| member.identity.clone())
            .collect();
        for identity in &bereft {
            self.forget_session(identity);
        }
        let mut adopted = Vec::new();
        for snapshot in snapshots {
            match self.owner(snapshot.session) {
                Some(identity) => self.refresh_from(&identity, &snapshot),
                None => adopted.extend(self.adopt(instance, snapshot)),
            }
        }
        // Their order of publication is not kept; who came first is close to it.
        adopted.sort();
        for (_, identity, track) in adopted {
            let session = self
                .members
                .get_mut(&identity)
                .and_then(|member| member.session.as_mut());
            let track = session.and_then(|own| own.tracks.iter_mut().find(|own| own.id == track));
            if let Some(track) = track {
                track.started = Some(self.begun);
                self.begun += 1;
            }
        }
        for identity in &bereft {
            if let Some(outbox) = self.outbox(identity) {
                outbox.send(None, ServerMessage::MediaRestarted);
            }
        }
        self.fill_all_slots();
    }

    /// A session this room knows: what events said meanwhile may have been lost.
    fn refresh_from(&mut self, identity: &Identity, snapshot: &SessionSnapshot) {
        for track in snapshot.tracks.iter().filter(|track| track.started) {
            self.track_started(snapshot.session, &track.track);
        }
        for state in &snapshot.slots {
            let session = self
                .members
                .get(identity)
                .and_then(|member| member.session.as_ref());
            let known = session.and_then(|session| session.slots.iter().find(|slot| slot.mid == state.mid));
            if known.is_some_and(|slot| slot.state != *state) {
                self.slot_changed(snapshot.session, state);
            }
        }
    }

    /// A session of before this process: its participant waits for a resume from now on. Returns
    /// its tracks that have begun.
    fn adopt(&mut self, instance: u64, snapshot: SessionSnapshot) -> Vec<(i128, Identity, TrackId)> {
        let restored = Member::from_label(&snapshot.label, Instant::now() + RESUME_WINDOW);
        let Some((mut member, negotiated)) = restored else {
            tracing::warn!(session = %snapshot.session, "closing a session with an unreadable label");
            self.context.media.tell(Request::CloseSession {
                session: snapshot.session,
            });
            return Vec::new();
        };
        if self.members.contains_key(&member.identity) {
            // A leftover of an attempt whose answer never came.
            self.context.media.tell(Request::CloseSession {
                session: snapshot.session,
            });
            return Vec::new();
        }
        let mut session = Session::new(
            (snapshot.session, instance, 0),
            negotiated,
            snapshot.params,
            &snapshot.description,
        );
        let mut begun = Vec::new();
        let since = member.joined_at.unix_timestamp_nanos();
        for track in &mut session.tracks {
            member.sources.insert(track.mid.clone(), track.source);
            if let Some(state) = snapshot.tracks.iter().find(|state| state.track == track.id) {
                track.muted = state.muted;
                if state.started {
                    begun.push((since, member.identity.clone(), track.id.clone()));
                }
            }
        }
        for state in snapshot.slots {
            if let Some(slot) = session.slots.iter_mut().find(|slot| slot.mid == state.mid) {
                if slot.kind == Kind::Video {
                    slot.wanted.clone_from(&state.track);
                }
                slot.state = state;
            }
        }
        tracing::info!(room = %self.id, identity = %member.identity, session = %session.id, "adopted");
        member.session = Some(session);
        self.members.insert(member.identity.clone(), member);
        begun
    }

    fn owner(&self, session: SessionId) -> Option<Identity> {
        let owns = |member: &&Member| member.session.as_ref().is_some_and(|own| own.id == session);
        self.members
            .values()
            .find(owns)
            .map(|member| member.identity.clone())
    }

    fn track(&self, id: &TrackId) -> Option<(&Member, &Track)> {
        self.members.values().find_map(|member| {
            let session = member.session.as_ref()?;
            session
                .tracks
                .iter()
                .find(|track| track.id == *id)
                .map(|track| (member, track))
        })
    }
}

fn new_track_id() -> TrackId {
    TrackId::new(names::track_id()).expect("letters, digits and an underscore are allowed")
}

fn no_slot(message: &str) -> Rejection {
    Rejection::new(ErrorCode::SlotNotFound, message)
}

fn media_error(error: MediaError) -> Rejection {
    match error {
        MediaError::Refused(refusal) if refusal.code == RefusalCode::Invalid => {
            Rejection::new(ErrorCode::SdpInvalid, refusal.message)
        }
        error => Rejection::new(ErrorCode::MediaUnavailable, error.to_string()),
    }
}
