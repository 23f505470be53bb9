//! Rooms that several cores have members of: who is told what. What comes of it is in [`super::mirroring`].
//!
//! Cores tell each other in which rooms they have members ([`Message::Here`]); those that share a room tell each other
//! its tracks, and hand over what is wanted of them ([`crate::forward::relay`]). Everything here is a consequence of what
//! happens in one shard and of what came over its lanes, in their order.

use kall_shared::id::RoomId;
use kall_shared::media::Kind;

use super::Shard;
use super::slab::Key;
use crate::forward::keyframe::Meanwhile;
use crate::forward::publication::Publication;
use crate::forward::relay::{Owner, Peer};
use crate::lane::{Lanes, LayerNews, Message, PacketHead, Received, Receiver, TrackNews};
use crate::rtp::PacketMeta;
use crate::session::DEFAULT_RTT;
use crate::time::Time;

/// Packets and messages taken from one lane at once: as many as datagrams in a turn.
pub const ENTRIES_PER_TURN: usize = 1024;

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

    pub(super) fn send(&mut self, core: u8, message: Message) {
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

    pub(super) fn tell_track_to(&mut self, core: u8, publication_key: Key) {
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

    pub(super) fn tell_report_to(&mut self, core: u8, publication_key: Key, layer: u8) {
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
}
