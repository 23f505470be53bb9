//! Two clients see and hear each other over paths that lose, reorder and repeat packets.

use std::time::Duration;

use kall_dataplane::codec::vp8::Descriptor;
use kall_dataplane::srtp::Profile;
use kall_dataplane::time::Time;
use kall_dataplane::wire::rtcp::sr::SenderInfo;
use kall_shared::link::Event;
use kall_shared::media::Kind;

use crate::link::Quality;
use crate::media::Label;
use crate::peer::Peer;
use crate::publish::Publisher;
use crate::receive::Receiver;
use crate::world::{MEDIA_START, Trace, World};

const CALLS: [(u64, Profile); 3] = [
    (1, Profile::AeadAes128Gcm),
    (0x5eed, Profile::AeadAes256Gcm),
    (0xfeed_face, Profile::AesCm128HmacSha1_80),
];

/// How long media flows. It passes the wrap of every counter of both clients.
const END: Time = Time::from_millis(15_000);

/// What was sent in the last second may be on its way still.
const JUDGED_UNTIL: Time = Time::from_millis(14_000);

/// Key frames belong to the start: to the first picture, and to the subscriber that missed it.
const SETTLED: Time = Time::from_millis(3_000);

fn run(seed: u64, profile: Profile) -> World {
    let mut world = World::new(seed, profile, Quality::POOR, 2, |work| {
        work();
        0
    });
    world.run_until(END);
    world
}

fn publisher(peer: &Peer, kind: Kind) -> &Publisher {
    let found = peer.publishers.iter().find(|publisher| publisher.kind() == kind);
    found.expect("a publisher of each kind")
}

fn receiver(peer: &Peer, kind: Kind) -> &Receiver {
    let found = peer.receivers.iter().find(|(_, receiver)| receiver.kind == kind);
    &found.expect("a slot of each kind").1
}

fn judged(label: &Label) -> bool {
    label.captured < JUDGED_UNTIL.as_millis()
}

/// Nothing was dropped that shouldn't be, and nothing was sealed twice.
fn check_counters(world: &World) {
    for name in [
        "bug_egress_guard",
        "drop_unknown_class",
        "drop_unknown_tuple",
        "drop_stun_malformed",
        "drop_stun_unknown_user",
        "drop_stun_integrity",
        "drop_srtp_auth",
        "drop_srtp_short",
        "drop_srtp_streams",
        "drop_rtp_malformed",
        "drop_rtp_unmapped",
        "drop_rtcp_malformed",
        "drop_outbox_full",
        "drop_handshake_full",
        "drop_control_full",
    ] {
        assert_eq!(world.counter(name), 0, "{name}");
    }
    for name in [
        "rtx_in",
        "rtx_out",
        "nack_sent",
        "nack_received",
        "drop_srtp_replay",
    ] {
        assert!(world.counter(name) > 0, "{name}: the path was not bad enough");
    }
}

/// Every packet of audio reached the server, by retransmission if need be.
fn check_audio_upstream(world: &World, client: usize) {
    let audio = publisher(&world.peers[client], Kind::Audio);
    let reached = |seq: &u64| world.delivered.contains(&(audio.ssrc(), *seq));
    // Nobody can miss what came before the first packet that arrived.
    let first = audio.sent.keys().position(reached).expect("audio arrived");
    assert!(first < 5, "the first {first} packets were lost");
    let lost: Vec<u64> = audio
        .sent
        .iter()
        .skip(first)
        .filter(|(seq, (label, _))| judged(label) && !reached(seq))
        .map(|(seq, _)| *seq)
        .collect();
    assert_eq!(lost, [0; 0], "audio that never reached the server");
    // The server agrees: it lost nothing for good. A resend has its own number again, so it counts.
    let report = world.peers[client].reported[&audio.ssrc()];
    assert!(
        report.cumulative_lost <= 2,
        "{report:?}: at most what is being repaired"
    );
}

/// Every packet of video since the last key frame reached the other client, byte for byte.
fn check_video(world: &World, client: usize) {
    let video = publisher(&world.peers[client], Kind::Video);
    let slot = receiver(&world.peers[1 - client], Kind::Video);
    let starts: Vec<(u64, Label)> = video
        .sent
        .iter()
        .filter(|(_, (_, starts_key))| *starts_key)
        .map(|(seq, (label, _))| (*seq, *label))
        .collect();
    let (first, label) = starts.last().expect("a key frame was sent");
    assert!(
        label.captured < SETTLED.as_millis(),
        "a key frame was needed in mid-call: {starts:?}"
    );
    assert!(starts.len() <= 4, "{starts:?}");
    let sent: Vec<Label> = video
        .sent
        .range(first..)
        .map(|(_, (label, _))| *label)
        .filter(judged)
        .collect();
    let mut received: Vec<Label> = slot.received.values().map(|packet| packet.label).collect();
    received.sort_unstable();
    let missing: Vec<&Label> = sent
        .iter()
        .filter(|label| received.binary_search(label).is_err())
        .collect();
    assert!(missing.is_empty(), "of {}: {missing:?}", sent.len());
    assert!(slot.retransmitted > 0);
}

/// What a slot shows is one continuous stream: numbers, times, markers and picture ids.
fn check_continuity(slot: &Receiver) {
    let packets: Vec<(&u64, _)> = slot.received.iter().collect();
    for pair in packets.windows(2) {
        let [(seq, before), (next, after)] = [pair[0], pair[1]];
        assert!(after.label > before.label, "{before:?} {after:?}");
        if slot.kind == Kind::Audio {
            let elapsed = after.label.number - before.label.number;
            let ticks = after.timestamp.wrapping_sub(before.timestamp);
            assert_eq!(u64::from(ticks), elapsed * 960);
            assert_eq!(after.audio_level, Some(0x80 | 30));
            assert_eq!(*next - *seq, elapsed, "loss stays visible, and only loss");
            continue;
        }
        let frames = after.label.number - before.label.number;
        let [old, new] = [before, after].map(|packet| packet.descriptor.expect("video has one"));
        let id = |descriptor: &Descriptor| descriptor.picture_id.expect("the sender has ids").value();
        assert_eq!(u64::from(id(&new).wrapping_sub(id(&old)) & 0x7fff), frames);
        let tl0 = |descriptor: &Descriptor| descriptor.tl0_picture_index.expect("the sender has one");
        assert_eq!(u64::from(tl0(&new).wrapping_sub(tl0(&old))), frames & 0xff);
        assert_eq!(after.marker, after.label.packet + 1 == after.label.packets);
        let ticks = after.timestamp.wrapping_sub(before.timestamp);
        assert_eq!(
            frames == 0,
            ticks == 0,
            "a frame has one time: {before:?} {after:?}"
        );
        assert!(u64::from(ticks).abs_diff(frames * 3000) <= 1 + frames, "{ticks}");
    }
}

/// When, on the server's clock, the packets of a slot were captured, as its sender reports say:
/// in milliseconds, less the capture time that the packet carries.
fn capture_offsets(slot: &Receiver) -> Vec<f64> {
    let clock_rate = if slot.kind == Kind::Audio {
        48_000.0
    } else {
        90_000.0
    };
    let packet = slot.received.values().last().expect("packets came");
    let newest = |report: &&SenderInfo| report.packet_count > 0;
    slot.reports
        .iter()
        .filter(newest)
        .map(|report| {
            let ticks = packet.timestamp.wrapping_sub(report.rtp_timestamp) as i32;
            let seconds = report.ntp.0 as f64 / 4_294_967_296.0 + f64::from(ticks) / clock_rate;
            seconds * 1000.0 - packet.label.captured as f64
        })
        .collect()
}

/// Sound and picture of one publisher are placed on one clock, whatever the path did to either.
fn check_lip_sync(peer: &Peer) {
    let audio = capture_offsets(receiver(peer, Kind::Audio));
    let video = capture_offsets(receiver(peer, Kind::Video));
    assert!(
        audio.len() >= 3 && video.len() >= 8,
        "{} {}",
        audio.len(),
        video.len()
    );
    // The minimum filter settles with the first few reports.
    let settled = |offsets: &[f64]| offsets[offsets.len() / 2..].to_vec();
    let all: Vec<f64> = settled(&audio).into_iter().chain(settled(&video)).collect();
    let least = all.iter().copied().fold(f64::INFINITY, f64::min);
    let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert!(
        most - least < 10.0,
        "{:.1} ms apart: {audio:?} {video:?}",
        most - least
    );
}

/// Transport-wide feedback told what arrived and when, exactly, and nothing else.
fn check_feedback(world: &World, client: usize) {
    let truth = &world.arrivals[client];
    let told = &world.peers[client].feedback;
    let mut received = 0;
    for (seq, arrival) in told {
        if let Some(arrival) = arrival {
            assert_eq!(truth.get(seq), Some(arrival), "arrival of {seq}");
            received += 1;
        }
    }
    // Feedback is lost as well, and then not repeated.
    assert!(received * 100 > truth.len() * 80, "{received} of {}", truth.len());
    assert!(told.values().any(Option::is_none), "losses are told");
}

fn check_round_trips(peer: &Peer) {
    // 20 ms each way, 3 ms of jitter, at most 20 ms held back, and the client's own 5 ms clock.
    assert!(peer.round_trips.len() > 5);
    for rtt in &peer.round_trips {
        assert!(
            (Duration::from_millis(40)..Duration::from_millis(100)).contains(rtt),
            "{rtt:?}"
        );
    }
}

fn check_call(seed: u64, profile: Profile) -> Trace {
    let world = run(seed, profile);
    check_counters(&world);
    for client in 0..world.peers.len() {
        check_audio_upstream(&world, client);
        check_video(&world, client);
        check_feedback(&world, client);
        let peer = &world.peers[client];
        for kind in [Kind::Audio, Kind::Video] {
            check_continuity(receiver(peer, kind));
        }
        check_lip_sync(peer);
        check_round_trips(peer);
    }
    let started = world
        .events
        .iter()
        .filter(|event| matches!(event, Event::TrackStarted { .. }))
        .count();
    assert_eq!(started, 4);
    assert!(MEDIA_START < SETTLED);
    world.trace
}

#[test]
fn everything_arrives_over_a_bad_path() {
    let traces = CALLS.map(|(seed, profile)| check_call(seed, profile));
    assert_ne!(traces[0], traces[1]);
    assert_ne!(traces[1], traces[2]);
}

#[test]
fn a_seed_is_a_run() {
    for (seed, profile) in CALLS {
        assert_eq!(run(seed, profile).trace, run(seed, profile).trace, "seed {seed}");
    }
}
