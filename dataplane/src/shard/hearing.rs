//! Who hears whom: what comes of a room's contest ([`crate::speakers`]) is put into audio slots, and
//! who speaks is told.

use kall_shared::link::Event;
use kall_shared::media::{Kind, SlotWish, Source};

use super::Shard;
use super::room::place;
use super::slab::Key;
use crate::speakers::{Changes, SEATS_MAX};
use crate::time::Time;

/// The volume of silence in dBov below the loudest (RFC 6464 section 3).
const SILENCE: u8 = 127;

impl Shard {
    /// A packet of sound came, with the level it tells (RFC 6464). Whether somebody may hear it who did not
    /// before.
    pub(super) fn on_sound(&mut self, now: Time, publication_key: Key, level: Option<u8>) -> bool {
        let Some(publication) = self.publications.get(publication_key) else {
            return false;
        };
        let Some(talker) = publication.talker else {
            return false;
        };
        let Some(room_key) = self.room_of(publication) else {
            return false;
        };
        let Some(room) = self.rooms.get_mut(room_key) else {
            return false;
        };
        let volume = level.map(|level| SILENCE.saturating_sub(level));
        let changes = room.contest.on_packet(now, talker, volume);
        if !changes.is_empty() {
            self.follow_contest(now, room_key, changes);
        }
        changes.seats | changes.spares != 0
    }

    /// A track of sound has begun to flow.
    pub(super) fn enter_contest(&mut self, now: Time, room_key: Key, publication_key: Key) {
        let Some(publication) = self.publications.get_mut(publication_key) else {
            return;
        };
        let Some(room) = self.rooms.get_mut(room_key) else {
            return;
        };
        let screen = publication.source == Source::ScreenAudio;
        let (owner, muted) = (publication.session, publication.muted);
        let Some((talker, changes)) = room.contest.insert(now, publication_key, owner, screen, muted) else {
            self.counters.drop_sounds_full += 1;
            return;
        };
        publication.talker = Some(talker);
        self.follow_contest(now, room_key, changes);
    }

    /// A track of sound is gone.
    pub(super) fn leave_contest(&mut self, now: Time, room_key: Key, talker: Key) {
        if let Some(room) = self.rooms.get_mut(room_key) {
            let changes = room.contest.remove(now, talker);
            self.follow_contest(now, room_key, changes);
        }
    }

    /// A track of sound stops being forwarded, or goes on.
    pub(super) fn mute_in_contest(&mut self, now: Time, room_key: Key, talker: Key, muted: bool) {
        if let Some(room) = self.rooms.get_mut(room_key) {
            let changes = room.contest.set_muted(now, talker, muted);
            self.follow_contest(now, room_key, changes);
        }
    }

    /// The lines of a session were agreed on: it hears on those that receive sound.
    pub(super) fn sync_hearing(&mut self, now: Time, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let hears = (0..session.slots.len())
            .filter(|slot| {
                let own = &session.slots[*slot];
                own.kind() == Kind::Audio && !own.assigned && session.receives(*slot)
            })
            .count()
            .min(SEATS_MAX);
        let before = std::mem::replace(&mut session.hears, hears);
        if hears != before
            && let Some(room) = self.rooms.get_mut(session.room)
        {
            room.contest.remove_listener(before);
            room.contest.add_listener(now, hears);
        }
        self.hear(now, key);
    }

    /// Does what came of the contest.
    fn follow_contest(&mut self, now: Time, room_key: Key, changes: Changes) {
        if changes.seats != 0 {
            self.counters.seat_changes += 1;
        }
        if changes.seats | changes.spares != 0 {
            let mut index = 0;
            while let Some(room) = self.rooms.get(room_key)
                && let Some(listener) = room.sessions.get(index).copied()
            {
                index += 1;
                let Some(session) = self.sessions.get(listener) else {
                    continue;
                };
                // Who is not heard hears the seats; nothing else makes a difference to him.
                if changes.concern(session.hears, false)
                    || changes.concern(session.hears, true)
                        && room.contest.is_heard(session.id, session.hears)
                {
                    self.hear(now, listener);
                }
            }
        }
        if changes.speaker {
            self.counters.speaker_changes += 1;
            self.announce_speaker(room_key);
        }
    }

    pub(super) fn announce_speaker(&mut self, room_key: Key) {
        let Some(room) = self.rooms.get(room_key) else {
            return;
        };
        // Every core that has members of it finds out the same, at nearly the same time: the first of them tells.
        if !room.is_led_by(self.config.core) {
            return;
        }
        let speaker = room.contest.speaker();
        if let Some(publication) = speaker.and_then(|speaker| self.publications.get(speaker)) {
            self.outgoing.event(Event::ActiveSpeaker {
                session: publication.session,
                track: publication.track.clone(),
            });
        }
    }

    /// Puts what a listener is to hear into its slots.
    fn hear(&mut self, now: Time, listener: Key) {
        let Some(session) = self.sessions.get(listener) else {
            return;
        };
        let Some(room) = self.rooms.get(session.room) else {
            return;
        };
        let mut wanted = [listener; SEATS_MAX];
        let mut count = 0;
        for heard in room.contest.heard_by(session.id, session.hears) {
            wanted[count] = heard;
            count += 1;
        }
        let mut slots = [(0, None); SEATS_MAX];
        let receiving = session.slots.iter().enumerate();
        let receiving = receiving
            .filter(|(index, slot)| slot.kind() == Kind::Audio && !slot.assigned && session.receives(*index));
        let mut seats = 0;
        for (place, (index, slot)) in slots.iter_mut().zip(receiving) {
            *place = (index as u8, slot.occupant());
            seats += 1;
        }
        let mut occupants = slots.map(|(_, occupant)| occupant);
        if !place(&wanted[..count], &mut occupants[..seats]) {
            return;
        }
        for ((slot, _), occupant) in slots.into_iter().zip(occupants).take(seats) {
            self.set_occupant(now, listener, slot, occupant, SlotWish::default());
        }
    }
}
