//! What a slot remembers of what it sent: noting a packet, and finding one that a subscriber misses.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kall_benches::cpu_time::{ThreadCpuTime, config};
use kall_benches::many::{COUNTS, Many};
use kall_dataplane::forward::rewriter::{Out, PictureIds, SourceId};
use kall_dataplane::rtp::NackMap;
use kall_dataplane::rtp::nack_map::VIDEO_ENTRIES;
use kall_dataplane::time::Time;
use kall_shared::media::Kind;

const SOURCE: SourceId = SourceId(1);
const RTT: Duration = Duration::from_millis(50);

/// Between two packets of 2 Mbit/s: as many entries as there can be are of use.
const SPACING_MICROS: u64 = 4_000;

fn at(seq: u64) -> Time {
    Time::ZERO + Duration::from_micros(seq * SPACING_MICROS)
}

fn out(seq: u64) -> Out {
    Out {
        seq,
        timestamp: seq as u32 * 360,
        marker: false,
        ids: PictureIds {
            picture_id: Some(seq as u16 & 0x7fff),
            tl0picidx: Some(seq as u8),
            ..PictureIds::default()
        },
        switched: false,
        parameter_sets: None,
    }
}

/// A map with as much in it as it can hold, and the number after that.
fn full() -> (NackMap, u64) {
    let mut map = NackMap::new(Kind::Video);
    let end = 2 * VIDEO_ENTRIES as u64;
    for seq in 0..end {
        map.on_sent(at(seq), SOURCE, seq + 7, &out(seq), seq == 0);
    }
    (map, end)
}

fn bench(criterion: &mut Criterion<ThreadCpuTime>) {
    let mut group = criterion.benchmark_group("nack_map");
    for slots in COUNTS {
        let mut maps = Many::new(slots, |_| full());
        group.bench_function(BenchmarkId::new("note a packet", slots), |b| {
            b.iter(|| {
                let (map, next) = maps.turn();
                map.on_sent(at(*next), SOURCE, *next + 7, &out(*next), false);
                *next += 1;
            });
        });
        let mut maps = Many::new(slots, |_| full());
        let mut back = 0;
        group.bench_function(BenchmarkId::new("look one up", slots), |b| {
            b.iter(|| {
                let (map, next) = maps.turn();
                // What is lost was sent lately.
                back = (back + 11) % 50;
                let sent = map.on_nack(at(*next), (*next - 1 - back) as u16, RTT);
                black_box(sent.expect("it was sent, and not again yet"));
            });
        });
        group.bench_function(BenchmarkId::new("look up what was never sent", slots), |b| {
            b.iter(|| {
                let (map, next) = maps.turn();
                black_box(map.on_nack(at(*next), *next as u16 + 100, RTT).is_err());
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = config();
    targets = bench
}
criterion_main!(benches);
