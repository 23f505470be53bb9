//! The control thread: carries frames between connections, router and cores until the process is to end.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use kall_shared::frame;
use kall_shared::link::{Event, ToControl};
use tracing::{info, warn};

use super::answer::encode_answer;
use super::connection::{Connection, Inbound};
use super::router::{ConnectionId, Output, Router};
use super::socket::peer_allowed;
use crate::io::driver::Command;
use crate::io::limits::{HELLO_TIMEOUT, INBOUND_QUEUE, STOP_TIMEOUT, UNGREETED_MAX};
use crate::io::outbox::CoreMessage;
use crate::io::signals::Signal;
use crate::io::thread::CoreHandle;

/// Why the process ends in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The control plane asked.
    Requested,
    /// SIGTERM or SIGINT.
    Signal(Signal),
    /// No control plane and no session for too long.
    Orphan,
}

/// How soon the thread looks again at what only time changes: events that had no room, missing Hellos.
const TICK: Duration = Duration::from_millis(100);

/// A sleep that something else always ends first.
const LONG: Duration = Duration::from_secs(3600);

/// The control thread's state.
pub struct Link {
    router: Router,
    cores: Vec<CoreHandle>,
    from_cores: Receiver<CoreMessage>,
    signals: Receiver<Signal>,
    inbound: Receiver<Inbound>,
    to_self: Sender<Inbound>,
    connections: HashMap<ConnectionId, Connection>,
    /// Connections without Hello, and since when.
    ungreeted: HashMap<ConnectionId, Instant>,
    last_connection: ConnectionId,
    /// Connections closed for what they sent; for the log.
    hostile: u64,
    started: Instant,
    orphan_timeout: Option<Duration>,
    orphan_since: Option<Instant>,
}

impl Link {
    /// A link over running cores.
    #[must_use]
    pub fn new(
        router: Router,
        cores: Vec<CoreHandle>,
        from_cores: Receiver<CoreMessage>,
        signals: Receiver<Signal>,
        orphan_timeout: Option<Duration>,
    ) -> Self {
        let (to_self, inbound) = bounded(INBOUND_QUEUE);
        Self {
            router,
            cores,
            from_cores,
            signals,
            inbound,
            to_self,
            connections: HashMap::new(),
            ungreeted: HashMap::new(),
            last_connection: 0,
            hostile: 0,
            started: Instant::now(),
            orphan_timeout,
            orphan_since: None,
        }
    }

    /// Serves `listener` until an end comes, then stops the cores and says goodbye.
    ///
    /// # Errors
    /// The accepting thread could not be started.
    pub fn run(mut self, listener: UnixListener) -> io::Result<End> {
        let accepted = self.to_self.clone();
        std::thread::Builder::new()
            .name("link-accept".to_owned())
            .spawn(move || accept(&listener, &accepted))?;
        let end = self.serve();
        info!(?end, "stopping");
        self.stop();
        Ok(end)
    }

    fn serve(&mut self) -> End {
        loop {
            let now = Instant::now();
            if let Some(end) = self.orphaned(now) {
                return end;
            }
            let wait = self.wait(now);
            select! {
                recv(self.from_cores) -> message => {
                    if let Ok(message) = message {
                        self.take_core_message(message);
                    }
                }
                recv(self.inbound) -> message => {
                    if let Ok(message) = message {
                        self.take_inbound(message);
                    }
                }
                recv(self.signals) -> signal => {
                    if let Ok(signal) = signal {
                        return End::Signal(signal);
                    }
                }
                default(wait) => {}
            }
            if self.carry_out() {
                return End::Requested;
            }
            self.retry_lost();
            self.drop_silent();
        }
    }

    /// The end, if nobody has needed the process for too long.
    fn orphaned(&mut self, now: Instant) -> Option<End> {
        if !self.router.is_orphan() {
            self.orphan_since = None;
            return None;
        }
        let since = *self.orphan_since.get_or_insert(now);
        let timeout = self.orphan_timeout?;
        (now.duration_since(since) >= timeout).then_some(End::Orphan)
    }

    fn wait(&self, now: Instant) -> Duration {
        let mut wait = LONG;
        if let (Some(since), Some(timeout)) = (self.orphan_since, self.orphan_timeout) {
            wait = wait.min((since + timeout).saturating_duration_since(now));
        }
        if !self.ungreeted.is_empty() || self.connections.values().any(|connection| connection.lost > 0) {
            wait = wait.min(TICK);
        }
        wait
    }

    fn take_core_message(&mut self, message: CoreMessage) {
        match message {
            CoreMessage::Control { core, message } => self.router.handle_core(core, message),
            CoreMessage::Lost { count } => self.router.handle_lost(count),
            CoreMessage::Stopped { core } => warn!(core, "a core ended by itself"),
        }
    }

    fn take_inbound(&mut self, message: Inbound) {
        match message {
            Inbound::Accepted(stream) => self.accept(stream),
            Inbound::Frame(connection, request) => {
                let uptime = self.started.elapsed().as_secs();
                self.router.handle_request(connection, request, uptime);
                if self.router.current() == Some(connection) {
                    self.ungreeted.remove(&connection);
                }
            }
            Inbound::Unknown(connection, id, reason) => self.router.handle_unknown(connection, id, &reason),
            Inbound::Closed(connection, reason) => {
                self.router.handle_closed(connection);
                self.ungreeted.remove(&connection);
                if self.connections.remove(&connection).is_some() {
                    info!(connection, reason, "control connection closed");
                }
            }
        }
    }

    fn accept(&mut self, stream: UnixStream) {
        if !peer_allowed(&stream) {
            self.hostile += 1;
            warn!(
                hostile = self.hostile,
                "control connection of another user refused"
            );
            return;
        }
        if self.ungreeted.len() >= UNGREETED_MAX {
            self.hostile += 1;
            warn!(
                hostile = self.hostile,
                "too many control connections without Hello"
            );
            return;
        }
        self.last_connection += 1;
        let id = self.last_connection;
        match Connection::start(id, stream, self.to_self.clone()) {
            Ok(connection) => {
                self.connections.insert(id, connection);
                self.ungreeted.insert(id, Instant::now());
            }
            Err(error) => warn!(%error, "can't serve a control connection"),
        }
    }

    /// Does what the router wants; true when that is the end.
    fn carry_out(&mut self) -> bool {
        let mut end = false;
        loop {
            let outputs = self.router.take_outputs();
            if outputs.is_empty() {
                return end;
            }
            for output in outputs {
                match output {
                    Output::Send { connection, message } => self.send(connection, message),
                    Output::Command { core, command } => self.command(core, Command::Request(command)),
                    Output::Close(connection) => {
                        self.ungreeted.remove(&connection);
                        if let Some(connection) = self.connections.remove(&connection) {
                            connection.close();
                        }
                    }
                    Output::Cut(connection) => {
                        if let Some(connection) = self.connections.remove(&connection) {
                            connection.cut();
                        }
                    }
                    Output::Shutdown => end = true,
                }
            }
        }
    }

    fn command(&mut self, core: u8, command: Command) {
        let Some(handle) = self.cores.get(usize::from(core)) else {
            return;
        };
        match handle.commands.try_send(command) {
            Ok(()) => handle.waker.wake(),
            Err(
                TrySendError::Full(Command::Request(request))
                | TrySendError::Disconnected(Command::Request(request)),
            ) => {
                self.router.handle_core_full(core, request.id);
            }
            Err(_) => {}
        }
    }

    fn send(&mut self, id: ConnectionId, message: ToControl) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if let ToControl::Event(event) = message {
            // Told first, so that the gap is known before anything that follows it.
            let held_back = connection.lost > 0 && !send_overflow(connection);
            if held_back || !send_event(connection, event) {
                connection.lost += 1;
            }
            return;
        }
        if !connection.send(encode_answer(message), false) {
            // It asks without reading what it is told. Its successor takes a snapshot.
            self.hostile += 1;
            warn!(
                connection = id,
                hostile = self.hostile,
                "control plane does not read its answers"
            );
            if let Some(connection) = self.connections.remove(&id) {
                connection.cut();
            }
            self.router.handle_closed(id);
        }
    }

    fn retry_lost(&mut self) {
        for connection in self.connections.values_mut() {
            if connection.lost > 0 {
                send_overflow(connection);
            }
        }
    }

    fn drop_silent(&mut self) {
        let silent: Vec<ConnectionId> = self
            .ungreeted
            .iter()
            .filter(|(_, since)| since.elapsed() >= HELLO_TIMEOUT)
            .map(|(id, _)| *id)
            .collect();
        for id in silent {
            self.ungreeted.remove(&id);
            self.hostile += 1;
            warn!(
                connection = id,
                hostile = self.hostile,
                "control connection without Hello closed"
            );
            if let Some(connection) = self.connections.remove(&id) {
                connection.cut();
            }
        }
    }

    /// Ends the cores, tells the control plane what that caused, and waits for both, bounded.
    fn stop(&mut self) {
        let deadline = Instant::now() + STOP_TIMEOUT;
        let mut running = 0;
        for (index, handle) in self.cores.iter().enumerate() {
            let sessions = self.router.sessions_of(index as u8);
            if handle
                .commands
                .send_deadline(Command::Stop(sessions), deadline)
                .is_ok()
            {
                handle.waker.wake();
                running += 1;
            }
        }
        while running > 0 {
            match self.from_cores.recv_deadline(deadline) {
                Ok(CoreMessage::Stopped { .. }) => running -= 1,
                Ok(message) => self.take_core_message(message),
                Err(_) => {
                    warn!(running, "cores did not stop in time");
                    break;
                }
            }
            self.carry_out();
        }
        self.carry_out();
        // By id: the end of a connection that was cut before is still on its way.
        let mut open: HashSet<ConnectionId> = self.connections.keys().copied().collect();
        for (_, connection) in self.connections.drain() {
            connection.close();
        }
        // Every connection's reader ends when its writer has written what was queued.
        while !open.is_empty() {
            match self.inbound.recv_deadline(deadline) {
                Ok(Inbound::Closed(connection, _)) => {
                    open.remove(&connection);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
}

fn accept(listener: &UnixListener, accepted: &Sender<Inbound>) {
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                if accepted.send(Inbound::Accepted(stream)).is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!(%error, "accepting a control connection failed");
                // Out of descriptors is the one expected cause. Accepting at once again would spin.
                std::thread::sleep(TICK);
            }
        }
    }
}

fn send_event(connection: &Connection, event: Event) -> bool {
    let mut bytes = Vec::new();
    if let Err(error) = frame::encode(&ToControl::Event(event), &mut bytes) {
        // No event comes near a frame's bound.
        warn!(%error, "an event can't be encoded");
        return false;
    }
    connection.send(bytes, true)
}

fn send_overflow(connection: &mut Connection) -> bool {
    let told = send_event(
        connection,
        Event::Overflow {
            lost: connection.lost,
        },
    );
    if told {
        connection.lost = 0;
    }
    told
}
