//! A large event: two thousand clients in one room. Everybody is in within half a minute, what is said
//! reaches all, and one who does not read holds nobody up. That such a one is closed in the end is in
//! `signalling.rs`, where its queue fills sooner.
//!
//! Run apart from the other tests: it has the machine for itself.

mod common;

use std::time::{Duration, Instant};

use common::{Socket, TestServer};
use futures_util::StreamExt;
use futures_util::stream;
use kall_controlplane::config::AuthMode;
use serde_json::json;
use tokio::io::AsyncWriteExt;

const GUESTS: usize = 100;
const VIEWERS: usize = 1_900;

/// Connections that are opened at a time, as a crowd that comes by invitation does.
const AT_ONCE: usize = 64;

/// Resident memory of this process, server and clients, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a line");
    let kilobytes = line
        .split_whitespace()
        .next()
        .and_then(|text| text.parse::<u64>().ok());
    kilobytes.expect("a number") * 1024
}

/// Somebody who asks to join, speaks no WebSocket beyond that, and reads nothing.
async fn deaf(server: &TestServer, room: &str, token: &str) -> tokio::net::TcpStream {
    let address = server.base.trim_start_matches("http://");
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = socket
        .connect(address.parse().expect("an address"))
        .await
        .expect("it listens");
    let head = format!(
        "GET /ws?token={token} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let body = json!({"type": "join", "room": room}).to_string();
    // RFC 6455 section 5.2: one masked text frame; the mask is zero.
    let mut frame = vec![0x81, 0x80 | body.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(body.as_bytes());
    stream.write_all(&frame).await.expect("it reads");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_clients_in_one_room() {
    let mut server = TestServer::start_with(AuthMode::Token, |config| {
        config.api.burst = 100_000;
        config.api.requests_per_second = 100_000;
        config.room.default_max_participants = 5_000;
    })
    .await;
    let room = server.room(json!({"name": "Launch"})).await;
    let id = room["id"].as_str().expect("an id").to_owned();
    let (mut host, _) = server.join(&id, "host", "host").await;
    let mut tokens = Vec::new();
    for number in 0..GUESTS + VIEWERS {
        let role = if number % 20 == 0 { "guest" } else { "viewer" };
        tokens.push((number, server.token(&id, &format!("p{number:04}"), role).await));
    }
    let before = resident();
    let begun = Instant::now();
    let server_ref = &server;
    let room = &id;
    let join = |(number, token): (usize, String)| async move {
        let mut socket = server_ref.socket(&format!("token={token}")).await;
        socket.send(json!({"type": "join", "room": room})).await;
        socket.expect("joined").await;
        (number, socket)
    };
    let mut sockets: Vec<(usize, Socket)> = stream::iter(tokens)
        .map(join)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let took = begun.elapsed();
    let each = resident().saturating_sub(before) / (GUESTS + VIEWERS) as u64;
    assert!(took < Duration::from_secs(30), "all are in after {took:?}");
    sockets.sort_by_key(|(number, _)| *number);

    let path = format!("/rooms/{id}/participants?role=viewer&limit=1000");
    let (_, page) = server.call("GET", &path, None).await;
    assert_eq!(
        (
            page["total"].as_u64(),
            page["participants"].as_array().map(Vec::len)
        ),
        (Some(1900), Some(1000))
    );

    // One who never reads. It is a guest, so everybody is told of it, and of its end.
    let token = server.token(&id, "deaf", "guest").await;
    let deaf = deaf(&server, &id, &token).await;
    loop {
        if host.expect("participant_joined").await["identity"] == "deaf" {
            break;
        }
    }

    // Every client reads at once, and notes when it had what was said.
    let said = 50;
    let readers: Vec<_> = sockets
        .into_iter()
        .map(|(_, mut socket)| {
            tokio::spawn(async move {
                let mut times = Vec::with_capacity(said);
                while times.len() < said {
                    socket.expect("chat").await;
                    times.push(Instant::now());
                }
                (socket, times)
            })
        })
        .collect();
    let mut starts = Vec::with_capacity(said);
    for number in 0..said {
        let text = format!("{number} {}", "x".repeat(4_000));
        starts.push(Instant::now());
        host.ask(json!({"type": "chat", "text": text})).await;
    }
    let mut latencies = Vec::new();
    let mut kept = Vec::new();
    for reader in readers {
        let (socket, times) = reader.await.expect("no reader panicked");
        latencies.extend(
            times
                .iter()
                .zip(&starts)
                .map(|(at, start)| at.saturating_duration_since(*start)),
        );
        kept.push(socket);
    }
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    assert_eq!(latencies.len(), said * (GUESTS + VIEWERS));

    drop(deaf);

    let report = format!(
        "2,000 clients: all in after {:.1} s; a message reaches them in {:.0} ms (median), {:.0} ms (p99), \
         {:.0} ms (last); {} KiB a connection, client and server together\n",
        took.as_secs_f64(),
        at(0.5).as_secs_f64() * 1e3,
        at(0.99).as_secs_f64() * 1e3,
        at(1.0).as_secs_f64() * 1e3,
        each / 1024
    );
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../artifacts");
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(format!("{folder}/crowd.txt"), &report).expect("written");
    say(&report);
    drop(kept);
    server.down().await;
}

#[expect(
    clippy::print_stdout,
    reason = "the figures are what the test is for, besides its bounds"
)]
fn say(report: &str) {
    println!("{report}");
}
