//! Strangers, forgers and authenticated peers that misbehave.

use super::*;
use crate::wire::rtcp;

#[test]
fn what_no_session_sent_leaves_a_counter_and_nothing_else() {
    let (mut world, mut ada, _bob) = two();
    let stranger = SocketAddr::from(([198, 51, 100, 1], 9));
    let before = world.snapshot();
    let sealed = ada.seal(opus(1, MIC, b"x"));
    world.receive(stranger, &mut sealed.clone());
    let mut hello = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    world.receive(stranger, &mut hello);
    assert_eq!(world.counter("drop_unknown_tuple"), 2);

    let mut forged = check_of(&ada.description);
    let last = forged.len() - 20;
    forged[last] ^= 1;
    world.receive(stranger, &mut forged);
    let mut other = ada.description.clone();
    other.pwd.push('x');
    world.receive(stranger, &mut check_of(&other));
    other.ufrag = "zzzz".into();
    world.receive(stranger, &mut check_of(&other));
    assert_eq!(world.counter("drop_stun_integrity"), 1);
    assert_eq!(world.counter("drop_stun_malformed"), 1, "its CRC is wrong too");
    assert_eq!(world.counter("drop_stun_unknown_user"), 1);
    world.receive(stranger, &mut [0xff; 40]);
    world.receive(stranger, &mut []);
    assert_eq!(world.counter("drop_unknown_class"), 2);

    let mut bad_tag = sealed.clone();
    *bad_tag.last_mut().expect("a tag") ^= 1;
    world.receive(ada.address, &mut bad_tag);
    assert_eq!(world.counter("drop_srtp_auth"), 1);
    world.receive(ada.address, &mut sealed.clone());
    world.receive(ada.address, &mut sealed.clone());
    assert_eq!(world.counter("drop_srtp_replay"), 1);

    world.gather();
    assert!(world.sent.iter().all(|(to, _)| *to != stranger));
    assert_eq!(world.shard.flows.len(), 2);
    let mut after = world.snapshot();
    after[0].tracks[0].started = false;
    after[1].slots.clone_from(&before[1].slots);
    assert_eq!(after, before);
}

#[test]
fn an_address_belongs_to_whoever_proved_it_last() {
    let mut world = World::new();
    let mut old = world.join("rm_1", 1001, person("old"));
    // A page was reloaded, and the new session comes over the very same port.
    let mut new = world.join("rm_1", 1001, person("new"));
    world
        .ask(Request::CloseSession { session: old.id })
        .expect("there");
    world.send(&mut new, opus(1, MIC, b"x"));
    assert_eq!(
        world.counter("rtp_in"),
        1,
        "closing the old one took nothing from the new one"
    );

    // And back: a check takes an address back that another session's check took away.
    old = world.join("rm_1", 1002, person("old"));
    let other = world.join("rm_1", 1002, person("other"));
    world.check(&old);
    world.send(&mut old, opus(1, MIC, b"x"));
    assert_eq!(world.counter("rtp_in"), 2);
    world
        .ask(Request::CloseSession { session: other.id })
        .expect("there");
    world.send(&mut old, opus(2, MIC, b"x"));
    assert_eq!(world.counter("rtp_in"), 3);
    world
        .ask(Request::CloseSession { session: old.id })
        .expect("there");
    assert_eq!(world.shard.flows.len(), 1);
}

#[test]
fn a_stream_that_was_replaced_does_not_come_back() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    film(&mut world, &mut ada, 1, true);
    let payload = vp8_payload(true, 2);
    let newer = |seq| Media {
        ssrc: 99,
        ..frame(seq, &payload, CAM)
    };
    world.send(&mut ada, newer(1000));
    world.pass(600);
    world.send(&mut ada, newer(1001));
    world.media_of(&mut bob);
    // A straggler of the first one must not throw away what is known of the second.
    film(&mut world, &mut ada, 2, true);
    assert_eq!(world.counter("drop_rtp_unmapped"), 1);
    world.send(&mut ada, newer(1002));
    assert_eq!(world.media_of(&mut bob).len(), 1);
}

#[test]
fn a_flood_of_late_key_frames_is_bounded() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    let late: Vec<u64> = (1..900).filter(|seq| seq % 2 == 1).collect();
    for seq in (0..900).filter(|seq| seq % 2 == 0) {
        film(&mut world, &mut ada, seq, false);
    }
    for seq in late {
        film(&mut world, &mut ada, seq, true);
    }
    let full = world.counter("drop_outbox_full");
    assert!(full < 1000, "{full} refused by a full queue");
    world.media_of(&mut bob);
    assert_eq!(world.counter("bug_egress_guard"), 0);
}

#[test]
fn requests_for_key_frames_are_bounded_and_those_of_strangers_ignored() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    film(&mut world, &mut ada, 1, true);
    world.gather();
    let ssrc = bob.slot_ssrc("4");
    for step in 0..100u64 {
        for _ in 0..10 {
            world.send_rtcp(&mut bob, |buf| rtcp::pli::write(buf, 1, ssrc));
            world.send_rtcp(&mut bob, |buf| rtcp::pli::write(buf, 1, 4242));
        }
        world.pass(30);
        film(&mut world, &mut ada, 2 + step, true);
        world.gather();
    }
    assert_eq!(world.counter("pli_received"), 2000);
    assert!(world.counter("pli_sent") <= 4, "{}", world.counter("pli_sent"));
}

#[test]
fn timers_stay_few_however_busy_a_session_is() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    for seq in 1..2000u64 {
        let number = (seq as u16).to_be_bytes();
        let extensions: &[(u8, &[u8])] = &[(MID_ID, b"1"), (TWCC_ID, &number)];
        let payload = vp8_payload(seq % 100 == 1, seq as u16);
        if seq % 7 != 0 {
            world.send(&mut ada, frame(seq, &payload, extensions));
        }
        world.pass(5);
        world.check(&ada);
        world.check(&bob);
        world.media_of(&mut bob);
        world.media_of(&mut ada);
    }
    let pending = world.shard.timers.len();
    assert!(pending < 1000, "{pending} entries for two sessions");
    assert!(world.shard.ready.is_empty() && world.shard.wanting.is_empty());
}
