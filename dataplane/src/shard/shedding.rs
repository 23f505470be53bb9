//! What a core that is past saturation takes away, in which order, and how that reaches everybody.
//!
//! First pictures per second, then large layers, then the video of those whom the fewest watch; never sound. A camera that
//! a good part of all watch is taken from one part of them after the other, or a single one would go dark for everybody
//! at once. A shared screen goes last of all, and before it whatever somebody asked for before other pictures. What is taken away acts where
//! shares are given: the publisher of a layer that nobody takes any more is told to stop it, so that it costs nothing on
//! its way in either.
//!
//! Everybody chooses anew after a change, but only so many in a turn: all at once would be one more overload.

use std::collections::HashMap;
use std::time::Duration;

use kall_shared::link::Event;
use kall_shared::media::{Kind, SlotWish, Source};

use super::Shard;
use super::overload::{Load, Overload};
use super::slab::Key;
use crate::forward::layers::Cap;
use crate::session::downstream::ALLOCATE_INTERVAL;
use crate::time::Time;

/// Of every picture only the lowest temporal layer.
const BASE: u8 = 1;
/// Of every camera all but its largest layer.
const SMALLER: u8 = 2;
/// Of every camera only its smallest layer.
const SMALLEST: u8 = 3;
/// Of every screen too.
const SMALLEST_SCREENS: u8 = 4;
/// Nothing of the cameras that the fewest watch, as many as make a quarter of what is watched; each level after it takes
/// another quarter.
const QUARTER: u8 = 5;
/// Nothing of any camera, but what somebody asked for first.
const CAMERAS: u8 = QUARTER + QUARTERS - 1;
/// Nothing of any video.
const VIDEO: u8 = CAMERAS + 1;

/// Parts that what is watched is divided into, by how many watch the same.
const QUARTERS: u8 = 4;

/// Parts that those who watch the same camera are divided into.
const PARTS: u8 = 16;

/// Of those who watch a camera, how many parts of [`PARTS`] lose it with the first quarter, with the first two and with the
/// first three.
type Held = [u8; QUARTERS as usize - 1];

/// Places of sessions looked at in one turn: some hundred microseconds, a small part of a turn that is late.
const PLACES_PER_TURN: u32 = 64;

/// How often it is looked again who is watched by how many, while that matters.
const RANK_INTERVAL: Duration = Duration::from_secs(10);

/// How far a core sheds, and of what.
#[derive(Debug)]
pub(super) struct Shedding {
    overload: Overload,
    /// From whom cameras are held back.
    ranked: HashMap<Key, Held>,
    /// When that is worked out again.
    rank_at: Time,
    /// The next place whose session chooses anew; none when all have.
    next: Option<u32>,
    /// When the last change came.
    changed_at: Time,
}

impl Shedding {
    pub(super) fn new(now: Time) -> Self {
        Self {
            overload: Overload::new(now, VIDEO),
            ranked: HashMap::new(),
            rank_at: Time::ZERO,
            next: None,
            changed_at: Time::ZERO,
        }
    }

    /// Whether everybody was told to choose anew.
    pub(super) fn is_settled(&self) -> bool {
        self.next.is_none()
    }

    /// When everybody was last told to.
    #[cfg(test)]
    pub(super) fn changed_at(&self) -> Time {
        self.changed_at
    }

    /// The most that a viewer with this wish may have of a track; none: nothing of it.
    pub(super) fn share(
        &self,
        publication: Key,
        source: Source,
        viewer: Key,
        wish: &SlotWish,
    ) -> Option<Cap> {
        let level = self.overload.level();
        if level >= self.holds_from(publication, source, viewer, wish) {
            return None;
        }
        let ranks_off = match level {
            ..SMALLER => 0,
            _ if source == Source::Screen && level < SMALLEST_SCREENS => 0,
            SMALLER => 1,
            SMALLEST.. => u8::MAX,
        };
        Some(Cap {
            ranks_off,
            temporal: if level < BASE { u8::MAX } else { 0 },
        })
    }

    fn holds_from(&self, publication: Key, source: Source, viewer: Key, wish: &SlotWish) -> u8 {
        if source == Source::Screen {
            return VIDEO;
        }
        // What has come since the last look is taken for watched.
        let held = self.ranked.get(&publication).copied().unwrap_or_default();
        let own = part_of(viewer);
        let quarters = held.iter().filter(|parts| own >= **parts).count();
        QUARTER + quarters as u8 + u8::from(wish.priority > SlotWish::PRIORITY)
    }
}

/// In which part of those who watch the same camera somebody is: always the same, whatever else happens.
fn part_of(viewer: Key) -> u8 {
    // Fibonacci hashing spreads those who came one after the other.
    let spread = viewer.index.wrapping_mul(0x9e37_79b1);
    (spread >> 16) as u8 % PARTS
}

/// From whom a camera is held back that `count` watch, where `before` watch others that fewer watch, of `all`.
fn held(before: usize, count: usize, all: usize) -> Held {
    let parts = usize::from(PARTS);
    std::array::from_fn(|quarter| {
        let edge = all * (quarter + 1);
        let quarters = usize::from(QUARTERS);
        if count * quarters <= all {
            // As a whole, so that its publisher can stop it.
            let middle = (2 * before + count) * quarters;
            return if middle < 2 * edge { PARTS } else { 0 };
        }
        let own = edge.saturating_sub(before * quarters).min(count * quarters);
        ((own * parts + count * 2) / (count * quarters)) as u8
    })
}

impl Shard {
    /// What the turn that ends `now` was like. Once a turn, after everything else.
    pub fn note_load(&mut self, now: Time, load: &Load) {
        let shedding = &mut self.shedding;
        let before = shedding.overload.level();
        // Whoever the walk has not come to has chosen anew by itself after a while.
        let settled = shedding.is_settled() || now.since(shedding.changed_at) >= ALLOCATE_INTERVAL;
        if shedding.overload.on_turn(now, load, settled) {
            let (level, refuses) = (shedding.overload.level(), shedding.overload.refuses());
            self.counters.overload_level = u64::from(level);
            self.counters.overload_raised += u64::from(level > before);
            self.outgoing.event(Event::CoreLoad {
                core: self.config.core,
                level,
                refuses,
            });
            if level != before {
                self.choose_anew_by_turns(now);
            }
        }
        let level = self.shedding.overload.level();
        if level >= QUARTER && now >= self.shedding.rank_at {
            self.rank_cameras(now);
        }
    }

    fn choose_anew_by_turns(&mut self, now: Time) {
        self.shedding.next = Some(0);
        self.shedding.changed_at = now;
    }

    /// The next few of those who have to choose anew.
    pub(super) fn walk_on(&mut self, now: Time) {
        let Some(first) = self.shedding.next else { return };
        let end = self.sessions.end();
        let last = first.saturating_add(PLACES_PER_TURN).min(end);
        for place in first..last {
            if let Some(key) = self.sessions.at(place) {
                self.allocate_soon(now, key);
            }
        }
        self.shedding.next = (last < end).then_some(last);
    }

    /// Works out which cameras the fewest watch.
    fn rank_cameras(&mut self, now: Time) {
        let cameras = self.publications.iter().filter(|(_, publication)| {
            publication.kind == Kind::Video
                && publication.source != Source::Screen
                && !publication.muted
                && !publication.subscribers.is_empty()
        });
        let mut watched: Vec<(usize, Key)> = cameras
            .map(|(key, publication)| (publication.subscribers.len(), key))
            .collect();
        watched.sort_unstable();
        let all = watched.iter().map(|(count, _)| count).sum();
        let mut before = 0;
        let ranked = watched.iter().map(|(count, key)| {
            let held = held(before, *count, all);
            before += count;
            (*key, held)
        });
        let ranked = ranked.collect();
        let changed = std::mem::replace(&mut self.shedding.ranked, ranked) != self.shedding.ranked;
        self.shedding.rank_at = now + RANK_INTERVAL;
        if changed {
            self.choose_anew_by_turns(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_camera_goes_dark_for_a_quarter_at_a_time() {
        assert_eq!(held(0, 1000, 1000), [4, 8, 12]);
        assert_eq!(held(0, 3, 3), [4, 8, 12]);
        // Those who came one after the other are in all parts alike.
        let mut parts = [0; PARTS as usize];
        for index in 0..1600 {
            parts[usize::from(part_of(Key { index, epoch: 1 }))] += 1;
        }
        assert!(parts.iter().all(|count| (90..=110).contains(count)), "{parts:?}");
    }

    #[test]
    fn cameras_that_few_watch_go_as_a_whole() {
        let eight: Vec<Held> = (0..8).map(|place| held(place * 10, 10, 80)).collect();
        let levels: Vec<usize> = eight
            .iter()
            .map(|held| held.iter().filter(|parts| **parts == 0).count())
            .collect();
        assert_eq!(levels, [0, 0, 1, 1, 2, 2, 3, 3]);
        // Beside one that nearly all watch they go first, and then a part of that one.
        assert_eq!(held(0, 5, 100), [16, 16, 16]);
        assert_eq!(held(5, 95, 100), [3, 8, 12]);
    }
}
