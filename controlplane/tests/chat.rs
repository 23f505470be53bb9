//! Chat: who reads what, what is kept for those who come later, reactions, changes, taking back.

mod common;

use common::{Socket, TestServer};
use kall_controlplane::config::AuthMode;
use serde_json::{Value, json};

async fn room(server: &TestServer) -> String {
    let room = server.room(json!({"name": "Talk"})).await;
    room["id"].as_str().expect("an id").to_owned()
}

async fn say(socket: &mut Socket, text: &str) -> String {
    let message = socket.ask(json!({"type": "chat", "text": text})).await;
    message["id"].as_str().expect("an id").to_owned()
}

async fn history(socket: &mut Socket, query: Value) -> (Vec<Value>, bool) {
    let mut ask = json!({"type": "chat_history"});
    for (name, value) in query.as_object().expect("fields") {
        ask[name] = value.clone();
    }
    let answer = socket.ask(ask).await;
    assert_eq!(answer["type"], "chat_history", "{answer}");
    let messages = answer["messages"].as_array().expect("a list").clone();
    (messages, answer["more"].as_bool().expect("a flag"))
}

fn texts(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["text"].as_str().expect("text"))
        .collect()
}

#[tokio::test]
async fn who_comes_later_reads_page_by_page_and_only_what_is_its_own() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let id = room(&server).await;
    let (mut alice, _) = server.join(&id, "alice", "host").await;
    let (bob, _) = server.join(&id, "bob", "guest").await;
    for number in 0..5 {
        say(&mut alice, &format!("m{number}")).await;
    }
    let private = json!({"type": "chat", "text": "for bob", "to": "bob"});
    alice.ask(private).await;
    // Kept before it was answered.
    server.down().await;
    server.up().await;
    let (mut carol, _) = server.join(&id, "carol", "viewer").await;
    let (newest, more) = history(&mut carol, json!({"limit": 2})).await;
    assert_eq!((texts(&newest), more), (vec!["m3", "m4"], true));
    let (before, more) = history(&mut carol, json!({"limit": 10, "before": newest[0]["id"]})).await;
    assert_eq!((texts(&before), more), (vec!["m0", "m1", "m2"], false));
    assert_eq!(
        (&before[0]["from"], &before[0]["name"]),
        (&json!("alice"), &json!("ALICE"))
    );
    let (mut bob_again, _) = server.join(&id, "bob", "guest").await;
    let (all, _) = history(&mut bob_again, json!({})).await;
    assert_eq!(texts(&all).last(), Some(&"for bob"));
    let (_, by_api) = server
        .call("GET", &format!("/rooms/{id}/messages?limit=3"), None)
        .await;
    assert_eq!(
        texts(by_api["messages"].as_array().expect("a list")),
        ["m2", "m3", "m4"]
    );
    for (bad, code) in [
        (json!({"type": "chat_history", "limit": 0}), "bad_message"),
        (json!({"type": "chat_history", "limit": 101}), "bad_message"),
        (
            json!({"type": "chat_history", "before": "msg-none"}),
            "message_not_found",
        ),
    ] {
        assert_eq!(carol.refused(bad).await, code);
    }
    drop(bob);
    server.down().await;
}

#[tokio::test]
async fn a_message_is_changed_by_its_author_and_taken_back_by_moderators_too() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let id = room(&server).await;
    let (mut host, _) = server.join(&id, "host", "host").await;
    let (mut bob, _) = server.join(&id, "bob", "guest").await;
    let (mut carol, _) = server.join(&id, "carol", "guest").await;
    let first = say(&mut bob, "helo").await;
    let second = say(&mut bob, "rude").await;
    let edit = json!({"type": "chat_edit", "message_id": first, "text": "hello"});
    assert_eq!(carol.refused(edit.clone()).await, "permission_denied");
    assert_eq!(host.refused(edit.clone()).await, "permission_denied");
    let own = bob.ask(edit).await;
    let seen = carol.expect("chat_edited").await;
    assert_eq!(
        (&own["text"], &seen["text"], &seen["id"]),
        (&json!("hello"), &json!("hello"), &json!(first))
    );
    let delete = json!({"type": "chat_delete", "message_id": second});
    assert_eq!(carol.refused(delete.clone()).await, "permission_denied");
    host.ask(delete.clone()).await;
    let gone = bob.expect("chat_deleted").await;
    assert_eq!((&gone["id"], &gone["by"]), (&json!(second), &json!("host")));
    assert_eq!(bob.refused(delete).await, "message_not_found");
    let (kept, _) = history(&mut carol, json!({})).await;
    assert_eq!(texts(&kept), ["hello", ""]);
    assert!(kept[0]["edited_at"].is_i64() && kept[1]["deleted"] == true);
    server.down().await;
}

#[tokio::test]
async fn reactions_are_counted_once_and_may_be_taken_back() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let id = room(&server).await;
    let (mut alice, _) = server.join(&id, "alice", "host").await;
    let (mut vera, _) = server.join(&id, "vera", "viewer").await;
    let message = say(&mut alice, "well done").await;
    let thumbs = json!({"type": "reaction", "emoji": "thumbsup", "message_id": message});
    vera.ask(thumbs.clone()).await;
    vera.ask(thumbs.clone()).await;
    alice.ask(thumbs.clone()).await;
    let seen = alice.expect("reaction").await;
    assert_eq!(
        (&seen["from"], &seen["emoji"], &seen["removed"]),
        (&json!("vera"), &json!("thumbsup"), &json!(false))
    );
    let (kept, _) = history(&mut alice, json!({})).await;
    assert_eq!(kept[0]["reactions"], json!({"thumbsup": ["alice", "vera"]}));
    vera.ask(json!({"type": "reaction", "emoji": "thumbsup", "message_id": message, "remove": true}))
        .await;
    let (kept, _) = history(&mut alice, json!({})).await;
    assert_eq!(kept[0]["reactions"], json!({"thumbsup": ["alice"]}));
    // To the meeting.
    let own = vera.ask(json!({"type": "reaction", "emoji": "🎉"})).await;
    assert_eq!(own.get("message_id"), None);
    let party = loop {
        let seen = alice.expect("reaction").await;
        if seen["emoji"] == "🎉" {
            break seen;
        }
    };
    assert_eq!(party["from"], "vera");
    for (bad, code) in [
        (json!({"type": "reaction", "emoji": ""}), "bad_message"),
        (json!({"type": "reaction", "emoji": "a b"}), "bad_message"),
        (
            json!({"type": "reaction", "emoji": "x".repeat(33)}),
            "bad_message",
        ),
        (
            json!({"type": "reaction", "emoji": "x", "remove": true}),
            "bad_message",
        ),
        (
            json!({"type": "reaction", "emoji": "x", "message_id": "msg-none"}),
            "message_not_found",
        ),
    ] {
        assert_eq!(vera.refused(bad).await, code);
    }
    server.down().await;
}

#[tokio::test]
async fn a_private_message_is_seen_by_two_whatever_happens_to_it() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let id = room(&server).await;
    let (mut alice, _) = server.join(&id, "alice", "host").await;
    let (mut bob, _) = server.join(&id, "bob", "guest").await;
    let (mut carol, _) = server.join(&id, "carol", "guest").await;
    let message = alice
        .ask(json!({"type": "chat", "text": "psst", "to": "bob"}))
        .await;
    bob.expect("chat").await;
    let react = json!({"type": "reaction", "emoji": "x", "message_id": message["id"]});
    bob.ask(react.clone()).await;
    assert_eq!(alice.expect("reaction").await["from"], "bob");
    assert_eq!(carol.refused(react).await, "message_not_found");
    alice
        .ask(json!({"type": "chat_edit", "message_id": message["id"], "text": "pssst"}))
        .await;
    bob.expect("chat_edited").await;
    alice
        .ask(json!({"type": "chat_delete", "message_id": message["id"]}))
        .await;
    bob.expect("chat_deleted").await;
    let seen = carol.barrier().await;
    let chat = ["chat", "reaction", "chat_edited", "chat_deleted"];
    assert!(
        !seen
            .iter()
            .any(|message| chat.iter().any(|kind| message["type"] == *kind)),
        "{seen:?}"
    );
    server.down().await;
}

#[tokio::test]
async fn a_room_may_keep_nothing() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Quiet", "chat_history": false})).await;
    let id = room["id"].as_str().expect("an id").to_owned();
    let (mut alice, joined) = server.join(&id, "alice", "host").await;
    assert_eq!(joined["room_info"]["chat_history"], false);
    let (mut bob, _) = server.join(&id, "bob", "guest").await;
    let message = say(&mut bob, "off the record").await;
    assert_eq!(history(&mut alice, json!({})).await, (vec![], false));
    // What was just said can still be reacted to, changed and taken back.
    alice
        .ask(json!({"type": "reaction", "emoji": "x", "message_id": message}))
        .await;
    bob.ask(json!({"type": "chat_edit", "message_id": message, "text": "really"}))
        .await;
    alice
        .ask(json!({"type": "chat_delete", "message_id": message}))
        .await;
    assert_eq!(bob.expect("chat_deleted").await["id"], json!(message));
    let (_, by_api) = server.call("GET", &format!("/rooms/{id}/messages"), None).await;
    assert_eq!(by_api["messages"], json!([]));
    server.down().await;
}

#[tokio::test]
async fn markup_in_names_and_text_is_text() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let id = room(&server).await;
    let markup = "<img src=x onerror=alert(1)>\u{202e}&amp;";
    let body = json!({"room": id, "identity": "mallory", "name": "<b>M</b>", "role": "guest"});
    let (_, token) = server.call("POST", "/tokens", Some(body)).await;
    let mut mallory = server
        .socket(&format!("token={}", token["token"].as_str().expect("a token")))
        .await;
    mallory.send(json!({"type": "join", "room": id})).await;
    mallory.expect("joined").await;
    let (mut alice, joined) = server.join(&id, "alice", "host").await;
    // Neither changed nor dropped: whoever shows it writes text and no markup.
    assert_eq!(joined["participants"][0]["name"], "<b>M</b>");
    mallory.ask(json!({"type": "chat", "text": markup})).await;
    assert_eq!(alice.expect("chat").await["text"], markup);
    let request = server
        .request("GET", &format!("/rooms/{id}/messages"))
        .bearer_auth(common::KEY);
    let response = request.send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(
        response.json::<Value>().await.expect("JSON")["messages"][0]["text"],
        markup
    );
    server.down().await;
}
