//! Each rule of the rewriter by example, then all of them at once against a full history.

mod model;

use super::*;
use crate::time::Ntp;

const A: SourceId = SourceId(1);
const B: SourceId = SourceId(2);
const FPS_TICKS: i64 = 3000;

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn video() -> Rewriter {
    Rewriter::new(Kind::Video, 90_000, 100, 1_000_000)
}

/// A packet of a frame of its own.
fn frame(seq: u64, ts: i64) -> PacketMeta {
    PacketMeta {
        seq,
        ts,
        payload_len: 1000,
        marker: true,
        start_of_frame: true,
        ..PacketMeta::default()
    }
}

fn key(seq: u64, ts: i64) -> PacketMeta {
    PacketMeta {
        keyframe_start: true,
        ..frame(seq, ts)
    }
}

fn sr(now: Time, ntp_millis: u64, ts: i64) -> SrPair {
    SrPair {
        ntp: Ntp((3_900_000_000 << 32) + ((ntp_millis << 32) / 1000)),
        ts,
        received: now,
    }
}

fn seq_of(result: Result<Out, Withheld>) -> Result<u64, Withheld> {
    result.map(|out| out.seq)
}

#[test]
fn begins_with_a_key_frame_at_its_own_numbers() {
    let mut rewriter = video();
    assert_eq!(
        rewriter.rewrite(at(0), A, &key(7000, 5), None),
        Err(Withheld::OtherSource)
    );
    rewriter.switch(A, Relation::OtherTrack);
    assert_eq!(
        rewriter.rewrite(at(0), A, &frame(7000, 5), None),
        Err(Withheld::AwaitsEntry)
    );
    assert_eq!(rewriter.awaited(), Some(A));
    let out = rewriter.rewrite(at(33), A, &key(7001, 3005), None).unwrap();
    assert_eq!((out.seq, out.timestamp, out.switched), (100, 1_000_000, true));
    assert_eq!((rewriter.awaited(), rewriter.source()), (None, Some(A)));
    let out = rewriter.rewrite(at(66), A, &frame(7002, 6005), None).unwrap();
    assert_eq!((out.seq, out.timestamp, out.switched), (101, 1_003_000, false));
    assert_eq!(rewriter.timestamp(A, 9005), Some(1_006_000));
}

#[test]
fn the_first_number_leaves_room_for_the_rollover_guess() {
    let mut rewriter = Rewriter::new(Kind::Video, 90_000, u16::MAX, u32::MAX);
    rewriter.switch(A, Relation::OtherTrack);
    let out = rewriter.rewrite(at(0), A, &key(1, 1), None).unwrap();
    assert_eq!(out.seq, u64::from(FIRST_SEQ_END) - 1);
    let out = rewriter
        .rewrite(at(0), A, &frame(2, 1 + FPS_TICKS), None)
        .unwrap();
    assert_eq!(out.timestamp, 2999);
}

#[test]
fn a_gap_stays_and_a_late_packet_fills_it() {
    let mut rewriter = video();
    rewriter.switch(A, Relation::OtherTrack);
    for seq in [10, 11, 14] {
        let meta = if seq == 10 {
            key(seq, 0)
        } else {
            frame(seq, seq as i64 * 10)
        };
        rewriter.rewrite(at(0), A, &meta, None).unwrap();
    }
    assert_eq!(rewriter.highest(), Some(104));
    let out = rewriter.rewrite(at(5), A, &frame(12, 120), None);
    assert_eq!(seq_of(out), Ok(102));
    let out = rewriter.rewrite(at(5), A, &frame(12, 120), None);
    assert_eq!(out, Err(Withheld::Duplicate));
    let out = rewriter.rewrite(at(5), A, &frame(9, 90), None);
    assert_eq!(out, Err(Withheld::BeforeSwitch));
}

#[test]
fn what_is_dropped_on_purpose_leaves_no_gap() {
    let mut rewriter = video();
    rewriter.switch(A, Relation::OtherTrack);
    let picture = |seq: u64, id: i64| PacketMeta {
        picture_id: Some(id),
        ..frame(seq, id * FPS_TICKS)
    };
    let first = PacketMeta {
        keyframe_start: true,
        ..picture(10, 0x7ffe)
    };
    rewriter.rewrite(at(0), A, &first, None).unwrap();
    assert!(rewriter.discard(A, &picture(11, 0x7fff)));
    assert!(rewriter.discard(A, &picture(12, 0x7fff)));
    // 13 is lost, 14 is of the same picture: 13 is dropped with it.
    assert!(rewriter.discard(A, &picture(14, 0x7fff)));
    assert_eq!(
        rewriter.rewrite(at(0), A, &picture(13, 0x7fff), None),
        Err(Withheld::Dropped)
    );
    let out = rewriter.rewrite(at(0), A, &picture(15, 0x8000), None).unwrap();
    assert_eq!((out.seq, out.ids.picture_id), (101, Some(0x7fff)));
    // 16 is lost, and hides which picture 17 begins in.
    assert!(!rewriter.discard(A, &picture(17, 0x8001)));
    let out = rewriter.rewrite(at(0), A, &picture(17, 0x8001), None).unwrap();
    assert_eq!((out.seq, out.ids.picture_id), (103, Some(0)));
    assert!(
        !rewriter.discard(A, &picture(18, 0x8001)),
        "the picture is being sent"
    );
}

#[test]
fn padding_is_dropped_in_mid_picture() {
    let mut rewriter = video();
    rewriter.switch(A, Relation::OtherTrack);
    rewriter.rewrite(at(0), A, &key(10, 0), None).unwrap();
    let padding = PacketMeta {
        payload_len: 0,
        marker: false,
        ..frame(11, 0)
    };
    assert!(rewriter.discard(A, &padding));
    assert_eq!(seq_of(rewriter.rewrite(at(0), A, &frame(12, 0), None)), Ok(101));
    // Padding of a source that isn't forwarded changes nothing.
    assert!(rewriter.discard(B, &PacketMeta { seq: 13, ..padding }));
    assert_eq!(seq_of(rewriter.rewrite(at(0), A, &frame(13, 0), None)), Ok(102));
}

#[test]
fn layers_are_aligned_by_sender_reports() {
    let mut rewriter = video();
    rewriter.switch(A, Relation::OtherTrack);
    // A's time 90000 and B's time 7,000,000 are the same moment.
    let (report_a, report_b) = (sr(at(0), 1000, 90_000), sr(at(0), 1000, 7_000_000));
    rewriter
        .rewrite(at(0), A, &key(10, 90_000), Some(&report_a))
        .unwrap();
    rewriter.switch(B, Relation::SameTrack);
    let out = rewriter
        .rewrite(at(33), A, &frame(11, 93_000), Some(&report_a))
        .unwrap();
    assert_eq!(out.timestamp, 1_003_000, "the old layer goes on meanwhile");
    // Arrival is 40 ms late: it must not show.
    let out = rewriter
        .rewrite(at(106), B, &key(500, 7_006_000), Some(&report_b))
        .unwrap();
    assert_eq!((out.seq, out.timestamp, out.switched), (102, 1_006_000, true));
    assert_eq!(
        rewriter.rewrite(at(106), A, &frame(12, 96_000), Some(&report_a)),
        Err(Withheld::BeforeSwitch)
    );
}

#[test]
fn a_layer_that_lags_is_refused_once() {
    let mut rewriter = video();
    rewriter.switch(A, Relation::OtherTrack);
    let (report_a, report_b) = (sr(at(0), 1000, 0), sr(at(0), 1000, 0));
    rewriter.rewrite(at(0), A, &key(10, 0), Some(&report_a)).unwrap();
    rewriter
        .rewrite(at(100), A, &frame(11, 9000), Some(&report_a))
        .unwrap();
    rewriter.switch(B, Relation::SameTrack);
    let lagging = key(500, 9000 - 4501);
    assert_eq!(
        rewriter.rewrite(at(100), B, &lagging, Some(&report_b)),
        Err(Withheld::NotAligned)
    );
    let out = rewriter
        .rewrite(at(600), B, &key(520, 4000), Some(&report_b))
        .unwrap();
    assert_eq!(out.timestamp, 1_009_001);
}

#[test]
fn a_layer_slightly_behind_starts_one_tick_after() {
    let mut rewriter = video();
    rewriter.switch(A, Relation::OtherTrack);
    let report = sr(at(0), 1000, 0);
    rewriter.rewrite(at(0), A, &key(10, 9000), Some(&report)).unwrap();
    rewriter.switch(B, Relation::SameTrack);
    let out = rewriter
        .rewrite(at(10), B, &key(500, 9000 - 4500), Some(&report))
        .unwrap();
    assert_eq!(out.timestamp, 1_000_001);
}

#[test]
fn without_sender_reports_elapsed_time_decides_after_a_while() {
    let mut rewriter = video();
    rewriter.switch(A, Relation::OtherTrack);
    rewriter.rewrite(at(0), A, &key(10, 0), None).unwrap();
    rewriter.switch(B, Relation::SameTrack);
    let refused = rewriter.rewrite(at(10), B, &key(500, 777), None);
    assert_eq!(refused, Err(Withheld::NotAligned));
    rewriter.rewrite(at(400), A, &frame(11, 36_000), None).unwrap();
    let refused = rewriter.rewrite(at(509), B, &key(510, 777), None);
    assert_eq!(refused, Err(Withheld::NotAligned));
    let out = rewriter.rewrite(at(510), B, &key(511, 777), None).unwrap();
    assert_eq!(out.timestamp, 1_036_000 + 110 * 90);
}

#[test]
fn a_stale_or_absurd_report_is_no_report() {
    let mut rewriter = video();
    rewriter.switch(A, Relation::OtherTrack);
    let report = sr(at(0), 1000, 0);
    rewriter.rewrite(at(0), A, &key(10, 0), Some(&report)).unwrap();
    rewriter.switch(B, Relation::SameTrack);
    let absurd = sr(at(0), 60_000, 0);
    assert_eq!(
        rewriter.rewrite(at(10), B, &key(500, 0), Some(&absurd)),
        Err(Withheld::NotAligned)
    );
    let out = rewriter
        .rewrite(at(10_000), B, &key(510, 900_000), Some(&report))
        .unwrap();
    assert_eq!(out.timestamp, 1_900_000, "by elapsed time");
}

#[test]
fn another_track_stops_the_old_and_goes_by_elapsed_time() {
    let mut rewriter = video();
    rewriter.switch(A, Relation::OtherTrack);
    let cut = PacketMeta {
        marker: false,
        ..key(10, 0)
    };
    rewriter.rewrite(at(0), A, &cut, None).unwrap();
    rewriter.switch(B, Relation::OtherTrack);
    assert_eq!(rewriter.source(), None);
    assert_eq!(
        rewriter.rewrite(at(1), A, &frame(11, 0), None),
        Err(Withheld::OtherSource)
    );
    let out = rewriter.rewrite(at(1000), B, &key(1, 1), None).unwrap();
    // One number is skipped: the last frame was cut.
    assert_eq!((out.seq, out.timestamp), (102, 1_090_000));
}

#[test]
fn a_pause_of_the_same_source_keeps_its_timeline() {
    let mut rewriter = video();
    rewriter.switch(A, Relation::OtherTrack);
    rewriter.rewrite(at(0), A, &key(10, 0), None).unwrap();
    rewriter.stop();
    assert_eq!(
        rewriter.rewrite(at(33), A, &key(11, 3000), None),
        Err(Withheld::OtherSource)
    );
    rewriter.switch(A, Relation::SameTrack);
    assert_eq!(
        rewriter.rewrite(at(2000), A, &key(9, -3000), None),
        Err(Withheld::BeforeSwitch)
    );
    let out = rewriter.rewrite(at(2040), A, &key(60, 2000 * 90), None).unwrap();
    assert_eq!((out.seq, out.timestamp), (101, 1_180_000), "not 40 ms later");
    // A clock that stood still while paused can't be believed.
    rewriter.stop();
    rewriter.switch(A, Relation::SameTrack);
    let out = rewriter
        .rewrite(at(12_040), A, &key(61, 2000 * 90 + 3000), None)
        .unwrap();
    assert_eq!(out.timestamp, 1_180_000 + 900_000);
}

#[test]
fn how_long_an_entry_point_was_repaired_is_no_part_of_its_time() {
    let follows = |millis: u64, ts: i64| PacketMeta {
        arrival: at(millis),
        ..frame(20, ts)
    };
    let late = |newest: Option<PacketMeta>| {
        let mut rewriter = video();
        rewriter.switch(A, Relation::OtherTrack);
        rewriter.rewrite(at(0), A, &key(10, 0), None).unwrap();
        rewriter.stop();
        rewriter.switch(A, Relation::SameTrack);
        if let Some(newest) = newest {
            rewriter.awaited_is_at(&newest);
        }
        // Sent after half a second, and there a quarter later.
        let out = rewriter.rewrite(at(750), A, &key(15, 45_000), None).unwrap();
        i64::from(out.timestamp) - 1_000_000
    };
    assert_eq!(late(None), 67_500, "as if its clock had stood still");
    let overtaken = follows(740, 45_000 + 240 * 90);
    assert_eq!(late(Some(overtaken)), 45_000);
    // Of its own picture.
    assert_eq!(late(Some(follows(503, 45_000))), 45_000);
    // What came with it says nothing against its arrival.
    assert_eq!(late(Some(follows(760, 45_000))), 67_500);
    let jumped = follows(740, 45_000 + 3 * 90_000);
    assert_eq!(late(Some(jumped)), 67_500);
    let restarted = follows(740, -1);
    assert_eq!(late(Some(restarted)), 67_500);
}

#[test]
fn another_track_begins_where_its_entry_point_was_due() {
    let mut rewriter = video();
    rewriter.switch(A, Relation::OtherTrack);
    rewriter.rewrite(at(0), A, &key(10, 0), None).unwrap();
    rewriter.switch(B, Relation::OtherTrack);
    rewriter.awaited_is_at(&PacketMeta {
        arrival: at(400),
        ..frame(509, 777 + 9 * FPS_TICKS)
    });
    let out = rewriter.rewrite(at(405), B, &key(500, 777), None).unwrap();
    assert_eq!(out.timestamp, 1_009_000, "100 ms after, and not 405");
    // What follows comes in its own time.
    let out = rewriter
        .rewrite(at(433), B, &frame(510, 777 + 10 * FPS_TICKS), None)
        .unwrap();
    assert_eq!(out.timestamp, 1_009_000 + 30_000);
}

#[test]
fn picture_ids_go_on_over_a_change_of_track() {
    let ids = |id: i64, tl0: u8, keyidx: u8, meta: PacketMeta| PacketMeta {
        picture_id: Some(id),
        tl0picidx: Some(tl0),
        keyidx: Some(keyidx),
        ..meta
    };
    let mut rewriter = video();
    rewriter.switch(A, Relation::OtherTrack);
    let first = ids(0xffff, 255, 31, key(10, 0));
    let out = rewriter.rewrite(at(0), A, &first, None).unwrap();
    assert_eq!(out.ids.picture_id, Some(0x7fff));
    rewriter.switch(B, Relation::OtherTrack);
    let second = ids(0x8123, 7, 7, key(10, 0));
    let out = rewriter.rewrite(at(33), B, &second, None).unwrap();
    assert_eq!(
        out.ids,
        PictureIds {
            picture_id: Some(0),
            tl0picidx: Some(0),
            keyidx: Some(0),
            ..PictureIds::default()
        }
    );
    // A source without ids gets none; one after it goes on where they ended.
    rewriter.switch(A, Relation::OtherTrack);
    let out = rewriter.rewrite(at(66), A, &key(20, 0), None).unwrap();
    assert_eq!(out.ids, PictureIds::default());
    rewriter.switch(B, Relation::OtherTrack);
    let out = rewriter
        .rewrite(at(99), B, &ids(0x8200, 9, 8, key(20, 0)), None)
        .unwrap();
    assert_eq!(out.ids.picture_id, Some(1));
}

#[test]
fn stragglers_fill_holes_for_a_moment() {
    let mut rewriter = video();
    rewriter.switch(A, Relation::OtherTrack);
    rewriter.rewrite(at(0), A, &key(10, 0), None).unwrap();
    rewriter.rewrite(at(0), A, &frame(13, 9000), None).unwrap();
    rewriter.switch(B, Relation::OtherTrack);
    rewriter.rewrite(at(10), B, &key(1, 1), None).unwrap();
    let straggler = rewriter.rewrite(at(100), A, &frame(11, 3000), None);
    assert_eq!(seq_of(straggler), Ok(101));
    assert_eq!(
        rewriter.rewrite(at(100), A, &frame(14, 12_000), None),
        Err(Withheld::BeforeSwitch),
        "beyond the switch"
    );
    assert_eq!(
        rewriter.rewrite(at(210), A, &frame(12, 6000), None),
        Err(Withheld::OtherSource)
    );
}

#[test]
fn a_restart_of_the_source_is_not_passed_on() {
    let mut rewriter = video();
    rewriter.switch(A, Relation::OtherTrack);
    rewriter.rewrite(at(0), A, &key(70_000, 0), None).unwrap();
    let out = rewriter.rewrite(at(33), A, &frame(100_000, 3000), None).unwrap();
    assert_eq!((out.seq, out.timestamp), (101, 1_002_970));
    let out = rewriter
        .rewrite(at(66), A, &frame(100_001, -900_000), None)
        .unwrap();
    assert_eq!((out.seq, out.timestamp), (102, 1_005_940));
}

#[test]
fn audio_changes_occupant_by_whole_packets() {
    let mut rewriter = Rewriter::new(Kind::Audio, 48_000, 100, 960);
    rewriter.switch(A, Relation::OtherTrack);
    let packet = |seq, ts| PacketMeta {
        seq,
        ts,
        payload_len: 80,
        ..PacketMeta::default()
    };
    let out = rewriter.rewrite(at(0), A, &packet(5, 0), None).unwrap();
    assert_eq!((out.seq, out.timestamp, out.marker), (100, 960, true));
    let out = rewriter.rewrite(at(20), A, &packet(6, 960), None).unwrap();
    assert!(!out.marker);
    rewriter.switch(B, Relation::OtherTrack);
    let out = rewriter.rewrite(at(21), B, &packet(900, 12_345), None).unwrap();
    assert_eq!((out.seq, out.timestamp, out.marker), (102, 1920 + 960, true));
    rewriter.switch(A, Relation::OtherTrack);
    let out = rewriter.rewrite(at(141), A, &packet(12, 960 * 7), None).unwrap();
    assert_eq!((out.seq, out.timestamp), (103, 1920 + 960 + 960 * 6));
}
