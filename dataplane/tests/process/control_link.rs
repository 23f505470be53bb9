//! The control link of the real binary, over its real socket.

use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use kall_shared::id::SessionId;
use kall_shared::link::{Refusal, RefusalCode, Request, Response, ToControl};
use kall_shared::version::{LINK_VERSION, LINK_VERSION_MIN};

use crate::link::{DataPlane, command, hello, ready, wait};

fn refused(result: Result<Response, Refusal>) -> RefusalCode {
    result.expect_err("a refusal").code
}

#[test]
fn it_introduces_itself_and_answers_pings() {
    for io in ["syscall", "io_uring"] {
        let data_plane = DataPlane::start(&["--io", io, "--advertise", "192.0.2.9"]);
        let (mut client, answer) = data_plane.greet();
        assert_eq!(answer.version, LINK_VERSION);
        assert_eq!(answer.pid, data_plane.child.id());
        assert_eq!(answer.io, io);
        assert_eq!(answer.bind, std::net::IpAddr::from([127, 0, 0, 1]));
        assert_eq!(answer.addresses, [std::net::IpAddr::from([192, 0, 2, 9])]);
        assert!(matches!(answer.udp_ports[..], [port] if port != 0));
        assert_eq!(client.ask(2, Request::Ping), Ok(Response::Done));
    }
}

#[test]
fn nothing_is_answered_before_hello_and_a_second_hello_is_refused() {
    let data_plane = DataPlane::start(&[]);
    let mut client = data_plane.connect();
    assert_eq!(refused(client.ask(7, Request::Ping)), RefusalCode::Protocol);
    assert!(client.ask(8, hello(LINK_VERSION, LINK_VERSION)).is_ok());
    assert_eq!(client.ask(9, Request::Ping), Ok(Response::Done));
    let again = client.ask(10, hello(LINK_VERSION, LINK_VERSION));
    assert_eq!(refused(again), RefusalCode::Protocol);
}

#[test]
fn a_foreign_version_is_refused_and_hung_up_on_while_the_other_goes_on() {
    let data_plane = DataPlane::start(&[]);
    let (mut first, _) = data_plane.greet();
    let mut foreign = data_plane.connect();
    let result = foreign.ask(1, hello(LINK_VERSION + 5, LINK_VERSION + 6));
    assert_eq!(refused(result), RefusalCode::Version);
    assert_eq!(foreign.next(), None);
    assert_eq!(first.ask(2, Request::Ping), Ok(Response::Done));
}

#[test]
fn a_newer_control_plane_replaces_the_older_of_the_same_process() {
    let data_plane = DataPlane::start(&[]);
    let (mut first, one) = data_plane.greet();
    // A connection alone replaces nobody: a health check may look whether somebody listens.
    let mut second = data_plane.connect();
    assert_eq!(first.ask(2, Request::Ping), Ok(Response::Done));
    let Ok(Response::Hello(two)) = second.ask(1, hello(LINK_VERSION_MIN, LINK_VERSION)) else {
        panic!("no hello");
    };
    assert_eq!(first.next(), None);
    assert_eq!(one.instance, two.instance);
    assert_eq!(second.ask(2, Request::Ping), Ok(Response::Done));
}

#[test]
fn requests_for_nobody_are_refused() {
    let data_plane = DataPlane::start(&[]);
    let (mut client, _) = data_plane.greet();
    let session = SessionId::pack(9, 1, 1);
    let result = client.ask(2, Request::CloseSession { session });
    assert_eq!(refused(result), RefusalCode::NotFound);
}

#[test]
fn hostile_frames_cost_the_sender_its_connection_and_nobody_else_anything() {
    let data_plane = DataPlane::start(&[]);
    let (mut good, _) = data_plane.greet();
    let mut promises_too_much = u32::MAX.to_le_bytes().to_vec();
    promises_too_much.extend([0; 100]);
    let mut no_message = 5_u32.to_le_bytes().to_vec();
    no_message.extend([0xc1; 5]);
    for hostile in [promises_too_much, no_message] {
        let mut client = data_plane.connect();
        client.stream.write_all(&hostile).expect("open");
        assert_eq!(client.next(), None);
    }
    // A request from the future is not hostile: it is answered.
    let mut future = 4_u32.to_le_bytes().to_vec();
    future.extend([0x81, 0xa2, b'i', b'd']);
    future.push(42);
    future[0] += 1;
    good.stream.write_all(&future).expect("open");
    let Some(ToControl::Answer { id: 42, result }) = good.next() else {
        panic!("no answer");
    };
    assert_eq!(refused(result), RefusalCode::Protocol);
    assert_eq!(good.ask(3, Request::Ping), Ok(Response::Done));
}

#[test]
fn shutdown_is_answered_and_ends_the_process_with_zero() {
    let mut data_plane = DataPlane::start(&[]);
    let (mut client, _) = data_plane.greet();
    assert_eq!(client.ask(2, Request::Shutdown), Ok(Response::Done));
    assert_eq!(data_plane.wait().code(), Some(0));
    assert_eq!(client.next(), None);
    assert!(!data_plane.socket.exists());
}

#[test]
fn signals_end_it_with_zero() {
    for signal in ["-TERM", "-INT"] {
        let mut data_plane = DataPlane::start(&[]);
        let (_client, _) = data_plane.greet();
        data_plane.signal(signal);
        assert_eq!(data_plane.wait().code(), Some(0), "{signal}");
        assert!(!data_plane.socket.exists());
    }
}

#[test]
fn an_orphan_ends_and_one_with_a_control_plane_does_not() {
    let mut orphan = DataPlane::start(&["--orphan-timeout", "1"]);
    assert_eq!(orphan.wait().code(), Some(0));

    let mut kept = DataPlane::start(&["--orphan-timeout", "1"]);
    let (mut client, _) = kept.greet();
    // It answers for longer than an orphan lives.
    let end = Instant::now() + Duration::from_millis(1500);
    let mut id = 2;
    while Instant::now() < end {
        assert_eq!(client.ask(id, Request::Ping), Ok(Response::Done));
        id += 1;
    }
    drop(client);
    assert_eq!(kept.wait().code(), Some(0));
}

#[test]
fn a_second_process_on_the_same_socket_does_not_start() {
    let data_plane = DataPlane::start(&[]);
    let (mut client, _) = data_plane.greet();
    let mut second = command(&data_plane.socket, &[]).spawn().expect("starts");
    assert_eq!(wait(&mut second).code(), Some(1));
    let mut log = String::new();
    let mut stderr = second.stderr.take().expect("piped");
    stderr.read_to_string(&mut log).expect("text");
    assert!(log.contains("another data plane"), "{log}");
    assert_eq!(client.ask(2, Request::Ping), Ok(Response::Done));
}

#[test]
fn a_killed_process_leaves_nothing_in_its_successors_way() {
    let mut first = DataPlane::start(&[]);
    let (_client, one) = first.greet();
    first.child.kill().expect("ours");
    first.child.wait().expect("ours");
    assert!(first.socket.exists(), "a killed process leaves its socket");
    let mut second = command(&first.socket, &[]).spawn().expect("starts");
    assert!(ready(&mut second, &first.socket));
    first.child = second;
    let (_client, two) = first.greet();
    assert_ne!(one.instance, two.instance);
}

#[test]
fn a_taken_port_and_bad_usage_are_one_clear_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let listening = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let tcp_port = listening.local_addr().expect("bound").port().to_string();
    let missing = directory.path().join("missing").join("x.sock");
    let good = directory.path().join("x.sock");
    for (socket, args, status, words) in [
        (&good, &["--udp-port", port.as_str()][..], 1, port.as_str()),
        (
            &good,
            &["--udp-port", "0", "--tcp-port", tcp_port.as_str()],
            1,
            tcp_port.as_str(),
        ),
        (&missing, &[], 1, "missing"),
        (&good, &["--cores", "none"], 2, "--cores"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kall-dataplane"));
        let output = command
            .arg("--control-socket")
            .arg(socket)
            .args(["--bind", "127.0.0.1", "--log-level", "off"])
            .args(args)
            .output()
            .expect("starts");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains(words), "{message}");
    }
}
