//! Fan-out of one packet: header, copy of the shared payload, seal. One iteration is one packet.
//!
//! With one key everything is in the first-level cache; with a thousand keys in random order, as
//! in a shard with a thousand subscribers, the contexts are not, and their size shows.

use std::hint::black_box;

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kall_benches::cpu_time::{ThreadCpuTime, config};
use kall_benches::many::{COUNTS, Many};
use kall_dataplane::srtp::{EgressGuard, MasterKey, Outbound, Profile};
use kall_dataplane::wire::rtp::{HeaderFields, write_header};
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

const HEADER_LEN: usize = 12;
const PAYLOAD: [u8; 1200] = [0x5a; 1200];
const PLAIN_LEN: usize = HEADER_LEN + PAYLOAD.len();

/// Header and payload into the output slot.
fn compose(slot: &mut [u8], index: u64) {
    let fields = HeaderFields {
        marker: false,
        payload_type: 96,
        sequence: index as u16,
        timestamp: 90_000,
        ssrc: 0x1234_5678,
    };
    write_header(slot, &fields, &[]).expect("the slot has room for a header");
    slot[HEADER_LEN..PLAIN_LEN].copy_from_slice(&PAYLOAD);
}

fn key_bytes(profile: Profile, number: usize) -> (Vec<u8>, Vec<u8>) {
    let byte = number as u8;
    (vec![byte; profile.key_len()], vec![!byte; profile.salt_len()])
}

fn floor(group: &mut BenchmarkGroup<'_, ThreadCpuTime>, keys: usize) {
    let mut subscribers = Many::new(keys, |_| 0u64);
    let mut slot = vec![0; 1500];
    group.bench_function(BenchmarkId::new("floor: copy and header", keys), |b| {
        b.iter(|| {
            let index = subscribers.turn();
            *index += 1;
            compose(&mut slot, *index);
            black_box(&slot);
        });
    });
}

fn ours(group: &mut BenchmarkGroup<'_, ThreadCpuTime>, profile: Profile, keys: usize) {
    let mut subscribers = Many::new(keys, |number| {
        let (key, salt) = key_bytes(profile, number);
        let key = MasterKey::new(profile, &key, &salt).expect("lengths are the profile's");
        (Outbound::new(&key), EgressGuard::new(), 0u64)
    });
    let mut slot = vec![0; 1500];
    group.bench_function(BenchmarkId::new(format!("kall {profile}"), keys), |b| {
        b.iter(|| {
            let (outbound, guard, index) = subscribers.turn();
            *index += 1;
            compose(&mut slot, *index);
            let len = outbound.seal_rtp(guard, &mut slot, HEADER_LEN, PLAIN_LEN, *index);
            black_box(len.expect("indices only rise"));
        });
    });
}

fn theirs(group: &mut BenchmarkGroup<'_, ThreadCpuTime>, profile: Profile, keys: usize) {
    let their_profile = match profile {
        Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Profile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        Profile::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    let mut subscribers = Many::new(keys, |number| {
        let (key, salt) = key_bytes(profile, number);
        let context = Context::new(&key, &salt, their_profile, None, None);
        (context.expect("lengths are the profile's"), 0u64)
    });
    let mut slot = vec![0; 1500];
    group.bench_function(BenchmarkId::new(format!("webrtc-srtp {profile}"), keys), |b| {
        b.iter(|| {
            let (context, index) = subscribers.turn();
            *index += 1;
            compose(&mut slot, *index);
            let sealed = context.encrypt_rtp(&slot[..PLAIN_LEN]);
            black_box(sealed.expect("a plain packet is sealed"));
        });
    });
}

fn bench(criterion: &mut Criterion<ThreadCpuTime>) {
    let mut group = criterion.benchmark_group("srtp_seal");
    group.throughput(Throughput::Bytes(PAYLOAD.len() as u64));
    for keys in COUNTS {
        floor(&mut group, keys);
        for profile in Profile::ALL {
            ours(&mut group, profile, keys);
            theirs(&mut group, profile, keys);
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = config();
    targets = bench
}
criterion_main!(benches);
