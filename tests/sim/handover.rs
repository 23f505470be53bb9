//! A slot changes hands, its publisher mutes and comes back: the receiver sees one stream.

use std::time::Duration;

use kall_dataplane::srtp::Profile;
use kall_dataplane::time::Time;
use kall_shared::link::Request;
use kall_shared::media::{Kind, SlotWish};

use crate::link::Quality;
use crate::receive::{Received, Receiver};
use crate::world::{World, mid, track};

const ANN: usize = 0;
const BORIS: usize = 1;
const CLARA: usize = 2;

fn after(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn show(world: &mut World, publisher: Option<usize>) {
    let session = world.sessions[BORIS];
    world.ask(Request::SetSlot {
        session,
        mid: mid("3"),
        track: publisher.map(|publisher| track(publisher, Kind::Video)),
        wish: SlotWish::default(),
    });
}

fn mute(world: &mut World, publisher: usize, muted: bool) {
    let session = world.sessions[publisher];
    world.ask(Request::SetMuted {
        session,
        track: track(publisher, Kind::Video),
        muted,
    });
}

fn slot(world: &World) -> &Receiver {
    let mut receivers = world.peers[BORIS].receivers.iter();
    let found = receivers.find(|(_, receiver)| receiver.kind == Kind::Video);
    &found.expect("a video slot").1
}

/// Neighbours of the slot belong together, whoever they are of.
fn check_neighbours(before: &Received, after: &Received) {
    let same_frame =
        (before.label.publisher, before.label.number) == (after.label.publisher, after.label.number);
    let ticks = after.timestamp.wrapping_sub(before.timestamp) as i32;
    assert_eq!(ticks == 0, same_frame, "{before:?} {after:?}");
    assert!(ticks >= 0, "{before:?} {after:?}");
    let [old, new] = [before, after].map(|packet| packet.descriptor.expect("video has one"));
    let ids = [old, new].map(|found| found.picture_id.expect("the sender has ids").value());
    assert_eq!(
        ids[1].wrapping_sub(ids[0]) & 0x7fff,
        u16::from(!same_frame),
        "{before:?} {after:?}"
    );
    let tl0 = [old, new].map(|found| found.tl0_picture_index.expect("the sender has one"));
    assert_eq!(tl0[1].wrapping_sub(tl0[0]), u8::from(!same_frame));
    let key = [old, new].map(|found| found.key_index.expect("the sender has one"));
    assert!(key[1].wrapping_sub(key[0]) & 0x1f <= 1, "{before:?} {after:?}");
    assert!(
        same_frame || before.marker,
        "a frame that was cut shows as cut: {before:?} {after:?}"
    );
}

/// The time that passed in the stream is the time that passed.
fn check_elapsed(before: &Received, after: &Received) {
    let ticks = after.timestamp.wrapping_sub(before.timestamp);
    let shown = Duration::from_micros(u64::from(ticks) * 1_000_000 / 90_000);
    let truth = Duration::from_millis(after.label.captured - before.label.captured);
    assert!(
        shown.abs_diff(truth) < Duration::from_millis(150),
        "{shown:?} for {truth:?}: {before:?} {after:?}"
    );
}

#[test]
fn a_slot_is_one_stream_whoever_feeds_it() {
    for seed in [11, 12, 13] {
        check(seed);
    }
}

fn check(seed: u64) {
    let mut world = World::new(seed, Profile::AeadAes128Gcm, Quality::POOR, 3, |work| {
        work();
        0
    });
    world.run_until(after(4_000));
    show(&mut world, Some(ANN));
    world.run_until(after(7_000));
    mute(&mut world, ANN, true);
    world.run_until(after(9_000));
    mute(&mut world, ANN, false);
    world.run_until(after(11_000));
    show(&mut world, None);
    world.run_until(after(12_000));
    show(&mut world, Some(CLARA));
    world.run_until(after(16_000));

    assert_eq!(world.counter("bug_egress_guard"), 0);
    let received: Vec<(&u64, &Received)> = slot(&world).received.iter().collect();
    let mut starts = vec![*received[0].1];
    for pair in received.windows(2) {
        let [(seq, before), (next, after)] = [pair[0], pair[1]];
        if *next == *seq + 1 {
            check_neighbours(before, after);
        }
        let paused = after.label.captured.saturating_sub(before.label.captured) > 500;
        if after.label.publisher != before.label.publisher || paused {
            check_elapsed(before, after);
            starts.push(*after);
        }
    }
    // Clara, Ann, Ann after her mute, Clara again.
    let publishers: Vec<u8> = starts.iter().map(|start| start.label.publisher).collect();
    assert_eq!(
        publishers,
        [CLARA, ANN, ANN, CLARA].map(|publisher| publisher as u8)
    );
    for (start, (from, until)) in
        starts
            .iter()
            .zip([(0, 1500), (4000, 5500), (9000, 10_500), (12_000, 13_500)])
    {
        assert!(
            (from..until).contains(&start.label.captured),
            "{start:?} in {from}..{until}"
        );
    }
    // Nobody can miss what was lost before the first packet; later, nothing else will do.
    for start in &starts[1..] {
        let descriptor = start.descriptor.expect("video has one");
        assert!(
            descriptor.is_keyframe(),
            "{start:?}: nothing before it can be decoded"
        );
    }
    // Each time, everything came from there on: up to a moment before the next change.
    for (start, end) in starts.iter().zip([3_500, 6_500, 10_500, 15_000]) {
        let publisher = usize::from(start.label.publisher);
        let video = world.peers[publisher]
            .publishers
            .iter()
            .find(|publisher| publisher.kind() == Kind::Video)
            .expect("a camera");
        // A key frame that was asked for meanwhile makes what was lost before it useless.
        let first = video
            .sent
            .values()
            .filter(|(label, starts_key)| *starts_key && label.captured < end)
            .map(|(label, _)| label.captured)
            .next_back()
            .expect("a key frame");
        for (label, _) in video.sent.values() {
            if (first.max(start.label.captured)..end).contains(&label.captured) {
                assert!(
                    received.iter().any(|(_, packet)| packet.label == *label),
                    "{label:?} never came"
                );
            }
        }
    }
}
