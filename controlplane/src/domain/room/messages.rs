//! What a joined client asks, but for its media: chat, mute, relays, sources.

use kall_shared::id::{Identity, Mid, TrackId};
use kall_shared::link::Request;
use kall_shared::media::Source;
use kall_shared::signalling::{ClientMessage, ErrorCode, ServerMessage, limits};
use serde_json::Value;

use super::member::Member;
use super::wish::Asked;
use super::{Room, now_utc};
use crate::domain::outbox::{self, Close};
use crate::domain::{Rejection, names};

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
                self.relay(&to, ServerMessage::Offer { sdp, from })
            }
            ClientMessage::Answer { to: None, .. } => Err(Rejection::new(
                ErrorCode::BadMessage,
                "to: the server never offers, an answer is for a participant",
            )),
            ClientMessage::Answer { sdp, to: Some(to) } => {
                let from = Some(identity.to_string());
                self.relay(&to, ServerMessage::Answer { sdp, from })
            }
            // A lite agent learns the client's address from its checks (RFC 8445 section 2.5).
            ClientMessage::Candidate { to: None, .. } => Ok(()),
            ClientMessage::Candidate {
                candidate,
                to: Some(to),
            } => {
                let from = identity.to_string();
                self.relay(&to, ServerMessage::Candidate { candidate, from })
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
            ClientMessage::Mute { track } => self.mute(identity, identity, re, track, true),
            ClientMessage::Unmute { track } => self.mute(identity, identity, re, track, false),
            ClientMessage::MuteParticipant {
                identity: whom,
                track,
            } => self.mute_participant(identity, re, &whom, track),
            ClientMessage::Chat { text, to } => self.chat(identity, re, text, to.as_deref()),
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

    fn relay(&self, to: &str, message: ServerMessage) -> Result<(), Rejection> {
        let outbox = self.find(to)?;
        outbox.send(None, message);
        Ok(())
    }

    /// Somebody who is online.
    fn find(&self, identity: &str) -> Result<&outbox::Outbox, Rejection> {
        let identity = Identity::new(identity).map_err(bad)?;
        self.outbox(&identity).ok_or_else(|| {
            Rejection::new(
                ErrorCode::ParticipantNotFound,
                format!("to: '{identity}' is not here"),
            )
        })
    }

    fn chat(
        &mut self,
        identity: &Identity,
        re: Option<Value>,
        text: String,
        to: Option<&str>,
    ) -> Result<(), Rejection> {
        if !self
            .members
            .get(identity)
            .is_some_and(|member| member.permissions().chat)
        {
            return Err(Rejection::new(
                ErrorCode::PermissionDenied,
                "the role does not allow chat",
            ));
        }
        let length = text.chars().count();
        if text.trim().is_empty() || length > limits::CHAT_TEXT {
            return Err(Rejection::new(
                ErrorCode::BadMessage,
                format!("text: 1 to {} characters", limits::CHAT_TEXT),
            ));
        }
        let reader = to.map(|to| self.find(to).cloned()).transpose()?;
        let message = ServerMessage::Chat {
            id: format!("msg-{}", names::random_text(12)),
            from: identity.to_string(),
            text,
            to: to.map(str::to_owned),
            timestamp: now_utc().unix_timestamp(),
        };
        match reader {
            None => self.broadcast(Some(identity), message.clone()),
            Some(reader) => {
                // A note to oneself comes once, as the answer below.
                if to != Some(identity.as_str()) {
                    reader.send(None, message.clone());
                }
            }
        }
        if let Some(outbox) = self.outbox(identity) {
            outbox.send(re, message);
        }
        Ok(())
    }

    /// A moderator silences somebody, who alone can lift it again: nobody's microphone is opened by
    /// another.
    fn mute_participant(
        &mut self,
        by: &Identity,
        re: Option<Value>,
        whom: &str,
        track: String,
    ) -> Result<(), Rejection> {
        let moderates = |member: &Member| member.permissions().admin;
        if !self.members.get(by).is_some_and(moderates) {
            return Err(Rejection::new(
                ErrorCode::PermissionDenied,
                "the role does not allow muting others",
            ));
        }
        let whom = Identity::new(whom).map_err(bad)?;
        if !self.members.contains_key(&whom) {
            return Err(Rejection::new(
                ErrorCode::ParticipantNotFound,
                format!("identity: '{whom}' is not here"),
            ));
        }
        self.mute(&whom, by, re, track, true)
    }

    /// Stops or restarts somebody's tracks, and says who did it. Tracks yet to come begin the same way.
    fn mute(
        &mut self,
        identity: &Identity,
        by: &Identity,
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
        let (identity, actor) = (identity.to_string(), by.to_string());
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
        self.broadcast(Some(by), message.clone());
        if let Some(outbox) = self.outbox(by) {
            outbox.send(re, message);
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form of map_err")]
pub(super) fn bad(invalid: kall_shared::error::InvalidValue) -> Rejection {
    Rejection::new(ErrorCode::BadMessage, invalid.to_string())
}

pub(super) fn gone() -> Rejection {
    Rejection::new(ErrorCode::NotJoined, "join first")
}
