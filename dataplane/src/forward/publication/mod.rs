//! A published track: its layers, and which slots they feed.
//!
//! A publication takes in authenticated packets, once each, and keeps them for everybody: numbers are
//! extended, the payload is read once, and what subscribers need of it stands in the packet's facts.
//! It never knows how a subscriber numbers things.

mod subscribers;

use std::time::Duration;

use kall_shared::id::{Mid, Rid, SessionId, TrackId};
use kall_shared::media::{Codec, CodecParams, Kind, PublishParams, Source};

use crate::codec::dependency_descriptor::Mandatory;
use crate::codec::{FrameSize, h264};
use crate::forward::dependencies::{Announced, Told};
use crate::forward::dynacast::Dynacast;
use crate::forward::flow::Flow;
use crate::forward::keyframe::{KeyframeGate, Meanwhile, SPACING_HIGH, SPACING_LOW};
use crate::forward::layer_stream::LayerStream;
use crate::forward::layers::{LAYERS_MAX, LayerView, Ranks, TrackView};
use crate::forward::relay::{Owner, Peer};
use crate::forward::rewriter::SourceId;
use crate::rtp::PacketMeta;
use crate::rtp::nack_generator::Noted;
use crate::rtp::packet_ring::NotKept;
use crate::shard::slab::Key;
use crate::time::Time;

pub use subscribers::Subscriber;

/// Names for streams: no two streams of a core ever share one.
#[derive(Debug, Default)]
pub struct SourceIds {
    last: u32,
}

impl SourceIds {
    pub(super) fn next(&mut self) -> SourceId {
        self.last = self.last.wrapping_add(1);
        SourceId(self.last)
    }
}

/// One encoding of a track.
#[derive(Debug)]
pub struct Layer {
    /// Present from the first packet on.
    pub stream: Option<LayerStream>,
    /// Requests for key frames.
    pub keyframes: KeyframeGate,
    /// How much comes.
    pub flow: Flow,
    /// Of the newest key frame, if the codec tells.
    pub size: Option<FrameSize>,
    /// Slots that take it or wait for it.
    takers: u32,
    /// Sequence numbers asked for again, and key frames asked for.
    pub nack_sent: u64,
    /// Key frames asked for.
    pub pli_sent: u64,
}

impl Layer {
    pub(super) fn new() -> Self {
        Self {
            stream: None,
            keyframes: KeyframeGate::new(SPACING_LOW),
            flow: Flow::default(),
            size: None,
            takers: 0,
            nack_sent: 0,
            pli_sent: 0,
        }
    }

    /// Puts a packet into the ring of its stream; none when it is not kept, else whether newer ones were there already.
    pub(super) fn keep(
        &mut self,
        now: Time,
        meta: PacketMeta,
        descriptor: &[u8],
        payload: &[u8],
        told: &mut Told,
    ) -> Option<bool> {
        let stream = self.stream.as_mut()?;
        let late = stream.ring.highest().is_some_and(|highest| meta.seq < highest);
        match stream.ring.insert_described(meta, descriptor, payload) {
            Ok(()) => {}
            Err(NotKept::Duplicate | NotKept::TooOld | NotKept::TooLong) => return None,
        }
        if late && told.kept {
            told.broken |= stream.describe_again(now, meta.seq);
        }
        if meta.keyframe_start {
            self.keyframes.on_keyframe(now);
        }
        Some(late)
    }
}

/// What is known of a payload before it is kept; the rest of [`PacketMeta`] comes from the packet.
#[derive(Debug, Clone, Copy, Default)]
pub struct PayloadFacts {
    /// Picture id of VP8 or VP9, or frame number of AV1, and how many bits it has.
    pub picture_id: Option<(u16, u32)>,
    /// Size of the picture, where its key frame tells.
    pub size: Option<FrameSize>,
    /// The spatial layers of the stream, where its key picture tells.
    pub announced: Option<Announced>,
    /// The payload has parameter sets (H264).
    pub parameter_sets: bool,
    /// Facts that are taken over as they are.
    pub meta: PacketMeta,
}

/// An authenticated packet of a publication.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Its layer.
    pub layer: u8,
    /// The SSRC of the primary stream; none when it came as a retransmission.
    pub ssrc: Option<u32>,
    /// Its codec as the publisher sends it.
    pub codec: CodecParams,
    /// Number on the primary stream.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// What its payload says.
    pub facts: PayloadFacts,
    /// Its dependency descriptor; empty where it has none (AV1).
    pub descriptor: &'a [u8],
    /// The payload without padding.
    pub payload: &'a [u8],
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is in the ring under this number.
    Kept {
        /// Its extended number.
        seq: u64,
        /// Newer packets were there already.
        late: bool,
        /// A decoder can start here.
        keyframe_start: bool,
        /// It is the first packet of the whole track.
        first_of_track: bool,
        /// It is the first packet of its stream.
        first_of_stream: bool,
        /// So much is missing, or has been for so long, that only a key frame helps.
        keyframe_needed: bool,
        /// The publisher changed to another codec of its line.
        codec_changed: bool,
    },
    /// It was there already, or is too old to matter.
    Duplicate,
    /// Nothing to attach a retransmission to yet.
    NoStream,
}

/// A published track.
#[derive(Debug)]
pub struct Publication {
    /// Its id for everybody.
    pub track: TrackId,
    /// Whose packets it takes in.
    pub owner: Owner,
    /// The publishing session.
    pub session: SessionId,
    /// The line that publishes it.
    pub mid: Mid,
    /// Audio or video.
    pub kind: Kind,
    /// What it shows.
    pub source: Source,
    /// Its place in the room's contest, for sound that flows.
    pub talker: Option<Key>,
    /// Whether forwarding is stopped.
    pub muted: bool,
    /// When that changed last.
    unmuted_at: Time,
    /// Whether media has come.
    pub started: bool,
    /// Its encodings, in the order of the offer.
    pub layers: Vec<Layer>,
    /// Their names; empty for a single encoding.
    pub rids: Vec<Rid>,
    /// Their order by size.
    pub ranks: Ranks,
    /// What its publisher is told to send.
    pub dynacast: Dynacast,
    /// Which layers flowed when they were looked at last, by bit.
    flowing: u8,
    /// When they are looked at again.
    pub look_at: Time,
    /// Who takes it.
    pub subscribers: Vec<Subscriber>,
    /// The other cores that it is handed to; of a track of another core none.
    pub peers: Vec<Peer>,
}

/// What a packet costs a receiver's path beside its payload: IPv4 and UDP 28 bytes, RTP with extensions
/// about 24, the tag of an AEAD profile 16.
const PACKET_OVERHEAD: usize = 68;

/// How often the layers of a track that flows are looked at: a tenth of what a picture may freeze.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

impl Publication {
    /// A track nothing has come of yet.
    #[must_use]
    pub fn new(
        owner: Owner,
        session: SessionId,
        mid: Mid,
        publish: &PublishParams,
        layers: usize,
        now: Time,
    ) -> Self {
        let mut empty = Vec::with_capacity(LAYERS_MAX);
        let layers = layers.min(LAYERS_MAX);
        empty.resize_with(layers, Layer::new);
        let (source, muted) = (publish.source, publish.muted);
        Self {
            track: publish.track.clone(),
            owner,
            session,
            mid,
            kind: source.kind(),
            source,
            talker: None,
            muted,
            unmuted_at: Time::ZERO,
            started: false,
            layers: empty,
            rids: publish.rids.clone(),
            ranks: Ranks::of_offer(layers),
            dynacast: Dynacast::new(now),
            flowing: 0,
            look_at: Time::FAR_FUTURE,
            subscribers: Vec::new(),
            peers: Vec::new(),
        }
    }

    /// Whether its layers are spatial layers of one stream, which is the first layer's (SVC).
    #[must_use]
    pub fn is_scalable(&self) -> bool {
        self.layers.len() > self.encodings()
    }

    /// How many streams its offer has.
    #[must_use]
    pub fn encodings(&self) -> usize {
        self.rids.len().max(1)
    }

    /// The stream of a layer, if it has one.
    #[must_use]
    pub fn stream(&self, layer: u8) -> Option<&LayerStream> {
        self.layers.get(usize::from(layer))?.stream.as_ref()
    }

    /// The stream of a layer, if it has one.
    pub fn stream_mut(&mut self, layer: usize) -> Option<&mut LayerStream> {
        self.layers.get_mut(layer)?.stream.as_mut()
    }

    /// Takes in one packet. `received` is when the kernel got it.
    pub fn take(
        &mut self,
        now: Time,
        received: Time,
        packet: &Incoming<'_>,
        sources: &mut SourceIds,
    ) -> Taken {
        let first_of_track = !self.started;
        let kind = self.kind;
        let Some(layer) = self.layers.get_mut(usize::from(packet.layer)) else {
            return Taken::NoStream;
        };
        let mut first_of_stream = false;
        if let Some(ssrc) = packet.ssrc
            && layer
                .stream
                .as_ref()
                .is_none_or(|stream| stream.recv.ssrc() != ssrc)
        {
            first_of_stream = true;
            layer.stream = Some(LayerStream::new(sources.next(), ssrc, kind, packet.codec));
        }
        let Some(stream) = &mut layer.stream else {
            return Taken::NoStream;
        };
        let len = packet.payload.len();
        let recovered = packet.ssrc.is_none();
        // A retransmission may be of a packet from before a change.
        let codec_changed = !recovered && stream.codec != packet.codec;
        if codec_changed {
            stream.codec = packet.codec;
        }
        let (seq, ts) = if recovered {
            stream.recv.on_recovered(packet.sequence, packet.timestamp, len)
        } else {
            stream
                .recv
                .on_packet(received, packet.sequence, packet.timestamp, len)
        };
        let mut keyframe_start = packet.facts.meta.keyframe_start;
        if keyframe_start && !packet.facts.meta.start_of_frame {
            // Of H.264's slices only one that is known to begin its picture is an entry point, or
            // the parameter sets in front of it would neither be repaired nor forwarded.
            let before = stream.ring.get(seq.saturating_sub(1));
            keyframe_start = before.is_some_and(|(before, _)| before.ts != ts);
        }
        let mut size = packet.facts.size;
        if packet.facts.parameter_sets {
            let sets = stream.parameter_sets.get_or_insert_default();
            size = sets.on_payload(packet.payload).and_then(h264::sps::frame_size);
        }
        let mut facts = packet.facts;
        // The offset of a descriptor in its ring is a byte.
        let described = u8::try_from(packet.descriptor.len()).ok().filter(|len| *len > 0);
        let descriptor = described.map_or(&[][..], |_| packet.descriptor);
        let mut told = Told::default();
        if packet.codec.codec == Codec::Av1 {
            facts.meta.descriptor_len = described.unwrap_or(0);
            if let Ok(mandatory) = Mandatory::parse(descriptor) {
                let frame = stream.picture.unwrap(mandatory.frame_number, u16::BITS);
                facts.meta.picture_id = Some(frame);
                facts.meta.seq = seq;
                told = stream.dependencies.take(now, frame, descriptor, &mut facts.meta);
                facts.announced = told.announced;
                size = told.announced.and_then(|announced| announced.largest());
                keyframe_start = facts.meta.keyframe_start;
            }
        } else if let Some((id, bits)) = facts.picture_id {
            facts.meta.picture_id = Some(stream.picture.unwrap(id, bits));
        }
        let meta = PacketMeta {
            seq,
            ts,
            arrival: received,
            recovered,
            pt: packet.codec.pt,
            keyframe_start,
            lacks_parameter_sets: keyframe_start
                && !packet.facts.meta.start_of_frame
                && stream.parameter_sets.is_some(),
            ..facts.meta
        };
        let Some(late) = layer.keep(now, meta, descriptor, packet.payload, &mut told) else {
            return Taken::Duplicate;
        };
        let mut noted = None;
        if let Some(stream) = &mut layer.stream {
            noted = Some(stream.nack.on_packet(now, seq, recovered));
            if meta.keyframe_start {
                stream.nack.on_keyframe(seq);
            }
        }
        self.note_layers(usize::from(packet.layer), size, facts.announced);
        if len > 0 {
            self.account(now, packet.layer, &meta, len + PACKET_OVERHEAD);
        }
        if first_of_track {
            // From here on there is something to take.
            self.dynacast = Dynacast::new(now);
        }
        self.started = true;
        let broken = self.is_missed(packet.layer, told.broken);
        if kind == Kind::Video {
            let next = if first_of_stream { now } else { now + LOOK_INTERVAL };
            self.look_at = self.look_at.min(next);
        }
        Taken::Kept {
            seq,
            late,
            keyframe_start: meta.keyframe_start,
            first_of_track,
            first_of_stream,
            keyframe_needed: (noted == Some(Noted::KeyframeNeeded) || broken) && kind == Kind::Video,
            codec_changed: codec_changed || first_of_stream && !first_of_track,
        }
    }

    /// Whether anybody takes one of the spatial layers `broken` of a stream.
    pub(super) fn is_missed(&self, stream: u8, broken: u8) -> bool {
        let scalable = self.is_scalable();
        let mut layers = self.layers.iter().enumerate();
        layers.any(|(index, layer)| {
            let is_broken = if scalable {
                broken >> index & 1 == 1
            } else {
                broken != 0 && index == usize::from(stream)
            };
            is_broken && layer.takers > 0
        })
    }

    /// Takes over the sizes that a key picture tells, and the spatial layers of a single stream.
    fn note_layers(&mut self, index: usize, size: Option<FrameSize>, announced: Option<Announced>) {
        let mut measured = false;
        match announced {
            Some(announced) if self.encodings() == 1 && (announced.count > 1 || self.is_scalable()) => {
                let count = usize::from(announced.count).min(LAYERS_MAX);
                while self.layers.len() < count {
                    self.layers.push(Layer::new());
                    measured = true;
                }
                for (layer, size) in self.layers.iter_mut().zip(announced.sizes) {
                    measured |= size.is_some() && layer.size != size;
                    layer.size = size.or(layer.size);
                }
            }
            _ => {
                if let Some(layer) = self.layers.get_mut(index)
                    && size.is_some()
                    && layer.size != size
                {
                    layer.size = size;
                    measured = true;
                }
            }
        }
        if measured {
            self.measure();
        }
        let scalable = self.is_scalable();
        if let Some(stream) = self.stream_mut(index) {
            stream.scalable = scalable;
        }
    }

    /// Accounts a packet to the layers that it costs: its own, and those above that are decoded with it.
    fn account(&mut self, now: Time, own: u8, meta: &PacketMeta, bytes: usize) {
        let scalable = self.is_scalable();
        let (own, ends_frame) = if scalable {
            (meta.spatial, meta.end_of_frame)
        } else {
            (own, meta.marker)
        };
        for (index, layer) in self.layers.iter_mut().enumerate() {
            if index == usize::from(own) {
                layer.flow.on_packet(now, bytes, meta.temporal, ends_frame);
                continue;
            }
            if scalable && index > usize::from(own) && meta.needed_by >> index & 1 == 1 {
                layer.flow.on_below(now, bytes, meta.temporal);
            }
            if ends_frame {
                layer.flow.on_sibling();
            }
        }
    }

    /// Stops forwarding, or restarts it with what is yet to come.
    pub fn set_muted(&mut self, now: Time, muted: bool) {
        self.muted = muted;
        self.unmuted_at = now;
        for layer in &mut self.layers {
            layer.keyframes.cancel();
            if let Some(stream) = &mut layer.stream {
                stream.forward_from = stream.ring.highest().map_or(0, |highest| highest + 1);
            }
        }
    }

    /// Orders the layers by their sizes, and spaces key frames of the larger ones further.
    pub(super) fn measure(&mut self) {
        self.ranks = Ranks::measure(self.layers.iter().map(|layer| layer.size));
        let scalable = self.is_scalable();
        for (rank, layer) in self.ranks.ascending().iter().enumerate() {
            if let Some(layer) = self.layers.get_mut(usize::from(*layer)) {
                // A key picture of one stream is one of all its layers.
                let small = rank == 0 && !scalable;
                layer
                    .keyframes
                    .space(if small { SPACING_LOW } else { SPACING_HIGH });
            }
        }
        // Whoever chose by the old order chooses again.
        self.flowing = u8::MAX;
    }

    /// What a choice between the layers rests on.
    #[must_use]
    pub fn view(&self) -> TrackView {
        let mut layers = [LayerView::default(); LAYERS_MAX];
        for (index, (view, layer)) in layers.iter_mut().zip(&self.layers).enumerate() {
            *view = LayerView {
                flow: layer.flow,
                size: layer.size,
                // While it was muted nothing could appear.
                wanted_since: self
                    .dynacast
                    .wanted_since(index as u8)
                    .map(|since| since.max(self.unmuted_at)),
            };
        }
        TrackView {
            layers,
            ranks: self.ranks,
        }
    }

    /// Looks which layers can be had. True when that changed since the last look: slots choose anew.
    pub fn look(&mut self, now: Time) -> bool {
        if now < self.look_at {
            return false;
        }
        let view = self.view();
        let newest = view.newest_packet();
        let mut flowing = 0;
        let mut any = false;
        for (index, layer) in view.layers[..self.layers.len()].iter().enumerate() {
            any |= layer.flow.flows(now);
            flowing |= u8::from(layer.available(now, newest)) << (2 * index);
            flowing |= u8::from(layer.flows(now, newest)) << (2 * index + 1);
        }
        // A track that has stopped is looked at again when a packet comes.
        self.look_at = if any {
            now + LOOK_INTERVAL
        } else {
            Time::FAR_FUTURE
        };
        let changed = flowing != self.flowing;
        self.flowing = flowing;
        changed
    }

    /// Which layers packets come of.
    #[must_use]
    pub fn flows(&self, now: Time) -> [bool; LAYERS_MAX] {
        let mut flows = [false; LAYERS_MAX];
        for (flows, layer) in flows.iter_mut().zip(&self.layers) {
            *flows = layer.flow.flows(now);
        }
        flows
    }

    /// The stream of the newest packet: all layers of a track have one codec, but those that were
    /// stopped may remember another.
    #[must_use]
    fn any_stream(&self) -> Option<&LayerStream> {
        let newest = self
            .layers
            .iter()
            .filter(|layer| layer.stream.is_some())
            .max_by_key(|layer| layer.flow.last_packet());
        newest.and_then(|layer| layer.stream.as_ref())
    }

    /// The codec that its publisher sends now, once that is known.
    #[must_use]
    pub fn codec(&self) -> Option<CodecParams> {
        match self.origin() {
            Some(origin) => origin.codec,
            None => self.any_stream().map(|stream| stream.codec),
        }
    }

    /// Whether its publisher can be told which of its layers are taken: they have rids, or are spatial layers.
    #[must_use]
    pub fn has_named_layers(&self) -> bool {
        !self.rids.is_empty() || self.is_scalable()
    }

    /// The rids and whether each is wanted; spatial layers of one stream are named by their numbers. Empty for a single
    /// encoding.
    #[must_use]
    pub fn dynacast_layers(&self) -> Vec<(Rid, bool)> {
        let wanted = |index: usize| self.dynacast.wanted_since(index as u8).is_some();
        if self.is_scalable() {
            let numbers = (0..self.layers.len()).map(|index| (Rid::new(index.to_string()), wanted(index)));
            return numbers
                .filter_map(|(name, wanted)| Some((name.ok()?, wanted)))
                .collect();
        }
        let named = self.rids.iter().cloned().enumerate();
        named.map(|(index, rid)| (rid, wanted(index))).collect()
    }

    /// Asks for a key frame of a layer when its gate allows; the gate is polled by the owner.
    pub fn request_keyframe(&mut self, now: Time, layer: u8, rtt: Duration, meanwhile: Meanwhile) {
        let stream = if self.is_scalable() { 0 } else { usize::from(layer) };
        if self.kind == Kind::Video
            && !self.muted
            && let Some(layer) = self.layers.get_mut(stream)
        {
            layer.keyframes.request(now, Some(rtt), meanwhile);
        }
    }
}
