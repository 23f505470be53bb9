//! How long a slot that was given less is given no more.
//!
//! A path that has just failed to carry something will fail again, and estimates that know nothing of each other
//! find the same room. So what was given and had to be taken back soon is tried again later each time: people mind
//! flapping more than a small picture.

use std::time::Duration;

use crate::time::Time;

/// What a slot was given more and loses within this time, it should not have been given.
const FAILS_WITHIN: Duration = Duration::from_secs(20);

/// How often the time doubles for which it is given no more then.
const FAILED_MAX: u32 = 2;

/// Whether a slot may rise.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hold {
    until: Time,
    /// When it was given less.
    since: Time,
    /// When it was given more.
    risen_at: Time,
    /// How often in a row what it was given more was taken back soon.
    failed: u32,
}

impl Hold {
    /// It was given more.
    pub(super) fn on_rise(&mut self, now: Time) {
        self.risen_at = now;
    }

    /// It was given less: it is given no more for this time, or for longer after rises that failed.
    pub(super) fn on_fall(&mut self, now: Time, duration: Duration) {
        // Another fall after the same rise tells nothing new.
        if self.risen_at > self.since {
            let failed = now.since(self.risen_at) < FAILS_WITHIN;
            self.failed = if failed {
                (self.failed + 1).min(FAILED_MAX)
            } else {
                0
            };
        }
        self.until = now + duration * (1 << self.failed);
        self.since = now;
    }

    pub(super) fn is_held(&self, now: Time) -> bool {
        now < self.until
    }

    /// What it was given less for since then is no more.
    pub(super) fn release(&mut self, since: Time) {
        if self.since >= since {
            self.until = Time::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIGHT: Duration = Duration::from_secs(8);

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    /// Seconds for which it is held after a fall.
    fn falls(hold: &mut Hold, now: u64) -> u64 {
        hold.on_fall(at(now), EIGHT);
        (0..100)
            .find(|after| !hold.is_held(at(now + after)))
            .expect("an end")
    }

    #[test]
    fn rises_that_fail_are_tried_again_later_each_time() {
        let mut hold = Hold::default();
        assert_eq!(falls(&mut hold, 100), 8, "the path has changed");
        for (risen, held) in [(110, 16), (130, 32), (170, 32)] {
            hold.on_rise(at(risen));
            assert_eq!(falls(&mut hold, risen + 3), held);
        }
        hold.on_rise(at(300));
        assert_eq!(falls(&mut hold, 330), 8, "the rise was right");
    }

    #[test]
    fn one_rise_fails_once() {
        let mut hold = Hold::default();
        hold.on_rise(at(100));
        assert_eq!(falls(&mut hold, 103), 16);
        assert_eq!(falls(&mut hold, 104), 16);
    }

    #[test]
    fn a_fall_for_another_reason_is_undone() {
        let mut hold = Hold::default();
        hold.on_fall(at(100), EIGHT);
        hold.release(at(101));
        assert!(hold.is_held(at(102)), "it was before that");
        hold.release(at(99));
        assert!(!hold.is_held(at(102)));
    }
}
