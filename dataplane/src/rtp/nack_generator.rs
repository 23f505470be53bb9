//! Asks a publisher for packets that were lost on the way to us (RFC 4585 section 6.2.1).
//!
//! Owns the list of missing numbers of one inbound stream. It asks once for all subscribers: the
//! only source is our own gap detection, never a subscriber's NACK. It doesn't write the message.

use std::time::Duration;

use kall_shared::media::Kind;

use crate::time::Time;

/// Wait before the first request: most reordering is repaired within it, and losses of one burst
/// then share a message.
pub const FIRST_DELAY: Duration = Duration::from_millis(5);

/// Least time between two requests for one packet; the round trip if that is longer.
pub const RETRY_MIN: Duration = Duration::from_millis(25);

/// Requests for one packet: at 5 % loss each way, six leave one in a million.
pub const TRIES_MAX: u8 = 6;

/// Numbers that may be missing at once. Beyond it a key frame is cheaper than the repair.
pub const WINDOW: usize = 512;

/// How far a packet may precede the one that came first and still be taken for the stream's start.
const START_MAX: usize = 64;

/// Age at which a lost video packet is given up: a decoder has asked for a key frame by then.
pub const VIDEO_AGE_MAX: Duration = Duration::from_secs(2);

/// Age at which a lost audio packet is given up: it has been concealed by then.
pub const AUDIO_AGE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
struct Missing {
    seq: u64,
    since: Time,
    due: Time,
    tries: u8,
}

/// What a packet meant for the list of missing ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// The next one, or one after a gap that is now on the list.
    Ok,
    /// It filled a hole.
    Filled,
    /// More is missing than can be asked for: the list is empty now, a key frame must be requested.
    KeyframeNeeded,
}

/// Missing packets of one inbound stream.
#[derive(Debug)]
pub struct NackGenerator {
    age_max: Duration,
    lowest: u64,
    highest: Option<u64>,
    /// In rising order of `seq`; never longer than [`WINDOW`].
    missing: Vec<Missing>,
    /// Earliest `due` of the list, or a bound below it.
    next: Time,
}

impl NackGenerator {
    /// For a stream of this kind of media; all memory is taken here.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            age_max: match kind {
                Kind::Audio => AUDIO_AGE_MAX,
                Kind::Video => VIDEO_AGE_MAX,
            },
            lowest: 0,
            highest: None,
            missing: Vec::with_capacity(WINDOW),
            next: Time::FAR_FUTURE,
        }
    }

    /// Notes an authenticated packet of the stream. `recovered`: it came as a retransmission, which
    /// fills holes but says nothing about what follows it.
    pub fn on_packet(&mut self, now: Time, seq: u64, recovered: bool) -> Noted {
        let Some(highest) = self.highest else {
            if !recovered {
                self.lowest = seq;
                self.highest = Some(seq);
            }
            return Noted::Ok;
        };
        if seq < self.lowest {
            self.begin_earlier(now, seq);
            return Noted::Ok;
        }
        if seq <= highest {
            return match self.missing.binary_search_by_key(&seq, |missing| missing.seq) {
                Ok(index) => {
                    self.missing.remove(index);
                    Noted::Filled
                }
                Err(_) => Noted::Ok,
            };
        }
        if recovered {
            // Only the sender's probing repeats packets that were never seen to be missing.
            return Noted::Ok;
        }
        self.highest = Some(seq);
        let gap = seq - highest - 1;
        if gap > (WINDOW - self.missing.len()) as u64 {
            self.clear();
            return Noted::KeyframeNeeded;
        }
        if gap > 0 {
            let due = now + FIRST_DELAY;
            self.missing.extend((highest + 1..seq).map(|seq| Missing {
                seq,
                since: now,
                due,
                tries: 0,
            }));
            self.next = self.next.min(due);
        }
        Noted::Ok
    }

    /// The stream began before what came first: reordering at its start, where a loss would leave the
    /// first key frame incomplete.
    fn begin_earlier(&mut self, now: Time, seq: u64) {
        let gap = self.lowest - seq - 1;
        if gap > (WINDOW - self.missing.len()).min(START_MAX) as u64 {
            return;
        }
        let due = now + FIRST_DELAY;
        for missing in (seq + 1..self.lowest).rev() {
            self.missing.insert(
                0,
                Missing {
                    seq: missing,
                    since: now,
                    due,
                    tries: 0,
                },
            );
            self.next = self.next.min(due);
        }
        self.lowest = seq;
    }

    /// A key frame begins at `seq`: nothing before it is needed any more.
    pub fn on_keyframe(&mut self, seq: u64) {
        let before = self.missing.partition_point(|missing| missing.seq < seq);
        self.missing.drain(..before);
    }

    /// Fills `out` with numbers to request now, oldest first, and gives back how many. `rtt` is the
    /// round trip to the publisher. Call again while `out` comes back full.
    pub fn poll(&mut self, now: Time, rtt: Duration, out: &mut [u16]) -> usize {
        if now < self.next {
            return 0;
        }
        let age_max = self.age_max;
        self.missing
            .retain(|missing| missing.tries < TRIES_MAX && now.since(missing.since) < age_max);
        let mut count = 0;
        self.next = Time::FAR_FUTURE;
        for missing in &mut self.missing {
            if missing.due <= now && count < out.len() {
                out[count] = missing.seq as u16;
                count += 1;
                missing.tries += 1;
                missing.due = now + rtt.max(RETRY_MIN);
            }
            self.next = self.next.min(missing.due);
        }
        count
    }

    /// When [`Self::poll`] has something to do next.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        if self.missing.is_empty() {
            Time::FAR_FUTURE
        } else {
            self.next
        }
    }

    /// How many packets are on the list.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// Gives up everything that is missing.
    pub fn clear(&mut self) {
        self.missing.clear();
        self.next = Time::FAR_FUTURE;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const RTT: Duration = Duration::from_millis(40);

    fn due(generator: &mut NackGenerator, now: u64) -> Vec<u16> {
        let mut out = [0; WINDOW];
        let count = generator.poll(Time::from_millis(now), RTT, &mut out);
        out[..count].to_vec()
    }

    #[test]
    fn reordering_within_the_first_delay_asks_nothing() {
        let mut generator = NackGenerator::new(Kind::Video);
        generator.on_packet(Time::from_millis(0), 100, false);
        generator.on_packet(Time::from_millis(1), 102, false);
        assert_eq!(generator.poll_deadline(), Time::from_millis(6));
        assert_eq!(
            generator.on_packet(Time::from_millis(4), 101, false),
            Noted::Filled
        );
        assert_eq!(generator.poll_deadline(), Time::FAR_FUTURE);
        assert!(due(&mut generator, 6).is_empty());
    }

    #[test]
    fn asks_once_a_round_trip_and_gives_up() {
        let mut generator = NackGenerator::new(Kind::Video);
        generator.on_packet(Time::from_millis(0), 65_534 + 65_536, false);
        generator.on_packet(Time::from_millis(0), 65_537 + 65_536, false);
        let mut asked = Vec::new();
        let mut now = generator.poll_deadline();
        while now < Time::FAR_FUTURE {
            let numbers = due(&mut generator, now.as_millis());
            if !numbers.is_empty() {
                assert_eq!(numbers, [65_535, 0]);
                asked.push(now.as_millis());
            }
            now = generator.poll_deadline();
        }
        assert_eq!(asked, [5, 45, 85, 125, 165, 205]);
        assert_eq!(generator.missing(), 0);
    }

    #[test]
    fn a_retransmission_fills_but_does_not_lead() {
        let mut generator = NackGenerator::new(Kind::Video);
        generator.on_packet(Time::ZERO, 10, false);
        assert_eq!(generator.on_packet(Time::ZERO, 20, true), Noted::Ok);
        assert_eq!(generator.missing(), 0);
        generator.on_packet(Time::ZERO, 12, false);
        assert_eq!(generator.on_packet(Time::ZERO, 11, true), Noted::Filled);
        assert_eq!(generator.missing(), 0);
    }

    #[test]
    fn a_start_in_disorder_is_still_a_start() {
        let mut generator = NackGenerator::new(Kind::Video);
        generator.on_packet(Time::ZERO, 13, false);
        generator.on_packet(Time::ZERO, 15, false);
        generator.on_packet(Time::from_millis(1), 10, false);
        assert_eq!(generator.poll_deadline(), Time::from_millis(5));
        assert_eq!(due(&mut generator, 6), [11, 12, 14]);
        assert_eq!(generator.on_packet(Time::from_millis(7), 12, true), Noted::Filled);
        // Far before it is another life of the stream.
        let mut generator = NackGenerator::new(Kind::Video);
        generator.on_packet(Time::ZERO, 1000, false);
        generator.on_packet(Time::ZERO, 900, false);
        assert_eq!(generator.missing(), 0);
    }

    #[test]
    fn too_much_loss_wants_a_key_frame() {
        let mut generator = NackGenerator::new(Kind::Video);
        generator.on_packet(Time::ZERO, 1000, false);
        assert_eq!(
            generator.on_packet(Time::ZERO, 1001 + WINDOW as u64, false),
            Noted::Ok
        );
        assert_eq!(generator.missing(), WINDOW);
        assert_eq!(
            generator.on_packet(Time::ZERO, 1003 + WINDOW as u64, false),
            Noted::KeyframeNeeded
        );
        assert_eq!(generator.poll_deadline(), Time::FAR_FUTURE);
    }

    #[test]
    fn a_key_frame_supersedes_what_was_lost_before_it() {
        let mut generator = NackGenerator::new(Kind::Video);
        generator.on_packet(Time::ZERO, 10, false);
        generator.on_packet(Time::ZERO, 13, false);
        generator.on_packet(Time::ZERO, 15, false);
        generator.on_keyframe(13);
        assert_eq!(due(&mut generator, 5), [14]);
    }

    proptest! {
        /// Whatever is lost and reordered: only missing packets are asked for, each at most
        /// `TRIES_MAX` times and never sooner than a round trip after the last request.
        #[test]
        fn asks_only_for_what_is_missing(
            start in 65_000u64..66_000,
            fates in prop::collection::vec((0u8..100, 0u64..30), 1..400),
        ) {
            let mut arrivals: Vec<(u64, u64)> = fates
                .iter()
                .enumerate()
                .filter(|(_, (fate, _))| *fate >= 10)
                .map(|(index, (_, delay))| (index as u64 * 3 + delay, start + index as u64))
                .collect();
            arrivals.sort_unstable();
            let mut generator = NackGenerator::new(Kind::Video);
            let mut have = BTreeSet::new();
            let mut asked: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
            let mut arrivals = arrivals.into_iter().peekable();
            for now in 0..4000u64 {
                while let Some((_, seq)) = arrivals.next_if(|(at, _)| *at == now) {
                    have.insert(seq);
                    prop_assert_ne!(generator.on_packet(Time::from_millis(now), seq, false), Noted::KeyframeNeeded);
                }
                if generator.poll_deadline() <= Time::from_millis(now) {
                    for seq in due(&mut generator, now) {
                        asked.entry(seq).or_default().push(now);
                        prop_assert!(!have.iter().any(|&got| got as u16 == seq), "{} is there", seq);
                    }
                }
            }
            prop_assert_eq!(generator.missing(), 0);
            for times in asked.values() {
                prop_assert!(times.len() <= usize::from(TRIES_MAX));
                prop_assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 40));
            }
            // Everything lost between two packets that came was asked for.
            if let (Some(&first), Some(&last)) = (have.first(), have.last()) {
                for seq in first..last {
                    if !have.contains(&seq) {
                        let tries = asked.get(&(seq as u16)).map_or(0, Vec::len);
                        prop_assert!(tries > 0, "{} was never asked for", seq);
                    }
                }
            }
        }
    }
}
