//! The map from one source's numbers to a slot's, from the packet it began with.
//!
//! Owns the offsets and the runs of packets that were dropped on purpose, so that a packet which
//! comes late still gets the number it would have had in order.

use kall_shared::media::{Codec, Kind};

use super::rewriter::{Out, PictureIds, SourceId};
use crate::rtp::packet_ring::PacketMeta;

/// Runs of dropped packets remembered for a video slot: dropping every other picture at 60 per second, they cover two
/// seconds.
const VIDEO_RUNS: usize = 64;

/// Audio drops nothing but padding.
const AUDIO_RUNS: usize = 8;

/// What is dropped as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// A picture, with all of its spatial layers.
    Picture,
    /// The frame of one spatial layer.
    Frame,
}

/// The picture or frame that a run ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dropped {
    ts: i64,
    /// None: every spatial layer of it.
    spatial: Option<u8>,
}

impl Dropped {
    /// Padding belongs to nothing.
    const NOTHING: Self = Self {
        ts: i64::MIN,
        spatial: None,
    };

    fn of(meta: &PacketMeta, unit: Unit) -> Self {
        Self {
            ts: meta.ts,
            spatial: (unit == Unit::Frame).then_some(meta.spatial),
        }
    }

    fn covers(&self, meta: &PacketMeta) -> bool {
        // Padding has the time of a picture, but is of none of its layers.
        let same_layer = |spatial| spatial == meta.spatial && meta.payload_len > 0;
        self.ts == meta.ts && self.spatial.is_none_or(same_layer)
    }
}

/// Whether receivers take a missing picture id for a lost picture. VP9's and AV1's references are distances between
/// the ids of pictures, so theirs keep the gaps.
fn closes_gaps(codec: Codec) -> bool {
    codec == Codec::Vp8
}

/// The bits of a picture id on the wire, of a frame number for AV1.
fn id_mask(codec: Codec) -> u16 {
    match codec {
        Codec::Av1 => u16::MAX,
        _ => 0x7fff,
    }
}

/// Consecutive packets that were dropped, and the offsets from there on.
#[derive(Debug, Clone, Copy)]
struct Run {
    from: u64,
    until: u64,
    /// What it ends with.
    dropped: Dropped,
    seq_offset: i64,
    picture_offset: i64,
}

/// Where a source's packet belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Above everything placed so far: its out-number.
    Ahead(u64),
    /// Below the highest: its out-number, and the picture id offset of its time.
    Behind(u64, i64),
    /// From before the projection began.
    BeforeFirst,
    /// It is in a run that was dropped.
    Dropped,
    /// Older than the oldest remembered run.
    TooOld,
}

/// Offsets are source minus out.
#[derive(Debug)]
pub(super) struct Projection {
    source: Option<SourceId>,
    first: u64,
    /// One above the highest source number forwarded or dropped.
    next: u64,
    /// Source timestamp and spatial layer of the highest packet forwarded.
    ts: i64,
    spatial: u8,
    seq_offset: i64,
    ts_offset: i64,
    picture_offset: i64,
    tl0_offset: u8,
    key_offset: u8,
    first_seq_offset: i64,
    first_picture_offset: i64,
    /// A ring in the order of the source once it has `runs_max`. Most slots never drop anything, and it takes no memory.
    runs: Vec<Run>,
    runs_max: usize,
    newest_run: usize,
    /// Below it, runs have been forgotten.
    floor: u64,
}

/// What the picture ids of a new source continue with.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NextPicture {
    pub(super) id: Option<i64>,
    pub(super) tl0: Option<u8>,
    pub(super) key: Option<u8>,
}

impl Projection {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            source: None,
            first: 0,
            next: 0,
            ts: 0,
            spatial: 0,
            seq_offset: 0,
            ts_offset: 0,
            picture_offset: 0,
            tl0_offset: 0,
            key_offset: 0,
            first_seq_offset: 0,
            first_picture_offset: 0,
            runs: Vec::new(),
            runs_max: match kind {
                Kind::Audio => AUDIO_RUNS,
                Kind::Video => VIDEO_RUNS,
            },
            newest_run: 0,
            floor: 0,
        }
    }

    /// Starts anew: `meta` will go out as `seq` and `ts`.
    pub(super) fn begin(
        &mut self,
        source: SourceId,
        meta: &PacketMeta,
        seq: u64,
        ts: i64,
        picture: NextPicture,
    ) {
        self.source = Some(source);
        self.first = meta.seq;
        self.next = meta.seq;
        self.ts = meta.ts;
        self.spatial = meta.spatial;
        self.seq_offset = meta.seq.wrapping_sub(seq) as i64;
        self.ts_offset = meta.ts.wrapping_sub(ts);
        self.picture_offset = offset(meta.picture_id, picture.id, i64::wrapping_sub, 0);
        self.tl0_offset = offset(meta.tl0picidx, picture.tl0, u8::wrapping_sub, 0);
        self.key_offset = offset(meta.keyidx, picture.key, u8::wrapping_sub, 0);
        self.first_seq_offset = self.seq_offset;
        self.first_picture_offset = self.picture_offset;
        self.runs.clear();
        self.newest_run = 0;
        self.floor = meta.seq;
    }

    pub(super) fn source(&self) -> Option<SourceId> {
        self.source
    }

    pub(super) fn ts_offset(&self) -> i64 {
        self.ts_offset
    }

    /// Whether this source number, or a later one, was forwarded or dropped.
    pub(super) fn has_passed(&self, seq: u64) -> bool {
        seq < self.next
    }

    /// How far `seq` is beyond the next number, if it is.
    pub(super) fn ahead_by(&self, seq: u64) -> Option<u64> {
        seq.checked_sub(self.next)
    }

    /// How far the source's timestamps stepped back at `ts`, negative for a step forward.
    pub(super) fn step_back(&self, ts: i64) -> i64 {
        self.ts.wrapping_sub(ts)
    }

    pub(super) fn place(&self, meta: &PacketMeta) -> Place {
        let seq = meta.seq;
        if self.source.is_none() || seq < self.first {
            return Place::BeforeFirst;
        }
        if seq >= self.next {
            return Place::Ahead(seq.wrapping_sub(self.seq_offset as u64));
        }
        for run in self.newest_first() {
            if seq >= run.until {
                // The rest of a picture whose beginning was dropped: of use to nobody.
                if run.dropped.covers(meta) {
                    return Place::Dropped;
                }
                return Place::Behind(seq.wrapping_sub(run.seq_offset as u64), run.picture_offset);
            }
            if seq >= run.from {
                return Place::Dropped;
            }
        }
        if seq < self.floor {
            return Place::TooOld;
        }
        Place::Behind(
            seq.wrapping_sub(self.first_seq_offset as u64),
            self.first_picture_offset,
        )
    }

    /// The packet in the slot's numbers. `picture_offset`: none for the newest one.
    pub(super) fn project(&self, meta: &PacketMeta, seq: u64, picture_offset: Option<i64>) -> Out {
        let picture_offset = picture_offset.unwrap_or(self.picture_offset);
        Out {
            seq,
            timestamp: self.out_ts(meta) as u32,
            marker: meta.marker,
            ids: PictureIds {
                picture_id: meta
                    .picture_id
                    .map(|id| id.wrapping_sub(picture_offset) as u16 & id_mask(meta.codec)),
                tl0picidx: meta.tl0picidx.map(|tl0| tl0.wrapping_sub(self.tl0_offset)),
                keyidx: meta.keyidx.map(|key| key.wrapping_sub(self.key_offset) & 0x1f),
                ..PictureIds::default()
            },
            switched: false,
            parameter_sets: None,
        }
    }

    pub(super) fn out_ts(&self, meta: &PacketMeta) -> i64 {
        meta.ts.wrapping_sub(self.ts_offset)
    }

    /// The extended out picture id of the newest packet.
    pub(super) fn out_picture(&self, meta: &PacketMeta) -> Option<i64> {
        meta.picture_id.map(|id| id.wrapping_sub(self.picture_offset))
    }

    /// Notes that the packet, which was ahead, is forwarded.
    pub(super) fn advance(&mut self, meta: &PacketMeta) {
        self.next = meta.seq + 1;
        self.ts = meta.ts;
        self.spatial = meta.spatial;
    }

    /// Drops the packet as part of a unit and closes the gap, if it is known what the gap hides.
    pub(super) fn discard(&mut self, meta: &PacketMeta, unit: Unit) -> bool {
        if meta.seq < self.next {
            return self.place(meta) == Place::Dropped;
        }
        let open = self.open_run();
        let continues = open.is_some_and(|run| run.dropped.covers(meta));
        let contiguous = meta.seq == self.next;
        let padding = meta.payload_len == 0;
        // Packets between two of one picture are of that picture: when it is being dropped, what was
        // lost of it is dropped with it. Otherwise a loss hides what it would have been.
        if !continues && !contiguous {
            return false;
        }
        let in_progress = meta.ts == self.ts && (unit == Unit::Picture || meta.spatial == self.spatial);
        if !continues && !padding && in_progress {
            return false;
        }
        let packets = (meta.seq + 1 - self.next) as i64;
        self.seq_offset += packets;
        if !continues && !padding && meta.picture_id.is_some() && closes_gaps(meta.codec) {
            self.picture_offset += 1;
        }
        let run = Run {
            from: open.map_or(meta.seq, |run| run.from),
            until: meta.seq + 1,
            // Padding carries the timestamp of the picture before it, which may be a forwarded one.
            dropped: match open {
                // What was dropped whole stays so, whichever layer of it comes next.
                Some(run) if padding || continues => run.dropped,
                _ if padding => Dropped::NOTHING,
                _ => Dropped::of(meta, unit),
            },
            seq_offset: self.seq_offset,
            picture_offset: self.picture_offset,
        };
        if open.is_some() {
            self.runs[self.newest_run] = run;
        } else {
            self.push(run);
        }
        self.next = meta.seq + 1;
        true
    }

    /// Whether the packet is of the picture that is being dropped.
    pub(super) fn continues_dropped(&self, meta: &PacketMeta) -> bool {
        meta.seq >= self.next && self.open_run().is_some_and(|run| run.dropped.covers(meta))
    }

    /// The newest run, if nothing was forwarded after it.
    fn open_run(&self) -> Option<Run> {
        let newest = self.runs.get(self.newest_run).copied();
        newest.filter(|run| run.until == self.next)
    }

    fn push(&mut self, run: Run) {
        if self.runs.len() < self.runs_max {
            if self.runs.is_empty() {
                self.runs.reserve_exact(self.runs_max);
            }
            self.newest_run = self.runs.len();
            self.runs.push(run);
        } else {
            self.newest_run = (self.newest_run + 1) % self.runs.len();
            self.floor = self.runs[self.newest_run].until;
            // What follows the forgotten run has its offsets.
            self.first_seq_offset = self.runs[self.newest_run].seq_offset;
            self.first_picture_offset = self.runs[self.newest_run].picture_offset;
            self.runs[self.newest_run] = run;
        }
    }

    fn newest_first(&self) -> impl Iterator<Item = &Run> {
        let (newer, older) = self.runs.split_at((self.newest_run + 1).min(self.runs.len()));
        newer.iter().rev().chain(older.iter().rev())
    }
}

fn offset<T: Copy>(first: Option<T>, next: Option<T>, minus: impl Fn(T, T) -> T, none: T) -> T {
    match (first, next) {
        (Some(first), Some(next)) => minus(first, next),
        _ => none,
    }
}
