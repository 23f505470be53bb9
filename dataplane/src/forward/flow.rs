//! Whether a layer flows, and how much of it: what the choice between layers rests on.

use std::time::Duration;

use crate::time::Time;

/// Length of one measuring window. A second evens out key frames well enough to tell layers apart,
/// whose rates differ by a factor of two or more.
const WINDOW: Duration = Duration::from_secs(1);

/// A layer without packets for so long counts as gone. Screen shares of still pictures pause for
/// about a second, so this is longer.
pub const STARVED_AFTER: Duration = Duration::from_secs(2);

/// A layer must carry this much more than the current one, in percent, to be called better: rates
/// of one layer wander, layers of one track are far apart.
const BETTER_PERCENT: u64 = 130;

/// Bytes over time of one layer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flow {
    window_start: Option<Time>,
    window_bytes: u64,
    bytes_per_second: u64,
    last_packet: Option<Time>,
}

impl Flow {
    /// Accounts one packet of `bytes`.
    pub fn on_packet(&mut self, now: Time, bytes: usize) {
        self.last_packet = Some(now);
        let start = *self.window_start.get_or_insert(now);
        let elapsed = now.since(start);
        if elapsed >= WINDOW {
            let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX).max(1);
            self.bytes_per_second = self.window_bytes.saturating_mul(1_000_000_000) / nanos;
            self.window_start = Some(now);
            self.window_bytes = 0;
        }
        self.window_bytes += bytes as u64;
    }

    /// Whether packets still come.
    #[must_use]
    pub fn flows(&self, now: Time) -> bool {
        self.last_packet
            .is_some_and(|last| now.since(last) < STARVED_AFTER)
    }

    /// The measured rate in bytes per second; in the first second what has come so far.
    #[must_use]
    pub fn rate(&self) -> u64 {
        if self.bytes_per_second == 0 {
            self.window_bytes
        } else {
            self.bytes_per_second
        }
    }
}

/// The layer to take: the one with the highest rate among those that flow, the current one unless
/// another is clearly better. `None` only when there is no layer at all.
#[must_use]
pub fn best_layer<'a>(now: Time, current: Option<u8>, flows: impl Iterator<Item = &'a Flow>) -> Option<u8> {
    let mut best: Option<(u8, u64)> = None;
    let mut held: Option<u64> = None;
    for (index, flow) in flows.enumerate() {
        let index = index as u8;
        if !flow.flows(now) {
            continue;
        }
        if current == Some(index) {
            held = Some(flow.rate());
        }
        if best.is_none_or(|(_, rate)| flow.rate() > rate) {
            best = Some((index, flow.rate()));
        }
    }
    match (best, held) {
        (Some((_, rate)), Some(held)) if rate * 100 < held * BETTER_PERCENT => current,
        (Some((index, _)), _) => Some(index),
        (None, _) => current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(bytes_per_100ms: usize, until_ms: u64) -> Flow {
        let mut flow = Flow::default();
        for millis in (0..=until_ms).step_by(100) {
            flow.on_packet(Time::from_millis(millis), bytes_per_100ms);
        }
        flow
    }

    #[test]
    fn the_largest_flowing_layer_wins_and_is_kept_against_small_differences() {
        let now = Time::from_millis(3_000);
        let flows = [fed(1_000, 3_000), fed(4_000, 3_000), fed(4_400, 3_000)];
        assert_eq!(best_layer(now, None, flows.iter()), Some(2));
        assert_eq!(best_layer(now, Some(1), flows.iter()), Some(1));
        assert_eq!(best_layer(now, Some(0), flows.iter()), Some(2));
    }

    #[test]
    fn a_starved_layer_is_left() {
        let now = Time::from_millis(4_000);
        let flows = [fed(1_000, 4_000), fed(9_000, 1_500)];
        assert_eq!(best_layer(now, Some(1), flows.iter()), Some(0));
    }

    #[test]
    fn with_nothing_flowing_the_choice_stays() {
        let flows = [fed(1_000, 0)];
        assert_eq!(
            best_layer(Time::from_millis(9_000), Some(0), flows.iter()),
            Some(0)
        );
    }
}
