//! Breakout rooms without media: made, filled, opened, left, ended by the clock, kept across a restart.
//! With media they are in `tests/real/breakouts.rs`.

mod common;

use common::{Socket, TestServer};
use kall_controlplane::config::AuthMode;
use serde_json::{Value, json};

struct Class {
    server: TestServer,
    id: String,
    host: Socket,
    bob: Socket,
    carol: Socket,
}

async fn class() -> Class {
    let server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Class"})).await;
    let id = room["id"].as_str().expect("an id").to_owned();
    let (host, _) = server.join(&id, "host", "host").await;
    let (bob, _) = server.join(&id, "bob", "guest").await;
    let (carol, _) = server.join(&id, "carol", "guest").await;
    Class {
        server,
        id,
        host,
        bob,
        carol,
    }
}

/// The next state of the breakout rooms that `wanted` takes.
async fn state(socket: &mut Socket, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let message = socket.expect("breakouts").await;
        if wanted(&message["breakouts"]) {
            return message["breakouts"].clone();
        }
    }
}

/// Waits until somebody is told of this newcomer; there may have been others before.
async fn until_joined(socket: &mut Socket, identity: &str) {
    while socket.expect("participant_joined").await["identity"] != identity {}
}

fn room_ids(state: &Value) -> Vec<String> {
    let rooms = state["rooms"].as_array().expect("a list");
    rooms
        .iter()
        .map(|room| room["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn assigned_by_hand_people_move_see_each_other_alone_and_return() {
    let Class {
        mut server,
        id,
        mut host,
        mut bob,
        mut carol,
    } = class().await;
    host.send(json!({"type": "breakouts_create", "count": 2, "names": ["Red"]}))
        .await;
    let made = state(&mut bob, |state| !state.is_null()).await;
    assert_eq!(
        (&made["open"], &made["rooms"][0]["name"]),
        (&json!(false), &json!("Red"))
    );
    assert_eq!(made["rooms"][1]["name"], "Room 2");
    let ids = room_ids(&made);
    host.send(json!({"type": "breakout_assign", "identity": "bob", "room": ids[0]}))
        .await;
    host.send(json!({"type": "breakout_assign", "identity": "carol", "room": ids[1]}))
        .await;
    host.send(json!({"type": "breakouts_open"})).await;
    let moved = bob.expect("room_moved").await;
    assert_eq!(
        (&moved["breakout"], &moved["name"]),
        (&json!(ids[0]), &json!("Red"))
    );
    assert_eq!(moved["participants"], json!([]));
    carol.expect("room_moved").await;
    for _ in 0..2 {
        host.expect("participant_left").await;
    }
    // What is said in one is heard in no other, not even by private message.
    bob.ask(json!({"type": "chat", "text": "red"})).await;
    host.ask(json!({"type": "chat", "text": "main"})).await;
    assert_eq!(
        bob.refused(json!({"type": "chat", "text": "x", "to": "carol"}))
            .await,
        "participant_not_found"
    );
    assert!(!carol.has_seen("chat").await);
    assert!(!host.has_seen("chat").await);
    let (_, main) = server.call("GET", &format!("/rooms/{id}/messages"), None).await;
    assert_eq!(main["messages"][0]["text"], "main");
    let (_, red) = server
        .call("GET", &format!("/rooms/{id}/messages?breakout={}", ids[0]), None)
        .await;
    assert_eq!(
        (
            &red["messages"][0]["text"],
            red["messages"].as_array().map(Vec::len)
        ),
        (&json!("red"), Some(1))
    );
    host.send(json!({"type": "breakouts_broadcast", "text": "five minutes"}))
        .await;
    for socket in [&mut bob, &mut carol] {
        let announcement = socket.expect("announcement").await;
        assert_eq!(
            (&announcement["from"], &announcement["text"]),
            (&json!("host"), &json!("five minutes"))
        );
    }
    // The host visits, and another is sent over.
    host.send(json!({"type": "breakout_join", "room": ids[0]})).await;
    assert_eq!(
        host.expect("room_moved").await["participants"][0]["identity"],
        "bob"
    );
    until_joined(&mut bob, "host").await;
    host.send(json!({"type": "breakout_assign", "identity": "carol", "room": ids[0]}))
        .await;
    until_joined(&mut bob, "carol").await;
    let (_, roster) = server
        .call("GET", &format!("/rooms/{id}/participants"), None)
        .await;
    for participant in roster["participants"].as_array().expect("a list") {
        assert_eq!(participant["breakout"], json!(ids[0]), "{participant}");
    }
    host.send(json!({"type": "breakouts_close"})).await;
    for socket in [&mut host, &mut bob] {
        let back = socket.expect("room_moved").await;
        assert_eq!((back.get("breakout"), &back["name"]), (None, &json!("Class")));
    }
    carol.expect("room_moved").await;
    let back = carol.expect("room_moved").await;
    assert_eq!(back.get("breakout"), None);
    host.ask(json!({"type": "chat", "text": "welcome back"})).await;
    assert_eq!(bob.expect("chat").await["text"], "welcome back");
    server.down().await;
}

#[tokio::test]
async fn at_random_all_but_moderators_are_spread_evenly() {
    let Class {
        mut server,
        id,
        mut host,
        ..
    } = class().await;
    let mut others = Vec::new();
    for number in 0..4 {
        others.push(server.join(&id, &format!("guest-{number}"), "guest").await.0);
    }
    let body = json!({"count": 3, "assign": "random"});
    let (status, made) = server
        .call("POST", &format!("/rooms/{id}/breakouts"), Some(body))
        .await;
    assert_eq!(status, 201, "{made}");
    let rooms = made["rooms"].as_array().expect("a list");
    let sizes: Vec<usize> = rooms
        .iter()
        .map(|room| room["assigned"].as_array().expect("a list").len())
        .collect();
    assert_eq!(sizes, [2, 2, 2]);
    let (status, open) = server
        .call("POST", &format!("/rooms/{id}/breakouts/open"), Some(json!({})))
        .await;
    assert_eq!((status, &open["open"]), (200, &json!(true)));
    for socket in &mut others {
        socket.expect("room_moved").await;
    }
    assert!(!host.has_seen("room_moved").await);
    let (status, _) = server
        .call(
            "POST",
            &format!("/rooms/{id}/breakouts"),
            Some(json!({"count": 1})),
        )
        .await;
    assert_eq!(status, 409, "not while they are open");
    assert_eq!(
        server
            .call("DELETE", &format!("/rooms/{id}/breakouts"), None)
            .await
            .0,
        204
    );
    for socket in &mut others {
        socket.expect("room_moved").await;
    }
    assert_eq!(
        server
            .call("GET", &format!("/rooms/{id}/breakouts"), None)
            .await
            .1["rooms"],
        json!([])
    );
    server.down().await;
}

#[tokio::test]
async fn by_choice_people_go_where_they_like() {
    let Class {
        mut server,
        id,
        mut host,
        mut bob,
        ..
    } = class().await;
    host.send(json!({"type": "breakouts_create", "count": 2, "assign": "choice"}))
        .await;
    let ids = room_ids(&state(&mut bob, |state| !state.is_null()).await);
    assert_eq!(
        bob.refused(json!({"type": "breakout_join", "room": ids[0]}))
            .await,
        "conflict"
    );
    host.send(json!({"type": "breakouts_open"})).await;
    state(&mut bob, |state| state["open"] == true).await;
    for room in [Some(&ids[1]), Some(&ids[0]), None] {
        bob.send(json!({"type": "breakout_join", "room": room})).await;
        let moved = bob.expect("room_moved").await;
        assert_eq!(
            moved.get("breakout").and_then(Value::as_str),
            room.map(String::as_str)
        );
    }
    assert_eq!(
        bob.refused(json!({"type": "breakout_join", "room": "rm_none"}))
            .await,
        "breakout_not_found"
    );
    assert_eq!(
        bob.refused(json!({"type": "breakouts_close"})).await,
        "permission_denied"
    );
    let path = format!("/rooms/{id}/breakouts");
    for (path, body, status) in [
        (path.clone(), json!({"count": 0}), 422),
        (format!("{path}/assign"), json!({"identity": "nobody"}), 404),
        (
            format!("{path}/assign"),
            json!({"identity": "bob", "room": "rm_none"}),
            404,
        ),
        (format!("{path}/open"), json!({"duration_seconds": 0}), 422),
        (format!("{path}/broadcast"), json!({"text": " "}), 422),
    ] {
        let (got, answer) = server.call("POST", &path, Some(body.clone())).await;
        assert_eq!(got, status, "{path} {body}: {answer}");
    }
    server.down().await;
}

#[tokio::test]
async fn the_clock_warns_and_brings_everybody_back() {
    let Class {
        mut server,
        mut host,
        mut bob,
        ..
    } = class().await;
    host.send(json!({"type": "breakouts_create", "count": 1})).await;
    let ids = room_ids(&state(&mut bob, |state| !state.is_null()).await);
    host.send(json!({"type": "breakout_assign", "identity": "bob", "room": ids[0]}))
        .await;
    host.send(json!({"type": "breakouts_open", "duration_seconds": 2}))
        .await;
    bob.expect("room_moved").await;
    assert!(state(&mut host, |state| state["open"] == true).await["ends_at"].is_string());
    assert_eq!(bob.expect("breakouts_ending").await["seconds"], 1);
    assert_eq!(bob.expect("room_moved").await.get("breakout"), None);
    let closed = state(&mut host, |state| {
        state["open"] == false && state.get("ends_at").is_none()
    })
    .await;
    assert_eq!(closed["rooms"].as_array().map(Vec::len), Some(1));
    server.down().await;
}

#[tokio::test]
async fn after_a_restart_people_find_themselves_where_they_were() {
    let Class {
        mut server,
        id,
        mut host,
        mut bob,
        ..
    } = class().await;
    host.send(json!({"type": "breakouts_create", "count": 2})).await;
    let ids = room_ids(&state(&mut bob, |state| !state.is_null()).await);
    host.send(json!({"type": "breakout_assign", "identity": "bob", "room": ids[1]}))
        .await;
    host.send(json!({"type": "breakouts_open", "duration_seconds": 3600}))
        .await;
    bob.expect("room_moved").await;
    server.down().await;
    server.up().await;
    let (_, kept) = server.call("GET", &format!("/rooms/{id}/breakouts"), None).await;
    assert_eq!((&kept["open"], room_ids(&kept)), (&json!(true), ids.clone()));
    assert!(kept["ends_at"].is_string());
    assert_eq!(kept["rooms"][1]["assigned"], json!(["bob"]));
    let (mut host, joined) = server.join(&id, "host", "host").await;
    assert_eq!(room_ids(&joined["breakouts"]), ids);
    let (mut bob, _) = server.join(&id, "bob", "guest").await;
    assert_eq!(bob.expect("room_moved").await["breakout"], json!(ids[1]));
    host.send(json!({"type": "breakouts_close"})).await;
    assert_eq!(bob.expect("room_moved").await.get("breakout"), None);
    server.down().await;
}
