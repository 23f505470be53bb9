//! How much somebody speaks: the measure of Volfin and Cohen ("Dominant speaker identification for
//! multipoint videoconferencing", Computer Speech and Language 27, 2013) on the levels that packets
//! carry (RFC 6464).
//!
//! Three spans tell a voice from noise: now (20 ms), a syllable (100 ms), a phrase (one second). A key
//! that is struck is loud now, and never for a syllable.
//!
//! The paper cuts the second into syllables by the clock, and counts those that are loud from end to end. Then
//! a short syllable counts or not by where the cuts fall. Here what is loud is spoken when it lasts, wherever it
//! begins, and the spans are measured in that.

use std::time::Duration;

use super::noise_floor::NoiseFloor;
use crate::time::Time;

/// Between two samples; the span of an ordinary packet.
pub(super) const SAMPLE: Duration = Duration::from_millis(20);

/// Samples that are remembered: one second. Each is a bit, the newest the lowest.
const SAMPLES: u32 = 50;
const SECOND: u64 = (1 << SAMPLES) - 1;

/// Samples of a syllable.
const SYLLABLE: u32 = 5;

/// Loud samples on end that are spoken. A key is struck in fewer.
const SPOKEN: u64 = 0b1111;

/// The longest packet of Opus (RFC 6716 section 2.1.4): a level holds for so long at most, as it stands for a
/// packet whose end isn't known.
const HOLD: Duration = Duration::from_millis(120);

/// A sample of this volume is loud: more than 7 of the 13 steps that the paper divides all volumes into.
const LOUD: u8 = 80;

/// How much somebody speaks at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Score {
    /// Samples since the newest that is spoken; [`SAMPLES`] when none is.
    pub(super) silent: u32,
    /// Spoken samples of the last second.
    pub(super) spoken: u32,
}

impl Default for Score {
    fn default() -> Self {
        Self {
            silent: SAMPLES,
            spoken: 0,
        }
    }
}

impl Score {
    /// Whether this one takes over from the one who has spoken so far: he has been silent for a syllable, this one
    /// has spoken since, and more of the last second than he.
    pub(super) fn takes_over_from(self, dominant: Self) -> bool {
        dominant.silent >= SYLLABLE && self.silent < dominant.silent && self.spoken > dominant.spoken
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
    /// Samples above the noise.
    above: u64,
    /// Samples that are loud.
    loud: u64,
    /// Those of them that are spoken.
    spoken: u64,
}

impl Activity {
    pub(super) fn new(now: Time) -> Self {
        Self {
            noise: NoiseFloor::default(),
            held: (0, now),
            due: now,
            above: 0,
            loud: 0,
            spoken: 0,
        }
    }

    /// A packet came. Gives its volume as it counts, see [`NoiseFloor::gate`].
    pub(super) fn on_level(&mut self, now: Time, volume: u8) -> u8 {
        self.advance(now);
        self.held = (volume, now);
        self.noise.gate(volume)
    }

    /// Whether something above the noise that follows the newest sample is the end of a word and no stroke of a
    /// key: with it, four fifths of 100 ms were.
    pub(super) fn is_word(&self) -> bool {
        is_word(self.above)
    }

    /// Forgets what was said; the room stays the room.
    pub(super) fn silence(&mut self, now: Time) {
        *self = Self {
            noise: self.noise,
            ..Self::new(now)
        };
    }

    /// How much is spoken now.
    pub(super) fn score(&mut self, now: Time) -> Score {
        self.advance(now);
        Score {
            silent: self.spoken.trailing_zeros().min(SAMPLES),
            spoken: self.spoken.count_ones(),
        }
    }

    /// Takes the samples that are due.
    fn advance(&mut self, now: Time) {
        let second = SAMPLE * SAMPLES;
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
        let counted = self.noise.gate(volume);
        self.above = (self.above << 1 | u64::from(counted > 0)) & SECOND;
        self.loud = (self.loud << 1 | u64::from(counted >= LOUD)) & SECOND;
        self.spoken = self.spoken << 1 & SECOND;
        if self.loud & SPOKEN == SPOKEN {
            self.spoken |= SPOKEN;
        }
    }
}

/// Whether the sample after `before` is the end of a word, if it is above the noise as those of `before` are.
fn is_word(before: u64) -> bool {
    (before & ((1 << (SYLLABLE - 1)) - 1)).count_ones() >= SYLLABLE - 2
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
    fn a_voice_fills_the_second() {
        let (mut activity, now) = quiet_room();
        let now = speak(&mut activity, now, 20, &[95; 51]);
        let score = activity.score(now);
        assert_eq!((score.silent, score.spoken), (0, SAMPLES));
    }

    #[test]
    fn a_key_that_is_struck_is_not_spoken() {
        let (mut activity, mut now) = quiet_room();
        for _ in 0..20 {
            now = speak(&mut activity, now, 20, &[100, 90, 90, 40, 35, 30, 30]);
            assert_eq!(activity.score(now), Score::default());
        }
    }

    #[test]
    fn a_short_syllable_counts_wherever_it_begins() {
        for before in 0..10 {
            let (mut activity, now) = quiet_room();
            let now = speak(&mut activity, now, 20, &vec![30; before]);
            let now = speak(&mut activity, now, 20, &[95, 95, 95, 95, 30, 30, 30]);
            let score = activity.score(now);
            // The newest packet is sampled when the next is due.
            assert_eq!((score.silent, score.spoken), (2, 4), "after {before}");
        }
    }

    #[test]
    fn keys_add_nothing_to_a_cough() {
        let (mut activity, now) = quiet_room();
        let mut now = speak(&mut activity, now, 20, &[100, 100, 30, 30, 30, 30]);
        let cough: Vec<u8> = (0..17).map(|packet| 111 - 4 * packet).collect();
        now = speak(&mut activity, now, 20, &cough);
        for _ in 0..3 {
            now = speak(&mut activity, now, 20, &[100, 100, 30, 30, 30, 30]);
        }
        assert_eq!(activity.score(now).spoken, 8);
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
        assert_eq!(activity.score(now).spoken, SAMPLES);
    }

    #[test]
    fn who_sends_nothing_says_nothing() {
        let (mut activity, now) = quiet_room();
        let now = speak(&mut activity, now, 20, &[95; 51]);
        let soon = now + Duration::from_millis(100);
        assert_eq!(activity.score(soon).silent, 0, "a packet may be late");
        let later = activity.score(now + Duration::from_millis(600));
        // The last packet is taken for one of 120 ms.
        assert_eq!((later.silent, later.spoken), (25, 25));
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

    #[test]
    fn who_speaks_takes_over_from_the_silent_who_said_less() {
        let score = |silent, spoken| Score { silent, spoken };
        assert!(score(0, 12).takes_over_from(Score::default()));
        assert!(score(0, 21).takes_over_from(score(5, 20)));
        assert!(!score(0, 20).takes_over_from(score(5, 20)), "he said as much");
        assert!(
            !score(0, 21).takes_over_from(score(4, 20)),
            "it may be the gap in a word"
        );
        assert!(
            score(24, 21).takes_over_from(score(25, 20)),
            "this one draws breath"
        );
        assert!(!score(25, 21).takes_over_from(score(25, 20)), "he was the last");
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
                prop_assert!(score.silent <= SAMPLES && score.spoken <= SAMPLES);
                prop_assert_eq!(activity.spoken & !activity.loud, 0);
                prop_assert_eq!(activity.loud & !activity.above, 0);
                prop_assert!(activity.above <= SECOND);
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
                prop_assert_eq!(activity.score(now).spoken, 0);
            }
        }
    }
}
