//! One core's socket, driven by a ring.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use super::Unavailable;
use super::buffer_ring::BufferRing;
use super::ring::{Completed, Ring};
use crate::io::counters::IoCounters;
use crate::io::limits::{RECEIVE_CONTROL_LEN, RING_BUFFERS, TRAIN_MAX};
use crate::io::receive::{self, EXPECTED_AHEAD, Message, TakeDatagrams};
use crate::io::send::Sender;
use crate::io::sockaddr;
use crate::io::udp::UdpSocket;
use crate::io::wake::{WakeFd, Waker};
use crate::shard::TransmitBatch;

/// Bytes of an `io_uring_recvmsg_out`, which stands before name, control messages and payload.
const OUT_LEN: usize = 16;

/// Bytes before the payload of a received message.
const HEAD_LEN: usize = OUT_LEN + sockaddr::LEN_MAX + RECEIVE_CONTROL_LEN;

/// A ring, its socket and the memory both share with the kernel. Belongs to the thread that made it.
pub struct UringDriver {
    /// Dropped before the memory below; see [`Drop`].
    ring: Ring,
    /// How much room for name and control messages the kernel leaves in each buffer. Boxed, because the
    /// standing receive points at it.
    header: Box<libc::msghdr>,
    buffers: BufferRing,
    socket: UdpSocket,
    fixed: Option<IpAddr>,
    wake: WakeFd,
    woken: bool,
    sender: Sender,
    counters: IoCounters,
}

impl UringDriver {
    /// Takes over a bound socket, for the calling thread.
    ///
    /// # Errors
    /// The kernel feature that is missing or forbidden.
    pub fn new(socket: UdpSocket) -> Result<Self, Unavailable> {
        Self::with_slot_len(socket, TRAIN_MAX)
    }

    pub(in crate::io) fn with_slot_len(socket: UdpSocket, slot_len: usize) -> Result<Self, Unavailable> {
        let named = |feature| move |error| Unavailable::new(feature, error);
        let wake = WakeFd::new().map_err(named("eventfd"))?;
        let ring = Ring::new(socket.as_raw_fd(), wake.as_raw_fd())?;
        let buffers =
            BufferRing::new(RING_BUFFERS, HEAD_LEN + slot_len).map_err(named("memory for packets"))?;
        buffers
            .register(&ring.submitter())
            .map_err(named("provided buffer rings (Linux 5.19)"))?;
        // SAFETY: all-zero is a valid msghdr: null pointers with zero lengths.
        let mut header: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        header.msg_namelen = sockaddr::LEN_MAX as libc::socklen_t;
        header.msg_controllen = RECEIVE_CONTROL_LEN;
        let mut driver = Self {
            ring,
            header,
            buffers,
            fixed: socket.fixed_address(),
            sender: Sender::new(&socket),
            counters: IoCounters::default(),
            socket,
            wake,
            woken: false,
        };
        driver
            .wait(Some(Duration::ZERO))
            .map_err(named("io_uring_enter"))?;
        // A kernel that does not know the operation says so at once.
        if let Some(refused) = driver.ring.received.iter().find(|completed| completed.result < 0)
            && !driver.ring.is_receiving()
        {
            let error = io::Error::from_raw_os_error(-refused.result);
            return Err(Unavailable::new("multishot recvmsg (Linux 6.0)", error));
        }
        Ok(driver)
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

    /// Sleeps until a datagram, a wake or `timeout` (none: for ever). A zero timeout costs a system call only when
    /// the kernel has something to do.
    ///
    /// # Errors
    /// What the kernel said; none is expected in a working process.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        // SAFETY: header and buffers are dropped only after the kernel has let go of them, or leaked.
        unsafe { self.ring.arm(&raw const *self.header) };
        // What has come already is not slept upon.
        let timeout = if self.ring.received.is_empty() {
            timeout
        } else {
            Some(Duration::ZERO)
        };
        self.ring.wait(timeout)?;
        if std::mem::take(&mut self.ring.woken) {
            self.wake.reset();
            self.woken = true;
        }
        Ok(())
    }

    /// Whether a wake ended a sleep, or came without one, since the last call.
    pub fn take_woken(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    /// Lets the connections' own descriptor end the sleep as well.
    pub fn watch_connections(&mut self, fd: RawFd) {
        self.ring.connections = Some(fd);
    }

    /// Whether there was something on the connections since the last call.
    pub fn take_connections_ready(&mut self) -> bool {
        std::mem::take(&mut self.ring.connections_ready)
    }

    /// Takes what has been received, up to about `limit` datagrams (a train is never split), and says how
    /// many it took.
    pub fn receive(&mut self, limit: usize, receiver: &mut impl TakeDatagrams) -> usize {
        let mut taken = 0;
        let mut given = false;
        for place in 0..EXPECTED_AHEAD {
            receiver.expect(self.sender_of(place));
        }
        while taken < limit {
            let Some(completed) = self.ring.received.pop_front() else {
                break;
            };
            receiver.expect(self.sender_of(EXPECTED_AHEAD - 1));
            taken += self.take(completed, receiver);
            if let Some(buffer) = completed.buffer {
                self.buffers.give(buffer);
                given = true;
            }
        }
        if given {
            self.buffers.publish();
        }
        taken
    }

    /// Sends all runs of `batch`, never waiting.
    pub fn send(&mut self, batch: &TransmitBatch) {
        self.sender.send(batch, &mut self.ring, &mut self.counters);
    }

    /// Who sent the message at this place among those that wait.
    fn sender_of(&mut self, place: usize) -> Option<SocketAddr> {
        let completed = self.ring.received.get(place)?;
        let len = usize::try_from(completed.result).ok()?;
        let message = parse(self.buffers.buffer(completed.buffer?, len)?)?;
        sockaddr::decode(message.name)
    }

    fn take(&mut self, completed: Completed, receiver: &mut impl TakeDatagrams) -> usize {
        let Ok(len) = usize::try_from(completed.result) else {
            // The operation has ended; the next turn arms it again.
            match -completed.result {
                libc::ENOBUFS => self.counters.rx_no_buffers += 1,
                _ => self.counters.rx_errors += 1,
            }
            return 0;
        };
        let bytes = completed
            .buffer
            .and_then(|buffer| self.buffers.buffer(buffer, len));
        let Some(message) = bytes.and_then(parse) else {
            self.counters.rx_errors += 1;
            return 1;
        };
        receive::deliver(message, self.fixed, &mut self.counters, receiver)
    }
}

impl Drop for UringDriver {
    fn drop(&mut self) {
        // An abandoned receive still writes. Only when it is known to be over may its memory go.
        if !self.ring.quiesce() {
            tracing::error!(local = %self.socket.local(), "the kernel keeps a receive; its buffers are leaked");
            self.buffers.leak();
            let header = std::mem::replace(&mut self.header, {
                // SAFETY: as in `new`.
                Box::new(unsafe { std::mem::zeroed() })
            });
            Box::leak(header);
        }
    }
}

/// Splits a buffer as a multishot recvmsg fills it: `io_uring_recvmsg_out`, the name's room, the control
/// messages' room, the payload.
fn parse(bytes: &mut [u8]) -> Option<Message<'_>> {
    let (head, payload) = bytes.split_at_mut_checked(HEAD_LEN)?;
    let (out, rest) = head.split_at(OUT_LEN);
    let (name, control) = rest.split_at(sockaddr::LEN_MAX);
    let field = |index: usize| {
        let bytes = out[4 * index..4 * index + 4].try_into();
        bytes.map(u32::from_ne_bytes).unwrap_or_default()
    };
    let (name_len, control_len, payload_len) = (field(0), field(1), field(2));
    let flags = field(3);
    let cut = (libc::MSG_TRUNC | libc::MSG_CTRUNC) as u32;
    Some(Message {
        name: &name[..name.len().min(name_len as usize)],
        control: &control[..control.len().min(control_len as usize)],
        truncated: flags & cut != 0 || payload_len as usize > payload.len(),
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::receive::unprepared;
    use proptest::prelude::*;

    fn driver() -> (UringDriver, SocketAddr) {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let local = socket.local();
        let driver = UringDriver::with_slot_len(socket, 256).expect("this kernel has io_uring");
        (driver, local)
    }

    #[test]
    fn a_ring_dropped_in_full_flight_has_let_go_of_its_memory() {
        let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        for round in 0..20 {
            let (mut driver, local) = driver();
            // Datagrams in the socket, in completions that nobody took, and on the way.
            for _ in 0..round {
                client.send_to(b"x", local).expect("leaves");
            }
            if round % 2 == 0 {
                driver.wait(Some(Duration::ZERO)).expect("waits");
            }
            for _ in 0..round {
                client.send_to(b"y", local).expect("leaves");
            }
            assert!(driver.ring.is_receiving());
            assert!(driver.ring.quiesce(), "round {round}");
            assert!(!driver.ring.is_receiving());
        }
    }

    #[test]
    fn a_ring_that_runs_out_of_buffers_is_armed_again() {
        let (mut driver, local) = driver();
        let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let many = u32::from(RING_BUFFERS) + 100;
        for _ in 0..many {
            client.send_to(b"x", local).expect("leaves");
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        // Nothing is taken until the kernel has used every buffer and said so.
        while driver.ring.is_receiving() {
            assert!(std::time::Instant::now() < deadline);
            driver.ring.wait(Some(Duration::from_millis(10))).expect("waits");
        }
        let mut seen = 0;
        while seen < many {
            assert!(std::time::Instant::now() < deadline, "{seen} of {many}");
            driver.receive(usize::MAX, &mut unprepared(|_| seen += 1));
            driver.wait(Some(Duration::from_millis(10))).expect("waits");
        }
        assert!(driver.counters().rx_no_buffers >= 1);
        assert_eq!(driver.counters().rx_errors, 0);
    }

    proptest! {
        #[test]
        fn arbitrary_buffers_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Some(message) = parse(&mut bytes) {
                receive::deliver(message, None, &mut IoCounters::default(), &mut unprepared(|_| {}));
            }
        }
    }
}
