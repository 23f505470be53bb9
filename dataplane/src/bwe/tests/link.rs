//! A bottleneck of one direction: a queue of limited time before a link of some capacity, then a way that
//! takes time, jitters and loses.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Time;

/// A generator whose sequence follows from its seed (Marsaglia's xorshift64).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From zero to below one.
    pub(super) fn share(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What a link is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    /// Bits per second.
    pub(super) capacity: u64,
    /// What would wait longer than this is dropped.
    pub(super) queue: Duration,
    /// One way.
    pub(super) delay: Duration,
    /// Up to this is added, evenly distributed; the order stays.
    pub(super) jitter: Duration,
    /// Share of packets lost after the bottleneck.
    pub(super) loss: f64,
}

impl Path {
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            queue: Duration::from_millis(300),
            delay: Duration::from_millis(25),
            jitter: Duration::ZERO,
            loss: 0.0,
        }
    }
}

#[derive(Debug)]
struct Packet<T> {
    entered: Time,
    bytes: u64,
    item: T,
}

/// What came out.
#[derive(Debug)]
pub(super) struct Arrived<T> {
    pub(super) at: Time,
    /// Time in the queue and on the link.
    pub(super) waited: Duration,
    pub(super) item: T,
}

/// The link and what is on it.
#[derive(Debug)]
pub(super) struct Link<T> {
    pub(super) path: Path,
    random: Random,
    queue: VecDeque<Packet<T>>,
    /// When the head of the queue is through.
    through: Time,
    way: VecDeque<Arrived<T>>,
}

impl<T> Link<T> {
    pub(super) fn new(path: Path, seed: u64) -> Self {
        Self {
            path,
            random: Random::new(seed),
            queue: VecDeque::new(),
            through: Time::ZERO,
            way: VecDeque::new(),
        }
    }

    fn takes(&self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes * 8_000_000_000 / self.path.capacity)
    }

    pub(super) fn send(&mut self, now: Time, bytes: u64, item: T) {
        let waiting: u64 = self.queue.iter().map(|packet| packet.bytes).sum();
        if self.takes(waiting) > self.path.queue {
            return;
        }
        if self.queue.is_empty() {
            self.through = now + self.takes(bytes);
        }
        self.queue.push_back(Packet {
            entered: now,
            bytes,
            item,
        });
    }

    /// The next that has arrived by `now`, in the order of arrival.
    pub(super) fn poll(&mut self, now: Time) -> Option<Arrived<T>> {
        while self.through <= now
            && let Some(packet) = self.queue.pop_front()
        {
            let at = self.through;
            if let Some(next) = self.queue.front() {
                self.through = at + self.takes(next.bytes);
            }
            if self.random.share() < self.path.loss {
                continue;
            }
            let arrival = at + self.path.delay + self.path.jitter.mul_f64(self.random.share());
            let last = self.way.back().map_or(Time::ZERO, |last| last.at);
            self.way.push_back(Arrived {
                at: arrival.max(last),
                waited: at.since(packet.entered),
                item: packet.item,
            });
        }
        if self.way.front().is_none_or(|first| first.at > now) {
            return None;
        }
        self.way.pop_front()
    }
}

#[test]
fn a_link_delays_and_drops_as_it_should() {
    let mut path = Path::new(1_000_000);
    path.queue = Duration::from_millis(50);
    let mut link = Link::new(path, 1);
    let mut arrived = Vec::new();
    // Ten times what it carries, for a second.
    for millis in 0..2000 {
        let now = Time::from_millis(millis);
        if millis < 1000 {
            link.send(now, 1250, millis);
        }
        arrived.extend(std::iter::from_fn(|| link.poll(now)));
    }
    assert!((100..=107).contains(&arrived.len()), "{}", arrived.len());
    assert_eq!(arrived[0].at, Time::from_millis(35));
    assert!(
        arrived
            .iter()
            .all(|packet| packet.waited <= Duration::from_millis(70))
    );
}
