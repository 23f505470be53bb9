//! What will happen, in the order of its time, and for one time in the order in which it was planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use kall_dataplane::time::Time;

use crate::peer::opening::Delivery;
use crate::peer::transmitter::Carried;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A datagram of a peer reaches the server.
    ToServer {
        peer: usize,
        bytes: Vec<u8>,
        carries: Option<Carried>,
    },
    /// A datagram of the server reaches a peer.
    ToPeer { peer: usize, delivery: Delivery },
    /// A peer looks at the clock.
    Wake { peer: usize },
    /// A person joins, for the first time or again.
    Join { person: usize },
    /// A peer's handshake is done.
    Keys { peer: usize },
    /// A message of dynacast reaches its publisher.
    Dynacast {
        peer: usize,
        layers: Vec<(String, bool)>,
    },
    /// An action of the scenario, by its index.
    Action { index: usize },
    /// A packet of cross traffic, by its index.
    Cross { index: usize },
    /// The call is measured.
    Sample,
}

/// The order of what will happen.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Time, order and place in the slab in one number, which is quick to compare: 64, 32 and 32 bits.
    heap: BinaryHeap<Reverse<u128>>,
    /// No call plans four thousand million things.
    planned: u32,
    slab: Vec<Option<Happening>>,
    free: Vec<u32>,
}

impl Queue {
    pub(crate) fn plan(&mut self, at: Time, happening: Happening) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            // Some ten thousand things are planned at once, not billions.
            (self.slab.len() - 1) as u32
        });
        self.slab[place as usize] = Some(happening);
        self.planned += 1;
        let order = u128::from(at.as_nanos()) << 64 | u128::from(self.planned) << 32 | u128::from(place);
        self.heap.push(Reverse(order));
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Time {
        let time = |order: u128| Time::from_nanos((order >> 64) as u64);
        self.heap
            .peek()
            .map_or(Time::FAR_FUTURE, |Reverse(order)| time(*order))
    }

    /// The next thing, if it happens by `now`.
    pub(crate) fn pop(&mut self, now: Time) -> Option<Happening> {
        if self.next_at() > now {
            return None;
        }
        let Reverse(order) = self.heap.pop()?;
        let place = order as u32;
        self.free.push(place);
        self.slab[place as usize].take()
    }
}
