//! The control link's logic without its sockets: who may speak, which core is asked, whose answer it was.
//!
//! Inputs are frames of connections and messages of cores; outputs are collected in order and carried out
//! by [`super::link`]. Requests get ids of the router's own on their way to a core, so that connections
//! can't meet each other's answers.

use std::collections::HashMap;
use std::net::IpAddr;

use kall_shared::id::{RoomId, SessionId};
use kall_shared::link::{
    CoreStats, Event, HelloAnswer, LABEL_MAX_LEN, Refusal, RefusalCode, Request, Response, SNAPSHOT_PAGE_MAX,
    STATS_PAGE_MAX, SessionSnapshot, SessionStats, Stats, ToControl, ToData,
};
use kall_shared::version::{BUILD, LINK_VERSION, LINK_VERSION_MIN, negotiate};
use tracing::{info, warn};

use super::loads::CoreLoads;
use super::page::{Page, Step};
use crate::shard::placement::Placement;

/// Which accepted connection.
pub type ConnectionId = u64;

/// Most requests under way in the cores: their queues hold less.
const PENDING_MAX: usize = 64 * 1024;

/// The link version since which a control plane understands [`Event::CoreLoad`].
const CORE_LOAD_SINCE: u16 = 4;

/// What the process tells about itself.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Random per process.
    pub instance: u64,
    /// Process id.
    pub pid: u32,
    /// The driver in use.
    pub io: &'static str,
    /// UDP port by core.
    pub udp_ports: Vec<u16>,
    /// Port of ICE over TCP; none while it is off.
    pub tcp_port: Option<u16>,
    /// The bound address.
    pub bind: IpAddr,
    /// What peers can reach.
    pub addresses: Vec<IpAddr>,
}

/// What the router wants done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A frame for a connection.
    Send {
        /// Which connection; nothing is done if it is gone.
        connection: ConnectionId,
        /// The frame.
        message: ToControl,
    },
    /// A request for a core.
    Command {
        /// Which core.
        core: u8,
        /// The request, under the router's id.
        command: ToData,
    },
    /// Close a connection once what it was sent is written.
    Close(ConnectionId),
    /// Close a connection at once.
    Cut(ConnectionId),
    /// End the process in order.
    Shutdown,
}

/// A request on its way through a core.
#[derive(Debug)]
enum Pending {
    Forward(Origin),
    Create {
        origin: Origin,
        room: RoomId,
    },
    Move {
        origin: Origin,
        session: SessionId,
        room: RoomId,
    },
    Snapshot {
        origin: Origin,
        page: Page<SessionSnapshot>,
    },
    SessionStats {
        origin: Origin,
        room: Option<RoomId>,
        page: Page<SessionStats>,
    },
    Stats {
        gather: u64,
    },
}

/// Who asked, and under which id.
#[derive(Debug, Clone, Copy)]
struct Origin {
    connection: ConnectionId,
    id: u64,
}

#[derive(Debug)]
struct Gather {
    origin: Origin,
    cores: Vec<CoreStats>,
    waiting: u8,
}

/// State of the control link.
#[derive(Debug)]
pub struct Router {
    identity: Identity,
    cores: u8,
    placement: Placement,
    loads: CoreLoads,
    /// The control plane: the connection that said Hello last.
    current: Option<ConnectionId>,
    /// The link version it speaks.
    version: u16,
    pending: HashMap<u64, Pending>,
    gathers: HashMap<u64, Gather>,
    last_id: u64,
    outputs: Vec<Output>,
}

impl Router {
    /// A router for as many cores as `identity` has ports.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        // The configuration allows 64 cores.
        let cores = identity.udp_ports.len() as u8;
        Self {
            placement: Placement::new(cores),
            loads: CoreLoads::new(cores),
            identity,
            cores,
            current: None,
            version: LINK_VERSION,
            pending: HashMap::new(),
            gathers: HashMap::new(),
            last_id: 0,
            outputs: Vec::new(),
        }
    }

    /// What is to be done since the last call, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// The control plane's connection.
    #[must_use]
    pub fn current(&self) -> Option<ConnectionId> {
        self.current
    }

    /// Whether nobody needs the process: no control plane, no session.
    #[must_use]
    pub fn is_orphan(&self) -> bool {
        self.current.is_none() && self.placement.is_empty()
    }

    /// The living sessions of `core`.
    #[must_use]
    pub fn sessions_of(&self, core: u8) -> Vec<SessionId> {
        self.placement.sessions_of(core)
    }

    /// A request came. `uptime` in seconds.
    pub fn handle_request(&mut self, connection: ConnectionId, frame: ToData, uptime: u64) {
        let origin = Origin {
            connection,
            id: frame.id,
        };
        if let Request::Hello {
            version_min,
            version_max,
            build,
        } = &frame.request
        {
            return self.hello(origin, (*version_min, *version_max), build, uptime);
        }
        if self.current != Some(connection) {
            return self.refuse(origin, RefusalCode::Protocol, "Hello comes first");
        }
        if let Err(refusal) = check(&frame.request) {
            return self.answer(origin, Err(refusal));
        }
        match frame.request {
            // Answered above.
            Request::Hello { .. } => {}
            Request::Ping => self.answer(origin, Ok(Response::Done)),
            Request::Shutdown => {
                self.answer(origin, Ok(Response::Done));
                self.outputs.push(Output::Shutdown);
            }
            Request::Stats => self.stats(origin),
            Request::Snapshot { after } => {
                if after.is_none() {
                    self.tell_loads();
                }
                self.snapshot(origin, Page::after(after, self.cores, SNAPSHOT_PAGE_MAX));
            }
            Request::SessionStats { room, after } => {
                self.session_stats(origin, room, Page::after(after, self.cores, STATS_PAGE_MAX));
            }
            Request::CreateSession {
                ref room, returns, ..
            } => {
                let room = room.clone();
                let loads = &self.loads;
                let core = self.placement.assign(&room, |core| loads.refuses(core));
                if self.loads.refuses(core) && !returns {
                    self.placement.refused(&room, core);
                    let refusal = self.loads.refuse(core);
                    return self.answer(origin, Err(refusal));
                }
                self.ask(core, frame.request, Pending::Create { origin, room });
            }
            Request::UpdateSession { session, .. }
            | Request::SetLabel { session, .. }
            | Request::CloseSession { session }
            | Request::MoveSession { session, .. }
            | Request::SetSlot { session, .. }
            | Request::SetMuted { session, .. } => {
                if session.core() >= self.cores {
                    return self.refuse(origin, RefusalCode::NotFound, format!("no session {session}"));
                }
                let pending = match &frame.request {
                    Request::MoveSession { session, room } => Pending::Move {
                        origin,
                        session: *session,
                        room: room.clone(),
                    },
                    _ => Pending::Forward(origin),
                };
                self.ask(session.core(), frame.request, pending);
            }
        }
    }

    /// A frame came that is no request of this version, though it has an id.
    pub fn handle_unknown(&mut self, connection: ConnectionId, id: u64, reason: &str) {
        let origin = Origin { connection, id };
        self.refuse(origin, RefusalCode::Protocol, format!("not understood: {reason}"));
    }

    /// A connection ended.
    pub fn handle_closed(&mut self, connection: ConnectionId) {
        if self.current == Some(connection) {
            self.current = None;
            info!(
                sessions = self.placement.len(),
                "the control plane is gone; media goes on"
            );
        }
    }

    /// A core answered or reported.
    pub fn handle_core(&mut self, core: u8, message: ToControl) {
        match message {
            ToControl::Answer { id, result } => self.core_answered(core, id, result),
            ToControl::Event(event) => {
                match event {
                    Event::SessionClosed { session, .. } => self.placement.closed(session),
                    Event::CoreLoad { core, level, refuses } => self.loads.note(core, level, refuses),
                    _ => {}
                }
                self.event(event);
            }
        }
    }

    /// Events were lost between a core and this thread.
    pub fn handle_lost(&mut self, count: u64) {
        self.event(Event::Overflow { lost: count });
    }

    /// A command could not be given to its core, whose queue is full.
    pub fn handle_core_full(&mut self, core: u8, id: u64) {
        let refusal = Refusal::new(RefusalCode::Exhausted, format!("core {core} is overloaded"));
        self.core_answered(core, id, Err(refusal));
    }

    fn hello(&mut self, origin: Origin, theirs: (u16, u16), build: &str, uptime: u64) {
        if self.current == Some(origin.connection) {
            return self.refuse(origin, RefusalCode::Protocol, "Hello was said before");
        }
        let Some(version) = negotiate((LINK_VERSION_MIN, LINK_VERSION), theirs) else {
            warn!(?theirs, ?build, "a control plane speaks no link version of ours");
            self.refuse(
                origin,
                RefusalCode::Version,
                format!("link versions {LINK_VERSION_MIN} to {LINK_VERSION} are spoken here"),
            );
            self.outputs.push(Output::Close(origin.connection));
            return;
        };
        if let Some(older) = self.current.replace(origin.connection) {
            info!("a newer control plane replaces the connected one");
            self.outputs.push(Output::Cut(older));
        }
        self.version = version;
        info!(?build, version, "control plane connected");
        let identity = &self.identity;
        let answer = HelloAnswer {
            version,
            instance: identity.instance,
            pid: identity.pid,
            build: BUILD.to_owned(),
            uptime_seconds: uptime,
            io: identity.io.to_owned(),
            udp_ports: identity.udp_ports.clone(),
            tcp_port: identity.tcp_port,
            bind: identity.bind,
            addresses: identity.addresses.clone(),
        };
        self.answer(origin, Ok(Response::Hello(answer)));
    }

    fn stats(&mut self, origin: Origin) {
        self.last_id += 1;
        let gather = self.last_id;
        self.gathers.insert(
            gather,
            Gather {
                origin,
                cores: vec![CoreStats::default(); usize::from(self.cores)],
                waiting: self.cores,
            },
        );
        for core in 0..self.cores {
            self.ask(core, Request::Stats, Pending::Stats { gather });
        }
    }

    fn snapshot(&mut self, origin: Origin, page: Page<SessionSnapshot>) {
        match page.next() {
            Step::Ask { core, after } => {
                self.ask(
                    core,
                    Request::Snapshot { after },
                    Pending::Snapshot { origin, page },
                );
            }
            Step::Done => {
                let (sessions, more) = page.finish();
                self.answer(origin, Ok(Response::Snapshot { sessions, more }));
            }
        }
    }

    fn session_stats(&mut self, origin: Origin, room: Option<RoomId>, page: Page<SessionStats>) {
        match page.next() {
            Step::Ask { core, after } => {
                let request = Request::SessionStats {
                    room: room.clone(),
                    after,
                };
                self.ask(core, request, Pending::SessionStats { origin, room, page });
            }
            Step::Done => {
                let (sessions, more) = page.finish();
                self.answer(origin, Ok(Response::SessionStats { sessions, more }));
            }
        }
    }

    fn ask(&mut self, core: u8, request: Request, pending: Pending) {
        self.last_id += 1;
        let id = self.last_id;
        self.pending.insert(id, pending);
        if self.pending.len() > PENDING_MAX {
            return self.handle_core_full(core, id);
        }
        let command = ToData { id, request };
        self.outputs.push(Output::Command { core, command });
    }

    fn core_answered(&mut self, core: u8, id: u64, result: Result<Response, Refusal>) {
        match self.pending.remove(&id) {
            // Id 0 is what a stopping core asks of itself.
            None if id == 0 => {}
            None => warn!(core, id, "an answer nobody waits for"),
            Some(Pending::Forward(origin)) => self.answer(origin, result),
            Some(Pending::Create { origin, room }) => {
                match &result {
                    Ok(Response::Session { session, .. }) => self.placement.created(&room, *session),
                    _ => self.placement.refused(&room, core),
                }
                self.answer(origin, result);
            }
            Some(Pending::Move {
                origin,
                session,
                room,
            }) => {
                if result.is_ok() {
                    self.placement.moved(session, &room);
                }
                self.answer(origin, result);
            }
            Some(Pending::Snapshot { origin, mut page }) => match result {
                Ok(Response::Snapshot { sessions, more }) => {
                    page.add(sessions, more);
                    self.snapshot(origin, page);
                }
                other => self.answer(origin, other),
            },
            Some(Pending::SessionStats {
                origin,
                room,
                mut page,
            }) => match result {
                Ok(Response::SessionStats { sessions, more }) => {
                    page.add(sessions, more);
                    self.session_stats(origin, room, page);
                }
                other => self.answer(origin, other),
            },
            Some(Pending::Stats { gather }) => self.gather(core, gather, result),
        }
    }

    fn gather(&mut self, core: u8, id: u64, result: Result<Response, Refusal>) {
        let Some(gather) = self.gathers.get_mut(&id) else {
            return;
        };
        gather.waiting -= 1;
        // A core that can't answer leaves its place empty: the others' figures still say something.
        if let (Ok(Response::Stats(stats)), Some(place)) = (result, gather.cores.get_mut(usize::from(core))) {
            *place = stats.cores.into_iter().next().unwrap_or_default();
            self.loads.report(core, place);
        }
        if gather.waiting == 0
            && let Some(gather) = self.gathers.remove(&id)
        {
            let stats = Stats { cores: gather.cores };
            self.answer(gather.origin, Ok(Response::Stats(stats)));
        }
    }

    /// What a control plane can't know that has just come, or missed events.
    fn tell_loads(&mut self) {
        let events: Vec<Event> = self.loads.events().collect();
        for event in events {
            self.event(event);
        }
    }

    fn event(&mut self, event: Event) {
        if matches!(event, Event::CoreLoad { .. }) && self.version < CORE_LOAD_SINCE {
            return;
        }
        // Without a control plane there is nobody to miss it: the next one takes a snapshot.
        if let Some(connection) = self.current {
            self.outputs.push(Output::Send {
                connection,
                message: ToControl::Event(event),
            });
        }
    }

    fn refuse(&mut self, origin: Origin, code: RefusalCode, message: impl Into<String>) {
        self.answer(origin, Err(Refusal::new(code, message)));
    }

    fn answer(&mut self, origin: Origin, result: Result<Response, Refusal>) {
        self.outputs.push(Output::Send {
            connection: origin.connection,
            message: ToControl::Answer {
                id: origin.id,
                result,
            },
        });
    }
}

/// Bounds that need no session to be checked: done here, so that a core spends its time on media.
fn check(request: &Request) -> Result<(), Refusal> {
    let (label, params) = match request {
        Request::CreateSession { label, params, .. } => (Some(label), Some(params)),
        Request::UpdateSession { label, params, .. } => (label.as_ref(), Some(params)),
        Request::SetLabel { label, .. } => (Some(label), None),
        _ => (None, None),
    };
    if label.is_some_and(|label| label.len() > LABEL_MAX_LEN) {
        return Err(Refusal::new(
            RefusalCode::Invalid,
            format!("label: at most {LABEL_MAX_LEN} bytes"),
        ));
    }
    if let Some(params) = params {
        params.validate()?;
    }
    Ok(())
}
