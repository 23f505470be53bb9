//! One encoding of a camera: when it makes a picture, of which kind, how large, and predicted from what.
//!
//! Sizes follow the target rate with the noise of a live picture. A key frame is several times as large,
//! and the frames after it are smaller until the encoder has paid that back, as with a rate control
//! of one second.

use std::collections::VecDeque;
use std::time::Duration;

use kall_network::Random;

use crate::codec::{Dependence, Frame, Ids, SPATIAL_MAX};
use crate::scenario::LayerSpec;

/// A key frame in mean frames: what real-time encoders allow.
const KEY_SIZE: f64 = 5.0;

/// Deviation of a frame's size, as a share of its mean.
const NOISE: f64 = 0.2;

/// Share of every frame by which a debt is paid back.
const REPAYMENT: f64 = 0.25;

/// Temporal layers of a picture by its place in the pattern, with the distance to the frame it is
/// predicted from (libvpx's patterns for 1, 2 and 3 layers).
const PATTERNS: [&[(u8, u8)]; 3] = [&[(0, 1)], &[(0, 2), (1, 1)], &[(0, 4), (2, 1), (1, 2), (2, 1)]];

/// Size of a frame of each temporal layer, against the mean.
const WEIGHTS: [&[f64]; 3] = [&[1.0], &[1.2, 0.8], &[1.6, 0.8, 0.8]];

/// Frames that later ones can be predicted from: pictures remembered.
const PICTURES: usize = 8;

/// One spatial layer.
#[derive(Debug)]
struct Spatial {
    width: u16,
    height: u16,
    mean_bytes: f64,
    /// Bytes above the target that are to be saved.
    debt: f64,
}

/// What one encoding does. It has one spatial layer, or several in one stream.
#[derive(Debug)]
pub(crate) struct Encoder {
    spatial: Vec<Spatial>,
    dependence: Dependence,
    temporal: usize,
    /// How many spatial layers are encoded; none while it is stopped.
    layers: usize,
    key_wanted: bool,
    /// Spatial layers of the newest picture.
    coded: usize,
    /// The next frame's number, and its picture's place in the pattern.
    number: u32,
    place: usize,
    picture: u32,
    /// Frames of the newest pictures, the newest last.
    frames: VecDeque<[Option<u32>; SPATIAL_MAX]>,
    /// The newest frame that each layer can't do without.
    chains: [Option<u32>; SPATIAL_MAX],
    ids: Ids,
    random: Random,
}

impl Encoder {
    /// `spatial` layers with their rates, `temporal` layers, 1 to 3. The first picture is a key picture.
    pub(crate) fn new(
        spatial: &[LayerSpec],
        dependence: Dependence,
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
        let spatial: Vec<Spatial> = spatial
            .iter()
            .map(|spec| Spatial {
                width: spec.width,
                height: spec.height,
                mean_bytes: f64::from(spec.kbps) * 1000.0 / 8.0 / f64::from(fps),
                debt: 0.0,
            })
            .collect();
        Self {
            layers: spatial.len(),
            coded: spatial.len(),
            spatial,
            dependence,
            temporal: usize::from(temporal.clamp(1, 3)),
            key_wanted: true,
            number: 0,
            place: 0,
            picture: 0,
            frames: VecDeque::new(),
            chains: [None; SPATIAL_MAX],
            ids,
            random,
        }
    }

    /// Encodes so many spatial layers from now on. What was not encoded begins with a key picture.
    pub(crate) fn set_layers(&mut self, layers: usize) {
        self.key_wanted |= layers > self.layers;
        self.layers = layers;
    }

    /// A decoder somewhere waits.
    pub(crate) fn want_key(&mut self) {
        self.key_wanted = true;
    }

    /// The frames of the next picture; none while it is stopped.
    pub(crate) fn encode(&mut self) -> Vec<Frame> {
        if self.layers == 0 {
            return Vec::new();
        }
        let key = std::mem::take(&mut self.key_wanted);
        if key {
            self.place = 0;
            self.ids.key_index = (self.ids.key_index + 1) & 0x1f;
        }
        self.coded = if key {
            self.layers
        } else {
            self.coded.min(self.layers)
        };
        let pattern = PATTERNS[self.temporal - 1];
        let (temporal, distance) = pattern[self.place % pattern.len()];
        // Every second picture of the highest of three layers is predicted from the middle one.
        let sync = temporal > 0 && self.place % pattern.len() < 3;
        self.place += 1;
        self.ids.picture_id = (self.ids.picture_id + 1) & 0x7fff;
        if temporal == 0 {
            self.ids.tl0 = self.ids.tl0.wrapping_add(1);
        }
        let picture = self.picture;
        self.picture += 1;
        let mut own = [None; SPATIAL_MAX];
        let mut frames = Vec::new();
        for spatial in 0..self.coded {
            let number = self.number;
            self.number += 1;
            let depends = key || self.dependence == Dependence::Every;
            let before = self.frames.len().checked_sub(usize::from(distance));
            let before = before.and_then(|index| self.frames.get(index)?[spatial]);
            let below = spatial.checked_sub(1).and_then(|below| own[below]);
            own[spatial] = Some(number);
            frames.push(Frame {
                key,
                number,
                before: before.filter(|_| !key),
                below: below.filter(|_| depends),
                picture,
                distance,
                spatial: spatial as u8,
                layers: self.coded as u8,
                chains: self.chained(number, spatial, (key, temporal)),
                bytes: self.size(key, spatial, temporal),
                ids: Ids {
                    temporal,
                    sync,
                    ..self.ids
                },
                width: self.spatial[spatial].width,
                height: self.spatial[spatial].height,
            });
        }
        self.frames.push_back(own);
        if self.frames.len() > PICTURES {
            self.frames.pop_front();
        }
        frames
    }

    /// How far back the chains are at a frame, which may be the next link of some. Those of layers that are not encoded
    /// have none.
    fn chained(&mut self, number: u32, spatial: usize, (key, temporal): (bool, u8)) -> [u8; SPATIAL_MAX] {
        let begins = key && spatial == 0;
        let mut distances = [0; SPATIAL_MAX];
        for (own, last) in distances.iter_mut().zip(self.chains).take(self.coded) {
            if let Some(last) = last.filter(|_| !begins) {
                *own = u8::try_from(number - last).expect("pictures follow each other");
            }
        }
        let depends = key || self.dependence == Dependence::Every;
        for (chain, last) in self.chains.iter_mut().enumerate() {
            if temporal == 0 && (chain == spatial || chain > spatial && depends) {
                *last = Some(number);
            }
        }
        distances
    }

    fn size(&mut self, key: bool, spatial: usize, temporal: u8) -> usize {
        let share = if key {
            KEY_SIZE
        } else {
            WEIGHTS[self.temporal - 1][usize::from(temporal)]
        };
        let noise = (1.0 + NOISE * self.random.normal()).clamp(0.4, 2.0);
        let Spatial { mean_bytes, debt, .. } = &mut self.spatial[spatial];
        let due = *mean_bytes * share;
        let saved = if key { 0.0 } else { debt.min(due * REPAYMENT) };
        let bytes = due * noise - saved;
        *debt -= saved;
        if key {
            *debt += bytes - *mean_bytes;
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

    fn layer((width, height): (u16, u16), kbps: u32) -> LayerSpec {
        LayerSpec {
            rid: "f".to_owned(),
            width,
            height,
            kbps,
        }
    }

    fn encoder(temporal: u8) -> Encoder {
        let layers = [layer((1280, 720), 1200)];
        Encoder::new(&layers, Dependence::Every, 30, temporal, Random::new(5))
    }

    fn scalable(dependence: Dependence) -> Encoder {
        let layers = [((320, 180), 150), ((640, 360), 400), ((1280, 720), 1200)];
        let layers = layers.map(|(size, kbps)| layer(size, kbps));
        Encoder::new(&layers, dependence, 30, 3, Random::new(5))
    }

    #[test]
    fn the_rate_is_kept_and_key_frames_are_paid_back() {
        let mut encoder = encoder(1);
        let mut total = 0;
        for number in 0..3000 {
            if number % 300 == 0 {
                encoder.want_key();
            }
            let frame = encoder.encode()[0];
            assert_eq!(frame.key, number % 300 == 0);
            total += frame.bytes;
        }
        let kbps = total as f64 * 8.0 / 100.0 / 1000.0;
        assert!((1150.0..1250.0).contains(&kbps), "{kbps}");
    }

    #[test]
    fn a_restart_is_a_key_frame() {
        let mut encoder = encoder(1);
        assert!(encoder.encode()[0].key);
        assert!(!encoder.encode()[0].key);
        encoder.set_layers(0);
        assert!(encoder.encode().is_empty());
        encoder.set_layers(1);
        assert!(encoder.encode()[0].key);
    }

    #[test]
    fn frames_are_predicted_from_lower_temporal_layers() {
        for temporal in 1..=3 {
            let mut encoder = encoder(temporal);
            let frames: Vec<Frame> = (0..40).flat_map(|_| encoder.encode()).collect();
            for frame in &frames[1..] {
                let reference = &frames[frame.before.expect("no key frame") as usize];
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

    #[test]
    fn frames_are_predicted_from_lower_spatial_layers() {
        for dependence in [Dependence::Every, Dependence::Key] {
            let mut encoder = scalable(dependence);
            let frames: Vec<Frame> = (0..40).flat_map(|_| encoder.encode()).collect();
            assert_eq!(frames.len(), 120);
            for frame in &frames {
                let depends = frame.spatial > 0 && (frame.key || dependence == Dependence::Every);
                assert_eq!(frame.below, depends.then(|| frame.number - 1));
                let before = frame.before.map(|before| frames[before as usize].spatial);
                assert_eq!(before, (!frame.key).then_some(frame.spatial));
            }
        }
    }

    #[test]
    fn a_layer_that_comes_back_begins_with_a_key_picture_and_one_that_goes_without() {
        let mut encoder = scalable(Dependence::Key);
        let mut picture = |layers| {
            encoder.set_layers(layers);
            let frames = encoder.encode();
            (frames.len(), frames[0].key)
        };
        let seen = [3, 3, 1, 1, 2, 3, 2].map(&mut picture);
        assert_eq!(
            seen,
            [
                (3, true),
                (3, false),
                (1, false),
                (1, false),
                (2, true),
                (3, true),
                (2, false)
            ]
        );
    }

    /// The table of L3T3_KEY in the specification of the dependency descriptor.
    #[test]
    fn chains_are_those_of_the_specification() {
        let mut encoder = scalable(Dependence::Key);
        let frames: Vec<Frame> = (0..5).flat_map(|_| encoder.encode()).collect();
        let chains: Vec<[u8; 3]> = frames.iter().map(|frame| frame.chains).collect();
        assert_eq!(
            chains,
            [
                [0, 0, 0],
                [1, 1, 1],
                [2, 1, 1],
                [3, 2, 1],
                [4, 3, 2],
                [5, 4, 3],
                [6, 5, 4],
                [7, 6, 5],
                [8, 7, 6],
                [9, 8, 7],
                [10, 9, 8],
                [11, 10, 9],
                [12, 11, 10],
                [1, 12, 11],
                [2, 1, 12]
            ]
        );
    }
}
