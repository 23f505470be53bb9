//! A track on cores other than its publisher's.
//!
//! The publisher's core takes its packets in, once each, and hands those that somebody on another core takes to that
//! core, with all that was found out about them. There they stand in a publication of its own, as if they had come
//! from a publisher; its slots know no difference. What only the publisher's core can know, how much comes of layers that
//! nobody there takes, it tells.

use kall_shared::media::{Codec, CodecParams, Kind};

use crate::codec::h264;
use crate::forward::dependencies::Told;
use crate::forward::keyframe::Meanwhile;
use crate::forward::layer_stream::LayerStream;
use crate::forward::layers::LAYERS_MAX;
use crate::forward::publication::{Layer, Publication, SourceIds, Taken};
use crate::forward::rewriter::SourceId;
use crate::lane::LayerNews;
use crate::rtp::{CaptureClock, PacketMeta, SrPair};
use crate::shard::slab::Key;
use crate::time::Time;

/// Whose packets a publication takes in.
#[derive(Debug)]
pub enum Owner {
    /// Those of a session of this core.
    Session(Key),
    /// What another core hands over.
    Core(Box<Origin>),
}

/// The publisher's core, as another one sees it.
#[derive(Debug)]
pub struct Origin {
    /// Its index.
    pub core: u8,
    /// The track's key there.
    pub publication: Key,
    /// The track's room, on this core.
    pub room: Key,
    /// The publisher's clock.
    pub clock: CaptureClock,
    /// The codec that the publisher sends: what came of a layer long ago may have had another.
    pub codec: Option<CodecParams>,
    /// The layers that it was asked for, by bit.
    pub wanted: u8,
    layers: [Known; LAYERS_MAX],
}

/// What came before the first packet of a layer, its stream's name there, and what is to be asked.
#[derive(Debug, Clone, Default)]
struct Known {
    asked: Option<Meanwhile>,
    source: Option<SourceId>,
    /// The newest report, and of which stream.
    pair: Option<(SourceId, SrPair)>,
    /// Parameter sets of a stream that nothing has come of yet.
    parameter_sets: Option<(SourceId, Box<h264::ParameterSets>)>,
}

impl Origin {
    /// A track that was just told of.
    #[must_use]
    pub fn new(core: u8, publication: Key, room: Key) -> Self {
        Self {
            core,
            publication,
            room,
            clock: CaptureClock::new(),
            codec: None,
            wanted: 0,
            layers: Default::default(),
        }
    }

    /// A key frame of a layer is wanted. True when none was wanted of any in this turn.
    pub fn ask(&mut self, layer: u8, meanwhile: Meanwhile) -> bool {
        let first = self.layers.iter().all(|known| known.asked.is_none());
        if let Some(known) = self.layers.get_mut(usize::from(layer)) {
            // Who sees nothing at all waits less.
            if known.asked != Some(Meanwhile::Nothing) {
                known.asked = Some(meanwhile);
            }
        }
        first
    }

    /// The layers whose key frames are wanted.
    pub fn take_asks(&mut self) -> impl Iterator<Item = (u8, Meanwhile)> + use<> {
        let mut asks = [None; LAYERS_MAX];
        for (asked, known) in asks.iter_mut().zip(&mut self.layers) {
            *asked = known.asked.take();
        }
        let asks = asks.into_iter().enumerate();
        asks.filter_map(|(layer, asked)| Some((layer as u8, asked?)))
    }
}

/// Another core that a track is handed to.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its index.
    pub core: u8,
    /// The layers that somebody there takes or waits for, by bit.
    layers: u8,
    /// The picture of each layer that the lane had no room for, by its timestamp: what follows of it is of no use.
    cut: [Option<i64>; LAYERS_MAX],
}

impl Peer {
    /// A core that has been told of the track. Sound goes there whether it is heard or not: who is heard is found out there.
    #[must_use]
    pub fn new(core: u8, kind: Kind) -> Self {
        Self {
            core,
            layers: u8::from(kind == Kind::Audio),
            cut: [None; LAYERS_MAX],
        }
    }

    /// Whether it gets packets of a layer. Of one stream with several layers it gets all.
    #[must_use]
    pub fn takes(&self, layer: u8, scalable: bool) -> bool {
        self.layers >> layer & 1 == 1 || scalable && self.layers != 0
    }

    /// Whether a packet is of a picture whose beginning the lane had no room for.
    #[must_use]
    pub fn is_cut(&self, layer: u8, meta: &PacketMeta) -> bool {
        self.cut.get(usize::from(layer)) == Some(&Some(meta.ts))
    }

    /// The lane had no room for a packet.
    pub fn cut(&mut self, layer: u8, meta: &PacketMeta) {
        if let Some(cut) = self.cut.get_mut(usize::from(layer)) {
            *cut = Some(meta.ts);
        }
    }
}

/// A packet of a track of another core.
#[derive(Debug)]
pub struct Relayed<'a> {
    /// Its layer.
    pub layer: u8,
    /// The stream it is of, by its name on the publisher's core.
    pub source: SourceId,
    /// The SSRC of that stream.
    pub ssrc: u32,
    /// Its codec as the publisher sends it.
    pub codec: CodecParams,
    /// What was found out about it.
    pub meta: PacketMeta,
    /// Its dependency descriptor (AV1).
    pub descriptor: &'a [u8],
    /// Its payload.
    pub payload: &'a [u8],
}

impl Publication {
    /// The publishing session, if it is one of this core.
    #[must_use]
    pub fn own_session(&self) -> Option<Key> {
        match self.owner {
            Owner::Session(key) => Some(key),
            Owner::Core(_) => None,
        }
    }

    /// The publisher's core, if it is another one.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        match &self.owner {
            Owner::Session(_) => None,
            Owner::Core(origin) => Some(origin),
        }
    }

    /// The publisher's core, if it is another one.
    pub fn origin_mut(&mut self) -> Option<&mut Origin> {
        match &mut self.owner {
            Owner::Session(_) => None,
            Owner::Core(origin) => Some(origin),
        }
    }

    /// Takes in a packet that another core handed over.
    pub fn take_relayed(&mut self, now: Time, packet: &Relayed<'_>, sources: &mut SourceIds) -> Taken {
        let first_of_track = !self.started;
        let kind = self.kind;
        let index = usize::from(packet.layer);
        let Owner::Core(origin) = &mut self.owner else {
            return Taken::NoStream;
        };
        let (Some(layer), Some(known)) = (self.layers.get_mut(index), origin.layers.get_mut(index)) else {
            return Taken::NoStream;
        };
        let first_of_stream = layer.stream.is_none() || known.source != Some(packet.source);
        if first_of_stream {
            known.source = Some(packet.source);
            let mut stream = LayerStream::new(sources.next(), packet.ssrc, kind, packet.codec);
            let of_it = |source: &SourceId| *source == packet.source;
            let pair = known.pair.filter(|(source, _)| of_it(source));
            stream.recv.relay_sr_pair(pair.map(|(_, pair)| pair));
            let sets = known.parameter_sets.take().filter(|(source, _)| of_it(source));
            stream.parameter_sets = sets.map(|(_, sets)| sets);
            layer.stream = Some(stream);
        }
        let Some(stream) = &mut layer.stream else {
            return Taken::NoStream;
        };
        let codec_changed = !packet.meta.recovered && stream.codec != packet.codec;
        if codec_changed {
            stream.codec = packet.codec;
        }
        let mut meta = packet.meta;
        let mut told = Told::default();
        let brings_sets = || h264::inspect(packet.payload).is_ok_and(|found| found.sps || found.pps);
        if packet.codec.codec == Codec::H264 && brings_sets() {
            let sets = stream.parameter_sets.get_or_insert_default();
            sets.on_payload(packet.payload);
        }
        if packet.codec.codec == Codec::Av1
            && let Some(frame) = meta.picture_id
        {
            told = stream.dependencies.take(now, frame, packet.descriptor, &mut meta);
        }
        let Some(late) = layer.keep(now, meta, packet.descriptor, packet.payload, &mut told) else {
            return Taken::Duplicate;
        };
        let scalable = self.is_scalable();
        if let Some(stream) = self.stream_mut(index) {
            stream.scalable = scalable;
        }
        self.started = true;
        Taken::Kept {
            seq: meta.seq,
            late,
            keyframe_start: meta.keyframe_start,
            first_of_track,
            first_of_stream,
            keyframe_needed: kind == Kind::Video && self.is_missed(packet.layer, told.broken),
            codec_changed: codec_changed || first_of_stream && !first_of_track,
        }
    }

    /// Takes over what the publisher's core tells of a layer. True when it was the last one: slots may choose anew.
    pub fn relay_layer(&mut self, news: &LayerNews) -> bool {
        let count = usize::from(news.layers).min(LAYERS_MAX);
        let mut measured = false;
        while self.layers.len() < count {
            self.layers.push(Layer::new());
            measured = true;
        }
        if let Some(own) = self.layers.get_mut(usize::from(news.layer)) {
            own.flow = news.flow;
            measured |= own.size != news.size;
            own.size = news.size;
        }
        self.dynacast.relay(news.layer, news.wanted_since);
        if measured {
            self.measure();
        }
        usize::from(news.layer) + 1 == self.layers.len()
    }

    /// Takes over a sender report of a stream of a layer.
    pub fn relay_report(&mut self, layer: u8, source: SourceId, pair: Option<SrPair>, clock: CaptureClock) {
        let Owner::Core(origin) = &mut self.owner else {
            return;
        };
        origin.clock = clock;
        let Some(known) = origin.layers.get_mut(usize::from(layer)) else {
            return;
        };
        known.pair = pair.map(|pair| (source, pair));
        if known.source == Some(source)
            && let Some(stream) = self.stream_mut(usize::from(layer))
        {
            stream.recv.relay_sr_pair(pair);
        }
    }

    /// Takes over parameter sets of a stream of a layer, for key frames that lack them.
    pub fn relay_parameter_sets(&mut self, layer: u8, source: SourceId, sets: Box<h264::ParameterSets>) {
        let Owner::Core(origin) = &mut self.owner else {
            return;
        };
        let Some(known) = origin.layers.get_mut(usize::from(layer)) else {
            return;
        };
        if known.source != Some(source) {
            known.parameter_sets = Some((source, sets));
        } else if let Some(stream) = self.stream_mut(usize::from(layer)) {
            stream.parameter_sets = Some(sets);
        }
    }

    /// Says which layers another core wants. Those it did not want before, by bit.
    pub fn set_peer_layers(&mut self, core: u8, layers: u8) -> u8 {
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.core == core) else {
            return 0;
        };
        if self.kind == Kind::Audio {
            return 0;
        }
        let before = std::mem::replace(&mut peer.layers, layers);
        self.count(before, layers);
        layers & !before
    }

    /// Hands the track to another core from now on.
    pub fn add_peer(&mut self, core: u8) {
        if !self.has_peer(core) {
            self.peers.push(Peer::new(core, self.kind));
        }
    }

    /// Whether it is handed to that core.
    #[must_use]
    pub fn has_peer(&self, core: u8) -> bool {
        self.peers.iter().any(|peer| peer.core == core)
    }

    /// Hands it to that core no more.
    pub fn remove_peer(&mut self, core: u8) {
        self.set_peer_layers(core, 0);
        self.peers.retain(|peer| peer.core != core);
    }

    /// The layers that somebody here takes or waits for, by bit.
    #[must_use]
    pub fn wanted(&self) -> u8 {
        let takers = self.takers();
        let bits = takers.iter().enumerate();
        bits.fold(0, |mask, (index, takers)| mask | u8::from(*takers > 0) << index)
    }
}
