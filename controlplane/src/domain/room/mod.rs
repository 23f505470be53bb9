//! A room: one task that owns everybody in it and takes commands by channel. No lock is held over
//! an await, nothing of the room is seen from outside but by its answers.
//!
//! [`join`] takes people in and lets them go, [`messages`] does what they ask, [`media`] talks to
//! the data plane about them, [`subscriptions`] fills their slots, [`speaking`] follows who speaks, [`resource`]
//! has those who come without a WebSocket, [`adoption`] takes over what a process before this one left.

mod adoption;
mod handle;
mod join;
mod media;
mod member;
mod messages;
mod resource;
mod slots;
mod speaking;
mod subscriptions;
mod wish;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kall_shared::id::{Identity, RoomId};
use kall_shared::signalling::{RoomInfo, ServerMessage};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use handle::{Census, Departure, JoinRequest, MediaSession, MediaTrack, RoomHandle};
pub use member::{millis, rfc3339};
pub use resource::{AttachRequest, Attached, Purpose, ResourceInfo, Restarted, View};

use crate::domain::context::Context;
use crate::domain::outbox::{self, Close};
use crate::media::MediaEvent;
use crate::store::RoomRow;
use handle::Command;
use member::{Member, Presence};

/// How long a lost connection may take to come back before its participant is gone.
pub const RESUME_WINDOW: Duration = Duration::from_secs(30);

/// The room's task and its state.
struct Room {
    id: RoomId,
    row: Arc<RoomRow>,
    context: Arc<Context>,
    members: BTreeMap<Identity, Member>,
    /// Counts tracks that have begun, for their order.
    begun: u64,
    /// Who speaks, or spoke last.
    speaker: Option<Identity>,
    /// Counts changes of the speaker, for their order.
    turns: u64,
    /// Since when nobody is here.
    empty_since: Option<Instant>,
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
pub fn spawn<F, D>(id: RoomId, row: RoomRow, context: Arc<Context>, ended: F) -> RoomHandle
where
    F: FnOnce(RoomHandle, Ended) -> D + Send + 'static,
    D: Future<Output = ()> + Send,
{
    let (commands_in, commands) = mpsc::channel(handle::COMMAND_DEPTH);
    let row = Arc::new(row);
    let handle = RoomHandle::new(id.clone(), Arc::clone(&row), commands_in);
    let events = context.media.attach(id.clone());
    let room = Room {
        id,
        row,
        context,
        members: BTreeMap::new(),
        begun: 0,
        speaker: None,
        turns: 0,
        empty_since: Some(Instant::now()),
    };
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
                    if self.is_over(Instant::now()) {
                        return Ended::Empty;
                    }
                }
            }
            self.note_emptiness();
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Join(request, reply) => {
                let outcome = self.join(*request);
                let _ = reply.send(outcome);
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
                let _ = reply.send(self.members.values().map(Member::public).collect());
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
        let waiting = self.members.values().filter_map(|member| match member.presence {
            Presence::Waiting(until) => Some(until),
            Presence::Online(_) | Presence::Media(_) => None,
        });
        waiting.chain(self.over_at()).min()
    }

    fn over_at(&self) -> Option<Instant> {
        let timeout = self.context.config.room.empty_room_timeout;
        (timeout > 0).then_some(())?;
        Some(self.empty_since? + Duration::from_secs(timeout))
    }

    fn is_over(&self, now: Instant) -> bool {
        self.members.is_empty() && self.over_at().is_some_and(|at| at <= now)
    }

    fn note_emptiness(&mut self) {
        if !self.members.is_empty() {
            self.empty_since = None;
        } else if self.empty_since.is_none() {
            self.empty_since = Some(Instant::now());
        }
    }

    fn close(&mut self) {
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
            ..Census::default()
        };
        let sessions = self.members.values().filter_map(|member| member.session.as_ref());
        for track in sessions.flat_map(|session| &session.tracks) {
            if track.started.is_some() {
                census.add_track(track.source);
            }
        }
        census
    }

    fn info(&self) -> RoomInfo {
        RoomInfo {
            id: self.id.to_string(),
            slug: self.row.slug.clone(),
            name: self.row.name.clone(),
            max_participants: u32::try_from(self.row.max_participants).unwrap_or(u32::MAX),
            locked: self.row.locked,
        }
    }

    fn outbox(&self, identity: &Identity) -> Option<&outbox::Outbox> {
        self.members.get(identity)?.outbox()
    }

    /// Tells everybody who is online, but `except`.
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
