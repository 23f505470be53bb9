//! Rooms that several cores have members of.

use super::*;
use crate::lane;
use crate::shard::relaying::ENTRIES_PER_TURN;

/// The cores of one process.
struct Process {
    cores: Vec<World>,
}

impl Process {
    fn with(cores: u8) -> Self {
        let mut worlds: Vec<World> = (0..cores).map(World::on_core).collect();
        for (world, lanes) in worlds.iter_mut().zip(lane::mesh(usize::from(cores))) {
            world.shard.connect_lanes(lanes);
        }
        Self { cores: worlds }
    }

    /// What they have for each other arrives, and what that causes.
    fn cross(&mut self) {
        loop {
            let mut taken = 0;
            for world in &mut self.cores {
                world.shard.publish_lanes(|_| {});
            }
            for world in &mut self.cores {
                taken += world.shard.handle_lanes(world.now, ENTRIES_PER_TURN);
                world.gather();
            }
            if taken == 0 {
                return;
            }
        }
    }

    fn pass(&mut self, millis: u64) {
        for _ in 0..millis / 10 {
            for world in &mut self.cores {
                world.pass(10);
            }
            self.cross();
        }
    }

    fn join(&mut self, core: usize, room: &str, name: &str) -> Peer {
        let port = 1000 + self.cores[core].last_id as u16;
        let peer = self.cores[core].join(room, port, person(name));
        self.cross();
        peer
    }

    fn speak(&mut self, peer: &mut Peer, seq: u64, payload: &[u8]) {
        self.cores[usize::from(peer.id.core())].send(peer, opus(seq, MIC, payload));
        self.cross();
    }

    fn film(&mut self, peer: &mut Peer, seq: u64, key: bool) {
        film(&mut self.cores[usize::from(peer.id.core())], peer, seq, key);
        self.cross();
    }

    fn heard(&mut self, peer: &mut Peer) -> Vec<Vec<u8>> {
        let got = self.cores[usize::from(peer.id.core())].media_of(peer);
        got.into_iter().map(|got| got.payload).collect()
    }

    fn seen(&mut self, peer: &Peer, mid: &str) -> Option<String> {
        self.cores[usize::from(peer.id.core())].seen(peer, mid)
    }

    fn speakers(&self) -> usize {
        let events = self.cores.iter().flat_map(|world| &world.events);
        events
            .filter(|event| matches!(event, Event::ActiveSpeaker { .. }))
            .count()
    }

    fn counter(&self, name: &str) -> u64 {
        self.cores.iter().map(|world| world.counter(name)).sum()
    }
}

#[test]
fn people_on_two_cores_hear_and_see_each_other() {
    let mut process = Process::with(2);
    let mut ada = process.join(0, "rm_1", "ada");
    let mut bob = process.join(1, "rm_1", "bob");
    process.cores[1].show(&bob, "4", Some("ada_cam"));
    process.cores[0].show(&ada, "4", Some("bob_cam"));
    process.cross();
    process.speak(&mut ada, 1, b"hello");
    process.speak(&mut bob, 1, b"hi");
    assert_eq!(process.heard(&mut bob), [b"hello"]);
    assert_eq!(process.heard(&mut ada), [b"hi"]);

    process.film(&mut ada, 1, true);
    assert_eq!(process.heard(&mut bob).len(), 1, "the first picture is the first");
    process.film(&mut ada, 2, false);
    assert_eq!(process.heard(&mut bob).len(), 1);
    process.pass(100);
    assert_eq!(process.seen(&bob, "4").as_deref(), Some("ada_cam"));
    assert_eq!(process.counter("drop_lane_full"), 0);
    assert_eq!(process.counter("bug_egress_guard"), 0);

    // Nobody on the other core takes it any more: it stays where it is.
    process.cores[1].show(&bob, "4", None);
    process.cross();
    let before = process.counter("lane_out");
    process.film(&mut ada, 3, false);
    assert_eq!(process.counter("lane_out"), before);
    assert!(process.heard(&mut bob).is_empty());
}

#[test]
fn a_slot_that_is_given_a_track_before_it_is_known_here_gets_it() {
    let mut process = Process::with(2);
    let mut ada = process.join(0, "rm_1", "ada");
    let bob = process.cores[1].join("rm_1", 2000, person("bob"));
    // Nothing has crossed yet.
    process.cores[1].show(&bob, "4", Some("ada_cam"));
    process.cores[1].show(&bob, "5", Some("nobody_cam"));
    assert_eq!(process.seen(&bob, "4"), None);
    process.cross();
    assert_eq!(process.seen(&bob, "4").as_deref(), Some("ada_cam"));
    assert_eq!(process.seen(&bob, "5"), None);

    // Who changes his mind meanwhile gets what he asked for last.
    let eve = process.cores[1].join("rm_2", 2001, person("eve"));
    process.cores[1].show(&eve, "4", Some("dan_cam"));
    process.cores[1].show(&eve, "4", None);
    let dan = process.join(0, "rm_2", "dan");
    assert_eq!(process.seen(&eve, "4"), None);
    assert_eq!(process.seen(&dan, "4"), None);
    process.film(&mut ada, 1, true);

    // Alone, a core knows that there is no such track.
    let mut alone = World::new();
    let carl = alone.join("rm_1", 1, person("carl"));
    let request = Request::SetSlot {
        session: carl.id,
        mid: Mid::new("4").expect("valid"),
        track: Some(TrackId::new("nobody_cam").expect("valid")),
        wish: SlotWish::default(),
    };
    assert!(alone.ask(request).is_err());
}

#[test]
fn who_is_muted_is_so_on_every_core() {
    let mut process = Process::with(3);
    let mut ada = process.join(0, "rm_1", "ada");
    let mut others = [process.join(1, "rm_1", "bob"), process.join(2, "rm_1", "eve")];
    process.speak(&mut ada, 1, b"one");
    for other in &mut others {
        assert_eq!(process.heard(other), [b"one"]);
    }
    process.cores[0].mute(&ada, "ada_mic", true);
    process.cross();
    process.speak(&mut ada, 2, b"two");
    for other in &mut others {
        assert!(process.heard(other).is_empty());
    }
    // Who comes while she is muted learns it as well.
    let mut late = process.join(2, "rm_1", "dan");
    process.cores[0].mute(&ada, "ada_mic", false);
    process.cross();
    process.speak(&mut ada, 3, b"three");
    for other in others.iter_mut().chain([&mut late]) {
        assert_eq!(process.heard(other), [b"three"]);
    }
}

#[test]
fn one_core_tells_who_speaks() {
    let mut process = Process::with(3);
    let mut people: Vec<Peer> = (0..3)
        .map(|core| process.join(core, "rm_1", ["ada", "bob", "eve"][core]))
        .collect();
    for seq in 1..200 {
        for (index, peer) in people.iter_mut().enumerate() {
            let level = [if index == 2 && seq > 100 { 20 } else { 95 }];
            let extensions: &[(u8, &[u8])] = &[(MID_ID, b"0"), (LEVEL_ID, &level)];
            process.cores[index].send(peer, opus(seq, extensions, b"sound"));
        }
        process.cross();
        process.pass(20);
    }
    assert_eq!(process.speakers(), 1);
    let told = process.cores[0].events.iter().find_map(|event| match event {
        Event::ActiveSpeaker { session, .. } => Some(*session),
        _ => None,
    });
    assert_eq!(told, Some(people[2].id));
}

#[test]
fn what_ends_on_one_core_ends_on_all() {
    let mut process = Process::with(2);
    let mut ada = process.join(0, "rm_1", "ada");
    let mut bob = process.join(1, "rm_1", "bob");
    process.cores[1].show(&bob, "4", Some("ada_cam"));
    process.speak(&mut ada, 1, b"one");
    assert_eq!(process.seen(&bob, "2").as_deref(), Some("ada_mic"));
    process.heard(&mut bob);

    let close = Request::CloseSession { session: ada.id };
    process.cores[0].ask(close).expect("accepted");
    process.cross();
    for mid in ["2", "4"] {
        assert_eq!(process.seen(&bob, mid), None);
    }
    assert!(process.cores[1].shard.mirrors.len() == 0);

    // The room comes back there, and is found again.
    let mut ada = process.join(0, "rm_1", "ada");
    process.speak(&mut bob, 1, b"back");
    assert_eq!(process.heard(&mut ada), [b"back"]);
    process.speak(&mut ada, 1, b"again");
    assert_eq!(process.heard(&mut bob), [b"again"]);

    for (core, peer) in [(1, &bob), (0, &ada)] {
        let close = Request::CloseSession { session: peer.id };
        process.cores[core].ask(close).expect("accepted");
        process.cross();
    }
    for world in &process.cores {
        assert!(world.shard.mirrors.len() == 0);
        assert!(world.shard.publications.is_empty());
        assert!(world.shard.rooms.is_empty());
    }
}

#[test]
fn who_moves_to_another_room_meets_those_on_other_cores_there() {
    let mut process = Process::with(2);
    let mut ada = process.join(0, "rm_1", "ada");
    let mut bob = process.join(1, "rm_1", "bob");
    let mut eve = process.join(1, "rm_part", "eve");
    process.speak(&mut ada, 1, b"main");
    assert_eq!(process.heard(&mut bob), [b"main"]);
    let request = Request::MoveSession {
        session: ada.id,
        room: RoomId::new("rm_part").expect("valid"),
    };
    process.cores[0].ask(request).expect("accepted");
    process.cross();
    assert_eq!(process.seen(&bob, "2"), None);
    process.speak(&mut ada, 2, b"part");
    assert!(process.heard(&mut bob).is_empty());
    assert_eq!(process.heard(&mut eve), [b"part"]);
    process.speak(&mut eve, 1, b"welcome");
    assert_eq!(process.heard(&mut ada), [b"welcome"]);
}

/// A core that does not look at its lanes loses pictures, not sound, and gets a key frame when it is back.
#[test]
fn a_core_that_falls_behind_loses_pictures_first() {
    let mut process = Process::with(2);
    let mut ada = process.join(0, "rm_1", "ada");
    let mut bob = process.join(1, "rm_1", "bob");
    process.cores[1].show(&bob, "4", Some("ada_cam"));
    process.cross();
    process.film(&mut ada, 1, true);
    process.pass(50);
    process.film(&mut ada, 2, true);
    process.heard(&mut bob);

    let asked = process.cores[0].counter("pli_sent");
    for seq in 3..4_500 {
        film(&mut process.cores[0], &mut ada, seq, false);
    }
    let lost = process.cores[0].counter("drop_lane_full");
    assert!(lost > 0);
    for seq in 1..=100 {
        process.cores[0].send(&mut ada, opus(seq, MIC, b"sound"));
    }
    assert_eq!(process.cores[0].counter("drop_lane_full"), lost);
    process.pass(1_000);
    process.cores[0].gather();
    assert!(process.cores[0].counter("pli_sent") > asked);
    let heard = process.heard(&mut bob);
    let sound = heard.iter().filter(|payload| *payload == b"sound").count();
    assert_eq!(sound, 100);
}

#[test]
fn a_codec_that_is_withheld_on_another_core_is_tried_again_when_it_changes() {
    let mut process = Process::with(2);
    let mut ada = process.join(0, "rm_1", "ada");
    let mut only_h264 = slot("0", Kind::Video);
    only_h264.codecs.remove(0);
    let mut bob = process.cores[1].join("rm_1", 2000, vec![only_h264]);
    process.cross();
    process.cores[1].show(&bob, "0", Some("ada_cam"));
    process.cross();
    process.film(&mut ada, 1, true);
    assert!(codec_reason(&process.cores[1].slot(&bob, "0")));
    process.pass(200);
    let sps_and_idr = [24, 0, 2, 0x67, 1, 0, 2, 0x65, 1];
    let media = Media {
        pt: H264,
        ..frame(2, &sps_and_idr, CAM)
    };
    process.cores[0].send(&mut ada, media);
    process.cross();
    assert!(!codec_reason(&process.cores[1].slot(&bob, "0")));
    process.pass(200);
    let media = Media {
        pt: H264,
        ..frame(3, &sps_and_idr, CAM)
    };
    process.cores[0].send(&mut ada, media);
    process.cross();
    assert!(!process.heard(&mut bob).is_empty());
}

#[test]
fn a_slot_that_waits_gets_a_track_of_its_own_core_as_well() {
    let mut process = Process::with(2);
    let bob = process.join(1, "rm_1", "bob");
    process.cores[1].show(&bob, "4", Some("ada_cam"));
    process.cores[1].show(&bob, "5", Some("eve_cam"));
    let ada = process.join(1, "rm_1", "ada");
    assert_eq!(process.seen(&bob, "4").as_deref(), Some("ada_cam"));
    // So does one who comes from another room.
    let eve = process.join(1, "rm_part", "eve");
    assert_eq!(process.seen(&bob, "5"), None);
    let request = Request::MoveSession {
        session: eve.id,
        room: RoomId::new("rm_1").expect("valid"),
    };
    process.cores[1].ask(request).expect("accepted");
    assert_eq!(process.seen(&bob, "5").as_deref(), Some("eve_cam"));
    assert_eq!(process.seen(&ada, "4"), None);
}

/// A room empties on one core and fills again while the other still tells it of a track, which then moves away.
#[test]
fn nobody_is_left_behind_in_a_room_that_emptied_meanwhile() {
    let mut process = Process::with(2);
    let ada = process.join(0, "rm_1", "ada");
    let bob = process.join(1, "rm_1", "bob");
    let mut eve = process.join(1, "rm_2", "eve");
    let stay = process.join(0, "rm_2", "stay");
    let move_to = |process: &mut Process, peer: &Peer, room: &str| {
        let request = Request::MoveSession {
            session: peer.id,
            room: RoomId::new(room).expect("valid"),
        };
        process.cores[usize::from(peer.id.core())]
            .ask(request)
            .expect("accepted");
    };
    // A newcomer's tracks are told, but not taken yet.
    let mut dan = process.cores[0].join("rm_1", 3000, person("dan"));
    process.cores[0].shard.publish_lanes(|_| {});
    // Meanwhile the room empties over there and somebody else comes, in two batches.
    let close = Request::CloseSession { session: bob.id };
    process.cores[1].ask(close).expect("accepted");
    process.cores[1].shard.publish_lanes(|_| {});
    let now = process.cores[0].now;
    process.cores[0].shard.handle_lanes(now, ENTRIES_PER_TURN);
    let mut carl = process.cores[1].join("rm_1", 3001, person("carl"));
    // And the newcomer moves on to another room that both share.
    move_to(&mut process, &dan, "rm_2");
    process.cross();
    process.speak(&mut dan, 1, b"elsewhere");
    assert!(process.heard(&mut carl).is_empty());
    assert_eq!(process.heard(&mut eve), [b"elsewhere"]);
    let close = |process: &mut Process, peer: &Peer| {
        let request = Request::CloseSession { session: peer.id };
        process.cores[usize::from(peer.id.core())]
            .ask(request)
            .expect("accepted");
    };
    for peer in [&ada, &dan, &carl, &eve, &stay] {
        close(&mut process, peer);
    }
    process.cross();
    for world in &process.cores {
        assert_eq!(world.shard.mirrors.len(), 0);
        assert!(world.shard.publications.is_empty());
    }
}
