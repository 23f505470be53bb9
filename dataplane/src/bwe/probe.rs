//! When to probe, and at which rate.
//!
//! What a subscriber gets comes in steps: a layer more or none. Between the steps the estimate has
//! nothing to grow on, for it follows what is sent. So the next step is tried beforehand, for some
//! milliseconds and in packets that nobody would miss. Nothing is probed that could not be used, nor while
//! the path shows congestion; and what was not found is asked for less often.

use std::time::Duration;

use super::cluster::{Cluster, Finding};
use super::estimator::Demand;
use super::feedback::Acked;
use crate::forward::allocator::RISE_PERCENT;
use crate::io::prefetch::prefetch;
use crate::time::Time;

/// How long the first probes of a path last, and later ones at least. Later ones ride on media whose own
/// bursts would drown a shorter one; a queue of the path grows at most by as much.
const TIME_FIRST: Duration = Duration::from_millis(15);
const TIME_MIN: Duration = Duration::from_millis(25);

/// Multiple of the jitter that a probe must last to tell its rate, and the longest time.
const TIME_JITTERS: u32 = 4;
const TIME_MAX: Duration = Duration::from_millis(60);

/// How long after its end a probe's own queue may still be on the path.
const WAKE: Duration = Duration::from_millis(200);

/// The first probe as a multiple of the estimate, and each further one of what the last one found.
const FIRST: f64 = 3.0;
const NEXT: f64 = 2.0;

/// A probe goes on only from a finding of this share of its rate.
const GO_ON: f64 = 0.7;

/// The next probe of a row is higher by this factor at least, or it is the last.
const GROWTH_MIN: f64 = 1.1;

/// A probe goes this much beyond the step: the estimate becomes what arrived, which is never all.
const MARGIN: f64 = 1.2;

/// The same beyond all that is wanted.
const MARGIN_ALL: f64 = 1.1;

/// Lowest rate of a probe, bits per second: five packets at less take longer than they are worth.
const RATE_MIN: f64 = 200_000.0;

/// Time between probes while a step is out of reach, and its growth while it stays so. The longest keeps room that
/// opens found within ten seconds, at 25 ms of twice the rate each time.
const INTERVAL_MIN: Duration = Duration::from_secs(3);
const INTERVAL_MAX: Duration = Duration::from_secs(7);

/// Congestion within this time of a probe that leaves less than this share of what it found shows that it
/// found too much; the next one waits twice as long, up to this.
const TOO_MUCH_WITHIN: Duration = Duration::from_secs(3);
const TOO_MUCH: f64 = 0.75;
const INTERVAL_CONGESTED_MAX: Duration = Duration::from_secs(15);

/// A probe up to this rate, in bits per second, is of two or three packets, less than a key frame of the
/// smallest picture, and stands between people and any picture at all: it is never put off.
const SMALL: f64 = 1_000_000.0;

/// Least time between two probes for changing demands.
const SPACING: Duration = Duration::from_secs(1);

/// Waiting while the path shows congestion.
const POSTPONED: Duration = Duration::from_millis(500);

/// No probe in the first time on another path.
const NEW_PATH: Duration = Duration::from_millis(500);

/// After a fall, the share of the old rate that is tried, within this time, after this one. If the path has become
/// narrow, a probe at many times what is left makes a queue that people see; so the first goes no further than the
/// first of a path, and those that follow it go on from what it found.
const RECOVER: f64 = 0.85;
const RECOVER_WITHIN: Duration = Duration::from_secs(5);
const RECOVER_AFTER: Duration = Duration::from_secs(1);

/// How long a finding proves something. Whoever shares the path may take what was found meanwhile, and an estimate
/// that was not made use of would never show that.
const PROVES: Duration = Duration::from_secs(2);

/// What begins needs so much more room than what was there ([`crate::forward::allocator`]), and rates waver.
const AS_BEFORE: f64 = 1.25;
const _: () = assert!(AS_BEFORE * 100.0 > RISE_PERCENT as f64);

/// After so many probes in a row that told nothing no more can be proven than the estimate says.
const VAIN_MAX: u8 = 2;

/// A peer that answered none of so many probes and never gave feedback gets no more.
const UNANSWERED_MAX: u8 = 3;

/// What the decision to probe depends on besides the demand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    /// Bits per second.
    pub(super) estimate: f64,
    /// The path is being overused, or limited by loss.
    pub(super) congested: bool,
    /// The rate goes up by itself.
    pub(super) saturating: bool,
    /// There has been feedback.
    pub(super) measured: bool,
    pub(super) rtt: Option<Duration>,
    /// Share of packets that the path loses anyway.
    pub(super) inherent: f64,
    pub(super) jitter: Duration,
    /// Above the highest number that feedback spoke of.
    pub(super) told: u64,
    /// The number of the next packet.
    pub(super) next: u64,
}

/// A fall that may be recovered from.
#[derive(Debug, Clone, Copy)]
struct Fall {
    at: Time,
    /// What was usual before, in bits per second.
    usual: f64,
    /// It was the path's: it may carry no more than what is left.
    narrow: bool,
}

/// Probes of one path.
#[derive(Debug)]
pub(super) struct Prober {
    demand: Demand,
    cluster: Option<Cluster>,
    /// No probe on this path yet.
    first: bool,
    due: Time,
    interval: Duration,
    /// When the last probe ended.
    last: Option<Time>,
    found: Option<(Time, f64)>,
    fallen: Option<Fall>,
    /// When the estimate became what was found, and what that was.
    adopted: Option<(Time, f64)>,
    /// Probes found too much lately.
    distrusted: bool,
    /// From when to when packets meet the last probe's queue.
    wake: Option<(Time, Time)>,
    unanswered: u8,
    /// Probes in a row that told nothing.
    vain: u8,
    /// All arrivals, mixed.
    arrivals: u64,
}

impl Prober {
    /// Nothing is wanted yet.
    pub(super) fn new(now: Time) -> Self {
        Self {
            demand: Demand::default(),
            cluster: None,
            first: true,
            due: now,
            interval: INTERVAL_MIN,
            last: None,
            found: None,
            fallen: None,
            adopted: None,
            distrusted: false,
            wake: None,
            unanswered: 0,
            vain: 0,
            arrivals: 0,
        }
    }

    /// Takes what could be made use of.
    pub(super) fn set_demand(&mut self, now: Time, demand: Demand) {
        let more = demand.next_step_bps > self.demand.next_step_bps || demand.awaited && !self.demand.awaited;
        // What somebody wanted before there was nothing to want is another matter.
        if self.demand.next_step_bps.is_none() {
            self.interval = INTERVAL_MIN;
        }
        self.demand = demand;
        // Steps that were out of reach stay so when others are added.
        if more && self.interval == INTERVAL_MIN {
            let soon = self.last.map_or(now, |last| now.max(last + SPACING));
            self.due = self.due.min(soon);
        }
    }

    /// What could be made use of, as last said.
    pub(super) fn demand(&self) -> Demand {
        self.demand
    }

    /// Begins anew on another path.
    pub(super) fn on_path_change(&mut self, now: Time) {
        *self = Self {
            demand: self.demand,
            due: now + NEW_PATH,
            unanswered: self.unanswered,
            ..Self::new(now)
        };
    }

    /// Notes that the estimate fell much, from what was usual, in bits per second. After probes that found
    /// too much that is no reason for more.
    pub(super) fn on_fall(&mut self, now: Time, usual: f64) {
        if !self.distrusted {
            self.recover(now, usual, true);
        }
    }

    /// Notes that feedback is back after a silence; what was usual before it, in bits per second.
    pub(super) fn on_return(&mut self, now: Time, usual: f64) {
        self.recover(now, usual, false);
    }

    /// Notes that only the feedback had failed while the path carried so much, in bits per second: what was there
    /// before may come back without a proof of its own.
    pub(super) fn on_restored(&mut self, now: Time, carried: f64) {
        self.found = Some((now, carried * AS_BEFORE));
    }

    fn recover(&mut self, now: Time, usual: f64, narrow: bool) {
        self.distrusted = false;
        self.fallen = Some(Fall {
            at: now,
            usual,
            narrow,
        });
        self.interval = INTERVAL_MIN;
        self.due = now + RECOVER_AFTER;
    }

    /// Notes that the estimate became what the last probe found.
    pub(super) fn on_adopted(&mut self, now: Time, found: f64) {
        self.adopted = Some((now, found));
    }

    /// Notes congestion, and the estimate it left: what was found is true no more. If it follows at once and
    /// takes much, there are others on the link whose share the probe took for its own.
    pub(super) fn on_congestion(&mut self, now: Time, estimate: f64) {
        self.found = None;
        self.vain = 0;
        if let Some((at, found)) = self.adopted
            && now.since(at) < TOO_MUCH_WITHIN
            && estimate < TOO_MUCH * found
        {
            self.adopted = None;
            self.fallen = None;
            self.distrusted = true;
            self.interval = (self.interval * 2).min(INTERVAL_CONGESTED_MAX);
            self.due = now + self.varied();
        }
    }

    /// Fetches all of it.
    pub(super) fn prefetch(&self) {
        prefetch(self);
    }

    /// Notes a packet; `bytes` with headers.
    pub(super) fn on_sent(&mut self, now: Time, number: u64, bytes: u64) {
        if let Some(cluster) = &mut self.cluster {
            cluster.on_sent(now, number, bytes);
        }
    }

    /// Whether packets that are sent now belong to a probe.
    pub(super) fn is_sending(&self) -> bool {
        self.cluster.as_ref().is_some_and(Cluster::is_sending)
    }

    /// Whether a packet that was sent then met the queue of a probe.
    pub(super) fn is_in_wake(&self, sent_at: Time) -> bool {
        self.wake
            .is_some_and(|(from, to)| from <= sent_at && sent_at < to)
    }

    /// Notes a packet that came.
    pub(super) fn on_acked(&mut self, packet: &Acked) {
        let mixed = self.arrivals ^ packet.arrival.cast_unsigned();
        self.arrivals = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if let Some(cluster) = &mut self.cluster {
            cluster.on_acked(packet);
        }
    }

    /// Bytes that a running probe wants to be sent now.
    pub(super) fn wanted(&self, now: Time) -> usize {
        self.cluster.as_ref().map_or(0, |cluster| cluster.wanted(now))
    }

    /// Whether this path has had no probe yet, or the first ones are still running.
    pub(super) fn is_first(&self) -> bool {
        self.first
    }

    /// The rate of the running probe.
    pub(super) fn rate(&self) -> Option<u64> {
        self.cluster.as_ref().and_then(Cluster::rate)
    }

    /// What the path was just seen to carry, if anything; all of the estimate where nothing can be seen.
    pub(super) fn proven(&self, now: Time, estimate: f64) -> Option<f64> {
        let found = self.found.filter(|(at, _)| now.since(*at) < PROVES);
        let found = found.map(|(_, bps)| bps.min(estimate));
        found.or((self.vain >= VAIN_MAX).then_some(estimate))
    }

    /// Whether somebody waits for the next step to be proven and it is.
    pub(super) fn is_awaited_proven(&self, now: Time, estimate: f64) -> bool {
        let next = self.demand.next_step_bps.map(|next| next as f64);
        self.demand.awaited && next.is_some_and(|next| self.proven(now, estimate) >= Some(next))
    }

    /// Whether nothing but a proof could come of a probe, and it is not needed.
    fn is_idle(&self, now: Time, estimate: f64, next: f64) -> bool {
        estimate >= next && (!self.demand.awaited || self.is_awaited_proven(now, estimate))
    }

    /// More than this can't be used.
    fn most(&self) -> Option<f64> {
        let next = self.demand.next_step_bps?;
        Some(
            (next as f64 * MARGIN)
                .max(self.demand.wanted_bps as f64 * MARGIN_ALL)
                .max(RATE_MIN),
        )
    }

    /// The rate of the next probe, if there is something to find out.
    fn goal(&self, now: Time, estimate: f64) -> Option<f64> {
        let next = self.demand.next_step_bps? as f64;
        let most = self.most()?;
        if self.unanswered >= UNANSWERED_MAX || self.is_idle(now, estimate, next) {
            return None;
        }
        let fallen = self.fallen.filter(|fall| now.since(fall.at) <= RECOVER_WITHIN);
        let fallen = fallen.map(|fall| {
            let most = if fall.narrow { FIRST * estimate } else { f64::MAX };
            (fall.usual * RECOVER).min(most)
        });
        let goal = if self.first {
            FIRST * estimate
        } else if estimate >= next {
            // A proof, and no news. A higher one would take for its own what others send.
            next * MARGIN
        } else {
            fallen
                .filter(|before| *before > estimate)
                .unwrap_or((next * MARGIN).min(NEXT * estimate))
        };
        Some(goal.max(RATE_MIN).min(most))
    }

    /// Starts, ends and evaluates probes; gives what one found.
    pub(super) fn handle_timeout(&mut self, now: Time, situation: &Situation) -> Option<Finding> {
        if let Some(cluster) = &mut self.cluster {
            let finding = cluster.poll(now, situation.told, situation.inherent, situation.rtt)?;
            self.conclude(now, finding, situation);
            return Some(finding);
        }
        if now < self.due {
            return None;
        }
        if let Some(goal) = self.goal(now, situation.estimate) {
            let recovers = self.first || self.fallen.is_some();
            if situation.congested || (situation.saturating && !recovers) {
                self.due = now + POSTPONED;
            } else {
                self.start(now, goal, situation);
            }
        }
        None
    }

    fn start(&mut self, now: Time, goal: f64, situation: &Situation) {
        let time = if self.first {
            TIME_FIRST
        } else {
            (situation.jitter * TIME_JITTERS).clamp(TIME_MIN, TIME_MAX)
        };
        self.wake = Some((now, now + time + WAKE));
        self.cluster = Some(Cluster::new(now, goal as u64, time, situation.next));
    }

    fn conclude(&mut self, now: Time, finding: Finding, situation: &Situation) {
        let Some(cluster) = self.cluster.take() else {
            return;
        };
        self.last = Some(now);
        let target = cluster.target() as f64;
        let next = self.demand.next_step_bps.unwrap_or(0) as f64;
        let reached = match finding {
            Finding::Carried { bps, saturated } => {
                self.unanswered = 0;
                self.vain = 0;
                self.found = Some((now, bps));
                let most = self.most().unwrap_or(0.0);
                // Each is higher than the one before, so that they end.
                let further = (NEXT * bps).min(most);
                let grows = bps > situation.estimate && further >= GROWTH_MIN * target;
                if !saturated && bps >= GO_ON * target && grows && !situation.congested {
                    self.start(now, further, situation);
                    return;
                }
                if self.demand.awaited && situation.estimate >= next {
                    bps
                } else {
                    situation.estimate.max(bps)
                }
            }
            Finding::Nothing { answered } => {
                self.vain = self.vain.saturating_add(1);
                if !answered && !situation.measured {
                    self.unanswered = self.unanswered.saturating_add(1);
                }
                situation.estimate
            }
        };
        self.first = false;
        self.fallen = None;
        self.interval = if reached < next {
            (self.interval + self.interval / 2)
                .min(INTERVAL_MAX)
                .max(self.interval)
        } else if self.distrusted {
            // Until one has proved right.
            let right = |(at, _)| now.since(at) >= TOO_MUCH_WITHIN;
            if self.adopted.is_some_and(right) {
                (self.interval / 2).max(INTERVAL_MIN)
            } else {
                self.interval
            }
        } else {
            INTERVAL_MIN
        };
        self.distrusted &= self.interval > INTERVAL_MIN;
        self.due = now + self.varied();
    }

    /// Of eight bits, for calls that share a link not to act in step for ever. When packets arrived is as good as
    /// drawn.
    pub(super) fn draw(&self) -> u32 {
        (self.arrivals >> 56) as u32
    }

    /// The interval by three quarters to five quarters.
    fn varied(&self) -> Duration {
        let next = self.demand.next_step_bps.map_or(0.0, |next| next as f64);
        let interval = if next * MARGIN <= SMALL {
            INTERVAL_MIN
        } else {
            self.interval
        };
        interval * (384 + self.draw()) / 512
    }

    /// When there is something to do.
    pub(super) fn poll_deadline(&self, estimate: f64, rtt: Option<Duration>) -> Time {
        if let Some(cluster) = &self.cluster {
            return cluster.poll_deadline(rtt);
        }
        let Some(next) = self.demand.next_step_bps else {
            return Time::FAR_FUTURE;
        };
        let next = next as f64;
        let reached = estimate >= next;
        let nothing = reached && (!self.demand.awaited || self.vain >= VAIN_MAX);
        if nothing || self.unanswered >= UNANSWERED_MAX {
            return Time::FAR_FUTURE;
        }
        match self.found {
            Some((at, bps)) if reached && bps >= next => self.due.max(at + PROVES),
            _ => self.due,
        }
    }
}

#[cfg(test)]
mod tests;
