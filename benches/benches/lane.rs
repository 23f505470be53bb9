//! What a packet costs on its way to another core, both ends together, beside the copy of its payload in and out; a channel
//! of packets on the heap is the baseline.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use kall_benches::cpu_time::{ThreadCpuTime, config, thread_cpu_time};
use kall_dataplane::forward::rewriter::SourceId;
use kall_dataplane::lane::{self, PacketHead, Received};
use kall_dataplane::rtp::PacketMeta;
use kall_dataplane::shard::slab::Key;
use kall_shared::media::{Codec, CodecParams, Feedback};

const PAYLOAD: [u8; 1_100] = [7; 1_100];

/// Packets of one turn.
const BATCH: u64 = 64;

/// Payload bytes of one lane between few cores.
const BYTES: usize = 2 << 20;

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
        payload_len: PAYLOAD.len() as u16,
        ..PacketMeta::default()
    };
    PacketHead::new(Key { index: 1, epoch: 0 }, 0, SourceId(1), 7, codec, meta)
}

/// Time of `packets` packets, turn by turn.
fn turns(packets: u64, mut turn: impl FnMut()) -> Duration {
    let start = thread_cpu_time();
    for _ in 0..packets.div_ceil(BATCH) {
        turn();
    }
    (thread_cpu_time() - start).mul_f64(packets as f64 / packets.next_multiple_of(BATCH) as f64)
}

fn one_thread(criterion: &mut Criterion<ThreadCpuTime>) {
    let mut group = criterion.benchmark_group("lane, one thread");
    let mut kept = PAYLOAD;

    group.bench_function("copy of the payload alone", |bencher| {
        let mut between = vec![0_u8; BYTES];
        let mut at = 0;
        bencher.iter_custom(|packets| {
            turns(packets, || {
                for _ in 0..BATCH {
                    at = (at + PAYLOAD.len()) % (BYTES - PAYLOAD.len());
                    let place = &mut between[at..at + PAYLOAD.len()];
                    place.copy_from_slice(black_box(&PAYLOAD));
                    kept.copy_from_slice(black_box(place));
                }
            })
        });
    });
    group.bench_function("lane", |bencher| {
        let (mut sender, mut receiver) = lane::lane(lane::ENTRIES, BYTES);
        let mut seq = 0;
        bencher.iter_custom(|packets| {
            turns(packets, || {
                for _ in 0..BATCH {
                    seq += 1;
                    let given = sender.packet(head(seq), &[], black_box(&PAYLOAD), true);
                    given.expect("room");
                }
                sender.publish();
                while receiver.receive(|received| {
                    if let Received::Packet(head, _, payload) = received {
                        black_box(head.meta.seq);
                        kept.copy_from_slice(payload);
                    }
                }) {}
            })
        });
    });
    group.bench_function("crossbeam-channel, packets on the heap", |bencher| {
        let (sender, receiver) = crossbeam_channel::bounded::<(PacketHead, Box<[u8]>)>(lane::ENTRIES);
        let mut seq = 0;
        bencher.iter_custom(|packets| {
            turns(packets, || {
                for _ in 0..BATCH {
                    seq += 1;
                    let packet = (head(seq), Box::from(black_box(&PAYLOAD[..])));
                    sender.try_send(packet).expect("room");
                }
                while let Ok((head, payload)) = receiver.try_recv() {
                    black_box(head.meta.seq);
                    kept.copy_from_slice(&payload);
                }
            })
        });
    });
    group.finish();
}

/// The same between two threads: what caches do to each other is in it.
fn two_threads(criterion: &mut Criterion<ThreadCpuTime>) {
    let mut group = criterion.benchmark_group("lane, two threads");
    group.bench_function("lane", |bencher| {
        bencher.iter_custom(|packets| {
            let total = packets.next_multiple_of(BATCH);
            let (mut sender, mut receiver) = lane::lane(lane::ENTRIES, BYTES);
            let reader = std::thread::spawn(move || {
                let mut kept = PAYLOAD;
                read(total, || {
                    receiver.receive(|received| {
                        if let Received::Packet(_, _, payload) = received {
                            kept.copy_from_slice(black_box(payload));
                        }
                    })
                })
            });
            let mut seq = 0;
            let written = turns(total, || {
                for _ in 0..BATCH {
                    seq += 1;
                    while sender.packet(head(seq), &[], black_box(&PAYLOAD), true).is_err() {
                        sender.publish();
                        std::thread::yield_now();
                    }
                }
                sender.publish();
            });
            (written + reader.join().expect("no panic")).mul_f64(packets as f64 / total as f64)
        });
    });
    group.bench_function("crossbeam-channel, packets on the heap", |bencher| {
        bencher.iter_custom(|packets| {
            let total = packets.next_multiple_of(BATCH);
            let (sender, receiver) = crossbeam_channel::bounded::<(PacketHead, Box<[u8]>)>(lane::ENTRIES);
            let reader = std::thread::spawn(move || {
                let mut kept = PAYLOAD;
                read(total, || {
                    let got = receiver.try_recv();
                    if let Ok((_, payload)) = &got {
                        kept.copy_from_slice(black_box(payload));
                    }
                    got.is_ok()
                })
            });
            let mut seq = 0;
            let written = turns(total, || {
                for _ in 0..BATCH {
                    seq += 1;
                    let mut packet = (head(seq), Box::from(black_box(&PAYLOAD[..])));
                    while let Err(full) = sender.try_send(packet) {
                        packet = full.into_inner();
                        std::thread::yield_now();
                    }
                }
            });
            (written + reader.join().expect("no panic")).mul_f64(packets as f64 / total as f64)
        });
    });
    group.finish();
}

/// Takes `total` packets; the time of those looks that found some.
fn read(total: u64, mut take: impl FnMut() -> bool) -> Duration {
    let (mut count, mut busy) = (0, Duration::ZERO);
    while count < total {
        let start = thread_cpu_time();
        let before = count;
        while take() {
            count += 1;
        }
        if count == before {
            std::thread::yield_now();
        } else {
            busy += thread_cpu_time() - start;
        }
    }
    busy
}

criterion_group! {
    name = benches;
    config = config();
    targets = one_thread, two_threads
}
criterion_main!(benches);
