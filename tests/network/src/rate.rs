//! The capacity of a bottleneck over time: constant between the steps of a schedule.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Nanoseconds of a second, for bits that drain at bits a second.
const SECOND: u128 = 1_000_000_000;

/// Capacity in bit/s, piecewise constant. 0 is an outage: what waits, waits.
///
/// In a file: `rate_kbps = 1000`, or steps of second and kbit/s, `[[0, 1000], [20, 2500]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// Since when, and how much; sorted, and never empty.
    steps: Vec<(Duration, u64)>,
}

impl Rate {
    /// The same `bits_per_second` for ever.
    #[must_use]
    pub fn constant(bits_per_second: u64) -> Self {
        Self {
            steps: vec![(Duration::ZERO, bits_per_second)],
        }
    }

    /// From `at` on the capacity is `bits_per_second`; steps planned for later are forgotten.
    pub fn set(&mut self, at: Duration, bits_per_second: u64) {
        while self.steps.len() > 1 && self.steps.last().is_some_and(|(since, _)| *since >= at) {
            self.steps.pop();
        }
        if self.steps[0].0 >= at {
            self.steps[0].1 = bits_per_second;
        } else {
            self.steps.push((at, bits_per_second));
        }
    }

    /// Capacity in bit/s at `now`.
    #[must_use]
    pub fn at(&self, now: Duration) -> u64 {
        self.steps[self.index(now)].1
    }

    /// When the capacity changes next, after `now`.
    #[must_use]
    pub fn next_change(&self, now: Duration) -> Option<Duration> {
        self.steps.get(self.index(now) + 1).map(|(since, _)| *since)
    }

    /// The step in force at `now`; the first also covers what lies before it.
    fn index(&self, now: Duration) -> usize {
        self.steps.partition_point(|(since, _)| *since <= now).max(1) - 1
    }

    /// When `bits` that begin to leave at `start` have left; `None` in an outage without an end.
    #[must_use]
    pub fn drained(&self, start: Duration, bits: u64) -> Option<Duration> {
        // In bits times nanoseconds, so that nothing is rounded between the steps.
        let mut left = u128::from(bits) * SECOND;
        let mut from = start;
        for index in self.index(start).. {
            let (_, rate) = self.steps[index];
            let until = self.steps.get(index + 1).map(|(since, _)| *since);
            let carried = until.map(|until| u128::from(rate) * (until - from).as_nanos());
            match (until, carried) {
                (Some(until), Some(carried)) if carried < left => {
                    left -= carried;
                    from = until;
                }
                _ if rate == 0 => return None,
                _ => {
                    let nanos = left.div_ceil(u128::from(rate));
                    return Some(from + Duration::from_nanos(u64::try_from(nanos).ok()?));
                }
            }
        }
        None
    }

    /// Bits that can leave between two times.
    #[must_use]
    pub fn carried(&self, from: Duration, until: Duration) -> u64 {
        let mut total = 0;
        let mut at = from;
        while at < until {
            let end = self.next_change(at).map_or(until, |change| change.min(until));
            total += u128::from(self.at(at)) * (end - at).as_nanos();
            at = end;
        }
        u64::try_from(total / SECOND).unwrap_or(u64::MAX)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Constant(u64),
            Steps(Vec<(f64, u64)>),
        }
        let error = |text: &str| serde::de::Error::custom(text);
        let steps = match Written::deserialize(deserializer)? {
            Written::Constant(kbps) => vec![(0.0, kbps)],
            Written::Steps(steps) => steps,
        };
        let steps: Vec<(Duration, u64)> = steps
            .into_iter()
            .map(|(second, kbps)| {
                let since = Duration::try_from_secs_f64(second)
                    .map_err(|_| error("a step's second is not a time"))?;
                let rate = kbps
                    .checked_mul(1000)
                    .ok_or_else(|| error("a rate out of range"))?;
                Ok((since, rate))
            })
            .collect::<Result<_, D::Error>>()?;
        if steps.is_empty() || !steps.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(error("a rate needs steps in the order of their time"));
        }
        Ok(Self { steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn steps(list: &[(u64, u64)]) -> Rate {
        Rate {
            steps: list
                .iter()
                .map(|(since, rate)| (seconds(*since), *rate))
                .collect(),
        }
    }

    #[test]
    fn draining_crosses_steps_and_outages() {
        let rate = steps(&[(0, 1000), (10, 0), (20, 500)]);
        assert_eq!(rate.drained(seconds(0), 1000), Some(seconds(1)));
        // A second at 1000 bit/s, ten of nothing, two at 500 bit/s.
        assert_eq!(rate.drained(seconds(9), 2000), Some(seconds(22)));
        assert_eq!(rate.drained(seconds(12), 500), Some(seconds(21)));
        assert_eq!(rate.carried(seconds(9), seconds(22)), 2000);
        assert_eq!(steps(&[(0, 0)]).drained(seconds(0), 1), None);
    }

    #[test]
    fn a_step_replaces_what_was_planned_after_it() {
        let mut rate = steps(&[(0, 1000), (10, 2000)]);
        rate.set(seconds(5), 300);
        assert_eq!(rate, steps(&[(0, 1000), (5, 300)]));
        assert_eq!(rate.at(seconds(4)), 1000);
        assert_eq!(rate.at(seconds(5)), 300);
        assert_eq!(rate.next_change(seconds(1)), Some(seconds(5)));
        rate.set(seconds(0), 7);
        assert_eq!(rate, Rate::constant(7));
    }
}
