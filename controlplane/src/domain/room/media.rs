//! The room's side of media: offers and answers, tracks that begin and end, and what the data plane
//! reports of them. Which track feeds which slot stands in [`super::subscriptions`].
//!
//! Tracks are announced once media flows.

use std::net::IpAddr;

use kall_shared::id::{Identity, Mid, Rid, SessionId, TrackId};
use kall_shared::link::{CloseReason, Event, RefusalCode, Request, Response};
use kall_shared::media::{Kind, PublishParams, SessionParams, Source};
use kall_shared::signalling::{ErrorCode, ServerMessage};
use serde_json::Value;

use super::Room;
use super::member::{Member, Negotiated, Session, Track};
use super::messages::gone;
use crate::domain::outbox::Topic;
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
        let offer = sdp::Offer::parse(text).map_err(invalid)?;
        let member = self.members.get(identity).ok_or_else(gone)?;
        let params = self.accept(member, &offer)?;
        let sdp = self.establish(identity, &offer, params).await?;
        if let Some(outbox) = self.outbox(identity) {
            outbox.send(re, ServerMessage::Answer { sdp, from: None });
        }
        self.established(identity);
        Ok(())
    }

    /// What of an offer is accepted from this member. Nothing is changed yet.
    pub(super) fn accept(&self, member: &Member, offer: &sdp::Offer) -> Result<SessionParams, Rejection> {
        let permissions = member.permissions();
        let current = current_session(member, offer);
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
        let media = &self.context.config.media;
        let codecs: Vec<_> = media.codecs.iter().map(|name| name.codec()).collect();
        let rules = sdp::Rules {
            codecs: &codecs,
            simulcast: media.simulcast,
            subscribe: permissions.subscribe,
            // Who can't be asked to offer again keeps to the profile that everybody has.
            h264_high: !member.is_resource() && self.members.others_take_h264_high(&member.identity),
        };
        let params = offer.params(&rules, &mut publish).map_err(invalid)?;
        params
            .validate()
            .map_err(|error| Rejection::new(ErrorCode::SdpInvalid, error.to_string()))?;
        Ok(params)
    }

    /// Opens the member's session in the data plane, or changes the one it has, and writes the answer.
    pub(super) async fn establish(
        &mut self,
        identity: &Identity,
        offer: &sdp::Offer,
        params: SessionParams,
    ) -> Result<String, Rejection> {
        let member = self.members.get(identity).ok_or_else(gone)?;
        let current = current_session(member, offer);
        let negotiated = Negotiated {
            client: offer.session_id(),
            version: current.map_or(1, |session| session.negotiated.version.wrapping_add(1)),
            run: current.map_or(0, |session| session.run_with(&params.transport)),
        };
        let label = member.label(negotiated);
        let (address, returns) = (member.address, member.had_session);

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
            let lost = self
                .members
                .refresh_session(identity, params.clone(), Some(negotiated), &description);
            self.unpublish(identity, &lost);
            description
        } else {
            self.end_session(identity);
            let opened = client
                .create_session(self.id.clone(), label, params.clone(), returns)
                .await
                .map_err(media_error)?;
            let member = self.members.get_mut(identity).ok_or_else(gone)?;
            if let Some(breakout) = &member.place {
                // Sessions begin in the main room, whose core all its breakout rooms share.
                client.tell(Request::MoveSession {
                    session: opened.session,
                    room: breakout.clone(),
                });
            }
            member.had_session = true;
            let session = Session::new(
                (opened.session, opened.instance, opened.request),
                negotiated,
                params.clone(),
                &opened.description,
            );
            self.members.open_session(identity, session);
            opened.description
        };
        let media = &self.context.config.media;
        let settings = sdp::AnswerSettings {
            addresses: self.candidate_addresses(address)?,
            tcp_port: client.info().and_then(|info| info.tcp_port),
            version: negotiated.version,
            run: negotiated.run,
            max_bitrate: media.max_bitrate,
            screen_share_bitrate: media.screen_share_bitrate,
            audio_channels: media.audio_channels,
        };
        Ok(sdp::answer(offer, &params, &description, &settings))
    }

    /// Where a client at `address` reaches the data plane.
    pub(super) fn candidate_addresses(&self, address: IpAddr) -> Result<Vec<IpAddr>, Rejection> {
        let info = self.context.media.info();
        let info = info.ok_or_else(|| media_error(MediaError::Away))?;
        Ok(sdp::candidate_addresses(
            &info.addresses,
            &self.context.public_addresses,
            info.bind,
            address,
        ))
    }

    /// What an answer that was given means for the others.
    pub(super) fn established(&mut self, identity: &Identity) {
        let session = self
            .members
            .get(identity)
            .and_then(|member| member.session.as_ref());
        if session.and_then(|session| sdp::takes_h264_high(&session.params)) == Some(false) {
            self.recall_h264_high(identity);
        }
        // Nobody else sees anything of it before its media flows.
        self.fill_slots(identity);
    }

    /// Somebody came who can't decode constrained high: who publishes it is asked to offer again, and
    /// then gets the profile that everybody has.
    fn recall_h264_high(&self, newcomer: &Identity) {
        for member in self.members.publishing() {
            if member.identity != *newcomer
                && let (Some(session), Some(outbox)) = (&member.session, member.outbox())
                && sdp::publishes_h264_high(&session.params)
            {
                outbox.send(None, ServerMessage::Renegotiate);
            }
        }
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
                    self.lose_session(&identity);
                    // The peer connection of a client that lives on is dead on this side.
                    if reason == CloseReason::ConsentExpired
                        && let Some(outbox) = self.outbox(&identity)
                    {
                        outbox.send(None, ServerMessage::MediaRestarted);
                    }
                }
            }
            MediaEvent::Event(Event::Dynacast {
                session,
                track,
                layers,
            }) => self.dynacast(session, &track, layers),
            MediaEvent::Event(Event::ActiveSpeaker { session, .. }) => {
                if let Some(identity) = self.owner(session) {
                    self.speaks(&identity);
                }
            }
            // Of the link's client alone, which takes a snapshot, and knows which cores are full.
            MediaEvent::Event(Event::Overflow { .. } | Event::CoreLoad { .. }) => {}
            MediaEvent::Snapshot {
                instance,
                up_to,
                sessions,
            } => self.reconcile(instance, up_to, sessions),
        }
    }

    pub(super) fn track_started(&mut self, session: SessionId, track: &TrackId) {
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
        self.broadcast_in(&self.place_of(&identity), None, announcement);
        self.fill_all_slots();
    }

    /// Which layers of a track anybody takes has changed: its publisher may stop the others.
    pub(super) fn dynacast(&mut self, session: SessionId, track: &TrackId, layers: Vec<(Rid, bool)>) {
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
        if track.layers == layers {
            return;
        }
        track.layers = layers;
        let id = track.id.clone();
        self.send_layers(&identity, Some(&id));
    }

    /// What dynacast said of somebody's tracks, or of one of them. Nothing while it is switched off.
    pub(super) fn send_layers(&self, identity: &Identity, only: Option<&TrackId>) {
        if !self.context.config.media.dynacast {
            return;
        }
        let Some(member) = self.members.get(identity) else {
            return;
        };
        let (Some(session), Some(outbox)) = (&member.session, member.outbox()) else {
            return;
        };
        let chosen = |track: &&Track| only.is_none_or(|only| track.id == *only);
        for track in session.tracks.iter().filter(chosen) {
            if !track.layers.is_empty() {
                let layers = track.layers.iter();
                let message = ServerMessage::Dynacast {
                    track_id: track.id.to_string(),
                    layers: layers.map(|(rid, wanted)| (rid.to_string(), *wanted)).collect(),
                };
                outbox.send_latest(Topic::Dynacast(track.id.clone()), message);
            }
        }
    }

    /// Ends somebody's session in the data plane, too.
    pub(super) fn end_session(&mut self, identity: &Identity) {
        if let Some(session) = self.forget_session(identity) {
            self.context.media.tell(Request::CloseSession { session });
        }
    }

    pub(super) fn forget_session(&mut self, identity: &Identity) -> Option<SessionId> {
        let session = self.members.take_session(identity)?;
        self.unpublish(identity, &session.tracks);
        Some(session.id)
    }

    /// Takes note of a session that the data plane has no more. Who was here by it alone is gone with it.
    pub(super) fn lose_session(&mut self, identity: &Identity) {
        self.forget_session(identity);
        if self.members.get(identity).is_some_and(Member::is_resource) {
            self.leave(identity);
        }
    }

    pub(super) fn unpublish(&mut self, from: &Identity, tracks: &[Track]) {
        let place = self.place_of(from);
        for track in tracks {
            for member in self.members.values_mut() {
                member.unwanted.remove(&track.id);
                let slots = member.session.iter_mut().flat_map(|session| &mut session.slots);
                for slot in slots.filter(|slot| slot.wanted.as_ref() == Some(&track.id)) {
                    slot.release();
                }
            }
            if track.started.is_some() {
                self.broadcast_in(
                    &place,
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

    pub(super) fn owner(&self, session: SessionId) -> Option<Identity> {
        self.members.owner(session).cloned()
    }
}

/// The same peer connection keeps its certificate and the session id of its `o=` line.
fn current_session<'a>(member: &'a Member, offer: &sdp::Offer) -> Option<&'a Session> {
    member.session.as_ref().filter(|session| {
        session.negotiated.client == offer.session_id()
            && session.params.transport.fingerprints == offer.transport().fingerprints
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the form of map_err")]
fn invalid(error: sdp::SdpError) -> Rejection {
    Rejection::new(ErrorCode::SdpInvalid, error.to_string())
}

fn new_track_id() -> TrackId {
    TrackId::new(names::track_id()).expect("letters, digits and an underscore are allowed")
}

pub(super) fn media_error(error: MediaError) -> Rejection {
    match error {
        MediaError::Refused(refusal) if refusal.code == RefusalCode::Invalid => {
            Rejection::new(ErrorCode::SdpInvalid, refusal.message)
        }
        MediaError::Refused(refusal) if refusal.code == RefusalCode::Exhausted => {
            tracing::warn!(reason = refusal.message, "the data plane has no room");
            Rejection::busy()
        }
        error => Rejection::new(ErrorCode::MediaUnavailable, error.to_string()),
    }
}
