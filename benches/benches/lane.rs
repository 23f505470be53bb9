//! What a packet costs on its way to another core, beside the copy of its payload into the lane and out of it; a channel
//! of packets on the heap is the baseline.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kall_benches::cpu_time::thread_cpu_time;
use kall_dataplane::forward::rewriter::SourceId;
use kall_dataplane::lane::{self, PacketHead, Received};
use kall_dataplane::rtp::PacketMeta;
use kall_dataplane::shard::slab::Key;
use kall_shared::media::{Codec, CodecParams, Feedback};

const PAYLOAD: usize = 1100;
/// Packets of one turn.
const BATCH: u64 = 64;

fn head(seq: u64) -> PacketHead {
    let codec = CodecParams {
        pt: 96,
        codec: Codec::Vp8,
        rtx_pt: None,
        h264_profile: None,
        feedback: Feedback::default(),
    };
    let meta = PacketMeta {
        seq,
        payload_len: PAYLOAD as u16,
        ..PacketMeta::default()
    };
    PacketHead::new(Key { index: 1, epoch: 0 }, 0, SourceId(1), 7, codec, meta)
}

fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lane");
    group.throughput(Throughput::Elements(BATCH));
    let payload = vec![7_u8; PAYLOAD];
    let mut kept = vec![0_u8; PAYLOAD];
    let mut between = vec![0_u8; 2 << 20];

    group.bench_function("copy of the payload, in and out", |bencher| {
        let mut at = 0;
        bencher.iter(|| {
            for _ in 0..BATCH {
                at = (at + PAYLOAD) % (between.len() - PAYLOAD);
                between[at..at + PAYLOAD].copy_from_slice(black_box(&payload));
                kept.copy_from_slice(black_box(&between[at..at + PAYLOAD]));
            }
        });
    });
    group.bench_function("lane", |bencher| {
        let (mut sender, mut receiver) = lane::lane(lane::ENTRIES, 2 << 20);
        let mut seq = 0;
        bencher.iter(|| {
            for _ in 0..BATCH {
                seq += 1;
                sender
                    .packet(head(seq), &[], black_box(&payload), true)
                    .expect("room");
            }
            sender.publish();
            while receiver.receive(|received| {
                if let Received::Packet(head, _, payload) = received {
                    black_box(head.meta.seq);
                    kept.copy_from_slice(payload);
                }
            }) {}
        });
    });
    group.bench_function("crossbeam-channel of packets on the heap", |bencher| {
        let (sender, receiver) = crossbeam_channel::bounded::<(PacketHead, Box<[u8]>)>(lane::ENTRIES);
        let mut seq = 0;
        bencher.iter(|| {
            for _ in 0..BATCH {
                seq += 1;
                let packet = (head(seq), Box::from(black_box(&payload[..])));
                sender.try_send(packet).expect("room");
            }
            while let Ok((head, payload)) = receiver.try_recv() {
                black_box(head.meta.seq);
                kept.copy_from_slice(&payload);
            }
        });
    });
    group.finish();
}

/// The same with a core at each end: the CPU time of both together, which has in it what the caches do.
fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lane between two threads");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("lane", |bencher| {
        bencher.iter_custom(|turns| {
            let (mut sender, mut receiver) = lane::lane(lane::ENTRIES, 2 << 20);
            let total = turns * BATCH;
            let reader = std::thread::spawn(move || {
                let mut kept = vec![0_u8; PAYLOAD];
                let (mut count, mut busy) = (0, Duration::ZERO);
                while count < total {
                    if !receiver.has_any() {
                        std::hint::spin_loop();
                        continue;
                    }
                    let start = thread_cpu_time();
                    while receiver.receive(|received| {
                        if let Received::Packet(_, _, payload) = received {
                            kept.copy_from_slice(payload);
                        }
                    }) {
                        count += 1;
                    }
                    busy += thread_cpu_time() - start;
                }
                black_box(&kept);
                busy
            });
            let payload = vec![7_u8; PAYLOAD];
            let mut busy = Duration::ZERO;
            for turn in 0..turns {
                let start = thread_cpu_time();
                let mut seq = turn * BATCH;
                while seq < (turn + 1) * BATCH {
                    if sender.packet(head(seq), &[], &payload, true).is_ok() {
                        seq += 1;
                    } else {
                        sender.publish();
                        std::thread::yield_now();
                    }
                }
                sender.publish();
                busy += thread_cpu_time() - start;
            }
            busy + reader.join().expect("no panic")
        });
    });
    group.finish();
}

criterion_group!(benches, one_thread, two_threads);
criterion_main!(benches);
