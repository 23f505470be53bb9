//! A room: one task that owns everybody in it and takes commands by channel. No lock is held over
//! an await, nothing of the room is seen from outside but by its answers.
//!
//! [`join`] takes people in and lets them go, [`messages`] does what they ask, [`media`] talks to
//! the data plane about them, [`subscriptions`] fills their slots, [`speaking`] follows who speaks, [`resource`]
//! has those who come without a WebSocket, [`adoption`] takes over what a process before this one left.
//! [`action`] says who may moderate, [`moderation`], [`settings`] and [`lobby`] do it; [`breakouts`] divides
//! the room, [`chat`] keeps what is said, [`presence`] counts.

mod action;
mod adoption;
mod breakouts;
mod chat;
mod handle;
mod join;
mod lobby;
mod media;
mod member;
mod members;
mod messages;
mod moderation;
mod presence;
mod resource;
mod settings;
mod slots;
mod speaking;
mod subscriptions;
mod wish;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kall_shared::id::{Identity, RoomId};
use kall_shared::signalling::{Role, ServerMessage};
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub use action::{Action, Actor, RoomPatch};
pub use chat::{Page, history};
pub use handle::{Census, Departure, JoinRequest, MediaSession, MediaTrack, RoomHandle};
pub use member::{Ticket, millis, rfc3339};
pub use resource::{AttachRequest, Attached, Purpose, ResourceInfo, Restarted, View};

use crate::domain::context::Context;
use crate::domain::outbox::{self, Close};
use crate::media::MediaEvent;
use crate::store::{BanRow, RoomRow};
use handle::Command;
use member::{Member, Place};
use members::Members;

/// How long a lost connection may take to come back before its participant is gone.
pub const RESUME_WINDOW: Duration = Duration::from_secs(30);

/// The room's task and its state.
struct Room {
    id: RoomId,
    row: Arc<RoomRow>,
    context: Arc<Context>,
    members: Members,
    /// The first time somebody who is awaited may be gone for good. Early when that one came back meanwhile.
    resume_ends: Option<Instant>,
    /// Counts tracks that have begun, for their order.
    begun: u64,
    /// Who speaks, or spoke last, in the main room and in each breakout room.
    speakers: BTreeMap<Place, Identity>,
    /// Counts changes of the speaker, for their order.
    turns: u64,
    /// Since when nobody is here.
    empty_since: Option<Instant>,
    /// The row as others see it.
    published: watch::Sender<Arc<RoomRow>>,
    /// Who waits to be let in.
    waiting: BTreeMap<Identity, JoinRequest>,
    bans: Vec<BanRow>,
    /// Roles that were given here, of people who may come back with the role of their token.
    granted: BTreeMap<Identity, Role>,
    /// Whether there was a host ever: only then one is missing.
    had_host: bool,
    /// Who was asked to become host.
    host_offer: Option<Identity>,
    /// Who did not want to.
    declined: BTreeSet<Identity>,
    chat: chat::Chat,
    digest: presence::Digest,
    breakouts: Option<breakouts::Breakouts>,
    /// Who is in a breakout room that is no more.
    strays: Vec<Identity>,
    /// A host ended the room.
    ended: bool,
}

/// What a room begins with, read from the database.
#[derive(Debug)]
pub struct Opening {
    /// Its settings.
    pub row: RoomRow,
    /// Who may not come in.
    pub bans: Vec<BanRow>,
    /// The document of its breakout rooms.
    pub breakouts: Option<String>,
    /// Number of its last message.
    pub last_message: i64,
}

/// How a room's task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Somebody closed it.
    Closed,
    /// Nobody was there for `room.empty_room_timeout`.
    Empty,
    /// The server stops: its sessions live on in the data plane.
    Abandoned,
}

/// Starts the room's task. `ended` runs when it is over.
pub fn spawn<F, D>(id: RoomId, opening: Opening, context: Arc<Context>, ended: F) -> RoomHandle
where
    F: FnOnce(RoomHandle, Ended) -> D + Send + 'static,
    D: Future<Output = ()> + Send,
{
    let (commands_in, commands) = mpsc::channel(handle::COMMAND_DEPTH);
    let row = Arc::new(opening.row);
    let (published, seen) = watch::channel(Arc::clone(&row));
    let handle = RoomHandle::new(id.clone(), seen, commands_in);
    let events = context.media.attach(id.clone());
    let room = Room {
        id,
        row,
        context,
        members: Members::default(),
        resume_ends: None,
        begun: 0,
        speakers: BTreeMap::new(),
        turns: 0,
        empty_since: Some(Instant::now()),
        published,
        waiting: BTreeMap::new(),
        bans: opening.bans,
        granted: BTreeMap::new(),
        had_host: false,
        host_offer: None,
        declined: BTreeSet::new(),
        chat: chat::Chat::after(opening.last_message),
        digest: presence::Digest::default(),
        breakouts: opening.breakouts.as_deref().and_then(breakouts::Breakouts::read),
        strays: Vec::new(),
        ended: false,
    };
    // Before the data plane is connected: its sessions in breakout rooms are this room's.
    room.route_breakouts();
    let own = handle.clone();
    tokio::spawn(async move {
        let outcome = room.run(commands, events).await;
        ended(own, outcome).await;
    });
    handle
}

impl Room {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut events: mpsc::UnboundedReceiver<MediaEvent>,
    ) -> Ended {
        loop {
            let deadline = self.deadline();
            let wake = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = commands.recv() => match command {
                    None => return Ended::Abandoned,
                    Some(Command::Close(done)) => {
                        self.close();
                        let _ = done.send(());
                        return Ended::Closed;
                    }
                    Some(command) => self.command(command).await,
                },
                Some(event) = events.recv() => self.media_event(event),
                () = wake => {
                    self.expire(Instant::now());
                    self.tell_presence(Instant::now());
                    self.run_breakouts().await;
                    if self.is_over(Instant::now()) {
                        return Ended::Empty;
                    }
                }
            }
            if self.ended {
                self.close();
                return Ended::Closed;
            }
            self.return_strays().await;
            self.note_emptiness();
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Join(request, reply) => {
                let outcome = self.join(*request);
                if let Ok(identity) = &outcome {
                    self.place_newcomer(identity).await;
                }
                let _ = reply.send(outcome);
            }
            Command::Act(actor, action, reply) => {
                let outcome = self.act(&actor, *action).await;
                let _ = reply.send(outcome);
            }
            Command::Lobby(reply) => {
                let waiting = self.waiting.iter();
                let names = waiting.map(|(identity, request)| (identity.to_string(), request.name.clone()));
                let _ = reply.send(names.collect());
            }
            Command::Bans(reply) => {
                let _ = reply.send(self.bans.clone());
            }
            Command::Breakouts(reply) => {
                let _ = reply.send(self.public_breakouts());
            }
            Command::Client {
                identity,
                connection,
                re,
                message,
            } => {
                // A connection that was replaced meanwhile has nothing to say any more.
                if self
                    .members
                    .get(&identity)
                    .is_some_and(|member| member.is_connection(connection))
                {
                    let outcome = self.message(&identity, re.clone(), message).await;
                    if let (Err(rejection), Some(outbox)) = (outcome, self.outbox(&identity)) {
                        outbox.send(
                            re,
                            ServerMessage::Error {
                                code: rejection.code,
                                message: rejection.message,
                            },
                        );
                    }
                } else if self.waits_by(&identity, connection) {
                    self.on_lobby_message(&identity, re, &message);
                }
            }
            Command::Disconnected {
                identity,
                connection,
                departure,
            } => self.disconnected(&identity, connection, departure),
            Command::Attach(request, reply) => {
                let outcome = self.attach(*request).await;
                let _ = reply.send(outcome);
            }
            Command::Resource(id, reply) => {
                let _ = reply.send(self.resource(&id));
            }
            Command::RestartIce {
                resource,
                ufrag,
                pwd,
                reply,
            } => {
                let outcome = self.restart_ice(&resource, ufrag, pwd).await;
                let _ = reply.send(outcome);
            }
            Command::Detach(resource, reply) => {
                let _ = reply.send(self.detach(&resource));
            }
            Command::Roster(reply) => {
                let members = self.members.values();
                let entry = |member: &Member| {
                    let place = member.place.as_ref().map(ToString::to_string);
                    (member.public(), place)
                };
                let _ = reply.send(members.map(entry).collect());
            }
            Command::Count(reply) => {
                let _ = reply.send(self.census());
            }
            Command::Sessions(reply) => {
                let _ = reply.send(self.members.values().filter_map(Member::media_session).collect());
            }
            Command::Close(_) => unreachable!("the loop takes it before"),
        }
    }

    /// The next time something happens by itself.
    fn deadline(&self) -> Option<Instant> {
        let all = [
            self.resume_ends,
            self.over_at(),
            self.digest_at(),
            self.breakouts_at(),
        ];
        all.into_iter().flatten().min()
    }

    fn over_at(&self) -> Option<Instant> {
        let timeout = self.context.config.room.empty_room_timeout;
        (timeout > 0).then_some(())?;
        Some(self.empty_since? + Duration::from_secs(timeout))
    }

    fn is_over(&self, now: Instant) -> bool {
        self.members.is_empty() && self.waiting.is_empty() && self.over_at().is_some_and(|at| at <= now)
    }

    fn note_emptiness(&mut self) {
        if !self.members.is_empty() || !self.waiting.is_empty() {
            self.empty_since = None;
        } else if self.empty_since.is_none() {
            self.empty_since = Some(Instant::now());
        }
    }

    fn close(&mut self) {
        self.close_lobby();
        for member in self.members.values() {
            if let Some(outbox) = member.outbox() {
                outbox.send(None, ServerMessage::RoomClosed);
                outbox.close(Close {
                    code: 1000,
                    reason: "the room is closed",
                });
            }
        }
        for identity in self.members.keys().cloned().collect::<Vec<_>>() {
            self.end_session(&identity);
        }
        self.members.clear();
    }

    fn census(&self) -> Census {
        let mut census = Census {
            participants: self.members.len(),
            waiting: self.waiting.len(),
            ..Census::default()
        };
        let sessions = self
            .members
            .publishing()
            .filter_map(|member| member.session.as_ref());
        for track in sessions.flat_map(|session| &session.tracks) {
            if track.started.is_some() {
                census.add_track(track.source);
            }
        }
        census
    }

    fn outbox(&self, identity: &Identity) -> Option<&outbox::Outbox> {
        self.members.get(identity)?.outbox()
    }

    /// Tells everybody of one place who is online, but `except`.
    fn broadcast_in(&self, place: &Place, except: Option<&Identity>, message: ServerMessage) {
        let text = outbox::encode(None, message);
        for member in self
            .members
            .values()
            .filter(|member| member.place == *place && Some(&member.identity) != except)
        {
            if let Some(outbox) = member.outbox() {
                outbox.send_text(text.clone());
            }
        }
    }

    /// Tells everybody who is online, wherever in the room, but `except`.
    fn broadcast(&self, except: Option<&Identity>, message: ServerMessage) {
        let text = outbox::encode(None, message);
        for member in self
            .members
            .values()
            .filter(|member| Some(&member.identity) != except)
        {
            if let Some(outbox) = member.outbox() {
                outbox.send_text(text.clone());
            }
        }
    }
}

/// Now, as the wall clock has it.
fn now_utc() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
