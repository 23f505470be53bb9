//! The ways to a peer: restarts of ICE, changes of address, connections.

use kall_shared::link::RefusalCode;

use super::*;
use crate::address::ConnectionId;

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], port))
}

fn connection(port: u16, index: u32) -> TransportAddress {
    TransportAddress::Tcp(at(port), ConnectionId { index, epoch: 0 })
}

/// As the person's browser offers after `restartIce`.
fn restarted(lines: Vec<MediaLine>, ufrag: &str) -> SessionParams {
    let mut params = params(lines);
    params.transport.ufrag = ufrag.to_owned();
    params.transport.pwd = format!("another password of {ufrag}");
    params
}

fn offer(world: &mut World, peer: &Peer, params: SessionParams) -> SessionDescription {
    let request = Request::UpdateSession {
        session: peer.id,
        label: None,
        params,
    };
    match world.ask(request).expect("accepted") {
        Response::Session { session, description } => {
            assert_eq!(session, peer.id);
            description
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_ice_restart_keeps_the_session_and_its_keys() {
    let (mut world, mut ada, mut bob) = two();
    world.send(&mut ada, opus(1, MIC, b"before"));
    assert_eq!(world.media_of(&mut bob).len(), 1);
    let described = ada.description.clone();

    let next = offer(&mut world, &ada, restarted(person("ada"), "renewed"));
    assert_ne!(next.ufrag, described.ufrag);
    assert_ne!(next.pwd, described.pwd);
    assert_eq!(
        SessionDescription {
            ufrag: described.ufrag.clone(),
            pwd: described.pwd.clone(),
            ..next.clone()
        },
        described,
        "nothing else is new"
    );
    let snapshot = world.snapshot();
    assert_eq!(snapshot[0].description, next);
    assert_eq!(snapshot[0].params.transport.ufrag, "renewed");

    // Until the new one is nominated, the old pair carries everything, and its checks are answered.
    world.send(&mut ada, opus(2, MIC, b"meanwhile"));
    assert_eq!(world.media_of(&mut bob).len(), 1);
    let answered = world.counter("stun_answered");
    world.check(&ada);
    assert_eq!(world.counter("stun_answered"), answered + 1);

    // Another address, the new credentials, the same streams.
    let old = ada.address;
    ada.address = at(2001);
    world.receive(ada.address, &mut check_from(&next, "renewed"));
    world.send(&mut ada, opus(3, MIC, b"after"));
    let got = world.media_of(&mut bob);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].payload, b"after");
    world.send(&mut bob, opus(1, MIC, b"back"));
    assert_eq!(world.media_of(&mut ada).len(), 1, "to the new address");

    world.receive(old, &mut check_of(&described));
    assert_eq!(
        world.counter("drop_stun_unknown_user"),
        1,
        "the old ones are over"
    );
    assert_eq!(world.counter("ice_restarts"), 1);
    assert_eq!(
        world.counter("drop_srtp_auth") + world.counter("drop_srtp_replay"),
        0
    );
    let connected = world
        .events
        .iter()
        .filter(|event| matches!(event, Event::SessionConnected { session, .. } if *session == ada.id));
    assert_eq!(connected.count(), 1);
}

#[test]
fn an_offer_with_the_same_credentials_restarts_nothing() {
    let (mut world, ada, _bob) = two();
    let again = offer(&mut world, &ada, params(person("ada")));
    assert_eq!(again, ada.description);
    assert_eq!(world.counter("ice_restarts"), 0);
}

#[test]
fn another_certificate_is_another_session() {
    let (mut world, ada, _bob) = two();
    let mut foreign = restarted(person("ada"), "renewed");
    foreign.transport.fingerprints[0].sha256 = [9; 32];
    let request = Request::UpdateSession {
        session: ada.id,
        label: None,
        params: foreign,
    };
    assert_eq!(
        world.ask(request).expect_err("refused").code,
        RefusalCode::Invalid
    );
    assert_eq!(world.snapshot()[0].description, ada.description);
}

#[test]
fn a_nat_that_forgot_moves_the_path_and_the_estimate_begins_anew() {
    let (mut world, mut ada, mut bob) = two();
    bob.address = at(1003);
    world.check(&bob);
    assert_eq!(world.counter("path_changes"), 1);
    world.send(&mut ada, opus(1, MIC, b"x"));
    assert_eq!(world.media_of(&mut bob).len(), 1);
    assert!(
        world
            .shard
            .sessions
            .iter()
            .all(|(_, session)| session.rtt == crate::session::DEFAULT_RTT),
        "what was measured belonged to the old path"
    );
}

#[test]
fn media_on_another_validated_path_moves_a_silent_one() {
    let (mut world, mut ada, mut bob) = two();
    // Two addresses, the second without nomination: nominated stays the first.
    let mut probe = check_from(&ada.description, "peer");
    world.receive(at(2002), &mut probe);
    world.check(&ada);
    assert_eq!(world.counter("path_changes"), 2);
    world.pass(5000);
    ada.address = at(2002);
    world.send(&mut ada, opus(1, MIC, b"x"));
    assert_eq!(world.counter("path_changes"), 3);
    world.send(&mut bob, opus(1, MIC, b"y"));
    assert_eq!(world.media_of(&mut ada).len(), 1);
}

#[test]
fn a_bare_question_is_answered_only_where_it_is_wanted_and_not_without_end() {
    let (mut world, ..) = two();
    // RFC 8489 section 5: type, no attributes, cookie, transaction.
    let mut question = [0; 20];
    question[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
    question[8..].copy_from_slice(&[7; 12]);
    let stranger = SocketAddr::from(([198, 51, 100, 1], 40_123));
    world.receive(stranger, &mut question.clone());
    assert_eq!(world.counter("drop_stun_unknown_user"), 1);
    world.shard.answer_bare_stun();
    world.sent.clear();
    world.receive(stranger, &mut question.clone());
    world.gather();
    let (to, answer) = world.sent.last().expect("an answer").clone();
    assert_eq!(to, stranger);
    let answer = stun::Message::parse(&answer).expect("STUN");
    assert_eq!(answer.class(), stun::Class::Success);
    assert_eq!(answer.mapped_address(), Some(stranger));
    for _ in 0..1000 {
        world.receive(stranger, &mut question.clone());
    }
    assert_eq!(world.counter("stun_bare_answered"), 400);
    assert_eq!(world.counter("drop_stun_rate"), 601);
}

#[test]
fn checks_of_a_stranger_are_bounded_and_those_of_a_session_are_not() {
    let (mut world, ada, _bob) = two();
    let mut forged = ada.description.clone();
    forged.pwd.push('x');
    let stranger = SocketAddr::from(([198, 51, 100, 1], 9));
    for _ in 0..1000 {
        world.receive(stranger, &mut check_of(&forged));
    }
    // One was its own, when it came.
    assert_eq!(world.counter("drop_stun_integrity"), 99);
    assert_eq!(world.counter("drop_stun_rate"), 901);
    // Even from the address it forges, it takes nothing from whoever lives there.
    for _ in 0..1000 {
        world.receive(ada.address, &mut check_of(&forged));
    }
    let answered = world.counter("stun_answered");
    world.check(&ada);
    assert_eq!(world.counter("stun_answered"), answered + 1);
}

/// Runs of everything that is to leave now.
fn leaving(world: &mut World) -> Vec<(TransportAddress, Vec<u8>)> {
    let mut batch = TransmitBatch::new();
    let mut list = Vec::new();
    loop {
        batch.clear();
        world.shard.poll_transmit(world.now, &mut batch);
        if batch.is_empty() {
            return list;
        }
        for run in batch.runs() {
            let datagrams = batch.bytes(run).chunks(usize::from(run.segment));
            list.extend(datagrams.map(|datagram| (run.to, datagram.to_vec())));
        }
    }
}

#[test]
fn a_connection_is_an_address_of_its_own() {
    let (mut world, mut ada, bob) = two();
    let stream = connection(3000, 4);
    assert!(!world.shard.is_validated(&stream));
    let mut check = check_of(&bob.description);
    world.receive(stream, &mut check);
    assert!(world.shard.is_validated(&stream));
    assert!(
        !world.shard.is_validated(&at(3000).into()),
        "the same port over UDP is another place"
    );
    let answers = leaving(&mut world);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].0, stream);

    world.send(&mut ada, opus(1, MIC, b"x"));
    let media = leaving(&mut world);
    assert!(!media.is_empty() && media.iter().all(|(to, _)| *to == stream));

    // The peer closed it: what it had before is used again.
    world.shard.handle_disconnect(world.now, &stream);
    assert!(!world.shard.is_validated(&stream));
    world.send(&mut ada, opus(2, MIC, b"x"));
    let media = leaving(&mut world);
    assert!(media.iter().all(|(to, _)| *to == bob.address.into()), "{media:?}");
    assert_eq!(world.shard.poll_hangup(), None, "it is closed already");
}

#[test]
fn a_session_that_ends_hangs_up_after_its_goodbye() {
    let (mut world, ada, _bob) = two();
    let stream = connection(3000, 4);
    world.receive(stream, &mut check_of(&ada.description));
    world
        .ask(Request::CloseSession { session: ada.id })
        .expect("there");
    assert_eq!(world.shard.poll_hangup(), stream.connection());
    assert_eq!(world.shard.poll_hangup(), None);
}

#[test]
fn a_pair_that_is_evicted_is_hung_up() {
    let (mut world, ada, _bob) = two();
    for index in 0..9 {
        world.receive(
            connection(3000 + index, u32::from(index)),
            &mut check_of(&ada.description),
        );
        world.now += Duration::from_millis(1);
    }
    let first = connection(3000, 0).connection();
    assert_eq!(
        world.shard.poll_hangup(),
        first,
        "the address over UDP went before it"
    );
    assert!(!world.shard.is_validated(&ada.address.into()));
}

#[test]
fn pictures_wait_for_room_and_sound_does_not() {
    let (mut world, mut ada, mut bob) = two();
    let stream = connection(1002, 4);
    world.receive(stream, &mut check_of(&bob.description));
    world.show(&bob, "4", Some("ada_cam"));
    film(&mut world, &mut ada, 1, true);
    world.pass(20);
    let pictures = |got: &[Got]| got.iter().filter(|got| got.header.payload_type == VP8).count();
    assert_eq!(pictures(&world.media_of(&mut bob)), 1);

    world.shard.handle_room(world.now, &stream, 0);
    film(&mut world, &mut ada, 2, false);
    world.send(&mut ada, opus(1, MIC, b"x"));
    world.pass(20);
    let got = world.media_of(&mut bob);
    assert_eq!((pictures(&got), got.len()), (0, 1), "the sound alone");

    world.shard.handle_room(world.now, &stream, 5000);
    world.pass(20);
    assert_eq!(pictures(&world.media_of(&mut bob)), 1, "what waited");

    // What waited too long is not sent at all: the slot begins again at a key frame. It is patient for
    // two seconds after it began.
    world.pass(2000);
    world.shard.handle_room(world.now, &stream, 0);
    for seq in 3..20 {
        film(&mut world, &mut ada, seq, false);
        world.pass(33);
    }
    let asked = world.counter("pli_sent");
    world.shard.handle_room(world.now, &stream, 5000);
    world.pass(600);
    assert_eq!(pictures(&world.media_of(&mut bob)), 0);
    assert!(world.counter("drop_queue_late") > 0);
    assert!(world.counter("pli_sent") > asked);
    film(&mut world, &mut ada, 20, true);
    world.pass(20);
    let got = world.media_of(&mut bob);
    assert_eq!(pictures(&got), 1, "{got:?}");
}
