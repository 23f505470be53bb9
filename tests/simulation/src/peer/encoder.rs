//! One encoding of a camera: when it makes a frame, of which kind, how large, and predicted from what.
//!
//! Sizes follow the target rate with the noise of a live picture. A key frame is several times as large,
//! and the frames after it are smaller until the encoder has paid that back, as with a rate control
//! of one second.

use std::time::Duration;

use kall_network::Random;

use crate::codec::{Frame, Ids};

/// A key frame in mean frames: what real-time encoders allow.
const KEY_SIZE: f64 = 5.0;

/// Deviation of a frame's size, as a share of its mean.
const NOISE: f64 = 0.2;

/// Share of every frame by which a debt is paid back.
const REPAYMENT: f64 = 0.25;

/// Temporal layers of a picture by its place in the pattern, with the distance to the frame it is
/// predicted from (libvpx's patterns for 1, 2 and 3 layers).
const PATTERNS: [&[(u8, u32)]; 3] = [&[(0, 1)], &[(0, 2), (1, 1)], &[(0, 4), (2, 1), (1, 2), (2, 1)]];

/// Size of a frame of each temporal layer, against the mean.
const WEIGHTS: [&[f64]; 3] = [&[1.0], &[1.2, 0.8], &[1.6, 0.8, 0.8]];

/// What one encoding does.
#[derive(Debug)]
pub(crate) struct Encoder {
    width: u16,
    height: u16,
    mean_bytes: f64,
    temporal: usize,
    /// Whether it encodes at all.
    active: bool,
    key_wanted: bool,
    /// Bytes above the target that are to be saved.
    debt: f64,
    /// The next frame's number, and its place in the pattern.
    number: u32,
    place: usize,
    ids: Ids,
    random: Random,
}

impl Encoder {
    /// `temporal` layers, 1 to 3. The first frame is a key frame.
    pub(crate) fn new(
        (width, height): (u16, u16),
        kbps: u32,
        fps: u32,
        temporal: u8,
        mut random: Random,
    ) -> Self {
        let ids = Ids {
            picture_id: (random.below(1 << 15)) as u16,
            tl0: random.below(256) as u8,
            temporal: 0,
            sync: false,
            key_index: random.below(32) as u8,
        };
        Self {
            width,
            height,
            mean_bytes: f64::from(kbps) * 1000.0 / 8.0 / f64::from(fps),
            temporal: usize::from(temporal.clamp(1, 3)),
            active: true,
            key_wanted: true,
            debt: 0.0,
            number: 0,
            place: 0,
            ids,
            random,
        }
    }

    /// Starts or stops it. What comes after a stop begins with a key frame.
    pub(crate) fn set_active(&mut self, active: bool) {
        self.key_wanted |= active && !self.active;
        self.active = active;
    }

    /// A decoder somewhere waits.
    pub(crate) fn want_key(&mut self) {
        self.key_wanted = true;
    }

    /// The next frame; none while it is stopped.
    pub(crate) fn encode(&mut self) -> Option<Frame> {
        if !self.active {
            return None;
        }
        let key = std::mem::take(&mut self.key_wanted);
        if key {
            self.place = 0;
            self.ids.key_index = (self.ids.key_index + 1) & 0x1f;
        }
        let pattern = PATTERNS[self.temporal - 1];
        let (temporal, distance) = pattern[self.place % pattern.len()];
        // Every second picture of the highest of three layers is predicted from the middle one.
        let sync = temporal > 0 && self.place % pattern.len() < 3;
        self.place += 1;
        self.ids.picture_id = (self.ids.picture_id + 1) & 0x7fff;
        if temporal == 0 {
            self.ids.tl0 = self.ids.tl0.wrapping_add(1);
        }
        let number = self.number;
        self.number += 1;
        Some(Frame {
            key,
            number,
            reference: if key { number } else { number - distance },
            bytes: self.size(key, temporal),
            ids: Ids {
                temporal,
                sync,
                ..self.ids
            },
            width: self.width,
            height: self.height,
        })
    }

    fn size(&mut self, key: bool, temporal: u8) -> usize {
        let share = if key {
            KEY_SIZE
        } else {
            WEIGHTS[self.temporal - 1][usize::from(temporal)]
        };
        let noise = (1.0 + NOISE * self.random.normal()).clamp(0.4, 2.0);
        let due = self.mean_bytes * share;
        let saved = if key { 0.0 } else { self.debt.min(due * REPAYMENT) };
        let bytes = due * noise - saved;
        self.debt -= saved;
        if key {
            self.debt += bytes - self.mean_bytes;
        }
        bytes.max(50.0) as usize
    }
}

/// Time between two frames.
pub(crate) fn period(fps: u32) -> Duration {
    Duration::from_secs(1) / fps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(temporal: u8) -> Encoder {
        Encoder::new((1280, 720), 1200, 30, temporal, Random::new(5))
    }

    #[test]
    fn the_rate_is_kept_and_key_frames_are_paid_back() {
        let mut encoder = encoder(1);
        let mut total = 0;
        for number in 0..3000 {
            if number % 300 == 0 {
                encoder.want_key();
            }
            let frame = encoder.encode().expect("active");
            assert_eq!(frame.key, number % 300 == 0);
            total += frame.bytes;
        }
        let kbps = total as f64 * 8.0 / 100.0 / 1000.0;
        assert!((1150.0..1250.0).contains(&kbps), "{kbps}");
    }

    #[test]
    fn a_restart_is_a_key_frame() {
        let mut encoder = encoder(1);
        assert!(encoder.encode().expect("active").key);
        assert!(!encoder.encode().expect("active").key);
        encoder.set_active(false);
        assert!(encoder.encode().is_none());
        encoder.set_active(true);
        assert!(encoder.encode().expect("active").key);
    }

    #[test]
    fn frames_are_predicted_from_lower_temporal_layers() {
        for temporal in 1..=3 {
            let mut encoder = encoder(temporal);
            let frames: Vec<Frame> = (0..40).map(|_| encoder.encode().expect("active")).collect();
            for frame in &frames[1..] {
                let reference = &frames[frame.reference as usize];
                let (above, below) = (frame.ids.temporal, reference.ids.temporal);
                assert!(
                    below < above || above == 0 && below == 0,
                    "{frame:?} {reference:?}"
                );
                assert_eq!(frame.ids.sync, above > 0 && below == 0, "{frame:?}");
                let step = frame.ids.tl0.wrapping_sub(reference.ids.tl0);
                assert_eq!(step, u8::from(above == 0), "one picture of the lowest layer back");
            }
        }
    }
}
