//! The WebSocket without media: who may join, what others see, chat, mute, relays, resume, limits.

mod common;

use common::TestServer;
use kall_controlplane::config::AuthMode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn people_see_each_other_come_chat_and_go() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Team"})).await;
    let id = room["id"].as_str().expect("id").to_owned();
    let (mut alice, joined) = server.join(&id, "alice", "host").await;
    assert_eq!(
        (&joined["identity"], &joined["role"], &joined["room"]),
        (&json!("alice"), &json!("host"), &json!(id))
    );
    assert_eq!(joined["resumed"], false);
    assert_eq!(joined["participants"], json!([]));
    assert_eq!(joined["room_info"]["slug"], room["slug"]);
    assert!(joined["server"]["version"].is_string() && joined["ice_servers"] == json!([]));

    let (mut bob, joined) = server.join(&id, "bob", "guest").await;
    assert_eq!(joined["participants"][0]["identity"], "alice");
    assert_eq!(joined["participants"][0]["tracks"], json!([]));
    let came = alice.expect("participant_joined").await;
    assert_eq!((&came["identity"], &came["name"]), (&json!("bob"), &json!("BOB")));
    let (_, roster) = server
        .call("GET", &format!("/rooms/{id}/participants"), None)
        .await;
    assert_eq!(roster["participants"].as_array().expect("a list").len(), 2);

    bob.send(json!({"type": "chat", "text": "Hello!", "id": 7})).await;
    let own = bob.expect("chat").await;
    let theirs = alice.expect("chat").await;
    assert_eq!(
        (&own["re"], &own["id"], &own["from"]),
        (&json!(7), &theirs["id"], &json!("bob"))
    );
    assert_eq!((&theirs["text"], theirs.get("re")), (&json!("Hello!"), None));

    let (mut carol, _) = server.join(&id, "carol", "guest").await;
    alice
        .send(json!({"type": "chat", "text": "Private msg", "to": "bob"}))
        .await;
    assert_eq!(bob.expect("chat").await["to"], "bob");
    alice.expect("chat").await;
    assert!(
        !carol
            .barrier()
            .await
            .iter()
            .any(|message| message["type"] == "chat"),
        "it was private"
    );

    bob.send(json!({"type": "leave"})).await;
    assert_eq!(bob.closed().await, 1000);
    assert_eq!(alice.expect("participant_left").await["identity"], "bob");
    carol.close(1001).await;
    assert_eq!(alice.expect("participant_left").await["identity"], "carol");
    server.down().await;
}

#[tokio::test]
async fn bad_input_gets_an_error_and_the_connection_goes_on() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let mut socket = server.socket("name=Bob").await;
    let cases = [
        (json!({"type": "chat", "text": "x", "id": "a"}), "not_joined"),
        (json!({"type": "dance", "id": "b"}), "unknown_type"),
        (json!({"type": "join", "id": "c"}), "bad_message"),
        (
            json!({"type": "join", "room": "No Such Room", "id": "d"}),
            "room_not_found",
        ),
        (
            json!({"type": "join", "room": "x", "resume": "forged", "id": "e"}),
            "auth_failed",
        ),
    ];
    for (message, code) in cases {
        socket.send(message.clone()).await;
        let error = socket.expect("error").await;
        assert_eq!(
            (error["code"].as_str(), &error["re"]),
            (Some(code), &message["id"]),
            "{error}"
        );
    }
    socket.send_raw(Message::text("{")).await;
    assert_eq!(socket.expect("error").await["code"], "bad_message");
    socket.send_raw(Message::binary(vec![0])).await;
    assert_eq!(socket.expect("error").await["code"], "bad_message");

    // An open server makes the room that a link names.
    socket
        .send(json!({"type": "join", "room": "fresh", "id": 1}))
        .await;
    let joined = socket.expect("joined").await;
    assert_eq!((&joined["re"], &joined["role"]), (&json!(1), &json!("guest")));
    for (message, code) in [
        (json!({"type": "join", "room": "fresh"}), "already_joined"),
        (json!({"type": "chat", "text": "  "}), "bad_message"),
        (json!({"type": "chat", "text": "x".repeat(4097)}), "bad_message"),
        (
            json!({"type": "chat", "text": "x", "to": "nobody"}),
            "participant_not_found",
        ),
        (
            json!({"type": "offer", "sdp": "x", "to": "nobody"}),
            "participant_not_found",
        ),
        (json!({"type": "answer", "sdp": "x"}), "bad_message"),
        (json!({"type": "offer", "sdp": "x"}), "sdp_invalid"),
        (
            json!({"type": "subscribe", "track_id": "tr_none"}),
            "track_not_found",
        ),
        (
            json!({"type": "unsubscribe", "track_id": "tr_none"}),
            "track_not_found",
        ),
        (
            json!({"type": "subscribe", "track_id": "tr_none", "max_width": 0}),
            "bad_message",
        ),
        (
            json!({"type": "subscribe", "track_id": "tr_none", "layer": "huge"}),
            "bad_message",
        ),
        (
            json!({"type": "subscribe", "track_id": "tr_none", "priority": 256}),
            "bad_message",
        ),
        (json!({"type": "mute", "track": "tr_none"}), "track_not_found"),
    ] {
        socket.send(message.clone()).await;
        assert_eq!(socket.expect("error").await["code"], code, "{message}");
    }
    socket
        .send(json!({"type": "candidate", "candidate": {"candidate": ""}}))
        .await;
    socket.send(json!({"type": "chat", "text": "still here"})).await;
    assert_eq!(socket.expect("chat").await["text"], "still here");
    server.down().await;
}

#[tokio::test]
async fn an_offer_without_a_data_plane_says_so() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let mut socket = server.socket("name=Bob").await;
    socket.send(json!({"type": "join", "room": "media"})).await;
    socket.expect("joined").await;
    let sdp = include_str!("data/chromium_offer.sdp");
    socket.send(json!({"type": "offer", "sdp": sdp, "id": 3})).await;
    let error = socket.expect("error").await;
    assert_eq!(
        (error["code"].as_str(), &error["re"]),
        (Some("media_unavailable"), &json!(3))
    );
    server.down().await;
}

#[tokio::test]
async fn a_bad_token_opens_is_told_and_closed() {
    let mut server = TestServer::start(AuthMode::Token).await;
    for query in ["token=nonsense", "name=Bob", ""] {
        let mut socket = server.socket(query).await;
        assert_eq!(socket.expect("error").await["code"], "auth_failed", "{query}");
        assert_eq!(socket.closed().await, 4401, "{query}");
    }
    // A good token opens its own room only.
    let (one, two) = (
        server.room(json!({"name": "One"})).await,
        server.room(json!({"name": "Two"})).await,
    );
    let token = server
        .token(one["id"].as_str().expect("id"), "alice", "guest")
        .await;
    let mut socket = server.socket(&format!("token={token}")).await;
    socket.send(json!({"type": "join", "room": two["id"]})).await;
    assert_eq!(socket.expect("error").await["code"], "auth_failed");
    socket.send(json!({"type": "join", "room": one["slug"]})).await;
    socket.expect("joined").await;
    server.down().await;
}

#[tokio::test]
async fn places_and_passwords_are_kept() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server
        .room(json!({"name": "Small", "max_participants": 2, "password": "sesame"}))
        .await;
    let id = room["id"].as_str().expect("id").to_owned();
    let (_host, _) = server.join(&id, "host", "host").await;
    let token = server.token(&id, "bob", "guest").await;
    let mut bob = server.socket(&format!("token={token}")).await;
    for (password, code) in [(None, "password_required"), (Some("open"), "password_wrong")] {
        bob.send(json!({"type": "join", "room": id, "password": password}))
            .await;
        assert_eq!(bob.expect("error").await["code"], code);
    }
    bob.send(json!({"type": "join", "room": id, "password": "sesame"}))
        .await;
    bob.expect("joined").await;
    let token = server.token(&id, "carol", "guest").await;
    let mut carol = server.socket(&format!("token={token}")).await;
    carol
        .send(json!({"type": "join", "room": id, "password": "sesame"}))
        .await;
    assert_eq!(carol.expect("error").await["code"], "room_full");
    server.down().await;
}

#[tokio::test]
async fn a_viewer_neither_publishes_nor_chats() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Stage"})).await;
    let (mut viewer, joined) = server
        .join(room["id"].as_str().expect("id"), "vera", "viewer")
        .await;
    assert_eq!(joined["role"], "viewer");
    for message in [
        json!({"type": "publish", "mid": "0", "source": "camera"}),
        json!({"type": "chat", "text": "hi"}),
    ] {
        viewer.send(message.clone()).await;
        assert_eq!(
            viewer.expect("error").await["code"],
            "permission_denied",
            "{message}"
        );
    }
    server.down().await;
}

#[tokio::test]
async fn a_lost_connection_resumes_and_tokens_last_until_the_next_is_used() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let mut alice = server.socket("name=Alice").await;
    alice.send(json!({"type": "join", "room": "calls"})).await;
    alice.expect("joined").await;
    let mut bob = server.socket("name=Bob").await;
    bob.send(json!({"type": "join", "room": "calls"})).await;
    let joined = bob.expect("joined").await;
    let (identity, first) = (joined["identity"].clone(), joined["resume"].clone());
    drop(bob); // without a close frame: a lost network

    let resume = |token: Value| json!({"type": "join", "room": "calls", "resume": token});
    let mut again = server.socket("name=Bob").await;
    again.send(resume(first.clone())).await;
    let joined = again.expect("joined").await;
    assert_eq!(joined["identity"], identity);
    let second = joined["resume"].clone();
    // The answer may have been lost on its way: the first token is still good.
    let mut third = server.socket("name=Bob").await;
    third.send(resume(first.clone())).await;
    assert_eq!(third.expect("joined").await["identity"], identity);
    assert_eq!(again.expect("error").await["code"], "replaced");
    assert_eq!(again.closed().await, 4409);
    // Once a successor was used it is not.
    let mut fourth = server.socket("name=Bob").await;
    fourth.send(resume(second)).await;
    assert_eq!(fourth.expect("joined").await["identity"], identity);
    let mut fifth = server.socket("name=Bob").await;
    fifth.send(resume(first)).await;
    assert_eq!(fifth.expect("error").await["code"], "auth_failed");

    // For the others nobody came or went but once.
    let seen = alice.barrier().await;
    let kinds: Vec<&str> = seen
        .iter()
        .filter_map(|message| message["type"].as_str())
        .collect();
    assert_eq!(kinds, ["participant_joined"]);
    server.down().await;
}

#[tokio::test]
async fn resume_tokens_survive_a_restart() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let mut bob = server.socket("name=Bob").await;
    bob.send(json!({"type": "join", "room": "calls"})).await;
    let joined = bob.expect("joined").await;
    server.down().await;
    server.up().await;
    let mut bob = server.socket("name=Bob").await;
    bob.send(json!({"type": "join", "room": "calls", "resume": joined["resume"]}))
        .await;
    let again = bob.expect("joined").await;
    assert_eq!(
        (&again["identity"], &again["room"]),
        (&joined["identity"], &joined["room"])
    );
    assert_eq!(again["resumed"], false, "no media session was there");
    server.down().await;
}

#[tokio::test]
async fn the_same_identity_replaces_itself() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Team"})).await;
    let id = room["id"].as_str().expect("id").to_owned();
    let (mut first, _) = server.join(&id, "alice", "guest").await;
    let (mut second, joined) = server.join(&id, "alice", "guest").await;
    assert_eq!(first.expect("error").await["code"], "replaced");
    assert_eq!(first.closed().await, 4409);
    assert_eq!(joined["participants"], json!([]));
    second.send(json!({"type": "chat", "text": "me"})).await;
    second.expect("chat").await;
    server.down().await;
}

#[tokio::test]
async fn offers_to_a_participant_are_relayed() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Direct"})).await;
    let id = room["id"].as_str().expect("id").to_owned();
    let (mut alice, _) = server.join(&id, "alice", "guest").await;
    let (mut bob, _) = server.join(&id, "bob", "guest").await;
    alice
        .send(json!({"type": "offer", "sdp": "o", "to": "bob"}))
        .await;
    let offer = bob.expect("offer").await;
    assert_eq!((&offer["sdp"], &offer["from"]), (&json!("o"), &json!("alice")));
    bob.send(json!({"type": "answer", "sdp": "a", "to": "alice"}))
        .await;
    assert_eq!(alice.expect("answer").await["from"], "bob");
    bob.send(json!({"type": "candidate", "candidate": {"candidate": "c"}, "to": "alice"}))
        .await;
    assert_eq!(
        alice.expect("candidate").await["candidate"],
        json!({"candidate": "c"})
    );
    server.down().await;
}

#[tokio::test]
async fn mute_is_told_to_everybody() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Quiet"})).await;
    let id = room["id"].as_str().expect("id").to_owned();
    let (mut alice, _) = server.join(&id, "alice", "guest").await;
    let (mut bob, _) = server.join(&id, "bob", "guest").await;
    alice
        .send(json!({"type": "mute", "track": "audio", "id": 5}))
        .await;
    assert_eq!(alice.expect("muted").await["re"], 5);
    let muted = bob.expect("muted").await;
    assert_eq!(
        (&muted["identity"], &muted["track"], &muted["by"]),
        (&json!("alice"), &json!("audio"), &json!("alice"))
    );
    alice.send(json!({"type": "unmute", "track": "audio"})).await;
    assert_eq!(bob.expect("unmuted").await["track"], "audio");
    server.down().await;
}

#[tokio::test]
async fn a_closed_room_tells_everybody() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Over"})).await;
    let id = room["id"].as_str().expect("id").to_owned();
    let token = server.token(&id, "late", "guest").await;
    let (mut alice, _) = server.join(&id, "alice", "guest").await;
    assert_eq!(server.call("DELETE", &format!("/rooms/{id}"), None).await.0, 204);
    alice.expect("room_closed").await;
    assert_eq!(alice.closed().await, 1000);
    let mut late = server.socket(&format!("token={token}")).await;
    late.send(json!({"type": "join", "room": id})).await;
    assert_eq!(late.expect("error").await["code"], "room_not_found");
    server.down().await;
}

#[tokio::test]
async fn frames_and_rates_are_bounded() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let mut socket = server.socket("name=Bob").await;
    socket.send(json!({"type": "join", "room": "limits"})).await;
    socket.expect("joined").await;
    for _ in 0..400 {
        socket.send(json!({"type": "candidate", "candidate": null})).await;
    }
    assert_eq!(socket.expect("error").await["code"], "rate_limited");

    let mut socket = server.socket("name=Bob").await;
    socket.send_raw(Message::text("x".repeat((256 << 10) + 1))).await;
    assert_eq!(socket.closed().await, 1009);
    server.down().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_nobody_waits_for_it() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Slow"})).await;
    let id = room["id"].as_str().expect("id").to_owned();
    let (mut slow, _) = server.join(&id, "slow", "guest").await;
    let (mut alice, _) = server.join(&id, "alice", "guest").await;
    // More than any socket buffers: the queue on this side overflows.
    let sdp = "x".repeat(190_000);
    for _ in 0..150 {
        alice
            .send(json!({"type": "offer", "sdp": sdp, "to": "slow"}))
            .await;
    }
    alice.send(json!({"type": "chat", "text": "on it goes"})).await;
    alice.expect("chat").await;
    // The close comes through if it is read soon enough, else the connection just ends.
    let code = slow.ended().await;
    assert!(matches!(code, None | Some(4408)), "{code:?}");
    server.down().await;
}

#[tokio::test]
async fn an_expired_token_opens_nothing_but_its_own_resume() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Long"})).await;
    let id = room["id"].as_str().expect("id").to_owned();
    let (bob, _) = server.join(&id, "bob", "guest").await;
    let (alice, joined) = server.join(&id, "alice", "guest").await;
    drop((alice, bob));
    let join = |resume: &Value| json!({"type": "join", "room": id, "resume": resume, "id": 1});
    for (identity, message) in [
        ("alice", json!({"type": "join", "room": id, "id": 1})),
        ("alice", join(&json!("forged"))),
        ("bob", join(&joined["resume"])),
    ] {
        let token = server.expired_token(&id, identity);
        let mut socket = server.socket(&format!("token={token}")).await;
        socket.send(message.clone()).await;
        let error = socket.expect("error").await;
        assert_eq!(
            (&error["code"], &error["re"]),
            (&json!("auth_failed"), &json!(1)),
            "{message}"
        );
        assert_eq!(socket.closed().await, 4401, "{message}");
    }
    let token = server.expired_token(&id, "alice");
    let mut socket = server.socket(&format!("token={token}")).await;
    socket.send(join(&joined["resume"])).await;
    assert_eq!(socket.expect("joined").await["identity"], "alice");
    server.down().await;
}

#[tokio::test]
async fn a_moderator_mutes_and_only_the_muted_one_unmutes() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Team"})).await;
    let id = room["id"].as_str().expect("id").to_owned();
    let (mut host, joined) = server.join(&id, "hana", "co_host").await;
    assert_eq!(
        (&joined["permissions"]["admin"], &joined["permissions"]["screen"]),
        (&json!(true), &json!(true))
    );
    let (mut bob, joined) = server.join(&id, "bob", "guest").await;
    assert_eq!(joined["permissions"]["admin"], false);
    let (mut viewer, joined) = server.join(&id, "vera", "viewer").await;
    assert_eq!(joined["permissions"]["screen"], false);

    let mute = |identity: &str, track: &str| json!({"type": "mute_participant", "identity": identity, "track": track, "id": 1});
    let shapeless = json!({"type": "mute_participant", "id": 1});
    for (who, message, code) in [
        ("bob", mute("hana", "audio"), "permission_denied"),
        ("vera", mute("bob", "audio"), "permission_denied"),
        ("hana", mute("nobody", "audio"), "participant_not_found"),
        ("hana", mute("bob", "tr_none"), "track_not_found"),
        ("hana", shapeless, "bad_message"),
    ] {
        let socket = match who {
            "bob" => &mut bob,
            "vera" => &mut viewer,
            _ => &mut host,
        };
        socket.send(message.clone()).await;
        let error = socket.expect("error").await;
        assert_eq!(
            (&error["code"], &error["re"]),
            (&json!(code), &json!(1)),
            "{message}"
        );
    }

    host.send(mute("bob", "audio")).await;
    let told = json!({"type": "muted", "identity": "bob", "track": "audio", "by": "hana"});
    for socket in [&mut bob, &mut viewer] {
        assert_eq!(socket.expect("muted").await, told);
    }
    let answer = host.expect("muted").await;
    assert_eq!((&answer["re"], &answer["by"]), (&json!(1), &json!("hana")));

    // There is no message by which a moderator opens somebody's microphone.
    host.send(json!({"type": "unmute_participant", "identity": "bob", "track": "audio"}))
        .await;
    assert_eq!(host.expect("error").await["code"], "unknown_type");
    bob.send(json!({"type": "unmute", "track": "audio"})).await;
    let told = host.expect("unmuted").await;
    assert_eq!((&told["identity"], &told["by"]), (&json!("bob"), &json!("bob")));
    server.down().await;
}
