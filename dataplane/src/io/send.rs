//! From a batch of runs to kernel sends: the part of sending that both drivers share.
//!
//! A run of several datagrams leaves as one message with `UDP_SEGMENT`; a single datagram carries no such
//! control message, which would cost 6 to 10 % for nothing. Sends never wait: a full send buffer is
//! packet loss, as it would be on the wire. What a NIC or a tunnel refuses to segment is sent one by one,
//! and when it is the segmentation that was refused, all later runs of the socket too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ptr;

use tracing::warn;

use super::cmsg::SendControl;
use super::counters::IoCounters;
use super::limits::{GSO_BYTES_MAX, GSO_SEGMENTS_MAX, SEND_BATCH};
use super::sockaddr::{self, Family};
use super::udp::UdpSocket;
use crate::address::TransportAddress;
use crate::shard::TransmitBatch;

/// How a driver hands messages to the kernel.
pub(super) trait SendMessages {
    /// Sends `slots[..count]` in order, never waiting. Every failure goes to `failed` as slot and errno. The
    /// kernel keeps no reference into the slots when this returns.
    fn send_messages(&mut self, slots: &mut SendSlots, count: usize, failed: &mut Vec<(usize, i32)>);
}

/// One kernel send: a datagram, or a run the kernel cuts.
#[derive(Debug, Clone, Copy)]
struct Outgoing<'a> {
    to: SocketAddr,
    from: IpAddr,
    bytes: &'a [u8],
    segment: u16,
    segments: u16,
}

impl Outgoing<'_> {
    const NONE: Self = Self {
        to: SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)),
        from: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        bytes: &[],
        segment: 0,
        segments: 0,
    };
}

/// Headers, addresses and control messages of one kernel call. Boxed parts, so that the pointers the
/// kernel gets do not depend on where the owner is moved.
pub(super) struct SendSlots {
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    names: Box<[[u8; sockaddr::LEN_MAX]]>,
    controls: Box<[SendControl]>,
}

impl SendSlots {
    fn new() -> Self {
        // SAFETY: all-zero is a valid mmsghdr: null pointers with zero lengths.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let iovec = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            headers: vec![header; SEND_BATCH].into_boxed_slice(),
            iovecs: vec![iovec; SEND_BATCH].into_boxed_slice(),
            names: vec![[0; sockaddr::LEN_MAX]; SEND_BATCH].into_boxed_slice(),
            controls: vec![SendControl::EMPTY; SEND_BATCH].into_boxed_slice(),
        }
    }

    /// The headers, for sendmmsg.
    pub(super) fn headers(&mut self) -> &mut [libc::mmsghdr] {
        &mut self.headers
    }

    /// Points slot `index` at `message`; false when its destination is of the wrong family. The slot is valid
    /// for as long as the message's bytes are borrowed.
    fn fill(&mut self, index: usize, message: &Outgoing<'_>, family: Family, choose_source: bool) -> bool {
        let Some(name_len) = sockaddr::encode(message.to, family, &mut self.names[index]) else {
            return false;
        };
        let control = &mut self.controls[index];
        control.clear();
        if choose_source && !message.from.is_unspecified() {
            control.push_source(message.from, family);
        }
        if message.segments > 1 {
            control.push_segment(message.segment);
        }
        self.iovecs[index] = libc::iovec {
            // The kernel only reads what is sent.
            iov_base: message.bytes.as_ptr().cast_mut().cast(),
            iov_len: message.bytes.len(),
        };
        let header = &mut self.headers[index].msg_hdr;
        header.msg_name = self.names[index].as_mut_ptr().cast();
        header.msg_namelen = name_len as libc::socklen_t;
        header.msg_iov = &raw mut self.iovecs[index];
        header.msg_iovlen = 1;
        let control = control.as_bytes();
        header.msg_controllen = control.len();
        header.msg_control = if control.is_empty() {
            ptr::null_mut()
        } else {
            control.as_ptr().cast_mut().cast()
        };
        true
    }
}

/// Turns batches into messages for one socket and deals with what fails.
pub(super) struct Sender {
    slots: SendSlots,
    failed: Vec<(usize, i32)>,
    family: Family,
    choose_source: bool,
    gso: bool,
}

impl Sender {
    pub(super) fn new(socket: &UdpSocket) -> Self {
        Self {
            slots: SendSlots::new(),
            failed: Vec::with_capacity(SEND_BATCH),
            family: socket.family(),
            choose_source: socket.fixed_address().is_none(),
            gso: true,
        }
    }

    /// Whether runs still leave in one send.
    #[cfg(test)]
    pub(super) fn gso(&self) -> bool {
        self.gso
    }

    /// Sends all runs of `batch`.
    pub(super) fn send(
        &mut self,
        batch: &TransmitBatch,
        kernel: &mut impl SendMessages,
        counters: &mut IoCounters,
    ) {
        let mut chunk = [Outgoing::NONE; SEND_BATCH];
        let mut used = 0;
        for run in batch.runs() {
            // Connections have their own way out.
            let TransportAddress::Udp(to) = run.to else {
                continue;
            };
            let whole = Outgoing {
                to,
                from: run.from,
                bytes: batch.bytes(run),
                segment: run.segment,
                segments: run.segments,
            };
            if self.fits_one_send(&whole) {
                self.queue(whole, &mut chunk, &mut used, kernel, counters);
            } else {
                for bytes in whole.bytes.chunks(usize::from(run.segment).max(1)) {
                    self.queue(single(&whole, bytes), &mut chunk, &mut used, kernel, counters);
                }
            }
        }
        self.flush(&chunk[..used], kernel, counters);
    }

    fn fits_one_send(&self, run: &Outgoing<'_>) -> bool {
        run.segments <= 1
            || (self.gso && run.segments <= GSO_SEGMENTS_MAX && run.bytes.len() <= GSO_BYTES_MAX)
    }

    fn queue<'a>(
        &mut self,
        message: Outgoing<'a>,
        chunk: &mut [Outgoing<'a>; SEND_BATCH],
        used: &mut usize,
        kernel: &mut impl SendMessages,
        counters: &mut IoCounters,
    ) {
        chunk[*used] = message;
        *used += 1;
        if *used == SEND_BATCH {
            self.flush(chunk, kernel, counters);
            *used = 0;
        }
    }

    /// Hands one chunk to the kernel. A run that can't be segmented goes again, one by one.
    fn flush(&mut self, chunk: &[Outgoing<'_>], kernel: &mut impl SendMessages, counters: &mut IoCounters) {
        self.submit(chunk, kernel, counters);
        if self.failed.is_empty() {
            return;
        }
        // The retry below fills `failed` anew. Neither list outgrows a batch, so nothing is allocated.
        let mut failures = [(0, 0); SEND_BATCH];
        let failures = &mut failures[..self.failed.len()];
        failures.copy_from_slice(&self.failed);
        for (index, errno) in failures {
            let message = &chunk[*index];
            if message.segments > 1 && segmentation_refused(*errno) {
                self.send_one_by_one(message, *errno, kernel, counters);
            } else {
                count_failure(message, *errno, counters);
            }
        }
    }

    fn send_one_by_one(
        &mut self,
        run: &Outgoing<'_>,
        errno: i32,
        kernel: &mut impl SendMessages,
        counters: &mut IoCounters,
    ) {
        counters.tx_gso_refused += 1;
        let mut chunk = [Outgoing::NONE; SEND_BATCH];
        let mut used = 0;
        for (slot, bytes) in chunk
            .iter_mut()
            .zip(run.bytes.chunks(usize::from(run.segment).max(1)))
        {
            *slot = single(run, bytes);
            used += 1;
        }
        self.submit(&chunk[..used], kernel, counters);
        let delivered = self.failed.len() < used;
        for (index, errno) in &self.failed {
            count_failure(&chunk[*index], *errno, counters);
        }
        // EINVAL also means a source address that is gone. Only if the same bytes leave one by one was it
        // the segmentation. EMSGSIZE is about this run's segment size, not about the socket.
        if delivered && matches!(errno, libc::EIO | libc::EINVAL | libc::EOPNOTSUPP) {
            self.gso = false;
            warn!(
                error = %std::io::Error::from_raw_os_error(errno),
                "the network device refuses segmentation: packets leave one by one from here on"
            );
        }
    }

    fn submit(&mut self, chunk: &[Outgoing<'_>], kernel: &mut impl SendMessages, counters: &mut IoCounters) {
        self.failed.clear();
        // Slots hold what has a destination the socket can reach; `places` maps them back.
        let mut places = [0; SEND_BATCH];
        let mut used = 0;
        for (index, message) in chunk.iter().enumerate() {
            if self.slots.fill(used, message, self.family, self.choose_source) {
                places[used] = index;
                used += 1;
            } else {
                counters.tx_errors += u64::from(message.segments);
            }
        }
        if used == 0 {
            return;
        }
        kernel.send_messages(&mut self.slots, used, &mut self.failed);
        let mut sent = used;
        for (index, _) in &mut self.failed {
            *index = places[*index];
            sent -= 1;
            let message = &chunk[*index];
            counters.tx_packets = counters.tx_packets.wrapping_sub(u64::from(message.segments));
            counters.tx_bytes = counters.tx_bytes.wrapping_sub(message.bytes.len() as u64);
        }
        for message in places[..used].iter().map(|place| &chunk[*place]) {
            counters.tx_packets = counters.tx_packets.wrapping_add(u64::from(message.segments));
            counters.tx_bytes = counters.tx_bytes.wrapping_add(message.bytes.len() as u64);
        }
        counters.tx_runs += sent as u64;
    }
}

fn single<'a>(run: &Outgoing<'_>, bytes: &'a [u8]) -> Outgoing<'a> {
    Outgoing {
        to: run.to,
        from: run.from,
        bytes,
        segment: 0,
        segments: 1,
    }
}

fn segmentation_refused(errno: i32) -> bool {
    matches!(
        errno,
        libc::EIO | libc::EINVAL | libc::EOPNOTSUPP | libc::EMSGSIZE
    )
}

fn count_failure(message: &Outgoing<'_>, errno: i32, counters: &mut IoCounters) {
    let counter = match errno {
        libc::EAGAIN | libc::ENOBUFS => &mut counters.tx_eagain,
        _ => &mut counters.tx_errors,
    };
    *counter += u64::from(message.segments);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel that refuses as told: by errno for runs, and for single datagrams.
    struct Kernel {
        runs: Option<i32>,
        singles: Option<i32>,
        seen: Vec<(usize, bool)>,
    }

    impl SendMessages for Kernel {
        fn send_messages(&mut self, slots: &mut SendSlots, count: usize, failed: &mut Vec<(usize, i32)>) {
            for index in 0..count {
                let is_run = !slots.headers[index].msg_hdr.msg_control.is_null();
                self.seen.push((slots.iovecs[index].iov_len, is_run));
                let refusal = if is_run { self.runs } else { self.singles };
                failed.extend(refusal.map(|errno| (index, errno)));
            }
        }
    }

    fn send(kernel: &mut Kernel, runs: &[(usize, u16)]) -> (Sender, IoCounters) {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("any free port");
        let mut sender = Sender::new(&socket);
        let mut batch = TransmitBatch::new();
        for (port, (len, count)) in runs.iter().enumerate() {
            for _ in 0..*count {
                let to = SocketAddr::from(([127, 0, 0, 1], 9 + port as u16));
                batch.commit(*len, to, crate::shard::transmit::ANY_SOURCE);
            }
        }
        let mut counters = IoCounters::default();
        sender.send(&batch, kernel, &mut counters);
        (sender, counters)
    }

    fn kernel(runs: Option<i32>, singles: Option<i32>) -> Kernel {
        Kernel {
            runs,
            singles,
            seen: Vec::new(),
        }
    }

    #[test]
    fn only_runs_carry_a_segment_size() {
        let mut kernel = kernel(None, None);
        let (sender, counters) = send(&mut kernel, &[(100, 3), (70, 1)]);
        assert_eq!(kernel.seen, [(300, true), (70, false)]);
        assert_eq!(
            (counters.tx_runs, counters.tx_packets, counters.tx_bytes),
            (2, 4, 370)
        );
        assert!(sender.gso());
    }

    #[test]
    fn a_device_that_refuses_segmentation_is_asked_once() {
        let mut kernel = kernel(Some(libc::EIO), None);
        let (mut sender, mut counters) = send(&mut kernel, &[(100, 3)]);
        assert_eq!(
            kernel.seen,
            [(300, true), (100, false), (100, false), (100, false)]
        );
        assert_eq!(
            (counters.tx_packets, counters.tx_bytes, counters.tx_errors),
            (3, 300, 0)
        );
        assert!(!sender.gso());
        kernel.seen.clear();
        let mut batch = TransmitBatch::new();
        for _ in 0..2 {
            batch.commit(
                50,
                SocketAddr::from(([127, 0, 0, 1], 9)),
                crate::shard::transmit::ANY_SOURCE,
            );
        }
        sender.send(&batch, &mut kernel, &mut counters);
        assert_eq!(kernel.seen, [(50, false), (50, false)]);
        assert_eq!(counters.tx_gso_refused, 1);
    }

    #[test]
    fn a_lost_source_address_does_not_end_segmentation() {
        let mut kernel = kernel(Some(libc::EINVAL), Some(libc::EINVAL));
        let (sender, counters) = send(&mut kernel, &[(100, 3)]);
        assert!(sender.gso());
        assert_eq!((counters.tx_packets, counters.tx_errors), (0, 3));
    }

    #[test]
    fn a_full_buffer_is_loss_and_is_not_tried_again() {
        let mut kernel = kernel(Some(libc::EAGAIN), Some(libc::EAGAIN));
        let (sender, counters) = send(&mut kernel, &[(100, 3), (10, 1)]);
        assert_eq!(kernel.seen.len(), 2);
        assert_eq!(
            (counters.tx_packets, counters.tx_bytes, counters.tx_eagain),
            (0, 0, 4)
        );
        assert!(sender.gso());
    }

    #[test]
    fn a_destination_of_the_wrong_family_is_an_error_and_the_rest_leaves() {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("any free port");
        let mut sender = Sender::new(&socket);
        let mut batch = TransmitBatch::new();
        let any = crate::shard::transmit::ANY_SOURCE;
        batch.commit(10, "[::1]:9".parse::<SocketAddr>().expect("literal"), any);
        batch.commit(20, "127.0.0.1:9".parse::<SocketAddr>().expect("literal"), any);
        let mut counters = IoCounters::default();
        let mut kernel = kernel(None, Some(libc::EAGAIN));
        sender.send(&batch, &mut kernel, &mut counters);
        assert_eq!(kernel.seen, [(20, false)]);
        assert_eq!((counters.tx_errors, counters.tx_eagain), (1, 1));
    }
}
