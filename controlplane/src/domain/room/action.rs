//! What is done to a room or its people by those who may: one list of actions, whether they come by
//! WebSocket or by REST, and one table of who may do what.

use kall_shared::id::{Identity, RoomId};
use kall_shared::signalling::{AuthMode, BanBy, BreakoutAssign, ErrorCode, Role};

use super::Room;
use super::member::Member;
use super::messages::gone;
use crate::domain::Rejection;

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Somebody in the room.
    Participant(Identity),
    /// A caller of the REST API, who may do everything.
    Api,
}

impl Actor {
    /// As others are told.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Participant(identity) => identity.to_string(),
            Self::Api => "api".to_owned(),
        }
    }
}

/// Settings to change; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomPatch {
    /// For people.
    pub name: Option<String>,
    /// Most participants; nobody who is in leaves.
    pub max_participants: Option<u32>,
    /// Argon2id in PHC form; `Some(None)`: no password any more.
    pub password_hash: Option<Option<String>>,
    /// Whether newcomers are refused.
    pub locked: Option<bool>,
    /// Whether newcomers wait.
    pub lobby_enabled: Option<bool>,
    /// Whether it may be recorded.
    pub recording_enabled: Option<bool>,
    /// Who may join; `Some(None)`: as the server's configuration says.
    pub mode: Option<Option<AuthMode>>,
    /// Whether chat is kept.
    pub chat_history: Option<bool>,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Sends somebody away.
    Kick {
        /// Who.
        identity: Identity,
        /// Who may not come back.
        ban: Option<BanBy>,
    },
    /// Silences a track.
    Mute {
        /// Whose.
        identity: Identity,
        /// `audio`, `video`, `screen` or a track id.
        track: String,
    },
    /// Gives somebody another role.
    SetRole {
        /// Who.
        identity: Identity,
        /// Which.
        role: Role,
    },
    /// Lowers somebody's hand.
    LowerHand(Identity),
    /// Changes settings.
    Update(Box<RoomPatch>),
    /// Ends the room.
    End,
    /// Lets somebody in who waits.
    Admit(Identity),
    /// Lets everybody in who waits.
    AdmitAll,
    /// Sends somebody away who waits.
    Reject {
        /// Who.
        identity: Identity,
        /// In words.
        reason: String,
    },
    /// Keeps somebody out.
    Ban {
        /// By what.
        by: BanBy,
        /// Which identity or address.
        value: String,
    },
    /// Lifts a ban.
    LiftBan(String),
    /// Makes breakout rooms.
    BreakoutsCreate {
        /// How many.
        count: u32,
        /// Their names.
        names: Vec<String>,
        /// How people get into them.
        assign: BreakoutAssign,
    },
    /// Puts somebody into a breakout room, or back.
    BreakoutAssign {
        /// Who.
        identity: Identity,
        /// Where.
        room: Option<RoomId>,
    },
    /// Opens them.
    BreakoutsOpen {
        /// For so many seconds.
        seconds: Option<u32>,
    },
    /// Speaks to everybody in them.
    BreakoutsBroadcast(String),
    /// Brings everybody back.
    BreakoutsClose,
    /// Brings everybody back and forgets them.
    BreakoutsRemove,
}

impl Room {
    /// Whether somebody may do something: the whole table.
    pub(super) fn may(&self, actor: &Actor, action: &Action) -> Result<(), Rejection> {
        let Actor::Participant(identity) = actor else {
            return Ok(());
        };
        let member = self.members.get(identity).ok_or_else(gone)?;
        let moderates = member.moderates();
        let host = moderates && member.role == Role::Host;
        let is_host = |whom: &Identity| self.members.get(whom).is_some_and(|whom| whom.role == Role::Host);
        let allowed = match action {
            Action::End => host,
            // Hosts are made, changed and sent away by hosts.
            Action::SetRole { identity, role } => {
                moderates && (host || (*role != Role::Host && !is_host(identity)))
            }
            Action::Kick { identity, .. } => moderates && (host || !is_host(identity)),
            Action::Mute { .. }
            | Action::LowerHand(_)
            | Action::Update(_)
            | Action::Admit(_)
            | Action::AdmitAll
            | Action::Reject { .. }
            | Action::Ban { .. }
            | Action::LiftBan(_)
            | Action::BreakoutsCreate { .. }
            | Action::BreakoutAssign { .. }
            | Action::BreakoutsOpen { .. }
            | Action::BreakoutsBroadcast(_)
            | Action::BreakoutsClose
            | Action::BreakoutsRemove => moderates,
        };
        if allowed { Ok(()) } else { Err(denied(member)) }
    }

    /// Does it, if the actor may.
    pub(super) async fn act(&mut self, actor: &Actor, action: Action) -> Result<(), Rejection> {
        self.may(actor, &action)?;
        let by = actor.name();
        match action {
            Action::Kick { identity, ban } => self.kick(actor, &identity, ban).await,
            Action::Mute { identity, track } => {
                self.present(&identity)?;
                self.mute(&identity, actor, None, track, true)
            }
            Action::SetRole { identity, role } => self.set_role(&identity, role, &by).await,
            Action::LowerHand(identity) => {
                self.present(&identity)?;
                self.set_hand(&identity, false, &by)
            }
            Action::Update(patch) => self.update(*patch, &by).await,
            Action::End => self.end(&by).await,
            Action::Admit(identity) => self.let_in(&identity),
            Action::AdmitAll => {
                self.let_all_in();
                Ok(())
            }
            Action::Reject { identity, reason } => self.turn_away(&identity, reason),
            Action::Ban { by: kind, value } => self.ban(kind, value, &by).await,
            Action::LiftBan(id) => self.lift_ban(&id).await,
            Action::BreakoutsCreate { count, names, assign } => {
                self.breakouts_create(count, names, assign).await
            }
            Action::BreakoutAssign { identity, room } => self.breakout_assign(&identity, room).await,
            Action::BreakoutsOpen { seconds } => self.breakouts_open(seconds).await,
            Action::BreakoutsBroadcast(text) => self.breakouts_broadcast(text, by),
            Action::BreakoutsClose => self.breakouts_close().await,
            Action::BreakoutsRemove => self.breakouts_remove().await,
        }
    }

    /// Refuses to speak of somebody who is not here.
    pub(super) fn present(&self, identity: &Identity) -> Result<&Member, Rejection> {
        self.members.get(identity).ok_or_else(|| {
            Rejection::new(
                ErrorCode::ParticipantNotFound,
                format!("identity: '{identity}' is not here"),
            )
        })
    }
}

fn denied(member: &Member) -> Rejection {
    let message = if member.moderates() {
        "only a host may do that"
    } else {
        "the role does not allow moderating"
    };
    Rejection::new(ErrorCode::PermissionDenied, message)
}
