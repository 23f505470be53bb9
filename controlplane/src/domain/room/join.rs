//! Coming, coming back, and going.
//!
//! A connection that was lost leaves its participant waiting, tracks and slots kept, until a resume
//! token brings it back or the window is over. The last token stays valid until its successor is
//! used, so an answer lost on the way costs nothing.

use kall_shared::id::Identity;
use kall_shared::link::Request;
use kall_shared::signalling::{ErrorCode, Role, ServerMessage, close};
use tokio::time::Instant;

use super::member::{Member, Presence, ResumeNumbers, Ticket};
use super::{Departure, JoinRequest, RESUME_WINDOW, Room, now_utc};
use crate::domain::outbox::{Close, Outbox};
use crate::domain::password::Check;
use crate::domain::token::ResumeClaims;
use crate::domain::{Rejection, names};

impl Room {
    pub(super) fn join(&mut self, request: JoinRequest) -> Result<Identity, Rejection> {
        if let Some(claims) = &request.resume {
            if claims.room != self.id {
                return Err(refused("the resume token is for another room"));
            }
            if request
                .identity
                .as_ref()
                .is_some_and(|identity| *identity != claims.sub)
            {
                return Err(refused("the resume token is somebody else's"));
            }
            // A session without a WebSocket is nobody's to take over; it is replaced like any other.
            let kept = self.members.get(&claims.sub);
            if kept.is_some_and(|member| !member.is_resource()) {
                return self.resume(request);
            }
        }
        let resume = request.resume.as_ref();
        let identity = match (&request.identity, resume) {
            (Some(identity), _) => identity.clone(),
            (None, Some(claims)) => claims.sub.clone(),
            (None, None) => self.guest_identity(),
        };
        // Whoever is in the lobby by then keeps the turn: a session that is refused is asked for again.
        if self.context.media.refuses_newcomers() && resume.is_none() && !self.had_session(&identity) {
            return Err(Rejection::busy());
        }
        if self.must_wait(&identity, &request) {
            let role = self.granted_role(&identity, request.role);
            self.admit(&identity, role, false, request.password, request.address)?;
            return self.wait(identity, request);
        }
        self.enter(identity, request)
    }

    /// A newcomer, or somebody whose window to resume is over.
    pub(super) fn enter(&mut self, identity: Identity, request: JoinRequest) -> Result<Identity, Rejection> {
        let resume = request.resume.as_ref();
        let (role, narrowing) = match resume {
            Some(claims) if request.identity.is_none() => (claims.role, claims.permissions),
            _ => (request.role, request.permissions),
        };
        let role = self.granted_role(&identity, role);
        self.admit(
            &identity,
            role,
            resume.is_some(),
            request.password,
            request.address,
        )?;
        let had_session = self.had_session(&identity);
        self.replace(&identity);
        let numbers = ResumeNumbers {
            used: resume.map_or(0, |claims| claims.number),
            issued: resume.map_or(0, |claims| claims.number),
        };
        let member = Member {
            identity: identity.clone(),
            name: request.name,
            role,
            narrowing,
            joined_at: now_utc(),
            presence: Presence::Online(request.outbox.clone()),
            resume: numbers,
            auto_subscribe: request.auto_subscribe,
            address: request.address,
            sources: std::collections::BTreeMap::new(),
            muted: Default::default(),
            unwanted: std::collections::BTreeSet::new(),
            spoke: 0,
            hand: false,
            ticket: request.ticket.unwrap_or_else(Ticket::made_up),
            place: None,
            announced: self.announces(role),
            // A resume token is of somebody who was let in before.
            had_session: had_session || resume.is_some(),
            session: None,
        };
        let announcement = ServerMessage::ParticipantJoined {
            identity: identity.to_string(),
            name: member.name.clone(),
            role,
        };
        let announced = member.announced;
        self.members.insert(member);
        self.welcome(&identity, request.re, false);
        if announced {
            self.broadcast_in(&None, Some(&identity), announcement);
        }
        self.presence_changed();
        self.offer_host();
        tracing::info!(room = %self.id, %identity, ?role, "joined");
        Ok(identity)
    }

    /// Somebody whose place was kept.
    fn resume(&mut self, request: JoinRequest) -> Result<Identity, Rejection> {
        let Some(claims) = request.resume else {
            return Err(refused("no resume token"));
        };
        let identity = claims.sub;
        let Some(member) = self.members.get_mut(&identity) else {
            return Err(refused("nobody waits for this token"));
        };
        if claims.number < member.resume.used {
            return Err(refused("the resume token was replaced by a newer one"));
        }
        member.resume.used = claims.number;
        let before = std::mem::replace(&mut member.presence, Presence::Online(request.outbox));
        member.address = request.address;
        member.auto_subscribe = request.auto_subscribe;
        let resumed = member.session.is_some();
        if let Presence::Online(outbox) = before {
            dismiss(&outbox);
        }
        self.welcome(&identity, request.re, resumed);
        self.save_label(&identity);
        self.send_slots(&identity);
        self.send_layers(&identity, None);
        self.fill_slots(&identity);
        tracing::info!(room = %self.id, %identity, resumed, "resumed");
        Ok(identity)
    }

    pub(super) fn admit(
        &self,
        identity: &Identity,
        role: Role,
        known: bool,
        password: Check,
        address: std::net::IpAddr,
    ) -> Result<(), Rejection> {
        let moderator = matches!(role, Role::Host | Role::CoHost);
        if self.is_banned(identity, address, moderator) {
            return Err(Rejection::new(
                ErrorCode::Banned,
                "you were banned from this room",
            ));
        }
        if self.row.locked && !moderator {
            return Err(Rejection::new(ErrorCode::RoomLocked, "the room is locked"));
        }
        match password {
            _ if moderator || known => {}
            Check::NotNeeded | Check::Right => {}
            Check::Missing => {
                return Err(Rejection::new(
                    ErrorCode::PasswordRequired,
                    "password: the room has one",
                ));
            }
            Check::Wrong => return Err(Rejection::new(ErrorCode::PasswordWrong, "password: another one")),
        }
        let places = usize::try_from(self.row.max_participants).unwrap_or(usize::MAX);
        if !self.members.contains_key(identity) && self.members.len() >= places {
            return Err(Rejection::new(
                ErrorCode::RoomFull,
                format!("the room has {places} places"),
            ));
        }
        Ok(())
    }

    pub(super) fn guest_identity(&self) -> Identity {
        loop {
            let text = format!("guest-{}", names::random_text(8));
            let identity = Identity::new(text).expect("letters, digits and a hyphen are allowed");
            if !self.members.contains_key(&identity) && !self.waiting.contains_key(&identity) {
                return identity;
            }
        }
    }

    /// Whether somebody of this identity is here and was let into the data plane.
    pub(super) fn had_session(&self, identity: &Identity) -> bool {
        self.members
            .get(identity)
            .is_some_and(|member| member.had_session)
    }

    /// A second join with the same identity ends the first.
    pub(super) fn replace(&mut self, identity: &Identity) {
        if let Some(outbox) = self.outbox(identity) {
            dismiss(outbox);
        }
        self.remove(identity);
    }

    /// `joined`, with a fresh resume token.
    fn welcome(&mut self, identity: &Identity, re: Option<serde_json::Value>, resumed: bool) {
        let Some(member) = self.members.get_mut(identity) else {
            return;
        };
        member.resume.issued = member.resume.issued.max(member.resume.used) + 1;
        let claims = ResumeClaims {
            iss: String::new(),
            sub: identity.clone(),
            name: member.name.clone(),
            room: self.id.clone(),
            role: member.role,
            permissions: member.narrowing,
            number: member.resume.issued,
            ticket: member.ticket.clone(),
            exp: 0,
        };
        let (role, permissions) = (member.role, member.permissions());
        let resume = self.context.tokens.issue_resume(claims).unwrap_or_else(|error| {
            tracing::error!(%error, "resume token");
            String::new()
        });
        let message = ServerMessage::Joined {
            room: self.id.to_string(),
            identity: identity.to_string(),
            role,
            permissions,
            resume,
            resumed,
            participants: self.visible_to(identity),
            ice_servers: self.context.ice_servers(identity.as_str()),
            room_info: self.info(),
            presence: self.presence(),
            breakouts: self.public_breakouts(),
            breakout: self.place_of(identity).map(|place| place.to_string()),
            server: self.context.server_info(),
        };
        if let Some(outbox) = self.outbox(identity) {
            outbox.send(re, message);
        }
        self.send_speaker(identity);
        if self.members.get(identity).is_some_and(Member::moderates) {
            self.tell_who_waits(identity);
        }
        if self.host_offer.as_ref() == Some(identity) {
            self.answer(identity, None, ServerMessage::HostOffer);
        }
    }

    /// Whoever comes while breakout rooms are open goes where it is assigned.
    pub(super) async fn place_newcomer(&mut self, identity: &Identity) {
        let place = self.assigned_place(identity);
        if place.is_some()
            && self.members.contains_key(identity)
            && let Err(rejection) = self.move_to(identity, place).await
        {
            tracing::warn!(room = %self.id, %identity, %rejection, "could not be moved");
        }
    }

    pub(super) fn disconnected(&mut self, identity: &Identity, connection: u64, departure: Departure) {
        if self.waits_by(identity, connection) {
            return self.leaves_lobby(identity);
        }
        let Some(member) = self.members.get_mut(identity) else {
            return;
        };
        if !member.is_connection(connection) {
            return;
        }
        match departure {
            Departure::Clean => self.leave(identity),
            Departure::Lost => {
                let until = Instant::now() + RESUME_WINDOW;
                member.presence = Presence::Waiting(until);
                self.expire_by(until);
            }
        }
    }

    /// Somebody is awaited until then.
    pub(super) fn expire_by(&mut self, until: Instant) {
        self.resume_ends = Some(self.resume_ends.map_or(until, |ends| ends.min(until)));
    }

    /// Lets go of everybody whose window to resume is over.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.resume_ends.is_none_or(|ends| ends > now) {
            return;
        }
        let waiting = self.members.values().filter_map(|member| match member.presence {
            Presence::Waiting(until) => Some((member.identity.clone(), until)),
            Presence::Online(_) | Presence::Media(_) => None,
        });
        let (gone, waiting): (Vec<_>, Vec<_>) = waiting.partition(|(_, until)| *until <= now);
        self.resume_ends = waiting.into_iter().map(|(_, until)| until).min();
        for (identity, _) in gone {
            self.leave(&identity);
        }
    }

    /// Ends somebody's part in the room.
    pub(super) fn leave(&mut self, identity: &Identity) {
        self.remove(identity);
        self.offer_host();
        tracing::info!(room = %self.id, %identity, "left");
    }

    fn remove(&mut self, identity: &Identity) {
        if !self.members.contains_key(identity) {
            return;
        }
        self.end_session(identity);
        let Some(member) = self.members.remove(identity) else {
            return;
        };
        if self.speakers.get(&member.place) == Some(identity) {
            self.speakers.remove(&member.place);
        }
        // Who was not told of its coming need not be told of its going.
        if member.announced {
            let message = ServerMessage::ParticipantLeft {
                identity: identity.to_string(),
            };
            self.broadcast_in(&member.place, None, message);
        }
        self.presence_changed();
    }

    /// Keeps what a restart must not lose with the session in the data plane.
    pub(super) fn save_label(&self, identity: &Identity) {
        if let Some(member) = self.members.get(identity)
            && let Some(session) = &member.session
        {
            self.context.media.tell(Request::SetLabel {
                session: session.id,
                label: member.label(session.negotiated),
            });
        }
    }
}

pub(super) fn dismiss(outbox: &Outbox) {
    outbox.send(
        None,
        ServerMessage::Error {
            code: ErrorCode::Replaced,
            message: "another connection with the same identity took over".to_owned(),
        },
    );
    outbox.close(Close {
        code: close::REPLACED,
        reason: "replaced",
    });
}

fn refused(message: &str) -> Rejection {
    Rejection::new(ErrorCode::AuthFailed, message)
}
