//! Bursts of packets, and how their spacing changed on the way (draft-ietf-rmcat-gcc-02 section 5.2).
//!
//! Packets that left together are one group, for the delay between them is the sender's and the
//! link's own; so are packets that the path held back and let go at once. What counts is whether the
//! groups arrive further apart than they were sent.

use crate::time::Time;

/// Microseconds within which packets left together.
const BURST: i64 = 5_000;

/// Microseconds between arrivals that were let go at once, and the longest such group.
const RELEASE_GAP: i64 = 5_000;
const RELEASE_MAX: i64 = 100_000;

/// A change of delay by more microseconds than this between two groups is the receiver's clock jumping,
/// or a sender that had stopped.
const JUMP: i64 = 3_000_000;

/// A sender's pause of so many microseconds ends what was known of the trend.
const PAUSE: i64 = 2_000_000;

/// So many groups in a row that arrive before the one sent earlier are no reordering: the clock
/// jumped back.
const BACKWARDS_MAX: u8 = 3;

/// What two groups, one after the other, tell; microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Between their last packets.
    Delta {
        /// Time between sending them.
        sent: i64,
        /// Time between their arrivals, never negative.
        arrived: i64,
    },
    /// What came before belongs to another time.
    Restart,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    first_sent: i64,
    last_sent: i64,
    first_arrival: i64,
    last_arrival: i64,
}

impl Group {
    fn takes(&self, sent: i64, arrival: i64) -> bool {
        if sent - self.first_sent <= BURST {
            return true;
        }
        let arrived = arrival.saturating_sub(self.last_arrival);
        let shrinks = arrived < sent - self.last_sent;
        shrinks
            && (0..=RELEASE_GAP).contains(&arrived)
            && arrival.saturating_sub(self.first_arrival) < RELEASE_MAX
    }
}

/// The two last groups.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Groups {
    previous: Option<Group>,
    current: Option<Group>,
    backwards: u8,
}

impl Groups {
    /// Takes an acknowledged packet, in the order of sending; `arrival` in microseconds of the
    /// receiver's clock. A packet from before the current group tells nothing any more.
    pub(super) fn on_acked(&mut self, sent_at: Time, arrival: i64) -> Option<Step> {
        let sent = i64::try_from(sent_at.as_nanos() / 1000).unwrap_or(i64::MAX);
        let fresh = Group {
            first_sent: sent,
            last_sent: sent,
            first_arrival: arrival,
            last_arrival: arrival,
        };
        let Some(group) = &mut self.current else {
            self.current = Some(fresh);
            return None;
        };
        if sent < group.first_sent {
            return None;
        }
        if sent - group.last_sent > PAUSE {
            *self = Self {
                current: Some(fresh),
                ..Self::default()
            };
            return Some(Step::Restart);
        }
        if group.takes(sent, arrival) {
            group.last_sent = group.last_sent.max(sent);
            group.last_arrival = group.last_arrival.max(arrival);
            return None;
        }
        let ended = *group;
        self.current = Some(fresh);
        let Some(previous) = self.previous else {
            self.previous = Some(ended);
            return None;
        };
        let step = self.compare(&previous, &ended)?;
        self.previous = Some(ended);
        Some(step)
    }

    /// `None`: the group overtook the one before, which then stays the one to compare with.
    fn compare(&mut self, previous: &Group, ended: &Group) -> Option<Step> {
        let sent = ended.last_sent - previous.last_sent;
        let arrived = ended.last_arrival.saturating_sub(previous.last_arrival);
        if arrived.saturating_sub(sent).saturating_abs() > JUMP {
            self.backwards = 0;
            return Some(Step::Restart);
        }
        if arrived < 0 {
            self.backwards += 1;
            if self.backwards < BACKWARDS_MAX {
                return None;
            }
            self.backwards = 0;
            return Some(Step::Restart);
        }
        self.backwards = 0;
        Some(Step::Delta { sent, arrived })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a list of (sent, arrived) in milliseconds yields.
    fn steps(packets: &[(u64, i64)]) -> Vec<Step> {
        let mut groups = Groups::default();
        packets
            .iter()
            .filter_map(|&(sent, arrived)| groups.on_acked(Time::from_millis(sent), arrived * 1000))
            .collect()
    }

    fn delta(sent: i64, arrived: i64) -> Step {
        Step::Delta {
            sent: sent * 1000,
            arrived: arrived * 1000,
        }
    }

    #[test]
    fn what_leaves_together_is_one_group() {
        let packets = [(0, 100), (3, 104), (5, 106), (20, 120), (40, 150), (60, 160)];
        assert_eq!(steps(&packets), [delta(15, 14), delta(20, 30)]);
    }

    #[test]
    fn what_is_let_go_at_once_is_one_group() {
        // Held until 200, then all together; the last comes by itself.
        let packets = [
            (0, 100),
            (20, 120),
            (40, 200),
            (60, 201),
            (80, 202),
            (100, 220),
            (120, 240),
        ];
        assert_eq!(steps(&packets), [delta(20, 20), delta(60, 82), delta(20, 18)]);
    }

    #[test]
    fn a_group_that_overtakes_is_left_out() {
        let packets = [(0, 100), (20, 150), (40, 140), (60, 160), (80, 180)];
        assert_eq!(steps(&packets), [delta(20, 50), delta(40, 10)]);
    }

    #[test]
    fn clocks_that_jump_begin_anew() {
        let forward = [
            (0, 100),
            (20, 120),
            (40, 9_000_000),
            (60, 9_000_020),
            (80, 9_000_040),
        ];
        assert_eq!(steps(&forward), [delta(20, 20), Step::Restart, delta(20, 20)]);
        let back = [
            (0, 2000),
            (20, 2020),
            (40, 500),
            (60, 520),
            (80, 540),
            (100, 560),
            (120, 580),
            (140, 600),
        ];
        assert_eq!(
            steps(&back),
            [delta(20, 20), Step::Restart, delta(20, 20), delta(20, 20)],
            "after three groups"
        );
    }

    #[test]
    fn a_pause_begins_anew() {
        let packets = [(0, 100), (20, 120), (3000, 3500), (3020, 3520), (3040, 3540)];
        assert_eq!(steps(&packets), [Step::Restart, delta(20, 20)]);
    }
}
