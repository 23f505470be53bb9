//! Sessions come and go, and slots change hands: everything that changes who is connected to whom.

use kall_shared::link::{CloseReason, Event, SlotReason};
use kall_shared::media::{Kind, SlotWish};

use super::Shard;
use super::slab::Key;
use crate::forward::publication::Subscriber;
use crate::forward::relay::Owner;
use crate::forward::slot::Aim;
use crate::session::formats::receiver_codec;
use crate::time::Time;

impl Shard {
    /// Ends a session: its tracks leave, its slots are freed, its addresses are forgotten.
    pub(super) fn close_session(&mut self, now: Time, key: Key, reason: CloseReason) {
        // Without consent nothing may be sent any more (RFC 7675 section 5.1).
        if reason == CloseReason::Requested {
            self.say_goodbye(now, key);
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let (room, hears) = (session.room, session.hears);
        let published: Vec<Key> = session
            .published
            .iter()
            .map(|published| published.publication)
            .collect();
        let fed_by: Vec<(u8, Key)> = session
            .slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| slot.occupant().map(|occupant| (index as u8, occupant)))
            .collect();
        // It hears nothing any more, whoever takes the place of its own tracks.
        if let Some(room) = self.rooms.get_mut(room) {
            room.sessions.retain(|member| *member != key);
            room.contest.remove_listener(hears);
        }
        self.await_nothing(key, None);
        for (slot, publication) in fed_by {
            self.unsubscribe(publication, key, slot);
        }
        for publication in published {
            self.remove_publication(now, publication);
        }
        let Some(session) = self.sessions.remove(key) else {
            return;
        };
        for address in session.transport.ice.validated() {
            self.forget_address(&address, key);
        }
        self.counters.sessions_closed += 1;
        self.outgoing.event(Event::SessionClosed {
            session: session.id,
            reason,
        });
        self.drop_room_if_empty(now, room);
    }

    /// A close_notify, so that the peer need not wait for its consent checks to fail.
    fn say_goodbye(&mut self, now: Time, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let path = session.transport.path();
        let Some((to, from)) = path else { return };
        session.transport.with_dtls(|dtls| {
            dtls.close(now);
            while let Some(len) = dtls.poll_transmit(&mut self.scratch) {
                if !self.control.push(&self.scratch[..len], to, from) {
                    self.counters.drop_control_full += 1;
                }
            }
        });
    }

    /// Takes a track out of its room and out of every slot it feeds.
    pub(super) fn remove_publication(&mut self, now: Time, publication_key: Key) {
        self.untell_track(publication_key);
        let Some(publication) = self.publications.remove(publication_key) else {
            return;
        };
        let room_key = self.room_of(&publication);
        match &publication.owner {
            Owner::Session(owner) => {
                if let Some(owner) = self.sessions.get_mut(*owner) {
                    owner
                        .published
                        .retain(|published| published.publication != publication_key);
                }
            }
            Owner::Core(origin) => {
                self.mirrors.remove(origin.core, origin.publication);
                if let Some(room) = self.rooms.get_mut(origin.room) {
                    room.mirrors.retain(|mirror| *mirror != publication_key);
                }
            }
        }
        for subscriber in &publication.subscribers {
            self.vacate(subscriber.session, subscriber.slot);
        }
        if let (Some(talker), Some(room_key)) = (publication.talker, room_key) {
            self.leave_contest(now, room_key, talker);
        }
    }

    fn vacate(&mut self, session_key: Key, slot: u8) {
        let Some(session) = self.sessions.get_mut(session_key) else {
            return;
        };
        if let Some(slot) = session.slots.get_mut(usize::from(slot)) {
            slot.occupy(None, SlotWish::default());
        }
        self.announce_slot(session_key, slot);
    }

    /// The first packet of a track: it can be received from here on.
    pub(super) fn on_track_started(&mut self, now: Time, publication_key: Key) {
        let Some(publication) = self.publications.get(publication_key) else {
            return;
        };
        let Some(room_key) = self.room_of(publication) else {
            return;
        };
        if publication.kind == Kind::Audio {
            self.enter_contest(now, room_key, publication_key);
        }
        // Slots that were given the track before it had a codec learn now whether they can take it.
        let Some(publication) = self.publications.get(publication_key) else {
            return;
        };
        let subscribers: Vec<Subscriber> = publication.subscribers.clone();
        for subscriber in subscribers {
            self.check_codec(now, subscriber.session, subscriber.slot);
        }
        self.choose_anew(now, publication_key);
    }

    /// Gives a slot to a track, or to nobody, and tells it.
    pub(super) fn set_occupant(
        &mut self,
        now: Time,
        session_key: Key,
        slot: u8,
        occupant: Option<Key>,
        wish: SlotWish,
    ) {
        let Some(session) = self.sessions.get_mut(session_key) else {
            return;
        };
        let Some(target) = session.slots.get_mut(usize::from(slot)) else {
            return;
        };
        if target.occupant() == occupant {
            return self.set_wish(now, session_key, slot, wish);
        }
        let former = target.occupant();
        target.occupy(occupant, wish);
        if let Some(former) = former {
            self.unsubscribe(former, session_key, slot);
        }
        if let Some(publication) = occupant.and_then(|key| self.publications.get_mut(key)) {
            publication.subscribe(session_key, slot);
        }
        self.check_codec(now, session_key, slot);
        match self.kind_of(session_key, slot) {
            // There is one layer of sound, and it always fits.
            Some(Kind::Audio) => self.aim_audio(now, session_key, slot),
            _ => self.allocate(now, session_key),
        }
        self.announce_slot(session_key, slot);
    }

    /// A slot takes nothing of a track any more.
    fn unsubscribe(&mut self, publication_key: Key, session: Key, slot: u8) {
        if let Some(publication) = self.publications.get_mut(publication_key) {
            publication.unsubscribe(session, slot);
            self.sync_wanted(publication_key);
        }
    }

    fn kind_of(&self, session: Key, slot: u8) -> Option<Kind> {
        let slot = self.sessions.get(session)?.slots.get(usize::from(slot))?;
        Some(slot.kind())
    }

    fn aim_audio(&mut self, now: Time, session_key: Key, slot_index: u8) {
        let Some(slot) = self.slot_mut(session_key, slot_index) else {
            return;
        };
        let Some(occupant) = slot.occupant() else { return };
        slot.aim(Aim::default());
        self.sync_layers(now, session_key, slot_index, occupant);
    }

    /// Compares what a slot's occupant sends with what the receiver can take; tells when that changed.
    pub(super) fn check_codec(&mut self, now: Time, session_key: Key, slot_index: u8) {
        let Some(session) = self.sessions.get_mut(session_key) else {
            return;
        };
        let Some(slot) = session.slots.get_mut(usize::from(slot_index)) else {
            return;
        };
        let Some(publication) = slot.occupant().and_then(|key| self.publications.get(key)) else {
            return;
        };
        let Some(codec) = publication.codec() else {
            return;
        };
        let Some(line) = session.params.lines.get(usize::from(slot.line)) else {
            return;
        };
        let reason = receiver_codec(line, &codec)
            .is_none()
            .then_some(SlotReason::Codec);
        let occupant = slot.occupant();
        if !slot.set_reason(reason) {
            return;
        }
        self.announce_slot(session_key, slot_index);
        match (reason, occupant) {
            (Some(_), Some(occupant)) => {
                if let Some(slot) = self.slot_mut(session_key, slot_index) {
                    slot.withhold();
                }
                self.sync_layers(now, session_key, slot_index, occupant);
            }
            _ if self.kind_of(session_key, slot_index) == Some(Kind::Audio) => {
                self.aim_audio(now, session_key, slot_index);
            }
            // At once: the packet that made it possible may be the key frame to begin with.
            _ => self.allocate(now, session_key),
        }
    }

    /// The same for every slot a track feeds, when its publisher changed the codec.
    pub(super) fn check_codecs(&mut self, now: Time, publication_key: Key) {
        let subscribers = self
            .publications
            .get(publication_key)
            .map_or_else(Vec::new, |publication| publication.subscribers.clone());
        for subscriber in subscribers {
            self.check_codec(now, subscriber.session, subscriber.slot);
        }
    }

    pub(super) fn announce_slot(&mut self, session_key: Key, slot: u8) {
        let Some(session) = self.sessions.get(session_key) else {
            return;
        };
        if let Some(slot) = session.slot_snapshot(usize::from(slot), &self.publications) {
            self.outgoing.event(Event::SlotChanged {
                session: session.id,
                slot,
            });
        }
    }

    /// Stops or restarts forwarding of a track.
    pub(super) fn set_muted(&mut self, now: Time, publication_key: Key, muted: bool) {
        let Some(publication) = self.publications.get_mut(publication_key) else {
            return;
        };
        if publication.muted == muted {
            return;
        }
        publication.set_muted(now, muted);
        let subscribers = publication.subscribers.clone();
        let (kind, talker) = (publication.kind, publication.talker);
        self.tell_muted(publication_key, muted);
        for subscriber in subscribers {
            if muted {
                if let Some(session) = self.sessions.get_mut(subscriber.session)
                    && let Some(slot) = session.slots.get_mut(usize::from(subscriber.slot))
                {
                    slot.interrupt();
                }
            } else {
                self.request_keyframe_for(now, subscriber.session, usize::from(subscriber.slot));
            }
            if kind == Kind::Video {
                self.allocate_soon(now, subscriber.session);
            }
        }
        let room = self
            .publications
            .get(publication_key)
            .and_then(|publication| self.room_of(publication));
        if let (Some(talker), Some(room)) = (talker, room) {
            self.mute_in_contest(now, room, talker, muted);
        }
    }
}
