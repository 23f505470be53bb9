//! The router over scripted connections and cores.

use kall_shared::id::{RoomId, SessionId};
use kall_shared::link::*;
use kall_shared::media::*;
use kall_shared::version::{LINK_VERSION, LINK_VERSION_MIN};

use super::router::{Identity, Output, Router};

pub(super) fn session(id: SessionId) -> SessionSnapshot {
    SessionSnapshot {
        session: id,
        room: room("a"),
        label: Vec::new(),
        connected: false,
        params: params(),
        description: description(),
        tracks: Vec::new(),
        slots: Vec::new(),
    }
}

fn room(name: &str) -> RoomId {
    RoomId::new(name).expect("valid")
}

fn params() -> SessionParams {
    SessionParams {
        transport: RemoteTransport {
            ufrag: "abcd".to_owned(),
            pwd: "p".repeat(22),
            fingerprints: vec![Fingerprint { sha256: [1; 32] }],
        },
        lines: Vec::new(),
    }
}

fn description() -> SessionDescription {
    SessionDescription {
        ufrag: "abcd".to_owned(),
        pwd: "p".repeat(22),
        fingerprint: Fingerprint { sha256: [2; 32] },
        udp_port: 7882,
        cname: "c".to_owned(),
        slots: Vec::new(),
    }
}

fn router(cores: u16) -> Router {
    Router::new(Identity {
        instance: 1,
        pid: 2,
        io: "syscall",
        udp_ports: (0..cores).collect(),
        tcp_port: None,
        bind: [127, 0, 0, 1].into(),
        addresses: vec![[127, 0, 0, 1].into()],
    })
}

fn request(router: &mut Router, connection: u64, id: u64, request: Request) -> Vec<Output> {
    router.handle_request(connection, ToData { id, request }, 3);
    router.take_outputs()
}

fn hello() -> Request {
    Request::Hello {
        version_min: LINK_VERSION_MIN,
        version_max: LINK_VERSION,
        build: "test".to_owned(),
    }
}

fn greeted(cores: u16) -> Router {
    let mut router = router(cores);
    let outputs = request(&mut router, 1, 1, hello());
    assert!(
        matches!(answer(&outputs), (1, 1, Ok(Response::Hello(_)))),
        "{outputs:?}"
    );
    router
}

/// The one answer in `outputs`: connection, id, result.
fn answer(outputs: &[Output]) -> (u64, u64, &Result<Response, Refusal>) {
    let mut answers = outputs.iter().filter_map(|output| match output {
        Output::Send {
            connection,
            message: ToControl::Answer { id, result },
        } => Some((*connection, *id, result)),
        _ => None,
    });
    let first = answers.next().expect("an answer");
    assert!(answers.next().is_none(), "one answer: {outputs:?}");
    first
}

fn commands(outputs: &[Output]) -> Vec<(u8, u64, &Request)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Command { core, command } => Some((*core, command.id, &command.request)),
            _ => None,
        })
        .collect()
}

fn core_answers(router: &mut Router, core: u8, id: u64, result: Result<Response, Refusal>) -> Vec<Output> {
    router.handle_core(core, ToControl::Answer { id, result });
    router.take_outputs()
}

fn create(name: &str) -> Request {
    Request::CreateSession {
        room: room(name),
        label: Vec::new(),
        params: params(),
        returns: false,
    }
}

/// Creates a session in `name` and answers where it went.
fn created(router: &mut Router, name: &str, slot: u32) -> SessionId {
    let outputs = request(router, 1, 50, create(name));
    let (core, id, _) = commands(&outputs)[0];
    let session = SessionId::pack(core, slot, 0);
    let result = Ok(Response::Session {
        session,
        description: description(),
    });
    let outputs = core_answers(router, core, id, result);
    assert_eq!(answer(&outputs).1, 50);
    session
}

#[test]
fn nothing_is_said_before_hello() {
    let mut router = router(1);
    let outputs = request(&mut router, 1, 4, Request::Ping);
    let (1, 4, Err(refusal)) = answer(&outputs) else {
        panic!("{outputs:?}");
    };
    assert_eq!(refusal.code, RefusalCode::Protocol);
    assert!(router.is_orphan());
}

#[test]
fn a_distant_version_is_refused_and_does_not_replace() {
    let mut router = greeted(1);
    let newer = Request::Hello {
        version_min: 7,
        version_max: 9,
        build: "x".to_owned(),
    };
    let outputs = request(&mut router, 2, 1, newer);
    let (2, 1, Err(refusal)) = answer(&outputs) else {
        panic!("{outputs:?}");
    };
    assert_eq!(refusal.code, RefusalCode::Version);
    assert_eq!(outputs.last(), Some(&Output::Close(2)));
    assert_eq!(router.current(), Some(1));
}

#[test]
fn a_newer_connection_replaces_the_older() {
    let mut router = greeted(1);
    let outputs = request(&mut router, 2, 1, hello());
    assert_eq!(outputs[0], Output::Cut(1));
    assert_eq!(router.current(), Some(2));
    // The late news of the first one's end changes nothing.
    router.handle_closed(1);
    assert_eq!(router.current(), Some(2));
    let outputs = request(&mut router, 1, 2, Request::Ping);
    assert!(answer(&outputs).2.is_err());
}

#[test]
fn answers_find_their_request_whatever_ids_connections_choose() {
    let mut router = greeted(2);
    let first = created(&mut router, "a", 1);
    let second = created(&mut router, "b", 1);
    assert_ne!(first.core(), second.core());
    let close = |session| Request::CloseSession { session };
    let one = request(&mut router, 1, 77, close(first));
    let two = request(&mut router, 1, 77, close(second));
    let (core, id, _) = commands(&two)[0];
    assert_ne!(id, commands(&one)[0].1);
    assert_eq!(core, second.core());
    let outputs = core_answers(&mut router, core, id, Ok(Response::Done));
    assert_eq!(answer(&outputs), (1, 77, &Ok(Response::Done)));
}

#[test]
fn sessions_of_a_room_share_a_core_and_the_process_knows_when_it_is_empty() {
    let mut router = greeted(4);
    let a = created(&mut router, "a", 1);
    let b = created(&mut router, "b", 1);
    let a2 = created(&mut router, "a", 2);
    assert_eq!(a.core(), a2.core());
    assert_ne!(a.core(), b.core());
    router.handle_closed(1);
    assert!(!router.is_orphan());
    for session in [a, b, a2] {
        let reason = CloseReason::ConsentExpired;
        router.handle_core(
            session.core(),
            ToControl::Event(Event::SessionClosed { session, reason }),
        );
    }
    assert!(router.is_orphan());
    assert!(router.take_outputs().is_empty(), "nobody listens");
}

#[test]
fn a_refused_session_leaves_no_trace() {
    let mut router = greeted(1);
    let outputs = request(&mut router, 1, 5, create("a"));
    let (core, id, _) = commands(&outputs)[0];
    router.handle_core_full(core, id);
    let outputs = router.take_outputs();
    let (1, 5, Err(refusal)) = answer(&outputs) else {
        panic!("{outputs:?}");
    };
    assert_eq!(refusal.code, RefusalCode::Exhausted);
    router.handle_closed(1);
    assert!(router.is_orphan());
}

#[test]
fn a_session_of_no_core_is_not_found() {
    let mut router = greeted(2);
    let session = SessionId::pack(2, 0, 0);
    let outputs = request(&mut router, 1, 5, Request::CloseSession { session });
    let (_, 5, Err(refusal)) = answer(&outputs) else {
        panic!("{outputs:?}");
    };
    assert_eq!(refusal.code, RefusalCode::NotFound);
}

#[test]
fn bounds_are_checked_before_a_core_is_bothered() {
    let mut router = greeted(1);
    let mut bad = params();
    bad.transport.ufrag = "x".to_owned();
    for request_ in [
        Request::CreateSession {
            room: room("a"),
            label: vec![0; LABEL_MAX_LEN + 1],
            params: params(),
            returns: false,
        },
        Request::CreateSession {
            room: room("a"),
            label: Vec::new(),
            params: bad,
            returns: false,
        },
        Request::SetLabel {
            session: SessionId(0),
            label: vec![0; LABEL_MAX_LEN + 1],
        },
    ] {
        let outputs = request(&mut router, 1, 5, request_);
        assert!(commands(&outputs).is_empty());
        let (_, 5, Err(refusal)) = answer(&outputs) else {
            panic!("{outputs:?}");
        };
        assert_eq!(refusal.code, RefusalCode::Invalid);
    }
}

#[test]
fn statistics_of_all_cores_come_in_core_order() {
    let mut router = greeted(3);
    let outputs = request(&mut router, 1, 9, Request::Stats);
    let asked: Vec<(u8, u64)> = commands(&outputs).iter().map(|c| (c.0, c.1)).collect();
    assert_eq!(asked.iter().map(|c| c.0).collect::<Vec<_>>(), [0, 1, 2]);
    let stats = |sessions| {
        Ok(Response::Stats(Stats {
            cores: vec![CoreStats {
                sessions,
                ..CoreStats::default()
            }],
        }))
    };
    assert!(core_answers(&mut router, 2, asked[2].1, stats(22)).is_empty());
    let refusal = Refusal::new(RefusalCode::Exhausted, "busy");
    assert!(core_answers(&mut router, 1, asked[1].1, Err(refusal)).is_empty());
    let outputs = core_answers(&mut router, 0, asked[0].1, stats(11));
    let (1, 9, Ok(Response::Stats(stats))) = answer(&outputs) else {
        panic!("{outputs:?}");
    };
    let sessions: Vec<u32> = stats.cores.iter().map(|core| core.sessions).collect();
    assert_eq!(sessions, [11, 0, 22]);
}

/// Takes a whole snapshot from cores that hold so many sessions each and page by `page`.
fn take_snapshot(held: &[u32], page: u32) -> Vec<Vec<SessionId>> {
    let mut router = greeted(held.len() as u16);
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let mut outputs = request(&mut router, 1, 9, Request::Snapshot { after });
        while let Some((core, id, Request::Snapshot { after })) = commands(&outputs).first().copied() {
            let from = after.map_or(0, |after| after.slot() + 1);
            let all = held[usize::from(core)];
            let until = all.min(from + page);
            let sessions = (from..until)
                .map(|slot| session(SessionId::pack(core, slot, 0)))
                .collect();
            let more = until < all;
            outputs = core_answers(&mut router, core, id, Ok(Response::Snapshot { sessions, more }));
        }
        let (_, 9, Ok(Response::Snapshot { sessions, more })) = answer(&outputs) else {
            panic!("{outputs:?}");
        };
        assert!(sessions.len() <= SNAPSHOT_PAGE_MAX as usize);
        pages.push(sessions.iter().map(|session| session.session).collect::<Vec<_>>());
        if !more {
            return pages;
        }
        assert!(!sessions.is_empty(), "an empty page never promises more");
        after = sessions.last().map(|session| session.session);
    }
}

#[test]
fn a_snapshot_walks_through_all_cores_in_id_order() {
    for (held, page) in [
        (&[0][..], 64),
        (&[0, 0, 0], 64),
        (&[5, 0, 3], 64),
        (&[64, 0, 0], 64),
        (&[64, 0, 1], 64),
        (&[130, 70, 0, 1], 64),
        (&[10, 10], 3),
        (&[63, 2, 64], 64),
    ] {
        let pages = take_snapshot(held, page);
        let ids: Vec<SessionId> = pages.concat();
        assert_eq!(ids.len(), held.iter().sum::<u32>() as usize, "{held:?}");
        assert!(ids.is_sorted_by(|a, b| a < b), "{held:?}");
        let promised_in_vain = pages.len() > 1 && pages.last().is_some_and(Vec::is_empty);
        assert!(!promised_in_vain, "{held:?}");
    }
}

#[test]
fn events_go_to_the_control_plane_of_the_moment() {
    let mut router = greeted(1);
    router.handle_lost(4);
    assert_eq!(
        router.take_outputs(),
        [Output::Send {
            connection: 1,
            message: ToControl::Event(Event::Overflow { lost: 4 }),
        }]
    );
}

#[test]
fn what_is_not_understood_is_answered() {
    let mut router = greeted(1);
    router.handle_unknown(1, 12, "unknown variant");
    let outputs = router.take_outputs();
    let (1, 12, Err(refusal)) = answer(&outputs) else {
        panic!("{outputs:?}");
    };
    assert_eq!(refusal.code, RefusalCode::Protocol);
}

#[test]
fn shutdown_is_answered_first() {
    let mut router = greeted(1);
    let outputs = request(&mut router, 1, 2, Request::Shutdown);
    assert_eq!(answer(&outputs), (1, 2, &Ok(Response::Done)));
    assert_eq!(outputs.last(), Some(&Output::Shutdown));
}

fn load(router: &mut Router, core: u8, level: u8, refuses: bool) -> Vec<Output> {
    let event = Event::CoreLoad { core, level, refuses };
    router.handle_core(core, ToControl::Event(event));
    router.take_outputs()
}

fn loads(outputs: &[Output]) -> Vec<(u8, u8, bool)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send {
                message: ToControl::Event(Event::CoreLoad { core, level, refuses }),
                ..
            } => Some((*core, *level, *refuses)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_core_with_too_much_to_do_takes_back_whom_it_had_and_nobody_new() {
    let mut router = greeted(1);
    assert_eq!(loads(&load(&mut router, 0, 2, true)), [(0, 2, true)]);
    let outputs = request(&mut router, 1, 5, create("a"));
    let (1, 5, Err(refusal)) = answer(&outputs) else {
        panic!("{outputs:?}");
    };
    assert_eq!(refusal.code, RefusalCode::Exhausted);
    assert!(commands(&outputs).is_empty(), "the core is not bothered");
    let returning = Request::CreateSession {
        room: room("a"),
        label: Vec::new(),
        params: params(),
        returns: true,
    };
    assert_eq!(commands(&request(&mut router, 1, 6, returning)).len(), 1);
    let asked = request(&mut router, 1, 7, Request::Stats);
    let stats = Stats {
        cores: vec![CoreStats::default()],
    };
    let told = core_answers(&mut router, 0, commands(&asked)[0].1, Ok(Response::Stats(stats)));
    let (_, _, Ok(Response::Stats(stats))) = answer(&told) else {
        panic!("{told:?}");
    };
    assert_eq!(stats.cores[0].counters["sessions_refused"], 1);
    load(&mut router, 0, 0, false);
    assert_eq!(commands(&request(&mut router, 1, 8, create("a"))).len(), 1);
}

#[test]
fn a_refused_newcomer_leaves_its_place() {
    let mut router = greeted(1);
    load(&mut router, 0, 1, true);
    request(&mut router, 1, 5, create("a"));
    router.handle_closed(1);
    assert!(router.is_orphan());
}

#[test]
fn who_comes_later_is_told_the_loads_with_its_snapshot() {
    let mut router = greeted(2);
    load(&mut router, 1, 3, true);
    router.handle_closed(1);
    request(&mut router, 2, 1, hello());
    let outputs = request(&mut router, 2, 2, Request::Snapshot { after: None });
    assert_eq!(loads(&outputs), [(0, 0, false), (1, 3, true)]);
    let after = Some(SessionId(1));
    assert_eq!(
        loads(&request(&mut router, 2, 3, Request::Snapshot { after })),
        []
    );
}

#[test]
fn a_control_plane_of_before_is_not_told_what_it_can_not_read() {
    let mut router = router(1);
    let older = Request::Hello {
        version_min: 3,
        version_max: 3,
        build: "older".to_owned(),
    };
    request(&mut router, 1, 1, older);
    assert_eq!(load(&mut router, 0, 1, true), []);
    assert_eq!(
        loads(&request(&mut router, 1, 2, Request::Snapshot { after: None })),
        []
    );
    assert!(answer(&request(&mut router, 1, 3, create("a"))).2.is_err());
}
