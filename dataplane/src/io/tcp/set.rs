//! All connections of one core.
//!
//! What comes and what changes is told in [`Event`]s; the core's loop passes them on to the shard.
//! A connection that the shard does not know after some seconds is nobody's and is closed;
//! later the shard says when one is of no use any more.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::Accepted;
use super::connection::{Connection, State};
use crate::address::{ConnectionId, TransportAddress};
use crate::io::counters::IoCounters;
use crate::io::epoll::{Epoll, Interest};
use crate::io::limits::{CONNECTIONS_PER_CORE, CONNECTIONS_PER_TURN, FIRST_FRAME_TIMEOUT};
use crate::shard::TransmitBatch;
use crate::shard::slab::{Key, Slab};
use crate::time::Time;

/// What happened on a connection.
#[derive(Debug)]
pub enum Event<'a> {
    /// A frame came.
    Frame {
        /// The peer.
        from: TransportAddress,
        /// The address it connected to.
        to: IpAddr,
        /// What was framed.
        data: &'a mut [u8],
    },
    /// It takes so many bytes more before pictures have to wait.
    Room(TransportAddress, usize),
    /// It is closed.
    Closed(TransportAddress),
}

/// The connections, and where new ones come from.
#[derive(Debug)]
pub struct ConnectionSet {
    epoll: Epoll,
    connections: Slab<Connection>,
    arrivals: Receiver<Accepted>,
    /// Those that may be nobody's, and when they are looked at.
    unproven: VecDeque<(Time, Key)>,
    /// Those with something new to write, or room to tell.
    touched: Vec<Key>,
}

fn key(id: ConnectionId) -> Key {
    Key {
        index: id.index,
        epoch: id.epoch,
    }
}

fn token(key: Key) -> u64 {
    u64::from(key.epoch) << 32 | u64::from(key.index)
}

fn key_of(token: u64) -> Key {
    Key {
        index: token as u32,
        epoch: (token >> 32) as u32,
    }
}

impl ConnectionSet {
    /// An empty set that takes in what comes by `arrivals`.
    ///
    /// # Errors
    /// What the kernel said: no descriptors left.
    pub fn new(arrivals: Receiver<Accepted>) -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new()?,
            connections: Slab::new(CONNECTIONS_PER_CORE),
            arrivals,
            unproven: VecDeque::new(),
            touched: Vec::new(),
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Takes in new connections, with what came on them already.
    pub fn adopt(&mut self, now: Time, counters: &mut IoCounters, sink: &mut impl FnMut(Event<'_>)) {
        for _ in 0..CONNECTIONS_PER_TURN {
            let Ok(accepted) = self.arrivals.try_recv() else {
                return;
            };
            let mut first = Vec::new();
            let key = self.connections.insert_with(|key| {
                let id = ConnectionId {
                    index: key.index,
                    epoch: key.epoch,
                };
                let (connection, bytes) = Connection::new(accepted, id);
                first = bytes;
                connection
            });
            let Some(key) = key else {
                counters.tcp_refused += 1;
                continue;
            };
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            if let Err(error) = connection.tune() {
                tracing::debug!(%error, "an option of a connection");
            }
            counters.tcp_opened += 1;
            let (from, to) = (connection.address, connection.local);
            let mut frame = |data: &mut [u8]| {
                counters.rx_packets += 1;
                counters.rx_bytes += data.len() as u64;
                counters.tcp_frames_in += 1;
                sink(Event::Frame { from, to, data });
            };
            frame(&mut first);
            let (_, state) = connection.deliver(&mut frame);
            let watched = self.epoll.add(connection.as_raw_fd(), token(key), Interest::Read);
            if state == State::Over || watched.is_err() {
                self.close(key, counters, sink);
                continue;
            }
            self.unproven.push_back((now + FIRST_FRAME_TIMEOUT, key));
        }
    }

    /// Reads and writes where the kernel says that it can be done, up to about `limit` frames. Says how
    /// many it took; what is left makes the next sleep end at once.
    pub fn turn(
        &mut self,
        limit: usize,
        counters: &mut IoCounters,
        sink: &mut impl FnMut(Event<'_>),
    ) -> io::Result<usize> {
        let mut taken = 0;
        for event in self.epoll.wait::<CONNECTIONS_PER_TURN>(Some(Duration::ZERO))? {
            let key = key_of(event.token);
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            let mut state = State::Open;
            if event.writable {
                touch(&mut self.touched, key, connection);
            }
            // The kernel puts what was told behind the rest, so everybody has a turn.
            if event.readable && taken < limit {
                let (from, to) = (connection.address, connection.local);
                let (frames, after) = connection.read(&mut |data| {
                    counters.rx_packets += 1;
                    counters.rx_bytes += data.len() as u64;
                    counters.tcp_frames_in += 1;
                    sink(Event::Frame { from, to, data });
                });
                taken += frames;
                state = after;
            }
            if state == State::Over {
                self.close(key, counters, sink);
            }
        }
        self.flush(counters, sink);
        Ok(taken)
    }

    /// Queues what goes to connections and writes what the kernel takes.
    pub fn send(
        &mut self,
        batch: &TransmitBatch,
        counters: &mut IoCounters,
        sink: &mut impl FnMut(Event<'_>),
    ) {
        for run in batch.runs() {
            let Some(id) = run.to.connection() else {
                continue;
            };
            let Some(connection) = self.connections.get_mut(key(id)) else {
                // Closed since the shard chose it; it is told.
                counters.tx_errors += u64::from(run.segments);
                continue;
            };
            counters.tx_runs += 1;
            for frame in batch.bytes(run).chunks(usize::from(run.segment).max(1)) {
                if connection.queue.push(frame) {
                    counters.tx_packets += 1;
                    counters.tx_bytes += frame.len() as u64;
                    counters.tcp_frames_out += 1;
                } else {
                    // It does not even take sound.
                    counters.tx_eagain += 1;
                    counters.tcp_stuck += 1;
                    self.close(key(id), counters, sink);
                    break;
                }
            }
            if let Some(connection) = self.connections.get_mut(key(id)) {
                touch(&mut self.touched, key(id), connection);
            }
        }
        self.flush(counters, sink);
    }

    fn flush(&mut self, counters: &mut IoCounters, sink: &mut impl FnMut(Event<'_>)) {
        while let Some(key) = self.touched.pop() {
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            connection.touched = false;
            let mut state = connection.write();
            let waits = !connection.queue.is_empty();
            if state == State::Open && waits != connection.waits {
                connection.waits = waits;
                let interest = if waits {
                    Interest::ReadAndWrite
                } else {
                    Interest::Read
                };
                if self
                    .epoll
                    .modify(connection.as_raw_fd(), token(key), interest)
                    .is_err()
                {
                    state = State::Over;
                }
            }
            if state == State::Over {
                self.close(key, counters, sink);
            } else {
                sink(Event::Room(connection.address, connection.queue.room()));
            }
        }
    }

    /// When [`Self::expire`] is wanted next.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        self.unproven.front().map_or(Time::FAR_FUTURE, |(at, _)| *at)
    }

    /// Closes connections that had time to prove whose they are and are nobody's.
    pub fn expire(
        &mut self,
        now: Time,
        counters: &mut IoCounters,
        is_known: impl Fn(&TransportAddress) -> bool,
    ) {
        while let Some((_, key)) = self.unproven.pop_front_if(|(at, _)| *at <= now) {
            let nobodys = |connection: &Connection| !is_known(&connection.address);
            if self.connections.get(key).is_some_and(nobodys) {
                counters.tcp_refused += 1;
                self.close(key, counters, &mut |_| {});
            }
        }
    }

    /// Ends a connection that no session has a use for; what the kernel takes at once still leaves.
    pub fn hang_up(&mut self, id: ConnectionId, counters: &mut IoCounters) {
        self.close(key(id), counters, &mut |_| {});
    }

    fn close(&mut self, key: Key, counters: &mut IoCounters, sink: &mut impl FnMut(Event<'_>)) {
        // Dropping the stream closes it, and takes it from the epoll.
        if let Some(connection) = self.connections.remove(key) {
            counters.tcp_closed += 1;
            sink(Event::Closed(connection.address));
        }
    }
}

fn touch(touched: &mut Vec<Key>, key: Key, connection: &mut Connection) {
    if !connection.touched {
        connection.touched = true;
        touched.push(key);
    }
}

impl AsRawFd for ConnectionSet {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}
