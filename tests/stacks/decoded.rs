//! What a player made of the media, and whether it is what was sent.

use std::f64::consts::TAU;

/// Samples a second of all decoded sound.
pub(crate) const SAMPLE_RATE: usize = 48_000;

/// Pitch of the tone in Hz.
const TONE: f64 = 440.0;

/// Pictures a player has to decode: two seconds, so several of them lean on others.
pub(crate) const PICTURES: usize = 60;

/// Sound a player has to decode.
pub(crate) const SOUND_SECONDS: f64 = 1.0;

/// What was decoded.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) pictures: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// The last picture in I420.
    pub(crate) picture: Vec<u8>,
    /// The last second of sound, one channel.
    pub(crate) sound: Vec<i16>,
}

impl Decoded {
    /// Compares it with the colour bars and the tone.
    ///
    /// # Errors
    /// What differs.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.pictures < PICTURES {
            return Err(format!("{} pictures", self.pictures));
        }
        if (self.width, self.height) != (320, 240) {
            return Err(format!("pictures of {} x {}", self.width, self.height));
        }
        self.check_bars()?;
        let share = tone_share(&self.sound);
        if self.sound.len() < SAMPLE_RATE / 2 || share < 0.9 {
            return Err(format!("the tone is {share:.2} of {} samples", self.sound.len()));
        }
        Ok(())
    }

    /// SMPTE bars from the left: grey, yellow, cyan, green, magenta, red, blue. Each is known by the signs of
    /// its colour differences, whatever the colour matrix.
    fn check_bars(&self) -> Result<(), String> {
        let luma = self.width * self.height;
        if self.picture.len() != luma * 3 / 2 {
            return Err(format!("a picture of {} bytes", self.picture.len()));
        }
        let bars = [
            ("grey", 0, 0),
            ("yellow", -1, 1),
            ("cyan", 1, -1),
            ("green", -1, -1),
            ("magenta", 1, 1),
            ("red", -1, 1),
            ("blue", 1, -1),
        ];
        let row = self.height / 2 / 3;
        for (index, (name, blue, red)) in bars.into_iter().enumerate() {
            let column = (2 * index + 1) * self.width / 2 / 14;
            let at = luma + row * (self.width / 2) + column;
            let difference = |plane: usize| i32::from(self.picture[at + plane * luma / 4]) - 128;
            let sign = |difference: i32| {
                if difference.abs() < 8 {
                    0
                } else {
                    difference.signum()
                }
            };
            let (u, v) = (difference(0), difference(1));
            // Yellow's and cyan's smaller difference is close to zero and says nothing.
            let fits = |seen: i32, wanted: i32| sign(seen) == wanted || (wanted != 0 && sign(seen) == 0);
            if !fits(u, blue) || !fits(v, red) || (blue, red) != (0, 0) && (sign(u), sign(v)) == (0, 0) {
                return Err(format!("the {name} bar has colour differences {u}, {v}"));
            }
        }
        Ok(())
    }
}

/// Which part of the sound's energy is the tone's (Goertzel's algorithm).
fn tone_share(samples: &[i16]) -> f64 {
    let turn = TAU * TONE / SAMPLE_RATE as f64;
    let (mut before, mut before_that, mut energy) = (0.0, 0.0, 0.0);
    for sample in samples {
        let sample = f64::from(*sample);
        let now = sample + 2.0 * turn.cos() * before - before_that;
        (before_that, before) = (before, now);
        energy += sample * sample;
    }
    if energy == 0.0 {
        return 0.0;
    }
    let power = before * before + before_that * before_that - 2.0 * turn.cos() * before * before_that;
    2.0 * power / (energy * samples.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(pitch: f64) -> Vec<i16> {
        let turn = TAU * pitch / SAMPLE_RATE as f64;
        let sample = |index| ((index as f64 * turn).sin() * 8_000.0) as i16;
        (0..SAMPLE_RATE).map(sample).collect()
    }

    /// Bars in BT.601, 75 %.
    fn bars() -> Vec<u8> {
        let colours = [
            (128, 128),
            (44, 142),
            (156, 44),
            (72, 58),
            (184, 198),
            (100, 212),
            (212, 114),
        ];
        let mut picture = vec![100; 320 * 240];
        for plane in 0..2 {
            for _ in 0..120 {
                for column in 0..160 {
                    let (u, v) = colours[column * 7 / 160];
                    picture.push(if plane == 0 { u } else { v });
                }
            }
        }
        picture
    }

    fn decoded() -> Decoded {
        Decoded {
            pictures: PICTURES,
            width: 320,
            height: 240,
            picture: bars(),
            sound: sound(TONE),
        }
    }

    #[test]
    fn bars_and_tone_are_known_and_nothing_else_is() {
        assert_eq!(decoded().check(), Ok(()));
        let grey = Decoded {
            picture: vec![128; 320 * 360],
            ..decoded()
        };
        assert!(grey.check().is_err());
        let mut mirrored = bars();
        for row in mirrored[320 * 240..].chunks_mut(160) {
            row.reverse();
        }
        assert!(
            Decoded {
                picture: mirrored,
                ..decoded()
            }
            .check()
            .is_err()
        );
        for sound in [sound(660.0), vec![0; SAMPLE_RATE], Vec::new()] {
            assert!(Decoded { sound, ..decoded() }.check().is_err());
        }
        assert!(
            Decoded {
                pictures: PICTURES - 1,
                ..decoded()
            }
            .check()
            .is_err()
        );
    }
}
