//! One direction: the link's model, and the packets that are on their way. Time is passed in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use kall_tests::network::{Link, LinkConfig};
use serde_json::{Value, json};

/// When a packet arrives, a number that keeps the order of equals, and the packet.
type Flying = Reverse<(Duration, u64, Vec<u8>)>;

#[derive(Debug)]
pub(crate) struct Direction {
    link: Link,
    flying: BinaryHeap<Flying>,
    taken: u64,
    waited: Waited,
    /// Packets that the interface did not take.
    pub(crate) refused: u64,
}

/// How long packets waited before the bottleneck since somebody last looked.
#[derive(Debug, Clone, Copy, Default)]
struct Waited {
    packets: u32,
    sum: Duration,
    longest: Duration,
}

impl Direction {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            link: Link::new(LinkConfig::default(), seed),
            flying: BinaryHeap::new(),
            taken: 0,
            waited: Waited::default(),
            refused: 0,
        }
    }

    /// A packet goes in.
    pub(crate) fn send(&mut self, now: Duration, packet: &[u8]) {
        let wait = self.link.queueing_delay(now);
        let arrivals = self.link.send(now, packet.len());
        if arrivals.first.is_ok() {
            self.waited.packets += 1;
            self.waited.sum += wait;
            self.waited.longest = self.waited.longest.max(wait);
        }
        for at in arrivals {
            self.taken += 1;
            self.flying.push(Reverse((at, self.taken, packet.to_vec())));
        }
    }

    /// The next packet that has arrived by `now`.
    pub(crate) fn arrived(&mut self, now: Duration) -> Option<Vec<u8>> {
        let is_due = self.next_arrival()? <= now;
        is_due
            .then(|| self.flying.pop())
            .flatten()
            .map(|Reverse((_, _, packet))| packet)
    }

    pub(crate) fn next_arrival(&self) -> Option<Duration> {
        self.flying.peek().map(|Reverse((at, _, _))| *at)
    }

    /// From now on other properties; what is on its way keeps the time it was given.
    pub(crate) fn shape(&mut self, config: LinkConfig) {
        self.link.set_config(config);
    }

    /// Counts since the start, and waits since the last report.
    pub(crate) fn report(&mut self, now: Duration) -> Value {
        let stats = self.link.stats();
        let waited = std::mem::take(&mut self.waited);
        let mean = waited.sum.checked_div(waited.packets).unwrap_or_default();
        json!({
            "packets": stats.packets,
            "bytes": stats.bytes,
            "queue_drops": stats.queue_drops,
            "wire_losses": stats.wire_losses,
            "duplicates": stats.duplicates,
            "refused": self.refused,
            "queue_bytes": self.link.backlog(now),
            "queue_ms": millis(self.link.queueing_delay(now)),
            "waited_ms_mean": millis(mean),
            "waited_ms_max": millis(waited.longest),
        })
    }
}

/// Milliseconds with a fraction.
fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use kall_tests::network::{Queue, Rate};

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn narrow() -> LinkConfig {
        LinkConfig {
            rate: Some(Rate::constant(1_000_000)),
            queue: Queue::Delay(ms(10)),
            delay: ms(5),
            ..LinkConfig::default()
        }
    }

    #[test]
    fn packets_come_out_when_the_model_says_and_in_its_order() {
        let mut direction = Direction::new(1);
        direction.shape(narrow());
        // 1000 bytes take 8 ms; the third would wait for 16.
        for packet in [[1; 1000], [2; 1000], [3; 1000]] {
            direction.send(ms(0), &packet);
        }
        assert_eq!(direction.next_arrival(), Some(ms(13)));
        assert_eq!(direction.arrived(ms(12)), None);
        assert_eq!(direction.arrived(ms(21)), Some(vec![1; 1000]));
        assert_eq!(direction.arrived(ms(21)), Some(vec![2; 1000]));
        assert_eq!(direction.arrived(ms(100)), None);

        let report = direction.report(ms(2));
        assert_eq!(report["packets"], 3);
        assert_eq!(report["queue_drops"], 1);
        assert_eq!(report["waited_ms_max"], 8.0);
        assert_eq!(report["waited_ms_mean"], 4.0);
        assert_eq!(report["queue_ms"], 14.0);
        assert_eq!(direction.report(ms(2))["waited_ms_max"], 0.0);
    }

    #[test]
    fn equals_keep_their_order_and_a_new_shape_lets_nothing_overtake() {
        let mut direction = Direction::new(1);
        for packet in 0..20 {
            direction.send(ms(1), &[packet]);
        }
        let order: Vec<u8> = std::iter::from_fn(|| direction.arrived(ms(1)))
            .map(|packet| packet[0])
            .collect();
        assert!(order.is_sorted() && order.len() == 20, "{order:?}");

        direction.shape(narrow());
        direction.send(ms(2), &[1; 1000]);
        direction.shape(LinkConfig::default());
        direction.send(ms(3), &[2]);
        assert_eq!(direction.arrived(ms(15)), Some(vec![1; 1000]));
        assert_eq!(direction.arrived(ms(15)), Some(vec![2]));
    }
}
