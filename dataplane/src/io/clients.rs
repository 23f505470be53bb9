//! Many sockets of one thread behind one epoll, with one receive memory for all of them: the other side of a
//! data plane, as a load generator has it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::counters::IoCounters;
use super::epoll::{Epoll, Interest};
use super::limits::TRAIN_MAX;
use super::receive::{Incoming, unprepared};
use super::receive_slots::ReceiveSlots;
use super::udp::UdpSocket;

/// Sockets that one wait tells of.
const READY: usize = 256;

/// The sockets of a thread's clients.
pub struct ClientSockets {
    epoll: Epoll,
    sockets: Vec<UdpSocket>,
    slots: ReceiveSlots,
    counters: IoCounters,
}

impl ClientSockets {
    /// None yet.
    ///
    /// # Errors
    /// What the kernel said: no descriptors left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new()?,
            sockets: Vec::new(),
            slots: ReceiveSlots::new(TRAIN_MAX),
            counters: IoCounters::default(),
        })
    }

    /// Takes over a bound socket and gives its index.
    ///
    /// # Errors
    /// What the kernel said: no memory.
    pub fn add(&mut self, socket: UdpSocket) -> io::Result<usize> {
        let index = self.sockets.len();
        self.epoll.add(socket.as_raw_fd(), index as u64, Interest::Read)?;
        self.sockets.push(socket);
        Ok(index)
    }

    /// Where a client is.
    #[must_use]
    pub fn local(&self, index: usize) -> SocketAddr {
        self.sockets[index].local()
    }

    /// Sleeps until a socket has something or `timeout`, and lists those that have.
    ///
    /// # Errors
    /// What epoll said; none is expected in a working process.
    pub fn wait(&self, timeout: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        ready.clear();
        let events = self.epoll.wait::<READY>(Some(timeout))?;
        // An index was made from a usize.
        ready.extend(events.map(|event| event.token as usize));
        Ok(())
    }

    /// Gives everything one socket has to `sink`, up to about `limit` datagrams.
    pub fn receive(&mut self, index: usize, limit: usize, sink: impl FnMut(Incoming<'_>)) {
        let socket = &self.sockets[index];
        let fixed = socket.fixed_address();
        let (fd, mut receiver) = (socket.as_raw_fd(), unprepared(sink));
        self.slots
            .receive(fd, fixed, limit, &mut self.counters, &mut receiver);
    }

    /// Sends one datagram from a client's socket, never waiting.
    ///
    /// # Errors
    /// What the kernel said; the datagram is lost then.
    pub fn send(&self, index: usize, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        self.sockets[index].send_to(to, datagram)
    }
}
