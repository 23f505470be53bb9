//! Where connections come in: a thread that accepts them and finds their core.
//!
//! A connection shows by its first frame whose it is: a connectivity check, whose USERNAME begins with
//! our user fragment, which begins with the session's id. Whether the check is authentic is the
//! shard's to say. Until the first frame is there a connection costs a descriptor and a small
//! buffer; the number of those is bounded, and the oldest goes first, so that idle ones keep
//! nobody out.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use kall_shared::link::CoreStats;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::{debug, error, warn};

use super::Accepted;
use crate::io::epoll::{Epoll, Interest};
use crate::io::limits::{
    ACCEPT_PAUSE, ACCEPTS_PER_TURN, CONNECTION_READ, DATAGRAM_MAX, FIRST_FRAME_TIMEOUT, GATE_WAITING_MAX,
    LISTEN_BACKLOG,
};
use crate::io::wake::Waker;
use crate::shard::slab::{Key, Slab};
use crate::shard::ufrag;
use crate::wire::framing::FrameReader;
use crate::wire::stun::{Class, Message};

/// The way to one core.
#[derive(Debug)]
pub struct Door {
    /// Its lane.
    pub lane: Sender<Accepted>,
    /// Ends its sleep.
    pub waker: Waker,
}

/// What the gate counts; read by the core that reports it.
#[derive(Debug, Default)]
pub struct GateCounters {
    /// Connections accepted.
    accepted: AtomicU64,
    /// Those of them that never reached a core.
    refused: AtomicU64,
}

impl GateCounters {
    /// Writes them into a core's statistics. These names belong to the gate alone.
    pub fn report(&self, stats: &mut CoreStats) {
        for (name, counter) in [
            ("tcp_gate_accepted", &self.accepted),
            ("tcp_gate_refused", &self.refused),
        ] {
            let value = counter.load(Ordering::Relaxed);
            stats.counters.insert(name.to_owned(), value);
        }
    }
}

/// Why a connection goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// It ended or broke before its first frame was whole.
    Ended,
    /// The first frame is no check with a user fragment of ours, or longer than a datagram may be.
    NoCheck,
    /// The core has more new connections than it takes.
    Busy,
    /// It took too long, or others needed its place.
    Idle,
}

/// Binds the port. Another process that listens on it is an error; connections of a predecessor that
/// linger are not.
///
/// # Errors
/// What the kernel said, with the address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let bind = || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    bind().map_err(|error: io::Error| io::Error::new(error.kind(), format!("TCP {address}: {error}")))
}

/// Starts the thread. It lives as long as the process.
///
/// # Errors
/// The thread could not be made.
pub fn spawn(listener: TcpListener, doors: Vec<Door>, counters: Arc<GateCounters>) -> io::Result<()> {
    let mut gate = Gate::new(listener, doors, counters)?;
    std::thread::Builder::new()
        .name("tcp-gate".to_owned())
        .spawn(move || {
            loop {
                if let Err(error) = gate.turn(None) {
                    // Calls go on over UDP and over what was accepted.
                    error!(%error, "no more connections are accepted");
                    return;
                }
            }
        })?;
    Ok(())
}

/// Token of the listener; those of connections are smaller.
const LISTENER: u64 = u64::MAX;

#[derive(Debug)]
struct Waiting {
    stream: TcpStream,
    peer: SocketAddr,
    reader: FrameReader,
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Gate {
    listener: TcpListener,
    epoll: Epoll,
    waiting: Slab<Waiting>,
    /// In the order in which their time ends.
    order: VecDeque<(Instant, Key)>,
    /// Nothing is accepted before this time: there were no descriptors left.
    paused: Option<Instant>,
    doors: Vec<Door>,
    counters: Arc<GateCounters>,
}

impl Gate {
    pub(super) fn new(
        listener: TcpListener,
        doors: Vec<Door>,
        counters: Arc<GateCounters>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(listener.as_raw_fd(), LISTENER, Interest::Read)?;
        Ok(Self {
            listener,
            epoll,
            waiting: Slab::new(GATE_WAITING_MAX),
            order: VecDeque::new(),
            paused: None,
            doors,
            counters,
        })
    }

    /// Sleeps until something happens, at most for `longest`, and deals with it.
    pub(super) fn turn(&mut self, longest: Option<Duration>) -> io::Result<()> {
        let now = Instant::now();
        let due = self.order.front().map(|(at, _)| *at);
        let due = due.into_iter().chain(self.paused).min();
        let until = due.map(|due| due.saturating_duration_since(now));
        let timeout = until.into_iter().chain(longest).min();
        for event in self.epoll.wait::<64>(timeout)? {
            if event.token == LISTENER {
                self.accept()?;
            } else {
                let key = Key {
                    index: event.token as u32,
                    epoch: (event.token >> 32) as u32,
                };
                self.read(key);
            }
        }
        self.expire(Instant::now())
    }

    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.listener.accept() {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(()),
                    // The peer was quicker than we.
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        // No descriptors, no memory. The listener would be ready all the time.
                        warn!(%error, "connections are not accepted for a moment");
                        self.paused = Some(Instant::now() + ACCEPT_PAUSE);
                        return self
                            .epoll
                            .modify(self.listener.as_raw_fd(), LISTENER, Interest::Nothing);
                    }
                },
            }
        }
        Ok(())
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        if stream.set_nonblocking(true).is_err() {
            return self.refuse(Refused::Ended);
        }
        if self.waiting.len() == GATE_WAITING_MAX {
            self.drop_oldest();
        }
        let fd = stream.as_raw_fd();
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let reader = FrameReader::new(DATAGRAM_MAX, CONNECTION_READ);
        let waiting = Waiting { stream, peer, reader };
        let Some(key) = self.waiting.insert_with(|_| waiting) else {
            return self.refuse(Refused::Busy);
        };
        let token = u64::from(key.epoch) << 32 | u64::from(key.index);
        if self.epoll.add(fd, token, Interest::Read).is_err() {
            self.waiting.remove(key);
            return self.refuse(Refused::Ended);
        }
        self.order.push_back((Instant::now() + FIRST_FRAME_TIMEOUT, key));
    }

    fn read(&mut self, key: Key) {
        let Some(waiting) = self.waiting.get_mut(key) else {
            return;
        };
        match waiting.stream.read(waiting.reader.spare()) {
            Ok(0) => return self.end(key, Refused::Ended),
            Ok(len) => waiting.reader.filled(len),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return;
            }
            Err(_) => return self.end(key, Refused::Ended),
        }
        let (first, core) = match waiting.reader.next_frame() {
            Ok(None) => return,
            Ok(Some(frame)) => match core_of(frame) {
                Some(core) => (frame.to_vec(), core),
                None => return self.end(key, Refused::NoCheck),
            },
            Err(_) => return self.end(key, Refused::NoCheck),
        };
        self.pass_on(key, first, core);
    }

    fn pass_on(&mut self, key: Key, first: Vec<u8>, core: u8) {
        let Some(door) = self.doors.get(usize::from(core)) else {
            return self.end(key, Refused::NoCheck);
        };
        let Some(waiting) = self.waiting.remove(key) else {
            return;
        };
        let Waiting { stream, peer, reader } = waiting;
        let Ok(local) = stream.local_addr() else {
            return self.refuse(Refused::Ended);
        };
        // The core watches it from here on; a descriptor that two watch is told to both.
        if self.epoll.remove(stream.as_raw_fd()).is_err() {
            return self.refuse(Refused::Ended);
        }
        let accepted = Accepted {
            stream,
            peer,
            local: local.ip().to_canonical(),
            first,
            reader,
        };
        match door.lane.try_send(accepted) {
            Ok(()) => door.waker.wake(),
            Err(_) => self.refuse(Refused::Busy),
        }
    }

    fn expire(&mut self, now: Instant) -> io::Result<()> {
        if self.paused.is_some_and(|until| until <= now) {
            self.paused = None;
            self.epoll
                .modify(self.listener.as_raw_fd(), LISTENER, Interest::Read)?;
        }
        while let Some((_, key)) = self.order.pop_front_if(|(at, _)| *at <= now) {
            self.end(key, Refused::Idle);
        }
        Ok(())
    }

    /// The one that waited longest makes room.
    fn drop_oldest(&mut self) {
        while let Some((_, key)) = self.order.pop_front() {
            if self.waiting.get(key).is_some() {
                return self.end(key, Refused::Idle);
            }
        }
    }

    /// Closes one that waits; one that was passed on is no concern any more.
    fn end(&mut self, key: Key, why: Refused) {
        if self.waiting.remove(key).is_some() {
            self.refuse(why);
        }
    }

    fn refuse(&self, why: Refused) {
        debug!(?why, "connection refused");
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// The core whose session a first frame is for.
fn core_of(frame: &[u8]) -> Option<u8> {
    let message = Message::parse(frame).ok()?;
    if message.class() != Class::Request {
        return None;
    }
    Some(ufrag::session_of(message.username()?)?.core())
}
