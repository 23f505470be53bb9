//! How loud a microphone is when nobody speaks into it.

/// Samples after which the floor may rise: 15 seconds.
const WINDOW: u16 = 750;

/// What is to count as more than noise is this much above the floor, in decibels.
const MARGIN: u8 = 10;

/// The floor of one microphone, followed down at once and up slowly: a quiet moment shows what the room
/// is like, a loud one does not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NoiseFloor {
    /// Zero before anything but silence was heard.
    floor: u8,
    /// The quietest sound since the floor was set; zero before the first.
    quietest: u8,
    /// Samples since the floor was set.
    samples: u16,
}

impl NoiseFloor {
    /// Takes in a volume, once every 20 ms. Silence is no sound of the room: it comes of a gate in the
    /// sender, or of nothing at all.
    pub(super) fn on_sample(&mut self, volume: u8) {
        if volume == 0 {
            return;
        }
        if self.floor == 0 || volume < self.floor {
            *self = Self {
                floor: volume,
                ..Self::default()
            };
            return;
        }
        self.quietest = if self.quietest == 0 {
            volume
        } else {
            self.quietest.min(volume)
        };
        self.samples += 1;
        if self.samples >= WINDOW {
            // Half of the way, as the ear measures it.
            let floor = (u16::from(self.floor) * u16::from(self.quietest)).isqrt();
            *self = Self {
                floor: floor as u8,
                ..Self::default()
            };
        }
    }

    /// The volume as it counts: nothing when it is not well above the floor.
    pub(super) fn gate(&self, volume: u8) -> u8 {
        if volume < self.floor.saturating_add(MARGIN) {
            0
        } else {
            volume
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_falls_at_once_and_rises_in_fifteen_seconds() {
        let mut noise = NoiseFloor::default();
        noise.on_sample(60);
        noise.on_sample(40);
        assert_eq!((noise.gate(49), noise.gate(50)), (0, 50));
        for _ in 0..WINDOW - 1 {
            noise.on_sample(90);
        }
        assert_eq!(noise.gate(50), 50);
        noise.on_sample(90);
        assert_eq!(
            (noise.gate(69), noise.gate(70)),
            (0, 70),
            "the square root of 40 times 90 is 60"
        );
    }

    #[test]
    fn silence_says_nothing_of_the_room() {
        let mut noise = NoiseFloor::default();
        noise.on_sample(50);
        for _ in 0..10_000 {
            noise.on_sample(0);
        }
        assert_eq!((noise.gate(59), noise.gate(60)), (0, 60));
        assert_eq!(noise.gate(0), 0);
    }

    #[test]
    fn one_constant_sound_is_noise() {
        let mut noise = NoiseFloor::default();
        for _ in 0..2_000 {
            noise.on_sample(127);
            assert_eq!(noise.gate(127), 0);
        }
    }
}
