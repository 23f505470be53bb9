//! Opening what publishers send: index, replay window, tag, decryption in place. One iteration is one packet.
//!
//! With a thousand peers in turns neither keys nor windows are in the first-level cache, and the packets never are:
//! each lies in a buffer of its own, as received ones do.

use std::cell::RefCell;
use std::hint::black_box;

use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use kall_benches::cpu_time::{ThreadCpuTime, config};
use kall_benches::many::{COUNTS, Many};
use kall_dataplane::srtp::{EgressGuard, Inbound, MasterKey, Outbound, Profile};
use kall_dataplane::wire::rtp::{HeaderFields, write_header};
use webrtc_srtp::context::Context;
use webrtc_srtp::option::srtp_replay_protection;
use webrtc_srtp::protection_profile::ProtectionProfile;

const PAYLOAD: usize = 1200;

/// Packets that are sealed, unmeasured, before as many are opened.
const BATCH: BatchSize = BatchSize::NumIterations(256);

/// As large as the data plane's own.
const WINDOW: usize = 1024;

/// A publisher's sealing side.
struct Sender {
    outbound: Outbound,
    guard: EgressGuard,
    index: u64,
}

impl Sender {
    fn new(profile: Profile, number: usize) -> Self {
        let (key, salt) = key_bytes(profile, number);
        let key = MasterKey::new(profile, &key, &salt).expect("lengths are the profile's");
        Self {
            outbound: Outbound::new(&key),
            guard: EgressGuard::new(),
            index: 0,
        }
    }

    fn packet(&mut self) -> Vec<u8> {
        self.index += 1;
        let fields = HeaderFields {
            marker: false,
            payload_type: 96,
            sequence: self.index as u16,
            timestamp: 90_000,
            ssrc: 0x1234_5678,
        };
        let mut packet = vec![0x5a; 1500];
        let header = write_header(&mut packet, &fields, &[]).expect("there is room for a header");
        let plain = header + PAYLOAD;
        let sealed = self
            .outbound
            .seal_rtp(&mut self.guard, &mut packet, header, plain, self.index);
        packet.truncate(sealed.expect("indices only rise"));
        packet
    }
}

fn key_bytes(profile: Profile, number: usize) -> (Vec<u8>, Vec<u8>) {
    let byte = number as u8;
    (vec![byte; profile.key_len()], vec![!byte; profile.salt_len()])
}

/// A peer opens the packets in the order they were made, and both visit the peers in the same order.
fn row<T>(
    group: &mut BenchmarkGroup<'_, ThreadCpuTime>,
    (name, profile, peers): (&str, Profile, usize),
    make: impl Fn(usize) -> T,
    mut open: impl FnMut(&mut T, &mut [u8]),
) {
    let senders = RefCell::new(Many::new(peers, |number| Sender::new(profile, number)));
    let mut receivers = Many::new(peers, make);
    group.bench_function(BenchmarkId::new(format!("{name} {profile}"), peers), |b| {
        b.iter_batched_ref(
            || senders.borrow_mut().turn().packet(),
            |packet| open(receivers.turn(), packet),
            BATCH,
        );
    });
}

fn bench(criterion: &mut Criterion<ThreadCpuTime>) {
    let mut group = criterion.benchmark_group("srtp_unprotect");
    group.throughput(Throughput::Bytes(PAYLOAD as u64));
    for peers in COUNTS {
        for profile in Profile::ALL {
            let ours = |number| {
                let (key, salt) = key_bytes(profile, number);
                Inbound::new(&MasterKey::new(profile, &key, &salt).expect("lengths are the profile's"))
            };
            row(&mut group, ("kall", profile, peers), ours, |inbound, packet| {
                black_box(inbound.unprotect_rtp(packet).expect("authentic and new"));
            });
            let their_profile = match profile {
                Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
                Profile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
                Profile::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            };
            let theirs = |number| {
                let (key, salt) = key_bytes(profile, number);
                let window = Some(srtp_replay_protection(WINDOW));
                Context::new(&key, &salt, their_profile, window, None).expect("lengths are the profile's")
            };
            row(
                &mut group,
                ("webrtc-srtp", profile, peers),
                theirs,
                |context, packet| {
                    black_box(context.decrypt_rtp(packet).expect("authentic and new"));
                },
            );
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
