//! A room of level traces: what people say, type and cough, from seeds.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const PACKET: Duration = Duration::from_millis(20);

fn key(index: u32) -> Key {
    Key { index, epoch: 0 }
}

fn session(person: u32) -> SessionId {
    SessionId::pack(0, person, 0)
}

/// One contest; person `n` is session `n` and publishes `100 + n`.
struct Room {
    contest: Contest,
    talkers: Vec<Key>,
    now: Time,
    changes: Changes,
    announced: Vec<(u64, u32)>,
}

impl Room {
    fn new(people: u32, slots: usize) -> Self {
        let mut room = Self {
            contest: Contest::new(2_000),
            talkers: Vec::new(),
            now: Time::from_millis(5_000),
            changes: Changes::default(),
            announced: Vec::new(),
        };
        room.contest.add_listener(room.now, slots);
        for person in 0..people {
            room.enter(person, false);
        }
        room
    }

    fn enter(&mut self, person: u32, screen: bool) -> Key {
        let publication = key(100 + self.talkers.len() as u32);
        let inserted = self
            .contest
            .insert(self.now, publication, session(person), screen, false);
        let (talker, changes) = inserted.expect("there is room");
        self.note(changes);
        self.talkers.push(talker);
        talker
    }

    fn note(&mut self, changes: Changes) {
        self.changes.seats |= changes.seats;
        self.changes.spares |= changes.spares;
        if changes.speaker {
            let speaker = self.contest.speaker().expect("one who speaks").index - 100;
            self.announced.push((self.now.as_millis(), speaker));
        }
    }

    /// One packet of everybody, with these volumes.
    fn packet(&mut self, volumes: &[Option<u8>]) {
        self.now += PACKET;
        for (talker, volume) in self.talkers.clone().into_iter().zip(volumes) {
            let changes = self.contest.on_packet(self.now, talker, *volume);
            self.note(changes);
        }
    }

    /// So many packets in which everybody has a quiet room.
    fn rest(&mut self, packets: usize) {
        let quiet = vec![Some(30); self.talkers.len()];
        (0..packets).for_each(|_| self.packet(&quiet));
    }

    /// So many packets in which some speak so loud.
    fn speak(&mut self, packets: usize, speakers: &[(usize, u8)]) {
        let mut volumes = vec![Some(30); self.talkers.len()];
        for (talker, volume) in speakers {
            volumes[*talker] = Some(*volume);
        }
        (0..packets).for_each(|_| self.packet(&volumes));
    }

    /// Whom a listener with so many slots hears, by publication.
    fn heard(&self, listener: u32, slots: usize) -> BTreeSet<u32> {
        let heard = self.contest.heard_by(session(listener), slots);
        heard.map(|publication| publication.index - 100).collect()
    }
}

/// A listener who publishes nothing.
const AUDIENCE: u32 = 5_000;

#[test]
fn everybody_is_heard_while_there_are_slots() {
    let room = Room::new(3, 3);
    assert_eq!(room.heard(AUDIENCE, 3), [0, 1, 2].into());
    assert_eq!(room.heard(1, 3), [0, 2].into(), "but oneself");
    let room = Room::new(4, 3);
    assert_eq!(room.heard(2, 3), [0, 1, 3].into(), "there are three others");
    assert_eq!(room.heard(3, 3), [0, 1, 2].into());
}

#[test]
fn the_first_word_is_heard() {
    let mut room = Room::new(20, 3);
    room.rest(50);
    room.speak(3, &[(17, 90)]);
    assert!(!room.heard(AUDIENCE, 3).contains(&17), "it could be a key");
    room.speak(1, &[(17, 90)]);
    assert!(room.heard(AUDIENCE, 3).contains(&17));
    assert!(room.heard(17, 3).len() == 3 && !room.heard(17, 3).contains(&17));
}

#[test]
fn keys_take_nobodys_seat() {
    let mut room = Room::new(20, 3);
    room.rest(50);
    for speaker in [1, 2, 3] {
        room.speak(20, &[(speaker, 90)]);
    }
    room.changes = Changes::default();
    for key in 0..200 {
        room.speak(2, &[(4 + key % 16, 105)]);
        room.rest(4);
    }
    assert_eq!(room.changes, Changes::default());
}

#[test]
fn who_is_silent_longest_makes_room_first() {
    let mut room = Room::new(10, 3);
    room.rest(50);
    for speaker in [4, 5, 6] {
        room.speak(20, &[(speaker, 90)]);
    }
    assert_eq!(room.heard(AUDIENCE, 3), [4, 5, 6].into());
    // The one who spoke to the room keeps the seat until he has finished.
    room.rest(65);
    room.speak(4, &[(7, 80)]);
    assert_eq!(room.heard(AUDIENCE, 3), [5, 6, 7].into());
}

#[test]
fn who_speaks_keeps_the_seat_against_equals_and_loses_it_to_the_clearly_louder() {
    let mut room = Room::new(10, 3);
    room.rest(50);
    room.speak(100, &[(0, 90), (1, 90), (2, 80), (3, 84)]);
    assert_eq!(room.heard(AUDIENCE, 3), [0, 1, 2].into());
    room.changes = Changes::default();
    room.speak(100, &[(0, 90), (1, 90), (2, 80), (3, 95)]);
    assert_eq!(room.heard(AUDIENCE, 3), [0, 1, 3].into());
    room.changes = Changes::default();
    room.speak(500, &[(0, 90), (1, 90), (2, 84), (3, 95)]);
    assert_eq!(room.changes.seats, 0, "nobody takes turns");
}

#[test]
fn a_newcomer_keeps_the_seat_for_a_syllable() {
    let mut room = Room::new(10, 1);
    room.rest(50);
    // Too soft to be the one who speaks to the room.
    room.speak(4, &[(3, 75)]);
    room.speak(10, &[(3, 75), (4, 110)]);
    assert_eq!(room.heard(AUDIENCE, 1), [3].into());
    room.speak(10, &[(3, 75), (4, 110)]);
    assert_eq!(room.heard(AUDIENCE, 1), [4].into());
}

#[test]
fn without_levels_one_is_heard_and_gives_way() {
    let mut room = Room::new(4, 1);
    let mute_of_levels = |volume| [Some(30), None, None, Some(volume)];
    for _ in 0..200 {
        room.packet(&mute_of_levels(30));
    }
    assert_eq!(
        room.heard(AUDIENCE, 1),
        [1].into(),
        "the one who came first stays"
    );
    for _ in 0..4 {
        room.packet(&mute_of_levels(90));
    }
    assert_eq!(room.heard(AUDIENCE, 1), [3].into());
    for _ in 0..99 {
        room.packet(&mute_of_levels(30));
    }
    assert_eq!(room.heard(AUDIENCE, 1), [3].into(), "a pause is no end");
    for _ in 0..2 {
        room.packet(&mute_of_levels(30));
    }
    assert_eq!(room.heard(AUDIENCE, 1), [1].into());
}

#[test]
fn the_sound_of_a_screen_comes_first_and_never_competes() {
    let mut room = Room::new(6, 2);
    room.rest(50);
    room.speak(50, &[(0, 100), (1, 100)]);
    let screen = room.enter(5, true);
    assert!(room.heard(AUDIENCE, 2).contains(&6));
    for _ in 0..200 {
        room.packet(&[
            Some(100),
            Some(100),
            Some(100),
            Some(30),
            Some(30),
            Some(30),
            Some(127),
        ]);
    }
    assert!(room.heard(AUDIENCE, 2).contains(&6));
    assert!(room.announced.iter().all(|(_, speaker)| *speaker != 6));
    assert_eq!(room.heard(5, 2).len(), 2, "who shares hears two others");
    let changes = room.contest.set_muted(room.now, screen, true);
    room.note(changes);
    assert!(!room.heard(AUDIENCE, 2).contains(&6));
    let changes = room.contest.set_muted(room.now, screen, false);
    room.note(changes);
    assert!(room.heard(AUDIENCE, 2).contains(&6));
}

#[test]
fn a_muted_one_is_neither_heard_nor_speaks() {
    let mut room = Room::new(5, 2);
    room.rest(50);
    room.speak(100, &[(0, 100), (1, 100)]);
    assert_eq!(room.heard(AUDIENCE, 2), [0, 1].into());
    let changes = room.contest.set_muted(room.now, room.talkers[0], true);
    room.note(changes);
    assert!(!room.heard(AUDIENCE, 2).contains(&0));
    room.announced.clear();
    room.speak(200, &[(0, 100)]);
    assert!(!room.heard(AUDIENCE, 2).contains(&0));
    assert!(room.announced.iter().all(|(_, speaker)| *speaker != 0));
}

#[test]
fn who_leaves_makes_room_for_the_best_of_the_others() {
    let mut room = Room::new(6, 2);
    room.rest(50);
    room.speak(50, &[(0, 100), (1, 100), (4, 95)]);
    let changes = room.contest.remove(room.now, room.talkers[1]);
    assert!(changes.concern(2, false));
    assert_eq!(room.heard(AUDIENCE, 2), [0, 4].into());
}

#[test]
fn listeners_with_other_slots_have_their_own_choice() {
    let mut room = Room::new(10, 3);
    room.contest.add_listener(room.now, 1);
    room.rest(50);
    room.speak(100, &[(7, 100), (8, 90)]);
    assert_eq!(room.heard(AUDIENCE, 1), [7].into());
    assert!(room.heard(AUDIENCE, 3).is_superset(&[7, 8].into()));
    room.contest.remove_listener(1);
    assert!(room.heard(AUDIENCE, 1).is_empty());
}

#[test]
fn a_voice_is_announced_and_noise_is_not() {
    let mut room = Room::new(4, 3);
    room.rest(100);
    // Keys, one each 120 ms, and a fan.
    for _ in 0..200 {
        room.speak(1, &[(1, 105), (2, 85)]);
        room.speak(1, &[(1, 90), (2, 86)]);
        room.speak(4, &[(2, 85)]);
    }
    let fan_only: Vec<u32> = room.announced.iter().map(|(_, speaker)| *speaker).collect();
    assert!(!fan_only.contains(&1), "{:?}", room.announced);
    room.rest(100);
    room.announced.clear();
    let from = room.now.as_millis();
    room.speak(60, &[(3, 100)]);
    let (at, speaker) = room.announced[0];
    assert_eq!(speaker, 3);
    assert!(at - from <= 1_000, "{} ms", at - from);
}

#[test]
fn who_types_and_coughs_does_not_speak() {
    let mut room = Room::new(4, 3);
    room.rest(100);
    for _ in 0..20 {
        for _ in 0..5 {
            room.speak(2, &[(1, 99)]);
            room.rest(4);
        }
        room.speak(2, &[(1, 99)]);
        for volume in (44..=111).rev().step_by(4) {
            room.speak(1, &[(1, volume)]);
        }
    }
    assert_eq!(room.announced, []);
}

#[test]
fn who_has_spoken_and_types_gives_way() {
    let mut room = Room::new(4, 3);
    room.rest(100);
    room.speak(60, &[(1, 95)]);
    assert_eq!(room.contest.speaker(), Some(key(101)));
    // Whatever he does, and wherever the gaps between the other one's words are.
    for _ in 0..10 {
        room.speak(2, &[(1, 99)]);
        room.rest(4);
    }
    let from = room.now.as_millis();
    room.announced.clear();
    for _ in 0..6 {
        room.speak(2, &[(1, 99), (2, 95)]);
        room.speak(4, &[(2, 95)]);
        room.speak(2, &[(1, 99)]);
        room.rest(2);
    }
    let (at, speaker) = room.announced[0];
    assert_eq!(speaker, 2);
    assert!(at - from <= 600, "{} ms", at - from);
}

#[test]
fn a_fan_that_starts_is_noise_after_a_while() {
    let mut room = Room::new(3, 3);
    room.rest(100);
    // It is loud at once, and the floor follows in quarters of a minute.
    room.speak(6 * 750, &[(2, 85)]);
    room.announced.clear();
    room.speak(60, &[(0, 95), (2, 85)]);
    assert_eq!(room.contest.speaker(), Some(key(100)));
}

/// What one of many does: sentences with pauses, keys, coughs, from a seed.
#[derive(Debug, Clone)]
struct Person {
    random: u64,
    loudness: u8,
    noise: u8,
    /// Packets left of what it does, and how loud that is.
    doing: (u32, u8),
    syllables: u32,
}

impl Person {
    fn draw(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn volume(&mut self, speaks: bool) -> u8 {
        let (left, loud) = self.doing;
        self.doing = if left > 1 {
            (left - 1, loud)
        } else if speaks && loud <= self.noise {
            self.syllables += 1;
            (6 + self.draw(9) as u32, self.loudness + self.draw(8) as u8)
        } else if speaks {
            // A breath after a sentence.
            let breath = self.syllables.is_multiple_of(10);
            let gap = if breath {
                15 + self.draw(20)
            } else {
                1 + self.draw(4)
            };
            (gap as u32, self.noise)
        } else if self.draw(40) == 0 {
            (1 + self.draw(2) as u32, 85 + self.draw(15) as u8)
        } else {
            (2, self.noise)
        };
        self.doing.1
    }
}

#[test]
fn a_room_that_types_hears_its_speakers_one_after_the_other() {
    for seed in 1..=5u64 {
        let people = 200;
        let mut room = Room::new(people, 3);
        let mut persons: Vec<Person> = (0..u64::from(people))
            .map(|index| Person {
                random: seed << 32 | index,
                loudness: 90 + (index % 10) as u8,
                noise: 25 + (index % 20) as u8,
                doing: (1, 0),
                syllables: 0,
            })
            .collect();
        let mut wrong = 0;
        let mut late = Vec::new();
        for (turn, speaker) in [3usize, 77, 150, 3, 42, 199].into_iter().enumerate() {
            let from = room.now.as_millis();
            for packet in 0..500 {
                // They breathe for half a second between one and the next.
                let volumes: Vec<Option<u8>> = persons
                    .iter_mut()
                    .enumerate()
                    .map(|(index, person)| Some(person.volume(index == speaker && packet >= 25)))
                    .collect();
                room.packet(&volumes);
            }
            let told = room.announced.iter().filter(|(at, _)| *at > from);
            wrong += told.clone().filter(|(_, told)| *told as usize != speaker).count();
            let first = told.clone().find(|(_, told)| *told as usize == speaker);
            let first =
                first.unwrap_or_else(|| panic!("turn {turn} of seed {seed}: {speaker} is not announced"));
            late.push(first.0 - from - 500);
        }
        assert_eq!(wrong, 0, "seed {seed}");
        assert!(late.iter().all(|late| *late <= 1_000), "seed {seed}: {late:?} ms");
    }
}

/// Anything that can happen to a contest.
#[derive(Debug, Clone)]
enum Step {
    Enter { owner: u32, screen: bool },
    Leave(usize),
    Mute(usize, bool),
    Packet(usize, Option<u8>),
    Listen(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (0u32..8, any::<bool>()).prop_map(|(owner, screen)| Step::Enter { owner, screen }),
        1 => (0usize..16).prop_map(Step::Leave),
        1 => (0usize..16, any::<bool>()).prop_map(|(talker, muted)| Step::Mute(talker, muted)),
        8 => (0usize..16, prop::option::weighted(0.9, 0u8..=127)).prop_map(|(t, v)| Step::Packet(t, v)),
        1 => (1usize..5).prop_map(Step::Listen),
        4 => (0u64..700).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..250)
}

proptest! {
    #[test]
    fn whatever_happens_the_choice_is_sound(steps in steps()) {
        let mut contest = Contest::new(16);
        let mut now = Time::ZERO;
        // Key, publication, owner, screen, muted.
        let mut talkers: Vec<(Key, u32, u32, bool, bool)> = Vec::new();
        let mut published = 0;
        let mut listening = BTreeSet::new();
        let mut changed_at: Option<Time> = None;
        for step in steps {
            let before: Vec<Vec<Key>> = listening
                .iter()
                .flat_map(|slots| (0..9).map(|listener| contest.heard_by(session(listener), *slots).collect()))
                .collect();
            let changes = match step {
                Step::Wait(millis) => {
                    now += Duration::from_millis(millis);
                    Changes::default()
                }
                Step::Listen(slots) => {
                    if listening.insert(slots) {
                        contest.add_listener(now, slots);
                    } else {
                        listening.remove(&slots);
                        contest.remove_listener(slots);
                    }
                    continue;
                }
                Step::Enter { owner, screen } => {
                    published += 1;
                    match contest.insert(now, key(published), session(owner), screen, false) {
                        None => {
                            prop_assert_eq!(talkers.len(), 16);
                            Changes::default()
                        }
                        Some((talker, changes)) => {
                            talkers.push((talker, published, owner, screen, false));
                            changes
                        }
                    }
                }
                Step::Leave(index) if index < talkers.len() => {
                    let (talker, ..) = talkers.swap_remove(index);
                    contest.remove(now, talker)
                }
                Step::Mute(index, muted) if index < talkers.len() => {
                    talkers[index].4 = muted;
                    contest.set_muted(now, talkers[index].0, muted)
                }
                Step::Packet(index, volume) if index < talkers.len() => {
                    contest.on_packet(now, talkers[index].0, volume)
                }
                _ => continue,
            };
            if changes.speaker {
                prop_assert!(changed_at.is_none_or(|at| now.since(at) >= CHANGE_SPACING));
                changed_at = Some(now);
                let speaker = contest.speaker().expect("one who speaks");
                let found = talkers.iter().find(|(_, publication, ..)| key(*publication) == speaker);
                let (.., screen, muted) = found.expect("one who is there");
                prop_assert!(!screen && !muted);
            }
            let mut before = before.into_iter();
            for slots in &listening {
                for listener in 0..9 {
                    let heard: Vec<Key> = contest.heard_by(session(listener), *slots).collect();
                    let others: Vec<_> = talkers.iter().filter(|(_, _, owner, ..)| *owner != listener).collect();
                    let distinct: BTreeSet<Key> = heard.iter().copied().collect();
                    prop_assert_eq!(distinct.len(), heard.len(), "nobody twice");
                    prop_assert_eq!(heard.len(), others.len().min(*slots), "no slot in vain");
                    prop_assert!(heard.iter().all(|heard| others.iter().any(|(_, other, ..)| key(*other) == *heard)));
                    let was: BTreeSet<Key> = before.next().expect("as many").into_iter().collect();
                    if was != distinct {
                        let own = contest.is_heard(session(listener), *slots);
                        prop_assert!(changes.concern(*slots, own), "a change is told");
                    }
                }
                // For the audience: audible screens, then the audible, then the muted.
                let heard: BTreeSet<Key> = contest.heard_by(session(8), *slots).collect();
                let count = |screen: bool, muted: bool, of: Option<&BTreeSet<Key>>| {
                    let alike = talkers.iter().filter(|(_, _, _, s, m)| (*s, *m) == (screen, muted));
                    alike
                        .filter(|(_, publication, ..)| of.is_none_or(|of| of.contains(&key(*publication))))
                        .count()
                };
                prop_assert_eq!(
                    count(true, false, Some(&heard)),
                    count(true, false, None).min(*slots),
                    "screens come first"
                );
                let audible = count(true, false, None) + count(false, false, None);
                let audible_heard = count(true, false, Some(&heard)) + count(false, false, Some(&heard));
                prop_assert_eq!(audible_heard, audible.min(*slots), "the muted make room");
            }
        }
    }
}
