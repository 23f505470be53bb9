//! A publisher's packet is kept once, and read once for each subscriber. With as many rings as a shard has layers,
//! the payloads lie in main memory.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kall_benches::cpu_time::{ThreadCpuTime, config};
use kall_benches::many::Many;
use kall_dataplane::rtp::packet_ring::{PacketMeta, PacketRing, VIDEO_PACKETS};
use kall_shared::media::Kind;

const PAYLOAD: [u8; 1_100] = [0x5a; 1_100];

/// One layer, and those of thirty cameras.
const RINGS: [usize; 2] = [1, 90];

/// How far back the packets are that subscribers ask for again.
const BACK: u64 = 500;

fn meta(seq: u64) -> PacketMeta {
    PacketMeta {
        seq,
        ts: seq as i64 * 500,
        ..PacketMeta::default()
    }
}

/// A ring and the number of its next packet.
fn full() -> (PacketRing, u64) {
    let mut ring = PacketRing::new(Kind::Video);
    for seq in 0..VIDEO_PACKETS as u64 {
        ring.insert(meta(seq), &PAYLOAD).expect("numbers only rise");
    }
    (ring, VIDEO_PACKETS as u64)
}

fn bench(criterion: &mut Criterion<ThreadCpuTime>) {
    let mut group = criterion.benchmark_group("packet_ring");
    for rings in RINGS {
        let mut kept = Many::new(rings, |_| full());
        group.bench_function(BenchmarkId::new("insert", rings), |b| {
            b.iter(|| {
                let (ring, next) = kept.turn();
                ring.insert(meta(*next), black_box(&PAYLOAD))
                    .expect("numbers only rise");
                *next += 1;
            });
        });
        let mut kept = Many::new(rings, |_| full());
        group.bench_function(BenchmarkId::new("get the newest", rings), |b| {
            b.iter(|| {
                let (ring, next) = kept.turn();
                let (meta, payload) = ring.get(*next - 1).expect("it was kept");
                black_box((meta.seq, payload[0]));
            });
        });
        let mut back = 0;
        group.bench_function(BenchmarkId::new("get an old one", rings), |b| {
            b.iter(|| {
                let (ring, next) = kept.turn();
                // A step that visits all of them, none near the one before.
                back = (back + 211) % BACK;
                let (meta, payload) = ring.get(*next - 1 - back).expect("it was kept");
                black_box((meta.seq, payload[0]));
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
