//! Handshake datagrams that wait for their turn.
//!
//! One of them costs as much as a hundred packets of media: a signature, a key agreement. When many peers come at once
//! their handshakes are spread over turns, a few in each, and media goes on in between. A peer repeats what takes too
//! long, so what the queue can't hold is only dropped.

use std::collections::VecDeque;

use super::slab::Key;
use crate::address::TransportAddress;

/// Datagrams handled in one turn: half a millisecond of work.
pub(super) const PER_TURN: usize = 8;

/// Datagrams that wait: two flights of a thousand peers.
const WAITING_MAX: usize = 2048;

/// Of one of them: two flights. Nobody fills the queue alone.
pub(super) const OF_ONE_MAX: u8 = 16;

/// A datagram and whose it is.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) session: Key,
    pub(super) from: TransportAddress,
    pub(super) data: Box<[u8]>,
}

/// The queue of one core.
#[derive(Debug, Default)]
pub(super) struct Handshakes(VecDeque<Waiting>);

impl Handshakes {
    /// Keeps a datagram; false when there are too many already.
    #[must_use]
    pub(super) fn push(&mut self, waiting: Waiting) -> bool {
        let free = self.0.len() < WAITING_MAX;
        if free {
            self.0.push_back(waiting);
        }
        free
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
