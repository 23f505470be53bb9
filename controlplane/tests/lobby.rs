//! Lobbies and modes: who waits, what it sees, who lets it in.

mod common;

use common::{TestServer, answer};
use kall_controlplane::config::AuthMode;
use serde_json::{Value, json};

async fn room(server: &TestServer, body: Value) -> (String, String) {
    let room = server.room(body).await;
    let text = |field: &str| room[field].as_str().expect("text").to_owned();
    (text("id"), text("slug"))
}

#[tokio::test]
async fn a_guest_waits_and_sees_the_name_alone_until_it_is_let_in() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let (id, _) = room(&server, json!({"name": "Board", "lobby_enabled": true})).await;
    let (mut host, joined) = server.join(&id, "host", "host").await;
    assert_eq!(joined["room_info"]["lobby_enabled"], true);
    let mut bob = server.knock(&id, "bob", "guest").await;
    let waiting = bob.expect("lobby_waiting").await;
    let told: Vec<&str> = waiting
        .as_object()
        .expect("fields")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(told, ["identity", "re", "room_name", "type"]);
    assert_eq!(
        (&waiting["room_name"], &waiting["re"]),
        (&json!("Board"), &json!("join"))
    );
    let asks = host.expect("lobby_request").await;
    assert_eq!((&asks["identity"], &asks["name"]), (&json!("bob"), &json!("BOB")));

    // Nothing of the room reaches who waits, and it can do nothing.
    host.send(json!({"type": "chat", "text": "secret"})).await;
    host.expect("chat").await;
    for message in [
        json!({"type": "chat", "text": "hello?"}),
        json!({"type": "offer", "sdp": "x", "to": "host"}),
        json!({"type": "chat_history"}),
        json!({"type": "lobby_admit_all"}),
        json!({"type": "hand", "raised": true}),
    ] {
        assert_eq!(bob.refused(message).await, "not_joined");
    }
    let (_, roster) = server
        .call("GET", &format!("/rooms/{id}/participants"), None)
        .await;
    assert_eq!(roster["total"], 1);
    let (_, lobby) = server.call("GET", &format!("/rooms/{id}/lobby"), None).await;
    assert_eq!(lobby["waiting"], json!([{"identity": "bob", "name": "BOB"}]));

    host.send(json!({"type": "lobby_admit", "identity": "bob"})).await;
    let joined = bob.expect("joined").await;
    assert_eq!(
        (&joined["re"], &joined["participants"][0]["identity"]),
        (&json!("join"), &json!("host"))
    );
    assert_eq!(host.expect("lobby_left").await["identity"], "bob");
    assert_eq!(host.expect("participant_joined").await["identity"], "bob");
    assert!(!bob.has_seen("chat").await, "what was said before was not for it");

    // Whoever was let in comes back without asking.
    let resume = joined["resume"].clone();
    drop(bob);
    let token = server.token(&id, "bob", "guest").await;
    let mut bob = server.socket(&format!("token={token}")).await;
    bob.send(json!({"type": "join", "room": id, "resume": resume}))
        .await;
    bob.expect("joined").await;
    server.down().await;
}

#[tokio::test]
async fn a_rejected_guest_learns_why_and_a_moderator_who_comes_later_who_waits() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let (id, _) = room(&server, json!({"name": "Board", "lobby_enabled": true})).await;
    let mut bob = server.knock(&id, "bob", "guest").await;
    bob.expect("lobby_waiting").await;
    let mut carol = server.knock(&id, "carol", "viewer").await;
    carol.expect("lobby_waiting").await;
    let mut dave = server.knock(&id, "dave", "guest").await;
    dave.expect("lobby_waiting").await;
    let (mut host, _) = server.join(&id, "cohost", "co_host").await;
    for who in ["bob", "carol", "dave"] {
        assert_eq!(host.expect("lobby_request").await["identity"], who);
    }
    host.send(json!({"type": "lobby_reject", "identity": "bob", "reason": "Not invited"}))
        .await;
    assert_eq!(bob.expect("lobby_rejected").await["reason"], "Not invited");
    assert_eq!(bob.closed().await, 4403);
    dave.send(json!({"type": "leave"})).await;
    assert_eq!(dave.closed().await, 1000);
    host.send(json!({"type": "lobby_admit_all"})).await;
    carol.expect("joined").await;
    assert_eq!(
        host.refused(json!({"type": "lobby_admit", "identity": "bob"}))
            .await,
        "participant_not_found"
    );
    server.down().await;
}

#[tokio::test]
async fn the_api_lets_in_rejects_and_switches_the_lobby_off() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let (id, _) = room(&server, json!({"name": "Board", "lobby_enabled": true})).await;
    let mut waiting = Vec::new();
    for who in ["a", "b", "c", "d"] {
        let mut socket = server.knock(&id, who, "guest").await;
        socket.expect("lobby_waiting").await;
        waiting.push(socket);
    }
    let post = async |path: &str, body: Option<Value>| {
        server
            .call("POST", &format!("/rooms/{id}/lobby/{path}"), body)
            .await
            .0
    };
    assert_eq!(post("a/admit", None).await, 204);
    waiting[0].expect("joined").await;
    assert_eq!(post("b/reject", Some(json!({"reason": "full"}))).await, 204);
    assert_eq!(waiting[1].expect("lobby_rejected").await["reason"], "full");
    assert_eq!(post("b/admit", None).await, 404);
    let (status, _) = server
        .call(
            "PATCH",
            &format!("/rooms/{id}"),
            Some(json!({"lobby_enabled": false})),
        )
        .await;
    assert_eq!(status, 200);
    for socket in &mut waiting[2..] {
        socket.expect("joined").await;
    }
    let (_, roster) = server
        .call(
            "GET",
            &format!("/rooms/{id}/participants?role=guest&limit=2&offset=1"),
            None,
        )
        .await;
    assert_eq!(
        (&roster["total"], roster["participants"].as_array().map(Vec::len)),
        (&json!(3), Some(2))
    );
    server.down().await;
}

#[tokio::test]
async fn lobby_mode_takes_strangers_who_wait() {
    let mut server = TestServer::start(AuthMode::Lobby).await;
    let (id, slug) = room(&server, json!({"name": "Public"})).await;
    let mut stranger = server.socket("name=Zoe").await;
    stranger.send(json!({"type": "join", "room": slug})).await;
    let waiting = stranger.expect("lobby_waiting").await;
    let guest = json!({"name": "Yan"});
    let (status, entrance) = answer(
        server
            .request("POST", &format!("/meetings/{slug}/guest"))
            .json(&guest),
    )
    .await;
    assert_eq!(status, 200, "{entrance}");
    let mut guest = server
        .socket(&format!("token={}", entrance["token"].as_str().expect("a token")))
        .await;
    guest.send(json!({"type": "join", "room": slug})).await;
    guest.expect("lobby_waiting").await;
    let (mut host, _) = server.join(&id, "host", "host").await;
    host.send(json!({"type": "lobby_admit", "identity": waiting["identity"]}))
        .await;
    assert_eq!(stranger.expect("joined").await["role"], "guest");
    // An unknown link makes no room here, and no meeting.
    let mut other = server.socket("name=Xi").await;
    other.send(json!({"type": "join", "room": "unknown"})).await;
    assert_eq!(other.expect("error").await["code"], "room_not_found");
    assert_eq!(
        answer(server.request("POST", "/meetings").json(&json!({})))
            .await
            .0,
        403
    );
    // The room's end is the lobby's.
    assert_eq!(server.call("DELETE", &format!("/rooms/{id}"), None).await.0, 204);
    guest.expect("room_closed").await;
    server.down().await;
}

#[tokio::test]
async fn a_room_may_be_more_or_less_open_than_its_server() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let (open, _) = room(&server, json!({"name": "Open house", "mode": "open"})).await;
    let (closed, _) = room(&server, json!({"name": "Members"})).await;
    let mut stranger = server.socket("name=Zoe").await;
    stranger.send(json!({"type": "join", "room": open})).await;
    stranger.expect("joined").await;
    let mut stranger = server.socket("name=Zoe").await;
    stranger.send(json!({"type": "join", "room": closed})).await;
    assert_eq!(stranger.expect("error").await["code"], "auth_failed");
    assert_eq!(stranger.closed().await, 4401);
    let guest = |room: &str| {
        server
            .request("POST", &format!("/meetings/{room}/guest"))
            .json(&json!({"name": "Y"}))
    };
    assert_eq!(answer(guest(&open)).await.0, 200);
    assert_eq!(answer(guest(&closed)).await.0, 403);
    server.down().await;

    let mut server = TestServer::start(AuthMode::Open).await;
    let (closed, _) = room(&server, json!({"name": "Members", "mode": "token"})).await;
    let mut stranger = server.socket("name=Zoe").await;
    stranger.send(json!({"type": "join", "room": closed})).await;
    assert_eq!(stranger.expect("error").await["code"], "auth_failed");
    let (lobby, _) = room(&server, json!({"name": "Waiting", "mode": "lobby"})).await;
    let mut stranger = server.socket("name=Zoe").await;
    stranger.send(json!({"type": "join", "room": lobby})).await;
    stranger.expect("lobby_waiting").await;
    server.down().await;
}
