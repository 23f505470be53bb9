//! The real binary's cores, seen over the control link: idle, flooded, and holding sessions.

use std::net::UdpSocket;
use std::time::Instant;

use kall_shared::id::{Mid, RoomId, SessionId, TrackId};
use kall_shared::link::{CloseReason, CoreStats, Event, Request, Response, SNAPSHOT_PAGE_MAX, ToControl};
use kall_shared::media::{
    Codec, CodecParams, Feedback, Fingerprint, Kind, MediaLine, PublishParams, RemoteTransport,
    SessionParams, SlotWish, Source,
};

use crate::link::{Client, DEADLINE, DataPlane};

const DRIVERS: [&str; 2] = ["syscall", "io_uring"];

fn stats(client: &mut Client) -> Vec<CoreStats> {
    match client.ask(900, Request::Stats) {
        Ok(Response::Stats(stats)) => stats.cores,
        other => panic!("{other:?}"),
    }
}

fn counter(core: &CoreStats, name: &str) -> u64 {
    core.counters.get(name).copied().unwrap_or_default()
}

fn create(client: &mut Client, room: &str, label: &[u8]) -> (SessionId, u16) {
    create_with(client, room, label, Vec::new())
}

fn create_with(client: &mut Client, room: &str, label: &[u8], lines: Vec<MediaLine>) -> (SessionId, u16) {
    let request = Request::CreateSession {
        room: RoomId::new(room).expect("valid"),
        label: label.to_vec(),
        params: SessionParams {
            transport: RemoteTransport {
                ufrag: "abcd".to_owned(),
                pwd: "p".repeat(22),
                fingerprints: vec![Fingerprint { sha256: [7; 32] }],
            },
            lines,
        },
        returns: false,
    };
    match client.ask(901, request) {
        Ok(Response::Session { session, description }) => (session, description.udp_port),
        other => panic!("{other:?}"),
    }
}

fn snapshot(client: &mut Client) -> Vec<(SessionId, Vec<u8>)> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let Ok(Response::Snapshot { sessions, more }) = client.ask(902, Request::Snapshot { after }) else {
            panic!("no snapshot");
        };
        assert!(sessions.len() <= SNAPSHOT_PAGE_MAX as usize);
        assert!(!more || !sessions.is_empty());
        after = sessions.last().map(|session| session.session);
        found.extend(
            sessions
                .into_iter()
                .map(|session| (session.session, session.label)),
        );
        if !more {
            return found;
        }
    }
}

/// A core that has nothing to do does nothing: no turn but the ones that the two questions cause, though the
/// control thread is busy all the while. A loop that spins makes thousands.
#[test]
fn an_idle_core_does_not_turn() {
    for io in DRIVERS {
        let data_plane = DataPlane::start(&["--io", io]);
        let (mut client, _) = data_plane.greet();
        let before = counter(&stats(&mut client)[0], "loop_turns");
        for id in 0..500 {
            assert_eq!(client.ask(id, Request::Ping), Ok(Response::Done));
        }
        let after = counter(&stats(&mut client)[0], "loop_turns");
        assert!(after > before, "{io}");
        assert!(after - before <= 4, "{io}: {} turns", after - before);
    }
}

#[test]
fn garbage_is_counted_drop_by_drop_and_makes_no_session() {
    for io in DRIVERS {
        let data_plane = DataPlane::start(&["--io", io]);
        let (mut client, hello) = data_plane.greet();
        assert_eq!(hello.io, io);
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let to = (hello.bind, hello.udp_ports[0]);
        let mut sent = 0;
        for round in 0..10_u8 {
            for index in 0..100_u8 {
                let len = 1 + usize::from(index) * 12;
                let datagram: Vec<u8> = (0..len).map(|at| at as u8 ^ round.wrapping_mul(index)).collect();
                sender.send_to(&datagram, to).expect("leaves");
                sent += 1;
            }
            // Longer than anything is allowed to be.
            sender.send_to(&[0x80; 4000], to).expect("leaves");
            // What was sent is in the socket before the question is asked, so this only waits for the core.
            let end = Instant::now() + DEADLINE;
            while counter(&stats(&mut client)[0], "rx_packets") < sent {
                assert!(Instant::now() < end, "{io}: {:?}", stats(&mut client));
            }
        }
        let core = &stats(&mut client)[0];
        assert_eq!(counter(core, "rx_packets"), sent);
        assert_eq!(counter(core, "drop_truncated"), 10);
        assert_eq!(core.sessions, 0);
        let dropped: u64 = core
            .counters
            .iter()
            .filter(|(name, _)| name.starts_with("drop_") && *name != "drop_truncated")
            .map(|(_, count)| count)
            .sum();
        assert_eq!(dropped, sent, "{io}: {:?}", core.counters);
    }
}

#[test]
fn sessions_outlive_their_control_plane_room_by_room_on_their_cores() {
    // A CPU that is not there costs a warning; two cores there are.
    let data_plane = DataPlane::start(&["--cores", "0,1", "--orphan-timeout", "1"]);
    let (mut client, hello) = data_plane.greet();
    assert_eq!(hello.udp_ports.len(), 2);
    let mut expected = Vec::new();
    for index in 0..70_u8 {
        let (session, port) = create(
            &mut client,
            ["rm_one", "rm_two"][usize::from(index % 2)],
            &[index],
        );
        assert_eq!(port, hello.udp_ports[usize::from(session.core())]);
        assert_eq!(
            session.core(),
            index % 2,
            "the less loaded core, then the room's own"
        );
        expected.push((session, vec![index]));
    }
    expected.sort();
    assert_eq!(
        stats(&mut client)
            .iter()
            .map(|core| core.sessions)
            .collect::<Vec<_>>(),
        [35, 35]
    );
    assert_eq!(snapshot(&mut client), expected);
    drop(client);

    let (mut successor, again) = data_plane.greet();
    assert_eq!(again.instance, hello.instance);
    assert_eq!(snapshot(&mut successor), expected);
    let (gone, _) = expected.remove(3);
    successor.send(5, Request::CloseSession { session: gone });
    // The answer first, then what it caused.
    assert_eq!(
        successor.next(),
        Some(ToControl::Answer {
            id: 5,
            result: Ok(Response::Done),
        })
    );
    assert_eq!(
        successor.next(),
        Some(ToControl::Event(Event::SessionClosed {
            session: gone,
            reason: CloseReason::Requested,
        }))
    );
    assert_eq!(snapshot(&mut successor), expected);
}

/// A line of sound: the track it publishes, or a slot.
fn sound(track: Option<&str>) -> MediaLine {
    MediaLine {
        mid: Mid::new("0").expect("valid"),
        kind: Kind::Audio,
        codecs: vec![CodecParams {
            pt: 111,
            codec: Codec::Opus,
            rtx_pt: None,
            h264_profile: None,
            feedback: Feedback::default(),
        }],
        extensions: Vec::new(),
        publish: track.map(|track| PublishParams {
            track: TrackId::new(track).expect("valid"),
            source: Source::Microphone,
            muted: false,
            rids: Vec::new(),
            ssrcs: Vec::new(),
        }),
        slot: track.is_none(),
    }
}

/// Members of a room that a core takes before the next one does.
const MEMBERS_OF_A_CORE: usize = 150;

/// The first member of a room is on one core, others on each of the others: what they are to hear is known there, though all
/// cores have nothing to do but to tell each other. Of four threads some share a CPU, where there are fewer.
#[test]
fn a_large_room_takes_one_core_after_the_other_and_its_tracks_are_known_there() {
    for (io, cores) in DRIVERS.into_iter().flat_map(|io| [(io, 2), (io, 4)]) {
        let list: Vec<String> = (0..cores).map(|cpu| cpu.to_string()).collect();
        let data_plane = DataPlane::start(&["--cores", &list.join(","), "--io", io]);
        let (mut client, _) = data_plane.greet();
        let (first, _) = create_with(&mut client, "rm_large", b"first", vec![sound(Some("tr_first"))]);
        let mut there = first;
        let mut taken = vec![first.core()];
        let mut listeners = Vec::new();
        for _ in 1..cores {
            for _ in 1..MEMBERS_OF_A_CORE {
                assert_eq!(create(&mut client, "rm_large", b"").0.core(), there.core());
            }
            let (listener, _) = create_with(&mut client, "rm_large", b"listener", vec![sound(None)]);
            assert!(!taken.contains(&listener.core()), "{taken:?}");
            taken.push(listener.core());
            listeners.push(listener);
            there = listener;
        }
        for listener in &listeners {
            let give = Request::SetSlot {
                session: *listener,
                mid: Mid::new("0").expect("valid"),
                track: Some(TrackId::new("tr_first").expect("valid")),
                wish: SlotWish::default(),
            };
            assert_eq!(client.ask(5, give), Ok(Response::Done));
            until_heard(&mut client, *listener, Some("tr_first"));
        }

        assert_eq!(
            client.ask(6, Request::CloseSession { session: first }),
            Ok(Response::Done)
        );
        for listener in listeners {
            until_heard(&mut client, listener, None);
        }
    }
}

/// Waits until the first slot of a session has this track.
fn until_heard(client: &mut Client, session: SessionId, track: Option<&str>) {
    let end = Instant::now() + DEADLINE;
    loop {
        let after = Some(SessionId(session.0 - 1));
        let Ok(Response::Snapshot { sessions, .. }) = client.ask(902, Request::Snapshot { after }) else {
            panic!("no snapshot");
        };
        let slot = sessions.first().and_then(|session| session.slots.first());
        let found = slot.expect("a slot").track.as_ref().map(TrackId::as_str);
        if found == track {
            return;
        }
        assert!(Instant::now() < end, "{found:?} is not {track:?}");
    }
}

#[test]
fn an_orderly_end_closes_every_session_and_says_so() {
    for io in DRIVERS {
        let mut data_plane = DataPlane::start(&["--cores", "0,1", "--io", io]);
        let (mut client, _) = data_plane.greet();
        let mut open: Vec<SessionId> = (0..10)
            .map(|index| create(&mut client, &format!("rm_{index}"), b"").0)
            .collect();
        assert_eq!(client.ask(2, Request::Shutdown), Ok(Response::Done));
        while let Some(message) = client.next() {
            let ToControl::Event(Event::SessionClosed { session, reason }) = message else {
                panic!("{message:?}");
            };
            assert_eq!(reason, CloseReason::Requested);
            open.retain(|id| *id != session);
        }
        assert_eq!(open, [], "{io}");
        assert_eq!(data_plane.wait().code(), Some(0));
    }
}

#[test]
fn every_core_says_with_a_snapshot_whether_it_takes_newcomers() {
    let data_plane = DataPlane::start(&["--cores", "0,1"]);
    let (mut client, _) = data_plane.greet();
    client.send(7, Request::Snapshot { after: None });
    let mut loads = Vec::new();
    loop {
        match client.next().expect("an answer") {
            ToControl::Event(Event::CoreLoad { core, level, refuses }) => loads.push((core, level, refuses)),
            ToControl::Event(event) => panic!("{event:?}"),
            ToControl::Answer { .. } => break,
        }
    }
    assert_eq!(loads, [(0, 0, false), (1, 0, false)]);
    for core in stats(&mut client) {
        for name in [
            "overload_level",
            "overload_raised",
            "slots_shed",
            "sessions_refused",
        ] {
            assert_eq!(core.counters.get(name), Some(&0), "{name}");
        }
    }
}
