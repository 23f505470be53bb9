//! What a joined client asks, and who deals with it; mute, relays and sources are dealt with here.

use kall_shared::id::{Identity, Mid, RoomId, TrackId};
use kall_shared::link::Request;
use kall_shared::media::Source;
use kall_shared::signalling::{BreakoutAssign, ClientMessage, ErrorCode, ServerMessage};
use serde_json::Value;

use super::Room;
use super::action::{Action, Actor, RoomPatch};
use super::wish::Asked;
use crate::domain::Rejection;
use crate::domain::outbox::Close;

/// Lines a client may name sources for: as many as an offer may have.
const SOURCES_MAX: usize = kall_shared::media::limits::MEDIA_LINES;

/// What `mute` and `unmute` speak of.
enum Target {
    Sources(&'static [Source]),
    Track(TrackId),
}

impl Room {
    pub(super) async fn message(
        &mut self,
        identity: &Identity,
        re: Option<Value>,
        message: ClientMessage,
    ) -> Result<(), Rejection> {
        match message {
            ClientMessage::Join { .. } => Err(Rejection::new(
                ErrorCode::AlreadyJoined,
                "this connection has joined already",
            )),
            ClientMessage::Leave => {
                let outbox = self.outbox(identity).cloned();
                self.leave(identity);
                if let Some(outbox) = outbox {
                    outbox.close(Close {
                        code: 1000,
                        reason: "left",
                    });
                }
                Ok(())
            }
            ClientMessage::Publish { mid, source } => self.name_source(identity, mid, source),
            ClientMessage::Offer { sdp, to: None } => self.offer(identity, re, &sdp).await,
            ClientMessage::Offer { sdp, to: Some(to) } => {
                let from = identity.to_string();
                self.relay(identity, &to, ServerMessage::Offer { sdp, from })
            }
            ClientMessage::Answer { to: None, .. } => Err(Rejection::new(
                ErrorCode::BadMessage,
                "to: the server never offers, an answer is for a participant",
            )),
            ClientMessage::Answer { sdp, to: Some(to) } => {
                let from = Some(identity.to_string());
                self.relay(identity, &to, ServerMessage::Answer { sdp, from })
            }
            // A lite agent learns the client's address from its checks (RFC 8445 section 2.5).
            ClientMessage::Candidate { to: None, .. } => Ok(()),
            ClientMessage::Candidate {
                candidate,
                to: Some(to),
            } => {
                let from = identity.to_string();
                self.relay(identity, &to, ServerMessage::Candidate { candidate, from })
            }
            ClientMessage::Subscribe {
                track_id,
                layer,
                mid,
                priority,
                max_width,
                max_height,
                max_fps,
            } => {
                let asked = Asked {
                    layer,
                    priority,
                    max_width,
                    max_height,
                    max_fps,
                };
                self.subscribe(identity, &track_id, mid.as_deref(), &asked)
            }
            ClientMessage::Unsubscribe { track_id } => self.unsubscribe(identity, &track_id),
            ClientMessage::Mute { track } => {
                self.mute(identity, &Actor::Participant(identity.clone()), re, track, true)
            }
            ClientMessage::Unmute { track } => {
                self.mute(identity, &Actor::Participant(identity.clone()), re, track, false)
            }
            ClientMessage::MuteParticipant {
                identity: whom,
                track,
            } => {
                // A moderator silences somebody, who alone can lift it again: nobody's microphone is
                // opened by another.
                let whom = Identity::new(whom).map_err(bad)?;
                let actor = Actor::Participant(identity.clone());
                let action = Action::Mute {
                    identity: whom.clone(),
                    track: track.clone(),
                };
                self.may(&actor, &action)?;
                self.present(&whom)?;
                self.mute(&whom, &actor, re, track, true)
            }
            ClientMessage::Chat { text, to } => self.chat(identity, re, text, to.as_deref()).await,
            ClientMessage::ChatEdit { message_id, text } => {
                self.chat_edit(identity, re, message_id, text).await
            }
            ClientMessage::ChatDelete { message_id } => self.chat_delete(identity, re, message_id).await,
            ClientMessage::ChatHistory { before, limit } => {
                self.chat_history(identity, re, before.as_deref(), limit).await
            }
            ClientMessage::Reaction {
                emoji,
                message_id,
                remove,
            } => {
                self.react(identity, re, emoji, message_id, remove.unwrap_or(false))
                    .await
            }
            ClientMessage::Hand {
                raised,
                identity: None,
            } => self.set_hand(identity, raised, identity.as_str()),
            ClientMessage::Hand {
                raised: true,
                identity: Some(_),
            } => Err(Rejection::new(
                ErrorCode::BadMessage,
                "raised: nobody raises another's hand",
            )),
            ClientMessage::HostAccept => self.answer_offer(identity, true).await,
            ClientMessage::HostDecline => self.answer_offer(identity, false).await,
            ClientMessage::BreakoutJoin { room } => {
                let room = room.map(RoomId::new).transpose().map_err(bad)?;
                self.breakout_join(identity, room).await
            }
            message => {
                let action = action_of(message)?;
                self.act(&Actor::Participant(identity.clone()), action).await
            }
        }
    }

    fn name_source(&mut self, identity: &Identity, mid: String, source: Source) -> Result<(), Rejection> {
        let mid = Mid::new(mid).map_err(bad)?;
        let member = self.members.get_mut(identity).ok_or_else(gone)?;
        let permissions = member.permissions();
        let shares = matches!(source, Source::Screen | Source::ScreenAudio);
        if !permissions.publish || (shares && !permissions.screen) {
            return Err(Rejection::new(
                ErrorCode::PermissionDenied,
                "the role does not allow publishing this",
            ));
        }
        if member.sources.len() >= SOURCES_MAX && !member.sources.contains_key(&mid) {
            return Err(Rejection::new(
                ErrorCode::BadMessage,
                format!("mid: at most {SOURCES_MAX} lines"),
            ));
        }
        member.sources.insert(mid, source);
        Ok(())
    }

    fn relay(&self, from: &Identity, to: &str, message: ServerMessage) -> Result<(), Rejection> {
        let outbox = self.find(from, to)?;
        outbox.send(None, message);
        Ok(())
    }

    /// Stops or restarts somebody's tracks, and says who did it. Tracks yet to come begin the same way.
    pub(super) fn mute(
        &mut self,
        identity: &Identity,
        by: &Actor,
        re: Option<Value>,
        track: String,
        muted: bool,
    ) -> Result<(), Rejection> {
        let target = match track.as_str() {
            "audio" => Target::Sources(&[Source::Microphone]),
            "video" => Target::Sources(&[Source::Camera]),
            "screen" => Target::Sources(&[Source::Screen, Source::ScreenAudio]),
            id => Target::Track(TrackId::new(id).map_err(bad)?),
        };
        let member = self.members.get_mut(identity).ok_or_else(gone)?;
        let mut changed = Vec::new();
        if let Target::Sources(sources) = &target {
            for source in *sources {
                member.muted.set(*source, muted);
            }
        }
        if let Some(session) = &mut member.session {
            let hit = session.tracks.iter_mut().filter(|track| match &target {
                Target::Sources(sources) => sources.contains(&track.source),
                Target::Track(id) => track.id == *id,
            });
            for track in hit {
                track.muted = muted;
                changed.push((session.id, track.id.clone()));
            }
        }
        if changed.is_empty() && matches!(target, Target::Track(_)) {
            return Err(Rejection::new(
                ErrorCode::TrackNotFound,
                format!("track: no track '{track}' of '{identity}'"),
            ));
        }
        for (session, track) in changed {
            self.context.media.tell(Request::SetMuted {
                session,
                track,
                muted,
            });
        }
        self.save_label(identity);
        let place = self.place_of(identity);
        let (identity, actor) = (identity.to_string(), by.name());
        let message = if muted {
            ServerMessage::Muted {
                identity,
                track,
                by: actor,
            }
        } else {
            ServerMessage::Unmuted {
                identity,
                track,
                by: actor,
            }
        };
        let Actor::Participant(by) = by else {
            self.broadcast_in(&place, None, message);
            return Ok(());
        };
        self.broadcast_in(&place, Some(by), message.clone());
        self.answer(by, re, message);
        Ok(())
    }
}

/// What a moderator's message asks for; the rest of the messages are dealt with before.
fn action_of(message: ClientMessage) -> Result<Action, Rejection> {
    let who = |identity: String| Identity::new(identity).map_err(bad);
    Ok(match message {
        ClientMessage::LobbyAdmit { identity } => Action::Admit(who(identity)?),
        ClientMessage::LobbyReject { identity, reason } => Action::Reject {
            identity: who(identity)?,
            reason: reason.unwrap_or_default(),
        },
        ClientMessage::LobbyAdmitAll => Action::AdmitAll,
        ClientMessage::Kick { identity, ban } => Action::Kick {
            identity: who(identity)?,
            ban,
        },
        ClientMessage::RoomLock { locked } => Action::Update(Box::new(RoomPatch {
            locked: Some(locked),
            ..RoomPatch::default()
        })),
        ClientMessage::Role { identity, role } => Action::SetRole {
            identity: who(identity)?,
            role,
        },
        ClientMessage::EndRoom => Action::End,
        ClientMessage::Hand { identity, .. } => Action::LowerHand(who(identity.unwrap_or_default())?),
        ClientMessage::BreakoutsCreate { count, names, assign } => Action::BreakoutsCreate {
            count,
            names: names.unwrap_or_default(),
            assign: assign.unwrap_or(BreakoutAssign::Manual),
        },
        ClientMessage::BreakoutAssign { identity, room } => Action::BreakoutAssign {
            identity: who(identity)?,
            room: room.map(RoomId::new).transpose().map_err(bad)?,
        },
        ClientMessage::BreakoutsOpen { duration_seconds } => Action::BreakoutsOpen {
            seconds: duration_seconds,
        },
        ClientMessage::BreakoutsBroadcast { text } => Action::BreakoutsBroadcast(text),
        ClientMessage::BreakoutsClose => Action::BreakoutsClose,
        other => {
            tracing::error!(message = ?std::mem::discriminant(&other), "a message that nobody deals with");
            return Err(Rejection::new(
                ErrorCode::Internal,
                "the server does not know how",
            ));
        }
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the form of map_err")]
pub(super) fn bad(invalid: kall_shared::error::InvalidValue) -> Rejection {
    Rejection::new(ErrorCode::BadMessage, invalid.to_string())
}

pub(super) fn gone() -> Rejection {
    Rejection::new(ErrorCode::NotJoined, "join first")
}
