//! One direction of a path: what it loses, delays, reorders and repeats.

use std::time::Duration;

use kall_dataplane::time::Time;

use crate::random::Random;

/// How bad a path is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quality {
    pub(crate) loss_percent: u64,
    pub(crate) delay: Duration,
    /// Added to the delay, evenly spread.
    pub(crate) jitter: Duration,
    /// Packets held back by up to [`Quality::held_back`], so that others overtake them.
    pub(crate) reorder_percent: u64,
    pub(crate) held_back: Duration,
    pub(crate) duplicate_percent: u64,
}

impl Quality {
    /// 5 % loss and reordering on a path of 20 ms.
    pub(crate) const POOR: Self = Self {
        loss_percent: 5,
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(3),
        reorder_percent: 3,
        held_back: Duration::from_millis(20),
        duplicate_percent: 1,
    };
}

#[derive(Debug)]
pub(crate) struct Link {
    quality: Quality,
    random: Random,
}

impl Link {
    pub(crate) fn new(quality: Quality, seed: u64) -> Self {
        Self {
            quality,
            random: Random::new(seed),
        }
    }

    /// When a datagram sent now arrives: never, once, or twice.
    pub(crate) fn arrivals(&mut self, now: Time) -> impl Iterator<Item = Time> + use<> {
        let quality = self.quality;
        let lost = self.random.percent(quality.loss_percent);
        let twice = self.random.percent(quality.duplicate_percent);
        let first = self.arrival(now);
        let second = self.arrival(now);
        [(!lost).then_some(first), (!lost && twice).then_some(second)]
            .into_iter()
            .flatten()
    }

    fn arrival(&mut self, now: Time) -> Time {
        let mut delay = self.quality.delay + self.up_to(self.quality.jitter);
        if self.random.percent(self.quality.reorder_percent) {
            delay += self.up_to(self.quality.held_back);
        }
        now + delay
    }

    fn up_to(&mut self, duration: Duration) -> Duration {
        Duration::from_micros(self.random.below(duration.as_micros() as u64 + 1))
    }
}
