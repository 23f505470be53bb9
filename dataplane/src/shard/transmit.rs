//! What one poll of a shard wants sent: sealed packets in one contiguous buffer, grouped in runs.
//!
//! A run is what one peer gets in one turn: equal segments, the last may be shorter, so that it can
//! leave as a single send with `UDP_SEGMENT`. The shard seals straight into the buffer; nothing is
//! copied after that.

use std::net::{IpAddr, Ipv4Addr};

use crate::address::TransportAddress;

/// Bytes of one batch: all its runs with ten full packets each.
pub const BATCH_BYTES: usize = MAX_RUNS * 10 * MAX_DATAGRAM;

/// The longest datagram we send: 1,200 bytes of media and headers leave room for tunnels; the
/// buffer's unit is larger because retransmissions add a header.
pub const MAX_DATAGRAM: usize = 1500;

/// Runs in one batch. Between two batches the core looks at what has come, so that of a picture whose first packet
/// is on its way already the rest leaves with it to those whose turn has not come: with more runs they are fewer,
/// with less the calls cost more than that saves.
pub const MAX_RUNS: usize = 64;

/// Segments of one run: what every kernel since 4.18 takes.
pub const MAX_SEGMENTS: u16 = 64;

/// Bytes of one run: the largest UDP payload over IPv4.
pub const MAX_RUN_BYTES: usize = 65_507;

/// Bytes by which a datagram is made longer, so that it has the length of the others of its run: browsers cut a
/// picture into packets that differ by a byte or two, and a run ends where a length differs.
pub const EVEN_MAX: usize = 8;

/// Consecutive datagrams of one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Where to. On a connection each segment is a frame.
    pub to: TransportAddress,
    /// Our address the peer knows; unspecified when the kernel may choose.
    pub from: IpAddr,
    offset: u32,
    len: u32,
    /// Length of every segment but the last.
    pub segment: u16,
    /// How many segments.
    pub segments: u16,
}

impl Run {
    /// All bytes of the run.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.len as usize
    }
}

/// The buffer and its runs. Allocated once, reused every turn.
#[derive(Debug)]
pub struct TransmitBatch {
    buffer: Box<[u8]>,
    used: usize,
    runs: Vec<Run>,
}

impl Default for TransmitBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl TransmitBatch {
    /// An empty batch with all its memory.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: vec![0; BATCH_BYTES].into_boxed_slice(),
            used: 0,
            runs: Vec::with_capacity(MAX_RUNS),
        }
    }

    /// The runs, in the order they are to be sent.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The bytes of a run of this batch.
    #[must_use]
    pub fn bytes(&self, run: &Run) -> &[u8] {
        let start = run.offset as usize;
        &self.buffer[start..start + run.len as usize]
    }

    /// Forgets everything; the memory stays.
    pub fn clear(&mut self) {
        self.used = 0;
        self.runs.clear();
    }

    /// Bytes of all its runs.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.used
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether another datagram of the largest size fits, whoever it is for.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.runs.len() < MAX_RUNS && self.used + MAX_DATAGRAM <= self.buffer.len()
    }

    /// The same for several.
    #[must_use]
    pub fn has_room_for(&self, datagrams: usize) -> bool {
        self.runs.len() + datagrams <= MAX_RUNS && self.used + datagrams * MAX_DATAGRAM <= self.buffer.len()
    }

    /// The room for the next datagram, [`MAX_DATAGRAM`] bytes. Call [`Self::has_room`] first and
    /// [`Self::commit`] after; without a commit nothing is sent.
    pub fn spare(&mut self) -> &mut [u8] {
        let end = (self.used + MAX_DATAGRAM).min(self.buffer.len());
        &mut self.buffer[self.used..end]
    }

    /// The length that the next datagram for this peer must have to go on with the run, and not to end it; none
    /// when it begins a run of its own whatever its length.
    #[must_use]
    pub fn segment(&self, to: TransportAddress, from: IpAddr) -> Option<usize> {
        let last = self.runs.last()?;
        let segment = usize::from(last.segment);
        let joins = last.to == to
            && last.from == from
            && last.len as usize == segment * usize::from(last.segments)
            && last.segments < MAX_SEGMENTS
            && last.len as usize + segment <= MAX_RUN_BYTES;
        joins.then_some(segment)
    }

    /// Takes the first `len` bytes of [`Self::spare`] as one datagram. It joins the last run when
    /// that goes to the same peer and the lengths allow it.
    pub fn commit(&mut self, len: usize, to: impl Into<TransportAddress>, from: IpAddr) {
        let to = to.into();
        debug_assert!(len <= MAX_DATAGRAM && self.used + len <= self.buffer.len());
        let offset = self.used;
        self.used += len;
        // A shorter segment ends a run: the kernel cuts by the first one's length.
        if self.segment(to, from).is_some_and(|segment| len <= segment)
            && let Some(last) = self.runs.last_mut()
        {
            last.len += len as u32;
            last.segments += 1;
            return;
        }
        self.runs.push(Run {
            to,
            from,
            offset: offset as u32,
            len: len as u32,
            segment: len as u16,
            segments: 1,
        });
    }
}

/// The source address that leaves the choice to the kernel.
pub const ANY_SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn push(batch: &mut TransmitBatch, len: usize, fill: u8, to: SocketAddr) {
        batch.spare()[..len].fill(fill);
        batch.commit(len, to, ANY_SOURCE);
    }

    #[test]
    fn equal_datagrams_of_one_peer_are_one_run_and_a_shorter_one_ends_it() {
        let mut batch = TransmitBatch::new();
        push(&mut batch, 100, 1, peer(1));
        push(&mut batch, 100, 2, peer(1));
        push(&mut batch, 60, 3, peer(1));
        push(&mut batch, 60, 4, peer(1));
        push(&mut batch, 60, 5, peer(2));
        let shape: Vec<_> = batch
            .runs()
            .iter()
            .map(|run| (run.segment, run.segments, run.len))
            .collect();
        assert_eq!(shape, [(100, 3, 260), (60, 1, 60), (60, 1, 60)]);
        let first = batch.runs()[0];
        assert_eq!(batch.bytes(&first)[200..], [3; 60]);
    }

    #[test]
    fn a_run_tells_the_length_that_goes_on_with_it() {
        let mut batch = TransmitBatch::new();
        assert_eq!(batch.segment(peer(1).into(), ANY_SOURCE), None);
        push(&mut batch, 100, 1, peer(1));
        assert_eq!(batch.segment(peer(1).into(), ANY_SOURCE), Some(100));
        assert_eq!(batch.segment(peer(2).into(), ANY_SOURCE), None);
        push(&mut batch, 99, 1, peer(1));
        assert_eq!(batch.segment(peer(1).into(), ANY_SOURCE), None, "it has ended");
    }

    #[test]
    fn a_longer_datagram_never_joins() {
        let mut batch = TransmitBatch::new();
        push(&mut batch, 60, 1, peer(1));
        push(&mut batch, 61, 2, peer(1));
        assert_eq!(batch.runs().len(), 2);
    }

    #[test]
    fn runs_stay_within_what_the_kernel_takes() {
        let mut batch = TransmitBatch::new();
        for _ in 0..200 {
            assert!(batch.has_room());
            push(&mut batch, 1400, 1, peer(1));
        }
        assert!(
            batch
                .runs()
                .iter()
                .all(|run| run.byte_len() <= MAX_RUN_BYTES && run.segments <= MAX_SEGMENTS)
        );
    }
}
