//! A session moves to another room, a breakout room and back, and stays on its core. Its transport, its SSRCs and
//! its counters go on; who feeds whom is decided anew.

use kall_shared::id::{RoomId, SessionId};
use kall_shared::link::{Refusal, RefusalCode, Response};
use kall_shared::media::SlotWish;

use super::room::Room;
use super::slab::Key;
use super::{Shard, session_key};
use crate::time::Time;

impl Shard {
    pub(super) fn move_session(
        &mut self,
        now: Time,
        session: SessionId,
        room: RoomId,
    ) -> Result<Response, Refusal> {
        let from = self.session_mut(session)?.room;
        let key = session_key(session);
        let to = self.enter_room(room)?;
        if from == to {
            return Ok(Response::Done);
        }
        let heard = self.withdraw(now, key, from);
        if let Some(session) = self.sessions.get_mut(key) {
            session.room = to;
            session.hears = 0;
        }
        if let Some(room) = self.rooms.get_mut(to) {
            room.sessions.push(key);
        }
        let published: Vec<Key> = self.sessions.get(key).map_or_else(Vec::new, |session| {
            session.published.iter().map(|own| own.publication).collect()
        });
        for publication in published {
            self.tell_track(now, publication);
        }
        self.sync_hearing(now, key);
        for publication in heard {
            self.enter_contest(now, to, publication);
        }
        self.drop_room_if_empty(now, from);
        self.counters.sessions_moved += 1;
        Ok(Response::Done)
    }

    /// The room of this name, made if nobody is there.
    pub(super) fn enter_room(&mut self, room: RoomId) -> Result<Key, Refusal> {
        if let Some(key) = self.rooms_by_id.get(&room) {
            return Ok(*key);
        }
        let key = self
            .rooms
            .insert_with(|_| Room::new(room.clone()))
            .ok_or_else(|| Refusal::new(RefusalCode::Exhausted, "this core has as many rooms as it may"))?;
        self.on_room_opened(&room);
        self.rooms_by_id.insert(room, key);
        Ok(key)
    }

    /// Takes a session out of its room: nobody there gets anything of it, nor it of them. Gives its tracks
    /// that took part in the contest of sounds.
    fn withdraw(&mut self, now: Time, key: Key, from: Key) -> Vec<Key> {
        let Some(session) = self.sessions.get(key) else {
            return Vec::new();
        };
        let hears = session.hears;
        let slots = session.slots.len();
        let published: Vec<Key> = session.published.iter().map(|own| own.publication).collect();
        // It hears nothing there any more, whoever takes the place of its own tracks.
        if let Some(room) = self.rooms.get_mut(from) {
            room.sessions.retain(|member| *member != key);
            room.contest.remove_listener(hears);
        }
        self.await_nothing(key, None);
        for slot in 0..slots {
            self.set_occupant(now, key, slot as u8, None, SlotWish::default());
        }
        let mut heard = Vec::new();
        for publication_key in published {
            self.untell_track(publication_key);
            let Some(publication) = self.publications.get_mut(publication_key) else {
                continue;
            };
            if let Some(talker) = publication.talker.take() {
                heard.push(publication_key);
                self.leave_contest(now, from, talker);
            }
            let subscribers = self
                .publications
                .get(publication_key)
                .map_or_else(Vec::new, |publication| publication.subscribers.clone());
            for subscriber in subscribers {
                self.set_occupant(
                    now,
                    subscriber.session,
                    subscriber.slot,
                    None,
                    SlotWish::default(),
                );
            }
        }
        heard
    }
}
