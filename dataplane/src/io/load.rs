//! How late a core is and what it does with its time, turn by turn.

use std::time::Duration;

use crate::shard::overload::Load;
use crate::time::Time;

/// Measures the turns of one core.
#[derive(Debug)]
pub(super) struct LoadMeter {
    /// When the turn before ended.
    ended: Time,
    slept: Duration,
    /// The longest wait of a datagram of this turn.
    waited: Duration,
    /// Since when there has always been something left over. What is sent late or stays in the socket is seen here:
    /// datagrams that are taken while others are sent have not waited long.
    behind_since: Option<Time>,
}

impl LoadMeter {
    /// For a core whose first turn follows.
    #[must_use]
    pub(super) fn new(now: Time) -> Self {
        Self {
            ended: now,
            slept: Duration::ZERO,
            waited: Duration::ZERO,
            behind_since: None,
        }
    }

    /// A turn begins; `slept`: the core had nothing to do since the one before.
    pub(super) fn begin(&mut self, now: Time, slept: bool) {
        self.slept = if slept {
            now.since(self.ended)
        } else {
            Duration::ZERO
        };
        self.waited = Duration::ZERO;
    }

    /// A datagram that came at `received` is looked at.
    pub(super) fn took(&mut self, now: Time, received: Time) {
        self.waited = self.waited.max(now.since(received));
    }

    /// The turn ends; so long it was sending, and after that busy with handshakes; `dry`: nothing is left over.
    pub(super) fn end(&mut self, now: Time, sending: Duration, handshakes: Duration, dry: bool) -> Load {
        self.behind_since = if dry {
            None
        } else {
            Some(self.behind_since.unwrap_or(self.ended + self.slept))
        };
        let behind = self.behind_since.map_or(Duration::ZERO, |since| now.since(since));
        self.ended = now;
        Load {
            delay: self.waited.max(behind),
            slept: self.slept,
            sending,
            handshakes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn the_oldest_datagram_tells_the_delay_and_only_of_its_turn() {
        let mut meter = LoadMeter::new(at(100));
        meter.begin(at(110), true);
        meter.took(at(110), at(108));
        meter.took(at(110), at(103));
        let load = meter.end(at(112), ms(1), ms(0), true);
        assert_eq!((load.delay, load.slept, load.sending), (ms(7), ms(10), ms(1)));
        meter.begin(at(113), false);
        assert_eq!(meter.end(at(114), ms(1), ms(0), true).delay, Duration::ZERO);
    }

    #[test]
    fn a_core_that_never_runs_dry_is_later_with_every_turn() {
        let mut meter = LoadMeter::new(at(100));
        meter.begin(at(110), true);
        assert_eq!(meter.end(at(130), ms(9), ms(0), false).delay, ms(20));
        meter.begin(at(130), false);
        assert_eq!(meter.end(at(150), ms(9), ms(0), false).delay, ms(40));
        meter.begin(at(150), false);
        assert_eq!(meter.end(at(160), ms(9), ms(0), true).delay, Duration::ZERO);
        meter.begin(at(160), false);
        assert_eq!(meter.end(at(170), ms(9), ms(0), false).delay, ms(10));
    }
}
