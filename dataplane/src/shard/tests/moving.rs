//! A session moves to another room and back: its streams go on, who feeds whom does not.

use super::*;

fn moved(world: &mut World, peer: &Peer, room: &str) {
    let request = Request::MoveSession {
        session: peer.id,
        room: RoomId::new(room).expect("valid"),
    };
    assert_eq!(world.ask(request), Ok(Response::Done));
}

fn room_of(world: &mut World, peer: &Peer) -> String {
    let sessions = world.snapshot();
    let own = sessions.iter().find(|own| own.session == peer.id);
    own.expect("it lives").room.to_string()
}

#[test]
fn who_moves_is_neither_heard_nor_seen_by_those_who_stay() {
    let (mut world, mut ada, mut bob) = two();
    film(&mut world, &mut ada, 1, true);
    world.send(&mut ada, opus(1, MIC, b"here"));
    world.show(&bob, "4", Some("ada_cam"));
    world.pass(20);
    assert_eq!(
        world.slot(&bob, "2").track.as_ref().map(TrackId::as_str),
        Some("ada_mic")
    );
    world.media_of(&mut bob);

    moved(&mut world, &ada, "rm_part");
    assert_eq!(room_of(&mut world, &ada), "rm_part");
    assert_eq!(room_of(&mut world, &bob), "rm_1");
    for mid in ["2", "4"] {
        assert_eq!(world.slot(&bob, mid).track, None, "{mid} is empty");
    }
    world.send(&mut ada, opus(2, MIC, b"gone"));
    film(&mut world, &mut ada, 2, true);
    world.pass(20);
    assert!(world.media_of(&mut bob).is_empty());
    // A track of another room can't be asked for.
    let request = Request::SetSlot {
        session: bob.id,
        mid: Mid::new("4").expect("valid"),
        track: Some(TrackId::new("ada_cam").expect("valid")),
        wish: SlotWish::default(),
    };
    assert!(world.ask(request).is_err());
}

#[test]
fn there_and_back_the_streams_of_a_receiver_go_on() {
    let (mut world, mut ada, mut bob) = two();
    world.send(&mut ada, opus(1, MIC, b"one"));
    let before = world.media_of(&mut bob);
    let last = before.last().expect("heard").header;

    moved(&mut world, &ada, "rm_part");
    moved(&mut world, &bob, "rm_part");
    world.send(&mut ada, opus(2, MIC, b"two"));
    let inside = world.media_of(&mut bob);
    let first = inside.first().expect("heard in the other room, too");
    assert_eq!(first.payload, b"two");
    assert_eq!(first.header.ssrc, last.ssrc, "the slot's stream is the same");
    assert_eq!(first.header.sequence, last.sequence.wrapping_add(1));

    moved(&mut world, &bob, "rm_1");
    world.send(&mut ada, opus(3, MIC, b"apart"));
    assert!(world.media_of(&mut bob).is_empty());
    moved(&mut world, &ada, "rm_1");
    world.send(&mut ada, opus(4, MIC, b"again"));
    let after = world.media_of(&mut bob);
    assert_eq!(after.first().expect("heard again").payload, b"again");
    assert_eq!(world.counter("bug_egress_guard"), 0);
    assert_eq!(world.counter("sessions_moved"), 4);
}

#[test]
fn each_room_has_its_own_contest_of_sounds() {
    let mut world = World::new();
    let names = ["a", "b", "c", "d"];
    let mut people: Vec<Peer> = (0..4)
        .map(|index| world.join("rm_1", 1000 + index as u16, person(names[index])))
        .collect();
    moved(&mut world, &people[2], "rm_part");
    moved(&mut world, &people[3], "rm_part");
    for seq in 1..4 {
        for (index, peer) in people.iter_mut().enumerate() {
            world.send(peer, opus(seq, MIC, &[index as u8]));
        }
        world.pass(20);
    }
    for (listener, heard) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
        let got = world.media_of(&mut people[listener]);
        assert!(!got.is_empty());
        assert!(
            got.iter().all(|got| got.payload == [heard]),
            "{listener} hears {heard} alone"
        );
    }
}

#[test]
fn a_room_that_all_have_left_is_forgotten_and_an_unknown_session_refused() {
    let (mut world, ada, bob) = two();
    moved(&mut world, &ada, "rm_part");
    moved(&mut world, &ada, "rm_part");
    moved(&mut world, &bob, "rm_part");
    moved(&mut world, &ada, "rm_1");
    moved(&mut world, &bob, "rm_1");
    for (peer, session) in [(&ada, ada.id), (&bob, bob.id)] {
        assert_eq!(peer.id, session);
        assert!(world.ask(Request::CloseSession { session }).is_ok());
    }
    let request = Request::MoveSession {
        session: ada.id,
        room: RoomId::new("rm_1").expect("valid"),
    };
    assert!(world.ask(request).is_err());
    assert!(world.snapshot().is_empty());
}
