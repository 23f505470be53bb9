//! Arrivals by transport-wide sequence number, told back to the server
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::time::Duration;

use kall_dataplane::time::Time;
use kall_dataplane::wire::rtcp::twcc::{self, Feedback, TICK_MICROS};

use super::transmitter::Transmitter;

/// Arrivals remembered.
const MEMORY: usize = 4096;

/// Most statuses of one message: it stays within a datagram.
const STATUSES_MAX: usize = 400;

/// Interval of feedback, and above [`BUSY`].
const INTERVAL: Duration = Duration::from_millis(100);
const INTERVAL_BUSY: Duration = Duration::from_millis(50);

/// Bits per second from which feedback is sent twice as often.
const BUSY: u64 = 1_000_000;

/// What one receiver tells of its path.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// Number and tick of each arrival, by number modulo the size.
    memory: Vec<Option<(u64, u64)>>,
    highest: Option<u64>,
    /// The lowest number that arrived since the last feedback.
    base: Option<u64>,
    count: u8,
    due: Time,
    last: Time,
    bytes: u64,
    scratch: Vec<Option<u64>>,
}

impl Arrivals {
    pub(crate) fn new() -> Self {
        Self {
            memory: vec![None; MEMORY],
            highest: None,
            base: None,
            count: 0,
            due: Time::FAR_FUTURE,
            last: Time::ZERO,
            bytes: 0,
            scratch: Vec::with_capacity(STATUSES_MAX),
        }
    }

    pub(crate) const fn poll_deadline(&self) -> Time {
        self.due
    }

    /// Notes an arrival; the first of a number counts.
    pub(crate) fn on_packet(&mut self, now: Time, number: u16, bytes: usize) {
        let highest = self.highest.unwrap_or((1 << 16) + u64::from(number));
        let step = number.wrapping_sub(highest as u16) as i16;
        let number = highest.wrapping_add_signed(i64::from(step));
        let place = number as usize % MEMORY;
        if self.memory[place].is_some_and(|(there, _)| there >= number) {
            return;
        }
        self.bytes += bytes as u64;
        self.memory[place] = Some((number, now.as_nanos() / 1000 / TICK_MICROS));
        self.highest = Some(highest.max(number));
        self.base = Some(self.base.map_or(number, |base| base.min(number)));
        if self.due == Time::FAR_FUTURE {
            let rate = self.bytes * 8 * 1000 / (now.since(self.last).as_millis() as u64).max(1);
            let interval = if rate > BUSY { INTERVAL_BUSY } else { INTERVAL };
            self.due = (self.last + interval).max(now);
        }
    }

    /// Sends what is due.
    pub(crate) fn poll(&mut self, now: Time, sender_ssrc: u32, media_ssrc: u32, out: &mut Transmitter) {
        if now < self.due {
            return;
        }
        self.due = Time::FAR_FUTURE;
        self.last = now;
        self.bytes = 0;
        let (Some(base), Some(highest)) = (self.base.take(), self.highest) else {
            return;
        };
        let mut base = base.max((highest + 1).saturating_sub(MEMORY as u64));
        while base <= highest {
            let end = highest.min(base + STATUSES_MAX as u64 - 1);
            self.scratch.clear();
            for number in base..=end {
                let entry = self.memory[number as usize % MEMORY].filter(|(there, _)| *there == number);
                self.scratch.push(entry.map(|(_, tick)| tick));
            }
            let feedback = Feedback {
                sender_ssrc,
                media_ssrc,
                base_sequence: base as u16,
                feedback_count: self.count,
            };
            let mut statuses = 0;
            out.send_rtcp(|buf| {
                let written = twcc::write(buf, &feedback, &self.scratch)?;
                statuses = written.statuses;
                Some(written.len)
            });
            if statuses == 0 {
                // Nothing of these came.
                statuses = self.scratch.len();
            } else {
                self.count = self.count.wrapping_add(1);
            }
            base += statuses as u64;
        }
    }
}
