//! The plain driver: epoll, recvmmsg, sendmmsg. For kernels and containers without io_uring; within a few
//! percent of it.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use super::counters::IoCounters;
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
    epoll: OwnedFd,
    slots: ReceiveSlots,
    sender: Sender,
    counters: IoCounters,
}

/// `epoll_event.u64` of the eventfd; the socket's is 0.
const WAKE: u64 = 1;

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
        // SAFETY: takes no pointers.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor the kernel just gave, owned by nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        watch(&epoll, socket.as_raw_fd(), 0)?;
        watch(&epoll, wake.as_raw_fd(), WAKE)?;
        Ok(Self {
            fixed: socket.fixed_address(),
            sender: Sender::new(&socket),
            slots: ReceiveSlots::new(slot_len),
            counters: IoCounters::default(),
            socket,
            wake,
            epoll,
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
        let timeout = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().min(i64::MAX as u64) as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 2];
        // SAFETY: the kernel writes at most two events into a live array of two; the timeout outlives the call;
        // a null signal mask is allowed.
        let ready = unsafe {
            libc::epoll_pwait2(
                self.epoll.as_raw_fd(),
                events.as_mut_ptr(),
                events.len() as i32,
                timeout.as_ref().map_or(ptr::null(), ptr::from_ref),
                ptr::null(),
            )
        };
        if ready < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted {
                Ok(())
            } else {
                Err(error)
            };
        }
        let ready = ready as usize;
        if events[..ready].iter().any(|event| event.u64 == WAKE) {
            self.wake.reset();
        }
        Ok(())
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

fn watch(epoll: &OwnedFd, fd: RawFd, token: u64) -> io::Result<()> {
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: token,
    };
    // SAFETY: the kernel copies the live event before it returns; a bad fd is an error.
    let status = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Memory for one recvmmsg.
struct ReceiveSlots {
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    names: Box<[[u8; sockaddr::LEN_MAX]]>,
    controls: Box<[[u8; RECEIVE_CONTROL_LEN]]>,
    payloads: Box<[u8]>,
    slot_len: usize,
}

impl ReceiveSlots {
    fn new(slot_len: usize) -> Self {
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
    fn fill(&mut self, fd: RawFd) -> io::Result<usize> {
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

    fn message(&mut self, index: usize) -> Message<'_> {
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
