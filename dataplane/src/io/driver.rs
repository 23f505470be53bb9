//! A core: one shard, one driver, and the loop that turns them.
//!
//! A turn: sleep until there is something, read the clock, feed datagrams, feed what other cores handed over, feed
//! commands, run timers, send what came of it, go on with handshakes, tell the control thread. Every phase has a bound, so that neither a flood nor a
//! join storm starves the others; what is left over makes the next turn start without a sleep.
//!
//! To send a picture's first packet to hundreds takes longer than its others need to come: they are taken in between,
//! and leave with it to all whose turn has not come yet. Nothing is waited for.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use kall_shared::id::SessionId;
use kall_shared::link::{Request, Response, ToControl, ToData};

use super::clock::{self, Clock};
use super::counters::IoCounters;
use super::crossing::Crossing;
use super::limits::{
    COMMANDS_PER_TURN, COMMANDS_TIME, DATAGRAMS_PER_TURN, HANDSHAKES_PER_TURN, LANE_RETRY, TRANSMITS_PER_TURN,
};
use super::load::LoadMeter;
use super::outbox::Outbox;
use super::receive::{Incoming, TakeDatagrams};
use super::syscall::SyscallDriver;
use super::tcp::gate::GateCounters;
use super::tcp::set::{ConnectionSet, Event};
use super::uring::UringDriver;
use super::wake::Waker;
use crate::lane;
use crate::shard::relaying::ENTRIES_PER_TURN;
use crate::shard::{Datagram, Shard, TransmitBatch};
use crate::time::Time;

/// Sessions to which sending takes longer than a look at the socket by far.
const MANY: usize = 16;

/// What moves the packets of one core.
#[expect(
    clippy::large_enum_variant,
    reason = "one value a core, never moved after start; a box would be one more pointer on the packet path"
)]
pub enum Driver {
    /// recvmmsg and sendmmsg.
    Syscall(SyscallDriver),
    /// A ring.
    Uring(UringDriver),
}

impl Driver {
    /// A handle that ends the driver's sleep.
    #[must_use]
    pub fn waker(&self) -> Waker {
        match self {
            Self::Syscall(driver) => driver.waker(),
            Self::Uring(driver) => driver.waker(),
        }
    }

    /// The driver's counters.
    pub fn counters(&mut self) -> &mut IoCounters {
        match self {
            Self::Syscall(driver) => driver.counters(),
            Self::Uring(driver) => driver.counters(),
        }
    }

    /// Sleeps until a datagram, a wake or `timeout`; none: for ever.
    ///
    /// # Errors
    /// What the kernel said; none is expected in a working process.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Syscall(driver) => driver.wait(timeout),
            Self::Uring(driver) => driver.wait(timeout),
        }
    }

    /// Gives about `limit` datagrams to `receiver` and says how many it took from the socket.
    pub fn receive(&mut self, limit: usize, receiver: &mut impl TakeDatagrams) -> usize {
        match self {
            Self::Syscall(driver) => driver.receive(limit, receiver),
            Self::Uring(driver) => driver.receive(limit, receiver),
        }
    }

    /// Lets the connections' own descriptor end the sleep as well.
    ///
    /// # Errors
    /// What the kernel said: no memory.
    pub fn watch_connections(&mut self, fd: RawFd) -> io::Result<()> {
        match self {
            Self::Syscall(driver) => driver.watch_connections(fd),
            Self::Uring(driver) => {
                driver.watch_connections(fd);
                Ok(())
            }
        }
    }

    /// Whether somebody called [`Waker`] since the last call, as far as [`Self::wait`] has seen.
    pub fn take_woken(&mut self) -> bool {
        match self {
            // It looks only where it sleeps, and then a turn begins.
            Self::Syscall(_) => false,
            Self::Uring(driver) => driver.take_woken(),
        }
    }

    /// Whether there was something on the connections since the last call.
    pub fn take_connections_ready(&mut self) -> bool {
        match self {
            Self::Syscall(driver) => driver.take_connections_ready(),
            Self::Uring(driver) => driver.take_connections_ready(),
        }
    }

    /// Sends all runs of `batch` that go to UDP addresses, never waiting.
    pub fn send(&mut self, batch: &TransmitBatch) {
        match self {
            Self::Syscall(driver) => driver.send(batch),
            Self::Uring(driver) => driver.send(batch),
        }
    }
}

/// What the control thread asks of a core.
#[derive(Debug)]
pub enum Command {
    /// A request for the shard.
    Request(ToData),
    /// Close these sessions, send what that takes, end the loop.
    Stop(Vec<SessionId>),
}

/// Whether the loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Another turn.
    Continue,
    /// The core was told to stop.
    Stop,
}

/// One core's state. Stays on its thread.
pub struct Core {
    shard: Shard,
    driver: Driver,
    connections: ConnectionSet,
    gate: Option<Arc<GateCounters>>,
    crossing: Crossing,
    commands: Receiver<Command>,
    outbox: Outbox,
    clock: Clock,
    batch: TransmitBatch,
    load: LoadMeter,
    /// The last turn left something over.
    busy: bool,
}

impl Core {
    /// A core that has not turned yet. The one that is given the `gate`'s counters reports them.
    ///
    /// # Errors
    /// What the kernel said: no memory.
    pub fn new(
        shard: Shard,
        mut driver: Driver,
        connections: ConnectionSet,
        gate: Option<Arc<GateCounters>>,
        (crossing, commands, outbox): (Crossing, Receiver<Command>, Outbox),
        clock: Clock,
    ) -> io::Result<Self> {
        driver.watch_connections(connections.as_raw_fd())?;
        Ok(Self {
            shard,
            driver,
            connections,
            gate,
            crossing,
            commands,
            outbox,
            clock,
            batch: TransmitBatch::new(),
            load: LoadMeter::new(clock.now()),
            busy: false,
        })
    }

    /// Turns until told to stop.
    ///
    /// # Errors
    /// The driver can't wait any more, which leaves nothing but to end the process.
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn()? == Flow::Continue {}
        Ok(())
    }

    /// One turn of the loop.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn turn(&mut self) -> io::Result<Flow> {
        let mut timeout = self.timeout();
        if timeout != Some(Duration::ZERO) && !self.crossing.may_sleep(&self.shard) {
            timeout = Some(Duration::ZERO);
        }
        self.driver.wait(timeout)?;
        self.crossing.woke();
        // Whatever it was about is looked at in this turn.
        self.driver.take_woken();
        let slept = timeout != Some(Duration::ZERO);
        let now = self.clock.now();
        self.load.begin(now, slept);
        self.driver.counters().loop_turns += 1;
        let datagrams = self.receive(now, DATAGRAMS_PER_TURN) + self.receive_frames(now, slept)?;
        let relayed = self.shard.handle_lanes(now, ENTRIES_PER_TURN);
        let flow = self.take_commands(now);
        if self.shard.poll_deadline() <= now {
            self.shard.handle_timeout(now);
        }
        self.crossing.publish(&mut self.shard);
        let sending = self.clock.now();
        let (datagrams, drained) = self.forward(now, datagrams)?;
        let sent = self.clock.now();
        let drained = self.go_on_with_handshakes(sent, drained) && drained;
        let ended = self.clock.now();
        let dry = drained && datagrams < DATAGRAMS_PER_TURN;
        let (sending, handshakes) = (sent.since(sending), ended.since(sent));
        self.shard
            .note_load(ended, &self.load.end(ended, sending, handshakes, dry));
        self.hang_up();
        // Before it is told: what others are asked for next may rest on it.
        self.crossing.publish(&mut self.shard);
        self.report();
        self.busy = datagrams >= DATAGRAMS_PER_TURN
            || relayed >= ENTRIES_PER_TURN
            || !self.commands.is_empty()
            || !drained
            || self.driver.take_woken();
        if flow == Flow::Stop {
            self.finish(now);
        }
        let spent = self.clock.now().since(now).as_micros();
        self.driver.counters().loop_busy_micros += u64::try_from(spent).unwrap_or(u64::MAX);
        Ok(flow)
    }

    /// How long the next turn may sleep.
    fn timeout(&self) -> Option<Duration> {
        if self.busy {
            return Some(Duration::ZERO);
        }
        let deadline = self.shard.poll_deadline().min(self.connections.poll_deadline());
        // A second look at the clock, taken only when there is nothing to do but sleep: else the time this turn
        // took would come on top of the deadline.
        let until = (deadline != Time::FAR_FUTURE).then(|| deadline.since(self.clock.now()));
        let lanes = self.shard.waits_for_lanes().then_some(LANE_RETRY);
        [until, self.outbox.retry_after(), lanes]
            .into_iter()
            .flatten()
            .min()
    }

    fn receive(&mut self, now: Time, limit: usize) -> usize {
        let mut receiver = Turn {
            shard: &mut self.shard,
            load: &mut self.load,
            now,
            unix_now: clock::unix_now(),
        };
        self.driver.receive(limit, &mut receiver)
    }

    /// What came over connections, and new ones.
    fn receive_frames(&mut self, now: Time, slept: bool) -> io::Result<usize> {
        let Self {
            shard,
            driver,
            connections,
            ..
        } = self;
        // A driver that did not sleep may not have looked.
        let ready = driver.take_connections_ready() || (!slept && !connections.is_empty());
        let counters = driver.counters();
        let mut sink = |event: Event<'_>| pass_on(shard, now, event);
        connections.adopt(now, counters, &mut sink);
        let taken = if ready {
            connections.turn(DATAGRAMS_PER_TURN, counters, &mut sink)?
        } else {
            0
        };
        connections.expire(now, counters, |address| shard.is_validated(address));
        Ok(taken)
    }

    /// Closes the connections that no session has a use for.
    fn hang_up(&mut self) {
        while let Some(connection) = self.shard.poll_hangup() {
            self.connections.hang_up(connection, self.driver.counters());
        }
    }

    fn take_commands(&mut self, now: Time) -> Flow {
        let began = self.clock.now();
        for count in 0..COMMANDS_PER_TURN {
            match self.commands.try_recv() {
                Ok(Command::Request(request)) => {
                    // What another core told before the control thread knew of it is known here as well.
                    if count == 0 {
                        self.shard.handle_lanes(now, lane::ENTRIES);
                    }
                    self.shard.handle_command(now, request);
                    if self.clock.now().since(began) > COMMANDS_TIME {
                        return Flow::Continue;
                    }
                }
                Ok(Command::Stop(sessions)) => {
                    self.close(now, sessions);
                    return Flow::Stop;
                }
                Err(TryRecvError::Empty) => return Flow::Continue,
                // The control thread is gone, and with it every way to be told anything.
                Err(TryRecvError::Disconnected) => return Flow::Stop,
            }
        }
        Flow::Continue
    }

    fn close(&mut self, now: Time, sessions: Vec<SessionId>) {
        for session in sessions {
            // Nobody waits for these answers; 0 is an id the control thread never gives.
            self.shard.handle_command(
                now,
                ToData {
                    id: 0,
                    request: Request::CloseSession { session },
                },
            );
        }
    }

    /// Sends what the shard has ready, and takes what comes meanwhile if that is long; `taken` datagrams were taken in
    /// this turn already. How many there are now, and whether all was sent before the bound came.
    fn forward(&mut self, mut now: Time, mut taken: usize) -> io::Result<(usize, bool)> {
        for _ in 0..TRANSMITS_PER_TURN {
            if self.shard.ready_len() >= MANY && taken < DATAGRAMS_PER_TURN {
                self.driver.wait(Some(Duration::ZERO))?;
                now = self.clock.now();
                taken += self.receive(now, DATAGRAMS_PER_TURN - taken);
                self.shard.handle_lanes(now, DATAGRAMS_PER_TURN);
                self.crossing.publish(&mut self.shard);
            }
            if !self.transmit(now) {
                return Ok((taken, true));
            }
        }
        Ok((taken, false))
    }

    /// Gives handshakes a little time, or as little as can be when there is more to do than can be done, and sends what they
    /// say. Whether all of that was sent.
    fn go_on_with_handshakes(&mut self, now: Time, at_leisure: bool) -> bool {
        let clock = &self.clock;
        let done = self
            .shard
            .run_handshakes(now, || at_leisure && clock.now().since(now) < HANDSHAKES_PER_TURN);
        // An answer has a few datagrams, and few answers are made in that time.
        done == 0 || (0..TRANSMITS_PER_TURN).any(|_| !self.transmit(now))
    }

    /// Sends a batch of what the shard has ready; false when there is nothing.
    fn transmit(&mut self, now: Time) -> bool {
        self.batch.clear();
        self.shard.poll_transmit(now, &mut self.batch);
        if self.batch.is_empty() {
            return false;
        }
        self.driver.send(&self.batch);
        let shard = &mut self.shard;
        self.connections
            .send(&self.batch, self.driver.counters(), &mut |event| {
                pass_on(shard, now, event);
            });
        true
    }

    fn report(&mut self) {
        self.driver.counters().events_lost += self.outbox.flush();
        while let Some(mut message) = self.shard.poll_event() {
            if let ToControl::Answer {
                result: Ok(Response::Stats(stats)),
                ..
            } = &mut message
            {
                self.driver.counters().lane_depth = self.commands.len() as u64;
                for core in &mut stats.cores {
                    self.driver.counters().report(core);
                    if let Some(gate) = &self.gate {
                        gate.report(core);
                    }
                }
            }
            self.outbox.push(message);
        }
    }

    /// The last packets: a close_notify for every peer. Bounded, because a shard that never runs dry is a bug
    /// that must not keep the process alive.
    fn finish(&mut self, now: Time) {
        while self.transmit(now) {
            if self.clock.now().since(now) > super::limits::STOP_TIMEOUT {
                break;
            }
        }
        self.report();
    }
}

/// What takes the datagrams of one turn.
struct Turn<'a> {
    shard: &'a mut Shard,
    load: &'a mut LoadMeter,
    now: Time,
    unix_now: Duration,
}

impl TakeDatagrams for Turn<'_> {
    fn expect(&mut self, from: Option<SocketAddr>) {
        self.shard.expect_from(from.map(Into::into));
    }

    fn take(&mut self, incoming: Incoming<'_>) {
        let received = clock::arrival(incoming.timestamp, self.now, self.unix_now);
        self.load.took(self.now, received);
        let datagram = Datagram {
            from: incoming.from.into(),
            to: incoming.to,
            received,
            data: incoming.data,
        };
        self.shard.handle_datagram(self.now, datagram);
    }
}

fn pass_on(shard: &mut Shard, now: Time, event: Event<'_>) {
    match event {
        Event::Frame { from, to, data } => shard.handle_datagram(
            now,
            Datagram {
                from,
                to,
                received: now,
                data,
            },
        ),
        Event::Room(address, room) => shard.handle_room(now, &address, room),
        Event::Closed(address) => shard.handle_disconnect(now, &address),
    }
}
