//! Packets from a publisher to a subscriber.

use super::*;
use crate::codec::vp8;
use crate::wire::rtcp;

#[test]
fn opus_goes_from_one_to_the_other_with_its_level() {
    let (mut world, mut ada, mut bob) = two();
    for seq in 1..=3 {
        let extensions: &[(u8, &[u8])] = &[(MID_ID, b"0"), (LEVEL_ID, &[0x80 | 30])];
        world.send(&mut ada, opus(seq, extensions, &[seq as u8; 50]));
    }
    let heard = world.media_of(&mut bob);
    assert_eq!(heard.len(), 3);
    for (index, packet) in heard.iter().enumerate() {
        assert_eq!(packet.header.ssrc, bob.slot_ssrc("2"));
        assert_eq!(packet.header.payload_type, OPUS);
        assert_eq!(
            packet.mid.as_deref(),
            Some("2"),
            "the receiver's line, not the sender's"
        );
        assert_eq!(packet.level, Some(0x80 | 30));
        assert_eq!(packet.payload, [index as u8 + 1; 50]);
        assert_eq!(packet.header.sequence, heard[0].header.sequence + index as u16);
        let ticks = packet.header.timestamp.wrapping_sub(heard[0].header.timestamp);
        assert_eq!(ticks, 960 * index as u32);
    }
    assert_eq!(world.media_of(&mut ada), [], "nobody hears themselves");
}

#[test]
fn video_begins_with_a_key_frame_that_was_asked_for_once() {
    let mut world = World::new();
    let mut ada = world.join("rm_1", 1000, person("ada"));
    film(&mut world, &mut ada, 1, true);
    let mut crowd: Vec<Peer> = (1..=20)
        .map(|index| world.join("rm_1", 1000 + index, person(&format!("p{index}"))))
        .collect();
    for peer in &crowd {
        world.show(peer, "4", Some("ada_cam"));
    }
    film(&mut world, &mut ada, 2, false);
    world.pass(100);
    assert_eq!(world.counter("pli_sent"), 1);
    film(&mut world, &mut ada, 3, true);
    film(&mut world, &mut ada, 4, false);
    for peer in &mut crowd {
        let seen: Vec<Vec<u8>> = world.media_of(peer).into_iter().map(|got| got.payload).collect();
        assert_eq!(seen, [vp8_payload(true, 3), vp8_payload(false, 4)]);
    }
    world.pass(3000);
    assert_eq!(world.counter("pli_sent"), 1);
}

#[test]
fn a_request_ends_with_those_who_waited() {
    let (mut world, mut ada, bob) = two();
    film(&mut world, &mut ada, 1, false);
    world.show(&bob, "4", Some("ada_cam"));
    world.pass(3000);
    let asked = world.counter("pli_sent");
    assert!(asked > 1, "it is repeated while he waits");
    world.show(&bob, "4", None);
    world.pass(3000);
    assert_eq!(world.counter("pli_sent"), asked);
}

#[test]
fn nobody_without_keys_asks_for_a_key_frame() {
    let mut world = World::new();
    let mut ada = world.join("rm_1", 1000, person("ada"));
    film(&mut world, &mut ada, 1, true);
    let (id, _) = world.open("rm_1", person("bob"));
    world
        .ask(Request::SetSlot {
            session: id,
            mid: Mid::new("4").expect("valid"),
            track: Some(TrackId::new("ada_cam").expect("valid")),
            wish: SlotWish::default(),
        })
        .expect("accepted");
    film(&mut world, &mut ada, 2, false);
    world.pass(500);
    assert_eq!(world.counter("pli_sent"), 0, "it would be lost on him");
    assert!(world.shard.inject_keys(world.now, id, &keys(id)));
    world.pass(100);
    assert_eq!(world.counter("pli_sent"), 1);
}

#[test]
fn a_receiver_that_repeats_itself_is_one_that_waits() {
    let (mut world, mut ada, mut bob) = two();
    film(&mut world, &mut ada, 1, true);
    world.show(&bob, "4", Some("ada_cam"));
    film(&mut world, &mut ada, 2, true);
    world.pass(1000);
    let media = bob.slot_ssrc("4");
    let mut next = 3;
    // Three key frames get lost on his path, and he asks ten times for each.
    for lost in 1..=3 {
        let asked = world.counter("pli_sent");
        for _ in 0..10 {
            world.send_rtcp(&mut bob, |buf| rtcp::pli::write(buf, 1, media));
            world.pass(200);
        }
        assert!(world.counter("pli_sent") > asked, "key frame {lost}");
        film(&mut world, &mut ada, next, true);
        film(&mut world, &mut ada, next + 1, false);
        next += 2;
        world.pass(10);
    }
    // Who asks on and on is heard every other second, though the track's own gate would let more pass.
    let asked = world.counter("pli_sent");
    for _ in 0..16 {
        world.send_rtcp(&mut bob, |buf| rtcp::pli::write(buf, 1, media));
        world.pass(250);
        film(&mut world, &mut ada, next, true);
        next += 1;
        world.pass(250);
    }
    let heard = world.counter("pli_sent") - asked;
    assert!((4..=7).contains(&heard), "{heard} in eight seconds");
}

#[test]
fn what_waits_when_a_track_is_muted_is_not_sent() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    world.send(&mut ada, opus(1, MIC, b"x"));
    film(&mut world, &mut ada, 1, true);
    assert_eq!(world.media_of(&mut bob).len(), 2);

    world.send(&mut ada, opus(2, MIC, b"secret"));
    film(&mut world, &mut ada, 2, true);
    world.mute(&ada, "ada_mic", true);
    world.mute(&ada, "ada_cam", true);
    assert_eq!(world.media_of(&mut bob), []);
    world.send(&mut ada, opus(3, MIC, b"secret"));
    film(&mut world, &mut ada, 3, true);
    assert_eq!(world.media_of(&mut bob), []);

    world.pass(1000);
    let asked = world.counter("pli_sent");
    world.pass(5000);
    assert_eq!(world.counter("pli_sent"), asked, "nobody waits for a muted track");
    world.mute(&ada, "ada_mic", false);
    world.mute(&ada, "ada_cam", false);
    world.send(&mut ada, opus(4, MIC, b"y"));
    film(&mut world, &mut ada, 4, false);
    film(&mut world, &mut ada, 5, true);
    let seen = world.media_of(&mut bob);
    let payloads: Vec<&[u8]> = seen.iter().map(|got| got.payload.as_slice()).collect();
    assert_eq!(payloads.len(), 2);
    assert_eq!(payloads[0], b"y");
    assert!(seen[0].header.marker, "a talkspurt begins");
    assert!(vp8::Descriptor::parse(payloads[1]).is_ok_and(|descriptor| descriptor.is_keyframe()));
}

#[test]
fn what_was_sent_while_muted_is_never_shown() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    film(&mut world, &mut ada, 1, true);
    world.media_of(&mut bob);
    world.mute(&ada, "ada_cam", true);
    // The key frame 2 is lost on its way here, and comes again when she is no longer muted.
    film(&mut world, &mut ada, 3, false);
    world.mute(&ada, "ada_cam", false);
    let payload = [&2u16.to_be_bytes()[..], &vp8_payload(true, 2)].concat();
    let again = Media {
        pt: VP8_RTX,
        ssrc: 23,
        ts: 2 * 3000,
        ..frame(500, &payload, CAM)
    };
    world.send(&mut ada, again);
    assert_eq!(world.media_of(&mut bob), []);
    film(&mut world, &mut ada, 4, true);
    assert_eq!(world.media_of(&mut bob).len(), 1);
}

#[test]
fn a_slot_that_changes_hands_goes_on_counting() {
    let (mut world, mut ada, mut bob) = two();
    let mut eve = world.join("rm_1", 1003, person("eve"));
    let mut seen = Vec::new();
    for (round, seq) in [10, 20, 30].into_iter().enumerate() {
        let (peer, track) = match round % 2 {
            0 => (&mut ada, "ada_cam"),
            _ => (&mut eve, "eve_cam"),
        };
        world.show(&bob, "4", Some(track));
        film(&mut world, peer, seq, true);
        film(&mut world, peer, seq + 1, false);
        world.pass(40);
        seen.extend(world.media_of(&mut bob));
    }
    assert_eq!(seen.len(), 6);
    for pair in seen.windows(2) {
        assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
        let step = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp) as i32;
        assert!(step > 0, "{step}");
        let id = |got: &Got| vp8::Descriptor::parse(&got.payload).expect("VP8").picture_id;
        let (before, after) = (id(&pair[0]).expect("there"), id(&pair[1]).expect("there"));
        assert_eq!(after.value(), before.value() + 1);
    }
    assert_eq!(world.counter("bug_egress_guard"), 0);
}

#[test]
fn a_short_picture_id_is_widened_and_the_rest_is_whole() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    let payload = [
        &[0x90, 0x80, 0x05, 0x10, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1][..],
        &[9; 1200],
    ]
    .concat();
    world.send(&mut ada, frame(1, &payload, CAM));
    let seen = world.media_of(&mut bob);
    assert_eq!(seen[0].payload.len(), payload.len() + 1);
    assert_eq!(seen[0].payload[4..], payload[3..]);
}

#[test]
fn a_codec_the_receiver_lacks_is_a_reason() {
    let mut world = World::new();
    let mut ada = world.join("rm_1", 1001, person("ada"));
    let mut only_h264 = slot("0", Kind::Video);
    only_h264.codecs.remove(0);
    let mut bob = world.join("rm_1", 1002, vec![only_h264]);
    world.show(&bob, "0", Some("ada_cam"));
    assert!(!codec_reason(&world.slot(&bob, "0")), "nothing came yet");
    film(&mut world, &mut ada, 1, true);
    assert!(codec_reason(&world.slot(&bob, "0")));
    assert_eq!(world.media_of(&mut bob), []);
    assert_eq!(
        world.counter("drop_codec"),
        0,
        "what he can't decode does not even wait"
    );

    // The publisher changes to what he can take: that is news as well.
    let extensions = CAM;
    let sps_and_idr = [24, 0, 2, 0x67, 1, 0, 2, 0x65, 1];
    world.send(
        &mut ada,
        Media {
            pt: H264,
            ..frame(2, &sps_and_idr, extensions)
        },
    );
    assert!(!codec_reason(&world.slot(&bob, "0")));
    let seen = world.media_of(&mut bob);
    assert_eq!((seen.len(), seen[0].header.payload_type), (1, H264));
}

#[test]
fn the_best_layer_is_shown_and_another_when_it_stops() {
    let mut world = World::new();
    let lines = vec![publishing("1", Source::Camera, "cam", &["q", "h"])];
    let mut ada = world.join("rm_1", 1001, lines);
    let mut bob = world.join("rm_1", 1002, vec![slot("0", Kind::Video)]);
    world.show(&bob, "0", Some("cam"));
    let low: &[(u8, &[u8])] = &[(MID_ID, b"1"), (RID_ID, b"q")];
    let high: &[(u8, &[u8])] = &[(MID_ID, b"1"), (RID_ID, b"h")];
    let mut step = |world: &mut World, seq: u64, with_high: bool| {
        // Key frames come as they are asked for; here simply every half second.
        let payload = vp8_payload(seq.is_multiple_of(15), seq as u16);
        let thin = Media {
            ssrc: 31,
            ..frame(seq, &payload, low)
        };
        world.send(&mut ada, thin);
        if with_high {
            let wide = [payload.as_slice(), &[1; 500]].concat();
            world.send(
                &mut ada,
                Media {
                    ssrc: 32,
                    ..frame(seq, &wide, high)
                },
            );
        }
        world.pass(33);
        world.check(&ada);
        world.check(&bob);
        world.media_of(&mut bob)
    };
    let mut wide = 0;
    for seq in 0..120 {
        let seen = step(&mut world, seq, true);
        wide = if seen.iter().any(|got| got.payload.len() > 500) {
            wide + 1
        } else {
            0
        };
    }
    assert!(wide > 30, "the larger layer flows, for {wide} frames by now");
    let mut thin = 0;
    for seq in 120..270 {
        let seen = step(&mut world, seq, false);
        thin = if seen.is_empty() { 0 } else { thin + 1 };
    }
    assert!(thin > 20, "the smaller one took over, {thin} frames ago");
    assert_eq!(world.counter("bug_egress_guard"), 0);
}

#[test]
fn a_line_may_send_and_receive() {
    let mut world = World::new();
    let both = |track: &str| MediaLine {
        slot: true,
        ..publishing("0", Source::Microphone, track, &[])
    };
    let mut ada = world.join("rm_1", 1001, vec![both("a")]);
    let mut bob = world.join("rm_1", 1002, vec![both("b")]);
    world.send(&mut ada, opus(1, MIC, b"from ada"));
    world.send(&mut bob, opus(1, MIC, b"from bob"));
    world.send(&mut ada, opus(2, MIC, b"again"));
    assert_eq!(world.media_of(&mut ada)[0].payload, b"from bob");
    assert_eq!(world.media_of(&mut bob)[1].payload, b"again");
}
