//! Arrivals of one publisher's packets by transport-wide sequence number, for its rate control.
//!
//! draft-holmer-rmcat-transport-wide-cc-extensions-01. Owns a bounded memory of arrivals and decides
//! what the next feedback covers; the message is written by `wire`. Arrival is when the kernel got
//! the packet, and only packets that SRTP authenticated may be noted.

use std::time::Duration;

use crate::rtp::ext_seq::SeqUnwrapper;
use crate::time::Time;
use crate::wire::rtcp::twcc;

/// Arrivals remembered: half a second at 4000 packets/s, a power of two.
const ARRIVALS: usize = 2048;

/// A packet that comes this long after its neighbours isn't reported: the sender has counted it
/// as lost, and deltas must stay within their 16 bits.
const LATE_MAX: Duration = Duration::from_millis(500);

/// Statuses in one message: with two bytes of delta each it stays below 1200 bytes.
pub const STATUSES_MAX: usize = 400;

/// Interval of feedback below [`BUSY_BITS_PER_SECOND`].
pub const INTERVAL: Duration = Duration::from_millis(100);

/// Interval of feedback above it: a faster stream fills queues faster.
pub const INTERVAL_BUSY: Duration = Duration::from_millis(50);

/// Above this rate feedback is sent twice as often.
pub const BUSY_BITS_PER_SECOND: u64 = 1_000_000;

/// Nanoseconds in one unit of delta.
const TICK: u64 = twcc::TICK_MICROS * 1000;

#[derive(Debug, Clone, Copy)]
struct Arrival {
    seq: u64,
    ticks: u64,
}

/// Arrivals of one session's packets.
#[derive(Debug)]
pub struct TwccRecorder {
    unwrapper: SeqUnwrapper,
    arrivals: Vec<Option<Arrival>>,
    /// Where the next message's arrivals are laid out.
    scratch: Vec<Option<u64>>,
    /// First number the next feedback covers; reopened downwards by a late arrival.
    base: Option<u64>,
    number: u8,
    last_feedback: Time,
    bytes: u64,
    busy: bool,
    due: Time,
    sending: bool,
}

impl TwccRecorder {
    /// Nothing noted. Memory is taken with the first packet: most sessions only receive.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            unwrapper: SeqUnwrapper::new(),
            arrivals: Vec::new(),
            scratch: Vec::new(),
            base: None,
            number: 0,
            last_feedback: now,
            bytes: 0,
            busy: false,
            due: Time::FAR_FUTURE,
            sending: false,
        }
    }

    /// Notes the arrival of an authenticated packet of `len` bytes that carried this transport
    /// sequence number. Repeats and packets that come too late are not noted.
    pub fn on_packet(&mut self, arrival: Time, seq: u16, len: usize) {
        if self.arrivals.is_empty() {
            self.arrivals = vec![None; ARRIVALS];
            self.scratch = Vec::with_capacity(STATUSES_MAX);
        }
        let highest = self.unwrapper.highest();
        let seq = self.unwrapper.unwrap(seq);
        let ticks = arrival.as_nanos() / TICK;
        if let Some(highest) = highest
            && seq <= highest
            && !self.may_be_late(seq, highest, ticks)
        {
            return;
        }
        self.bytes += len as u64;
        self.arrivals[index(seq)] = Some(Arrival { seq, ticks });
        let highest = highest.map_or(seq, |highest| highest.max(seq));
        let oldest = (highest + 1).saturating_sub(ARRIVALS as u64);
        let base = self.base.map_or(seq, |base| base.min(seq));
        self.base = Some(base.max(oldest));
        if self.due == Time::FAR_FUTURE {
            self.due = (self.last_feedback + self.interval()).max(arrival);
        }
    }

    /// Whether a packet from before the highest is new, and its neighbour above is recent.
    fn may_be_late(&self, seq: u64, highest: u64, ticks: u64) -> bool {
        if highest - seq >= ARRIVALS as u64 || self.arrival(seq).is_some() {
            return false;
        }
        let oldest_ticks = ticks.saturating_sub(LATE_MAX.as_nanos() as u64 / TICK);
        (seq + 1..=highest)
            .take(STATUSES_MAX)
            .find_map(|above| self.arrival(above))
            .is_some_and(|above| above >= oldest_ticks)
    }

    /// Writes the next feedback message into `buf`, if one is due, and gives its length; call again
    /// until it gives none. `media_ssrc` is any of the publisher's streams.
    pub fn poll(&mut self, now: Time, buf: &mut [u8], sender_ssrc: u32, media_ssrc: u32) -> Option<usize> {
        if !self.sending {
            if now < self.due {
                return None;
            }
            self.sending = true;
            let elapsed = now.since(self.last_feedback).as_millis().max(1) as u64;
            self.busy = self.bytes * 8 * 1000 / elapsed > BUSY_BITS_PER_SECOND;
            self.bytes = 0;
            self.last_feedback = now;
            self.due = Time::FAR_FUTURE;
        }
        let written = self.write(buf, sender_ssrc, media_ssrc);
        self.sending = written.is_some();
        written
    }

    fn write(&mut self, buf: &mut [u8], sender_ssrc: u32, media_ssrc: u32) -> Option<usize> {
        let highest = self.unwrapper.highest()?;
        let mut base = self.base.filter(|&base| base <= highest)?;
        loop {
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            scratch.extend((base..=highest).take(STATUSES_MAX).map(|seq| self.arrival(seq)));
            self.scratch = scratch;
            if self.scratch.iter().any(Option::is_some) {
                break;
            }
            // A message needs one arrival for its reference time: so many losses in a row go untold,
            // and the sender takes them from the jump of the base.
            base += self.scratch.len() as u64;
        }
        let feedback = twcc::Feedback {
            sender_ssrc,
            media_ssrc,
            base_sequence: base as u16,
            feedback_count: self.number,
        };
        let written = twcc::write(buf, &feedback, &self.scratch)?;
        self.number = self.number.wrapping_add(1);
        self.base = Some(base + written.statuses as u64);
        Some(written.len)
    }

    /// When the next feedback is due.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        self.due
    }

    fn interval(&self) -> Duration {
        if self.busy { INTERVAL_BUSY } else { INTERVAL }
    }

    fn arrival(&self, seq: u64) -> Option<u64> {
        self.arrivals[index(seq)]
            .filter(|arrival| arrival.seq == seq)
            .map(|arrival| arrival.ticks)
    }
}

fn index(seq: u64) -> usize {
    (seq % ARRIVALS as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::rtcp::{self, Rtcp};

    /// Everything that is due, as (message number, sequence number, arrival in ticks).
    fn drain(recorder: &mut TwccRecorder, now: Time) -> Vec<(u8, u16, Option<i64>)> {
        let mut buf = [0; 1200];
        let mut statuses = Vec::new();
        while let Some(len) = recorder.poll(now, &mut buf, 1, 2) {
            for packet in rtcp::packets(&buf[..len]) {
                let Ok(Rtcp::Twcc(feedback)) = packet else {
                    panic!("{packet:?}");
                };
                let number = feedback.feedback_count();
                statuses.extend(feedback.arrivals().map(|(seq, at)| (number, seq, at)));
            }
        }
        statuses
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn reports_after_the_interval_and_then_rests() {
        let mut recorder = TwccRecorder::new(Time::ZERO);
        recorder.on_packet(at(10), 65_535, 100);
        recorder.on_packet(at(12), 1, 100);
        assert_eq!(recorder.poll_deadline(), at(100));
        assert!(drain(&mut recorder, at(99)).is_empty());
        assert_eq!(
            drain(&mut recorder, at(100)),
            [(0, 65_535, Some(40)), (0, 0, None), (0, 1, Some(48))]
        );
        assert_eq!(recorder.poll_deadline(), Time::FAR_FUTURE);
    }

    #[test]
    fn a_late_packet_reopens_the_base() {
        let mut recorder = TwccRecorder::new(Time::ZERO);
        for seq in [10, 11, 13] {
            recorder.on_packet(at(10), seq, 100);
        }
        drain(&mut recorder, at(100));
        recorder.on_packet(at(130), 12, 100);
        // A repeat changes nothing: the first arrival counts.
        recorder.on_packet(at(140), 11, 100);
        assert_eq!(
            drain(&mut recorder, at(200)),
            [(1, 12, Some(520)), (1, 13, Some(40))]
        );
    }

    #[test]
    fn too_late_is_not_reported() {
        let mut recorder = TwccRecorder::new(Time::ZERO);
        for seq in [10, 12] {
            recorder.on_packet(at(10), seq, 100);
        }
        drain(&mut recorder, at(100));
        recorder.on_packet(at(600), 11, 100);
        assert!(drain(&mut recorder, at(700)).is_empty());
    }

    #[test]
    fn a_busy_publisher_hears_twice_as_often() {
        let mut recorder = TwccRecorder::new(Time::ZERO);
        for step in 0..100u16 {
            recorder.on_packet(at(u64::from(step)), step, 1200);
        }
        drain(&mut recorder, at(100));
        recorder.on_packet(at(101), 100, 1200);
        assert_eq!(recorder.poll_deadline(), at(150));
    }

    #[test]
    fn a_hostile_jump_is_bounded() {
        let mut recorder = TwccRecorder::new(Time::ZERO);
        recorder.on_packet(at(1), 0, 100);
        recorder.on_packet(at(2), 32_000, 100);
        let statuses = drain(&mut recorder, at(100));
        assert!(statuses.len() <= ARRIVALS, "{}", statuses.len());
        assert_eq!(statuses.last(), Some(&(0, 32_000, Some(8))));
    }

    proptest! {
        /// Through the wire and back: over loss, reordering, repeats and wraps each packet's first arrival
        /// is told exactly, nothing that came is told lost in the end, nothing else is told received.
        #[test]
        fn tells_what_came(
            start: u16,
            fates in prop::collection::vec((0u8..100, 0u64..60, 1u64..8), 1..1500),
        ) {
            let mut clock = 0;
            let mut arrivals: Vec<(u64, u16)> = Vec::new();
            for (index, (fate, delay, spacing)) in fates.iter().enumerate() {
                clock += spacing;
                let seq = start.wrapping_add(index as u16);
                if *fate >= 10 {
                    arrivals.push((clock + delay, seq));
                }
                if *fate >= 95 {
                    arrivals.push((clock + delay + 3, seq));
                }
            }
            arrivals.sort_unstable();
            let mut recorder = TwccRecorder::new(Time::ZERO);
            let mut truth: BTreeMap<u16, i64> = BTreeMap::new();
            let mut told: BTreeMap<u16, Option<i64>> = BTreeMap::new();
            let mut number = 0u8;
            let mut arrivals = arrivals.into_iter().peekable();
            for now in 0..clock + 300 {
                while let Some((_, seq)) = arrivals.next_if(|(time, _)| *time == now) {
                    recorder.on_packet(at(now), seq, 500);
                    truth.entry(seq).or_insert(now as i64 * 4);
                }
                if recorder.poll_deadline() <= at(now) {
                    for (message, seq, arrival) in drain(&mut recorder, at(now)) {
                        if message != number {
                            number = number.wrapping_add(1);
                            prop_assert_eq!(message, number);
                        }
                        if told.insert(seq, arrival).flatten().is_some() {
                            prop_assert!(arrival.is_some(), "{} came and is told lost", seq);
                        }
                    }
                }
            }
            for (seq, arrival) in &truth {
                prop_assert_eq!(told.get(seq), Some(&Some(*arrival)), "{}", seq);
            }
            for (seq, arrival) in &told {
                prop_assert_eq!(arrival.as_ref(), truth.get(seq), "{}", seq);
            }
        }
    }
}
