//! Datagrams that are not forwarded media: connectivity answers, handshakes, feedback.
//!
//! They are written when they come up and leave with the next transmit poll, ahead of media. One
//! buffer, reused; bounded, because a flood of checks must not grow it.

use std::net::IpAddr;

use crate::address::TransportAddress;
use crate::limits;
use crate::shard::transmit::{MAX_DATAGRAM, TransmitBatch};

#[derive(Debug, Clone, Copy)]
struct Queued {
    to: TransportAddress,
    from: IpAddr,
    offset: u32,
    len: u16,
}

/// Waiting control datagrams of one core.
#[derive(Debug, Default)]
pub(super) struct ControlQueue {
    bytes: Vec<u8>,
    queued: Vec<Queued>,
    next: usize,
}

impl ControlQueue {
    /// Copies one datagram in; false when the queue is full or the datagram too long.
    #[must_use]
    pub(super) fn push(&mut self, datagram: &[u8], to: TransportAddress, from: IpAddr) -> bool {
        if datagram.len() > MAX_DATAGRAM || self.bytes.len() + datagram.len() > limits::CONTROL_BYTES {
            return false;
        }
        let offset = self.bytes.len() as u32;
        self.bytes.extend_from_slice(datagram);
        self.queued.push(Queued {
            to,
            from,
            offset,
            len: datagram.len() as u16,
        });
        true
    }

    /// Moves what fits into the batch. Returns whether the queue is empty now.
    pub(super) fn drain_into(&mut self, batch: &mut TransmitBatch) -> bool {
        while let Some(queued) = self.queued.get(self.next) {
            if !batch.has_room() {
                return false;
            }
            let (start, len) = (queued.offset as usize, usize::from(queued.len));
            batch.spare()[..len].copy_from_slice(&self.bytes[start..start + len]);
            batch.commit(len, queued.to, queued.from);
            self.next += 1;
        }
        self.bytes.clear();
        self.queued.clear();
        self.next = 0;
        true
    }
}
