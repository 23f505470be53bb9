//! The loss-based part: a limit where loss comes from sending too much, and none where the path loses
//! packets whatever is sent.
//!
//! A radio link that loses 5 or 20 % at random carries as much as it did; a sender that slowed down for it would
//! end at nothing. So loss alone is no verdict. It is congestion when a queue stands at the same time, or when
//! more is lost at a higher rate, as a full queue's overflow would explain it; it is the path's own
//! when as much is lost after the rate fell. When neither can be told and the loss is heavy, the rate is
//! lowered to what arrived: a full queue stops losing then, and a lossy path doesn't. The idea of an inherent
//! loss beside a bandwidth, both fitted to observations, is that of libwebrtc's second loss-based
//! estimator; the deliberate fall is not.
//!
//! Loss is told by transport-wide feedback only: loss in receiver reports holds holes that were there
//! before us.

mod observations;

use std::time::Duration;

use self::observations::{Observations, Summary};
use super::TELLING_SHARE;
use crate::time::Time;

/// Loss that is always tolerated, for stray packets get lost everywhere.
const TOLERATED_MIN: f64 = 0.02;

/// Loss above this is congestion whatever its cause: what is left is no use.
const TOLERATED_MAX: f64 = 0.35;

/// Tolerance may drift to this multiple of what was found to be the path's own.
const TOLERATED_DRIFT: f64 = 1.25;

/// How fast tolerance follows what is lost, each observation.
const FOLLOW: f64 = 0.05;

/// Loss that calls for an experiment; below it the estimate only stops to rise, for a layer less would
/// be worse than what is lost.
const HEAVY: f64 = 0.10;

/// How long lighter loss of unknown cause keeps the estimate from rising.
const HOLD_LIGHT: Duration = Duration::from_secs(3);

/// A queue of this length while packets are lost: congestion.
const STANDING: Duration = Duration::from_millis(25);

/// Difference of log-likelihoods that decides for an overflow. Losses come in bursts, so that packets are
/// worth less than as many independent draws; six is one in four hundred for those.
const OVERFLOW: f64 = 6.0;

/// What is left of the estimate, besides what is lost, when less is sent than it allows.
const FALL: f64 = 0.85;

/// Packets that an experiment needs before and after.
const EXPERIMENT_PACKETS: u32 = 40;

/// The rate after an experiment as a share of that before, for it to have been one.
const FOLLOWED: f64 = 0.92;

/// The loss after an experiment as a share of that before, if the rate is not its cause.
const UNMOVED: std::ops::RangeInclusive<f64> = 0.6..=1.5;

/// Experiments without a result before the loss is taken for the path's own.
const EXPERIMENTS_MAX: u8 = 3;

/// Less than this, in bits per second, is sound and no rate to experiment with.
const EXPERIMENT_MIN: f64 = 150_000.0;

/// Time without a rise after congestion: doubles while it comes back, up to the second.
const HOLD_MIN: Duration = Duration::from_millis(500);
const HOLD_MAX: Duration = Duration::from_secs(4);

/// Rise of the limit, each second, and the longest time that one step may count for.
const INCREASE_PER_SECOND: f64 = 1.08;
const STEP_MAX: Duration = Duration::from_secs(1);

/// The limit is dropped when it is this much above what the delay allows.
const IRRELEVANT: f64 = 1.2;

/// Where packets are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Congestion,
    Path,
    Unknown,
}

/// Loss and the limit that follows from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    observations: Observations,
    fresh: bool,
    /// Share of packets that the path loses by itself, as it is now and as it was found.
    tolerated: f64,
    found: f64,
    limit: Option<f64>,
    /// When the rate was last lowered, and what was seen until then. Observations from before say nothing
    /// about the effect.
    fallen: Option<(Time, Summary)>,
    /// Since when there is loss of unknown cause.
    suspected: Option<Time>,
    experiments: u8,
    hold: Duration,
    hold_until: Time,
    risen: Time,
}

impl Loss {
    /// Nothing observed.
    pub(super) fn new(now: Time) -> Self {
        Self {
            observations: Observations::new(),
            fresh: false,
            tolerated: 0.0,
            found: 0.0,
            limit: None,
            fallen: None,
            suspected: None,
            experiments: 0,
            hold: HOLD_MIN,
            hold_until: now,
            risen: now,
        }
    }

    /// Bits per second, if loss limits the rate.
    pub(super) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// Whether the limit must not be tried now.
    pub(super) fn is_holding(&self, now: Time) -> bool {
        self.limit.is_some() && (self.suspected.is_some() || now < self.hold_until)
    }

    /// When loss last lowered the rate.
    pub(super) fn fallen(&self) -> Option<Time> {
        self.fallen.map(|(at, _)| at)
    }

    /// Share of packets that the path loses whatever the rate.
    pub(super) fn inherent(&self) -> f64 {
        self.tolerated
    }

    /// Thousandths lost over the last second of sending.
    pub(super) fn permille(&self) -> u16 {
        let loss = self.observations.recent(None).unwrap_or_default().loss();
        // At most 1000.
        (loss * 1000.0).round() as u16
    }

    /// Takes a packet whose fate is final, in the order of sending; not one of a probe, whose losses are
    /// wanted. `bytes` with headers; `standing`: the queue on the path.
    pub(super) fn on_settled(&mut self, sent_at: Time, bytes: u64, lost: bool, standing: Duration) {
        self.fresh |= self.observations.on_settled(sent_at, bytes, lost, standing);
    }

    /// A probe carried this many bits per second.
    pub(super) fn on_probe(&mut self, bps: f64) {
        self.limit = self.limit.map(|limit| limit.max(bps));
    }

    /// Draws conclusions, after packets were settled. `estimate`: what holds now, bits per second.
    pub(super) fn update(&mut self, now: Time, estimate: f64) {
        if std::mem::take(&mut self.fresh)
            && let Some(seen) = self.observations.recent(self.fallen())
        {
            self.conclude(now, estimate, seen);
        }
    }

    /// Lets the limit rise, if there is nothing against it. `by_delay`: what the delay allows, bits per
    /// second.
    pub(super) fn rise(&mut self, now: Time, by_delay: f64) {
        let seconds = now.since(self.risen).min(STEP_MAX).as_secs_f64();
        self.risen = now;
        if let Some(limit) = self.limit
            && !self.is_holding(now)
        {
            let raised = limit * INCREASE_PER_SECOND.powf(seconds);
            if raised < by_delay * IRRELEVANT {
                self.limit = Some(raised);
            } else {
                self.lift();
            }
        }
    }

    fn conclude(&mut self, now: Time, estimate: f64, seen: Summary) {
        if !seen.exceeds((self.tolerated * 1.1).max(TOLERATED_MIN)) {
            self.suspected = None;
            self.experiments = 0;
            // What was once found to be the path's own is followed; that there is such a thing needs proof.
            let drifted = self.tolerated + FOLLOW * (seen.loss() - self.tolerated);
            self.tolerated = drifted.min(self.found * TOLERATED_DRIFT).min(TOLERATED_MAX);
            return;
        }
        let since = *self.suspected.get_or_insert_with(|| {
            self.observations.begin();
            now
        });
        let seen = self.observations.recent(self.fallen()).unwrap_or(seen);
        let loss = seen.loss();
        // What arrived, as if the path lost nothing by itself.
        let delivered = (seen.rate * (1.0 - loss) / (1.0 - self.tolerated)).min(estimate);
        let queued = seen.standing >= STANDING;
        match self.cause(&seen) {
            _ if delivered < EXPERIMENT_MIN && !queued => self.tolerate(loss),
            Cause::Path => {
                self.tolerate(loss);
                self.lift();
            }
            Cause::Congestion => {
                // Whoever sends less than it may takes the same share of the loss as others, not the blame for
                // what they send.
                let shared = if seen.rate < TELLING_SHARE * estimate {
                    FALL * estimate * (1.0 - loss) / (1.0 - self.tolerated)
                } else {
                    0.0
                };
                self.fall(now, delivered.max(shared), seen);
                self.hold_until = now + self.hold;
                self.hold = (self.hold * 2).min(HOLD_MAX);
                self.suspected = None;
            }
            // With much less sent than is allowed there is nothing to lower.
            Cause::Unknown if loss < HEAVY || seen.rate < TELLING_SHARE * estimate => {
                self.limit = Some(self.limit.unwrap_or(estimate).min(estimate));
                if now.since(since) >= HOLD_LIGHT {
                    self.tolerate(loss);
                }
            }
            Cause::Unknown if self.experiments >= EXPERIMENTS_MAX => {
                // Whether it follows or not, it gains nothing.
                self.tolerate(loss);
                self.lift();
            }
            Cause::Unknown => {
                self.experiments += 1;
                self.fall(now, delivered, seen);
            }
        }
    }

    fn tolerate(&mut self, loss: f64) {
        self.found = loss.min(TOLERATED_MAX);
        self.tolerated = self.found;
        self.suspected = None;
        self.experiments = 0;
    }

    fn lift(&mut self) {
        self.limit = None;
        self.hold = HOLD_MIN;
    }

    fn fall(&mut self, now: Time, rate: f64, seen: Summary) {
        self.limit = Some(rate.max(super::ESTIMATE_MIN as f64));
        self.fallen = Some((now, seen));
    }

    fn cause(&self, seen: &Summary) -> Cause {
        let hopeless = seen.packets >= EXPERIMENT_PACKETS && seen.loss() > TOLERATED_MAX;
        if hopeless || seen.standing >= STANDING {
            Cause::Congestion
        } else if self.is_unmoved(seen) {
            Cause::Path
        } else if self.observations.overflow(self.tolerated) > OVERFLOW {
            Cause::Congestion
        } else {
            Cause::Unknown
        }
    }

    /// Whether as much is lost as before the rate fell.
    fn is_unmoved(&self, seen: &Summary) -> bool {
        let Some((_, before)) = &self.fallen else {
            return false;
        };
        // What a full link would lose now, if what it delivered was all it could.
        let bandwidth = before.rate * (1.0 - before.loss());
        let overflow = 1.0 - (1.0 - self.tolerated) * (bandwidth / seen.rate.max(1.0)).min(1.0);
        seen.packets.min(before.packets) >= EXPERIMENT_PACKETS
            && seen.rate <= FOLLOWED * before.rate
            && UNMOVED.contains(&(seen.loss() / before.loss().max(TOLERATED_MIN)))
            && seen.exceeds(overflow.max(TOLERATED_MIN))
    }
}

#[cfg(test)]
mod tests;
