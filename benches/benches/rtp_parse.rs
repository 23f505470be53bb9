//! What every received packet costs before it is decrypted, and its view after.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kall_benches::cpu_time::{ThreadCpuTime, config};
use kall_dataplane::wire::demux::classify;
use kall_dataplane::wire::rtp::{HeaderFields, Packet, header_len, write_header};

/// A browser's video packet: four header extensions, 1100 bytes of payload.
fn packet() -> Vec<u8> {
    let fields = HeaderFields {
        marker: true,
        payload_type: 96,
        sequence: 7,
        timestamp: 90_000,
        ssrc: 0x1234_5678,
    };
    let extensions: [(u8, &[u8]); 4] = [(3, &[1, 2, 3]), (4, &[0, 9]), (9, b"0"), (10, b"hi")];
    let mut packet = vec![0; 1500];
    let len = write_header(&mut packet, &fields, &extensions).expect("the header fits");
    packet.truncate(len + 1100);
    packet
}

fn bench(criterion: &mut Criterion<ThreadCpuTime>) {
    let packet = packet();
    let mut group = criterion.benchmark_group("rtp_parse");
    group.bench_function("classify", |b| b.iter(|| classify(black_box(&packet))));
    group.bench_function("header_len", |b| b.iter(|| header_len(black_box(&packet))));
    group.bench_function("view and extensions", |b| {
        b.iter(|| {
            let view = Packet::parse(black_box(&packet)).expect("the packet is well formed");
            let found: usize = view
                .extensions()
                .map(|(id, data)| usize::from(id) + data.len())
                .sum();
            black_box((
                view.sequence(),
                view.timestamp(),
                view.ssrc(),
                view.payload().len(),
                found,
            ))
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = config();
    targets = bench
}
criterion_main!(benches);
