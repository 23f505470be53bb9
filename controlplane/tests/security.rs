//! What somebody with bad intentions sends: tokens that are not theirs, half requests, silence.

mod common;

use std::time::Duration;

use common::{TestServer, answer, until_closed};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use kall_controlplane::config::AuthMode;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn now() -> u64 {
    std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs()
}

fn claims(room: &str) -> Value {
    json!({"iss": "koder-kall", "sub": "mallory", "name": "M", "room": room, "role": "host",
        "iat": now() - 5, "nbf": now() - 5, "exp": now() + 60, "jti": "x"})
}

#[tokio::test]
async fn only_tokens_of_this_server_for_this_room_and_this_time_open_it() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Target"})).await;
    let other = server.room(json!({"name": "Other"})).await;
    let id = room["id"].as_str().expect("an id").to_owned();
    let secret = kall_controlplane::secret::signing_secret(server.config()).expect("it was made");
    let sign = |change: &dyn Fn(&mut Value), header: Header, key: &[u8]| {
        let mut claims = claims(&id);
        change(&mut claims);
        encode(&header, &claims, &EncodingKey::from_secret(key)).expect("signs")
    };
    let hs256 = Header::new(Algorithm::HS256);
    let with = |change: &dyn Fn(&mut Value)| sign(change, hs256.clone(), &secret);
    let good = with(&|_| {});
    let body = good.split('.').nth(1).expect("three parts").to_owned();
    let mut kid = hs256.clone();
    kid.kid = Some("../../dev/null".into());
    let cases = [
        ("another key", sign(&|_| {}, hs256.clone(), &[b'x'; 32])),
        (
            "another algorithm",
            sign(&|_| {}, Header::new(Algorithm::HS512), &secret),
        ),
        ("alg none", format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.")),
        ("an unknown kid", sign(&|_| {}, kid, &secret)),
        ("another issuer", with(&|claims| claims["iss"] = json!("evil"))),
        ("no issuer", with(&|claims| claims["iss"] = Value::Null)),
        ("expired", with(&|claims| claims["exp"] = json!(now() - 60))),
        ("no expiry", with(&|claims| claims["exp"] = Value::Null)),
        ("not yet", with(&|claims| claims["nbf"] = json!(now() + 600))),
        ("no such role", with(&|claims| claims["role"] = json!("root"))),
        ("no identity", with(&|claims| claims["sub"] = json!(""))),
        (
            "a path for an identity",
            with(&|claims| claims["sub"] = json!("../x")),
        ),
        ("a cut signature", good[..good.len() - 4].to_owned()),
        ("a resume token", {
            let (_alice, joined) = server.join(&id, "alice", "host").await;
            joined["resume"].as_str().expect("a token").to_owned()
        }),
        ("not a token", "x".repeat(5000)),
    ];
    for (what, token) in cases {
        let mut socket = server.socket(&format!("token={token}")).await;
        if what == "expired" {
            // It was good once: only a resume token could follow.
            socket.send(json!({"type": "join", "room": id})).await;
        }
        let error = socket.expect("error").await;
        assert_eq!(error["code"], "auth_failed", "{what}: {error}");
        assert_eq!(socket.closed().await, 4401, "{what}");
    }
    let mut socket = server.socket(&format!("token={good}")).await;
    socket.send(json!({"type": "join", "room": other["id"]})).await;
    assert_eq!(socket.expect("error").await["code"], "auth_failed");
    socket.send(json!({"type": "join", "room": id})).await;
    socket.expect("joined").await;
    server.down().await;
}

#[tokio::test]
async fn a_resume_token_that_was_followed_by_another_is_refused() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Replay"})).await;
    let id = room["id"].as_str().expect("an id").to_owned();
    let (first, joined) = server.join(&id, "alice", "guest").await;
    let stolen = joined["resume"].clone();
    drop(first);
    let token = server.token(&id, "alice", "guest").await;
    let resume = async |resume: Value, token: &str| {
        let mut socket = server.socket(&format!("token={token}")).await;
        socket
            .send(json!({"type": "join", "room": id, "resume": resume}))
            .await;
        socket
    };
    let mut alice = resume(stolen.clone(), &token).await;
    let second = alice.expect("joined").await["resume"].clone();
    let mut alice = resume(second, &token).await;
    alice.expect("joined").await;
    let mut thief = resume(stolen.clone(), &token).await;
    assert_eq!(thief.expect("error").await["code"], "auth_failed");
    // Nor is it of use to somebody else.
    let mallory = server.token(&id, "mallory", "guest").await;
    let mut thief = resume(stolen, &mallory).await;
    assert_eq!(thief.expect("error").await["code"], "auth_failed");
    server.down().await;
}

#[tokio::test]
async fn many_half_open_sockets_do_not_keep_others_out() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let address = server.base.trim_start_matches("http://").to_owned();
    let mut held = Vec::new();
    for number in 0..400 {
        let mut socket = TcpStream::connect(&address).await.expect("it listens");
        let sent = if number % 2 == 0 {
            "GET /ws HTTP/1.1\r\nhost: x\r\n"
        } else {
            ""
        };
        socket.write_all(sent.as_bytes()).await.expect("it reads");
        held.push(socket);
    }
    let health = tokio::time::timeout(
        Duration::from_secs(10),
        answer(server.request("GET", "/health/live")),
    )
    .await;
    assert_eq!(health.expect("in time").0, 200);
    let mut socket = server.socket("name=Bob").await;
    socket.send(json!({"type": "join", "room": "calls"})).await;
    socket.expect("joined").await;
    drop(held);
    server.down().await;
}

#[tokio::test]
async fn what_is_too_long_is_refused_and_closed() {
    use tokio_tungstenite::tungstenite::Message;
    let mut server = TestServer::start(AuthMode::Open).await;
    let long = json!({"name": "x".repeat(70_000)});
    assert_eq!(
        answer(server.request("POST", "/meetings").json(&long)).await.0,
        413
    );
    let mut socket = server.socket("name=Bob").await;
    socket.send_raw(Message::text("x".repeat(300 << 10))).await;
    assert_eq!(socket.ended().await, Some(1009));
    server.down().await;
}

#[tokio::test]
async fn who_says_half_a_request_is_sent_away() {
    let mut server = TestServer::start_with(AuthMode::Open, |config| config.server.request_timeout = 1).await;
    let address = server.base.trim_start_matches("http://").to_owned();
    let head =
        "POST /meetings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 15\r\n";
    let body = format!("{head}\r\n{{\"name\"");
    let whole = "GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    let (silence, half_a_head, half_a_body, kept_alive) = tokio::join!(
        until_closed(&address, ""),
        until_closed(&address, head),
        until_closed(&address, &body),
        until_closed(&address, whole),
    );
    assert_eq!(silence, "");
    assert!(!half_a_head.contains(" 201 "), "{half_a_head}");
    assert!(half_a_body.starts_with("HTTP/1.1 408 "), "{half_a_body}");
    assert!(half_a_body.contains("\"request_timeout\""), "{half_a_body}");
    // After its answer a connection may stay for another request, but not for ever.
    assert!(kept_alive.starts_with("HTTP/1.1 200 "), "{kept_alive}");
    server.down().await;
}
