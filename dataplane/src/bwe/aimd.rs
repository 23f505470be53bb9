//! The delay-based rate: additive or multiplicative increase, multiplicative decrease, after
//! draft-ietf-rmcat-gcc-02 section 5.5.
//!
//! It rises while the path is used normally, waits while a queue drains, and on overuse falls to a part
//! of what was acknowledged. Rates at which overuse was met are remembered as the link's capacity, near
//! which it rises slowly.

use std::time::Duration;

use super::TELLING_SHARE;
use super::busy_rate::Busy;
use crate::time::Time;

/// How the path is used, as growing or shrinking delay tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    /// The delay shrinks: a queue drains.
    Under,
    /// The delay stays.
    Normal,
    /// The delay grows: a queue fills.
    Over,
}

/// What is known of the rate.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measured {
    /// Acknowledged of late, bits per second.
    pub(super) acked: Option<f64>,
    /// While a queue stands, what it does to this call.
    pub(super) busy: Option<Busy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Increase,
    Hold,
}

/// Share of the acknowledged rate that is kept on overuse: what drains the queue that was built.
const DECREASE: f64 = 0.85;

/// Growth per second away from the known capacity.
const INCREASE_PER_SECOND: f64 = 1.08;

/// The estimate rises no further than this multiple of the acknowledged rate, and some bits: what
/// wasn't sent can't have shown that the path carries it. What is sent comes in steps of layers, and stays
/// between them for long; so it is probes that find the room for the next step, and not a belief that half as
/// much again would fit.
const ACKED_FACTOR: f64 = 1.2;
const ACKED_EXTRA_BPS: f64 = 10_000.0;

/// It rises no further than this share of the known capacity: that is what comes out of a queue, and what is sent at
/// this rate would leave the queue as long as it is.
const DRAINING: f64 = 0.98;

/// Least additive increase, bits per second in each second.
const ADDITIVE_MIN_BPS: f64 = 4_000.0;

/// Added to the round trip: time until an overuse is seen and answered.
const REACTION: Duration = Duration::from_millis(100);

/// Longest time an update may count as increase; feedback comes more often.
const STEP_MAX: Duration = Duration::from_secs(1);

/// The round trip before it is known.
pub(super) const RTT_DEFAULT: Duration = Duration::from_millis(200);

/// Bounds of the round trip between two decreases, to which the reaction is added: whoever falls again
/// before the first fall could show yields to the others twice.
const DECREASE_INTERVAL_MIN: Duration = Duration::from_millis(10);
const DECREASE_INTERVAL_MAX: Duration = Duration::from_millis(200);

/// The delay-based rate and its state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aimd {
    estimate: f64,
    state: State,
    updated: Time,
    decreased: Option<Time>,
    capacity: Capacity,
}

impl Aimd {
    /// Begins at `estimate` bits per second.
    pub(super) fn new(now: Time, estimate: f64) -> Self {
        Self {
            estimate,
            state: State::Increase,
            updated: now,
            decreased: None,
            capacity: Capacity::default(),
        }
    }

    /// Bits per second.
    pub(super) fn estimate(&self) -> f64 {
        self.estimate
    }

    /// Whether overuse was met about here before, and how the estimate compares to that.
    pub(super) fn of_capacity(&self) -> Option<f64> {
        self.capacity.mean().map(|mean| self.estimate / mean.max(1.0))
    }

    /// When it last fell.
    pub(super) fn decreased(&self) -> Option<Time> {
        self.decreased
    }

    /// Sets the rate to what was found by other means.
    pub(super) fn set(&mut self, now: Time, estimate: f64) {
        self.estimate = bound(estimate);
        self.updated = now;
    }

    /// Takes what the last feedback showed.
    pub(super) fn update(&mut self, now: Time, usage: Usage, measured: Measured, rtt: Option<Duration>) {
        let rtt = rtt.unwrap_or(RTT_DEFAULT);
        match usage {
            Usage::Under => self.state = State::Hold,
            Usage::Over => {
                // Not while the queue is too young to tell what it drains at.
                if let Some(busy) = measured.busy
                    && self.may_decrease(now, busy, rtt)
                {
                    self.decrease(now, busy);
                }
                self.state = State::Hold;
            }
            Usage::Normal if self.state == State::Hold => self.state = State::Increase,
            Usage::Normal => {
                if let Some(acked) = measured.acked {
                    self.increase(now, acked, rtt);
                }
            }
        }
        self.updated = now;
    }

    fn may_decrease(&self, now: Time, busy: Busy, rtt: Duration) -> bool {
        let interval = rtt.clamp(DECREASE_INTERVAL_MIN, DECREASE_INTERVAL_MAX) + REACTION;
        // Much less arrives than was thought: at once. That little arrives of little tells nothing.
        let far_below = self.is_telling(busy) && busy.arrived < self.estimate / 2.0;
        self.decreased.is_none_or(|last| now.since(last) >= interval) || far_below
    }

    /// Whether enough was sent to know what the call would get.
    fn is_telling(&self, busy: Busy) -> bool {
        let share = busy.sent / self.estimate;
        share >= TELLING_SHARE || busy.overflows() && share >= TELLING_SHARE / 2.0
    }

    fn decrease(&mut self, now: Time, busy: Busy) {
        self.decreased = Some(now);
        let acked = busy.arrived;
        if !self.is_telling(busy) {
            // Whoever sends much less than it may does not know what it would get. It yields in the proportion
            // in which the queue stretches what it sends, as others do, and not down to what it happens to
            // send.
            let stretched = self.estimate * (acked / busy.sent).min(1.0);
            self.estimate = bound(self.estimate.min(DECREASE * stretched.max(acked)));
            return;
        }
        let mut target = DECREASE * acked;
        if target > self.estimate
            && let Some(capacity) = self.capacity.mean()
        {
            target = DECREASE * capacity;
        }
        self.estimate = bound(self.estimate.min(target));
        self.capacity.on_overuse(acked);
    }

    fn increase(&mut self, now: Time, acked: f64, rtt: Duration) {
        self.capacity.on_normal(acked);
        let seconds = now.since(self.updated).min(STEP_MAX).as_secs_f64();
        let raised = if self.capacity.mean().is_some() {
            self.estimate + self.additive_per_second(rtt) * seconds
        } else {
            self.estimate * INCREASE_PER_SECOND.powf(seconds)
        };
        let limit = acked * ACKED_FACTOR + ACKED_EXTRA_BPS;
        // Above the known capacity it would go on what arrives in lucky windows only; when there is more,
        // probes find it.
        let limit = self
            .capacity
            .mean()
            .map_or(limit, |mean| limit.min(DRAINING * mean));
        // What was once measured isn't taken back because less is sent now.
        self.estimate = bound(raised.min(limit.max(self.estimate)));
    }

    /// Near the capacity: one packet of the usual size in the time it takes to see its effect.
    fn additive_per_second(&self, rtt: Duration) -> f64 {
        const FRAMES_PER_SECOND: f64 = 30.0;
        const PACKET_BITS: f64 = 9600.0;
        let frame_bits = self.estimate / FRAMES_PER_SECOND;
        let packets = (frame_bits / PACKET_BITS).ceil().max(1.0);
        (frame_bits / packets / (rtt + REACTION).as_secs_f64()).max(ADDITIVE_MIN_BPS)
    }
}

fn bound(estimate: f64) -> f64 {
    estimate.clamp(super::ESTIMATE_MIN as f64, super::ESTIMATE_MAX as f64)
}

/// The rate at which overuse was met: mean and spread, in kbit/s.
#[derive(Debug, Clone, Copy, Default)]
struct Capacity {
    mean_kbps: Option<f64>,
    /// Of the variance, in units of the mean.
    deviation: f64,
    /// How often it was met after the first time, as far as that matters.
    samples: u8,
}

/// Weight of each new overuse, at least. The very first is believed until there is another, for some of what it was
/// measured by may have come before the link became narrow; those after it weigh alike at first.
const CAPACITY_WEIGHT: f64 = 0.05;
/// Bounds of the deviation, and the first one.
const DEVIATION_MIN: f64 = 0.4;
const DEVIATION_MAX: f64 = 2.5;
/// Beyond so many standard deviations the capacity is another one.
const DEVIATIONS: f64 = 3.0;

impl Capacity {
    fn mean(&self) -> Option<f64> {
        self.mean_kbps.map(|mean| mean * 1000.0)
    }

    fn spread(&self, mean: f64) -> f64 {
        DEVIATIONS * (self.deviation * mean).sqrt()
    }

    /// More arrives than the link was thought to carry: it carries more.
    fn on_normal(&mut self, acked: f64) {
        if let Some(mean) = self.mean_kbps
            && acked / 1000.0 > mean + self.spread(mean)
        {
            self.mean_kbps = None;
        }
    }

    fn on_overuse(&mut self, acked: f64) {
        let sample = acked / 1000.0;
        match self.mean_kbps {
            Some(mean) if sample >= mean - self.spread(mean) => {
                self.samples = self.samples.saturating_add(1);
                let weight = (1.0 / f64::from(self.samples)).max(CAPACITY_WEIGHT);
                let error = mean - sample;
                let mean = mean - weight * error;
                self.deviation = ((1.0 - weight) * self.deviation + weight * error * error / mean.max(1.0))
                    .clamp(DEVIATION_MIN, DEVIATION_MAX);
                self.mean_kbps = Some(mean);
            }
            // The first, or far below: another link.
            _ => {
                self.mean_kbps = Some(sample);
                self.deviation = DEVIATION_MIN;
                self.samples = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Option<Duration> = Some(Duration::from_millis(50));

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn all(arrived: f64, sent: f64) -> Measured {
        Measured {
            acked: Some(arrived),
            busy: Some(Busy { arrived, sent }),
        }
    }

    /// Updates every 50 ms with everything that may be sent acknowledged.
    fn run(aimd: &mut Aimd, from: u64, millis: u64, usage: Usage) {
        for now in (from..from + millis).step_by(50) {
            let rate = aimd.estimate();
            aimd.update(at(now), usage, all(rate, rate), RTT);
        }
    }

    #[test]
    fn grows_by_eight_percent_a_second() {
        let mut aimd = Aimd::new(at(0), 1e6);
        run(&mut aimd, 50, 10_000, Usage::Normal);
        let expected = 1e6 * INCREASE_PER_SECOND.powi(10);
        assert!((aimd.estimate() / expected - 1.0).abs() < 0.01, "{aimd:?}");
    }

    #[test]
    fn overuse_takes_it_below_what_arrived_and_then_it_rises_slowly() {
        let mut aimd = Aimd::new(at(0), 2e6);
        aimd.update(at(50), Usage::Over, all(1e6, 2e6), RTT);
        assert!((aimd.estimate() - 8.5e5).abs() < 1.0);
        assert_eq!(aimd.decreased(), Some(at(50)));
        // Within a round trip, and not below half: not again.
        aimd.update(at(60), Usage::Over, all(7e5, 1e6), RTT);
        assert!((aimd.estimate() - 8.5e5).abs() < 1.0);
        run(&mut aimd, 100, 1_050, Usage::Normal);
        let rise = aimd.estimate() - 8.5e5;
        // One packet of 9443 bits in 150 ms.
        assert!((50_000.0..75_000.0).contains(&rise), "{rise}");
    }

    #[test]
    fn does_not_rise_past_what_is_sent() {
        let mut aimd = Aimd::new(at(0), 1e6);
        for now in (50..60_000).step_by(50) {
            aimd.update(at(now), Usage::Normal, all(1e6, 1e6), RTT);
        }
        assert!((aimd.estimate() - 1.21e6).abs() < 1.0);
        // And keeps it when less is sent.
        aimd.update(at(60_000), Usage::Normal, all(1e5, 1e5), RTT);
        assert!((aimd.estimate() - 1.21e6).abs() < 1.0);
    }

    #[test]
    fn the_first_overuse_is_a_guess_of_the_capacity() {
        let mut capacity = Capacity::default();
        // Half of its time the link still carried more.
        capacity.on_overuse(318_000.0);
        capacity.on_overuse(300_000.0);
        assert_eq!(capacity.mean(), Some(300_000.0));
        capacity.on_overuse(294_000.0);
        assert_eq!(capacity.mean(), Some(297_000.0));
        for _ in 0..50 {
            capacity.on_overuse(300_000.0);
        }
        capacity.on_overuse(280_000.0);
        assert!(capacity.mean() > Some(298_000.0), "{capacity:?}");
    }

    #[test]
    fn rises_no_further_than_the_known_capacity() {
        let mut aimd = Aimd::new(at(0), 1e6);
        aimd.update(at(50), Usage::Over, all(1e6, 1.1e6), RTT);
        for now in (100..60_000).step_by(50) {
            aimd.update(at(now), Usage::Normal, all(0.98e6, 0.98e6), RTT);
        }
        assert!((aimd.estimate() - DRAINING * 1.0e6).abs() < 1.0, "{aimd:?}");
        // Much more arrives: that was another link.
        for now in (60_000..62_000).step_by(50) {
            aimd.update(at(now), Usage::Normal, all(1.3e6, 1.3e6), RTT);
        }
        assert!(aimd.estimate() > 1.1e6, "{aimd:?}");
    }

    #[test]
    fn sound_alone_does_not_pay_for_the_queues_of_others() {
        let mut aimd = Aimd::new(at(0), 2e6);
        aimd.update(at(50), Usage::Over, all(4e4, 5e4), RTT);
        assert!((aimd.estimate() - 0.85 * 1.6e6).abs() < 1.0, "{aimd:?}");
        assert_eq!(aimd.of_capacity(), None);
    }

    #[test]
    fn waits_while_the_queue_drains() {
        let mut aimd = Aimd::new(at(0), 1e6);
        run(&mut aimd, 50, 10_000, Usage::Under);
        assert!((aimd.estimate() - 1e6).abs() < 1.0);
    }

    #[test]
    fn stays_within_its_bounds() {
        let mut aimd = Aimd::new(at(0), 1e6);
        for rate in [0.0, f64::MAX, f64::NAN, f64::INFINITY] {
            for usage in [Usage::Over, Usage::Normal, Usage::Normal] {
                aimd.update(at(10_000), usage, all(rate, rate), RTT);
                let bounds = super::super::ESTIMATE_MIN as f64..=super::super::ESTIMATE_MAX as f64;
                assert!(bounds.contains(&aimd.estimate()), "{aimd:?}");
            }
        }
    }
}
