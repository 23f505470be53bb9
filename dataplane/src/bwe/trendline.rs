//! Whether the delay grows: a line through the last groups' delays against a threshold that adapts
//! (draft-ietf-rmcat-gcc-02 sections 5.3 and 5.4, with the linear regression that replaced its Kalman
//! filter).

use super::aimd::Usage;
use super::groups::Step;

/// Groups the line goes through.
const POINTS: usize = 20;

/// Weight of the past in the smoothed delay.
const SMOOTHING: f64 = 0.9;

/// The slope is scaled by the number of deltas, up to this many, and a gain.
const DELTAS_MAX: u32 = 60;
const GAIN: f64 = 4.0;

/// The threshold in milliseconds: where it begins, and its bounds.
const THRESHOLD_START: f64 = 12.5;
const THRESHOLD_MIN: f64 = 6.0;
const THRESHOLD_MAX: f64 = 600.0;

/// How fast, per millisecond, the threshold follows a trend above it and one below it.
const FOLLOW_UP: f64 = 0.0087;
const FOLLOW_DOWN: f64 = 0.039;

/// A trend further above the threshold than this is a step, not what the threshold should learn.
const OUTLIER: f64 = 15.0;

/// Longest step of the threshold, milliseconds.
const FOLLOW_STEP_MAX: f64 = 100.0;

/// How long, in milliseconds, the trend must stay above the threshold.
const OVERUSE_TIME: f64 = 10.0;

/// The line and what it says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trendline {
    /// Arrival and smoothed delay, milliseconds; in the order of arrival.
    points: [(f64, f64); POINTS],
    len: usize,
    /// Where the next point goes.
    at: usize,
    deltas: u32,
    arrival: f64,
    delay: f64,
    smoothed: f64,
    slope: f64,
    threshold: f64,
    /// Time above the threshold and how often in a row.
    above: Option<(f64, u32)>,
    usage: Usage,
}

impl Trendline {
    /// Nothing known.
    pub(super) fn new() -> Self {
        Self {
            points: [(0.0, 0.0); POINTS],
            len: 0,
            at: 0,
            deltas: 0,
            arrival: 0.0,
            delay: 0.0,
            smoothed: 0.0,
            slope: 0.0,
            threshold: THRESHOLD_START,
            above: None,
            usage: Usage::Normal,
        }
    }

    /// What the path's use is.
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// Takes what two groups told.
    pub(super) fn on_step(&mut self, step: Step) {
        match step {
            Step::Restart => *self = Self::new(),
            Step::Delta { sent, arrived } => self.on_delta(sent as f64 / 1000.0, arrived as f64 / 1000.0),
        }
    }

    fn on_delta(&mut self, sent: f64, arrived: f64) {
        self.deltas = self.deltas.saturating_add(1).min(DELTAS_MAX);
        self.arrival += arrived;
        self.delay += arrived - sent;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.delay;
        self.points[self.at] = (self.arrival, self.smoothed);
        self.at = (self.at + 1) % POINTS;
        self.len = (self.len + 1).min(POINTS);
        let before = self.slope;
        if self.len == POINTS
            && let Some(slope) = self.fit()
        {
            self.slope = slope;
        }
        self.detect(sent, before);
        self.follow(arrived);
    }

    fn trend(&self) -> f64 {
        f64::from(self.deltas) * self.slope * GAIN
    }

    /// Least squares; `None` if all arrived at once.
    fn fit(&self) -> Option<f64> {
        let count = POINTS as f64;
        let (sum_x, sum_y) = self.points.iter().fold((0.0, 0.0), |(x, y), point| {
            (x + point.0 - self.arrival, y + point.1)
        });
        let (mean_x, mean_y) = (sum_x / count, sum_y / count);
        let (covariance, variance) = self.points.iter().fold((0.0, 0.0), |(xy, xx), point| {
            let x = point.0 - self.arrival - mean_x;
            (xy + x * (point.1 - mean_y), xx + x * x)
        });
        (variance > 0.0).then(|| covariance / variance)
    }

    fn detect(&mut self, sent: f64, slope_before: f64) {
        if self.deltas < 2 {
            return;
        }
        let trend = self.trend();
        if trend > self.threshold {
            let (time, times) = match self.above {
                // It began somewhere between the two groups.
                None => (sent / 2.0, 1),
                Some((time, times)) => (time + sent, times + 1),
            };
            self.above = Some((time, times));
            if time > OVERUSE_TIME && times > 1 && self.slope >= slope_before {
                self.above = Some((0.0, 0));
                self.usage = Usage::Over;
            }
        } else {
            self.above = None;
            self.usage = if trend < -self.threshold {
                Usage::Under
            } else {
                Usage::Normal
            };
        }
    }

    fn follow(&mut self, arrived: f64) {
        let trend = self.trend().abs();
        if trend > self.threshold + OUTLIER {
            return;
        }
        let speed = if trend < self.threshold {
            FOLLOW_DOWN
        } else {
            FOLLOW_UP
        };
        let step = speed * (trend - self.threshold) * arrived.min(FOLLOW_STEP_MAX);
        self.threshold = (self.threshold + step).clamp(THRESHOLD_MIN, THRESHOLD_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups every 20 ms whose delay grows by `growth` ms a group, with `noise` by turns.
    fn feed(line: &mut Trendline, groups: u32, growth: f64, noise: f64) {
        for group in 0..groups {
            let sign = if group % 2 == 0 { 1.0 } else { -1.0 };
            line.on_delta(20.0, 20.0 + growth + sign * noise);
        }
    }

    #[test]
    fn a_steady_delay_is_normal_use() {
        let mut line = Trendline::new();
        feed(&mut line, 500, 0.0, 5.0);
        assert_eq!(line.usage(), Usage::Normal);
        assert!(line.threshold < THRESHOLD_START);
    }

    #[test]
    fn a_growing_delay_is_overuse_and_a_shrinking_one_underuse() {
        let mut line = Trendline::new();
        feed(&mut line, 100, 0.0, 1.0);
        feed(&mut line, 20, 2.0, 1.0);
        assert_eq!(line.usage(), Usage::Over);
        feed(&mut line, 60, -2.0, 1.0);
        assert_eq!(line.usage(), Usage::Under);
        feed(&mut line, 60, 0.0, 1.0);
        assert_eq!(line.usage(), Usage::Normal);
    }

    #[test]
    fn the_threshold_learns_what_the_path_does_anyway() {
        let mut line = Trendline::new();
        feed(&mut line, 100, 0.0, 0.0);
        let quiet = line.threshold;
        // Sways by 90 ms within 120 groups.
        let mut highest = quiet;
        for group in 0..600 {
            let growth = if group / 60 % 2 == 0 { 1.5 } else { -1.5 };
            line.on_delta(20.0, 20.0 + growth);
            highest = f64::max(highest, line.threshold);
        }
        assert!(highest > 2.0 * quiet, "{quiet} {highest}");
    }

    #[test]
    fn a_restart_forgets() {
        let mut line = Trendline::new();
        feed(&mut line, 100, 2.0, 0.0);
        line.on_step(Step::Restart);
        assert_eq!(line.usage(), Usage::Normal);
        assert_eq!(line.len, 0);
    }

    #[test]
    fn groups_that_all_arrive_at_once_have_no_slope() {
        let mut line = Trendline::new();
        for _ in 0..100 {
            line.on_step(Step::Delta {
                sent: 1_000_000,
                arrived: 0,
            });
        }
        assert!(line.trend().is_finite());
    }
}
