//! A peer that stops giving feedback while it is sent to: the way back is dead, or both are.

use std::time::Duration;

use crate::time::Time;

/// How long feedback is waited for, at least; and in round trips.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_RTTS: u32 = 4;

/// The same for a peer that only sends reports: those come each second or every few.
const PATIENCE_REPORTS: Duration = Duration::from_secs(5);

/// Time between the steps after it.
const STEP: Duration = Duration::from_secs(1);

/// Packets that have to be unanswered; a sender that rests after a lost packet isn't answered either.
const PACKETS: u32 = 10;

/// Feedback that is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence {
    /// Packets since the last feedback or step, and when the last of them left.
    packets: u32,
    last_sent: Time,
    deadline: Time,
    fallen: bool,
}

impl Silence {
    /// Nothing is waited for.
    pub(super) fn new() -> Self {
        Self {
            packets: 0,
            last_sent: Time::ZERO,
            deadline: Time::FAR_FUTURE,
            fallen: false,
        }
    }

    /// Notes a packet. `frequent`: the peer gives feedback several times a second.
    pub(super) fn on_sent(&mut self, now: Time, frequent: bool, rtt: Option<Duration>) {
        if self.deadline == Time::FAR_FUTURE {
            let patience = if frequent { PATIENCE } else { PATIENCE_REPORTS };
            self.deadline = now + patience.max(rtt.unwrap_or_default() * PATIENCE_RTTS);
        }
        self.packets = self.packets.saturating_add(1);
        self.last_sent = now;
    }

    /// Notes feedback of any kind; true if it ends a silence that the rate fell for.
    pub(super) fn on_feedback(&mut self) -> bool {
        std::mem::replace(self, Self::new()).fallen
    }

    /// Whether the rate must be halved now.
    pub(super) fn handle_timeout(&mut self, now: Time) -> bool {
        if now < self.deadline {
            return false;
        }
        let sending = self.packets >= PACKETS && now.since(self.last_sent) < STEP / 2;
        self.packets = 0;
        self.deadline = if sending { now + STEP } else { Time::FAR_FUTURE };
        self.fallen |= sending;
        sending
    }

    /// Whether feedback is missing.
    pub(super) fn is_dead(&self) -> bool {
        self.fallen
    }

    /// When it must be there.
    pub(super) fn poll_deadline(&self) -> Time {
        self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    /// Sends every 20 ms and gives the times of the steps.
    fn send(silence: &mut Silence, from: u64, to: u64) -> Vec<u64> {
        let mut steps = Vec::new();
        for millis in (from..to).step_by(20) {
            if silence.poll_deadline() <= at(millis) && silence.handle_timeout(at(millis)) {
                steps.push(millis);
            }
            silence.on_sent(at(millis), true, Some(Duration::from_millis(100)));
        }
        steps
    }

    #[test]
    fn a_step_each_second_until_feedback() {
        let mut silence = Silence::new();
        assert_eq!(send(&mut silence, 0, 3500), [1000, 2000, 3000]);
        assert!(silence.is_dead());
        assert!(silence.on_feedback());
        assert!(!silence.is_dead());
        assert!(send(&mut silence, 3500, 4500).is_empty());
        assert!(!silence.on_feedback());
    }

    #[test]
    fn long_paths_get_more_patience() {
        let mut silence = Silence::new();
        silence.on_sent(at(0), true, Some(Duration::from_millis(600)));
        assert_eq!(silence.poll_deadline(), at(2400));
    }

    #[test]
    fn who_rests_is_not_answered() {
        let mut silence = Silence::new();
        assert!(send(&mut silence, 0, 400).is_empty());
        assert!(!silence.handle_timeout(at(1000)));
        assert_eq!(silence.poll_deadline(), Time::FAR_FUTURE);
        // Nor is a trickle taken for silence.
        silence.on_sent(at(5000), true, None);
        assert!(!silence.handle_timeout(at(6000)));
    }
}
