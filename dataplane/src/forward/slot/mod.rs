//! One receiving line of a session: the stream a subscriber sees for its whole life, whoever feeds it.
//!
//! A slot owns the outgoing SSRC, its numbers, and the memory of what was sent under them. Which
//! track feeds it is said from outside; changing that is the same operation as changing a layer.

mod passage;
mod sent;

use std::time::Duration;

use kall_shared::id::Mid;
use kall_shared::link::SlotReason;
use kall_shared::media::{CodecParams, Kind, MediaLine, SlotWish};

use crate::forward::hold::Hold;
use crate::forward::keyframe::SubscriberLimit;
use crate::forward::rewriter::{FIRST_SEQ_END, Rewriter, SourceId};
use crate::forward::spatial::SpatialLayers;
use crate::forward::templates::TemplateIds;
use crate::forward::turns::Turns;
use crate::io::prefetch::prefetch;
use crate::rtp::nack_map::NackMap;
use crate::rtp::{RateMeter, SendStream};
use crate::session::formats::{ExtensionIds, opus_pt, receiver_codec};
use crate::shard::slab::Key;
use crate::srtp::EgressGuard;
use crate::time::Time;

/// The retransmission stream beside a slot (RFC 4588 section 3): its own SSRC and numbers.
#[derive(Debug)]
pub struct RtxStream {
    /// Its SSRC.
    pub ssrc: u32,
    /// The number the next retransmission takes.
    pub next_seq: u64,
    /// Refuses to protect two packets under one number.
    pub guard: EgressGuard,
}

/// Random values a slot is born with.
#[derive(Debug, Clone, Copy)]
pub struct SlotSeed {
    /// The primary SSRC.
    pub ssrc: u32,
    /// The retransmission SSRC, for a line that negotiated retransmissions.
    pub rtx_ssrc: Option<u32>,
    /// Where sequence numbers start.
    pub first_seq: u16,
    /// Where retransmission numbers start.
    pub first_rtx_seq: u16,
    /// Where timestamps start.
    pub first_ts: u32,
}

/// What of its occupant a slot is to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Aim {
    /// Index of the layer.
    pub layer: u8,
    /// Highest temporal layer of it.
    pub temporal: u8,
}

/// What happened on a slot since it was made.
#[derive(Debug, Clone, Copy, Default)]
pub struct SlotCounts {
    /// Sequence numbers the receiver asked for again.
    pub nack_received: u64,
    /// Key frames it asked for.
    pub pli_received: u64,
    /// Packets sent again.
    pub rtx_packets: u64,
    /// Changes of the layer that is shown, of one track.
    pub layer_changes: u64,
}

/// The spatial layers of one source.
#[derive(Debug, Clone, Copy)]
struct Spatial {
    source: SourceId,
    layers: SpatialLayers,
}

/// What a layer carries, in the receiver's terms.
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    published: CodecParams,
    /// The receiver's codec.
    pub codec: CodecParams,
    /// What plain Opus is called, for the blocks of redundant audio.
    pub opus_pt: Option<u8>,
}

/// One receiving line.
#[derive(Debug)]
pub struct Slot {
    mid: Mid,
    kind: Kind,
    /// Index of the line.
    pub line: u8,
    /// The receiver's extension ids on this line.
    pub extensions: ExtensionIds,
    ssrc: u32,
    /// Retransmissions, if negotiated.
    pub rtx: Option<RtxStream>,
    /// Refuses to protect two packets under one number.
    pub guard: EgressGuard,
    rewriter: Rewriter,
    nacks: NackMap,
    send: SendStream,
    /// What it carried last: looked up once, and not for every packet.
    carried: Option<Carried>,
    epoch: u32,
    occupant: Option<Key>,
    /// What the receiver wants of the occupant.
    pub wish: SlotWish,
    /// Filled from outside: an audio slot that was set once is no part of the choice among those who speak.
    pub assigned: bool,
    /// What it is to show; none while it has not been given anything of its occupant.
    aim: Option<Aim>,
    /// The highest temporal layer that is forwarded of the current source, from the next picture on.
    temporal: u8,
    /// What it was, the newest number and time of the source that it was looked up for.
    thinned: Turns,
    newest: (u64, i64),
    /// The layer shown last.
    layer: u8,
    /// The spatial layers of the current source; none where it has a single one.
    spatial: Option<Spatial>,
    /// Those of the source before, for what of it comes late.
    spatial_before: Option<Spatial>,
    /// Template ids of dependency descriptors.
    templates: TemplateIds,
    /// Which decode targets go on has changed, and was not said yet.
    untold: bool,
    /// Held back because the path is too narrow, or its core has too much to do.
    paused: bool,
    /// Given less than its receiver's path carries, as its core has too much to do.
    pub capped: bool,
    /// The layers its publication knows it to need.
    pub synced_layers: u8,
    /// Pictures may be late before: the key frame it began with is larger than what follows, and to
    /// cut it would mean to ask for another.
    pub patient_until: Time,
    /// Whether it may be given more.
    hold: Hold,
    /// What it sends.
    pub sent: RateMeter,
    /// For statistics.
    pub counts: SlotCounts,
    /// The publication of the packets sent last: another one makes a switch one of tracks.
    fed_by: Option<Key>,
    reason: Option<SlotReason>,
    requests: SubscriberLimit,
}

impl Slot {
    /// An empty slot. `clock_rate` is that of every codec the line can carry.
    #[must_use]
    pub fn new(
        mid: Mid,
        kind: Kind,
        line: u8,
        extensions: ExtensionIds,
        clock_rate: u32,
        seed: SlotSeed,
    ) -> Self {
        let rtx_start = u64::from(seed.first_rtx_seq % FIRST_SEQ_END);
        Self {
            mid,
            kind,
            line,
            extensions,
            ssrc: seed.ssrc,
            rtx: seed.rtx_ssrc.map(|ssrc| RtxStream {
                ssrc,
                next_seq: rtx_start,
                guard: EgressGuard::new(),
            }),
            guard: EgressGuard::new(),
            rewriter: Rewriter::new(kind, clock_rate, seed.first_seq, seed.first_ts),
            nacks: NackMap::new(kind),
            send: SendStream::new(seed.ssrc),
            carried: None,
            epoch: 0,
            occupant: None,
            assigned: false,
            wish: SlotWish::default(),
            aim: None,
            temporal: 0,
            thinned: Turns::default(),
            newest: (0, i64::MIN),
            layer: 0,
            spatial: None,
            spatial_before: None,
            templates: TemplateIds::default(),
            untold: false,
            paused: false,
            capped: false,
            synced_layers: 0,
            patient_until: Time::ZERO,
            hold: Hold::default(),
            sent: RateMeter::default(),
            counts: SlotCounts::default(),
            fed_by: None,
            reason: None,
            requests: SubscriberLimit::new(),
        }
    }

    /// Its line's id.
    #[must_use]
    pub fn mid(&self) -> &Mid {
        &self.mid
    }

    /// Audio or video.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The primary SSRC.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Whether an SSRC is one of this slot's.
    #[must_use]
    pub fn sends(&self, ssrc: u32) -> bool {
        self.ssrc == ssrc || self.rtx.as_ref().is_some_and(|rtx| rtx.ssrc == ssrc)
    }

    /// RTP ticks a second.
    #[must_use]
    pub fn clock_rate(&self) -> u32 {
        self.rewriter.clock_rate()
    }

    /// What a layer carries in the terms of this slot's line; none if the receiver can't take it.
    pub fn carry(&mut self, published: &CodecParams, lines: &[MediaLine]) -> Option<Carried> {
        if let Some(carried) = self.carried.filter(|carried| carried.published == *published) {
            return Some(carried);
        }
        let line = lines.get(usize::from(self.line))?;
        self.carried = receiver_codec(line, published).map(|codec| Carried {
            published: *published,
            codec,
            opus_pt: opus_pt(line),
        });
        self.carried
    }

    /// Its line was negotiated anew: extensions and codecs may be called otherwise.
    pub fn renegotiate(&mut self, extensions: ExtensionIds) {
        self.extensions = extensions;
        self.carried = None;
    }

    /// Rises with every change of occupant.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The publication that feeds it.
    #[must_use]
    pub fn occupant(&self) -> Option<Key> {
        self.occupant
    }

    /// Why a wanted track does not flow.
    #[must_use]
    pub fn reason(&self) -> Option<SlotReason> {
        self.reason
    }

    /// Says why a wanted track does not flow; true when that is news.
    pub fn set_reason(&mut self, reason: Option<SlotReason>) -> bool {
        let news = self.reason != reason;
        self.reason = reason;
        news
    }

    /// Gives the slot to another publication, or to nobody. The numbers go on; what of it to show is
    /// said by [`Self::aim`].
    pub fn occupy(&mut self, occupant: Option<Key>, wish: SlotWish) {
        if self.occupant == occupant {
            return;
        }
        self.epoch = self.epoch.wrapping_add(1);
        self.occupant = occupant;
        self.wish = wish;
        self.aim = None;
        self.paused = false;
        self.capped = false;
        self.hold = Hold::default();
        self.synced_layers = 0;
        self.reason = None;
        self.rewriter.stop();
    }

    /// Stops for a while, as for a muted track: what comes next starts at an entry point.
    pub fn interrupt(&mut self) {
        self.rewriter.stop();
    }

    /// Says what of the occupant to show from its next entry point on.
    pub fn aim(&mut self, aim: Aim) {
        self.aim = Some(aim);
        self.paused = false;
    }

    /// The current layer is too much for the path, and the smaller one aimed at has not begun: only its
    /// base goes on, or where there is none nothing. `temporal_layers`: whether it has a base.
    pub fn cut_current(&mut self, temporal_layers: bool) {
        if temporal_layers {
            self.temporal = 0;
        } else {
            self.rewriter.stop();
            // What is missing of it would go before the key frame that it waits for, and shows nothing any more.
            self.nacks.pause_until_keyframe();
        }
    }

    /// Gives it nothing of its occupant, for now.
    pub fn withhold(&mut self) {
        self.aim = None;
        self.rewriter.stop();
    }

    /// It was given more.
    pub fn on_rise(&mut self, now: Time) {
        self.hold.on_rise(now);
    }

    /// It was given less: it is given no more for a while.
    pub fn hold(&mut self, now: Time, duration: Duration) {
        self.hold.on_fall(now, duration);
    }

    /// Whether it is not to be given more yet.
    #[must_use]
    pub fn is_held(&self, now: Time) -> bool {
        self.hold.is_held(now)
    }

    /// What it was given less for since then is no more.
    pub fn release_hold(&mut self, since: Time) {
        self.hold.release(since);
    }

    /// Holds the picture back because the path or the core can't carry it. True when that is news.
    pub fn pause(&mut self) -> bool {
        self.withhold();
        !std::mem::replace(&mut self.paused, true)
    }

    /// Whether it is held back.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// What it is to show of its occupant.
    #[must_use]
    pub fn aimed(&self) -> Option<Aim> {
        self.aim
    }

    /// The publication and layer the slot takes next.
    #[must_use]
    pub fn target(&self) -> Option<(Key, u8)> {
        Some((self.occupant?, self.aim?.layer))
    }

    /// The layer that is shown now.
    #[must_use]
    pub fn shown_layer(&self) -> Option<u8> {
        self.rewriter.source().map(|_| self.layer)
    }

    /// Whether a layer of a track is what the receiver sees now.
    #[must_use]
    pub fn shows_layer(&self, publication: Key, layer: u8) -> bool {
        self.shown_layer() == Some(layer) && self.fed_by == Some(publication)
    }

    /// The layers it needs packets of, by bit: the one shown until the one aimed at has taken over.
    #[must_use]
    pub fn wanted_layers(&self) -> u8 {
        let aimed = self.aim.map_or(0, |aim| 1u8 << aim.layer);
        let shown = self.shown_layer().filter(|_| self.aim.is_some());
        aimed | shown.map_or(0, |layer| 1 << layer)
    }

    /// Whether what it aims at takes a key frame to be shown: between spatial layers of one stream the way down may not.
    #[must_use]
    pub fn needs_keyframe(&self) -> bool {
        let Some(aim) = self.aim else { return false };
        let can_fall = self.spatial.is_some_and(|own| own.layers.can_fall(aim.layer));
        self.shown_layer()
            .is_none_or(|shown| shown != aim.layer && !can_fall)
    }

    /// Whether a key frame would start or change what is shown.
    #[must_use]
    pub fn waits_for_keyframe(&self) -> bool {
        // A new aim is only awaited from its first packet on, which may be the key frame's own.
        let shows = |aim: Aim| self.shown_layer() == Some(aim.layer) && self.fed_by == self.occupant;
        self.kind == Kind::Video && (self.rewriter.awaited().is_some() || !self.aim.is_some_and(shows))
    }

    /// Fetches what the next packet looks at in the slot itself, which is most of it but what repairs take.
    pub fn prefetch(&self) {
        prefetch(&self.rewriter);
        prefetch(&self.nacks);
        prefetch(&self.send);
        prefetch(&self.sent);
        prefetch(&self.guard);
        prefetch(&self.carried);
        prefetch(&self.extensions);
        prefetch(&self.spatial);
        prefetch(&self.thinned);
        prefetch(&self.newest);
        prefetch(&self.patient_until);
        prefetch(&self.occupant);
        prefetch(&self.fed_by);
        prefetch(&self.ssrc);
        prefetch(&self.aim);
        prefetch(&self.temporal);
    }

    /// Fetches what that leads to, once it is there itself.
    pub fn prefetch_linked(&self) {
        self.nacks.prefetch();
    }

    /// Whether packets of this source are what the receiver sees now.
    #[must_use]
    pub fn shows(&self, source: SourceId) -> bool {
        self.rewriter.source() == Some(source)
    }
}
