//! One direction of a path: a bottleneck with a queue, then the wire behind it.
//!
//! A packet waits in a first-in, first-out queue until the bottleneck has sent what came before it,
//! takes as long as its size needs, and then meets the wire: propagation, jitter, loss, reordering and
//! duplication. What the wire loses has used the bottleneck; what the queue refuses has not.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::loss::{Loss, LossProcess};
use crate::random::Random;
use crate::rate::Rate;

/// How a path is. The default is perfect: no delay, no bound, no loss.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkConfig {
    /// Capacity of the bottleneck; `None` has none and no queue.
    #[serde(rename = "rate_kbps")]
    pub rate: Option<Rate>,
    /// How much may wait before the bottleneck.
    pub queue: Queue,
    /// Propagation.
    #[serde(rename = "delay_ms", deserialize_with = "millis")]
    pub delay: Duration,
    /// A longer route from some time on.
    pub detour: Option<Detour>,
    /// Deviation of a delay that varies by packet: half a normal distribution, added to
    /// [`LinkConfig::delay`], and cut off at four times this.
    #[serde(rename = "jitter_ms", deserialize_with = "millis")]
    pub jitter: Duration,
    /// Whether jitter lets packets overtake each other; otherwise a late packet delays those after
    /// it, as a queue does.
    pub jitter_reorders: bool,
    /// What the wire loses.
    pub loss: Loss,
    /// Probability that a packet is held back by [`LinkConfig::held_back`], so that others overtake it.
    pub reorder: f64,
    /// How long a packet picked for reordering is held back, at most; evenly spread.
    #[serde(rename = "held_back_ms", deserialize_with = "millis")]
    pub held_back: Duration,
    /// Probability that a packet arrives twice.
    pub duplicate: f64,
}

/// A route that becomes longer behind the bottleneck, and may lose more.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detour {
    /// Since when.
    #[serde(rename = "at_s", deserialize_with = "seconds")]
    pub at: Duration,
    /// By how much.
    #[serde(rename = "more_ms", deserialize_with = "millis")]
    pub more: Duration,
    /// Probability that a packet is lost on it.
    #[serde(default)]
    pub loss: f64,
}

/// The bound of a drop-tail queue: a packet that would pass it is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Queue {
    /// Everything waits.
    #[default]
    Unbounded,
    /// Bytes that wait or are being sent, the new packet's included.
    Bytes(u64),
    /// How long a packet may have to wait before it begins to leave.
    #[serde(rename = "ms", deserialize_with = "millis")]
    Delay(Duration),
}

/// Why a packet does not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// The queue was full, or the bottleneck has no capacity any more.
    Queue,
    /// The wire lost it.
    Wire,
}

/// When a packet arrives: never, once, or twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrivals {
    /// When it arrives, or why it doesn't.
    pub first: Result<Duration, Drop>,
    /// When a copy arrives; never before the first.
    pub duplicate: Option<Duration>,
}

impl Arrivals {
    const fn dropped(reason: Drop) -> Self {
        Self {
            first: Err(reason),
            duplicate: None,
        }
    }
}

impl IntoIterator for Arrivals {
    type Item = Duration;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<Duration>, 2>>;

    fn into_iter(self) -> Self::IntoIter {
        [self.first.ok(), self.duplicate].into_iter().flatten()
    }
}

/// What a link has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Packets handed in.
    pub packets: u64,
    /// Bytes handed in.
    pub bytes: u64,
    /// Packets the queue refused.
    pub queue_drops: u64,
    /// Packets the wire lost.
    pub wire_losses: u64,
    /// Copies the wire made.
    pub duplicates: u64,
    /// Packets held back so that others overtake them.
    pub held_back: u64,
}

/// One direction of a path, from a seed.
#[derive(Debug, Clone)]
pub struct Link {
    config: LinkConfig,
    /// When the bottleneck has sent everything that it accepted.
    free_at: Duration,
    /// The latest arrival so far of packets that may not overtake each other.
    last_arrival: Duration,
    loss: LossProcess,
    // A generator each, so that a change of one property leaves the others' draws as they were.
    jitter: Random,
    reorder: Random,
    duplicate: Random,
    strays: Random,
    stats: Stats,
}

impl Link {
    /// Links of one config and seed behave alike.
    #[must_use]
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            loss: LossProcess::new(config.loss, random.split()),
            jitter: random.split(),
            reorder: random.split(),
            duplicate: random.split(),
            strays: random.split(),
            config,
            free_at: Duration::ZERO,
            last_arrival: Duration::ZERO,
            stats: Stats::default(),
        }
    }

    /// Sends `bytes`, headers of every layer that the capacity counts included. `now` never goes back.
    pub fn send(&mut self, now: Duration, bytes: usize) -> Arrivals {
        let bytes = bytes as u64;
        self.stats.packets += 1;
        self.stats.bytes += bytes;
        let Some(left) = self.pass_bottleneck(now, bytes) else {
            self.stats.queue_drops += 1;
            return Arrivals::dropped(Drop::Queue);
        };
        let detour = self.detour(left);
        let lost = self.loss.next();
        if lost || detour.is_some_and(|detour| self.strays.chance(detour.loss)) {
            self.stats.wire_losses += 1;
            return Arrivals::dropped(Drop::Wire);
        }
        let first = self.cross_wire(left);
        let twice = self.duplicate.chance(self.config.duplicate);
        let duplicate = twice.then(|| {
            self.stats.duplicates += 1;
            self.cross_wire(left).max(first)
        });
        Arrivals {
            first: Ok(first),
            duplicate,
        }
    }

    /// When the last bit leaves the bottleneck; `None` if the queue refuses the packet.
    fn pass_bottleneck(&mut self, now: Duration, bytes: u64) -> Option<Duration> {
        let Some(rate) = &self.config.rate else {
            return Some(now);
        };
        let start = self.free_at.max(now);
        let fits = match self.config.queue {
            Queue::Unbounded => true,
            Queue::Bytes(most) => self.backlog(now) + bytes <= most,
            Queue::Delay(most) => start - now <= most,
        };
        if !fits {
            return None;
        }
        let left = rate.drained(start, bytes.saturating_mul(8))?;
        self.free_at = left;
        Some(left)
    }

    /// The detour, if what leaves the bottleneck at that time takes it.
    fn detour(&self, left: Duration) -> Option<Detour> {
        self.config.detour.filter(|detour| left >= detour.at)
    }

    fn cross_wire(&mut self, left: Duration) -> Duration {
        let config = &self.config;
        let deviations = self.jitter.normal().abs().min(4.0);
        let route = config.delay + self.detour(left).map_or(Duration::ZERO, |detour| detour.more);
        let arrival = left + route + config.jitter.mul_f64(deviations);
        if self.reorder.chance(config.reorder) {
            self.stats.held_back += 1;
            return arrival + config.held_back.mul_f64(self.reorder.unit());
        }
        if config.jitter_reorders {
            return arrival;
        }
        self.last_arrival = self.last_arrival.max(arrival);
        self.last_arrival
    }

    /// Bytes that wait or are being sent at `now`.
    #[must_use]
    pub fn backlog(&self, now: Duration) -> u64 {
        let rate = self.config.rate.as_ref();
        rate.map_or(0, |rate| rate.carried(now, self.free_at).div_ceil(8))
    }

    /// How long a packet sent `now` would wait before it begins to leave.
    #[must_use]
    pub const fn queueing_delay(&self, now: Duration) -> Duration {
        self.free_at.saturating_sub(now)
    }

    /// From `now` on another capacity, in bit/s. What waits keeps the place it was given.
    pub fn set_rate(&mut self, now: Duration, bits_per_second: u64) {
        match &mut self.config.rate {
            Some(rate) => rate.set(now, bits_per_second),
            None => self.config.rate = Some(Rate::constant(bits_per_second)),
        }
    }

    /// From now on other losses.
    pub fn set_loss(&mut self, loss: Loss) {
        self.config.loss = loss;
        self.loss.set(loss);
    }

    /// From now on everything is as in `config`. What waits keeps the place it was given, and nothing
    /// overtakes it that may not.
    pub fn set_config(&mut self, config: LinkConfig) {
        self.loss.set(config.loss);
        self.config = config;
    }

    /// How the path is now.
    #[must_use]
    pub const fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// What it has done so far.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }
}

/// Milliseconds, with a fraction if there is one.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let millis = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(millis / 1000.0).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests;
