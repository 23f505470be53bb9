//! Arrivals of one publisher's packets by transport-wide sequence number, for its rate control.
//!
//! draft-holmer-rmcat-transport-wide-cc-extensions-01. Owns a bounded memory of arrivals and decides
//! what the next feedback covers; the message is written by `wire`. Arrival is when the kernel got
//! the packet, and only packets that SRTP authenticated may be noted.

use std::time::Duration;

use crate::rtp::ext_seq::SeqUnwrapper;
use crate::time::Time;

/// Arrivals remembered: half a second at 4000 packets/s, a power of two.
const ARRIVALS: usize = 2048;

/// A packet that comes this long after its neighbours isn't reported: the sender has counted it
/// as lost, and deltas must stay within their 16 bits.
const LATE_MAX: Duration = Duration::from_millis(500);

/// Statuses in one message: with two bytes of delta each it stays below 1200 bytes.
pub const STATUSES_MAX: u64 = 400;

/// Interval of feedback below [`BUSY_BITS_PER_SECOND`].
pub const INTERVAL: Duration = Duration::from_millis(100);

/// Interval of feedback above it: a faster stream fills queues faster.
pub const INTERVAL_BUSY: Duration = Duration::from_millis(50);

/// Above this rate feedback is sent twice as often.
pub const BUSY_BITS_PER_SECOND: u64 = 1_000_000;

/// Nanoseconds in one unit of delta.
const TICK: u64 = 250_000;

/// Ticks in one unit of reference time (64 ms).
const REFERENCE_TICKS: u64 = 256;

#[derive(Debug, Clone, Copy)]
struct Arrival {
    seq: u64,
    ticks: u64,
}

/// One feedback message: which packets, relative to which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feedback {
    /// First transport sequence number covered, extended.
    pub base: u64,
    /// How many it covers, 1 to [`STATUSES_MAX`].
    pub count: u16,
    /// Reference time in units of 64 ms, 24 bits.
    pub reference_time: u32,
    /// Counts messages, modulo 256.
    pub number: u8,
    reference_ticks: u64,
}

/// Arrivals of one session's packets.
#[derive(Debug)]
pub struct TwccRecorder {
    unwrapper: SeqUnwrapper,
    arrivals: Vec<Option<Arrival>>,
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
    /// Nothing noted; all memory is taken here.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            unwrapper: SeqUnwrapper::new(),
            arrivals: vec![None; ARRIVALS],
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
            .take(STATUSES_MAX as usize)
            .find_map(|above| self.arrival(above))
            .is_some_and(|above| above >= oldest_ticks)
    }

    /// The next feedback message, if one is due; call again until it gives none.
    /// [`Self::deltas`] has its contents.
    pub fn poll(&mut self, now: Time) -> Option<Feedback> {
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
        let next = self.base.zip(self.unwrapper.highest());
        let Some((base, highest)) = next.filter(|(base, highest)| base <= highest) else {
            self.sending = false;
            return None;
        };
        let mut end = base;
        let mut first = None;
        let mut last = 0;
        while end <= highest && end - base < STATUSES_MAX {
            if let Some(ticks) = self.arrival(end) {
                // A delta is 16 bits with sign; what is further away opens the next message.
                if first.is_some() && i16::try_from(ticks as i64 - last as i64).is_err() {
                    break;
                }
                first.get_or_insert(ticks);
                last = ticks;
            }
            end += 1;
        }
        // With nothing received in the range, any time will do: the losses are what it tells.
        let reference = first.unwrap_or(now.as_nanos() / TICK) / REFERENCE_TICKS;
        let feedback = Feedback {
            base,
            count: (end - base) as u16,
            reference_time: (reference & 0xff_ffff) as u32,
            number: self.number,
            reference_ticks: reference * REFERENCE_TICKS,
        };
        self.number = self.number.wrapping_add(1);
        self.base = Some(end);
        Some(feedback)
    }

    /// For each number the message covers: the delta to the arrival before it (to the reference
    /// time for the first) in 250 us, or none if it hasn't arrived.
    pub fn deltas(&self, feedback: &Feedback) -> impl Iterator<Item = Option<i16>> + Clone {
        let mut before = feedback.reference_ticks;
        (feedback.base..feedback.base + u64::from(feedback.count)).map(move |seq| {
            let ticks = self.arrival(seq)?;
            let delta = i16::try_from(ticks as i64 - before as i64).ok()?;
            before = ticks;
            Some(delta)
        })
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
