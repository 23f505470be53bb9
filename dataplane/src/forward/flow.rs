//! Whether a layer flows, how much of it, and at which rate of pictures: what the choice between
//! layers rests on.

use std::time::Duration;

use crate::time::Time;

/// Length of one measuring window.
const WINDOW: Duration = Duration::from_secs(1);

/// A first rate is given once so much of a window is over: a key frame alone says nothing.
const FIRST_RATE_AFTER: Duration = Duration::from_millis(300);

/// A layer without packets for so long counts as gone. Screen shares of still pictures pause for
/// about a second, so this is longer.
pub const STARVED_AFTER: Duration = Duration::from_secs(2);

/// A layer that is silent for so long while its siblings go on counts as gone: a camera gives all of
/// its layers the same pictures.
pub const STARVED_BESIDE_SIBLINGS: Duration = Duration::from_millis(700);

/// Pictures its siblings must have ended meanwhile.
const MISSED_MAX: u16 = 5;

/// Temporal layers told apart; more are counted with the highest.
pub const TEMPORAL_LAYERS: usize = 4;

/// Bytes over time of one layer, by temporal layer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flow {
    window_start: Option<Time>,
    window_bytes: [u32; TEMPORAL_LAYERS],
    window_frames: u32,
    /// Smoothed bits per second of each temporal layer: windows with a key frame weigh no more than
    /// others, or every key frame would look like a layer that outgrew its path.
    bps: [u64; TEMPORAL_LAYERS],
    fps: u16,
    measured: bool,
    last_packet: Option<Time>,
    /// Since when packets come without a break.
    since: Option<Time>,
    highest_temporal: u8,
    /// Pictures of its siblings since its last packet.
    missed: u16,
}

impl Flow {
    /// Accounts one packet of `bytes`.
    pub fn on_packet(&mut self, now: Time, bytes: usize, temporal: u8, ends_frame: bool) {
        if !self.flows(now) {
            // What it was before says little about what it is now, but is better than nothing.
            self.since = Some(now);
            self.window_start = None;
        }
        self.last_packet = Some(now);
        self.missed = 0;
        let start = *self.window_start.get_or_insert_with(|| {
            self.window_bytes = [0; TEMPORAL_LAYERS];
            self.window_frames = 0;
            now
        });
        if now.since(start) >= WINDOW {
            self.close_window(now.since(start));
            self.window_start = Some(now);
        }
        let temporal = usize::from(temporal).min(TEMPORAL_LAYERS - 1);
        self.highest_temporal = self.highest_temporal.max(temporal as u8);
        let there = &mut self.window_bytes[temporal];
        *there = there.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.window_frames += u32::from(ends_frame);
    }

    /// Accounts `bytes` of a lower spatial layer that this one is decoded with: they cost, but are no sign that it flows.
    pub fn on_below(&mut self, now: Time, bytes: usize, temporal: u8) {
        if self.flows(now) && self.window_start.is_some() {
            let there = &mut self.window_bytes[usize::from(temporal).min(TEMPORAL_LAYERS - 1)];
            *there = there.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        }
    }

    fn close_window(&mut self, elapsed: Duration) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX).max(1);
        for (bps, bytes) in self.bps.iter_mut().zip(self.window_bytes) {
            let sample = per_second(u64::from(bytes) * 8, nanos);
            *bps = if self.measured {
                (*bps * 2 + sample) / 3
            } else {
                sample
            };
        }
        self.fps = u16::try_from(per_second(u64::from(self.window_frames), nanos)).unwrap_or(u16::MAX);
        self.measured = true;
        self.window_bytes = [0; TEMPORAL_LAYERS];
        self.window_frames = 0;
    }

    /// A sibling ended a picture.
    pub fn on_sibling(&mut self) {
        self.missed = self.missed.saturating_add(1);
    }

    /// Whether siblings went on without it, long enough and often enough to tell it from a pause that
    /// all of them made.
    #[must_use]
    pub fn fell_behind(&self, newest: Time) -> bool {
        self.missed >= MISSED_MAX
            && self
                .last_packet
                .is_some_and(|own| newest.since(own) >= STARVED_BESIDE_SIBLINGS)
    }

    /// Whether packets still come.
    #[must_use]
    pub fn flows(&self, now: Time) -> bool {
        self.last_packet
            .is_some_and(|last| now.since(last) < STARVED_AFTER)
    }

    /// When the newest packet came.
    #[must_use]
    pub fn last_packet(&self) -> Option<Time> {
        self.last_packet
    }

    /// For how long packets have come without a break.
    #[must_use]
    pub fn flowing_for(&self, now: Time) -> Duration {
        match self.since {
            Some(since) if self.flows(now) => now.since(since),
            _ => Duration::ZERO,
        }
    }

    /// Bits per second up to a temporal layer, as measured while it flowed; none before there was
    /// enough to measure.
    #[must_use]
    pub fn bps(&self, now: Time, temporal: u8) -> Option<u64> {
        let end = (usize::from(temporal) + 1).min(TEMPORAL_LAYERS);
        if self.measured {
            return Some(self.bps[..end].iter().sum());
        }
        let elapsed = now.since(self.window_start?);
        (elapsed >= FIRST_RATE_AFTER).then(|| {
            let bytes: u64 = self.window_bytes[..end]
                .iter()
                .map(|bytes| u64::from(*bytes))
                .sum();
            let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX).max(1);
            per_second(bytes * 8, nanos)
        })
    }

    /// Pictures per second of the last whole window, while it flows.
    #[must_use]
    pub fn fps(&self, now: Time) -> u16 {
        if self.flows(now) { self.fps } else { 0 }
    }

    /// The highest temporal layer seen.
    #[must_use]
    pub fn highest_temporal(&self) -> u8 {
        self.highest_temporal
    }
}

fn per_second(amount: u64, nanos: u64) -> u64 {
    let exact = u128::from(amount) * 1_000_000_000 / u128::from(nanos);
    u64::try_from(exact).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(flow: &mut Flow, bytes: usize, from_ms: u64, until_ms: u64) {
        for (frame, millis) in (from_ms..=until_ms).step_by(50).enumerate() {
            flow.on_packet(Time::from_millis(millis), bytes, (frame % 2) as u8, true);
        }
    }

    #[test]
    fn rates_are_by_temporal_layer_and_smoothed() {
        let mut flow = Flow::default();
        fed(&mut flow, 500, 0, 5_000);
        let now = Time::from_millis(5_000);
        // 20 pictures of 500 bytes a second, every other one in the upper layer.
        assert_eq!(flow.bps(now, 0).unwrap() / 1000, 40);
        assert_eq!(flow.bps(now, 3).unwrap() / 1000, 80);
        assert_eq!((flow.fps(now), flow.highest_temporal()), (20, 1));
        // A key frame of 50 kB moves the rate, but does not make it.
        flow.on_packet(now, 50_000, 0, true);
        fed(&mut flow, 500, 5_050, 7_000);
        let bps = flow.bps(Time::from_millis(7_000), 3).unwrap();
        assert!((80_000..250_000).contains(&bps), "{bps}");
    }

    #[test]
    fn a_first_rate_comes_soon_and_survives_a_pause() {
        let mut flow = Flow::default();
        fed(&mut flow, 500, 0, 200);
        assert_eq!(flow.bps(Time::from_millis(200), 3), None);
        fed(&mut flow, 500, 250, 1_500);
        assert!(flow.bps(Time::from_millis(1_500), 3).is_some());
        assert!(!flow.flows(Time::from_millis(3_600)));
        assert!(flow.bps(Time::from_millis(3_600), 3).is_some());
        assert_eq!(flow.flowing_for(Time::from_millis(3_600)), Duration::ZERO);
        fed(&mut flow, 500, 4_000, 4_500);
        assert_eq!(
            flow.flowing_for(Time::from_millis(4_500)),
            Duration::from_millis(500)
        );
    }
}
