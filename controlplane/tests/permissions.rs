//! Who may do what: every role, and every action, over the wire. One table; a cell that is wrong is named.

mod common;

use common::{Socket, TestServer};
use kall_controlplane::config::AuthMode;
use serde_json::{Value, json};

const ROLES: [&str; 4] = ["host", "co_host", "guest", "viewer"];

/// An action, and for host, co-host, guest and viewer whether it is allowed.
type Row = (&'static str, fn(&Stage) -> Value, [bool; 4]);

/// Who and what there is to act on.
struct Stage {
    own_message: String,
    foreign_message: String,
    breakout: String,
}

const ALL: [bool; 4] = [true; 4];
const SPEAKERS: [bool; 4] = [true, true, true, false];
const MODERATORS: [bool; 4] = [true, true, false, false];
const HOSTS: [bool; 4] = [true, false, false, false];

const TABLE: [Row; 36] = [
    ("chat", |_| json!({"type": "chat", "text": "x"}), SPEAKERS),
    (
        "chat in private",
        |_| json!({"type": "chat", "text": "x", "to": "target"}),
        SPEAKERS,
    ),
    (
        "edit own message",
        |s| json!({"type": "chat_edit", "message_id": s.own_message, "text": "y"}),
        SPEAKERS,
    ),
    (
        "edit another's message",
        |s| json!({"type": "chat_edit", "message_id": s.foreign_message, "text": "y"}),
        [false; 4],
    ),
    (
        "react to a message",
        |s| json!({"type": "reaction", "emoji": "x", "message_id": s.foreign_message}),
        ALL,
    ),
    (
        "react to the meeting",
        |_| json!({"type": "reaction", "emoji": "x"}),
        ALL,
    ),
    ("read history", |_| json!({"type": "chat_history"}), ALL),
    ("raise own hand", |_| json!({"type": "hand", "raised": true}), ALL),
    (
        "lower another's hand",
        |_| json!({"type": "hand", "raised": false, "identity": "target"}),
        MODERATORS,
    ),
    (
        "publish a camera",
        |_| json!({"type": "publish", "mid": "0", "source": "camera"}),
        SPEAKERS,
    ),
    (
        "publish a microphone",
        |_| json!({"type": "publish", "mid": "1", "source": "microphone"}),
        SPEAKERS,
    ),
    (
        "share a screen",
        |_| json!({"type": "publish", "mid": "2", "source": "screen"}),
        SPEAKERS,
    ),
    ("mute oneself", |_| json!({"type": "mute", "track": "audio"}), ALL),
    (
        "mute another",
        |_| json!({"type": "mute_participant", "identity": "target", "track": "audio"}),
        MODERATORS,
    ),
    (
        "mute a host",
        |_| json!({"type": "mute_participant", "identity": "boss", "track": "audio"}),
        MODERATORS,
    ),
    (
        "relay an offer",
        |_| json!({"type": "offer", "sdp": "x", "to": "target"}),
        ALL,
    ),
    (
        "lock the room",
        |_| json!({"type": "room_lock", "locked": true}),
        MODERATORS,
    ),
    (
        "unlock the room",
        |_| json!({"type": "room_lock", "locked": false}),
        MODERATORS,
    ),
    (
        "admit one",
        |_| json!({"type": "lobby_admit", "identity": "nobody"}),
        MODERATORS,
    ),
    ("admit all", |_| json!({"type": "lobby_admit_all"}), MODERATORS),
    (
        "reject one",
        |_| json!({"type": "lobby_reject", "identity": "nobody"}),
        MODERATORS,
    ),
    (
        "make a guest of a viewer",
        |_| json!({"type": "role", "identity": "target", "role": "guest"}),
        MODERATORS,
    ),
    (
        "make a co-host",
        |_| json!({"type": "role", "identity": "target", "role": "co_host"}),
        MODERATORS,
    ),
    (
        "unmake a co-host",
        |_| json!({"type": "role", "identity": "target", "role": "viewer"}),
        MODERATORS,
    ),
    (
        "make a host",
        |_| json!({"type": "role", "identity": "second", "role": "host"}),
        HOSTS,
    ),
    (
        "unmake a host",
        |_| json!({"type": "role", "identity": "boss", "role": "guest"}),
        HOSTS,
    ),
    (
        "make breakout rooms",
        |_| json!({"type": "breakouts_create", "count": 1}),
        MODERATORS,
    ),
    (
        "assign to a breakout room",
        |s| json!({"type": "breakout_assign", "identity": "target", "room": s.breakout}),
        MODERATORS,
    ),
    (
        "open breakout rooms",
        |_| json!({"type": "breakouts_open"}),
        MODERATORS,
    ),
    (
        "speak to breakout rooms",
        |_| json!({"type": "breakouts_broadcast", "text": "x"}),
        MODERATORS,
    ),
    (
        "go to a breakout room unasked",
        |s| json!({"type": "breakout_join", "room": s.breakout}),
        MODERATORS,
    ),
    (
        "close breakout rooms",
        |_| json!({"type": "breakouts_close"}),
        MODERATORS,
    ),
    (
        "kick a host",
        |_| json!({"type": "kick", "identity": "last", "ban": null}),
        HOSTS,
    ),
    (
        "kick",
        |_| json!({"type": "kick", "identity": "nobody"}),
        MODERATORS,
    ),
    (
        "take another's message back",
        |s| json!({"type": "chat_delete", "message_id": s.foreign_message}),
        MODERATORS,
    ),
    ("end the room", |_| json!({"type": "end_room"}), HOSTS),
];

/// Whether the action was refused for want of permission. What the state of the room does not allow is no
/// matter of permission.
async fn denied(actor: &mut Socket, message: Value) -> bool {
    let mut message = message;
    message["id"] = json!("cell");
    actor.send(message).await;
    // Not every action answers the one who acts; the error to this does.
    actor
        .send(json!({"type": "unmute", "track": "tr_none", "id": "after"}))
        .await;
    let mut denied = false;
    loop {
        let error = actor.expect("error").await;
        if error["re"] == "after" {
            return denied;
        }
        if error["re"] == "cell" {
            denied = error["code"] == "permission_denied";
        }
    }
}

async fn say(socket: &mut Socket) -> String {
    let message = socket.ask(json!({"type": "chat", "text": "x"})).await;
    message["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn every_cell_of_the_table_holds() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let mut wrong = Vec::new();
    for (column, role) in ROLES.into_iter().enumerate() {
        let room = server.room(json!({"name": role})).await;
        let id = room["id"].as_str().expect("an id").to_owned();
        let (mut boss, _) = server.join(&id, "boss", "host").await;
        let (mut actor, _) = server.join(&id, "actor", role).await;
        let mut others = Vec::new();
        for (identity, role) in [("target", "viewer"), ("second", "guest"), ("last", "host")] {
            others.push(server.join(&id, identity, role).await);
        }
        // A message of the actor's own, also if its role may say nothing: it was a guest once.
        if role == "viewer" {
            boss.send(json!({"type": "role", "identity": "actor", "role": "guest"}))
                .await;
            actor.expect("role_changed").await;
        }
        let own_message = say(&mut actor).await;
        if role == "viewer" {
            boss.send(json!({"type": "role", "identity": "actor", "role": "viewer"}))
                .await;
            actor.expect("role_changed").await;
        }
        let mut stage = Stage {
            own_message,
            foreign_message: say(&mut boss).await,
            breakout: String::new(),
        };
        for (name, action, allowed) in TABLE {
            if name == "assign to a breakout room" {
                // Made by the one who may, if the actor was not allowed to.
                boss.send(json!({"type": "breakouts_create", "count": 1})).await;
                let path = format!("/rooms/{id}/breakouts");
                stage.breakout = loop {
                    let (status, state) = server.call("GET", &path, None).await;
                    if status == 200 {
                        break state["rooms"][0]["id"].as_str().expect("an id").to_owned();
                    }
                };
            }
            if name == "end the room" && allowed[column] {
                // Nothing answers any more but the end itself.
                actor.send(action(&stage)).await;
                actor.expect("room_closed").await;
                break;
            }
            let denied = denied(&mut actor, action(&stage)).await;
            if denied == allowed[column] {
                wrong.push(format!(
                    "{role}: {name} was {}",
                    if denied { "denied" } else { "allowed" }
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    server.down().await;
}

#[tokio::test]
async fn a_token_narrows_its_role_and_never_widens_it() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Narrow"})).await;
    let id = room["id"].as_str().expect("an id").to_owned();
    let join = async |identity: &str, role: &str, permissions: Value| {
        let body = json!({"room": id, "identity": identity, "role": role, "permissions": permissions});
        let (status, token) = server.call("POST", "/tokens", Some(body)).await;
        assert_eq!(status, 200, "{token}");
        let mut socket = server
            .socket(&format!("token={}", token["token"].as_str().expect("a token")))
            .await;
        socket.send(json!({"type": "join", "room": id})).await;
        let joined = socket.expect("joined").await;
        (socket, joined)
    };
    let actions = [
        (
            "publish",
            json!({"type": "publish", "mid": "0", "source": "camera"}),
        ),
        (
            "screen",
            json!({"type": "publish", "mid": "0", "source": "screen"}),
        ),
        ("chat", json!({"type": "chat", "text": "x"})),
        ("admin", json!({"type": "room_lock", "locked": false})),
    ];
    for (name, action) in &actions {
        let (mut host, joined) = join(&format!("no-{name}"), "host", json!({*name: false})).await;
        assert_eq!(joined["permissions"][name], false);
        assert!(denied(&mut host, action.clone()).await, "a host without {name}");
    }
    let wide = json!({"publish": true, "screen": true, "chat": true, "admin": true, "record": true});
    let (mut viewer, joined) = join("wide", "viewer", wide).await;
    for (name, action) in actions {
        assert_eq!(joined["permissions"][name], false);
        assert!(denied(&mut viewer, action).await, "a viewer with {name}");
    }
    server.down().await;
}
