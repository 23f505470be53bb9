//! What breaks RFC 6455 itself, frame by frame: each row is closed with the code that is due, and the server goes on for
//! everybody else.

mod common;

use common::{DEADLINE, TestServer};
use kall_controlplane::config::AuthMode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Protocol error, unacceptable type, inconsistent text, and too much (section 7.4.1).
const PROTOCOL: u16 = 1002;
const TEXT_BROKEN: u16 = 1007;
const TOO_LARGE: u16 = 1009;

/// A frame of a client: masked, as it has to be, with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(MASKED | short as u8),
        middle @ 126..=0xffff => {
            frame.push(MASKED | 126);
            frame.extend((middle as u16).to_be_bytes());
        }
        long => {
            frame.push(MASKED | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A connection after its handshake.
async fn open(address: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    let handshake = "GET /ws?name=Mallory HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(handshake.as_bytes()).await.expect("it reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("an answer"));
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101 "),
        "{}",
        String::from_utf8_lossy(&head)
    );
    socket
}

/// The next frame of the server: its first byte and its payload; none at the end.
async fn read_frame(socket: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let first = socket.read_u8().await.ok()?;
    let len = match socket.read_u8().await.ok()? {
        126 => usize::from(socket.read_u16().await.ok()?),
        127 => socket.read_u64().await.ok()? as usize,
        short => usize::from(short),
    };
    let mut payload = vec![0; len];
    socket.read_exact(&mut payload).await.ok()?;
    Some((first, payload))
}

/// The code the server closes with after `sent`, or none when it just ends the connection.
async fn answer_to(address: &str, sent: &[u8]) -> Option<u16> {
    let mut socket = open(address).await;
    // It may be closed before all of it is written.
    let _ = socket.write_all(sent).await;
    let closed = async {
        while let Some((first, payload)) = read_frame(&mut socket).await {
            if first & 0x0f == CLOSE {
                return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        }
        None
    };
    tokio::time::timeout(DEADLINE, closed)
        .await
        .expect("an end in time")
}

#[tokio::test]
async fn whoever_breaks_the_protocol_is_sent_away_alone() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let address = server.base.trim_start_matches("http://").to_owned();
    let mut witness = server.socket("name=Witness").await;
    witness.send(json!({"type": "join", "room": "calm"})).await;
    witness.expect("joined").await;

    let long = |first: u8, len: u64| {
        let mut head = vec![first, MASKED | 127];
        head.extend(len.to_be_bytes());
        head.extend([0; 4]);
        head
    };
    let whole = |opcode: u8, payload: &[u8]| frame(FIN | opcode, payload);
    let rows: Vec<(&str, Vec<u8>, &[u16])> = vec![
        (
            "a frame without a mask",
            vec![FIN | TEXT, 2, b'{', b'}'],
            &[PROTOCOL],
        ),
        ("a reserved bit", whole(TEXT | 0x40, b"{}"), &[PROTOCOL]),
        ("all reserved bits", whole(TEXT | 0x70, b"{}"), &[PROTOCOL]),
        ("a reserved data opcode", whole(3, b"x"), &[PROTOCOL]),
        ("a reserved control opcode", whole(11, b"x"), &[PROTOCOL]),
        ("a ping in pieces", frame(PING, b"x"), &[PROTOCOL]),
        ("a ping of 126 bytes", whole(PING, &[b'x'; 126]), &[PROTOCOL]),
        (
            "a close in pieces",
            frame(CLOSE, &1000u16.to_be_bytes()),
            &[PROTOCOL],
        ),
        ("a continuation of nothing", whole(0, b"{}"), &[PROTOCOL]),
        (
            "a new message inside another",
            [frame(TEXT, b"{"), whole(TEXT, b"}")].concat(),
            &[PROTOCOL],
        ),
        (
            "text that is no UTF-8",
            whole(TEXT, &[0xff, 0xfe]),
            &[TEXT_BROKEN],
        ),
        ("a letter cut in two", whole(TEXT, &[0xe2, 0x82]), &[TEXT_BROKEN]),
        (
            "pieces that are no UTF-8 together",
            [frame(TEXT, b"\xe2"), whole(0, b"(")].concat(),
            &[TEXT_BROKEN],
        ),
        (
            "a length beyond all bounds",
            long(FIN | TEXT, u64::MAX),
            &[PROTOCOL, TOO_LARGE],
        ),
        ("a length beyond ours", long(FIN | TEXT, 1 << 30), &[TOO_LARGE]),
        (
            "pieces beyond ours",
            [frame(TEXT, &[b'x'; 200_000]), whole(0, &[b'x'; 100_000])].concat(),
            &[TOO_LARGE],
        ),
        ("a close of one byte", whole(CLOSE, &[3]), &[PROTOCOL]),
        (
            "a close code that is never sent",
            whole(CLOSE, &1005u16.to_be_bytes()),
            &[PROTOCOL],
        ),
        (
            "a close reason that is no UTF-8",
            whole(CLOSE, &[3, 232, 0xff]),
            &[TEXT_BROKEN, PROTOCOL],
        ),
        // And what is allowed.
        ("an empty close", whole(CLOSE, &[]), &[1000, 1005]),
        ("a close in order", whole(CLOSE, &1000u16.to_be_bytes()), &[1000]),
        (
            "a pong that nobody asked for",
            [whole(PONG, b"x"), whole(CLOSE, &1000u16.to_be_bytes())].concat(),
            &[1000],
        ),
    ];
    for (what, sent, codes) in rows {
        let code = answer_to(&address, &sent).await;
        // A peer that broke the framing may just lose its connection (section 7.1.7).
        assert!(
            code.is_none_or(|code| codes.contains(&code)),
            "{what}: {code:?}, not one of {codes:?}"
        );
    }

    // A binary message is no message of ours, and the connection goes on; pings are answered in between pieces.
    let mut socket = open(&address).await;
    let said = [
        whole(BINARY, b"{}"),
        frame(TEXT, b"{\"type\":"),
        whole(PING, b"?"),
        whole(0, b"\"sing\"}"),
    ]
    .concat();
    socket.write_all(&said).await.expect("open");
    let mut answers = Vec::new();
    while answers.len() < 3 {
        answers.push(read_frame(&mut socket).await.expect("it goes on"));
    }
    let text = |code: &str| {
        let code = format!("\"code\":\"{code}\"");
        answers
            .iter()
            .any(|(first, payload)| *first == FIN | TEXT && String::from_utf8_lossy(payload).contains(&code))
    };
    assert!(text("bad_message") && text("unknown_type"), "{answers:?}");
    assert!(answers.contains(&(FIN | PONG, b"?".to_vec())), "{answers:?}");

    witness.send(json!({"type": "chat", "text": "calm"})).await;
    witness.expect("chat").await;
    server.down().await;
}
