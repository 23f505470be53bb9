//! A published track: its layers, and which slots they feed.
//!
//! A publication takes in authenticated packets, once each, and keeps them for everybody: numbers are
//! extended, the payload is read once, and what subscribers need of it stands in the packet's facts.
//! It never knows how a subscriber numbers things.

use std::time::Duration;

use kall_shared::id::{Mid, TrackId};
use kall_shared::media::{CodecParams, Kind, Source};

use crate::forward::flow::{Flow, best_layer};
use crate::forward::keyframe::{KeyframeGate, SPACING_LOW};
use crate::forward::rewriter::SourceId;
use crate::rtp::nack_generator::Noted;
use crate::rtp::packet_ring::NotKept;
use crate::rtp::{NackGenerator, PacketMeta, PacketRing, PictureIdUnwrapper, RecvStream};
use crate::shard::slab::Key;
use crate::time::Time;

/// Names for streams: no two streams of a core ever share one.
#[derive(Debug, Default)]
pub struct SourceIds {
    last: u32,
}

impl SourceIds {
    fn next(&mut self) -> SourceId {
        self.last = self.last.wrapping_add(1);
        SourceId(self.last)
    }
}

/// A slot that takes packets of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscriber {
    /// The receiving session.
    pub session: Key,
    /// Index of its slot.
    pub slot: u8,
    /// Bit `n` set: packets of layer `n` are wanted.
    pub layers: u8,
}

/// What one layer has once its first packet came.
#[derive(Debug)]
pub struct LayerStream {
    /// Its name for rewriters: a stream that began anew has another.
    pub source: SourceId,
    /// Reports and the unwrapping of numbers.
    pub recv: RecvStream,
    /// What is missing.
    pub nack: NackGenerator,
    /// The newest packets.
    pub ring: PacketRing,
    picture: PictureIdUnwrapper,
    /// Packets below this number were sent while the track was muted, and stay where they are.
    pub forward_from: u64,
    /// Its codec as the publisher sends it.
    pub codec: CodecParams,
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
}

/// What is known of a payload before it is kept; the rest of [`PacketMeta`] comes from the packet.
#[derive(Debug, Clone, Copy, Default)]
pub struct PayloadFacts {
    /// VP8 or VP9 picture id and whether it has 15 bits.
    pub picture_id: Option<(u16, bool)>,
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
        /// So much is missing that only a key frame helps.
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
    /// The publishing session.
    pub owner: Key,
    /// The line that publishes it.
    pub mid: Mid,
    /// Audio or video.
    pub kind: Kind,
    /// What it shows.
    pub source: Source,
    /// Whether forwarding is stopped.
    pub muted: bool,
    /// Whether media has come.
    pub started: bool,
    /// Its encodings, in the order of the offer.
    pub layers: Vec<Layer>,
    /// The layer slots are to take.
    pub best: u8,
    /// Who takes it.
    pub subscribers: Vec<Subscriber>,
}

impl Publication {
    /// A track nothing has come of yet.
    #[must_use]
    pub fn new(owner: Key, mid: Mid, track: TrackId, source: Source, layers: usize, muted: bool) -> Self {
        let layer = || Layer {
            stream: None,
            keyframes: KeyframeGate::new(SPACING_LOW),
            flow: Flow::default(),
        };
        Self {
            track,
            owner,
            mid,
            kind: source.kind(),
            source,
            muted,
            started: false,
            layers: std::iter::repeat_with(layer).take(layers).collect(),
            best: 0,
            subscribers: Vec::new(),
        }
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
            layer.stream = Some(LayerStream {
                source: sources.next(),
                recv: RecvStream::new(ssrc, packet.codec.codec.clock_rate()),
                nack: NackGenerator::new(kind),
                ring: PacketRing::new(kind),
                picture: PictureIdUnwrapper::new(),
                forward_from: 0,
                codec: packet.codec,
            });
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
        let late = stream.ring.highest().is_some_and(|highest| seq < highest);
        let meta = PacketMeta {
            seq,
            ts,
            arrival: received,
            recovered,
            pt: packet.codec.pt,
            keyframe_start,
            picture_id: packet
                .facts
                .picture_id
                .map(|(id, long)| stream.picture.unwrap(id, long)),
            ..packet.facts.meta
        };
        match stream.ring.insert(meta, packet.payload) {
            Ok(()) => {}
            Err(NotKept::Duplicate | NotKept::TooOld | NotKept::TooLong) => return Taken::Duplicate,
        }
        layer.flow.on_packet(now, len);
        let noted = stream.nack.on_packet(now, seq, recovered);
        if meta.keyframe_start {
            stream.nack.on_keyframe(seq);
            layer.keyframes.on_keyframe();
        }
        self.started = true;
        Taken::Kept {
            seq,
            late,
            keyframe_start: meta.keyframe_start,
            first_of_track,
            first_of_stream,
            keyframe_needed: noted == Noted::KeyframeNeeded && kind == Kind::Video,
            codec_changed,
        }
    }

    /// Stops forwarding, or restarts it with what is yet to come.
    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
        for layer in &mut self.layers {
            layer.keyframes.cancel();
            if let Some(stream) = &mut layer.stream {
                stream.forward_from = stream.recv.highest().map_or(0, |highest| highest + 1);
            }
        }
    }

    /// Chooses the layer again; true when it changed.
    pub fn choose_layer(&mut self, now: Time) -> bool {
        let flows = self.layers.iter().map(|layer| &layer.flow);
        let best = best_layer(now, Some(self.best), flows).unwrap_or(self.best);
        let changed = best != self.best;
        self.best = best;
        changed
    }

    /// Asks for a key frame of a layer when its gate allows; the gate is polled by the owner.
    pub fn request_keyframe(&mut self, now: Time, layer: u8, rtt: Duration) {
        if self.kind == Kind::Video
            && !self.muted
            && let Some(layer) = self.layers.get_mut(usize::from(layer))
        {
            layer.keyframes.request(now, Some(rtt));
        }
    }

    /// The entry of a slot among the subscribers.
    pub fn subscriber_mut(&mut self, session: Key, slot: u8) -> Option<&mut Subscriber> {
        self.subscribers
            .iter_mut()
            .find(|subscriber| subscriber.session == session && subscriber.slot == slot)
    }

    /// Removes a slot from the subscribers.
    pub fn unsubscribe(&mut self, session: Key, slot: u8) {
        self.subscribers
            .retain(|subscriber| !(subscriber.session == session && subscriber.slot == slot));
        if self.subscribers.is_empty() {
            for layer in &mut self.layers {
                layer.keyframes.cancel();
            }
        }
    }
}
