//! What must never stand in a log, at any level: keys, tokens, passwords, credentials of ICE.

use kall_shared::signalling::{ClientMessage, ServerMessage};
use kall_tests::server::{API_KEY, Io, Options, Server};
use kall_tests::signalling::{Client, Meeting};
use serde_json::json;

use crate::call::{How, Participant};

const PASSWORD: &str = "correct-horse-battery";
const SAID: &str = "between-us-alone";

#[tokio::test]
async fn no_secret_stands_in_a_log() {
    let options = Options {
        log_level: "trace",
        ..Io::Syscall.into()
    };
    let server = Server::start("secrets", options).await;
    let meeting = Meeting::create(&server, "Secrets").await;
    let mut host = Client::connect(&server, &meeting.host_token).await;
    host.join(&meeting.slug, None).await;
    let mut alice = Participant::join(&server, &meeting, "Alice", How::PUBLISHER).await;
    let video = host.expect("track_published", |message| match message {
        ServerMessage::TrackPublished { track_id, .. } => Some(track_id.clone()),
        _ => None,
    });
    video.await;
    let text = SAID.to_owned();
    host.send(ClientMessage::Chat { text, to: None }).await;
    let chat = |message: &ServerMessage| matches!(message, ServerMessage::Chat { .. }).then_some(());
    alice.signalling.expect("chat", chat).await;
    // Wrong ones are nobody else's business, either.
    let wrong = reqwest::Client::new()
        .post(server.url(&format!("/meetings/{}/guest", meeting.slug)))
        .json(&json!({"name": "Bob", "password": PASSWORD}))
        .send()
        .await
        .expect("an answer");
    assert!(wrong.status().is_success());
    let forged = reqwest::Client::new()
        .get(server.url("/rooms"))
        .bearer_auth(format!("{}:{PASSWORD}", API_KEY.0))
        .send()
        .await
        .expect("an answer");
    assert_eq!(forged.status(), 401);
    let resumed = alice.signalling.resume.clone();
    let mut again = Client::connect(&server, &alice.token).await;
    again.join(&meeting.slug, Some(&resumed)).await;

    let ice = |sdp: &str| -> Vec<String> {
        let lines = sdp.lines().filter_map(|line| line.strip_prefix("a=ice-pwd:"));
        lines.map(|password| password.trim().to_owned()).collect()
    };
    let mut secrets = vec![
        API_KEY.1.to_owned(),
        "a secret of more than thirty-two bytes for tests".to_owned(),
        meeting.host_token.clone(),
        alice.token.clone(),
        host.resume.clone(),
        resumed,
        again.resume.clone(),
        PASSWORD.to_owned(),
        SAID.to_owned(),
    ];
    secrets.extend(ice(&alice.offer));
    secrets.extend(ice(&alice.answer));
    assert!(secrets.len() > 10 && secrets.iter().all(|secret| secret.len() > 10));
    let logs = server.logs();
    assert!(logs.contains("DEBUG"), "the level acts");
    for secret in &secrets {
        // Of a token its signature alone would do.
        let tail = secret.rsplit('.').next().expect("a part");
        let line = logs.lines().find(|line| line.contains(tail));
        assert!(line.is_none(), "{tail} in: {}", line.unwrap_or_default());
    }
    server.stop().await;
}
