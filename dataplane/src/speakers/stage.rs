//! The places of those who are heard by listeners with one number of slots, and who may take whose.
//!
//! There are as many seats as slots, and some spares: whoever has a seat does not hear himself, so
//! something else is to be in his slot.

use std::time::Duration;

use super::Talker;
use crate::shard::slab::{Key, Slab};
use crate::time::Time;

/// Who has just got a place by speaking keeps it for so long: nobody shall lose his first syllable.
const NEWBORN: Duration = Duration::from_millis(300);

/// Who speaks gives way only to somebody so much louder, in decibels: twice the amplitude.
const LOUDER: u8 = 6;

/// What somebody can say for having a place, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// It is not forwarded.
    Muted,
    /// It has finished, or never spoke.
    Silent,
    /// It sends, and does not say how loud.
    Unmeasured,
    /// It spoke a moment ago.
    Pausing,
    /// It speaks so loud.
    Speaking(u8),
    /// It speaks to the room.
    Dominant,
    /// It is the sound of what everybody looks at.
    Screen,
}

impl Claim {
    fn beats(self, holder: Self) -> bool {
        match (self, holder) {
            (Self::Speaking(loudness), Self::Speaking(held)) => loudness > held.saturating_add(LOUDER),
            _ => self > holder,
        }
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// Nothing.
    Nothing,
    /// A spare.
    Spares,
    /// A seat, and maybe spares.
    Seats,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    talker: Key,
    since: Time,
}

/// Seats and spares.
#[derive(Debug)]
pub(super) struct Stage {
    seats: usize,
    /// The seats, then the spares.
    places: Vec<Option<Place>>,
    /// Who listens to them.
    pub(super) listeners: u32,
}

impl Stage {
    pub(super) fn new(seats: usize, spares: usize) -> Self {
        Self {
            seats,
            places: vec![None; seats + spares],
            listeners: 0,
        }
    }

    pub(super) fn seats(&self) -> usize {
        self.seats
    }

    /// There are at least so many spares.
    pub(super) fn widen(&mut self, spares: usize) {
        let places = self.places.len().max(self.seats + spares);
        self.places.resize(places, None);
    }

    /// Whoever has a seat.
    pub(super) fn seated(&self) -> impl Iterator<Item = Key> {
        self.places[..self.seats]
            .iter()
            .flatten()
            .map(|place| place.talker)
    }

    /// Whoever has a place: those with seats, then the spares.
    pub(super) fn occupants(&self) -> impl Iterator<Item = Key> {
        self.places.iter().flatten().map(|place| place.talker)
    }

    fn position(&self, talker: Key) -> Option<usize> {
        self.places
            .iter()
            .position(|place| place.is_some_and(|place| place.talker == talker))
    }

    fn change_at(&self, position: usize) -> Change {
        if position < self.seats {
            Change::Seats
        } else {
            Change::Spares
        }
    }

    /// Somebody claims a place, or a better one.
    pub(super) fn challenge(
        &mut self,
        now: Time,
        talker: Key,
        talkers: &Slab<Talker>,
        dominant: Option<Key>,
    ) -> Change {
        let own = self.position(talker);
        if own.is_some_and(|own| own < self.seats) {
            return Change::Nothing;
        }
        let newcomer = Place { talker, since: now };
        let contest = Contestants {
            now,
            talkers,
            dominant,
        };
        let claim = contest.claim(talker);
        if let Some(seat) = contest.weakest(&self.places[..self.seats], claim) {
            let loser = self.places[seat].replace(newcomer);
            match (own, loser) {
                (Some(own), loser) => self.places[own] = loser,
                (None, Some(loser)) => {
                    self.take_spare(loser, &contest);
                }
                (None, None) => {}
            }
            Change::Seats
        } else if own.is_none() && self.take_spare(newcomer, &contest) {
            Change::Spares
        } else {
            Change::Nothing
        }
    }

    fn take_spare(&mut self, place: Place, contest: &Contestants<'_>) -> bool {
        let spares = &mut self.places[self.seats..];
        let Some(spare) = contest.weakest(spares, contest.claim(place.talker)) else {
            return false;
        };
        spares[spare] = Some(place);
        true
    }

    /// Somebody is gone.
    pub(super) fn vacate(&mut self, talker: Key) -> Change {
        let Some(position) = self.position(talker) else {
            return Change::Nothing;
        };
        self.places[position] = None;
        self.change_at(position)
    }

    /// Somebody was muted: his place is for somebody who is not.
    pub(super) fn relieve(
        &mut self,
        now: Time,
        talker: Key,
        talkers: &Slab<Talker>,
        dominant: Option<Key>,
    ) -> Change {
        let Some(position) = self.position(talker) else {
            return Change::Nothing;
        };
        let contest = Contestants {
            now,
            talkers,
            dominant,
        };
        let audible = |successor: &Key| contest.claim(*successor) > Claim::Muted;
        let Some(successor) = self.successor(position, &contest).filter(audible) else {
            return Change::Nothing;
        };
        let change = self.change_at(position);
        let vacated = self.position(successor);
        let muted = self.places[position].replace(Place {
            talker: successor,
            since: now,
        });
        if let Some(vacated) = vacated {
            self.places[vacated] = muted;
            self.relieve(now, talker, talkers, dominant);
        }
        change
    }

    /// Gives what is free to those with the best claims.
    pub(super) fn fill(&mut self, now: Time, talkers: &Slab<Talker>, dominant: Option<Key>) -> Change {
        let contest = Contestants {
            now,
            talkers,
            dominant,
        };
        let mut change = Change::Nothing;
        for position in 0..self.places.len() {
            if self.places[position].is_some() {
                continue;
            }
            let Some(successor) = self.successor(position, &contest) else {
                continue;
            };
            if let Some(vacated) = self.position(successor) {
                self.places[vacated] = None;
            }
            self.places[position] = Some(Place {
                talker: successor,
                since: now,
            });
            change = change.max(self.change_at(position));
        }
        change
    }

    /// Who is to have a place: the best of those who have none, or for a seat those with a spare, too.
    fn successor(&self, position: usize, contest: &Contestants<'_>) -> Option<Key> {
        let better = if position < self.seats {
            &self.places[..self.seats]
        } else {
            &self.places[..]
        };
        let has_better = |key: Key| {
            better
                .iter()
                .any(|place| place.is_some_and(|place| place.talker == key))
        };
        let waiting = contest.talkers.iter().filter(|(key, _)| !has_better(*key));
        let (key, _) = waiting.max_by_key(|(key, talker)| {
            let claim = contest.claim(*key);
            (claim, talker.spoke_at, std::cmp::Reverse(talker.order))
        })?;
        Some(key)
    }
}

/// Everybody, at one time.
struct Contestants<'a> {
    now: Time,
    talkers: &'a Slab<Talker>,
    dominant: Option<Key>,
}

impl Contestants<'_> {
    fn claim(&self, talker: Key) -> Claim {
        let found = self.talkers.get(talker);
        found.map_or(Claim::Muted, |found| {
            found.claim(self.now, self.dominant == Some(talker))
        })
    }

    /// The place that somebody with this claim may take: a free one, else that of the weakest, and among
    /// the silent of who has been so the longest.
    fn weakest(&self, places: &[Option<Place>], claim: Claim) -> Option<usize> {
        if let Some(free) = places.iter().position(Option::is_none) {
            return Some(free);
        }
        let holders = places.iter().enumerate().filter_map(|(index, place)| {
            let place = (*place)?;
            let held = self.claim(place.talker);
            let newborn = matches!(held, Claim::Speaking(_)) && self.now.since(place.since) < NEWBORN;
            let spoke_at = self.talkers.get(place.talker).and_then(|talker| talker.spoke_at);
            (!newborn || claim == Claim::Screen).then_some((held, spoke_at, index))
        });
        let (held, _, index) = holders.min()?;
        claim.beats(held).then_some(index)
    }
}
