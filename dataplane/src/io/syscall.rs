//! The plain driver: epoll, recvmmsg, sendmmsg. For kernels and containers without io_uring; within a few
//! percent of it.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use super::counters::IoCounters;
use super::epoll::{Epoll, Interest};
use super::limits::TRAIN_MAX;
use super::receive::TakeDatagrams;
use super::receive_slots::ReceiveSlots;
use super::send::{SendMessages, SendSlots, Sender};
use super::udp::UdpSocket;
use super::wake::{WakeFd, Waker};
use crate::shard::TransmitBatch;

/// One core's socket, driven by system calls.
pub struct SyscallDriver {
    socket: UdpSocket,
    fixed: Option<IpAddr>,
    wake: WakeFd,
    epoll: Epoll,
    connections_ready: bool,
    slots: ReceiveSlots,
    sender: Sender,
    counters: IoCounters,
}

/// What woke the driver.
const SOCKET: u64 = 0;
/// See [`SOCKET`].
const WAKE: u64 = 1;
/// See [`SOCKET`].
const CONNECTIONS: u64 = 2;

impl SyscallDriver {
    /// Takes over a bound socket.
    ///
    /// # Errors
    /// What the kernel said: no descriptors left.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        Self::with_slot_len(socket, TRAIN_MAX)
    }

    pub(super) fn with_slot_len(socket: UdpSocket, slot_len: usize) -> io::Result<Self> {
        let wake = WakeFd::new()?;
        let epoll = Epoll::new()?;
        epoll.add(socket.as_raw_fd(), SOCKET, Interest::Read)?;
        epoll.add(wake.as_raw_fd(), WAKE, Interest::Read)?;
        Ok(Self {
            fixed: socket.fixed_address(),
            sender: Sender::new(&socket),
            slots: ReceiveSlots::new(slot_len),
            counters: IoCounters::default(),
            socket,
            wake,
            epoll,
            connections_ready: false,
        })
    }

    /// A handle that ends this driver's sleep.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.wake.waker()
    }

    /// The driver's counters.
    pub fn counters(&mut self) -> &mut IoCounters {
        &mut self.counters
    }

    /// Sleeps until a datagram, a wake or `timeout` (none: for ever). A zero timeout costs no system call.
    ///
    /// # Errors
    /// What epoll said; none is expected in a working process.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Ok(());
        }
        for event in self.epoll.wait::<3>(timeout)? {
            match event.token {
                WAKE => self.wake.reset(),
                CONNECTIONS => self.connections_ready = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets the connections' own descriptor end the sleep as well.
    ///
    /// # Errors
    /// What epoll said: no memory.
    pub fn watch_connections(&mut self, fd: RawFd) -> io::Result<()> {
        self.epoll.add(fd, CONNECTIONS, Interest::Read)
    }

    /// Whether there was something on the connections since the last call.
    pub fn take_connections_ready(&mut self) -> bool {
        std::mem::take(&mut self.connections_ready)
    }

    /// Takes what the socket has, up to about `limit` datagrams (a train is never split), and says how
    /// many it took.
    pub fn receive(&mut self, limit: usize, receiver: &mut impl TakeDatagrams) -> usize {
        let fd = self.socket.as_raw_fd();
        self.slots
            .receive(fd, self.fixed, limit, &mut self.counters, receiver)
    }

    /// Sends all runs of `batch`, never waiting.
    pub fn send(&mut self, batch: &TransmitBatch) {
        let mut kernel = Sendmmsg(self.socket.as_raw_fd());
        self.sender.send(batch, &mut kernel, &mut self.counters);
    }
}

struct Sendmmsg(RawFd);

impl SendMessages for Sendmmsg {
    fn send_messages(&mut self, slots: &mut SendSlots, count: usize, failed: &mut Vec<(usize, i32)>) {
        let headers = slots.headers();
        let mut next = 0;
        while next < count {
            // SAFETY: the slots up to `count` were filled with pointers to live memory, and the kernel has
            // copied everything when the call returns.
            let sent = unsafe {
                libc::sendmmsg(
                    self.0,
                    headers[next..count].as_mut_ptr(),
                    (count - next) as u32,
                    libc::MSG_DONTWAIT,
                )
            };
            if sent > 0 {
                next += sent as usize;
                continue;
            }
            // The first of the rest failed, and only its error is told.
            let errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
            if errno != libc::EINTR {
                failed.push((next, errno));
                next += 1;
            }
        }
    }
}
