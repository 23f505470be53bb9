//! A publisher's packet gets its numbers on one subscriber's slot. One iteration is one packet for one slot.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kall_benches::cpu_time::{ThreadCpuTime, config};
use kall_benches::many::{COUNTS, Many};
use kall_dataplane::forward::rewriter::{Relation, Rewriter, SourceId};
use kall_dataplane::rtp::packet_ring::PacketMeta;
use kall_dataplane::time::Time;
use kall_shared::media::Kind;

const SOURCE: SourceId = SourceId(1);

/// Packets of a picture of 1.5 Mbit/s at 30 a second.
const PICTURE: u64 = 6;
const PICTURE_TICKS: i64 = 3_000;

/// A VP8 packet with all its picture ids.
fn packet(number: u64) -> PacketMeta {
    let picture = (number / PICTURE) as i64;
    PacketMeta {
        seq: 5_000 + number,
        ts: picture * PICTURE_TICKS,
        picture_id: Some(picture),
        tl0picidx: Some(picture as u8),
        keyidx: Some(3),
        descriptor_len: 6,
        payload_len: 1_100,
        start_of_frame: number.is_multiple_of(PICTURE),
        keyframe_start: number == 0,
        marker: number % PICTURE == PICTURE - 1,
        ..PacketMeta::default()
    }
}

fn bench(criterion: &mut Criterion<ThreadCpuTime>) {
    let mut group = criterion.benchmark_group("rewrite");
    for slots in COUNTS {
        let mut slots_with_number = Many::new(slots, |_| {
            let mut slot = Rewriter::new(Kind::Video, 90_000, 100, 1_000_000);
            slot.switch(SOURCE, Relation::OtherTrack);
            (slot, 0)
        });
        group.bench_function(BenchmarkId::new("kall", slots), |b| {
            b.iter(|| {
                let (slot, number) = slots_with_number.turn();
                let now = Time::from_millis(*number / PICTURE * 33);
                let out = slot.rewrite(now, SOURCE, &packet(*number), None);
                *number += 1;
                black_box(out.expect("it goes on without a gap"));
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
