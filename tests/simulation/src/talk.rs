//! A conversation: who speaks when, and what his microphone and those of all the others pick up.
//!
//! Turns follow each other with short gaps, or begin before the one before has ended. A voice is
//! syllables with gaps between them; other sounds are a keyboard's keys and a cough, as loud as a voice.
//! Who makes no sound sends next to nothing, as Opus does (RFC 7587 section 3.1.3).

use std::time::Duration;

use kall_dataplane::time::Time;
use kall_network::Random;

use crate::scenario::Talk;

/// Packets of a second.
const SECOND: u64 = 50;

/// A silent encoder sends one packet of so many.
const SILENT_EVERY: u32 = 20;

/// The conversation begins when everybody is there.
const BEGIN: Duration = Duration::from_secs(5);

/// Somebody's turn to speak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// Index among all people.
    pub(crate) person: usize,
    pub(crate) from: Time,
    pub(crate) until: Time,
}

/// The turns of a whole call, in their order. Nobody speaks twice in a row.
pub(crate) fn conversation(
    talk: &Talk,
    members: std::ops::Range<usize>,
    length: Duration,
    random: &mut Random,
) -> Vec<Turn> {
    let millis =
        |random: &mut Random, from: u64, to: u64| Duration::from_millis(from + random.below(to - from));
    let mut turns: Vec<Turn> = Vec::new();
    let mut free = Time::ZERO + BEGIN;
    let end = Time::ZERO + length;
    let people = members.len() as u64;
    // A few lead the conversation, as in every meeting; the others say something now and then.
    let leaders: Vec<usize> = (0..4)
        .map(|_| members.start + random.below(people) as usize)
        .collect();
    loop {
        let person = if random.chance(0.7) {
            leaders[random.below(leaders.len() as u64) as usize]
        } else {
            members.start + random.below(people) as usize
        };
        if turns.last().is_some_and(|last| last.person == person) {
            continue;
        }
        let from = if !turns.is_empty() && random.chance(talk.overlaps) {
            free - millis(random, 100, 600)
        } else {
            free + millis(random, 200, 900)
        };
        let until = from + millis(random, 2_500, 12_000);
        if until >= end {
            return turns;
        }
        turns.push(Turn { person, from, until });
        free = until;
    }
}

/// A sound that lasts some packets.
#[derive(Debug, Clone, Copy, Default)]
struct Sound {
    packets: u64,
    /// Of the next packet, 127 the loudest.
    volume: u8,
    /// How much softer each packet is than the one before.
    falls: u8,
}

/// What one microphone picks up, packet by packet.
#[derive(Debug)]
pub(crate) struct Voice {
    random: Random,
    /// When its owner speaks.
    turns: Vec<(Time, Time)>,
    /// Volumes, 127 the loudest: of the voice, and of the room.
    voice: u8,
    room: u8,
    types: bool,
    /// Of a packet.
    cough: f64,
    sound: Sound,
    syllables: u64,
    silent: u32,
}

impl Voice {
    pub(crate) fn new(talk: &Talk, person: usize, turns: &[Turn], mut random: Random) -> Self {
        let own = turns.iter().filter(|turn| turn.person == person);
        Self {
            turns: own.map(|turn| (turn.from, turn.until)).collect(),
            voice: 88 + random.below(14) as u8,
            room: 20 + random.below(30) as u8,
            types: random.chance(talk.typing),
            cough: talk.coughs_per_hour / (3600 * SECOND) as f64,
            sound: Sound::default(),
            syllables: 0,
            silent: 0,
            random,
        }
    }

    /// The level of the next packet in -dBov (RFC 6464); none when nothing is sent.
    pub(crate) fn next(&mut self, now: Time) -> Option<u8> {
        let speaks = self
            .turns
            .iter()
            .any(|(from, until)| *from <= now && now < *until);
        if self.sound.packets == 0 {
            self.sound = self.begin(speaks);
        }
        let sound = &mut self.sound;
        sound.packets -= 1;
        let volume = sound.volume.max(self.room);
        sound.volume = sound.volume.saturating_sub(sound.falls);
        let silent = volume == self.room && !speaks;
        self.silent = if silent { self.silent + 1 } else { 0 };
        // The room is never quite alike.
        let volume = volume + self.random.below(4) as u8;
        (self.silent < 10 || self.silent.is_multiple_of(SILENT_EVERY)).then_some(127 - volume.min(127))
    }

    fn begin(&mut self, speaks: bool) -> Sound {
        let random = &mut self.random;
        let steady = |packets, volume| Sound {
            packets,
            volume,
            falls: 0,
        };
        if speaks {
            if self.sound.volume == 0 {
                self.syllables += 1;
                return steady(6 + random.below(9), self.voice + random.below(8) as u8);
            }
            let breath = self.syllables.is_multiple_of(9);
            let gap = if breath {
                12 + random.below(18)
            } else {
                1 + random.below(4)
            };
            return steady(gap, 0);
        }
        // A cough bursts, and dies away over a third of a second.
        if self.cough > 0.0 && random.chance(self.cough) {
            return Sound {
                packets: 17,
                volume: 100 + random.below(12) as u8,
                falls: 4,
            };
        }
        // Fingers are no faster than ten keys a second, and strike two to four.
        if self.sound.volume > 0 {
            return steady(4, 0);
        }
        if self.types && random.chance(1.0 / 12.0) {
            return steady(1 + random.below(2), 82 + random.below(18) as u8);
        }
        steady(1, 0)
    }
}
