//! The control link from the control plane's side: requests with ids, events routed to the room
//! that owns the session, snapshots after every connect and every overflow.
//!
//! The reader registers a new session's route before it reads the next frame, so no event of a
//! session can come before its room is known.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use kall_shared::frame;
use kall_shared::id::{RoomId, SessionId};
use kall_shared::link::{
    Event, HelloAnswer, Refusal, Request, Response, SessionSnapshot, SessionStats, ToControl, ToData,
};
use kall_shared::media::{SessionDescription, SessionParams};
use kall_shared::version::{BUILD, LINK_VERSION, LINK_VERSION_MIN};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// Requests that may wait for the socket; the data plane reads without pause, so more means it hangs.
const OUTGOING_DEPTH: usize = 4096;

/// The longest a request waits for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the link is proved alive.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Why a request came to nothing.
#[derive(Debug, Clone, Error)]
pub enum MediaError {
    /// No data plane is connected, or it went away before it answered.
    #[error("the media server is away")]
    Away,
    /// It said no.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// It broke the protocol.
    #[error("unexpected answer")]
    Unexpected,
}

/// What a room hears about its sessions.
#[derive(Debug, Clone)]
pub enum MediaEvent {
    /// Something happened.
    Event(Event),
    /// All living sessions of the room; what is not in it is gone.
    Snapshot {
        /// The process; another value means that nothing of before is left.
        instance: u64,
        /// Sessions opened by a later request are not in it.
        up_to: u64,
        /// The room's.
        sessions: Vec<SessionSnapshot>,
    },
}

/// A session as it was opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Its id.
    pub session: SessionId,
    /// The process that has it.
    pub instance: u64,
    /// The request that opened it, to compare with [`MediaEvent::Snapshot`].
    pub request: u64,
    /// What the answer is written from.
    pub description: SessionDescription,
}

/// Cheap to clone; all clones are one link.
#[derive(Debug, Clone)]
pub struct MediaClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Set while a data plane is connected and its sessions are adopted.
    info: watch::Sender<Option<Arc<HelloAnswer>>>,
    /// A snapshot is due.
    stale: Notify,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    outgoing: Option<mpsc::Sender<Vec<u8>>>,
    pending: HashMap<u64, Pending>,
    rooms: HashMap<RoomId, mpsc::UnboundedSender<MediaEvent>>,
    /// Rooms of the data plane that are parts of another one here: breakout rooms.
    parts: HashMap<RoomId, RoomId>,
    routes: HashMap<SessionId, RoomId>,
    /// Which cores take nobody new now, by index.
    refusing: HashSet<u8>,
}

impl State {
    /// The room here that a room of the data plane belongs to.
    fn owner<'a>(&'a self, room: &'a RoomId) -> &'a RoomId {
        self.parts.get(room).unwrap_or(room)
    }
}

#[derive(Debug)]
struct Pending {
    reply: oneshot::Sender<Result<Response, MediaError>>,
    /// The room that a session in the answer belongs to.
    room: Option<RoomId>,
}

impl Default for MediaClient {
    fn default() -> Self {
        Self::new()
    }
}

impl MediaClient {
    /// A client without a connection; [`serve`](Self::serve) gives it one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                info: watch::channel(None).0,
                stale: Notify::new(),
            }),
        }
    }

    /// The connected data plane, once its sessions are adopted.
    #[must_use]
    pub fn info(&self) -> Option<Arc<HelloAnswer>> {
        self.shared.info.borrow().clone()
    }

    /// Follows [`info`](Self::info).
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Arc<HelloAnswer>>> {
        self.shared.info.subscribe()
    }

    /// Whether no core of the data plane takes anybody new. Of a single one its refusal tells, since it is the data plane
    /// that chooses the core.
    #[must_use]
    pub fn refuses_newcomers(&self) -> bool {
        let cores = self.info().map_or(0, |info| info.udp_ports.len());
        cores > 0 && self.lock().refusing.len() >= cores
    }

    /// A room's events from now on. The queue has no bound of its own: the data plane reports only
    /// changes of state, and the number of sessions and slots bounds those.
    #[must_use]
    pub fn attach(&self, room: RoomId) -> mpsc::UnboundedReceiver<MediaEvent> {
        let (events_in, events_out) = mpsc::unbounded_channel();
        self.lock().rooms.insert(room, events_in);
        events_out
    }

    /// The room is over: its events go nowhere.
    pub fn detach(&self, room: &RoomId) {
        let mut state = self.lock();
        state.rooms.remove(room);
        state.parts.retain(|_, owner| owner != room);
        state.routes.retain(|_, owner| owner != room);
    }

    /// Sessions in these rooms of the data plane belong to `owner` from now on, in place of those named
    /// before.
    pub fn route_parts(&self, owner: &RoomId, parts: Vec<RoomId>) {
        let mut state = self.lock();
        state.parts.retain(|_, before| before != owner);
        state
            .parts
            .extend(parts.into_iter().map(|part| (part, owner.clone())));
    }

    /// Opens a session for `room`; `returns`: for somebody whom the data plane had already.
    ///
    /// # Errors
    /// [`MediaError`] when the data plane is away or refuses.
    pub async fn create_session(
        &self,
        room: RoomId,
        label: Vec<u8>,
        params: SessionParams,
        returns: bool,
    ) -> Result<Opened, MediaError> {
        let info = self.info().ok_or(MediaError::Away)?;
        let request = Request::CreateSession {
            room: room.clone(),
            label,
            params,
            returns,
        };
        match self.call(request, Some(room)).await? {
            (request, Response::Session { session, description }) => Ok(Opened {
                session,
                instance: info.instance,
                request,
                description,
            }),
            _ => Err(MediaError::Unexpected),
        }
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// [`MediaError`] when the data plane is away or refuses.
    pub async fn request(&self, request: Request) -> Result<Response, MediaError> {
        Ok(self.call(request, None).await?.1)
    }

    /// What sessions send and receive, page by page: of one room, or of all. At most about `max`
    /// sessions; the flag says whether there are more.
    ///
    /// # Errors
    /// [`MediaError`] when the data plane is away or refuses.
    pub async fn session_stats(
        &self,
        room: Option<RoomId>,
        max: usize,
    ) -> Result<(Vec<SessionStats>, bool), MediaError> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let request = Request::SessionStats {
                room: room.clone(),
                after,
            };
            let Response::SessionStats { sessions, more } = self.request(request).await? else {
                return Err(MediaError::Unexpected);
            };
            let last = sessions.last().map(|session| session.session);
            all.extend(sessions);
            // A page that does not advance would never end.
            if !more || last.is_none() || last <= after {
                return Ok((all, false));
            }
            if all.len() >= max {
                return Ok((all, true));
            }
            after = last;
        }
    }

    /// Asks without waiting; a refusal goes to the log.
    pub fn tell(&self, request: Request) {
        let what = name_of(&request);
        let Ok((_, answer)) = self.send(request, None) else {
            return;
        };
        tokio::spawn(async move {
            if let Ok(Err(MediaError::Refused(refusal))) = answer.await {
                tracing::debug!(what, code = ?refusal.code, message = refusal.message, "data plane refused");
            }
        });
    }

    /// Serves one connection until it ends: greets, adopts, then carries requests and events.
    ///
    /// # Errors
    /// Why the data plane did not become ours; `Ok` when a working link ended.
    pub async fn serve(&self, stream: UnixStream) -> Result<(), LinkError> {
        let (mut reader, mut writer) = stream.into_split();
        let (outgoing, mut frames) = mpsc::channel::<Vec<u8>>(OUTGOING_DEPTH);
        self.lock().outgoing = Some(outgoing);
        let _guard = Disconnect(self);
        let write = async move {
            while let Some(frame) = frames.recv().await {
                if writer.write_all(&frame).await.is_err() {
                    break;
                }
            }
        };
        let read = async {
            let mut buffer = BytesMut::with_capacity(64 << 10);
            loop {
                while let Some((message, used)) = frame::decode::<ToControl>(&buffer)? {
                    drop(buffer.split_to(used));
                    self.receive(message);
                }
                if reader.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return Ok(());
                }
            }
        };
        tokio::select! {
            () = write => Ok(()),
            ended = read => ended,
            ended = self.drive() => ended,
        }
    }

    /// Greeting, adoption, then heartbeat and fresh snapshots.
    async fn drive(&self) -> Result<(), LinkError> {
        let hello = Request::Hello {
            version_min: LINK_VERSION_MIN,
            version_max: LINK_VERSION,
            build: BUILD.to_owned(),
        };
        let info = match self.request(hello).await {
            Ok(Response::Hello(info)) => Arc::new(info),
            Ok(_) => return Err(LinkError::Greeting(MediaError::Unexpected)),
            Err(error) => return Err(LinkError::Greeting(error)),
        };
        self.adopt(info.instance).await?;
        tracing::info!(
            pid = info.pid, io = info.io, build = info.build, ports = ?info.udp_ports, "data plane connected"
        );
        self.shared.info.send_replace(Some(Arc::clone(&info)));
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = heartbeat.tick() => {
                    self.request(Request::Ping).await.map_err(LinkError::Heartbeat)?;
                }
                () = self.shared.stale.notified() => self.adopt(info.instance).await?,
            }
        }
    }

    /// Takes a snapshot and hands each room its part. Sessions of rooms that are no more are closed.
    async fn adopt(&self, instance: u64) -> Result<(), LinkError> {
        let up_to = self.lock().next_id;
        let mut by_room: HashMap<RoomId, Vec<SessionSnapshot>> = HashMap::new();
        let mut after = None;
        loop {
            let answer = self
                .request(Request::Snapshot { after })
                .await
                .map_err(LinkError::Adoption)?;
            let Response::Snapshot { sessions, more } = answer else {
                return Err(LinkError::Adoption(MediaError::Unexpected));
            };
            let last = sessions.last().map(|session| session.session);
            {
                let state = self.lock();
                for session in sessions {
                    let owner = state.owner(&session.room).clone();
                    by_room.entry(owner).or_default().push(session);
                }
            }
            // A page that does not advance would never end.
            if !more || last.is_none() || last <= after {
                break;
            }
            after = last;
        }
        let mut orphans = Vec::new();
        {
            let mut state = self.lock();
            for (room, sender) in &state.rooms {
                let sessions = by_room.remove(room).unwrap_or_default();
                let _ = sender.send(MediaEvent::Snapshot {
                    instance,
                    up_to,
                    sessions,
                });
            }
            for (room, sessions) in by_room {
                tracing::info!(%room, sessions = sessions.len(), "closing sessions of a room that is over");
                for session in sessions {
                    state.routes.remove(&session.session);
                    orphans.push(session.session);
                }
            }
        }
        for session in orphans {
            self.tell(Request::CloseSession { session });
        }
        Ok(())
    }

    fn receive(&self, message: ToControl) {
        match message {
            ToControl::Answer { id, result } => {
                let mut state = self.lock();
                let Some(pending) = state.pending.remove(&id) else {
                    return;
                };
                match (&result, pending.room) {
                    (Ok(Response::Session { session, .. }), Some(room)) => {
                        state.routes.insert(*session, room);
                    }
                    (Ok(Response::Snapshot { sessions, .. }), _) => {
                        for session in sessions {
                            let owner = state.owner(&session.room).clone();
                            state.routes.insert(session.session, owner);
                        }
                    }
                    _ => {}
                }
                let _ = pending.reply.send(result.map_err(MediaError::Refused));
            }
            ToControl::Event(Event::Overflow { lost }) => {
                tracing::warn!(lost, "events of the data plane were lost, taking a snapshot");
                self.shared.stale.notify_one();
            }
            ToControl::Event(Event::CoreLoad { core, level, refuses }) => {
                let mut state = self.lock();
                let news = if refuses {
                    state.refusing.insert(core)
                } else {
                    state.refusing.remove(&core)
                };
                drop(state);
                if level > 0 {
                    tracing::warn!(
                        core,
                        level,
                        "a core of the data plane has too much to do and sheds video"
                    );
                } else if news {
                    tracing::info!(
                        core,
                        refuses,
                        "a core of the data plane changed whether it takes newcomers"
                    );
                }
            }
            ToControl::Event(event) => {
                let session = match &event {
                    Event::SessionConnected { session, .. }
                    | Event::SessionClosed { session, .. }
                    | Event::TrackStarted { session, .. }
                    | Event::SlotChanged { session, .. }
                    | Event::Dynacast { session, .. }
                    | Event::ActiveSpeaker { session, .. } => *session,
                    Event::CoreLoad { .. } | Event::Overflow { .. } => return,
                };
                let mut state = self.lock();
                if let Some(sender) = state.routes.get(&session).and_then(|room| state.rooms.get(room)) {
                    let _ = sender.send(MediaEvent::Event(event.clone()));
                }
                if matches!(event, Event::SessionClosed { .. }) {
                    state.routes.remove(&session);
                }
            }
        }
    }

    async fn call(&self, request: Request, room: Option<RoomId>) -> Result<(u64, Response), MediaError> {
        let (id, answer) = self.send(request, room)?;
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(result)) => result.map(|response| (id, response)),
            Ok(Err(_)) => Err(MediaError::Away),
            Err(_) => {
                self.lock().pending.remove(&id);
                Err(MediaError::Away)
            }
        }
    }

    fn send(
        &self,
        request: Request,
        room: Option<RoomId>,
    ) -> Result<(u64, oneshot::Receiver<Result<Response, MediaError>>), MediaError> {
        let mut state = self.lock();
        state.next_id += 1;
        let id = state.next_id;
        let mut frame = Vec::new();
        frame::encode(&ToData { id, request }, &mut frame).map_err(|error| {
            tracing::error!(%error, "request does not fit a frame");
            MediaError::Unexpected
        })?;
        let outgoing = state.outgoing.as_ref().ok_or(MediaError::Away)?;
        outgoing.try_send(frame).map_err(|_| MediaError::Away)?;
        let (reply, answer) = oneshot::channel();
        state.pending.insert(id, Pending { reply, room });
        Ok((id, answer))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the maps whole, so a panic elsewhere spoils nothing.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a data plane did not stay ours.
#[derive(Debug, Error)]
pub enum LinkError {
    /// It did not accept the greeting.
    #[error("greeting: {0}")]
    Greeting(MediaError),
    /// Its snapshot could not be had.
    #[error("snapshot: {0}")]
    Adoption(MediaError),
    /// It stopped answering.
    #[error("heartbeat: {0}")]
    Heartbeat(MediaError),
    /// It sent what is no message.
    #[error("frame: {0}")]
    Frame(#[from] frame::FrameError),
}

/// Fails everything that waits when the link ends, however it ends.
struct Disconnect<'a>(&'a MediaClient);

impl Drop for Disconnect<'_> {
    fn drop(&mut self) {
        self.0.shared.info.send_replace(None);
        let mut state = self.0.lock();
        state.outgoing = None;
        state.pending.clear();
        state.refusing.clear();
    }
}

fn name_of(request: &Request) -> &'static str {
    match request {
        Request::Hello { .. } => "hello",
        Request::Ping => "ping",
        Request::Snapshot { .. } => "snapshot",
        Request::CreateSession { .. } => "create_session",
        Request::UpdateSession { .. } => "update_session",
        Request::MoveSession { .. } => "move_session",
        Request::SetLabel { .. } => "set_label",
        Request::CloseSession { .. } => "close_session",
        Request::SetSlot { .. } => "set_slot",
        Request::SetMuted { .. } => "set_muted",
        Request::Stats => "stats",
        Request::SessionStats { .. } => "session_stats",
        Request::Shutdown => "shutdown",
    }
}
