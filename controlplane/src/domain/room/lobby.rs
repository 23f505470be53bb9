//! The lobby: who waits knows the room's name and nothing else of it, and is known to moderators by
//! identity and name.

use kall_shared::id::Identity;
use kall_shared::signalling::{AuthMode, ClientMessage, ErrorCode, ServerMessage, limits};

use super::join::dismiss;
use super::moderation::REMOVED;
use super::{JoinRequest, Room};
use crate::domain::outbox::Close;
use crate::domain::{Rejection, permission};

/// People in one lobby: each holds a connection and nothing else.
const WAITING_MAX: usize = 1000;

impl Room {
    /// Whether newcomers have to be let in.
    pub(super) fn has_lobby(&self) -> bool {
        self.row.lobby_enabled || self.mode() == AuthMode::Lobby
    }

    /// Whether this newcomer has to be let in. Whoever comes back was let in before.
    pub(super) fn must_wait(&self, identity: &Identity, request: &JoinRequest) -> bool {
        let moderator = permission::narrowed(request.role, request.permissions).admin;
        self.has_lobby() && !moderator && request.resume.is_none() && !self.members.contains_key(identity)
    }

    /// Puts somebody into the lobby.
    pub(super) fn wait(&mut self, identity: Identity, request: JoinRequest) -> Result<Identity, Rejection> {
        if self.waiting.len() >= WAITING_MAX && !self.waiting.contains_key(&identity) {
            return Err(Rejection::new(ErrorCode::RoomFull, "the lobby is full"));
        }
        let waiting = ServerMessage::LobbyWaiting {
            room_name: self.row.name.clone(),
            identity: identity.to_string(),
        };
        request.outbox.send(request.re.clone(), waiting);
        let asks = ServerMessage::LobbyRequest {
            identity: identity.to_string(),
            name: request.name.clone(),
        };
        if let Some(before) = self.waiting.insert(identity.clone(), request) {
            dismiss(&before.outbox);
        }
        self.tell_moderators(asks);
        tracing::info!(room = %self.id, %identity, "waits in the lobby");
        Ok(identity)
    }

    /// Tells somebody who moderates from now on who waits.
    pub(super) fn tell_who_waits(&self, moderator: &Identity) {
        let Some(outbox) = self.outbox(moderator) else {
            return;
        };
        for (identity, request) in &self.waiting {
            outbox.send(
                None,
                ServerMessage::LobbyRequest {
                    identity: identity.to_string(),
                    name: request.name.clone(),
                },
            );
        }
    }

    pub(super) fn tell_moderators(&self, message: ServerMessage) {
        let text = crate::domain::outbox::encode(None, message);
        for member in self.members.on_stage().filter(|member| member.moderates()) {
            if let Some(outbox) = member.outbox() {
                outbox.send_text(text.clone());
            }
        }
    }

    pub(super) fn let_in(&mut self, identity: &Identity) -> Result<(), Rejection> {
        let request = self.waiting.remove(identity).ok_or_else(|| nobody(identity))?;
        self.tell_moderators(ServerMessage::LobbyLeft {
            identity: identity.to_string(),
        });
        let (outbox, re) = (request.outbox.clone(), request.re.clone());
        if let Err(rejection) = self.enter(identity.clone(), request) {
            outbox.send(
                re,
                ServerMessage::Error {
                    code: rejection.code,
                    message: rejection.message.clone(),
                },
            );
            outbox.close(Close {
                code: 1000,
                reason: "not admitted",
            });
            return Err(rejection);
        }
        Ok(())
    }

    pub(super) fn let_all_in(&mut self) {
        for identity in self.waiting.keys().cloned().collect::<Vec<_>>() {
            // Who finds no place any more was told so.
            let _ = self.let_in(&identity);
        }
    }

    pub(super) fn turn_away(&mut self, identity: &Identity, reason: String) -> Result<(), Rejection> {
        if reason.chars().count() > limits::REASON {
            let message = format!("reason: at most {} characters", limits::REASON);
            return Err(Rejection::new(ErrorCode::BadMessage, message));
        }
        let request = self.waiting.remove(identity).ok_or_else(|| nobody(identity))?;
        request.outbox.send(None, ServerMessage::LobbyRejected { reason });
        request.outbox.close(REMOVED);
        self.tell_moderators(ServerMessage::LobbyLeft {
            identity: identity.to_string(),
        });
        Ok(())
    }

    /// A message of somebody who waits: it can leave, and nothing else.
    pub(super) fn on_lobby_message(
        &mut self,
        identity: &Identity,
        re: Option<serde_json::Value>,
        message: &ClientMessage,
    ) {
        let Some(request) = self.waiting.get(identity) else {
            return;
        };
        if matches!(message, ClientMessage::Leave) {
            request.outbox.close(Close {
                code: 1000,
                reason: "left",
            });
            self.leaves_lobby(identity);
        } else {
            let message = "a moderator has to let you in first".to_owned();
            request.outbox.send(
                re,
                ServerMessage::Error {
                    code: ErrorCode::NotJoined,
                    message,
                },
            );
        }
    }

    pub(super) fn waits_by(&self, identity: &Identity, connection: u64) -> bool {
        let waiting = self.waiting.get(identity);
        waiting.is_some_and(|request| request.outbox.id() == connection)
    }

    pub(super) fn leaves_lobby(&mut self, identity: &Identity) {
        self.waiting.remove(identity);
        self.tell_moderators(ServerMessage::LobbyLeft {
            identity: identity.to_string(),
        });
    }

    /// The room is over for those who wait, too.
    pub(super) fn close_lobby(&mut self) {
        for (_, request) in std::mem::take(&mut self.waiting) {
            request.outbox.send(None, ServerMessage::RoomClosed);
            request.outbox.close(Close {
                code: 1000,
                reason: "the room is closed",
            });
        }
    }
}

fn nobody(identity: &Identity) -> Rejection {
    Rejection::new(
        ErrorCode::ParticipantNotFound,
        format!("identity: '{identity}' does not wait"),
    )
}
