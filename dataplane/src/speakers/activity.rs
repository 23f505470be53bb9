//! How much somebody speaks: the measure of Volfin and Cohen ("Dominant speaker identification for
//! multipoint videoconferencing", Computer Speech and Language 27, 2013) on the levels that packets
//! carry (RFC 6464).
//!
//! Three spans tell a voice from noise: now (20 ms), a syllable (100 ms), a phrase (one second). A key
//! that is struck is loud now, and never for a syllable.

use std::time::Duration;

use super::noise_floor::NoiseFloor;
use crate::time::Time;

/// Between two samples; the span of an ordinary packet.
const SAMPLE: Duration = Duration::from_millis(20);

/// Samples that are remembered: one second.
const SAMPLES: usize = 50;

/// Samples of a syllable.
const SYLLABLE: usize = 5;

/// The longest packet of Opus (RFC 6716 section 2.1.4): a level holds for so long at most, as it stands for a
/// packet whose end isn't known.
const HOLD: Duration = Duration::from_millis(120);

/// Volumes of one step of the measure: 13 steps cover all 127.
const STEP: u8 = 10;

/// A sample of more steps than this is loud.
const LOUD: u8 = 7;

/// A syllable of more loud samples than this is spoken.
const SPOKEN: u8 = 4;

/// How much somebody speaks at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Score {
    /// The newest sample in steps, 0 to 12.
    pub(super) immediate: u8,
    /// Loud samples of the newest syllable, 0 to 5.
    pub(super) medium: u8,
    /// Spoken syllables of the last second, 0 to 10.
    pub(super) long: u8,
}

impl Score {
    /// Whether this one takes over from the one who has spoken so far.
    ///
    /// The likelihood ratios of the paper with its parameters (13 steps of rate 0.78, 5 of 24, 10 of 47,
    /// thresholds 3, 2 and 0) come to these comparisons of whole numbers: the differences of all other
    /// scores are below the thresholds.
    pub(super) fn takes_over_from(self, dominant: Self) -> bool {
        dominant.immediate <= 3
            && self.immediate >= 4
            && dominant.medium == 0
            && self.medium >= 1
            && self.long > dominant.long
    }
}

/// The levels of one microphone, sampled by the clock: packets of any length, in bursts or with gaps,
/// come to 50 samples a second, so nobody gains by sending more of them.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    noise: NoiseFloor,
    /// The newest level, and when it came.
    held: (u8, Time),
    /// When the next sample is due.
    due: Time,
    /// In steps, a ring.
    samples: [u8; SAMPLES],
    newest: usize,
    /// How many of the samples are loud.
    loud: u8,
}

impl Activity {
    pub(super) fn new(now: Time) -> Self {
        Self {
            noise: NoiseFloor::default(),
            held: (0, now),
            due: now,
            samples: [0; SAMPLES],
            newest: 0,
            loud: 0,
        }
    }

    /// A packet came. Gives its volume as it counts, see [`NoiseFloor::gate`].
    pub(super) fn on_level(&mut self, now: Time, volume: u8) -> u8 {
        self.advance(now);
        self.held = (volume, now);
        self.noise.gate(volume)
    }

    /// Whether the newest packet, which was loud, is the end of a word and no stroke of a key: four fifths of
    /// the last 100 ms were above the noise.
    pub(super) fn is_word(&self) -> bool {
        let before = (0..SYLLABLE - 1).map(|age| self.back(age));
        before.filter(|steps| *steps > 0).count() >= SYLLABLE - 2
    }

    /// The sample of some time ago; zero is the newest.
    fn back(&self, age: usize) -> u8 {
        self.samples[(self.newest + SAMPLES - age) % SAMPLES]
    }

    /// Forgets what was said; the room stays the room.
    pub(super) fn silence(&mut self, now: Time) {
        *self = Self {
            noise: self.noise,
            ..Self::new(now)
        };
    }

    /// Loud samples of the last second.
    pub(super) fn loud(&self) -> u8 {
        self.loud
    }

    /// How much is spoken now.
    pub(super) fn score(&mut self, now: Time) -> Score {
        self.advance(now);
        if self.loud == 0 {
            // Most people, most of the time.
            return Score {
                immediate: self.back(0),
                ..Score::default()
            };
        }
        let loud_of = |syllable: usize| {
            let ages = syllable * SYLLABLE..(syllable + 1) * SYLLABLE;
            ages.filter(|age| self.back(*age) > LOUD).count() as u8
        };
        let spoken = (0..SAMPLES / SYLLABLE).filter(|syllable| loud_of(*syllable) > SPOKEN);
        Score {
            immediate: self.back(0),
            medium: loud_of(0),
            long: spoken.count() as u8,
        }
    }

    /// Takes the samples that are due.
    fn advance(&mut self, now: Time) {
        let second = SAMPLE * SAMPLES as u32;
        if now.since(self.due) > second {
            // More would only push each other out.
            self.due = now - second;
        }
        while self.due <= now {
            let (volume, since) = self.held;
            let volume = if self.due.since(since) < HOLD { volume } else { 0 };
            self.due += SAMPLE;
            self.push(volume);
        }
    }

    fn push(&mut self, volume: u8) {
        self.noise.on_sample(volume);
        let steps = self.noise.gate(volume) / STEP;
        self.newest = (self.newest + 1) % SAMPLES;
        let oldest = std::mem::replace(&mut self.samples[self.newest], steps);
        self.loud -= u8::from(oldest > LOUD);
        self.loud += u8::from(steps > LOUD);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Volumes, one every `millis`.
    fn speak(activity: &mut Activity, from: Time, millis: u64, volumes: &[u8]) -> Time {
        let mut now = from;
        for volume in volumes {
            now += Duration::from_millis(millis);
            activity.on_level(now, *volume);
        }
        now
    }

    fn quiet_room() -> (Activity, Time) {
        let mut activity = Activity::new(Time::ZERO);
        let now = speak(&mut activity, Time::ZERO, 20, &[30; 50]);
        (activity, now)
    }

    #[test]
    fn a_voice_fills_all_three_spans() {
        let (mut activity, now) = quiet_room();
        let now = speak(&mut activity, now, 20, &[95; 51]);
        let score = activity.score(now);
        assert_eq!((score.immediate, score.medium, score.long), (9, 5, 10));
    }

    #[test]
    fn a_key_that_is_struck_is_loud_for_no_syllable() {
        let (mut activity, mut now) = quiet_room();
        for _ in 0..20 {
            now = speak(&mut activity, now, 20, &[100, 90, 40, 35, 30, 30]);
            assert_eq!(activity.score(now).long, 0);
        }
    }

    #[test]
    fn a_word_is_known_by_its_fourth_packet_and_a_key_is_none() {
        let (mut activity, mut now) = quiet_room();
        for (packet, word) in [false, false, false, true, true].into_iter().enumerate() {
            now = speak(&mut activity, now, 20, &[90]);
            assert_eq!(activity.is_word(), word, "packet {packet}");
        }
        let (mut activity, mut now) = quiet_room();
        for _ in 0..50 {
            for volume in [100, 100, 30, 30, 30, 30] {
                now = speak(&mut activity, now, 20, &[volume]);
                assert!(!activity.is_word());
            }
        }
        let (mut activity, now) = quiet_room();
        speak(&mut activity, now, 60, &[90, 90]);
        assert!(activity.is_word(), "longer packets are more of it");
    }

    #[test]
    fn packets_of_sixty_milliseconds_speak_as_loud() {
        let (mut activity, now) = quiet_room();
        let now = speak(&mut activity, now, 60, &[95; 18]);
        assert_eq!(activity.score(now).long, 10);
    }

    #[test]
    fn who_sends_nothing_says_nothing() {
        let (mut activity, now) = quiet_room();
        let now = speak(&mut activity, now, 20, &[95; 51]);
        let soon = now + Duration::from_millis(100);
        assert!(activity.score(soon).medium > 0, "a packet may be late");
        let later = activity.score(now + Duration::from_millis(600));
        assert_eq!((later.immediate, later.medium), (0, 0));
        assert!((4..=6).contains(&later.long));
        let gone = activity.score(now + Duration::from_secs(3600));
        assert_eq!(gone, Score::default());
    }

    #[test]
    fn silenced_is_as_if_nothing_had_been_said() {
        let (mut activity, now) = quiet_room();
        let now = speak(&mut activity, now, 20, &[95; 51]);
        activity.silence(now);
        assert_eq!(activity.score(now), Score::default());
    }

    /// The rule in the paper's own form.
    fn by_likelihood(challenger: Score, dominant: Score) -> bool {
        let score = |v: u8, n: u32, lambda: f64| {
            let ln_choose = |v: u32| {
                (1..=v)
                    .map(|i| (f64::from(n - v + i) / f64::from(i)).ln())
                    .sum::<f64>()
            };
            let v32 = u32::from(v);
            let score = ln_choose(v32) - f64::from(n) * 2f64.ln() - lambda.ln() + lambda * f64::from(v);
            score.max(1e-10).ln()
        };
        let ratio = |a: u8, b: u8, n, lambda| score(a, n, lambda) - score(b, n, lambda);
        ratio(challenger.immediate, dominant.immediate, 13, 0.78) > 3.0
            && ratio(challenger.medium, dominant.medium, 5, 24.0) > 2.0
            && ratio(challenger.long, dominant.long, 10, 47.0) > 0.0
    }

    #[test]
    fn whole_numbers_decide_as_the_likelihoods_do() {
        let all = || {
            (0..=12).flat_map(|immediate| {
                (0..=5).flat_map(move |medium| {
                    (0..=10).map(move |long| Score {
                        immediate,
                        medium,
                        long,
                    })
                })
            })
        };
        for dominant in all() {
            for challenger in all() {
                assert_eq!(
                    challenger.takes_over_from(dominant),
                    by_likelihood(challenger, dominant),
                    "{challenger:?} against {dominant:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_levels_at_any_times_stay_in_bounds(
            packets in prop::collection::vec((0u64..3_000, 0u8..=127), 0..300),
        ) {
            let mut activity = Activity::new(Time::ZERO);
            let mut now = Time::ZERO;
            for (millis, volume) in packets {
                now += Duration::from_millis(millis);
                let counted = activity.on_level(now, volume);
                prop_assert!(counted == 0 || counted == volume);
                let score = activity.score(now);
                prop_assert!(score.immediate <= 12 && score.medium <= 5 && score.long <= 10);
                let loud = activity.samples.iter().filter(|steps| **steps > LOUD).count();
                prop_assert_eq!(loud, usize::from(activity.loud));
            }
        }

        #[test]
        fn more_packets_are_not_more_speech(bursts in prop::collection::vec(1usize..200, 1..60)) {
            // However many packets claim to be loud at one time, they are one sample.
            let (mut activity, mut now) = quiet_room();
            for burst in bursts {
                now += Duration::from_millis(200);
                for _ in 0..burst {
                    activity.on_level(now, 100);
                }
                activity.on_level(now + Duration::from_millis(21), 30);
                now += Duration::from_millis(21);
                prop_assert_eq!(activity.score(now).long, 0);
            }
        }
    }
}
