//! When which session wants to be woken: a heap with at most one live entry a session.
//!
//! A session that becomes busy earlier is pushed again and its old entry goes stale; a stale entry is
//! recognised by the epoch of its key when it comes up. Nothing scans all sessions.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::shard::slab::Key;
use crate::time::Time;

/// Pending wake-ups of a shard.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Time, Key)>>,
}

impl Timers {
    /// Memory for `capacity` entries up front, so that steady state allocates nothing.
    #[must_use]
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            heap: BinaryHeap::with_capacity(capacity),
        }
    }

    /// Wakes `key` at `at`. The caller keeps the earliest time it asked for and asks again only for
    /// an earlier one.
    pub(super) fn schedule(&mut self, key: Key, at: Time) {
        self.heap.push(Reverse((at, key)));
    }

    /// The next entry due at `now`, with the time it was asked for.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<(Time, Key)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// How many entries wait, stale ones included.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// When the next entry is due.
    #[must_use]
    pub(super) fn next_deadline(&self) -> Time {
        self.heap.peek().map_or(Time::FAR_FUTURE, |Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_order_and_never_early() {
        let mut timers = Timers::with_capacity(4);
        let key = |slot| Key {
            index: slot,
            epoch: 0,
        };
        timers.schedule(key(1), Time::from_millis(20));
        timers.schedule(key(2), Time::from_millis(10));
        assert_eq!(timers.next_deadline(), Time::from_millis(10));
        assert_eq!(timers.pop_due(Time::from_millis(9)), None);
        assert_eq!(
            timers.pop_due(Time::from_millis(30)).map(|(_, key)| key.index),
            Some(2)
        );
        assert_eq!(
            timers.pop_due(Time::from_millis(30)).map(|(_, key)| key.index),
            Some(1)
        );
        assert_eq!(timers.next_deadline(), Time::FAR_FUTURE);
    }
}
