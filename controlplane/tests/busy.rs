//! A data plane that has too much to do: nobody new is let in, by whichever way, and told when to come again; who was
//! here comes back.

mod common;
#[path = "common/dataplane.rs"]
mod dataplane;

use common::TestServer;
use dataplane::FakeDataPlane;
use kall_controlplane::config::AuthMode;
use serde_json::{Value, json};

const OFFER: &str = include_str!("data/chromium_offer.sdp");

async fn server(cores: usize) -> (TestServer, FakeDataPlane) {
    let dataplane = FakeDataPlane::start(cores);
    let socket = dataplane.socket().display().to_string();
    let server =
        TestServer::start_with(AuthMode::Open, |config| config.dataplane.control_socket = socket).await;
    // It may take another attempt until the data plane answers.
    let end = tokio::time::Instant::now() + common::DEADLINE;
    while !settle(&server).await.contains("koder_kall_media_sessions ") {
        assert!(tokio::time::Instant::now() < end, "the data plane is not found");
        tokio::task::yield_now().await;
    }
    (server, dataplane)
}

/// Whatever the data plane said before is known afterwards: the page asks it, and messages stay in order.
async fn settle(server: &TestServer) -> String {
    let page = server.request("GET", "/metrics").send().await.expect("an answer");
    page.text().await.expect("text")
}

/// Status, code and Retry-After of an answer.
async fn refusal(request: reqwest::RequestBuilder) -> (u16, Option<String>, Option<u64>) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let wait = response.headers().get("retry-after");
    let wait = wait.map(|wait| wait.to_str().expect("text").parse().expect("seconds"));
    let body: Value = response.json().await.unwrap_or_default();
    let code = body["error"]["code"].as_str().map(str::to_owned);
    (status, code, wait)
}

fn full() -> (u16, Option<String>, Option<u64>) {
    (503, Some("room_full".to_owned()), Some(10))
}

#[tokio::test]
async fn every_door_is_shut_while_no_core_takes_anybody_and_opens_again() {
    let (mut server, dataplane) = server(2).await;
    let room = server.room(json!({"name": "Crowded"})).await;
    let (id, slug) = (
        room["id"].as_str().expect("id"),
        room["slug"].as_str().expect("slug"),
    );
    let (mut alice, _) = server.join(id, "alice", "guest").await;
    let meeting = || server.request("POST", "/meetings").json(&json!({}));
    let guest_path = format!("/meetings/{slug}/guest");
    let guest = || server.request("POST", &guest_path).json(&json!({"name": "Bob"}));
    let whip_path = format!("/whip/{id}");
    let whip = || {
        let request = server.request("POST", &whip_path);
        request.header("content-type", "application/sdp").body(OFFER)
    };
    let whep_path = format!("/whep/{id}");
    let whep = || {
        let request = server.request("POST", &whep_path);
        let offer = OFFER.replace("a=sendonly", "a=recvonly");
        request.header("content-type", "application/sdp").body(offer)
    };

    dataplane.refuse(0, true);
    settle(&server).await;
    // The other core may take the next room, so only a session tells.
    assert_eq!(refusal(guest()).await.0, 200);
    assert_eq!(refusal(whip()).await, full());
    assert_eq!(refusal(whep()).await, full());
    dataplane.refuse(1, true);
    settle(&server).await;
    assert_eq!(refusal(meeting()).await, full());
    assert_eq!(refusal(guest()).await, full());
    let mut bob = server.knock(id, "bob", "guest").await;
    assert_eq!(bob.expect("error").await["code"], "room_full");
    assert_eq!(alice.barrier().await, Vec::<Value>::new(), "nobody came and went");

    dataplane.refuse(0, false);
    settle(&server).await;
    assert_eq!(refusal(meeting()).await.0, 201);
    assert_eq!(refusal(guest()).await.0, 200);
    assert_eq!(refusal(whip()).await.0, 201);
    let joined = bob.ask(json!({"type": "join", "room": id})).await;
    assert_eq!(joined["type"], "joined", "the connection went on");
    server.down().await;
}

#[tokio::test]
async fn an_offer_is_refused_like_a_room_that_is_full_and_may_be_repeated() {
    let (mut server, dataplane) = server(2).await;
    let room = server.room(json!({"name": "Busy"})).await;
    let id = room["id"].as_str().expect("id");
    let (mut alice, _) = server.join(id, "alice", "guest").await;
    let offer = json!({"type": "offer", "sdp": OFFER});
    dataplane.refuse(0, true);
    assert_eq!(alice.refused(offer.clone()).await, "room_full");
    dataplane.refuse(0, false);
    assert_eq!(alice.ask(offer).await["type"], "answer");
    assert_eq!(dataplane.asked(), [false, false]);
    server.down().await;
}

#[tokio::test]
async fn who_was_in_the_meeting_comes_back() {
    let (mut server, dataplane) = server(1).await;
    let room = server.room(json!({"name": "Busy"})).await;
    let id = room["id"].as_str().expect("id");
    let (mut alice, joined) = server.join(id, "alice", "guest").await;
    let offer = json!({"type": "offer", "sdp": OFFER});
    assert_eq!(alice.ask(offer.clone()).await["type"], "answer");
    dataplane.refuse(0, true);
    settle(&server).await;
    // Its connection was lost, and so it makes another.
    dataplane.lose();
    alice.expect("media_restarted").await;
    assert_eq!(alice.ask(offer.clone()).await["type"], "answer");
    assert_eq!(dataplane.asked(), [false, true]);
    // Another tab takes over.
    let (mut again, _) = server.join(id, "alice", "guest").await;
    assert_eq!(again.ask(offer.clone()).await["type"], "answer");
    assert_eq!(dataplane.asked(), [true]);
    // It left for so long that its place was given up.
    again.send(json!({"type": "leave"})).await;
    let token = server.token(id, "alice", "guest").await;
    let mut late = server.socket(&format!("token={token}")).await;
    let join = json!({"type": "join", "room": id});
    assert_eq!(
        late.refused(join.clone()).await,
        "room_full",
        "a token alone is a newcomer's"
    );
    let mut resuming = join;
    resuming["resume"] = joined["resume"].clone();
    assert_eq!(late.ask(resuming).await["type"], "joined");
    assert_eq!(late.ask(offer).await["type"], "answer");
    assert_eq!(dataplane.asked(), [true]);
    server.down().await;
}

#[tokio::test]
async fn a_server_that_starts_beside_a_busy_data_plane_knows() {
    let (mut server, dataplane) = server(1).await;
    dataplane.refuse(0, true);
    server.down().await;
    server.up().await;
    let end = tokio::time::Instant::now() + common::DEADLINE;
    while !settle(&server).await.contains("koder_kall_media_sessions ") {
        assert!(tokio::time::Instant::now() < end, "the data plane is not found");
        tokio::task::yield_now().await;
    }
    let request = server.request("POST", "/meetings").json(&json!({}));
    assert_eq!(refusal(request).await, full());
    server.down().await;
}
