//! What other cores tell of theirs: rooms they have members of too, tracks in those, and their packets. A track of another
//! core is a mirror here, a publication that slots take like any other.

use super::fan_out::Order;
use super::room::Room;
use super::slab::{Key, Slab};
use super::{MIRRORS_PER_CORE, Shard};
use crate::forward::keyframe::Meanwhile;
use crate::forward::publication::{Publication, Taken};
use crate::forward::relay::{Origin, Owner, Relayed};
use crate::lane::{LayerNews, Message, PacketHead, TrackNews};
use crate::session::Session;
use crate::time::Time;
use kall_shared::id::{RoomId, TrackId};
use kall_shared::media::{Kind, SlotWish};

/// A slot that was given a track which this core has not been told of yet.
#[derive(Debug)]
pub(super) struct Awaited {
    track: TrackId,
    session: Key,
    slot: u8,
    wish: SlotWish,
}

impl Shard {
    /// A packet of a track of another core.
    pub(super) fn on_relayed(
        &mut self,
        now: Time,
        core: u8,
        head: &PacketHead,
        descriptor: &[u8],
        payload: &[u8],
    ) {
        self.counters.lane_in += 1;
        let Some(key) = self.mirror(core, head.publication) else {
            return;
        };
        let Some(publication) = self.publications.get_mut(key) else {
            return;
        };
        let relayed = Relayed {
            layer: head.layer,
            source: head.source,
            ssrc: head.ssrc,
            codec: head.codec,
            meta: head.meta,
            descriptor,
            payload,
        };
        let Taken::Kept {
            seq,
            late,
            keyframe_start,
            first_of_track,
            keyframe_needed,
            codec_changed,
            ..
        } = publication.take_relayed(now, &relayed, &mut self.sources)
        else {
            return;
        };
        if keyframe_needed {
            self.ask_origin(key, head.layer, Meanwhile::Something);
        }
        if first_of_track {
            self.on_track_started(now, key);
        }
        if codec_changed {
            self.check_codecs(now, key);
        }
        let heard = !late && !head.meta.recovered && self.on_sound(now, key, head.meta.audio_level);
        let order = Order::of(late, keyframe_start, heard.then_some(head.meta.arrival));
        self.fan_out(now, key, head.layer, seq, order);
    }

    /// The publication that stands for a track of another core.
    fn mirror(&self, core: u8, publication: Key) -> Option<Key> {
        self.mirrors.get(core, publication)
    }

    pub(super) fn on_message(&mut self, now: Time, core: u8, message: Message) {
        match message {
            Message::Here(room) => self.on_here(core, &room),
            Message::Gone(room) => self.on_gone(now, core, &room),
            Message::Track(news) => self.on_track(now, core, *news),
            Message::TrackGone(origin) => {
                if let Some(key) = self.mirror(core, origin) {
                    self.remove_publication(now, key);
                }
            }
            Message::Codec(origin, codec) => {
                if let Some(key) = self.mirror(core, origin) {
                    if let Some(origin) = self.publications.get_mut(key).and_then(Publication::origin_mut) {
                        origin.codec = Some(codec);
                    }
                    self.check_codecs(now, key);
                }
            }
            Message::Muted(origin, muted) => {
                if let Some(key) = self.mirror(core, origin) {
                    self.set_muted(now, key, muted);
                }
            }
            Message::Layer(news) => self.on_layer(now, core, &news),
            Message::Report {
                publication,
                layer,
                source,
                pair,
                clock,
            } => {
                if let Some(mirror) = self.mirror_mut(core, publication) {
                    mirror.relay_report(layer, source, pair, clock);
                }
            }
            Message::ParameterSets {
                publication,
                layer,
                source,
                sets,
            } => {
                if let Some(mirror) = self.mirror_mut(core, publication) {
                    mirror.relay_parameter_sets(layer, source, sets);
                }
            }
            Message::Wanted(publication, layers) => self.on_wanted(now, core, publication, layers),
            Message::Keyframe(publication, layer, meanwhile) => {
                self.request_keyframe_of(now, publication, layer, meanwhile);
            }
        }
    }

    fn mirror_mut(&mut self, core: u8, publication: Key) -> Option<&mut Publication> {
        let key = self.mirror(core, publication)?;
        self.publications.get_mut(key)
    }

    /// Another core has members of a room. If this one has, too, both tell each other what they have.
    fn on_here(&mut self, core: u8, id: &RoomId) {
        let Some(room) = self
            .rooms_by_id
            .get(id)
            .copied()
            .and_then(|key| self.rooms.get_mut(key))
        else {
            return;
        };
        if room.peers >> core & 1 == 1 {
            return;
        }
        room.peers |= 1 << core;
        let tracks = tracks_of(&self.sessions, room);
        self.send(core, Message::Here(id.clone()));
        for track in tracks {
            self.tell_track_to(core, track);
        }
    }

    /// Another core has no members of a room any more.
    fn on_gone(&mut self, now: Time, core: u8, id: &RoomId) {
        let Some(room_key) = self.rooms_by_id.get(id).copied() else {
            return;
        };
        let Some(room) = self.rooms.get_mut(room_key) else {
            return;
        };
        let led = room.is_led_by(self.config.core);
        room.peers &= !(1 << core);
        let leads = room.is_led_by(self.config.core);
        let own = tracks_of(&self.sessions, room);
        let theirs: Vec<Key> = room.mirrors.clone();
        for key in own {
            if let Some(publication) = self.publications.get_mut(key)
                && publication.has_peer(core)
            {
                publication.remove_peer(core);
                // It may have members of the room again, and have been told of the track meanwhile.
                self.send(core, Message::TrackGone(key));
            }
        }
        for key in theirs {
            let origin = self.publications.get(key).and_then(Publication::origin);
            if origin.is_some_and(|origin| origin.core == core) {
                self.remove_publication(now, key);
            }
        }
        if leads && !led {
            self.announce_speaker(room_key);
        }
    }

    /// A track of another core.
    fn on_track(&mut self, now: Time, core: u8, news: TrackNews) {
        let Some(room_key) = self.rooms_by_id.get(&news.room).copied() else {
            return;
        };
        let mirror = self.mirror(core, news.publication);
        let known = mirror.and_then(|key| self.publications.get(key));
        if let (Some(mirror), Some(origin)) = (mirror, known.and_then(Publication::origin))
            && origin.room != room_key
        {
            self.remove_publication(now, mirror);
        } else if let Some(mirror) = mirror {
            // Told again, because this core left the room and came back meanwhile: what it wants there is forgotten.
            if let Some(origin) = self
                .publications
                .get_mut(mirror)
                .and_then(Publication::origin_mut)
            {
                origin.wanted = 0;
            }
            self.set_muted(now, mirror, news.muted);
            return self.sync_wanted(mirror);
        }
        let mut publication = Publication::new(
            Owner::Core(Box::new(Origin::new(core, news.publication, room_key))),
            news.session,
            news.mid,
            &news.publish,
            usize::from(news.layers),
            now,
        );
        publication.muted = news.muted;
        if let Some(origin) = publication.origin_mut() {
            origin.codec = news.codec;
        }
        let full = self.mirrors.len() >= MIRRORS_PER_CORE;
        let key = if full {
            None
        } else {
            self.publications.insert_with(|_| publication)
        };
        let Some(key) = key else {
            self.counters.drop_tracks_full += 1;
            return;
        };
        self.mirrors.insert(core, news.publication, key);
        if let Some(room) = self.rooms.get_mut(room_key) {
            room.mirrors.push(key);
        }
        self.fill_awaiting(now, key);
    }

    /// Gives a track to the slots of its room that wait for it.
    pub(super) fn fill_awaiting(&mut self, now: Time, publication_key: Key) {
        let Some(publication) = self.publications.get(publication_key) else {
            return;
        };
        let (owner, track) = (publication.own_session(), &publication.track);
        let room = self
            .room_of(publication)
            .and_then(|room| self.rooms.get_mut(room));
        let Some(room) = room.filter(|room| !room.awaited.is_empty()) else {
            return;
        };
        let waits = |awaited: &Awaited| &awaited.track == track && Some(awaited.session) != owner;
        let (come, awaited): (Vec<_>, Vec<_>) =
            std::mem::take(&mut room.awaited).into_iter().partition(waits);
        room.awaited = awaited;
        for Awaited {
            session, slot, wish, ..
        } in come
        {
            if self
                .check_slot(session, usize::from(slot), Some(publication_key))
                .is_ok()
            {
                self.set_occupant(now, session, slot, Some(publication_key), wish);
            }
        }
    }

    /// A slot is to show a track that may be one of another core which this one has not been told of yet.
    pub(super) fn await_track(&mut self, session: Key, slot: u8, track: TrackId, wish: SlotWish) {
        self.await_nothing(session, Some(slot));
        let room = self.sessions.get(session).map(|session| session.room);
        if let Some(room) = room.and_then(|room| self.rooms.get_mut(room)) {
            room.awaited.push(Awaited {
                track,
                session,
                slot,
                wish,
            });
        }
    }

    /// One of a session's slots, or all of them, wait for nothing any more.
    pub(super) fn await_nothing(&mut self, session: Key, slot: Option<u8>) {
        let room = self.sessions.get(session).map(|session| session.room);
        if let Some(room) = room.and_then(|room| self.rooms.get_mut(room)) {
            room.awaited
                .retain(|own| own.session != session || slot.is_some_and(|slot| slot != own.slot));
        }
    }

    fn on_layer(&mut self, now: Time, core: u8, news: &LayerNews) {
        let Some(key) = self.mirror(core, news.publication) else {
            return;
        };
        let Some(mirror) = self.publications.get_mut(key) else {
            return;
        };
        if mirror.relay_layer(news) {
            mirror.look_at = now;
            if mirror.look(now) {
                self.choose_anew(now, key);
            }
        }
    }

    /// Another core wants these layers of a track of this one.
    fn on_wanted(&mut self, now: Time, core: u8, publication_key: Key, layers: u8) {
        let Some(publication) = self.publications.get_mut(publication_key) else {
            return;
        };
        let new = publication.set_peer_layers(core, layers);
        let scalable = publication.is_scalable();
        for layer in (0..publication.layers.len() as u8).filter(|layer| new >> layer & 1 == 1) {
            let stream = if scalable { 0 } else { layer };
            let found = self
                .publications
                .get(publication_key)
                .and_then(|publication| publication.stream(stream));
            if let Some(found) = found
                && let Some(sets) = found.parameter_sets.clone()
            {
                let message = Message::ParameterSets {
                    publication: publication_key,
                    layer: stream,
                    source: found.source,
                    sets,
                };
                self.send(core, message);
            }
            self.tell_report_to(core, publication_key, stream);
        }
        self.update_dynacast(now, publication_key);
    }

    /// Asks the publisher's core for the layers that somebody here takes, when they changed.
    pub(super) fn sync_wanted(&mut self, publication_key: Key) {
        let Some(publication) = self.publications.get_mut(publication_key) else {
            return;
        };
        // Of sound everything comes.
        if publication.kind == Kind::Audio {
            return;
        }
        let wanted = publication.wanted();
        let Some(origin) = publication.origin_mut() else {
            return;
        };
        if std::mem::replace(&mut origin.wanted, wanted) != wanted {
            let (core, publication) = (origin.core, origin.publication);
            self.send(core, Message::Wanted(publication, wanted));
        }
    }

    /// Somebody here waits for a key frame of a track of another core.
    pub(super) fn ask_origin(&mut self, key: Key, layer: u8, meanwhile: Meanwhile) {
        if let Some(origin) = self.publications.get_mut(key).and_then(Publication::origin_mut)
            && origin.ask(layer, meanwhile)
        {
            self.asking.push(key);
        }
    }
}

/// The tracks of a room that this core's sessions publish.
fn tracks_of(sessions: &Slab<Session>, room: &Room) -> Vec<Key> {
    let members = room.sessions.iter().filter_map(|member| sessions.get(*member));
    members
        .flat_map(|session| &session.published)
        .map(|published| published.publication)
        .collect()
}
