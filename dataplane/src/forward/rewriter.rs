//! One slot's numbers: a publisher's packets become one continuous stream towards a subscriber.
//!
//! Owns the map from a source's sequence numbers, timestamps and picture ids to the slot's, over every
//! change of layer or of track; the two are the same operation ([`Rewriter::switch`]). It never sees a payload, and
//! never gives one out-number to two packets: the number is the SRTP index, and an index that
//! protects two packets breaks the cipher (RFC 7714 section 8.4).
//!
//! The rules: a gap in the source stays a gap, so that the receiver asks for it; a packet dropped on
//! purpose leaves none. A source begins at a packet a decoder can start with. Its first timestamp is
//! derived from sender reports, because offsets taken from arrival times would add the jitter of that moment to
//! every later frame.

use std::time::Duration;

use kall_shared::media::Kind;

use super::projection::{NextPicture, Place, Projection, Unit};
use super::sent_window::SentWindow;
use crate::rtp::capture_clock::{SrPair, ticks_between};
use crate::rtp::packet_ring::PacketMeta;
use crate::time::Time;

/// A publisher layer in one life: another number after every restart of the stream, so that numbers
/// kept from before never match packets from after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceId(pub u32);

/// Picture ids for the payload descriptor; what is absent in the source stays absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PictureIds {
    /// 15 bits; AV1: the frame number, 16 bits.
    pub picture_id: Option<u16>,
    /// 8 bits.
    pub tl0picidx: Option<u8>,
    /// 5 bits, VP8 only.
    pub keyidx: Option<u8>,
    /// Added to template ids of a dependency descriptor, modulo 64.
    pub template_shift: u8,
    /// The highest spatial layer that goes on, where a dependency descriptor is to say so.
    pub top_layer: Option<u8>,
}

/// What a packet is sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Out {
    /// Extended sequence number, which is also the SRTP index of the slot's SSRC.
    pub seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// RTP marker.
    pub marker: bool,
    /// Picture ids.
    pub ids: PictureIds,
    /// First packet of its source, or of another spatial layer of it, here. If the source has newer packets already (the entry point was
    /// itself a late one), the caller feeds them from the packet ring now.
    pub switched: bool,
    /// The number before this one, kept free for the parameter sets that the first packet of a source
    /// lacks.
    pub parameter_sets: Option<u64>,
}

/// What the new source of a slot has to do with the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Another layer of the same track, or the same layer after a pause. The old layer goes on until
    /// the new one has an entry point.
    SameTrack,
    /// Another track: the old one stops at once.
    OtherTrack,
}

/// Why a packet is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// Its source doesn't feed this slot.
    OtherSource,
    /// The slot waits for a key frame of this source.
    AwaitsEntry,
    /// An entry point, but its timestamp can't be aligned yet: another key frame is needed.
    NotAligned,
    /// From before the source was switched to, or of a source that was left.
    BeforeSwitch,
    /// Older than what is remembered.
    TooOld,
    /// Its number was dropped on purpose.
    Dropped,
    /// Its number was sent already.
    Duplicate,
}

/// First sequence numbers are below this: a receiver that loses the first packets still guesses
/// rollover counter zero (RFC 3711 section 3.3.1).
pub const FIRST_SEQ_END: u16 = 1 << 14;

/// A larger step of the source's sequence numbers is a restart, not loss (RFC 3550 appendix A.1). It isn't
/// passed on: two such steps in a row would carry receivers past half a rollover.
const SEQ_JUMP_MAX: u64 = 3000;

/// A larger step back of timestamps in sequence is a new timeline.
const TS_STEP_BACK_MAX: Duration = Duration::from_secs(1);

/// How long late packets of a source that was left may still fill holes.
const TAIL: Duration = Duration::from_millis(200);

/// A new layer may be this far behind the old and still start, with its first frame moved up.
const BEHIND_MAX: Duration = Duration::from_millis(50);

/// How long a layer switch waits for sender reports before it goes by elapsed time.
const ALIGN_WAIT: Duration = Duration::from_millis(500);

/// A layer silent for so long has left nothing to align with.
const ALIGN_SILENCE: Duration = Duration::from_millis(300);

/// After a pause, how far behind the elapsed time the sender reports' statement is still believed.
const RESUME_BEHIND_MAX: Duration = Duration::from_millis(200);

/// A source that is further than its entry point by more has jumped: that says nothing of when the entry point was
/// due.
const REPAIRED_WITHIN: Duration = Duration::from_secs(2);

/// How far ahead of the elapsed time a sender report's statement is believed.
const AHEAD_MAX: Duration = Duration::from_secs(2);

/// Audio timestamps of another occupant step by whole packets of 20 ms at 48 kHz.
const AUDIO_STEP: i64 = 960;

#[derive(Debug, Clone, Copy)]
struct Target {
    source: SourceId,
    relation: Relation,
    refused_since: Option<Time>,
    /// Timestamp and arrival of its newest packet.
    newest: Option<(i64, Time)>,
}

/// The newest packet sent, in the slot's own numbers.
#[derive(Debug, Clone, Copy)]
struct Last {
    seq: u64,
    ts: i64,
    marker: bool,
    sent_at: Time,
}

/// The map of one slot.
#[derive(Debug)]
pub struct Rewriter {
    kind: Kind,
    clock_rate: u32,
    first_seq: u64,
    first_ts: i64,
    target: Option<Target>,
    /// Whether the current projection's source is forwarded.
    live: bool,
    current: Projection,
    tail: Projection,
    tail_until: Time,
    last: Option<Last>,
    /// One above the highest picture ids sent.
    picture: NextPicture,
    /// Sender report of the current source with the offset of its timestamps.
    reference: Option<(SrPair, i64)>,
    sent: SentWindow,
}

impl Rewriter {
    /// A slot that has sent nothing. `first_seq` is taken modulo [`FIRST_SEQ_END`]; it and `first_ts` should be random
    /// (RFC 3550 section 5.1).
    #[must_use]
    pub fn new(kind: Kind, clock_rate: u32, first_seq: u16, first_ts: u32) -> Self {
        Self {
            kind,
            clock_rate,
            first_seq: u64::from(first_seq % FIRST_SEQ_END),
            first_ts: i64::from(first_ts),
            target: None,
            live: false,
            current: Projection::new(kind),
            tail: Projection::new(kind),
            tail_until: Time::ZERO,
            last: None,
            picture: NextPicture::default(),
            reference: None,
            sent: SentWindow::new(),
        }
    }

    /// The slot shall be fed by `source` from its next entry point on: a key frame of video, any
    /// packet of audio.
    pub fn switch(&mut self, source: SourceId, relation: Relation) {
        if self.live && self.current.source() == Some(source) {
            self.target = None;
            return;
        }
        if self.target.is_some_and(|target| target.source == source) {
            return;
        }
        if relation == Relation::OtherTrack {
            self.live = false;
        }
        self.target = Some(Target {
            source,
            relation,
            refused_since: None,
            newest: None,
        });
    }

    /// How far the awaited source is when its entry point is rewritten: one that was lost and sent again comes after
    /// what follows it.
    pub fn awaited_is_at(&mut self, newest: &PacketMeta) {
        if let Some(target) = &mut self.target {
            target.newest = Some((newest.ts, newest.arrival));
        }
    }

    /// Nothing feeds the slot any more: emptied, muted or paused. Counters run on from here when it is fed again.
    pub fn stop(&mut self) {
        self.live = false;
        self.target = None;
    }

    /// The source whose key frame (or first packet) is awaited.
    #[must_use]
    pub fn awaited(&self) -> Option<SourceId> {
        self.target.map(|target| target.source)
    }

    /// The source that is being forwarded.
    #[must_use]
    pub fn source(&self) -> Option<SourceId> {
        self.current.source().filter(|_| self.live)
    }

    /// Numbers for a packet of `source`; `sr` is the source's newest sender report, if there is one.
    ///
    /// # Errors
    /// The packet must not be sent, and why.
    pub fn rewrite(
        &mut self,
        now: Time,
        source: SourceId,
        meta: &PacketMeta,
        sr: Option<&SrPair>,
    ) -> Result<Out, Withheld> {
        let sr = sr.filter(|sr| sr.is_fresh(now));
        let mut switched = false;
        if let Some(target) = self.target.filter(|target| target.source == source) {
            match self.enter(now, target, meta, sr) {
                Ok(()) => switched = true,
                Err(_) if self.is_tail(now, source) => return self.rewrite_tail(meta),
                Err(reason) => return Err(reason),
            }
        }
        if !(self.live && self.current.source() == Some(source)) {
            return if self.is_tail(now, source) {
                self.rewrite_tail(meta)
            } else {
                Err(Withheld::OtherSource)
            };
        }
        if self.current.continues_dropped(meta) {
            // The choice of layers changed in mid-picture: what is left of it is of no use.
            self.current.discard(meta, Unit::Picture);
            return Err(Withheld::Dropped);
        }
        if self.is_discontinuous(meta) {
            let ts = self.elapsed_ts(now).unwrap_or(self.first_ts);
            self.begin(now, source, meta, ts);
        }
        if let Some(sr) = sr {
            self.reference = Some((*sr, self.current.ts_offset()));
        }
        match self.current.place(meta) {
            Place::Ahead(seq) => {
                let mut out = self.current.project(meta, seq, None);
                out.switched = switched;
                if switched && meta.lacks_parameter_sets {
                    out.parameter_sets = out.seq.checked_sub(1).filter(|&before| self.sent.insert(before));
                }
                // RFC 3551 section 4.1: the first packet of a talkspurt; a receiver resets its delay there.
                out.marker |= switched && self.kind == Kind::Audio;
                self.current.advance(meta);
                self.note(now, meta, &out);
                self.once(out)
            }
            Place::Behind(seq, pictures) => self.once(self.current.project(meta, seq, Some(pictures))),
            Place::BeforeFirst if self.is_tail(now, source) => self.rewrite_tail(meta),
            Place::BeforeFirst => Err(Withheld::BeforeSwitch),
            Place::Dropped => Err(Withheld::Dropped),
            Place::TooOld => Err(Withheld::TooOld),
        }
    }

    /// Drops a packet of the current source on purpose, closing the gap that it would leave: padding,
    /// or a picture of a temporal layer that isn't wanted. False if it must be forwarded instead,
    /// because a loss before it hides where its picture begins, or the picture is being sent.
    pub fn discard(&mut self, source: SourceId, meta: &PacketMeta) -> bool {
        if !(self.live && self.current.source() == Some(source)) {
            return true;
        }
        self.current.discard(meta, Unit::Picture)
    }

    /// The same for the frame of a spatial layer that isn't wanted, while others of its picture are. Beside a loss its
    /// number stays free.
    pub fn leave_out(&mut self, source: SourceId, meta: &PacketMeta) {
        if self.live && self.current.source() == Some(source) {
            self.current.discard(meta, Unit::Frame);
        }
    }

    /// The slot's RTP time of a source's RTP time, for sender reports; none while nothing is sent.
    #[must_use]
    pub fn timestamp(&self, source: SourceId, ts: i64) -> Option<u32> {
        (self.live && self.current.source() == Some(source)).then(|| (ts - self.current.ts_offset()) as u32)
    }

    /// RTP ticks a second.
    #[must_use]
    pub fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// The highest sequence number sent.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.last.map(|last| last.seq)
    }

    /// Begins the target's projection if the packet is an entry point that can be aligned.
    fn enter(
        &mut self,
        now: Time,
        target: Target,
        meta: &PacketMeta,
        sr: Option<&SrPair>,
    ) -> Result<(), Withheld> {
        let is_entry = match self.kind {
            Kind::Audio => meta.payload_len > 0,
            Kind::Video => meta.keyframe_start,
        };
        if !is_entry {
            return Err(Withheld::AwaitsEntry);
        }
        // A number of this source that was sent already can't be a beginning.
        if self.current.source() == Some(target.source) && self.current.has_passed(meta.seq) {
            return Err(Withheld::BeforeSwitch);
        }
        let Some(ts) = self.align(now, target, meta, sr) else {
            if let Some(target) = &mut self.target {
                target.refused_since.get_or_insert(now);
            }
            return Err(Withheld::NotAligned);
        };
        self.begin(now, target.source, meta, ts);
        self.target = None;
        self.live = true;
        Ok(())
    }

    /// The timestamp for the first packet of the target, none to wait for another key frame.
    fn align(&self, now: Time, target: Target, meta: &PacketMeta, sr: Option<&SrPair>) -> Option<i64> {
        let Some(last) = self.last else {
            return Some(self.first_ts);
        };
        // How long its repair took is no part of the source's time.
        let elapsed = self.elapsed_ts(self.due(now, target, meta))?;
        let reference = (target.relation == Relation::SameTrack)
            .then(|| self.reference_ts(target.source, meta.ts, sr))
            .flatten()
            .filter(|&ts| ts - elapsed <= self.ticks(AHEAD_MAX));
        if self.live {
            return match reference {
                Some(ts) if ts > last.ts => Some(ts),
                Some(ts) if last.ts - ts <= self.ticks(BEHIND_MAX) => Some(last.ts + 1),
                // The layer's sender lags: one more key frame may be better, a third would be no different.
                Some(_) => target.refused_since.map(|_| last.ts + 1),
                // Where the old layer has stopped, there is no picture left that the new one could
                // stand beside.
                None if now.since(last.sent_at) >= ALIGN_SILENCE => Some(elapsed),
                None => target
                    .refused_since
                    .filter(|&since| now.since(since) >= ALIGN_WAIT)
                    .map(|_| elapsed),
            };
        }
        Some(match reference {
            Some(ts) if ts > last.ts && elapsed - ts <= self.ticks(RESUME_BEHIND_MAX) => ts,
            _ => elapsed,
        })
    }

    /// When an entry point that arrived `now` would have, had it come before what follows it.
    fn due(&self, now: Time, target: Target, meta: &PacketMeta) -> Time {
        let Some((ts, arrival)) = target.newest else {
            return now;
        };
        let ahead = ts.wrapping_sub(meta.ts);
        if !(0..=self.ticks(REPAIRED_WITHIN)).contains(&ahead) {
            return now;
        }
        let ahead = ahead.unsigned_abs() * 1_000_000_000 / u64::from(self.clock_rate);
        now.min(Time::from_nanos(arrival.as_nanos().saturating_sub(ahead)))
    }

    /// Where the timestamps would be if the stream had gone on: always above the last one.
    fn elapsed_ts(&self, now: Time) -> Option<i64> {
        let last = self.last?;
        let elapsed = self.ticks(now.since(last.sent_at));
        Some(
            last.ts
                + match self.kind {
                    Kind::Audio => ((elapsed + AUDIO_STEP / 2) / AUDIO_STEP * AUDIO_STEP).max(AUDIO_STEP),
                    Kind::Video => elapsed.max(1),
                },
        )
    }

    /// The slot's time of a source's time: known if the source was here last, else by the
    /// sender reports of both, which share the publisher's wall clock.
    fn reference_ts(&self, source: SourceId, ts: i64, sr: Option<&SrPair>) -> Option<i64> {
        if self.current.source() == Some(source) {
            return Some(ts - self.current.ts_offset());
        }
        let (reference, offset) = self.reference?;
        let sr = sr?;
        let between = ticks_between(sr.ntp, reference.ntp, self.clock_rate);
        // Timestamps are modulo 2^32 and their cycles were counted from different beginnings.
        let exact = ts
            .wrapping_sub(sr.ts)
            .wrapping_add(reference.ts)
            .wrapping_add(between)
            .wrapping_sub(offset);
        let last = self.last?.ts;
        Some(last + i64::from((exact as u32).wrapping_sub(last as u32) as i32))
    }

    /// Makes `meta` the first packet of a new projection.
    fn begin(&mut self, now: Time, source: SourceId, meta: &PacketMeta, ts: i64) {
        let seq = match self.last {
            None => self.first_seq,
            // A frame that was cut must look cut: one number that never comes (RFC 7741 section 4.5.1
            // has the receiver rely on it).
            Some(last) if self.kind == Kind::Video && !last.marker => last.seq + 2,
            Some(last) => last.seq + 1,
        };
        let seq = seq + u64::from(meta.lacks_parameter_sets);
        std::mem::swap(&mut self.current, &mut self.tail);
        self.tail_until = now + TAIL;
        self.reference = None;
        self.current.begin(source, meta, seq, ts, self.picture);
    }

    fn is_discontinuous(&self, meta: &PacketMeta) -> bool {
        self.current.ahead_by(meta.seq).is_some_and(|gap| {
            gap > SEQ_JUMP_MAX || self.current.step_back(meta.ts) > self.ticks(TS_STEP_BACK_MAX)
        })
    }

    /// Remembers a packet that is the highest of the slot.
    fn note(&mut self, now: Time, meta: &PacketMeta, out: &Out) {
        let ts = self.current.out_ts(meta);
        self.last = Some(Last {
            seq: out.seq,
            ts: self.last.map_or(ts, |last| last.ts.max(ts)),
            marker: out.marker,
            sent_at: now,
        });
        if let Some(id) = self.current.out_picture(meta) {
            let next = id.wrapping_add(1);
            self.picture.id = Some(self.picture.id.map_or(next, |highest| highest.max(next)));
        }
        if let Some(tl0) = out.ids.tl0picidx {
            self.picture.tl0 = Some(tl0.wrapping_add(1));
        }
        if let Some(key) = out.ids.keyidx {
            self.picture.key = Some(key.wrapping_add(1));
        }
    }

    fn once(&mut self, out: Out) -> Result<Out, Withheld> {
        if self.sent.insert(out.seq) {
            Ok(out)
        } else {
            Err(Withheld::Duplicate)
        }
    }

    fn is_tail(&self, now: Time, source: SourceId) -> bool {
        now < self.tail_until && self.tail.source() == Some(source)
    }

    /// A late packet of the source before: only into holes it left.
    fn rewrite_tail(&mut self, meta: &PacketMeta) -> Result<Out, Withheld> {
        match self.tail.place(meta) {
            Place::Behind(seq, pictures) => self.once(self.tail.project(meta, seq, Some(pictures))),
            Place::Dropped => Err(Withheld::Dropped),
            Place::TooOld => Err(Withheld::TooOld),
            Place::Ahead(_) | Place::BeforeFirst => Err(Withheld::BeforeSwitch),
        }
    }

    fn ticks(&self, duration: Duration) -> i64 {
        let ticks = duration.as_nanos() * u128::from(self.clock_rate) / 1_000_000_000;
        i64::try_from(ticks).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
    }
}

#[cfg(test)]
mod tests;
