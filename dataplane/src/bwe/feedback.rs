//! Reads transport-wide feedback against what was sent: what came, when, and what is lost for good.
//!
//! A message may repeat an older one, come late or out of order, speak of numbers that were never sent,
//! or be missing itself. A packet counts once. It is lost when a later message still doesn't name it, or none
//! came in time; what was only in a message that went missing is neither.

use std::ops::Range;
use std::time::Duration;

use super::history::{Fate, History, PACKETS_MAX};
use crate::time::Time;
use crate::wire::rtcp::Twcc;
use crate::wire::rtcp::twcc::{REFERENCE_TICKS, TICK_MICROS};

/// How long a later message is waited for before what is missing counts as lost.
const SETTLE_AFTER: Duration = Duration::from_millis(500);

/// Ticks after which the reference time of 24 bits comes round.
const CYCLE: i64 = 1 << 32;

/// A packet that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acked {
    pub(super) number: u64,
    pub(super) sent_at: Time,
    /// Microseconds of the receiver's clock.
    pub(super) arrival: i64,
    /// With headers.
    pub(super) bytes: u64,
    /// All that was sent up to this packet, whatever became of it; wraps.
    pub(super) total: u32,
    /// A message before this one is missing, and with it what came between this packet and the one
    /// handed out before.
    pub(super) after_gap: bool,
}

/// A packet whose fate is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) number: u64,
    pub(super) sent_at: Time,
    /// With headers.
    pub(super) bytes: u64,
    pub(super) lost: bool,
    pub(super) probe: bool,
}

/// What was told so far.
#[derive(Debug)]
pub(super) struct Reader {
    /// Above the highest number a message covered.
    told: u64,
    /// The same before the last message: what it left missing below this is lost.
    told_before: u64,
    /// Below this every fate is final.
    settled: u64,
    /// The highest arrival in ticks: what the next reference time is near to.
    clock: Option<i64>,
    /// Number of the newest message, to see whether one is missing.
    count: Option<u8>,
    settle_at: Time,
    /// Packets that the last message was the first to miss.
    missing: u32,
}

impl Reader {
    /// Begins with the next packet of `history`.
    pub(super) fn new(history: &History) -> Self {
        Self {
            told: history.next(),
            told_before: history.next(),
            settled: history.next(),
            clock: None,
            count: None,
            settle_at: Time::FAR_FUTURE,
            missing: 0,
        }
    }

    /// Packets that the last message was the first to miss; they may come yet.
    pub(super) fn missing(&self) -> u32 {
        self.missing
    }

    /// Above the highest number that was spoken of.
    pub(super) fn told(&self) -> u64 {
        self.told
    }

    /// Reads a message and hands out, in the order of sending, the packets that it first tells have
    /// come. False if it told nothing new: then nothing at all has changed.
    pub(super) fn read(
        &mut self,
        now: Time,
        history: &mut History,
        twcc: &Twcc<'_>,
        mut on_acked: impl FnMut(Acked),
    ) -> bool {
        self.missing = 0;
        let first = history.nearest(twcc.base_sequence());
        // Statuses before what is remembered have to be walked over for their deltas' sake; an honest peer's
        // are few.
        if first >= history.next() || first.saturating_add(PACKETS_MAX as u64) < history.oldest() {
            return false;
        }
        let offset = self.offset(twcc.reference_time());
        let step = self.step(twcc.feedback_count());
        let mut after_gap = (2..128).contains(&step);
        let mut highest = self.clock;
        let mut news = false;
        let mut number = first;
        for (_, arrival) in twcc.arrivals() {
            if number >= history.next() {
                break;
            }
            if let Some(sent) = history.get_mut(number) {
                match (arrival, sent.fate) {
                    (_, Fate::Received) | (None, Fate::Missing | Fate::Lost) => {}
                    (None, Fate::InFlight | Fate::Unknown) => {
                        sent.fate = Fate::Missing;
                        self.missing += 1;
                        news = true;
                    }
                    (Some(ticks), _) => {
                        sent.fate = Fate::Received;
                        news = true;
                        let ticks = ticks.saturating_add(offset);
                        highest = Some(highest.map_or(ticks, |highest| highest.max(ticks)));
                        on_acked(Acked {
                            number,
                            sent_at: sent.at,
                            arrival: ticks.saturating_mul(TICK_MICROS.cast_signed()),
                            bytes: u64::from(sent.bytes),
                            total: sent.total,
                            after_gap: std::mem::take(&mut after_gap),
                        });
                    }
                }
            }
            number += 1;
        }
        if news {
            self.clock = highest;
            // Of numbers further on it is newer, whatever its own wrapped to.
            if (1..128).contains(&step) || number > self.told {
                self.count = Some(twcc.feedback_count());
            }
            self.advance(now, history, step == 1, first..number);
        }
        news
    }

    /// How many messages further this one is; half a cycle or more is an older one.
    fn step(&self, count: u8) -> u8 {
        self.count.map_or(1, |last| count.wrapping_sub(last))
    }

    fn advance(&mut self, now: Time, history: &mut History, consecutive: bool, told: Range<u64>) {
        if consecutive {
            // What it skipped did not come, for no message is missing in between.
            for number in self.told.max(history.oldest())..told.start {
                if let Some(sent) = history.get_mut(number)
                    && sent.fate == Fate::InFlight
                {
                    sent.fate = Fate::Missing;
                    self.missing += 1;
                }
            }
        }
        self.told_before = self.told;
        self.told = self.told.max(told.end);
        self.settle_at = now + SETTLE_AFTER;
    }

    /// Hands out, in the order of sending, the packets whose fate has become final.
    pub(super) fn settle(&mut self, now: Time, history: &mut History, mut on_settled: impl FnMut(Settled)) {
        let end = if now >= self.settle_at {
            self.settle_at = Time::FAR_FUTURE;
            self.told
        } else {
            self.told_before
        };
        for number in self.settled.max(history.oldest())..end {
            let Some(sent) = history.get_mut(number) else {
                continue;
            };
            match sent.fate {
                Fate::Missing => sent.fate = Fate::Lost,
                Fate::InFlight => sent.fate = Fate::Unknown,
                Fate::Received | Fate::Lost | Fate::Unknown => {}
            }
            if sent.fate != Fate::Unknown {
                on_settled(Settled {
                    number,
                    sent_at: sent.at,
                    bytes: u64::from(sent.bytes),
                    lost: sent.fate == Fate::Lost,
                    probe: sent.probe,
                });
            }
        }
        self.settled = self.settled.max(end);
        if self.settled >= self.told {
            self.settle_at = Time::FAR_FUTURE;
        }
    }

    /// When what is missing becomes final without another message.
    pub(super) fn poll_deadline(&self) -> Time {
        self.settle_at
    }

    /// What to add to a message's arrivals so that its reference time, which wraps, continues the
    /// clock.
    fn offset(&self, reference_time: i32) -> i64 {
        let Some(clock) = self.clock else {
            return 0;
        };
        let distance = clock.saturating_sub(i64::from(reference_time) * REFERENCE_TICKS);
        // To the nearest cycle.
        distance.saturating_add(CYCLE / 2).div_euclid(CYCLE) * CYCLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtcp::{Rtcp, packets, twcc};

    struct World {
        history: History,
        reader: Reader,
        first: u64,
        now: Time,
    }

    impl World {
        /// So many packets were sent, a millisecond apart.
        fn new(count: u64) -> Self {
            let mut history = History::new();
            let reader = Reader::new(&history);
            let first = history.next();
            for millis in 0..count {
                history.push(Time::from_millis(millis), 100, false);
            }
            Self {
                history,
                reader,
                first,
                now: Time::from_millis(count),
            }
        }

        /// A message over the packets from `base` on; gives what it newly acknowledged, as (index, ticks).
        fn feed(&mut self, count: u8, base: u64, arrivals: &[Option<u64>]) -> Vec<(u64, i64)> {
            let mut buf = [0; 1200];
            let header = twcc::Feedback {
                sender_ssrc: 1,
                media_ssrc: 2,
                base_sequence: (self.first + base) as u16,
                feedback_count: count,
            };
            let written = twcc::write(&mut buf, &header, arrivals).unwrap();
            assert_eq!(written.statuses, arrivals.len());
            let Some(Ok(Rtcp::Twcc(twcc))) = packets(&buf[..written.len]).next() else {
                panic!("not feedback");
            };
            let mut acked = Vec::new();
            let first = self.first;
            let news = self.reader.read(self.now, &mut self.history, &twcc, |packet| {
                acked.push((packet.number - first, packet.arrival / 250));
            });
            assert!(news || acked.is_empty());
            acked
        }

        /// What is settled now, as (index, lost).
        fn settle(&mut self) -> Vec<(u64, bool)> {
            let mut settled = Vec::new();
            let first = self.first;
            self.reader.settle(self.now, &mut self.history, |packet| {
                settled.push((packet.number - first, packet.lost));
            });
            settled
        }
    }

    #[test]
    fn each_packet_counts_once() {
        let mut world = World::new(10);
        let arrivals = [Some(400), Some(404), Some(408)];
        assert_eq!(world.feed(0, 0, &arrivals), [(0, 400), (1, 404), (2, 408)]);
        assert_eq!(world.feed(0, 0, &arrivals), []);
        assert_eq!(world.feed(1, 2, &[Some(408), Some(420)]), [(3, 420)]);
    }

    #[test]
    fn a_loss_is_final_with_the_next_message() {
        let mut world = World::new(10);
        world.feed(0, 0, &[Some(400), None, None, Some(408)]);
        assert_eq!(world.settle(), []);
        // The second comes after all.
        assert_eq!(
            world.feed(1, 1, &[Some(410), None, Some(408), Some(420)]),
            [(1, 410), (4, 420)]
        );
        assert_eq!(world.settle(), [(0, false), (1, false), (2, true), (3, false)]);
        // A lost packet that comes much later is news, but no longer counted.
        assert_eq!(world.feed(2, 2, &[Some(500)]), [(2, 500)]);
        assert_eq!(world.settle(), [(4, false)]);
    }

    #[test]
    fn a_loss_is_final_after_half_a_second() {
        let mut world = World::new(10);
        world.feed(0, 0, &[Some(400), None, Some(408)]);
        assert_eq!(world.reader.poll_deadline(), world.now + SETTLE_AFTER);
        world.now += SETTLE_AFTER;
        assert_eq!(world.settle(), [(0, false), (1, true), (2, false)]);
        assert_eq!(world.reader.poll_deadline(), Time::FAR_FUTURE);
    }

    #[test]
    fn what_a_missing_message_would_have_told_is_not_lost() {
        let mut world = World::new(20);
        world.feed(7, 0, &[Some(400)]);
        world.feed(9, 5, &[Some(420)]);
        world.feed(10, 6, &[Some(421)]);
        assert_eq!(world.settle(), [(0, false), (5, false)]);
        // The missing one was only late.
        assert_eq!(world.feed(8, 1, &[Some(404); 4]).len(), 4);
    }

    #[test]
    fn what_consecutive_messages_skip_is_lost() {
        let mut world = World::new(20);
        world.feed(255, 0, &[Some(400)]);
        world.feed(0, 3, &[Some(420)]);
        world.feed(1, 4, &[Some(421)]);
        assert_eq!(world.settle(), [(0, false), (1, true), (2, true), (3, false)]);
    }

    #[test]
    fn numbers_that_were_never_sent_are_nobody() {
        let mut world = World::new(5);
        assert_eq!(world.feed(0, 5, &[Some(400); 50]), []);
        assert_eq!(world.feed(0, 40_000, &[Some(400); 50]), []);
        assert_eq!(world.reader.poll_deadline(), Time::FAR_FUTURE);
        assert_eq!(world.feed(0, 3, &[Some(400); 50]).len(), 2);
    }

    #[test]
    fn the_reference_time_wraps() {
        let mut world = World::new(5);
        let last = (1 << 31) - 2;
        assert_eq!(world.feed(0, 0, &[Some(last)]), [(0, last as i64)]);
        // The message has 24 bits of 256 ticks, signed.
        assert_eq!(world.feed(1, 1, &[Some(last + 300)]), [(1, last as i64 + 300)]);
        assert_eq!(world.feed(2, 2, &[Some(last + 10)]), [(2, last as i64 + 10)]);
    }
}
