//! Who of a room is heard, and who speaks: one contest a room, on the publishers' side.
//!
//! A packet of a microphone is looked at once, whoever listens. What comes of it is a handful of places
//! ([`stage`]) that every listener with as many slots shares, and the one person who speaks
//! ([`activity`]). So a listener costs the same in a room of ten as in one of a thousand, and what has
//! no place is sealed for nobody.
//!
//! A seat is for words, not for sounds: a key that is struck takes nobody's. A word is known by its fourth
//! packet, so whoever gets a seat is forwarded from [`ONSET`] before on, and no syllable is lost.
//!
//! Time comes in with the packets: who sends nothing can't win anything. The levels are the senders'
//! own words, and may be lies; so changes are spaced, and nobody gains by sending more packets.

mod activity;
mod noise_floor;
mod stage;

use std::time::Duration;

use kall_shared::id::SessionId;

use crate::shard::slab::{Key, Slab};
use crate::time::Time;
use activity::{Activity, SAMPLE, Score};
use stage::{Claim, Stage};

/// Most sounds that one listener hears: as many slots as an offer may have for them.
pub const SEATS_MAX: usize = 25;

/// Between two looks at who speaks: half a syllable. The usual 300 ms come to a third of what a newcomer may wait,
/// and a look costs a few instructions for each talker.
const DECIDE: Duration = Duration::from_millis(40);

/// Between two changes of who speaks: pictures that jump faster show nobody.
const CHANGE_SPACING: Duration = Duration::from_secs(1);

/// Spoken samples of the last second, as [`activity`] counts them, without which nobody takes over from whoever
/// is silent. A cough dies away over fewer, also when a key is struck just before it, and however short somebody's
/// syllables are, he has spoken as many after three of them.
const PHRASE: u32 = 12;

/// Somebody silent for so long pauses: words are closer together.
const PAUSE: Duration = Duration::from_millis(300);

/// Somebody silent for so long has finished.
const FINISHED: Duration = Duration::from_secs(2);

/// What came before a word was known to be one, and belongs to it.
pub const ONSET: Duration = Duration::from_millis(110);

/// What a loudness may fall in 20 ms while packets come: between the syllables of a word it hardly does.
const DECAY: u8 = 1;

/// A microphone or the sound of a screen, as the contest knows it.
#[derive(Debug)]
struct Talker {
    publication: Key,
    owner: SessionId,
    /// Place in the order of publication.
    order: u64,
    /// The sound of a screen comes first, and takes no part in the contest.
    screen: bool,
    muted: bool,
    /// Whether its packets tell how loud it is.
    told: bool,
    /// Smoothed volume, noise left out.
    loudness: u8,
    /// When it last said something.
    spoke_at: Option<Time>,
    activity: Activity,
}

impl Talker {
    /// What it can say for having a place.
    fn claim(&self, now: Time, dominant: bool) -> Claim {
        if self.muted {
            return Claim::Muted;
        }
        if self.screen {
            return Claim::Screen;
        }
        let Some(spoke_at) = self.spoke_at else {
            return Claim::Silent;
        };
        let silent_for = now.since(spoke_at);
        if silent_for >= FINISHED {
            Claim::Silent
        } else if !self.told {
            Claim::Unmeasured
        } else if dominant {
            Claim::Dominant
        } else if silent_for >= PAUSE {
            Claim::Pausing
        } else {
            Claim::Speaking(self.loudness)
        }
    }

    /// The score that somebody else must beat to speak instead of this one. What was said before a pause
    /// counts for less the longer it lasts, or a lively speaker would be shown for most of a second after
    /// another one has taken the word, and for longer if that one draws breath just then.
    fn defence(&mut self, now: Time) -> Score {
        let mut score = self.activity.score(now);
        let silent_for = self.spoke_at.map_or(FINISHED, |at| now.since(at));
        if silent_for >= PAUSE {
            let samples = silent_for.as_millis() / SAMPLE.as_millis();
            score.spoken = score
                .spoken
                .saturating_sub(u32::try_from(samples).unwrap_or(u32::MAX));
        }
        score
    }

    /// A packet came. Whether the talker may ask for a place.
    fn on_packet(&mut self, now: Time, volume: Option<u8>) -> bool {
        let Some(volume) = volume else {
            // Nobody who does not say how loud he is may be silenced for it.
            self.told = false;
            self.spoke_at = Some(now);
            return true;
        };
        self.told = true;
        let counted = self.activity.on_level(now, volume);
        let halfway = self.loudness.midpoint(counted);
        self.loudness = halfway.max(self.loudness.saturating_sub(DECAY));
        let word = counted > 0 && self.activity.is_word();
        if word {
            self.spoke_at = Some(now);
        }
        word
    }
}

/// What a call of [`Contest`] changed. Bit `n` stands for the listeners with `n` slots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// What all of them hear.
    pub seats: u32,
    /// What those of them hear who are heard themselves.
    pub spares: u32,
    /// Another one speaks now, see [`Contest::speaker`].
    pub speaker: bool,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether somebody with so many slots, heard himself or not, may hear something else now.
    #[must_use]
    pub fn concern(&self, slots: usize, heard: bool) -> bool {
        let concerned = self.seats | if heard { self.spares } else { 0 };
        concerned >> slots & 1 == 1
    }

    fn add(&mut self, slots: usize, change: stage::Change) {
        match change {
            stage::Change::Nothing => {}
            stage::Change::Spares => self.spares |= 1 << slots,
            stage::Change::Seats => self.seats |= 1 << slots,
        }
    }
}

/// The contest of one room.
#[derive(Debug)]
pub struct Contest {
    talkers: Slab<Talker>,
    published: u64,
    /// One for each number of slots that a listener has.
    stages: Vec<Stage>,
    /// Most sounds that one person publishes: whoever is heard needs as many spares.
    spares: usize,
    speaker: Option<Key>,
    decide_at: Time,
    /// When the speaker changed last.
    changed_at: Option<Time>,
}

impl Contest {
    /// A room without sound, for at most `talkers` sounds.
    #[must_use]
    pub fn new(talkers: usize) -> Self {
        Self {
            talkers: Slab::new(talkers),
            published: 0,
            stages: Vec::new(),
            spares: 1,
            speaker: None,
            decide_at: Time::ZERO,
            changed_at: None,
        }
    }

    /// Somebody came who can hear `slots` sounds at once.
    pub fn add_listener(&mut self, now: Time, slots: usize) {
        let slots = slots.min(SEATS_MAX);
        if slots == 0 {
            return;
        }
        let found = self.stages.iter_mut().find(|stage| stage.seats() == slots);
        if let Some(stage) = found {
            stage.listeners += 1;
            return;
        }
        let mut stage = Stage::new(slots, self.spares);
        stage.listeners = 1;
        stage.fill(now, &self.talkers, self.speaker);
        self.stages.push(stage);
    }

    /// Somebody left who could hear `slots` sounds at once.
    pub fn remove_listener(&mut self, slots: usize) {
        let slots = slots.min(SEATS_MAX);
        self.stages.retain_mut(|stage| {
            stage.listeners -= u32::from(stage.seats() == slots);
            stage.listeners > 0
        });
    }

    /// A sound begins. None when there are too many.
    pub fn insert(
        &mut self,
        now: Time,
        publication: Key,
        owner: SessionId,
        screen: bool,
        muted: bool,
    ) -> Option<(Key, Changes)> {
        let order = self.published;
        let talker = self.talkers.insert_with(|_| Talker {
            publication,
            owner,
            order,
            screen,
            muted,
            told: true,
            loudness: 0,
            spoke_at: None,
            activity: Activity::new(now),
        })?;
        self.published += 1;
        let own = self.talkers.iter().filter(|(_, other)| other.owner == owner);
        self.spares = self.spares.max(own.count());
        let mut changes = Changes::default();
        for stage in &mut self.stages {
            stage.widen(self.spares);
            let mut change = stage.challenge(now, talker, &self.talkers, self.speaker);
            // The one who made room for it may be a spare, and new spares are empty.
            change = change.max(stage.fill(now, &self.talkers, self.speaker));
            changes.add(stage.seats(), change);
        }
        Some((talker, changes))
    }

    /// A sound is over.
    pub fn remove(&mut self, now: Time, talker: Key) -> Changes {
        self.talkers.remove(talker);
        if self.speaker == Some(talker) {
            self.speaker = None;
        }
        let mut changes = Changes::default();
        for stage in &mut self.stages {
            let vacated = stage.vacate(talker);
            let filled = stage.fill(now, &self.talkers, self.speaker);
            changes.add(stage.seats(), vacated.max(filled));
        }
        changes
    }

    /// A sound stops being forwarded, or goes on.
    pub fn set_muted(&mut self, now: Time, talker: Key, muted: bool) -> Changes {
        let Some(found) = self.talkers.get_mut(talker) else {
            return Changes::default();
        };
        found.muted = muted;
        found.loudness = 0;
        found.spoke_at = None;
        found.activity.silence(now);
        let mut changes = Changes::default();
        for stage in &mut self.stages {
            let change = if muted {
                stage.relieve(now, talker, &self.talkers, self.speaker)
            } else {
                stage.challenge(now, talker, &self.talkers, self.speaker)
            };
            changes.add(stage.seats(), change);
        }
        changes
    }

    /// A packet of a sound came. `volume` is 127 less its level in -dBov, none when it tells none.
    pub fn on_packet(&mut self, now: Time, talker: Key, volume: Option<u8>) -> Changes {
        let mut changes = Changes::default();
        let Some(found) = self.talkers.get_mut(talker) else {
            return changes;
        };
        if found.muted || found.screen {
            return changes;
        }
        if found.on_packet(now, volume) {
            self.challenge(now, talker, &mut changes);
        }
        if now >= self.decide_at {
            self.decide_at = now + DECIDE;
            if let Some(speaker) = self.decide(now) {
                self.speaker = Some(speaker);
                self.changed_at = Some(now);
                changes.speaker = true;
                // Whoever speaks is heard, however softly.
                self.challenge(now, speaker, &mut changes);
            }
        }
        changes
    }

    fn challenge(&mut self, now: Time, talker: Key, changes: &mut Changes) {
        for stage in &mut self.stages {
            let change = stage.challenge(now, talker, &self.talkers, self.speaker);
            changes.add(stage.seats(), change);
        }
    }

    /// Who speaks from now on, if it is another one than before.
    fn decide(&mut self, now: Time) -> Option<Key> {
        if self.changed_at.is_some_and(|at| now.since(at) < CHANGE_SPACING) {
            return None;
        }
        let dominant = self
            .speaker
            .and_then(|speaker| self.talkers.get_mut(speaker))
            .map(|speaker| speaker.defence(now))
            .unwrap_or_default();
        let mut best = None;
        for (key, talker) in self.talkers.iter_mut() {
            if Some(key) == self.speaker || talker.muted || talker.screen || !talker.told {
                continue;
            }
            let score = talker.activity.score(now);
            if score.spoken >= PHRASE
                && score.takes_over_from(dominant)
                && best.is_none_or(|(_, spoken)| score.spoken > spoken)
            {
                best = Some((key, score.spoken));
            }
        }
        best.map(|(key, _)| key)
    }

    /// The publication of the one who speaks; none before anybody did.
    #[must_use]
    pub fn speaker(&self) -> Option<Key> {
        Some(self.talkers.get(self.speaker?)?.publication)
    }

    /// What a listener with so many slots hears: publications, never its own.
    pub fn heard_by(&self, listener: SessionId, slots: usize) -> impl Iterator<Item = Key> {
        let slots = slots.min(SEATS_MAX);
        let stage = self.stages.iter().find(move |stage| stage.seats() == slots);
        let places = stage.into_iter().flat_map(Stage::occupants);
        places
            .filter_map(|talker| self.talkers.get(talker))
            .filter(move |talker| talker.owner != listener)
            .map(|talker| talker.publication)
            .take(slots)
    }

    /// Whether a listener with so many slots is heard itself by others with as many.
    #[must_use]
    pub fn is_heard(&self, listener: SessionId, slots: usize) -> bool {
        let slots = slots.min(SEATS_MAX);
        let stage = self.stages.iter().find(|stage| stage.seats() == slots);
        let mut seated = stage.into_iter().flat_map(Stage::seated);
        seated.any(|talker| {
            self.talkers
                .get(talker)
                .is_some_and(|talker| talker.owner == listener)
        })
    }
}

#[cfg(test)]
mod tests;
