//! The plain driver: epoll, recvmmsg, sendmmsg. For kernels and containers without io_uring; within a few
//! percent of it.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::time::Duration;

use super::counters::IoCounters;
use super::epoll::{Epoll, Interest};
use super::limits::{RECEIVE_BATCH, RECEIVE_CONTROL_LEN, TRAIN_MAX};
use super::receive::{self, Incoming, Message};
use super::send::{SendMessages, SendSlots, Sender};
use super::sockaddr;
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
    pub fn receive(&mut self, limit: usize, mut sink: impl FnMut(Incoming<'_>)) -> usize {
        let mut taken = 0;
        while taken < limit {
            let count = match self.slots.fill(self.socket.as_raw_fd()) {
                Ok(count) => count,
                Err(error) => {
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) {
                        self.counters.rx_errors += 1;
                    }
                    break;
                }
            };
            for index in 0..count {
                let message = self.slots.message(index);
                taken += receive::deliver(message, self.fixed, &mut self.counters, &mut sink);
            }
            if count < RECEIVE_BATCH {
                break;
            }
        }
        taken
    }

    /// Sends all runs of `batch`, never waiting.
    pub fn send(&mut self, batch: &TransmitBatch) {
        let mut kernel = Sendmmsg(self.socket.as_raw_fd());
        self.sender.send(batch, &mut kernel, &mut self.counters);
    }
}

/// Memory for one recvmmsg, of whatever socket.
pub(super) struct ReceiveSlots {
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    names: Box<[[u8; sockaddr::LEN_MAX]]>,
    controls: Box<[[u8; RECEIVE_CONTROL_LEN]]>,
    payloads: Box<[u8]>,
    slot_len: usize,
}

// SAFETY: its pointers go into memory that it owns and that does not move with it; they are set anew before each
// use, and the kernel keeps none of them.
unsafe impl Send for ReceiveSlots {}

impl ReceiveSlots {
    pub(super) fn new(slot_len: usize) -> Self {
        // SAFETY: all-zero is a valid mmsghdr: null pointers with zero lengths.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let iovec = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            headers: vec![header; RECEIVE_BATCH].into_boxed_slice(),
            iovecs: vec![iovec; RECEIVE_BATCH].into_boxed_slice(),
            names: vec![[0; sockaddr::LEN_MAX]; RECEIVE_BATCH].into_boxed_slice(),
            controls: vec![[0; RECEIVE_CONTROL_LEN]; RECEIVE_BATCH].into_boxed_slice(),
            payloads: vec![0; RECEIVE_BATCH * slot_len].into_boxed_slice(),
            slot_len,
        }
    }

    /// One recvmmsg: how many messages it gave.
    pub(super) fn fill(&mut self, fd: RawFd) -> io::Result<usize> {
        for (index, payload) in self.payloads.chunks_exact_mut(self.slot_len).enumerate() {
            self.iovecs[index] = libc::iovec {
                iov_base: payload.as_mut_ptr().cast(),
                iov_len: payload.len(),
            };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = self.names[index].as_mut_ptr().cast();
            header.msg_namelen = sockaddr::LEN_MAX as libc::socklen_t;
            header.msg_iov = &raw mut self.iovecs[index];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[index].as_mut_ptr().cast();
            header.msg_controllen = RECEIVE_CONTROL_LEN;
            header.msg_flags = 0;
        }
        // SAFETY: every pointer set above is into memory this struct owns, with its true length; the call
        // is over before any of it is touched again. MSG_WAITFORONE would wait for a first message, and
        // MSG_DONTWAIT does not wait at all.
        let count = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                RECEIVE_BATCH as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((count as usize).min(RECEIVE_BATCH))
    }

    pub(super) fn message(&mut self, index: usize) -> Message<'_> {
        let header = &self.headers[index];
        let start = index * self.slot_len;
        let len = (header.msg_len as usize).min(self.slot_len);
        let name_len = (header.msg_hdr.msg_namelen as usize).min(sockaddr::LEN_MAX);
        let control_len = header.msg_hdr.msg_controllen.min(RECEIVE_CONTROL_LEN);
        Message {
            name: &self.names[index][..name_len],
            control: &self.controls[index][..control_len],
            truncated: header.msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
            payload: &mut self.payloads[start..start + len],
        }
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
