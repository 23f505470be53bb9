//! One receiving line of a session: the stream a subscriber sees for its whole life, whoever feeds it.
//!
//! A slot owns the outgoing SSRC, its numbers, and the memory of what was sent under them. Which
//! track feeds it is said from outside; changing that is the same operation as changing a layer.

use std::time::Duration;

use kall_shared::id::Mid;
use kall_shared::link::SlotReason;
use kall_shared::media::{Codec, CodecParams, Kind, MediaLine, SlotWish};

use crate::forward::hold::Hold;
use crate::forward::keyframe::SubscriberLimit;
use crate::forward::layer_stream::LayerStream;
use crate::forward::rewriter::{FIRST_SEQ_END, Out, Relation, Rewriter, SourceId, Withheld};
use crate::forward::spatial::SpatialLayers;
use crate::forward::templates::TemplateIds;
use crate::forward::turns::Turns;
use crate::io::prefetch::prefetch;
use crate::rtp::nack_map::{NackMap, NotResent, Sent};
use crate::rtp::packet_ring::{PacketMeta, UNREAD};
use crate::rtp::{CaptureClock, RateMeter, SendStream};
use crate::session::formats::{ExtensionIds, opus_pt, receiver_codec};
use crate::shard::slab::Key;
use crate::srtp::EgressGuard;
use crate::time::{Time, WallClock};
use crate::wire::rtcp::ReportBlock;
use crate::wire::rtcp::sr::SenderInfo;

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

/// How long pictures may be late after a slot began: at twice the pace of the path, a key frame and what
/// piled up behind it are gone by then.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a key frame takes to arrive, beside the round trip: it is as long as many pictures, and where it is needed
/// most the path is narrow. What is asked for meanwhile it answers; what is lost of it is sent again.
const KEYFRAME_ARRIVES: Duration = Duration::from_millis(150);

/// Most that a request may be taken for one that crossed the key frame.
const CROSSING_MAX: Duration = Duration::from_millis(500);

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

    /// Numbers for a packet of the occupant's `layer`.
    ///
    /// # Errors
    /// The packet is not to be sent, and why.
    pub fn rewrite(
        &mut self,
        now: Time,
        publication: Key,
        layer: u8,
        stream: &LayerStream,
        meta: &PacketMeta,
    ) -> Result<Out, Withheld> {
        let source = stream.source;
        let Some(aim) = self.aim else {
            return Err(Withheld::OtherSource);
        };
        if layer == aim.layer || stream.scalable {
            let same = self.fed_by == Some(publication);
            let relation = if same {
                Relation::SameTrack
            } else {
                Relation::OtherTrack
            };
            self.rewriter.switch(source, relation);
        } else if self.rewriter.awaited() == Some(source) {
            // Aimed at once, and no more: what follows its key frame has not been kept.
            return Err(Withheld::OtherSource);
        }
        if meta.payload_len == 0 && self.rewriter.discard(source, meta) {
            // A publisher's padding is for the publisher's path; here it would only be a gap.
            return Err(Withheld::Dropped);
        }
        let told = |frame| stream.dependencies.of(frame).is_some();
        if stream.scalable
            && meta.codec == Codec::Av1
            && meta.spatial != UNREAD
            && !meta.picture_id.is_some_and(told)
        {
            // It waited while two key frames came: nobody can say any more which targets it is of.
            return Err(Withheld::TooOld);
        }
        let mut turned = false;
        let mut marked = *meta;
        if stream.scalable && meta.payload_len > 0 {
            // Above what lacks nothing, what comes can't be decoded.
            let held = stream.dependencies.highest_held(aim.layer);
            turned = self.follow_spatial(Aim { layer: held, ..aim }, source, meta);
            let shows = self.shows(source);
            let own = self.spatial_of(source).filter(|_| shows || !meta.keyframe_start);
            // Were this the key picture it waits for.
            let own = own.unwrap_or_else(|| SpatialLayers::begin(meta, aim.layer));
            marked.marker |= own.ends_picture(meta);
            if !own.includes(meta) {
                if shows {
                    self.is_thinned_out(aim, own.layer(), meta);
                    self.rewriter.leave_out(source, meta);
                } else if self.rewriter.awaited() == Some(source) {
                    return Err(Withheld::AwaitsEntry);
                }
                return Err(Withheld::Dropped);
            }
        }
        let meta = &marked;
        let shown = if stream.scalable { self.layer } else { layer };
        if self.shows(source)
            && self.is_thinned_out(aim, shown, meta)
            // Beside a loss it may be the rest of a picture that is being sent, so it leaves with its
            // number; unless it depends on pictures that were left out.
            && (self.rewriter.discard(source, meta) || !meta.layer_sync || meta.codec == Codec::Av1)
        {
            return Err(Withheld::Dropped);
        }
        // Its time is that of its arrival: how long it waited for the path is no part of its stream.
        let sr = stream.recv.sr_pair();
        if meta.keyframe_start
            && self.rewriter.awaited() == Some(source)
            && let Some((newest, _)) = stream.ring.highest().and_then(|seq| stream.ring.get(seq))
        {
            self.rewriter.awaited_is_at(newest);
        }
        let mut out = self.rewriter.rewrite(meta.arrival, source, meta, sr)?;
        if out.switched {
            self.enter_spatial(source, stream.scalable, meta, aim);
            let layer = self.spatial.map_or(layer, |own| own.layers.layer());
            self.counts.layer_changes += u64::from(self.fed_by == Some(publication) && layer != self.layer);
            self.fed_by = Some(publication);
            self.layer = layer;
            // Every picture after a key frame depends on nothing before it.
            self.temporal = aim.temporal;
            self.thinned = Turns::begin(aim.temporal);
            self.newest = (meta.seq, meta.ts);
            self.patient_until = now + PATIENCE;
        }
        out.switched |= turned;
        if meta.codec == Codec::Av1 {
            self.describe(stream, meta, &mut out);
        }
        Ok(out)
    }

    /// The spatial layers of a source that is shown or was before.
    fn spatial_of(&self, source: SourceId) -> Option<SpatialLayers> {
        let mut known = [self.spatial, self.spatial_before].into_iter().flatten();
        known
            .find(|known| known.source == source)
            .map(|known| known.layers)
    }

    /// Begins with the key picture of a source.
    fn enter_spatial(&mut self, source: SourceId, scalable: bool, meta: &PacketMeta, aim: Aim) {
        let before = self.spatial.take();
        let same = before.filter(|before| before.source == source);
        self.spatial = scalable.then(|| Spatial {
            source,
            layers: match same {
                Some(same) => same.layers.resume(meta, aim.layer),
                None => SpatialLayers::begin(meta, aim.layer),
            },
        });
        if same.is_none() {
            self.spatial_before = before;
        }
    }

    /// Follows the aim through the spatial layers of the current source. True when another is shown from this packet on.
    fn follow_spatial(&mut self, aim: Aim, source: SourceId, meta: &PacketMeta) -> bool {
        if !self.shows(source) {
            return false;
        }
        let shown = self.layer;
        // A stream that had a single spatial layer so far goes on with its lowest.
        let own = self.spatial.get_or_insert_with(|| Spatial {
            source,
            layers: SpatialLayers::found(meta, shown),
        });
        let turned = own.layers.follow(meta, aim.layer);
        self.layer = own.layers.layer();
        if turned {
            self.counts.layer_changes += 1;
            self.untold = true;
        }
        if turned && meta.keyframe_start {
            self.temporal = aim.temporal;
        }
        turned
    }

    /// What the dependency descriptor of a packet is to say in the slot's terms.
    fn describe(&mut self, stream: &LayerStream, meta: &PacketMeta, out: &mut Out) {
        let structure = meta.picture_id.and_then(|frame| stream.dependencies.of(frame));
        if let Some(structure) = structure {
            if meta.keyframe_start {
                self.templates.on_structure(stream.source, structure);
            }
            let own = self.spatial_of(stream.source);
            let shown = own.map_or(self.layer, |own| own.layer_at(meta.seq));
            // Of layers that depend in key pictures only, the first packet of others is of a layer that is left out.
            let says = meta.start_of_frame || self.untold;
            if stream.scalable && shown + 1 < structure.spatial_layers() && says {
                out.ids.top_layer = Some(shown);
            }
            // What comes late tells of its own time.
            self.untold &= shown != self.layer;
        }
        out.ids.template_shift = self.templates.shift(stream.source);
    }

    /// Follows the aim through the temporal layers of the current source, and tells whether a packet is
    /// of one that is left out. Down at any picture; up one layer at a time, at a picture that depends
    /// on nothing of the layers left out (RFC 7741 section 4.2, Y; RFC 9628 section 4.2, U). AV1 says it of the picture
    /// before: with one that is a switch to all of time, all of it is there.
    fn is_thinned_out(&mut self, aim: Aim, layer: u8, meta: &PacketMeta) -> bool {
        let (seq, ts) = self.newest;
        // A late one changes nothing: what follows it was left out or sent already.
        if meta.seq > seq && meta.start_of_frame && layer == aim.layer {
            if self.temporal > aim.temporal {
                self.temporal = aim.temporal;
            } else if meta.codec == Codec::Av1 {
                if meta.layer_sync && meta.temporal <= self.temporal {
                    self.temporal = aim.temporal;
                }
            } else if meta.temporal == self.temporal.saturating_add(1)
                && meta.temporal <= aim.temporal
                && meta.layer_sync
            {
                self.temporal = meta.temporal;
            }
        }
        if meta.seq > seq {
            // A picture goes on as it began.
            if meta.ts != ts {
                self.thinned.turn(meta.seq, self.temporal);
            }
            self.newest = (meta.seq, meta.ts);
        }
        meta.temporal > self.thinned.at(meta.seq)
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

    /// Remembers a packet that was sealed. True when a sender report should follow at once.
    /// `len` is what left for it.
    pub fn on_sent(
        &mut self,
        now: Time,
        len: usize,
        stream: &LayerStream,
        meta: &PacketMeta,
        out: &Out,
    ) -> bool {
        self.nacks
            .on_sent(now, stream.source, meta.seq, out, meta.keyframe_start);
        self.sent.add(now, len);
        self.send.on_sent(now, usize::from(meta.payload_len)) || out.switched
    }

    /// RTP timestamp of the newest packet sent.
    #[must_use]
    pub fn newest_sent(&self) -> Option<u32> {
        self.nacks.recent(0).map(|sent| sent.timestamp)
    }

    /// A packet of the last ones sent, for a probe to repeat; none when nothing was sent lately.
    #[must_use]
    pub fn recent(&self, back: u64) -> Option<Sent> {
        self.nacks.recent(back)
    }

    /// What to send again for a number the receiver misses.
    ///
    /// # Errors
    /// It is not to be sent again, and why.
    pub fn on_nack(&self, now: Time, out_seq: u16, rtt: Duration) -> Result<Sent, NotResent> {
        self.nacks.on_nack(now, out_seq, rtt)
    }

    /// Remembers a retransmission that was sealed.
    pub fn on_resent(&mut self, now: Time, seq: u64) {
        self.counts.rtx_packets += 1;
        self.nacks.on_resent(now, seq);
    }

    /// The receiver can't decode until the next key frame. False when it asks too often to be
    /// listened to, or could not know yet what it was just sent. `rtt` is the round trip to it.
    pub fn on_keyframe_request(&mut self, now: Time, rtt: Duration) -> bool {
        let crossing = (rtt + KEYFRAME_ARRIVES).min(CROSSING_MAX);
        if self.nacks.keyed_at().is_some_and(|at| now.since(at) < crossing) {
            return false;
        }
        // A receiver repeats itself until the key frame is there; that is one request.
        let admitted = self.nacks.is_paused() || self.requests.admit(now);
        if admitted {
            self.nacks.pause_until_keyframe();
        }
        admitted
    }

    /// Whether packets of this source are what the receiver sees now.
    #[must_use]
    pub fn shows(&self, source: SourceId) -> bool {
        self.rewriter.source() == Some(source)
    }

    /// What was sent and what the receiver said of it.
    #[must_use]
    pub fn send_stream(&self) -> &SendStream {
        &self.send
    }

    /// What the receiver reports about the slot.
    pub fn on_report_block(&mut self, now: Time, wall: &WallClock, block: &ReportBlock) {
        if block.ssrc == self.ssrc {
            self.send.on_report_block(now, wall, block);
        }
    }

    /// Round trip to the receiver, once it is known.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.send.rtt()
    }

    /// The sender report of now, on the publisher's capture clock.
    #[must_use]
    pub fn sender_info(
        &self,
        now: Time,
        wall: &WallClock,
        stream: &LayerStream,
        clock: &CaptureClock,
    ) -> Option<SenderInfo> {
        let captured = clock.ts_at(now, stream.recv.sr_pair()?, stream.recv.clock_rate())?;
        let rtp = self.rewriter.timestamp(stream.source, captured)?;
        self.send.sender_info(now, wall, rtp)
    }
}
