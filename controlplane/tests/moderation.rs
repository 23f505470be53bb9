//! Kicks, bans, roles, hands, the end of a room, and who is host when the last one has gone.

mod common;

use common::{TestServer, answer};
use kall_controlplane::config::AuthMode;
use serde_json::{Value, json};

async fn room(server: &TestServer) -> String {
    let room = server.room(json!({"name": "Team"})).await;
    room["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_kicked_participants_tokens_open_nothing_any_more() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let id = room(&server).await;
    let (mut host, _) = server.join(&id, "host", "host").await;
    let token = server.token(&id, "bob", "guest").await;
    let mut bob = server.socket(&format!("token={token}")).await;
    bob.send(json!({"type": "join", "room": id})).await;
    let resume = bob.expect("joined").await["resume"].clone();
    host.send(json!({"type": "kick", "identity": "bob"})).await;
    let kicked = bob.expect("kicked").await;
    assert_eq!(
        (&kicked["identity"], &kicked["by"]),
        (&json!("bob"), &json!("host"))
    );
    assert_eq!(bob.closed().await, 4403);
    assert_eq!(host.expect("kicked").await["identity"], "bob");
    assert_eq!(host.expect("participant_left").await["identity"], "bob");
    let again = |resume: Option<&Value>| json!({"type": "join", "room": id, "resume": resume});
    for _ in 0..2 {
        for resume in [None, Some(&resume)] {
            let mut bob = server.socket(&format!("token={token}")).await;
            bob.send(again(resume)).await;
            let error = bob.expect("error").await;
            assert_eq!(error["code"], "auth_failed", "{error}");
        }
        // Kept: a restart forgives nothing.
        server.down().await;
        server.up().await;
    }
    // Another token may be given, and is good.
    server.join(&id, "bob", "guest").await;
    server.down().await;
}

#[tokio::test]
async fn a_kicked_guest_without_a_token_cannot_resume() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let id = room(&server).await;
    let mut guest = server.socket("name=Zoe").await;
    guest.send(json!({"type": "join", "room": id})).await;
    let joined = guest.expect("joined").await;
    let body = json!({"identity": joined["identity"]});
    assert_eq!(
        server
            .call("POST", &format!("/rooms/{id}/kick"), Some(body))
            .await
            .0,
        204
    );
    assert_eq!(guest.expect("kicked").await["by"], "api");
    let mut again = server.socket("name=Zoe").await;
    again
        .send(json!({"type": "join", "room": id, "resume": joined["resume"]}))
        .await;
    assert_eq!(again.expect("error").await["code"], "auth_failed");
    server.down().await;
}

#[tokio::test]
async fn bans_go_by_identity_or_address_and_can_be_lifted() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let id = room(&server).await;
    let other = room(&server).await;
    let (mut host, _) = server.join(&id, "host", "host").await;
    let (mut bob, _) = server.join(&id, "bob", "guest").await;
    host.send(json!({"type": "kick", "identity": "bob", "ban": "identity"}))
        .await;
    bob.expect("kicked").await;
    let refused = async |who: &str, role: &str| {
        let mut socket = server.knock(&id, who, role).await;
        let error = socket.expect("error").await;
        error["code"].as_str().expect("a code").to_owned()
    };
    assert_eq!(refused("bob", "guest").await, "banned");
    assert_eq!(refused("bob", "host").await, "banned");
    server.join(&other, "bob", "guest").await;
    server.join(&id, "carol", "guest").await;
    let body = json!({"by": "address", "value": "127.0.0.1"});
    let (status, bans) = server
        .call("POST", &format!("/rooms/{id}/bans"), Some(body))
        .await;
    assert_eq!((status, bans["bans"].as_array().map(Vec::len)), (201, Some(2)));
    assert_eq!(bans["bans"][0]["created_by"], "host");
    assert_eq!(refused("dave", "guest").await, "banned");
    // Moderators share addresses with those they banned.
    server.join(&id, "second", "co_host").await;
    // Kept, and lifted one by one.
    server.down().await;
    server.up().await;
    let (_, bans) = server.call("GET", &format!("/rooms/{id}/bans"), None).await;
    for ban in bans["bans"].as_array().expect("a list") {
        let path = format!("/rooms/{id}/bans/{}", ban["id"].as_str().expect("an id"));
        assert_eq!(server.call("DELETE", &path, None).await.0, 204);
        let (status, error) = server.call("DELETE", &path, None).await;
        assert_eq!((status, &error["error"]["code"]), (404, &json!("ban_not_found")));
    }
    server.join(&id, "bob", "guest").await;
    let body = json!({"by": "address", "value": "nowhere"});
    assert_eq!(
        server
            .call("POST", &format!("/rooms/{id}/bans"), Some(body))
            .await
            .0,
        422
    );
    server.down().await;
}

#[tokio::test]
async fn a_role_changes_what_somebody_may_do_at_once() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let id = room(&server).await;
    let (mut host, _) = server.join(&id, "host", "host").await;
    let (mut vera, _) = server.join(&id, "vera", "viewer").await;
    assert_eq!(
        vera.refused(json!({"type": "chat", "text": "x"})).await,
        "permission_denied"
    );
    host.send(json!({"type": "role", "identity": "vera", "role": "guest"}))
        .await;
    let told = vera.expect("role_changed").await;
    assert_eq!(
        (&told["role"], &told["permissions"]["chat"]),
        (&json!("guest"), &json!(true))
    );
    let seen = host.expect("role_changed").await;
    assert_eq!(
        (&seen["identity"], seen.get("permissions")),
        (&json!("vera"), None)
    );
    vera.ask(json!({"type": "chat", "text": "thanks"})).await;
    let path = format!("/rooms/{id}/participants/vera/role");
    assert_eq!(
        server
            .call("POST", &path, Some(json!({"role": "co_host"})))
            .await
            .0,
        204
    );
    assert_eq!(vera.expect("role_changed").await["permissions"]["admin"], true);
    // A new connection of hers is what she was made, not what her token says.
    let (_again, joined) = server.join(&id, "vera", "viewer").await;
    assert_eq!(joined["role"], "co_host");
    let path = format!("/rooms/{id}/participants/nobody/role");
    assert_eq!(
        server.call("POST", &path, Some(json!({"role": "guest"}))).await.0,
        404
    );
    server.down().await;
}

#[tokio::test]
async fn hands_are_raised_by_oneself_and_lowered_by_moderators() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let id = room(&server).await;
    let (mut host, _) = server.join(&id, "host", "host").await;
    let (mut vera, _) = server.join(&id, "vera", "viewer").await;
    vera.send(json!({"type": "hand", "raised": true})).await;
    let seen = host.expect("hand").await;
    assert_eq!(
        (&seen["identity"], &seen["raised"], &seen["by"]),
        (&json!("vera"), &json!(true), &json!("vera"))
    );
    let (mut bob, joined) = server.join(&id, "bob", "guest").await;
    let hands: Vec<bool> = joined["participants"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|participant| participant["hand"].as_bool().expect("a flag"))
        .collect();
    assert_eq!(hands, [false, true]);
    let lower = json!({"type": "hand", "raised": false, "identity": "vera"});
    assert_eq!(bob.refused(lower.clone()).await, "permission_denied");
    assert_eq!(
        host.refused(json!({"type": "hand", "raised": true, "identity": "bob"}))
            .await,
        "bad_message"
    );
    host.send(lower).await;
    vera.expect("hand").await;
    let lowered = vera.expect("hand").await;
    assert_eq!(
        (&lowered["raised"], &lowered["by"]),
        (&json!(false), &json!("host"))
    );
    server.down().await;
}

#[tokio::test]
async fn the_oldest_co_host_is_offered_what_the_last_host_left() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let id = room(&server).await;
    let (mut host, _) = server.join(&id, "host", "host").await;
    let (mut first, _) = server.join(&id, "zoe", "co_host").await;
    let (mut second, _) = server.join(&id, "amy", "co_host").await;
    assert_eq!(first.refused(json!({"type": "host_accept"})).await, "conflict");
    host.send(json!({"type": "leave"})).await;
    first.expect("host_offer").await;
    assert!(!second.has_seen("host_offer").await);
    first.send(json!({"type": "host_decline"})).await;
    second.expect("host_offer").await;
    assert_eq!(
        second.refused(json!({"type": "end_room"})).await,
        "permission_denied"
    );
    second.send(json!({"type": "host_accept"})).await;
    let told = second.expect("role_changed").await;
    assert_eq!((&told["role"], &told["by"]), (&json!("host"), &json!("amy")));
    second.send(json!({"type": "end_room"})).await;
    first.expect("room_closed").await;
    assert_eq!(second.closed().await, 1000);
    let (_, closed) = server.call("GET", &format!("/rooms/{id}"), None).await;
    assert_eq!(closed["status"], "closed");
    server.down().await;
}

#[tokio::test]
async fn mute_by_type_is_told_to_all_and_needs_somebody_there() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let id = room(&server).await;
    let (mut bob, _) = server.join(&id, "bob", "guest").await;
    for kind in ["audio", "video", "screen"] {
        let body = json!({"identity": "bob", "track_type": kind});
        assert_eq!(
            server
                .call("POST", &format!("/rooms/{id}/mute"), Some(body))
                .await
                .0,
            204
        );
        let muted = bob.expect("muted").await;
        assert_eq!((&muted["track"], &muted["by"]), (&json!(kind), &json!("api")));
    }
    for (body, status) in [
        (json!({"identity": "nobody", "track_type": "audio"}), 404),
        (json!({"identity": "bob", "track_type": "tr_none"}), 404),
        (json!({"identity": "bob", "track_type": "a b"}), 422),
        (json!({"identity": "bob"}), 422),
    ] {
        assert_eq!(
            server
                .call("POST", &format!("/rooms/{id}/mute"), Some(body))
                .await
                .0,
            status
        );
    }
    assert_eq!(
        answer(
            server
                .request("POST", &format!("/rooms/{id}/mute"))
                .json(&json!({}))
        )
        .await
        .0,
        401
    );
    server.down().await;
}

#[tokio::test]
async fn viewers_of_a_large_room_are_counted_and_paged() {
    let mut server = TestServer::start_with(AuthMode::Token, |config| config.room.presence_limit = 3).await;
    let id = room(&server).await;
    let (mut host, _) = server.join(&id, "host", "host").await;
    let mut viewers = Vec::new();
    for number in 0..8 {
        let (viewer, joined) = server.join(&id, &format!("viewer-{number}"), "viewer").await;
        let listed = joined["participants"].as_array().expect("a list");
        assert!(listed.len() <= 3);
        assert!(
            listed.iter().any(|participant| participant["identity"] == "host"),
            "who speaks comes first"
        );
        assert_eq!(
            joined["presence"],
            json!({"participants": number + 2, "viewers": number + 1})
        );
        viewers.push(viewer);
    }
    // The first ones are told of by name, then a number is.
    let digest = loop {
        let digest = host.expect("presence").await;
        if digest["viewers"] == 8 {
            break digest;
        }
    };
    assert_eq!(digest["participants"], 9);
    let announced = host.barrier().await;
    let announced = announced
        .iter()
        .filter(|message| message["type"] == "participant_joined")
        .count();
    assert_eq!(announced, 3);
    // A guest is, always.
    server.join(&id, "bob", "guest").await;
    assert_eq!(host.expect("participant_joined").await["identity"], "bob");
    let mut all = Vec::new();
    for offset in (0..12).step_by(4) {
        let path = format!("/rooms/{id}/participants?role=viewer&limit=4&offset={offset}");
        let (_, page) = server.call("GET", &path, None).await;
        assert_eq!(page["total"], 8);
        let page = page["participants"].as_array().expect("a list").clone();
        all.extend(
            page.iter()
                .map(|viewer| viewer["identity"].as_str().expect("text").to_owned()),
        );
    }
    assert_eq!(all.len(), 8);
    for viewer in viewers.split_off(3) {
        viewer.close(1000).await;
    }
    loop {
        if host.expect("presence").await["viewers"] == 3 {
            break;
        }
    }
    server.down().await;
}
