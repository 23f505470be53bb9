use kall_shared::media::{Codec, CodecParams, Feedback};

use super::*;
use crate::forward::keyframe::Meanwhile;
use crate::forward::rewriter::SourceId;
use crate::rtp::PacketMeta;
use crate::shard::slab::Key;

fn key(index: u32) -> Key {
    Key { index, epoch: 0 }
}

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
        ..PacketMeta::default()
    };
    PacketHead::new(key(1), 0, SourceId(1), 7, codec, meta)
}

/// What a packet of this number is made of.
fn payload(seq: u64) -> Vec<u8> {
    let len = 1 + (seq * 37 % 1200) as usize;
    (0..len).map(|at| (seq as usize * 31 + at) as u8).collect()
}

fn descriptor(seq: u64) -> Vec<u8> {
    vec![seq as u8; (seq % 5) as usize]
}

fn give(sender: &mut Sender, seq: u64, picture: bool) -> Result<(), Full> {
    sender.packet(head(seq), &descriptor(seq), &payload(seq), picture)
}

/// The numbers of all that is there; messages are numbered by their track.
fn take(receiver: &mut Receiver) -> Vec<u64> {
    let mut got = Vec::new();
    while receiver.receive(|received| match received {
        Received::Packet(head, descriptor_bytes, bytes) => {
            assert_eq!(descriptor_bytes, descriptor(head.meta.seq));
            assert_eq!(bytes, payload(head.meta.seq));
            got.push(head.meta.seq);
        }
        Received::Message(Message::TrackGone(key)) => got.push(u64::from(key.index)),
        Received::Message(other) => panic!("{other:?}"),
    }) {}
    got
}

#[test]
fn what_is_published_arrives_in_order() {
    let (mut sender, mut receiver) = lane(64, 1 << 16);
    for round in 0..1_000 {
        let seqs: Vec<u64> = (round * 10..round * 10 + 10).collect();
        for seq in &seqs {
            give(&mut sender, *seq, true).expect("room");
        }
        assert!(
            !receiver.has_any(),
            "nothing is seen of a batch that is being made"
        );
        assert!(sender.publish());
        assert!(receiver.has_any());
        assert_eq!(take(&mut receiver), seqs);
        assert!(!sender.publish(), "there is nothing new");
    }
}

#[test]
fn pictures_leave_the_last_part_to_sound() {
    for (entries, bytes) in [(64, 1 << 20), (4096, 1 << 16)] {
        let (mut sender, mut receiver) = lane(entries, bytes);
        let mut seq = 0;
        while give(&mut sender, seq, true).is_ok() {
            seq += 1;
        }
        let pictures = seq;
        while give(&mut sender, seq, false).is_ok() {
            seq += 1;
        }
        assert!(seq >= pictures + pictures / 4, "{pictures} of {seq}");
        assert!(sender.publish());
        assert_eq!(take(&mut receiver), (0..seq).collect::<Vec<_>>());
        assert_eq!(give(&mut sender, seq, true), Ok(()), "there is room again");
    }
}

#[test]
fn messages_are_never_lost_and_keep_their_order() {
    let (mut sender, mut receiver) = lane(8, 1 << 16);
    for index in 0..20 {
        sender.message(Message::TrackGone(key(index)));
    }
    assert_eq!(sender.waiting(), 12);
    let mut got = Vec::new();
    while got.len() < 20 {
        assert!(sender.publish());
        got.extend(take(&mut receiver));
    }
    assert_eq!(got, (0..20).collect::<Vec<_>>());
    // News that another will follow do not wait.
    let report = || Message::Report {
        publication: key(1),
        layer: 0,
        source: SourceId(1),
        pair: None,
        clock: crate::rtp::CaptureClock::new(),
    };
    for _ in 0..20 {
        sender.message(report());
    }
    assert_eq!(sender.waiting(), 0);
    assert!(report().is_periodic());
    assert!(!Message::Keyframe(key(1), 0, Meanwhile::Nothing).is_periodic());
}

#[test]
fn a_packet_that_finds_no_room_leaves_nothing_behind() {
    let (mut sender, mut receiver) = lane(64, 2_048);
    let long = vec![0; 4_096];
    assert_eq!(sender.packet(head(0), &[], &long, false), Err(Full));
    assert_eq!(give(&mut sender, 1, false), Ok(()));
    sender.publish();
    assert_eq!(take(&mut receiver), [1]);
}

#[test]
fn a_mesh_has_a_lane_each_way_between_any_two() {
    let mut mesh = mesh(3);
    for (core, lanes) in mesh.iter().enumerate() {
        for other in 0..3 {
            assert_eq!(lanes.to[other].is_some(), other != core);
            assert_eq!(lanes.from[other].is_some(), other != core);
        }
    }
    let (one, two) = mesh.split_at_mut(1);
    let to = one[0].to[2].as_mut().expect("another core");
    to.message(Message::TrackGone(key(5)));
    to.publish();
    assert_eq!(take(two[1].from[0].as_mut().expect("another core")), [5]);
}

/// Two threads at full speed, with a lane that is full again and again: everything that was accepted arrives, whole and
/// in order.
#[test]
fn threads_lose_and_mix_nothing() {
    const PACKETS: u64 = 200_000;
    let (mut sender, mut receiver) = lane(256, 1 << 16);
    let writer = std::thread::spawn(move || {
        let mut accepted = 0;
        for seq in 0..PACKETS {
            // Some are pictures, some sound; what finds no room is given again, under the same number.
            while give(&mut sender, seq, seq % 3 == 0).is_err() {
                sender.publish();
                std::thread::yield_now();
            }
            accepted += 1;
            if seq % 7 == 0 {
                sender.publish();
            }
        }
        sender.publish();
        accepted
    });
    let mut next = 0;
    while next < PACKETS {
        for seq in take(&mut receiver) {
            assert_eq!(seq, next);
            next += 1;
        }
        std::thread::yield_now();
    }
    assert_eq!(writer.join().expect("no panic"), PACKETS);
    assert!(!receiver.has_any());
}
