//! Loss and its repair, in both directions, and the reports about it.

use super::*;
use crate::shard::transmit::MAX_RUNS;
use crate::wire::rtcp::{self, Rtcp};

/// NACKed numbers in what a publisher was sent.
fn asked_for(feedback: &[Vec<u8>]) -> Vec<u16> {
    let mut lost = Vec::new();
    for compound in feedback {
        for message in rtcp::packets(compound) {
            if let Ok(Rtcp::Nack(nack)) = message {
                lost.extend(nack.lost());
            }
        }
    }
    lost
}

#[test]
fn a_lost_packet_is_asked_for_upstream_and_fills_its_hole_downstream() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    film(&mut world, &mut ada, 1, true);
    film(&mut world, &mut ada, 3, false);
    world.pass(20);
    let (_, feedback) = world.taken(&mut ada);
    assert_eq!(asked_for(&feedback), [2]);
    let payload = [&2u16.to_be_bytes()[..], &vp8_payload(false, 2)].concat();
    let again = Media {
        pt: VP8_RTX,
        ssrc: 23,
        ts: 2 * 3000,
        ..frame(500, &payload, CAM)
    };
    world.send(&mut ada, again);
    let seen: Vec<_> = world.media_of(&mut bob);
    let first = seen[0].header.sequence;
    let order: Vec<u16> = seen.iter().map(|got| got.header.sequence - first).collect();
    assert_eq!(order, [0, 2, 1]);
    assert_eq!(seen[2].payload, vp8_payload(false, 2));
    assert_eq!(world.counter("rtx_in"), 1);
    world.pass(300);
    let (_, feedback) = world.taken(&mut ada);
    assert_eq!(asked_for(&feedback), [0u16; 0]);
}

#[test]
fn a_subscriber_gets_again_what_it_misses_on_the_stream_for_that() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    film(&mut world, &mut ada, 1, true);
    film(&mut world, &mut ada, 2, false);
    let seen = world.media_of(&mut bob);
    let missing = seen[1].header.sequence;
    let ssrc = bob.slot_ssrc("4");
    let rtx_ssrc = bob.description.slots[2].rtx_ssrc.expect("negotiated");
    world.send_rtcp(&mut bob, |buf| {
        rtcp::nack::write(buf, 1, ssrc, &[missing, missing])
    });
    let again = world.media_of(&mut bob);
    assert_eq!(again.len(), 1, "once, though asked for twice");
    assert_eq!(
        (again[0].header.ssrc, again[0].header.payload_type),
        (rtx_ssrc, VP8_RTX)
    );
    assert_eq!(again[0].header.timestamp, seen[1].header.timestamp);
    assert_eq!(again[0].mid.as_deref(), Some("4"));
    assert_eq!(again[0].payload[..2], missing.to_be_bytes());
    assert_eq!(again[0].payload[2..], seen[1].payload);

    // Numbers never sent, and numbers of the retransmission stream itself, are nobody's.
    let refused = world.counter("rtx_refused");
    world.send_rtcp(&mut bob, |buf| rtcp::nack::write(buf, 1, ssrc, &[missing + 100]));
    world.gather();
    assert_eq!(world.counter("rtx_refused"), refused + 1);
    world.pass(500);
    world.media_of(&mut bob);
    world.send_rtcp(&mut bob, |buf| rtcp::nack::write(buf, 1, rtx_ssrc, &[missing]));
    assert_eq!(world.media_of(&mut bob), []);
}

#[test]
fn a_request_that_crosses_the_key_frame_is_answered_by_it() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    film(&mut world, &mut ada, 1, true);
    let seen = world.media_of(&mut bob);
    let missing = seen[0].header.sequence;
    let ssrc = bob.slot_ssrc("4");
    let asked = world.counter("pli_sent");
    world.pass(40);
    // He wrote it before the key frame can have come, and what he lost of it is still sent again.
    world.send_rtcp(&mut bob, |buf| rtcp::pli::write(buf, 1, ssrc));
    world.send_rtcp(&mut bob, |buf| rtcp::nack::write(buf, 1, ssrc, &[missing]));
    assert_eq!(world.media_of(&mut bob).len(), 1);
    world.pass(200);
    assert_eq!(world.counter("pli_sent"), asked);
    // He has not got it after all.
    world.pass(300);
    world.send_rtcp(&mut bob, |buf| rtcp::pli::write(buf, 1, ssrc));
    world.pass(600);
    assert!(world.counter("pli_sent") > asked);
}

#[test]
fn a_flood_of_requests_is_held_to_the_budget_and_media_goes_on() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    for seq in 1..400 {
        film(&mut world, &mut ada, seq, seq == 1);
        world.pass(3);
    }
    let seen = world.media_of(&mut bob);
    let all: Vec<u16> = seen.iter().map(|got| got.header.sequence).collect();
    let ssrc = bob.slot_ssrc("4");
    for _ in 0..50 {
        world.send_rtcp(&mut bob, |buf| rtcp::nack::write(buf, 1, ssrc, &all));
        world.gather();
    }
    film(&mut world, &mut ada, 400, false);
    // What is repaired goes first, at the pace of the path.
    world.pass(50);
    let got = world.media_of(&mut bob);
    assert_eq!(got.iter().filter(|got| got.header.ssrc == ssrc).count(), 1);
    assert!(got.len() <= 400, "each at most once in a round trip");
    assert_eq!(world.counter("bug_egress_guard"), 0);
}

/// H.264 in three packets a key frame: parameter sets, then two slices.
fn h264<'a>(seq: u64, frame_number: u32, payload: &'a [u8]) -> Media<'a> {
    Media {
        pt: H264,
        ts: frame_number * 3000,
        marker: false,
        ..frame(seq, payload, CAM)
    }
}

const PARAMETER_SETS: &[u8] = &[24, 0, 2, 0x67, 1, 0, 2, 0x68, 1];
const SLICE: &[u8] = &[0x65, 1, 2, 3];
const DELTA: &[u8] = &[0x41, 1, 2, 3];

#[test]
fn lost_parameter_sets_are_asked_for_and_begin_the_picture() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    world.send(&mut ada, h264(1, 1, DELTA));
    // Number 2 has the parameter sets, and is lost.
    world.send(&mut ada, h264(3, 2, SLICE));
    world.send(&mut ada, h264(4, 2, SLICE));
    assert_eq!(world.media_of(&mut bob), [], "slices alone are of no use");
    world.pass(20);
    let (_, feedback) = world.taken(&mut ada);
    assert_eq!(asked_for(&feedback), [2]);
    world.send(&mut ada, h264(2, 2, PARAMETER_SETS));
    let seen: Vec<Vec<u8>> = world
        .media_of(&mut bob)
        .into_iter()
        .map(|got| got.payload)
        .collect();
    assert_eq!(seen, [PARAMETER_SETS, SLICE, SLICE]);
}

#[test]
fn a_batch_without_room_for_both_leaves_a_key_frame_and_its_parameter_sets_to_the_next() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    for (seq, payload) in [(1, PARAMETER_SETS), (2, SLICE)] {
        world.send(&mut ada, h264(seq, 1, payload));
    }
    assert_eq!(world.media_of(&mut bob).len(), 2);
    world.show(&bob, "4", None);
    world.show(&bob, "4", Some("ada_cam"));
    world.gather();
    world.send(&mut ada, h264(3, 2, SLICE));
    let mut batch = TransmitBatch::new();
    for port in 1..MAX_RUNS as u16 {
        batch.spare()[0] = 0;
        batch.commit(1, SocketAddr::from(([192, 0, 2, 9], port)), LOCAL);
    }
    world.shard.poll_transmit(world.now, &mut batch);
    assert_eq!(batch.runs().len(), MAX_RUNS - 1);
    let seen: Vec<Vec<u8>> = world
        .media_of(&mut bob)
        .into_iter()
        .map(|got| got.payload)
        .collect();
    // The first byte tells how important the sets are.
    assert_eq!(seen[0][1..], PARAMETER_SETS[1..]);
    assert_eq!(seen[1..], [SLICE]);
}

#[test]
fn parameter_sets_are_sent_again_after_the_slices_went_out() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    for (seq, payload) in [(1, PARAMETER_SETS), (2, SLICE), (3, SLICE)] {
        world.send(&mut ada, h264(seq, 1, payload));
    }
    let seen = world.media_of(&mut bob);
    assert_eq!(seen.len(), 3);
    let slot = world.shard.sessions.iter().last().expect("bob").1.slots[2].on_nack(
        world.now,
        seen[0].header.sequence,
        Duration::from_millis(50),
    );
    assert_eq!(slot.map(|sent| sent.source_seq & 0xffff), Ok(1));
}

#[test]
fn publishers_get_reports_and_subscribers_sender_reports_on_the_slots_clock() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    film(&mut world, &mut ada, 1, true);
    let wall = WallClock::new(Duration::from_secs(1_700_000_000));
    let info = rtcp::sr::SenderInfo {
        ssrc: 22,
        ntp: wall.ntp(world.now),
        rtp_timestamp: 3000,
        packet_count: 1,
        octet_count: 1,
    };
    world.send_rtcp(&mut ada, |buf| rtcp::sr::write(buf, &info, &[]));
    let first = world.media_of(&mut bob)[0].header.timestamp;
    let began = world.now;
    world.pass(1500);
    let (_, feedback) = world.taken(&mut ada);
    let blocks: Vec<u32> = feedback
        .iter()
        .flat_map(|compound| rtcp::packets(compound))
        .filter_map(|message| match message {
            Ok(Rtcp::ReceiverReport(report)) => Some(report.reports().map(|block| block.ssrc).collect()),
            _ => None,
        })
        .flat_map(|ssrcs: Vec<u32>| ssrcs)
        .collect();
    assert_eq!(blocks, [22, 22], "at 200 ms and a second later");
    let (_, feedback) = world.taken(&mut bob);
    let reports: Vec<rtcp::sr::SenderInfo> = feedback
        .iter()
        .flat_map(|compound| rtcp::packets(compound))
        .filter_map(|message| match message {
            Ok(Rtcp::SenderReport(report)) => Some(report.info()),
            _ => None,
        })
        .collect();
    assert!(!reports.is_empty());
    for report in reports {
        assert_eq!(report.ssrc, bob.slot_ssrc("4"));
        assert_eq!(
            (report.packet_count, report.octet_count),
            (1, vp8_payload(true, 1).len() as u32)
        );
        let elapsed = report.ntp.seconds_since(ours(began));
        let expected = first.wrapping_add((elapsed * 90_000.0) as u32);
        assert!(
            (report.rtp_timestamp.wrapping_sub(expected) as i32).abs() <= 90,
            "within a millisecond"
        );
    }
}

/// Our wall clock as the world has it.
fn ours(at: Time) -> crate::time::Ntp {
    WallClock::new(Duration::from_secs(1_800_000_000)).ntp(at)
}

#[test]
fn transport_feedback_is_given_where_it_was_agreed() {
    let (mut world, mut ada, _bob) = two();
    for seq in 1..=5u64 {
        let number = (seq as u16).to_be_bytes();
        let extensions: &[(u8, &[u8])] = &[(MID_ID, b"0"), (TWCC_ID, &number)];
        world.send(&mut ada, opus(seq, extensions, b"x"));
    }
    world.pass(150);
    let (_, feedback) = world.taken(&mut ada);
    let reported: usize = feedback
        .iter()
        .flat_map(|compound| rtcp::packets(compound))
        .map(|message| match message {
            Ok(Rtcp::Twcc(twcc)) => twcc.arrivals().count(),
            _ => 0,
        })
        .sum();
    assert_eq!((reported, world.counter("twcc_sent")), (5, 1));
}

#[test]
fn a_limit_falls_with_what_is_lost() {
    let mut world = World::new();
    let mut lines = vec![publishing("1", Source::Camera, "cam", &[])];
    for codec in &mut lines[0].codecs {
        codec.feedback.transport_cc = false;
        codec.feedback.remb = true;
    }
    let mut ada = world.join("rm_1", 1001, lines);
    let mut limits = Vec::new();
    for seq in (0..600).filter(|seq| seq % 3 != 2) {
        film(&mut world, &mut ada, seq, false);
        world.pass(10);
        let (_, feedback) = world.taken(&mut ada);
        for message in feedback.iter().flat_map(|compound| rtcp::packets(compound)) {
            if let Ok(Rtcp::Remb(remb)) = message {
                limits.push(remb.bitrate());
            }
        }
    }
    assert!(limits.len() > 3);
    assert!(limits.last() < limits.first(), "{limits:?}");
}
