//! What cores tell each other.

use kall_shared::id::{Mid, RoomId, SessionId};
use kall_shared::media::{CodecParams, PublishParams};

use crate::codec::{FrameSize, h264};
use crate::forward::flow::Flow;
use crate::forward::keyframe::Meanwhile;
use crate::forward::rewriter::SourceId;
use crate::rtp::packet_ring::PacketMeta;
use crate::rtp::{CaptureClock, SrPair};
use crate::shard::slab::Key;
use crate::time::Time;

/// A packet of a track, as the core of its publisher keeps it. Its bytes lie beside it.
#[derive(Debug, Clone, Copy)]
pub struct PacketHead {
    /// The track, by its key on the core of its publisher, as everywhere here.
    pub publication: Key,
    /// Its layer.
    pub layer: u8,
    /// Which stream of the layer: the publisher may have begun anew.
    pub source: SourceId,
    /// The SSRC of that stream.
    pub ssrc: u32,
    /// Its codec as the publisher sends it.
    pub codec: CodecParams,
    /// What was found out about it, with its numbers extended.
    pub meta: PacketMeta,
    /// Bytes of its descriptor and of its payload.
    pub(super) lens: (u16, u16),
}

impl PacketHead {
    /// The head of a packet; its lengths are filled in when it is handed over.
    #[must_use]
    pub fn new(
        publication: Key,
        layer: u8,
        source: SourceId,
        ssrc: u32,
        codec: CodecParams,
        meta: PacketMeta,
    ) -> Self {
        Self {
            publication,
            layer,
            source,
            ssrc,
            codec,
            meta,
            lens: (0, 0),
        }
    }
}

/// A track of a room.
#[derive(Debug, Clone)]
pub struct TrackNews {
    /// Its key on its publisher's core.
    pub publication: Key,
    /// Its room.
    pub room: RoomId,
    /// Its publisher.
    pub session: SessionId,
    /// The line that publishes it.
    pub mid: Mid,
    /// As its publisher offers it.
    pub publish: PublishParams,
    /// Its layers.
    pub layers: u8,
    /// Whether forwarding is stopped.
    pub muted: bool,
    /// The codec of what has come of it.
    pub codec: Option<CodecParams>,
}

/// What is known of one layer of a track: only the publisher's core sees all of them.
#[derive(Debug, Clone, Copy)]
pub struct LayerNews {
    /// The track.
    pub publication: Key,
    /// Which layer.
    pub layer: u8,
    /// How many the track has.
    pub layers: u8,
    /// How much comes.
    pub flow: Flow,
    /// Its picture's size, if it is known.
    pub size: Option<FrameSize>,
    /// Since when its publisher is told to send it; none while it is told not to.
    pub wanted_since: Option<Time>,
    /// Nothing happened but that time went by, and others will follow.
    pub periodic: bool,
}

/// What one core tells another.
#[derive(Debug)]
pub enum Message {
    /// The core has members of this room.
    Here(RoomId),
    /// It has none any more.
    Gone(RoomId),
    /// A track of a room that both have members of, or news of it.
    Track(Box<TrackNews>),
    /// It is no more, or no more in that room.
    TrackGone(Key),
    /// The publisher sends this codec from now on.
    Codec(Key, CodecParams),
    /// Forwarding stops, or goes on.
    Muted(Key, bool),
    /// One of its layers. Of a track with several the last one comes last.
    Layer(LayerNews),
    /// The publisher's sender report of a layer, and its clock.
    Report {
        /// The track.
        publication: Key,
        /// The layer.
        layer: u8,
        /// Of which stream of it.
        source: SourceId,
        /// What the newest report says; none when it made the mapping void.
        pair: Option<SrPair>,
        /// The publisher's clock against ours.
        clock: CaptureClock,
    },
    /// Parameter sets that a layer's key frames may lack (H264).
    ParameterSets {
        /// The track.
        publication: Key,
        /// The layer.
        layer: u8,
        /// Of which stream of it.
        source: SourceId,
        /// The sets.
        sets: Box<h264::ParameterSets>,
    },
    /// To the publisher's core: the layers that somebody takes or waits for, by bit.
    Wanted(Key, u8),
    /// To the publisher's core: somebody waits for a key frame of a layer.
    Keyframe(Key, u8, Meanwhile),
}

impl Message {
    /// Whether another one with news of the same will follow soon, so that this one may be lost.
    #[must_use]
    pub fn is_periodic(&self) -> bool {
        match self {
            Self::Layer(news) => news.periodic,
            Self::Report { .. } => true,
            _ => false,
        }
    }
}
