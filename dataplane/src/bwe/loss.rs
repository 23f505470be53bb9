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

use std::time::Duration;

use crate::time::Time;

/// Observations remembered: some five seconds.
const OBSERVATIONS: usize = 16;

/// Time of sending in one observation, and packets it needs before it is closed.
const OBSERVATION_TIME: Duration = Duration::from_millis(250);
const OBSERVATION_PACKETS: u32 = 10;

/// A sender's pause longer than this ends an observation unfinished.
const PAUSE: Duration = Duration::from_secs(1);

/// The last observations that speak of now: a second.
const RECENT: usize = 4;

/// Loss that is always tolerated, for stray packets get lost everywhere.
const TOLERATED_MIN: f64 = 0.02;

/// Loss above this is congestion whatever its cause: what is left is no use.
const TOLERATED_MAX: f64 = 0.35;

/// Loss that calls for an experiment; below it the estimate only stops to rise, for a layer less would
/// be worse than what is lost.
const HEAVY: f64 = 0.10;

/// How long lighter loss of unknown cause keeps the estimate from rising.
const HOLD_LIGHT: Duration = Duration::from_secs(3);

/// A queue of this length while packets are lost: congestion.
const STANDING: Duration = Duration::from_millis(25);

/// Difference of the log-likelihoods of the two causes that decides between them. Losses come in
/// bursts, so that packets are worth less than as many independent draws; six is one in four hundred for
/// those.
const DECISION: f64 = 6.0;

/// Observations before the loss, with at least this share of the rate at its onset, would contradict both
/// causes: the path changed between them.
const SAME_RATE: f64 = 0.93;

/// Experiments that the sender doesn't follow before the loss is taken for the path's own.
const TRIALS_MAX: u8 = 2;

/// Time without a rise after congestion: doubles while it comes back, up to the second.
const HOLD_MIN: Duration = Duration::from_millis(500);
const HOLD_MAX: Duration = Duration::from_secs(4);

/// Rise of the limit, each second.
const INCREASE_PER_SECOND: f64 = 1.08;

/// The limit is dropped when it is this much above what the delay allows.
const IRRELEVANT: f64 = 1.2;

/// How fast tolerance follows what is lost, each observation.
const FOLLOW: f64 = 0.05;

/// A sender whose rate is still this share of what it was did not follow an experiment.
const FOLLOWED: f64 = 0.9;

/// Less than this, in bits per second, is sound and no rate to experiment with.
const TRIAL_MIN: f64 = 150_000.0;

/// What was sent within some time, and what became of it.
#[derive(Debug, Clone, Copy, Default)]
struct Observation {
    began: Time,
    /// Bits per second.
    rate: f64,
    packets: u32,
    lost: u32,
    standing: Duration,
}

impl Observation {
    fn loss(&self) -> f64 {
        ratio(self.lost, self.packets)
    }

    /// Log-likelihood of what was seen, if each packet is lost with this probability.
    fn likelihood(&self, probability: f64) -> f64 {
        let probability = probability.clamp(0.002, 0.998);
        f64::from(self.lost) * probability.ln()
            + f64::from(self.packets.saturating_sub(self.lost)) * (1.0 - probability).ln()
    }
}

fn ratio(lost: u32, packets: u32) -> f64 {
    f64::from(lost) / f64::from(packets.max(1))
}

/// The observation that is being made.
#[derive(Debug, Clone, Copy)]
struct Open {
    began: Time,
    last: Time,
    bytes: u64,
    packets: u32,
    lost: u32,
    standing: Duration,
}

/// Where packets are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Congestion,
    Path,
    Unknown,
}

/// What was observed and the limit that follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    /// The oldest first.
    observations: [Observation; OBSERVATIONS],
    len: usize,
    open: Option<Open>,
    fresh: bool,
    /// Share of packets that the path loses by itself.
    tolerated: f64,
    limit: Option<f64>,
    /// Observations from before the last fall say nothing about its effect.
    fallen: Option<Time>,
    /// Since when there is loss of unknown cause.
    suspected: Option<Time>,
    /// The rate of sending before the first experiment.
    tried: f64,
    trials: u8,
    hold: Duration,
    hold_until: Time,
    updated: Time,
}

impl Loss {
    /// Nothing observed.
    pub(super) fn new(now: Time) -> Self {
        Self {
            observations: [Observation::default(); OBSERVATIONS],
            len: 0,
            open: None,
            fresh: false,
            tolerated: 0.0,
            limit: None,
            fallen: None,
            suspected: None,
            tried: 0.0,
            trials: 0,
            hold: HOLD_MIN,
            hold_until: now,
            updated: now,
        }
    }

    /// Bits per second, if loss limits the rate.
    pub(super) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// When loss last lowered the rate.
    pub(super) fn fallen(&self) -> Option<Time> {
        self.fallen
    }

    /// Share of packets that the path loses whatever the rate.
    pub(super) fn inherent(&self) -> f64 {
        self.tolerated
    }

    /// Thousandths lost over the last second of sending.
    pub(super) fn permille(&self) -> u16 {
        let (packets, lost) = sum(self.recent(None));
        // At most 1000.
        (ratio(lost, packets) * 1000.0).round() as u16
    }

    /// Takes a packet whose fate is final, in the order of sending; not one of a probe, whose losses are
    /// wanted. `bytes` with headers; `standing`: the queue on the path.
    pub(super) fn on_settled(&mut self, sent_at: Time, bytes: u64, lost: bool, standing: Duration) {
        if let Some(open) = &self.open
            && sent_at.since(open.last) > PAUSE
        {
            self.open = None;
        }
        if let Some(open) = self.open
            && sent_at.since(open.began) >= OBSERVATION_TIME
            && open.packets >= OBSERVATION_PACKETS
        {
            self.close(&open, sent_at);
            self.open = None;
        }
        let open = self.open.get_or_insert(Open {
            began: sent_at,
            last: sent_at,
            bytes: 0,
            packets: 0,
            lost: 0,
            standing,
        });
        open.last = open.last.max(sent_at);
        open.bytes = open.bytes.saturating_add(bytes);
        open.packets += 1;
        open.lost += u32::from(lost);
        open.standing = open.standing.max(standing);
    }

    fn close(&mut self, open: &Open, end: Time) {
        if self.len == OBSERVATIONS {
            self.observations.copy_within(1.., 0);
            self.len -= 1;
        }
        // At least the time of an observation, so this divides by no zero.
        let seconds = end.since(open.began).max(OBSERVATION_TIME).as_secs_f64();
        self.observations[self.len] = Observation {
            began: open.began,
            rate: open.bytes as f64 * 8.0 / seconds,
            packets: open.packets,
            lost: open.lost,
            standing: open.standing,
        };
        self.len += 1;
        self.fresh = true;
    }

    /// Draws conclusions, after packets were settled. `estimate`: what holds now; `by_delay`: what the
    /// delay allows; both bits per second.
    pub(super) fn update(&mut self, now: Time, estimate: f64, by_delay: f64) {
        let seconds = now.since(self.updated).min(PAUSE).as_secs_f64();
        self.updated = now;
        if std::mem::take(&mut self.fresh) {
            self.conclude(now, estimate);
        }
        if let Some(limit) = self.limit
            && self.suspected.is_none()
            && now >= self.hold_until
        {
            let raised = limit * INCREASE_PER_SECOND.powf(seconds);
            self.limit = (raised < by_delay * IRRELEVANT).then_some(raised);
            if self.limit.is_none() {
                self.hold = HOLD_MIN;
            }
        }
    }

    fn conclude(&mut self, now: Time, estimate: f64) {
        let (packets, lost) = sum(self.recent(self.fallen));
        if packets == 0 {
            return;
        }
        if !self.is_excessive(packets, lost) {
            self.suspected = None;
            self.trials = 0;
            // What was once found to be the path's own is followed; that there is such a thing needs proof.
            if self.tolerated > 0.0 {
                self.tolerated += FOLLOW * (ratio(lost, packets) - self.tolerated);
            }
            return;
        }
        if self.suspected.is_none() {
            self.suspected = Some(now);
            self.forget_contradictions();
        }
        let (packets, lost) = sum(self.recent(self.fallen));
        let loss = ratio(lost, packets);
        let rate = mean_rate(self.recent(self.fallen));
        // What arrived, as if the path lost nothing by itself.
        let delivered = rate * (1.0 - loss) / (1.0 - self.tolerated);
        match self.cause(loss) {
            Cause::Path => {
                self.tolerate(loss);
                self.lift();
            }
            Cause::Congestion => {
                self.fall(now, delivered.min(estimate));
                self.hold_until = now + self.hold;
                self.hold = (self.hold * 2).min(HOLD_MAX);
                self.suspected = None;
            }
            Cause::Unknown if loss < HEAVY => {
                self.limit = Some(self.limit.unwrap_or(estimate).min(estimate));
                if self.suspected.is_some_and(|since| now.since(since) >= HOLD_LIGHT) {
                    self.tolerate(loss);
                }
            }
            Cause::Unknown if delivered < TRIAL_MIN => self.tolerate(loss),
            Cause::Unknown if self.trials >= TRIALS_MAX => {
                if rate >= FOLLOWED * self.tried {
                    self.lift();
                }
                self.tolerate(loss);
            }
            Cause::Unknown => {
                if self.trials == 0 {
                    self.tried = rate;
                }
                self.trials += 1;
                self.fall(now, delivered.min(estimate));
            }
        }
    }

    /// Whether more is lost than is tolerated, beyond what chance explains.
    fn is_excessive(&self, packets: u32, lost: u32) -> bool {
        let expected = (self.tolerated * 1.1).max(TOLERATED_MIN);
        let count = f64::from(packets);
        let deviation = (count * expected * (1.0 - expected)).sqrt();
        f64::from(lost) > count * expected + 2.5 * deviation + 1.0
    }

    fn tolerate(&mut self, loss: f64) {
        self.tolerated = loss.min(TOLERATED_MAX);
        self.suspected = None;
        self.trials = 0;
    }

    fn lift(&mut self) {
        self.limit = None;
        self.hold = HOLD_MIN;
    }

    fn fall(&mut self, now: Time, rate: f64) {
        self.limit = Some(rate.max(super::ESTIMATE_MIN as f64));
        self.fallen = Some(now);
    }

    /// Which cause explains the observations better.
    fn cause(&self, loss: f64) -> Cause {
        let lossy = || {
            self.recent(self.fallen)
                .filter(|observation| observation.lost > 0)
        };
        let standing: Duration = lossy().map(|observation| observation.standing).sum();
        let count = u32::try_from(lossy().count()).unwrap_or(u32::MAX);
        if loss > TOLERATED_MAX || standing >= STANDING * count.max(1) {
            return Cause::Congestion;
        }
        let all = || self.observations.iter().take(self.len);
        let (packets, lost) = sum(all());
        let pooled = ratio(lost, packets);
        let path: f64 = all().map(|observation| observation.likelihood(pooled)).sum();
        let inherent = self.tolerated.max(0.005);
        let congestion = all()
            .filter(|observation| observation.loss() > inherent)
            .map(|observation| observation.rate * (1.0 - observation.loss()) / (1.0 - inherent))
            .map(|bandwidth| {
                all()
                    .map(|observation| {
                        let fits = (bandwidth / observation.rate.max(1.0)).min(1.0);
                        observation.likelihood(1.0 - (1.0 - inherent) * fits)
                    })
                    .sum()
            })
            .fold(f64::NEG_INFINITY, f64::max);
        if path - congestion > DECISION {
            Cause::Path
        } else if congestion - path > DECISION {
            Cause::Congestion
        } else {
            Cause::Unknown
        }
    }

    /// Drops what was seen before the loss began at about the same rate.
    fn forget_contradictions(&mut self) {
        let Some(newest) = self.len.checked_sub(1).map(|last| self.observations[last]) else {
            return;
        };
        let mut kept = 0;
        for index in 0..self.len {
            let observation = self.observations[index];
            if observation.rate < newest.rate * SAME_RATE || observation.loss() >= newest.loss() / 2.0 {
                self.observations[kept] = observation;
                kept += 1;
            }
        }
        self.len = kept;
    }

    /// The last second's observations that began after `from`.
    fn recent(&self, from: Option<Time>) -> impl Iterator<Item = &Observation> {
        self.observations
            .get(self.len.saturating_sub(RECENT)..self.len)
            .unwrap_or_default()
            .iter()
            .filter(move |observation| Some(observation.began) >= from)
    }
}

fn sum<'a>(observations: impl Iterator<Item = &'a Observation>) -> (u32, u32) {
    observations.fold((0, 0), |(packets, lost), observation| {
        (packets + observation.packets, lost + observation.lost)
    })
}

fn mean_rate<'a>(observations: impl Iterator<Item = &'a Observation>) -> f64 {
    let (count, sum) = observations.fold((0.0, 0.0), |(count, sum), observation| {
        (count + 1.0, sum + observation.rate)
    });
    if count > 0.0 { sum / count } else { 0.0 }
}

#[cfg(test)]
mod tests;
