//! Sessions, rooms and slots: how they begin, change and end.

use kall_shared::link::{CloseReason, RefusalCode};

use super::*;

fn closed(world: &World) -> Vec<(SessionId, CloseReason)> {
    let events = world.events.iter();
    events
        .filter_map(|event| match event {
            Event::SessionClosed { session, reason } => Some((*session, *reason)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_snapshot_tells_everything_about_a_session() {
    let (mut world, mut ada, bob) = two();
    world.send(&mut ada, opus(1, MIC, b"x"));
    world.mute(&ada, "ada_cam", true);
    world.show(&bob, "4", Some("ada_cam"));
    let sessions = world.snapshot();
    assert_eq!(sessions.len(), 2);
    let first = &sessions[0];
    assert_eq!((first.session, first.connected), (ada.id, true));
    assert_eq!(
        (first.room.as_str(), first.label.as_slice()),
        ("rm_1", &b"label"[..])
    );
    assert_eq!(first.description, ada.description);
    assert_eq!(first.params, params(person("ada")));
    let tracks: Vec<_> = first
        .tracks
        .iter()
        .map(|track| (track.track.as_str(), track.started, track.muted))
        .collect();
    assert_eq!(tracks, [("ada_mic", true, false), ("ada_cam", false, true)]);
    let slots: Vec<_> = sessions[1]
        .slots
        .iter()
        .map(|slot| {
            (
                slot.mid.as_str(),
                slot.track.as_ref().map(TrackId::as_str),
                slot.epoch,
            )
        })
        .collect();
    assert_eq!(
        slots,
        [
            ("2", Some("ada_mic"), 1),
            ("3", None, 0),
            ("4", Some("ada_cam"), 1),
            ("5", None, 0)
        ]
    );
}

#[test]
fn an_update_keeps_what_stays_and_adds_what_is_new() {
    let (mut world, mut ada, bob) = two();
    world.send(&mut ada, opus(1, MIC, b"x"));
    world.show(&bob, "4", Some("ada_cam"));
    let mut lines = person("ada");
    lines[1].publish = None;
    lines.push(publishing("6", Source::Screen, "ada_screen", &[]));
    lines.push(slot("7", Kind::Video));
    let update = |lines| Request::UpdateSession {
        session: ada.id,
        label: Some(b"other".to_vec()),
        params: params(lines),
    };
    let Ok(Response::Session { description, .. }) = world.ask(update(lines.clone())) else {
        panic!("refused");
    };
    assert_eq!(description.slots[..4], ada.description.slots);
    assert_eq!(description.slots.len(), 5);
    assert_eq!(
        world.seen(&bob, "4"),
        None,
        "the camera's line stopped publishing"
    );
    assert_eq!(
        world.seen(&bob, "2").as_deref(),
        Some("ada_mic"),
        "the microphone's did not"
    );
    world.show(&bob, "4", Some("ada_screen"));
    assert_eq!(world.seen(&bob, "4").as_deref(), Some("ada_screen"));

    lines.swap(0, 2);
    let refused = world.ask(update(lines)).expect_err("lines never move");
    assert_eq!(refused.code, RefusalCode::Invalid);
}

#[test]
fn a_room_ends_with_its_last_session_and_begins_anew() {
    let (mut world, mut ada, bob) = two();
    world.send(&mut ada, opus(1, MIC, b"x"));
    for session in [ada.id, bob.id] {
        world.ask(Request::CloseSession { session }).expect("there");
    }
    assert_eq!((world.shard.rooms.len(), world.shard.rooms_by_id.len()), (0, 0));
    assert_eq!((world.shard.publications.len(), world.shard.flows.len()), (0, 0));
    let mut ada = world.join("rm_1", 1001, person("ada"));
    let bob = world.join("rm_1", 1002, person("bob"));
    assert_eq!(world.seen(&bob, "2"), None);
    world.send(&mut ada, opus(1, MIC, b"x"));
    assert_eq!(world.seen(&bob, "2").as_deref(), Some("ada_mic"));
}

#[test]
fn a_session_closed_with_packets_waiting_leaves_nothing_behind() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    world.send(&mut bob, opus(1, MIC, b"y"));
    world.media_of(&mut ada);
    film(&mut world, &mut ada, 1, true);
    world.send(&mut ada, opus(1, MIC, b"x"));
    world
        .ask(Request::CloseSession { session: bob.id })
        .expect("there");
    assert_eq!(world.media_of(&mut bob), []);
    assert_eq!(world.seen(&ada, "2"), None, "his voice has left");
    let left = world.shard.publications.iter();
    assert!(
        left.into_iter()
            .all(|(_, publication)| publication.subscribers.is_empty())
    );
    let refused = world.ask(Request::CloseSession { session: bob.id });
    assert_eq!(refused.expect_err("gone").code, RefusalCode::NotFound);
    world.pass(3000);
}

#[test]
fn audio_slots_go_to_those_who_speak() {
    let mut world = World::new();
    let listener = world.join("rm_1", 1000, vec![slot("0", Kind::Audio), slot("1", Kind::Audio)]);
    let mut people: Vec<Peer> = (1..=3)
        .map(|index| {
            let lines = vec![publishing("0", Source::Microphone, &format!("mic{index}"), &[])];
            world.join("rm_1", 1000 + index, lines)
        })
        .collect();
    for peer in &mut people {
        world.send(peer, opus(1, MIC, b"x"));
    }
    let heard = |world: &mut World| [world.seen(&listener, "0"), world.seen(&listener, "1")];
    assert_eq!(heard(&mut world), [Some("mic1".into()), Some("mic2".into())]);
    world.mute(&people[0], "mic1", true);
    assert_eq!(heard(&mut world), [Some("mic3".into()), Some("mic2".into())]);
    world
        .ask(Request::CloseSession {
            session: people[1].id,
        })
        .expect("there");
    assert_eq!(heard(&mut world), [Some("mic3".into()), Some("mic1".into())]);
}

#[test]
fn a_session_whose_tracks_find_no_room_leaves_nothing() {
    let mut world = World::new();
    world.shard.publications = crate::shard::slab::Slab::new(1);
    let request = Request::CreateSession {
        room: RoomId::new("rm_1").expect("valid"),
        label: Vec::new(),
        params: params(person("ada")),
        returns: false,
    };
    let refused = world.ask(request).expect_err("one track fits, not two");
    assert_eq!(refused.code, RefusalCode::Exhausted);
    let shard = &world.shard;
    assert_eq!(
        (shard.sessions.len(), shard.publications.len(), shard.rooms.len()),
        (0, 0, 0)
    );
}

#[test]
fn a_peer_that_never_comes_has_the_whole_time_to_connect() {
    let mut world = World::new();
    let (id, _) = world.open("rm_1", person("ada"));
    world.pass(44_000);
    assert_eq!(closed(&world), []);
    world.pass(2_000);
    assert_eq!(closed(&world), [(id, CloseReason::ConnectTimeout)]);
}

#[test]
fn a_peer_that_stops_checking_has_no_consent_left() {
    let (mut world, ada, bob) = two();
    world.pass(20_000);
    world.check(&bob);
    world.pass(20_000);
    assert_eq!(closed(&world), [(ada.id, CloseReason::ConsentExpired)]);
    assert_eq!(world.shard.flows.len(), 1);
}

#[test]
fn a_slot_takes_only_its_own_kind_and_only_of_its_room() {
    let (mut world, ada, bob) = two();
    let eve = world.join("rm_2", 1003, person("eve"));
    let mut refused = |mid: &str, track: &str| {
        let request = Request::SetSlot {
            session: bob.id,
            mid: Mid::new(mid).expect("valid"),
            track: Some(TrackId::new(track).expect("valid")),
            wish: SlotWish::default(),
        };
        world.ask(request).expect_err("not to be shown").code
    };
    assert_eq!(refused("4", "eve_cam"), RefusalCode::NotFound);
    assert_eq!(refused("4", "bob_cam"), RefusalCode::NotFound, "one's own");
    assert_eq!(refused("9", "ada_cam"), RefusalCode::NotFound);
    assert_eq!(refused("4", "ada_mic"), RefusalCode::Invalid);
    assert_eq!(refused("2", "ada_cam"), RefusalCode::Invalid);
    assert_ne!(ada.id, eve.id);
}

#[test]
fn an_audio_slot_that_was_set_carries_what_it_is_told() {
    let (mut world, mut ada, bob) = two();
    let mut eve = world.join("rm_1", 1003, person("eve"));
    // Taken in hand while empty, it stays so whoever speaks.
    world.show(&bob, "2", None);
    world.send(&mut ada, opus(1, MIC, b"x"));
    world.send(&mut eve, opus(1, MIC, b"x"));
    assert_eq!(world.seen(&bob, "2"), None);
    assert_eq!(world.seen(&bob, "3").as_deref(), Some("ada_mic"));
    world.show(&bob, "2", Some("eve_mic"));
    assert_eq!(world.seen(&bob, "2").as_deref(), Some("eve_mic"));
    world.mute(&ada, "ada_mic", true);
    assert_eq!(
        world.seen(&bob, "2").as_deref(),
        Some("eve_mic"),
        "no choice among those who speak moves it"
    );
    world.show(&bob, "2", None);
    assert_eq!(world.seen(&bob, "2"), None);
}

#[test]
fn a_line_that_no_longer_receives_gets_nothing() {
    let (mut world, mut ada, bob) = two();
    world.send(&mut ada, opus(1, MIC, b"x"));
    world.show(&bob, "4", Some("ada_cam"));
    assert!(world.seen(&bob, "2").is_some());
    let mut lines = person("bob");
    lines[2].slot = false;
    lines[4].slot = false;
    let update = |lines| Request::UpdateSession {
        session: bob.id,
        label: None,
        params: params(lines),
    };
    world.ask(update(lines)).expect("accepted");
    assert_eq!(world.seen(&bob, "2"), None);
    assert_eq!(
        world.seen(&bob, "3").as_deref(),
        Some("ada_mic"),
        "the other slot hears it"
    );
    assert_eq!(world.seen(&bob, "4"), None);
    let Ok(Response::Session { description, .. }) = world.ask(update(person("bob"))) else {
        panic!("refused");
    };
    assert_eq!(
        description.slots, bob.description.slots,
        "a line that comes back keeps its SSRC"
    );
}
