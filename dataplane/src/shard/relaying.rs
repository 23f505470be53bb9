//! Rooms that several cores have members of: who is told what, and what comes of it.
//!
//! Cores tell each other in which rooms they have members ([`Message::Here`]); those that share a room tell each other
//! its tracks, and hand over what is wanted of them ([`crate::forward::relay`]). Everything here is a consequence of what
//! happens in one shard and of what came over its lanes, in their order.

use kall_shared::id::{RoomId, TrackId};
use kall_shared::media::{Kind, SlotWish};

use super::ingress::Order;
use super::room::Room;
use super::slab::{Key, Slab};
use super::{MIRRORS_PER_CORE, Shard};
use crate::forward::keyframe::Meanwhile;
use crate::forward::publication::{Publication, Taken};
use crate::forward::relay::{Origin, Owner, Peer, Relayed};
use crate::lane::{Lanes, LayerNews, Message, PacketHead, Received, Receiver, TrackNews};
use crate::rtp::PacketMeta;
use crate::session::{DEFAULT_RTT, Session};
use crate::time::Time;

/// Packets and messages taken from one lane at once: as many as datagrams in a turn.
pub const ENTRIES_PER_TURN: usize = 1024;

/// A slot that was given a track which this core has not been told of yet.
#[derive(Debug)]
pub(super) struct Awaited {
    track: TrackId,
    session: Key,
    slot: u8,
    wish: SlotWish,
}

impl Shard {
    /// Gives the shard its lanes to other cores. Before its first session.
    pub fn connect_lanes(&mut self, lanes: Lanes) {
        self.lanes = lanes;
    }

    /// Whether there is no other core.
    pub(super) fn is_alone(&self) -> bool {
        self.lanes.to.is_empty()
    }

    /// Whether others sent something.
    #[must_use]
    pub fn has_relayed(&self) -> bool {
        self.lanes.from.iter().flatten().any(Receiver::has_any)
    }

    /// Takes what other cores sent, about `limit` packets and messages from each. How many there were.
    pub fn handle_lanes(&mut self, now: Time, limit: usize) -> usize {
        let mut from = std::mem::take(&mut self.lanes.from);
        let mut taken = 0;
        for (core, lane) in from.iter_mut().enumerate() {
            let Some(lane) = lane else { continue };
            let core = core as u8;
            let mut count = 0;
            while count < limit
                && lane.receive(|received| match received {
                    Received::Packet(head, descriptor, payload) => {
                        self.on_relayed(now, core, head, descriptor, payload);
                    }
                    Received::Message(message) => self.on_message(now, core, message),
                })
            {
                count += 1;
            }
            taken += count;
        }
        self.lanes.from = from;
        taken
    }

    /// Makes what is for other cores visible to them; `tell` is called with each that there is something for.
    pub fn publish_lanes(&mut self, mut tell: impl FnMut(u8)) {
        self.send_asks();
        for (core, lane) in self.lanes.to.iter_mut().enumerate() {
            if let Some(lane) = lane
                && lane.publish()
            {
                tell(core as u8);
            }
        }
    }

    /// Key frames that are wanted of tracks of other cores: each layer once, whoever asks for it.
    fn send_asks(&mut self) {
        while let Some(key) = self.asking.pop() {
            let Some(origin) = self.publications.get_mut(key).and_then(Publication::origin_mut) else {
                continue;
            };
            let (core, publication) = (origin.core, origin.publication);
            for (layer, meanwhile) in origin.take_asks() {
                self.send(core, Message::Keyframe(publication, layer, meanwhile));
            }
        }
    }

    fn send(&mut self, core: u8, message: Message) {
        if let Some(Some(lane)) = self.lanes.to.get_mut(usize::from(core)) {
            lane.message(message);
        }
    }

    fn send_to_all(&mut self, message: impl Fn() -> Message) {
        for lane in self.lanes.to.iter_mut().flatten() {
            lane.message(message());
        }
    }

    /// The room of a publication on this core.
    pub(super) fn room_of(&self, publication: &Publication) -> Option<Key> {
        match &publication.owner {
            Owner::Session(key) => self.sessions.get(*key).map(|owner| owner.room),
            Owner::Core(origin) => Some(origin.room),
        }
    }

    /// The first member of a room came.
    pub(super) fn on_room_opened(&mut self, room: &RoomId) {
        self.send_to_all(|| Message::Here(room.clone()));
    }

    /// The last one left; `mirrors` are the tracks of other cores that were there.
    pub(super) fn on_room_closed(&mut self, now: Time, room: &RoomId, mirrors: Vec<Key>) {
        for mirror in mirrors {
            self.remove_publication(now, mirror);
        }
        self.send_to_all(|| Message::Gone(room.clone()));
    }

    /// Whether messages wait for room in a lane, which nobody tells when there is some.
    #[must_use]
    pub fn waits_for_lanes(&self) -> bool {
        self.lanes.to.iter().flatten().any(|lane| lane.waiting() > 0)
    }

    /// A track of this core has come into a room: slots that wait for it get it, and the cores that share the room are
    /// told.
    pub(super) fn tell_track(&mut self, now: Time, publication_key: Key) {
        self.fill_awaiting(now, publication_key);
        let room = self
            .publications
            .get(publication_key)
            .and_then(|publication| self.room_of(publication));
        let peers = room
            .and_then(|room| self.rooms.get(room))
            .map_or(0, |room| room.peers);
        for core in (0..u64::BITS as u8).filter(|core| peers >> core & 1 == 1) {
            self.tell_track_to(core, publication_key);
        }
    }

    fn tell_track_to(&mut self, core: u8, publication_key: Key) {
        let Some(publication) = self.publications.get(publication_key) else {
            return;
        };
        let Some(session) = publication
            .own_session()
            .and_then(|owner| self.sessions.get(owner))
        else {
            return;
        };
        let Some(room) = self.rooms.get(session.room) else {
            return;
        };
        let line = session.line_index(&publication.mid);
        let publish = line
            .and_then(|line| session.params.lines.get(line))
            .and_then(|line| line.publish.clone());
        let Some(publish) = publish else { return };
        let publish_kind = publication.kind;
        let news = TrackNews {
            publication: publication_key,
            room: room.id.clone(),
            session: session.id,
            mid: publication.mid.clone(),
            publish,
            layers: publication.layers.len() as u8,
            muted: publication.muted,
            codec: publication.codec(),
        };
        self.send(core, Message::Track(Box::new(news)));
        if let Some(publication) = self.publications.get_mut(publication_key) {
            publication.add_peer(core);
        }
        self.tell_layers_to(core, publication_key, false);
        if publish_kind == Kind::Audio {
            self.tell_report_to(core, publication_key, 0);
        }
    }

    /// A track of this core is in its room no more, or no more at all.
    pub(super) fn untell_track(&mut self, publication_key: Key) {
        while let Some(publication) = self.publications.get_mut(publication_key)
            && let Some(peer) = publication.peers.last()
        {
            let core = peer.core;
            publication.remove_peer(core);
            self.send(core, Message::TrackGone(publication_key));
        }
    }

    /// Calls `tell` with each core that a track is handed to.
    fn tell_peers(&mut self, publication_key: Key, mut tell: impl FnMut(&mut Self, Peer)) {
        let mut index = 0;
        while let Some(publication) = self.publications.get(publication_key)
            && let Some(peer) = publication.peers.get(index).copied()
        {
            index += 1;
            tell(self, peer);
        }
    }

    /// Tells what flows of a track to the cores it is handed to; `periodic`: again, and not for the last time.
    pub(super) fn tell_layers(&mut self, publication_key: Key, periodic: bool) {
        self.tell_peers(publication_key, |shard, peer| {
            shard.tell_layers_to(peer.core, publication_key, periodic);
        });
    }

    fn tell_layers_to(&mut self, core: u8, publication_key: Key, periodic: bool) {
        let Some(publication) = self.publications.get(publication_key) else {
            return;
        };
        let Some(Some(lane)) = self.lanes.to.get_mut(usize::from(core)) else {
            return;
        };
        if publication.kind != Kind::Video || !publication.started {
            return;
        }
        for (index, layer) in publication.layers.iter().enumerate() {
            lane.message(Message::Layer(LayerNews {
                publication: publication_key,
                layer: index as u8,
                layers: publication.layers.len() as u8,
                flow: layer.flow,
                size: layer.size,
                wanted_since: publication.dynacast.wanted_since(index as u8),
                periodic,
            }));
        }
    }

    /// Tells the codec of a track to the cores that it is handed to.
    pub(super) fn tell_codec(&mut self, publication_key: Key) {
        let publication = self.publications.get(publication_key);
        let Some(codec) = publication.and_then(Publication::codec) else {
            return;
        };
        self.tell_peers(publication_key, |shard, peer| {
            shard.send(peer.core, Message::Codec(publication_key, codec));
        });
    }

    /// Tells the cores that a track is handed to that it was muted, or goes on.
    pub(super) fn tell_muted(&mut self, publication_key: Key, muted: bool) {
        self.tell_peers(publication_key, |shard, peer| {
            shard.send(peer.core, Message::Muted(publication_key, muted));
        });
    }

    /// Tells what the newest sender report of a layer says to the cores that take it.
    pub(super) fn tell_report(&mut self, publication_key: Key, layer: u8) {
        let publication = self.publications.get(publication_key);
        let scalable = publication.is_some_and(Publication::is_scalable);
        self.tell_peers(publication_key, |shard, peer| {
            if peer.takes(layer, scalable) {
                shard.tell_report_to(peer.core, publication_key, layer);
            }
        });
    }

    fn tell_report_to(&mut self, core: u8, publication_key: Key, layer: u8) {
        let Some(publication) = self.publications.get(publication_key) else {
            return;
        };
        let Some(stream) = publication.stream(layer) else {
            return;
        };
        let Some(owner) = publication
            .own_session()
            .and_then(|owner| self.sessions.get(owner))
        else {
            return;
        };
        let message = Message::Report {
            publication: publication_key,
            layer,
            source: stream.source,
            pair: stream.recv.sr_pair().copied(),
            clock: owner.capture_clock,
        };
        self.send(core, message);
    }

    /// Hands one packet of a track of this core to the others that want it.
    pub(super) fn relay(&mut self, now: Time, publication_key: Key, layer: u8, seq: u64) {
        let Some(publication) = self.publications.get_mut(publication_key) else {
            return;
        };
        let scalable = publication.is_scalable();
        let picture = publication.kind == Kind::Video;
        let Publication { layers, peers, .. } = publication;
        let Some(own) = layers.get(usize::from(layer)) else {
            return;
        };
        let Some(stream) = &own.stream else {
            return;
        };
        // Nothing follows upon the pictures of the highest temporal layer.
        let followed = |meta: &PacketMeta| meta.temporal == 0 || meta.temporal < own.flow.highest_temporal();
        let Some((meta, payload)) = stream.ring.get(seq) else {
            return;
        };
        let mut broken = false;
        for peer in peers.iter_mut().filter(|peer| peer.takes(layer, scalable)) {
            let Some(Some(lane)) = self.lanes.to.get_mut(usize::from(peer.core)) else {
                continue;
            };
            if picture && peer.is_cut(layer, meta) {
                self.counters.drop_lane_full += 1;
                continue;
            }
            let head = PacketHead::new(
                publication_key,
                layer,
                stream.source,
                stream.recv.ssrc(),
                stream.codec,
                *meta,
            );
            if lane
                .packet(head, stream.ring.descriptor(seq), payload, picture)
                .is_ok()
            {
                self.counters.lane_out += 1;
                continue;
            }
            self.counters.drop_lane_full += 1;
            if picture {
                peer.cut(layer, meta);
                broken |= followed(meta);
            }
        }
        if broken {
            publication.request_keyframe(now, layer, DEFAULT_RTT, Meanwhile::Something);
        }
    }

    /// A packet of a track of another core.
    fn on_relayed(&mut self, now: Time, core: u8, head: &PacketHead, descriptor: &[u8], payload: &[u8]) {
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

    fn on_message(&mut self, now: Time, core: u8, message: Message) {
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
    fn fill_awaiting(&mut self, now: Time, publication_key: Key) {
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
