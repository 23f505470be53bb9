//! Which layers of a track its publisher is told to send: those that somebody takes or waits for.
//!
//! A layer that is wanted is told at once, for somebody waits for its first key frame; one that nobody
//! takes is told after [`IDLE_AFTER`], for people change tiles and rooms faster than encoders restart.

use std::time::Duration;

use super::layers::LAYERS_MAX;
use crate::time::Time;

/// How long a layer must have been without takers before its publisher may stop it.
pub const IDLE_AFTER: Duration = Duration::from_secs(5);

/// What one publisher has been told of one track.
#[derive(Debug, Clone, Copy)]
pub struct Dynacast {
    layers: [Told; LAYERS_MAX],
}

#[derive(Debug, Clone, Copy)]
struct Told {
    /// Since when it is told to send; none while it is told not to.
    wanted_since: Option<Time>,
    /// Since when nobody takes it, while it is told to send.
    idle_since: Option<Time>,
}

impl Dynacast {
    /// A publisher that sends everything, as it does before it is told anything.
    #[must_use]
    pub fn new(now: Time) -> Self {
        let told = Told {
            wanted_since: Some(now),
            idle_since: Some(now),
        };
        Self {
            layers: [told; LAYERS_MAX],
        }
    }

    /// Takes in how many slots take each layer, and which layers flow. True when the publisher is to be
    /// told anew.
    ///
    /// A layer that does not flow though it is told to stays so: its publisher can't send it now, and
    /// telling it off would only make it look as if it could be had again.
    pub fn update(&mut self, now: Time, takers: &[u32; LAYERS_MAX], flows: &[bool; LAYERS_MAX]) -> bool {
        let mut changed = false;
        for ((told, takers), flows) in self.layers.iter_mut().zip(takers).zip(flows) {
            if *takers > 0 {
                told.idle_since = None;
                if told.wanted_since.is_none() {
                    told.wanted_since = Some(now);
                    changed = true;
                }
            } else if !flows {
                told.idle_since = None;
            } else if told.wanted_since.is_some() {
                let since = *told.idle_since.get_or_insert(now);
                if now.since(since) >= IDLE_AFTER {
                    *told = Told {
                        wanted_since: None,
                        idle_since: None,
                    };
                    changed = true;
                }
            }
        }
        changed
    }

    /// Takes over what the core of the publisher tells it.
    pub fn relay(&mut self, layer: u8, wanted_since: Option<Time>) {
        if let Some(told) = self.layers.get_mut(usize::from(layer)) {
            told.wanted_since = wanted_since;
            told.idle_since = None;
        }
    }

    /// Since when a layer is told to be sent; none while it is told not to.
    #[must_use]
    pub fn wanted_since(&self, layer: u8) -> Option<Time> {
        self.layers.get(usize::from(layer))?.wanted_since
    }

    /// When [`Self::update`] may have something to say without a change of takers.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        let idle = self.layers.iter().filter_map(|told| told.idle_since);
        idle.min().map_or(Time::FAR_FUTURE, |since| since + IDLE_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(dynacast: &Dynacast) -> [bool; 3] {
        [0, 1, 2].map(|layer| dynacast.wanted_since(layer).is_some())
    }

    #[test]
    fn up_at_once_and_down_late() {
        let mut dynacast = Dynacast::new(Time::ZERO);
        assert!(!dynacast.update(Time::from_millis(100), &[1, 0, 0], &[true; 3]));
        assert_eq!(dynacast.poll_deadline(), Time::from_millis(5_000));
        assert!(!dynacast.update(Time::from_millis(4_999), &[1, 0, 0], &[true; 3]));
        assert!(dynacast.update(Time::from_millis(5_000), &[1, 0, 0], &[true; 3]));
        assert_eq!(wanted(&dynacast), [true, false, false]);
        assert_eq!(dynacast.poll_deadline(), Time::FAR_FUTURE);
        assert!(dynacast.update(Time::from_millis(5_010), &[0, 0, 1], &[true; 3]));
        assert_eq!(wanted(&dynacast), [true, false, true]);
        assert_eq!(dynacast.wanted_since(2), Some(Time::from_millis(5_010)));
    }

    #[test]
    fn a_layer_that_is_taken_again_in_time_is_never_told() {
        let mut dynacast = Dynacast::new(Time::ZERO);
        dynacast.update(Time::ZERO, &[1, 1, 1], &[true; 3]);
        for second in 0..20 {
            let takers = if second % 4 == 0 { [1, 1, 1] } else { [1, 0, 0] };
            assert!(!dynacast.update(Time::from_millis(second * 1000), &takers, &[true; 3]));
        }
    }

    #[test]
    fn a_layer_that_can_not_be_sent_is_not_told_off() {
        let mut dynacast = Dynacast::new(Time::ZERO);
        let flows = [true, true, false];
        assert!(dynacast.update(Time::from_millis(6_000), &[1, 0, 0], &flows));
        assert_eq!(wanted(&dynacast), [true, false, true]);
        assert_eq!(dynacast.poll_deadline(), Time::FAR_FUTURE);
        // When it comes after all, and nobody takes it, it is.
        assert!(!dynacast.update(Time::from_millis(7_000), &[1, 0, 0], &[true; 3]));
        assert!(dynacast.update(Time::from_millis(12_000), &[1, 0, 0], &[true; 3]));
        assert_eq!(wanted(&dynacast), [true, false, false]);
    }

    #[test]
    fn a_track_nobody_takes_is_stopped_whole() {
        let mut dynacast = Dynacast::new(Time::ZERO);
        assert!(dynacast.update(Time::from_millis(5_000), &[0, 0, 0], &[true; 3]));
        assert_eq!(wanted(&dynacast), [false; 3]);
    }
}
