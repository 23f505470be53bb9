//! The way to a room: commands by channel, answers by oneshot.

use std::net::IpAddr;
use std::sync::Arc;

use kall_shared::id::{Identity, Mid, RoomId, SessionId, TrackId};
use kall_shared::media::{Kind, SlotWish, Source};
use kall_shared::signalling::{Breakouts, ClientMessage, Participant, Role};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use super::action::{Action, Actor};
use super::member::Ticket;
use super::resource::{AttachRequest, Attached, ResourceInfo, Restarted};
use crate::domain::Rejection;
use crate::domain::outbox::Outbox;
use crate::domain::password::Check;
use crate::domain::permission::Narrowing;
use crate::domain::token::ResumeClaims;
use crate::store::{BanRow, RoomRow};

/// Commands that may wait for a room. Senders wait when it is full, which slows only the
/// connections of that room.
pub(super) const COMMAND_DEPTH: usize = 1024;

/// A newcomer, checked by its token and its password, or not known at all.
#[derive(Debug)]
pub struct JoinRequest {
    /// Who it says it is, from a token; a guest of an open room has none.
    pub identity: Option<Identity>,
    /// Display name.
    pub name: String,
    /// What it will be.
    pub role: Role,
    /// Narrows the role.
    pub permissions: Narrowing,
    /// Claims of a resume token, its signature checked.
    pub resume: Option<ResumeClaims>,
    /// What came of its password.
    pub password: Check,
    /// What it came with, and what a kick makes worthless.
    pub ticket: Option<Ticket>,
    /// Whether free slots fill by themselves.
    pub auto_subscribe: bool,
    /// Where it comes from, for the class of candidates it can use.
    pub address: IpAddr,
    /// The way back.
    pub outbox: Outbox,
    /// The message's id.
    pub re: Option<Value>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// Closed with 1000 or 1001: the person left.
    Clean,
    /// Anything else: a resume may follow.
    Lost,
}

#[derive(Debug)]
pub(super) enum Command {
    Join(Box<JoinRequest>, oneshot::Sender<Result<Identity, Rejection>>),
    Client {
        identity: Identity,
        connection: u64,
        re: Option<Value>,
        message: ClientMessage,
    },
    Disconnected {
        identity: Identity,
        connection: u64,
        departure: Departure,
    },
    Attach(Box<AttachRequest>, oneshot::Sender<Result<Attached, Rejection>>),
    Resource(String, oneshot::Sender<Option<ResourceInfo>>),
    RestartIce {
        resource: String,
        ufrag: String,
        pwd: String,
        reply: oneshot::Sender<Result<Restarted, Rejection>>,
    },
    Detach(String, oneshot::Sender<bool>),
    Roster(oneshot::Sender<Vec<(Participant, Option<String>)>>),
    Act(Actor, Box<Action>, oneshot::Sender<Result<(), Rejection>>),
    Lobby(oneshot::Sender<Vec<(String, String)>>),
    Bans(oneshot::Sender<Vec<BanRow>>),
    Breakouts(oneshot::Sender<Option<Breakouts>>),
    Count(oneshot::Sender<Census>),
    Sessions(oneshot::Sender<Vec<MediaSession>>),
    Close(oneshot::Sender<()>),
}

/// Numbers of one room.
#[derive(Debug, Clone, Copy, Default)]
pub struct Census {
    /// Participants, those who wait for a resume included.
    pub participants: usize,
    /// People in lobbies.
    pub waiting: usize,
    /// Microphones and screen sound.
    pub audio: usize,
    /// Cameras.
    pub video: usize,
    /// Screens.
    pub screen: usize,
}

/// Whose a media session is, and what its tracks show: what the data plane does not know.
#[derive(Debug, Clone)]
pub struct MediaSession {
    /// In the data plane.
    pub session: SessionId,
    /// Whose.
    pub identity: Identity,
    /// Display name.
    pub name: String,
    /// What it publishes, tracks that have not begun included.
    pub tracks: Vec<MediaTrack>,
    /// What was asked for in its video slots.
    pub wishes: Vec<(Mid, SlotWish)>,
}

/// One published track.
#[derive(Debug, Clone)]
pub struct MediaTrack {
    /// Its id.
    pub track: TrackId,
    /// What it shows.
    pub source: Source,
    /// Whether it is muted.
    pub muted: bool,
}

impl Census {
    pub(super) fn add_track(&mut self, source: Source) {
        match (source, source.kind()) {
            (Source::Screen, _) => self.screen += 1,
            (_, Kind::Audio) => self.audio += 1,
            (_, Kind::Video) => self.video += 1,
        }
    }
}

/// Cheap to clone; a room that ended answers nothing.
#[derive(Debug, Clone)]
pub struct RoomHandle {
    id: RoomId,
    row: watch::Receiver<Arc<RoomRow>>,
    commands: mpsc::Sender<Command>,
}

impl RoomHandle {
    pub(super) fn new(
        id: RoomId,
        row: watch::Receiver<Arc<RoomRow>>,
        commands: mpsc::Sender<Command>,
    ) -> Self {
        Self { id, row, commands }
    }

    /// The room's id.
    #[must_use]
    pub fn id(&self) -> &RoomId {
        &self.id
    }

    /// As it is kept now.
    #[must_use]
    pub fn row(&self) -> Arc<RoomRow> {
        Arc::clone(&self.row.borrow())
    }

    /// Whether both mean the same run of the room.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.commands.same_channel(&other.commands)
    }

    /// Enters. The room sends `joined` itself, so that nothing overtakes it. `None`: the room ended.
    pub async fn join(&self, request: JoinRequest) -> Option<Result<Identity, Rejection>> {
        self.ask(|reply| Command::Join(Box::new(request), reply)).await
    }

    /// Hands over a message of a joined client.
    pub async fn client(
        &self,
        identity: Identity,
        connection: u64,
        re: Option<Value>,
        message: ClientMessage,
    ) {
        let command = Command::Client {
            identity,
            connection,
            re,
            message,
        };
        let _ = self.commands.send(command).await;
    }

    /// Tells that a client's connection ended.
    pub async fn disconnected(&self, identity: Identity, connection: u64, departure: Departure) {
        let command = Command::Disconnected {
            identity,
            connection,
            departure,
        };
        let _ = self.commands.send(command).await;
    }

    /// Enters by a media session alone. `None`: the room ended.
    pub async fn attach(&self, request: AttachRequest) -> Option<Result<Attached, Rejection>> {
        self.ask(|reply| Command::Attach(Box::new(request), reply)).await
    }

    /// What is known of a WHIP or WHEP session. `None`: there is none of this id.
    pub async fn resource(&self, id: &str) -> Option<ResourceInfo> {
        self.ask(|reply| Command::Resource(id.to_owned(), reply)).await?
    }

    /// Restarts ICE of a WHIP or WHEP session. `None`: the room ended.
    pub async fn restart_ice(
        &self,
        resource: &str,
        ufrag: String,
        pwd: String,
    ) -> Option<Result<Restarted, Rejection>> {
        let resource = resource.to_owned();
        self.ask(|reply| Command::RestartIce {
            resource,
            ufrag,
            pwd,
            reply,
        })
        .await
    }

    /// Ends a WHIP or WHEP session. False: there is none of this id.
    pub async fn detach(&self, resource: &str) -> bool {
        let resource = resource.to_owned();
        self.ask(|reply| Command::Detach(resource, reply)).await == Some(true)
    }

    /// Who is there, and in which breakout room, in the order of identities. `None`: the room ended.
    pub async fn roster(&self) -> Option<Vec<(Participant, Option<String>)>> {
        self.ask(Command::Roster).await
    }

    /// Does something to the room or its people. `None`: the room ended.
    pub async fn act(&self, actor: Actor, action: Action) -> Option<Result<(), Rejection>> {
        self.ask(|reply| Command::Act(actor, Box::new(action), reply))
            .await
    }

    /// Identity and name of everybody in the lobby. `None`: the room ended.
    pub async fn lobby(&self) -> Option<Vec<(String, String)>> {
        self.ask(Command::Lobby).await
    }

    /// Who is kept out. `None`: the room ended.
    pub async fn bans(&self) -> Option<Vec<BanRow>> {
        self.ask(Command::Bans).await
    }

    /// The breakout rooms, if there are any. `None`: the room ended.
    pub async fn breakouts(&self) -> Option<Option<Breakouts>> {
        self.ask(Command::Breakouts).await
    }

    /// How many are there. `None`: the room ended.
    pub async fn census(&self) -> Option<Census> {
        self.ask(Command::Count).await
    }

    /// Who owns which media session. `None`: the room ended.
    pub async fn sessions(&self) -> Option<Vec<MediaSession>> {
        self.ask(Command::Sessions).await
    }

    /// Ends the room; returns when everybody was told.
    pub async fn close(&self) {
        self.ask(Command::Close).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}
