//! Random calls: several sources, loss, reordering, switches, pauses and dropped layers, with all
//! counters near their wraps, checked against the full history of what was sent.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::*;
use crate::forward::spatial::SpatialLayers;
use crate::rtp::NackMap;
use crate::time::Ntp;
use kall_shared::media::Codec;

/// Milliseconds between two frames of each source.
const TICK: u64 = 20;

/// A small generator of its own, so that a failing case is one number.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct Source {
    id: SourceId,
    track: u64,
    clock_rate: i64,
    seq: u64,
    base_ts: i64,
    picture: i64,
    tl0: u8,
    key: u8,
    reports: bool,
    /// Everything that arrived, by number.
    arrived: BTreeMap<u64, PacketMeta>,
}

impl Source {
    fn ts(&self, now: u64) -> i64 {
        self.base_ts + now as i64 * self.clock_rate / 1000
    }

    fn sr(&self, now: u64) -> Option<SrPair> {
        self.reports.then(|| SrPair {
            ntp: Ntp((3_900_000_000 << 32) + ((now << 32) / 1000)),
            ts: self.ts(now),
            received: at(now),
        })
    }
}

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

#[derive(Debug, Clone, Copy)]
struct Emitted {
    source: SourceId,
    source_seq: u64,
    source_ts: i64,
    source_picture: Option<i64>,
    out: Out,
}

/// What the sources of a call are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One frame a picture, ids without gaps.
    Plain,
    /// Three spatial layers in one stream, ids that keep gaps.
    Scalable,
}

struct Call {
    kind: Kind,
    random: Random,
    rewriter: Rewriter,
    map: NackMap,
    sources: Vec<Source>,
    history: BTreeMap<u64, Emitted>,
    high_layers_wanted: bool,
    shape: Shape,
    layers: SpatialLayers,
    aim: u8,
}

impl Call {
    fn new(kind: Kind, shape: Shape, seed: u64) -> Self {
        let mut random = Random(seed | 1);
        let clock_rate = if kind == Kind::Audio { 48_000 } else { 90_000 };
        let sources = (0..4u64)
            .map(|index| Source {
                id: SourceId(index as u32),
                track: index / 2,
                clock_rate,
                seq: (1 << 17) - random.below(200),
                base_ts: (1 << 33) - random.below(1_000_000) as i64,
                picture: (1 << 16) - random.below(100) as i64,
                tl0: random.below(256) as u8,
                key: random.below(32) as u8,
                reports: random.percent(70),
                arrived: BTreeMap::new(),
            })
            .collect();
        let first_seq = FIRST_SEQ_END - 1 - random.below(100) as u16;
        let first_ts = u32::MAX - random.below(100_000) as u32;
        Self {
            kind,
            rewriter: Rewriter::new(kind, clock_rate as u32, first_seq, first_ts),
            map: NackMap::new(kind),
            random,
            sources,
            history: BTreeMap::new(),
            high_layers_wanted: true,
            shape,
            layers: SpatialLayers::default(),
            aim: 2,
        }
    }

    fn run(&mut self, ticks: u64) {
        let mut in_flight: BTreeMap<(u64, usize, u64), PacketMeta> = BTreeMap::new();
        for tick in 0..ticks {
            let now = tick * TICK;
            for index in 0..self.sources.len() {
                for meta in self.frame(index, now) {
                    if self.random.percent(5) {
                        continue;
                    }
                    let late = self.random.percent(10);
                    let delay = if late { self.random.below(8) } else { 0 };
                    in_flight.insert((tick + delay, index, meta.seq), meta);
                }
            }
            self.act(now);
            let later = in_flight.split_off(&(tick + 1, 0, 0));
            for ((_, index, _), meta) in std::mem::replace(&mut in_flight, later) {
                self.arrive(now, index, meta);
            }
        }
    }

    /// The packets of one source's next frame.
    fn frame(&mut self, index: usize, now: u64) -> Vec<PacketMeta> {
        let video = self.kind == Kind::Video;
        let is_key = video && self.random.percent(15);
        let high = video && !is_key && self.random.percent(40);
        let packets = if video { 1 + self.random.below(4) } else { 1 };
        let padded = self.random.percent(5);
        let spatial_layers = if self.shape == Shape::Scalable { 3 } else { 1 };
        let source = &mut self.sources[index];
        source.picture += 1;
        if !high {
            source.tl0 = source.tl0.wrapping_add(1);
        }
        if is_key {
            source.key = (source.key + 1) & 0x1f;
        }
        let mut metas = Vec::new();
        for packet in 0..packets * spatial_layers + u64::from(padded) {
            let is_padding = packet == packets * spatial_layers;
            let has_ids = video && !is_padding;
            let spatial = if is_padding { 0 } else { (packet / packets) as u8 };
            // Two of the sources have layers that lean on each other in every picture.
            let upwards = is_key || index % 2 == 1;
            metas.push(PacketMeta {
                codec: match (self.shape, index % 2) {
                    (Shape::Plain, _) => Codec::Vp8,
                    (Shape::Scalable, 0) => Codec::Vp9,
                    (Shape::Scalable, _) => Codec::Av1,
                },
                spatial,
                needed_by: if upwards { 0b111 << spatial } else { 1 << spatial },
                end_of_frame: !is_padding && (packet + 1).is_multiple_of(packets),
                seq: source.seq,
                ts: source.ts(now),
                picture_id: has_ids.then_some(source.picture),
                tl0picidx: has_ids.then_some(source.tl0),
                keyidx: has_ids.then_some(source.key),
                payload_len: if is_padding { 0 } else { 500 },
                temporal: u8::from(high),
                marker: video && packet + 1 == packets * spatial_layers,
                keyframe_start: is_key && packet == 0,
                start_of_frame: packet == 0,
                ..PacketMeta::default()
            });
            source.seq += 1;
        }
        metas
    }

    fn act(&mut self, now: u64) {
        match self.random.below(60) {
            0 => self.rewriter.stop(),
            1 => self.high_layers_wanted = !self.high_layers_wanted,
            6..9 => self.aim = self.random.below(3) as u8,
            2..6 => {
                let index = self.random.below(self.sources.len() as u64) as usize;
                let from = self.rewriter.source().map(|id| self.sources[id.0 as usize].track);
                let target = &self.sources[index];
                let relation = if from.is_none_or(|track| track == target.track) && !now.is_multiple_of(3) {
                    Relation::SameTrack
                } else {
                    Relation::OtherTrack
                };
                self.rewriter.switch(target.id, relation);
            }
            _ => {}
        }
    }

    /// What a slot does with a packet.
    fn arrive(&mut self, now: u64, index: usize, meta: PacketMeta) {
        let meta = PacketMeta {
            arrival: at(now),
            ..meta
        };
        self.sources[index].arrived.insert(meta.seq, meta);
        if self.offer(now, index, &meta) {
            let later: Vec<PacketMeta> = self.sources[index]
                .arrived
                .range(meta.seq + 1..)
                .map(|(_, meta)| *meta)
                .collect();
            for meta in later {
                self.offer(now, index, &meta);
            }
        }
    }

    /// True if the packet switched the slot.
    fn offer(&mut self, now: u64, index: usize, meta: &PacketMeta) -> bool {
        let (id, sr) = (self.sources[index].id, self.sources[index].sr(now));
        let unwanted = meta.payload_len == 0 || (meta.temporal > 0 && !self.high_layers_wanted);
        if unwanted && self.rewriter.source() == Some(id) && self.rewriter.discard(id, meta) {
            return false;
        }
        let mut marked = *meta;
        if self.shape == Shape::Scalable && meta.payload_len > 0 {
            let shows = self.rewriter.source() == Some(id);
            if !shows {
                marked.marker |= SpatialLayers::begin(meta, self.aim).ends_picture(meta);
            } else {
                self.layers.follow(meta, self.aim);
                marked.marker |= self.layers.ends_picture(meta);
                if !self.layers.includes(meta) {
                    self.rewriter.leave_out(id, meta);
                    return false;
                }
            }
        }
        if self.rewriter.awaited() == Some(id)
            && let Some((_, newest)) = self.sources[index].arrived.last_key_value()
        {
            self.rewriter.awaited_is_at(newest);
        }
        let Ok(out) = self.rewriter.rewrite(at(now), id, &marked, sr.as_ref()) else {
            return false;
        };
        if out.switched {
            self.layers = SpatialLayers::begin(meta, self.aim);
        }
        let emitted = Emitted {
            source: id,
            source_seq: meta.seq,
            source_ts: meta.ts,
            source_picture: meta.picture_id,
            out,
        };
        let before = self.history.insert(out.seq, emitted);
        assert!(before.is_none(), "{} was given twice", out.seq);
        self.map.on_sent(at(now), id, meta.seq, &out, false);
        self.check_nacks(now, out.seq);
        out.switched
    }

    /// Whatever is asked for is exactly what was sent under that number, or nothing.
    fn check_nacks(&mut self, now: u64, newest: u64) {
        for _ in 0..4 {
            let seq = newest.saturating_sub(self.random.below(700));
            let Ok(found) = self.map.on_nack(at(now), seq as u16, Duration::ZERO) else {
                continue;
            };
            let truth = self.history.get(&seq).expect("found, so it was sent");
            assert_eq!(
                (found.seq, found.source, found.source_seq),
                (seq, truth.source, truth.source_seq)
            );
            assert_eq!(
                (found.timestamp, found.marker, found.ids),
                (truth.out.timestamp, truth.out.marker, truth.out.ids)
            );
        }
    }

    /// The history in the order in which a receiver puts it.
    fn check_history(&self) {
        let outs: Vec<&Emitted> = self.history.values().collect();
        for pair in outs.windows(2) {
            let [before, after] = [pair[0], pair[1]];
            let same_frame = before.source == after.source && before.source_ts == after.source_ts;
            let step = after.out.timestamp.wrapping_sub(before.out.timestamp) as i32;
            if same_frame {
                assert_eq!(step, 0, "one frame, one time: {before:?} {after:?}");
            } else {
                assert!(step > 0, "times rise from frame to frame: {before:?} {after:?}");
            }
            if after.out.seq == before.out.seq + 1 {
                check_neighbours(self.shape, before, after, same_frame);
            }
        }
    }
}

/// Neighbours have the same picture ids or consecutive ones, whatever lay between them at the source,
/// and a source begins only after a whole frame.
fn check_neighbours(shape: Shape, before: &Emitted, after: &Emitted, same_frame: bool) {
    let (old, new) = (before.out.ids, after.out.ids);
    if let (Some(old), Some(new)) = (old.picture_id, new.picture_id) {
        let step = new.wrapping_sub(old) & 0x7fff;
        match shape {
            Shape::Plain => assert_eq!(step, u16::from(!same_frame), "{before:?} {after:?}"),
            // Within a source ids keep their distances, whatever was left out.
            Shape::Scalable if before.source == after.source && !after.out.switched => {
                let own = after.source_picture.zip(before.source_picture);
                let own = own.map(|(new, old)| (new - old) as u16 & 0x7fff);
                assert_eq!(Some(step), own, "{before:?} {after:?}");
                assert!(
                    same_frame || before.out.marker,
                    "a picture without an end: {before:?} {after:?}"
                );
            }
            Shape::Scalable => assert!(step < 0x4000, "ids rise: {before:?} {after:?}"),
        }
        assert!(
            !after.out.switched || before.out.marker,
            "a cut frame looks whole: {before:?} {after:?}"
        );
    }
    if let (Some(old), Some(new)) = (old.tl0picidx, new.tl0picidx) {
        assert!(new.wrapping_sub(old) <= 1, "{before:?} {after:?}");
    }
    if let (Some(old), Some(new)) = (old.keyidx, new.keyidx) {
        assert!(new.wrapping_sub(old) & 0x1f <= 1, "{before:?} {after:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_call_is_one_continuous_stream_of_video(seed: u64) {
        let mut call = Call::new(Kind::Video, Shape::Plain, seed);
        call.run(1200);
        call.check_history();
        prop_assert!(call.history.len() > 100, "{} packets were sent", call.history.len());
    }

    #[test]
    fn any_call_is_one_continuous_stream_of_spatial_layers(seed: u64) {
        let mut call = Call::new(Kind::Video, Shape::Scalable, seed);
        call.run(1200);
        call.check_history();
        prop_assert!(call.history.len() > 100, "{} packets were sent", call.history.len());
    }

    #[test]
    fn any_call_is_one_continuous_stream_of_audio(seed: u64) {
        let mut call = Call::new(Kind::Audio, Shape::Plain, seed);
        call.run(1200);
        call.check_history();
        prop_assert!(call.history.len() > 100, "{} packets were sent", call.history.len());
    }
}
