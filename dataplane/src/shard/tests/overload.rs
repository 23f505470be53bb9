//! A core that has too much to do: what it takes away, in which order, and that it gives it back.

use kall_shared::media::Layer;

use super::simulcast::{Camera, estimating, limit, simulcast, wish};
use super::*;
use crate::shard::overload::Load;

/// How long a turn takes.
const FRAME: u64 = 33;

/// A turn that came late and did nothing but send.
const LATE: Load = Load {
    delay: Duration::from_millis(30),
    slept: Duration::ZERO,
    sending: Duration::from_millis(FRAME),
    handshakes: Duration::ZERO,
};

/// A turn of a core that sleeps most of the time.
const CALM: Load = Load {
    delay: Duration::ZERO,
    slept: Duration::from_millis(FRAME - 2),
    sending: Duration::from_millis(1),
    handshakes: Duration::ZERO,
};

/// Turns until the core sheds so much; each of them is a `turn` of the world.
fn shed(world: &mut World, level: u8, mut turn: impl FnMut(&mut World)) {
    for _ in 0..10_000 {
        let own = world.counter("overload_level") as u8;
        if own == level {
            // Everybody has chosen anew by then.
            return turn(world);
        }
        turn(world);
        let load = if own < level { LATE } else { CALM };
        world.shard.note_load(world.now, &load);
    }
    panic!("the level never comes");
}

/// How many turns of the core are told, and how many levels were taken.
fn told(world: &mut World) -> Vec<(u8, bool)> {
    let events = std::mem::take(&mut world.events).into_iter();
    events
        .filter_map(|event| match event {
            Event::CoreLoad {
                core: 1,
                level,
                refuses,
            } => Some((level, refuses)),
            _ => None,
        })
        .collect()
}

/// Films for so many seconds, while both go on consenting and the receiver says what its path carries.
fn film_on(camera: &mut Camera, world: &mut World, ada: &mut Peer, bob: &mut Peer, seconds: u64) -> Vec<Got> {
    let mut seen = Vec::new();
    for _ in 0..seconds {
        world.check(ada);
        world.check(bob);
        limit(world, bob, 20_000_000);
        seen.extend(camera.film(world, ada, bob, 1_000));
    }
    seen
}

/// An unsubscribed sound would be the first to be heard missing.
fn hears(world: &mut World, ada: &mut Peer, bob: &mut Peer, seq: u64) -> bool {
    world.send(ada, opus(seq, MIC, b"sound"));
    world
        .media_of(bob)
        .iter()
        .any(|got| got.header.payload_type == OPUS && got.payload == b"sound")
}

#[test]
fn pictures_go_first_then_layers_then_video_and_sound_never() {
    let mut world = World::new();
    let mut sends = simulcast();
    sends.push(publishing("0", Source::Microphone, "ada_mic", &[]));
    let mut takes = estimating();
    takes.push(slot("2", Kind::Audio));
    let mut ada = world.join("rm_1", 1001, sends);
    let mut bob = world.join("rm_1", 1002, takes);
    let mut camera = Camera::new();
    wish(&mut world, &bob, SlotWish::default());
    film_on(&mut camera, &mut world, &mut ada, &mut bob, 4);
    let seen = film_on(&mut camera, &mut world, &mut ada, &mut bob, 2);
    assert!(seen.len() >= 58, "{}", seen.len());
    world.events.clear();

    let levels = [
        (1, Some(Layer::High), 28..=32),
        (2, Some(Layer::Medium), 28..=32),
        (3, Some(Layer::Low), 28..=32),
        (4, Some(Layer::Low), 28..=32),
        (8, None, 0..=0),
        (9, None, 0..=0),
    ];
    for (level, layer, pictures) in levels.clone() {
        shed(&mut world, level, |world| {
            limit(world, &mut bob, 20_000_000);
            camera.film(world, &mut ada, &mut bob, FRAME);
        });
        film_on(&mut camera, &mut world, &mut ada, &mut bob, 1);
        let seen = film_on(&mut camera, &mut world, &mut ada, &mut bob, 2);
        assert!(pictures.contains(&seen.len()), "{level}: {}", seen.len());
        let slot = world.slot(&bob, "4");
        assert_eq!((slot.paused, slot.layer), (layer.is_none(), layer), "{level}");
        assert!(slot.track.is_some());
        assert!(hears(&mut world, &mut ada, &mut bob, u64::from(level)), "{level}");
    }
    let events = told(&mut world);
    assert_eq!(events.first(), Some(&(1, true)));
    assert_eq!(events.last(), Some(&(9, true)));
    assert!(world.counter("slots_shed") >= 1);
    assert_eq!(world.counter("slot_pauses"), 0, "the path has not failed");

    for (level, layer, pictures) in levels.into_iter().rev().skip(1) {
        shed(&mut world, level, |world| {
            limit(world, &mut bob, 20_000_000);
            camera.film(world, &mut ada, &mut bob, FRAME);
        });
        film_on(&mut camera, &mut world, &mut ada, &mut bob, 2);
        let seen = film_on(&mut camera, &mut world, &mut ada, &mut bob, 2);
        assert!(pictures.contains(&seen.len()), "back at {level}: {}", seen.len());
        let slot = world.slot(&bob, "4");
        assert_eq!(
            (slot.paused, slot.layer),
            (layer.is_none(), layer),
            "back at {level}"
        );
    }
    shed(&mut world, 0, |world| {
        limit(world, &mut bob, 20_000_000);
        camera.film(world, &mut ada, &mut bob, FRAME);
    });
    film_on(&mut camera, &mut world, &mut ada, &mut bob, 2);
    let seen = film_on(&mut camera, &mut world, &mut ada, &mut bob, 2);
    assert!(seen.len() >= 58, "{}", seen.len());
    assert_eq!(world.slot(&bob, "4").layer, Some(Layer::High));
    assert_eq!(told(&mut world).last(), Some(&(0, false)));
}

/// A camera nobody can tell from another, of one layer.
fn cameras(world: &mut World, peers: &mut [Peer], seq: u64) {
    for peer in peers {
        film(world, peer, seq, true);
    }
}

#[test]
fn whom_the_fewest_watch_goes_first_and_a_screen_last() {
    let mut world = World::new();
    let mut people: Vec<Peer> = (0u16..5)
        .map(|index| {
            let name = ["a", "b", "c", "d", "s"][usize::from(index)];
            let source = if name == "s" {
                Source::Screen
            } else {
                Source::Camera
            };
            world.join("rm_1", 1001 + index, vec![publishing("1", source, name, &[])])
        })
        .collect();
    let watched: [&[&str]; 4] = [&["a", "b", "c", "d"], &["b", "c", "d", "s"], &["c", "d"], &["d"]];
    let viewers: Vec<Peer> = (0u16..4)
        .map(|index| {
            let lines = ["4", "5", "6", "7"].map(|mid| slot(mid, Kind::Video));
            world.join("rm_1", 1011 + index, lines.to_vec())
        })
        .collect();
    cameras(&mut world, &mut people, 1);
    for (viewer, tracks) in viewers.iter().zip(watched) {
        for (mid, track) in ["4", "5", "6", "7"].into_iter().zip(tracks) {
            let pinned = viewer.id == viewers[2].id && *track == "c";
            let request = Request::SetSlot {
                session: viewer.id,
                mid: Mid::new(mid).expect("valid"),
                track: Some(TrackId::new(*track).expect("valid")),
                wish: SlotWish {
                    priority: if pinned { 200 } else { SlotWish::PRIORITY },
                    ..SlotWish::default()
                },
            };
            world.ask(request).expect("accepted");
        }
    }
    let paused = |world: &mut World, level: u8| -> Vec<String> {
        shed(world, level, |world| world.pass(FRAME));
        let sessions = world.snapshot();
        let mut paused = Vec::new();
        for (index, viewer) in viewers.iter().enumerate() {
            let session = sessions.iter().find(|session| session.session == viewer.id);
            for slot in &session.expect("there").slots {
                if let Some(track) = slot.track.as_ref().filter(|_| slot.paused) {
                    paused.push(format!("{index}{track}"));
                }
            }
        }
        paused
    };
    assert_eq!(paused(&mut world, 4), [""; 0]);
    // Seen are ten cameras; of them a and b are the first three.
    assert_eq!(paused(&mut world, 5), ["0a", "0b", "1b"]);
    // Of the other two a part of those who watch them at a time.
    assert_eq!(paused(&mut world, 6), ["0a", "0b", "0c", "1b"]);
    // Who pinned one keeps it for one level more.
    assert_eq!(
        paused(&mut world, 7),
        ["0a", "0b", "0c", "0d", "1b", "1c", "2c", "2d"]
    );
    assert_eq!(
        paused(&mut world, 8),
        ["0a", "0b", "0c", "0d", "1b", "1c", "1d", "2c", "2d", "3d"]
    );
    assert_eq!(paused(&mut world, 9).len(), 11);
    assert_eq!(paused(&mut world, 5), ["0a", "0b", "1b"]);
    assert_eq!(paused(&mut world, 0), [""; 0]);
}

#[test]
fn everybody_chooses_anew_but_only_so_many_in_a_turn() {
    let mut world = World::new();
    for _ in 0..200 {
        world.open("rm_1", vec![slot("4", Kind::Video)]);
    }
    let mut turns = 0;
    while world.counter("overload_level") == 0 {
        world.now += Duration::from_millis(10);
        world.shard.note_load(world.now, &LATE);
    }
    while world.shard.poll_deadline() == Time::ZERO {
        let before = chosen(&world);
        world.now += Duration::from_millis(1);
        world.shard.handle_timeout(world.now);
        assert!(chosen(&world) - before <= 64);
        turns += 1;
    }
    assert_eq!((chosen(&world), turns), (200, 4));
}

/// How many were given their shares since the level rose.
fn chosen(world: &World) -> usize {
    let since = world.shard.shedding.changed_at();
    let sessions = world.shard.sessions.iter();
    sessions
        .filter(|(_, session)| session.downstream.allocated_at > since)
        .count()
}
