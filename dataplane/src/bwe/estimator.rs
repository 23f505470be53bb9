//! The estimator: wires the parts, and is the only one the outside talks to.

use std::time::Duration;

use super::acked_rate::AckedRate;
use super::aimd::{Aimd, Usage};
use super::history::{Class, Fate, History, PACKETS};
use super::{ESTIMATE_START, OVERHEAD_BYTES, bounded};
use crate::time::Time;
use crate::wire::rtcp::Twcc;
use crate::wire::rtcp::twcc::TICK_MICROS;

/// What a subscriber could make use of, bits per second with headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// All that it wants at its best.
    pub wanted_bps: u64,
    /// What the estimate must reach for the next improvement; `None` when there is nothing to gain, and
    /// then nothing is probed.
    pub next_step_bps: Option<u64>,
}

/// What one feedback message told that was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Packets that came.
    pub acked: u32,
    /// Packets that are lost, finally.
    pub lost: u32,
}

/// The estimate for one subscriber.
#[derive(Debug)]
pub struct Estimator {
    history: History,
    acked_rate: AckedRate,
    aimd: Aimd,
    /// Below this every packet's fate is final.
    settled: u64,
    /// Above the highest number that feedback spoke of.
    told: u64,
    measured: bool,
    usage: Usage,
    remb: Option<u64>,
    rtt: Option<Duration>,
    demand: Demand,
    sent_bytes: [u64; Class::ALL.len()],
    estimate: u64,
    loss_permille: u16,
    /// Highest arrival, in ticks, against which the next reference time is unwrapped.
    clock: Option<i64>,
}

impl Estimator {
    /// Takes all its memory here.
    #[must_use]
    pub fn new(now: Time) -> Self {
        let history = History::new();
        Self {
            settled: history.next(),
            told: history.next(),
            history,
            acked_rate: AckedRate::default(),
            aimd: Aimd::new(now, ESTIMATE_START as f64),
            measured: false,
            usage: Usage::Normal,
            remb: None,
            rtt: None,
            demand: Demand::default(),
            sent_bytes: [0; Class::ALL.len()],
            estimate: ESTIMATE_START,
            loss_permille: 0,
            clock: None,
        }
    }

    /// The transport-wide number that the next packet must carry.
    #[must_use]
    pub fn next_sequence(&self) -> u16 {
        // What is on the wire has 16 bits.
        (self.history.next() & 0xffff) as u16
    }

    /// Notes that the packet with that number was sealed. `bytes`: UDP payload.
    pub fn on_sent(&mut self, now: Time, bytes: usize, class: Class) {
        let wire = u16::try_from(bytes.saturating_add(OVERHEAD_BYTES)).unwrap_or(u16::MAX);
        self.sent_bytes[class.index()] += u64::from(wire);
        self.history.push(now, wire);
    }

    /// Takes a feedback message that the kernel received at `received`. What it says of numbers that were
    /// not sent is ignored; one that tells nothing new changes nothing.
    pub fn on_feedback(&mut self, now: Time, received: Time, twcc: &Twcc<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut number = self.history.nearest(twcc.base_sequence());
        let end = number.saturating_add(u64::from(twcc.status_count()));
        if number >= self.history.next() || end + (PACKETS as u64) < self.history.oldest() {
            return outcome;
        }
        let unwrap = self
            .clock
            .map_or(0, |clock| unwrap_offset(clock, twcc.reference_time()));
        let (mut told_new, mut newest) = (false, None);
        for (_, arrival) in twcc.arrivals() {
            let Some(sent) = self.history.get_mut(number) else {
                if number >= self.history.next() {
                    break;
                }
                number += 1;
                continue;
            };
            number += 1;
            match (arrival, sent.fate) {
                (_, Fate::Received) | (None, Fate::Missing | Fate::Lost | Fate::Unknown) => {}
                (None, Fate::InFlight) => {
                    sent.fate = Fate::Missing;
                    told_new = true;
                }
                (Some(ticks), _) => {
                    sent.fate = Fate::Received;
                    told_new = true;
                    outcome.acked += 1;
                    let ticks = ticks.saturating_add(unwrap);
                    self.clock = Some(self.clock.map_or(ticks, |clock| clock.max(ticks)));
                    newest = Some(sent.at);
                    let micros = ticks.saturating_mul(TICK_MICROS as i64);
                    self.acked_rate.on_acked(micros, u64::from(sent.bytes));
                }
            }
        }
        if !told_new {
            return outcome;
        }
        self.measured = true;
        if let Some(at) = newest {
            self.rtt = Some(received.since(at));
        }
        outcome.lost = self.settle();
        self.told = self.told.max(number);
        self.update(now, outcome);
        outcome
    }

    /// Makes final what earlier feedback had called missing.
    fn settle(&mut self) -> u32 {
        let mut lost = 0;
        for number in self.settled.max(self.history.oldest())..self.told {
            if let Some(sent) = self.history.get_mut(number) {
                match sent.fate {
                    Fate::Missing => {
                        sent.fate = Fate::Lost;
                        lost += 1;
                    }
                    Fate::InFlight => sent.fate = Fate::Unknown,
                    Fate::Received | Fate::Lost | Fate::Unknown => {}
                }
            }
        }
        self.settled = self.settled.max(self.told);
        lost
    }

    fn update(&mut self, now: Time, outcome: Outcome) {
        let total = u64::from(outcome.acked) + u64::from(outcome.lost);
        let permille = (u64::from(outcome.lost) * 1000).checked_div(total).unwrap_or(0);
        self.loss_permille =
            u16::try_from((u64::from(self.loss_permille) * 7 + permille) / 8).unwrap_or(1000);
        self.usage = if self.loss_permille > 100 {
            Usage::Over
        } else {
            Usage::Normal
        };
        self.aimd
            .update(now, self.usage, self.acked_rate.rate(), self.rtt);
        self.combine();
    }

    fn combine(&mut self) {
        let measured = bounded(self.aimd.estimate());
        self.estimate = match self.remb {
            Some(remb) if self.measured => measured.min(remb),
            Some(remb) => remb,
            None => measured,
        };
    }

    /// Takes a receiver's own estimate, bits per second: a cap beside transport-wide feedback, the
    /// estimate itself for a peer without (draft-alvestrand-rmcat-remb-03).
    pub fn on_remb(&mut self, _now: Time, bps: u64) {
        self.remb = Some(bps.clamp(super::ESTIMATE_MIN, super::ESTIMATE_MAX));
        self.combine();
    }

    /// Takes a report block of one of our streams (RFC 3550 section 6.4.1). `fraction_lost` is in units
    /// of 1/256, and steers the estimate of a peer only that has neither transport-wide feedback nor
    /// REMB.
    pub fn on_report(&mut self, _now: Time, _fraction_lost: u8, rtt: Option<Duration>) {
        if rtt.is_some() {
            self.rtt = rtt;
        }
    }

    /// Says what could be made use of. Call it whenever that changes.
    pub fn set_demand(&mut self, _now: Time, demand: Demand) {
        self.demand = demand;
    }

    /// Begins anew on another path: what was measured belonged to the old one.
    pub fn on_path_change(&mut self, now: Time) {
        self.history.forget();
        self.settled = self.history.next();
        self.told = self.history.next();
        self.acked_rate = AckedRate::default();
        self.aimd = Aimd::new(now, self.estimate.min(ESTIMATE_START) as f64);
        self.usage = Usage::Normal;
        self.rtt = None;
        self.loss_permille = 0;
        self.combine();
    }

    /// Bits per second that the path carries, with headers.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        self.estimate
    }

    /// Whether any transport-wide feedback came yet.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.measured
    }

    /// Whether the estimate has just fallen, or is about to.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.usage == Usage::Over
    }

    /// Whether a probe lately showed that the path carries the estimate.
    #[must_use]
    pub fn recently_probed(&self, _now: Time) -> bool {
        false
    }

    /// The round trip, smoothed; without the receiver's waiting.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Thousandths of the packets that were lost, over the last second of sending.
    #[must_use]
    pub fn loss_permille(&self) -> u16 {
        self.loss_permille
    }

    /// Bytes sent of a class, with headers.
    #[must_use]
    pub fn sent_bytes(&self, class: Class) -> u64 {
        self.sent_bytes[class.index()]
    }

    /// What could be made use of, as last said.
    #[must_use]
    pub fn demand(&self) -> Demand {
        self.demand
    }

    /// Runs what is due. Call it at [`Estimator::poll_deadline`].
    pub fn handle_timeout(&mut self, _now: Time) {}

    /// When [`Estimator::handle_timeout`] wants to be called; never, for a session that neither sends nor
    /// could gain.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        Time::FAR_FUTURE
    }

    /// Bytes of retransmissions or padding that a running probe wants to be sent now; zero for none.
    pub fn probe_bytes(&mut self, _now: Time) -> usize {
        0
    }

    /// Bits per second of the running probe, for the pacer.
    #[must_use]
    pub fn probe_rate(&self) -> Option<u64> {
        None
    }
}

/// What to add to arrivals of a message so that its 24-bit reference time continues `clock`, in ticks.
fn unwrap_offset(clock: i64, reference_time: i32) -> i64 {
    const CYCLE: i64 = 1 << 32;
    let ticks = i64::from(reference_time) * crate::wire::rtcp::twcc::REFERENCE_TICKS;
    let distance = clock - ticks;
    // The nearest multiple of the cycle.
    (distance + CYCLE / 2).div_euclid(CYCLE) * CYCLE
}
