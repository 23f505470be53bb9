//! Rooms over REST: settings and their change while people are in, paging, keys that make a POST safe to
//! repeat, rates, origins, ids of requests, the document of it all.

mod common;

use std::time::Duration;

use common::{KEY, TestServer, answer};
use kall_controlplane::config::AuthMode;
use serde_json::{Value, json};

fn id(room: &Value) -> String {
    room["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn rooms_are_listed_page_by_page_and_by_status() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(id(&server.room(json!({"name": format!("Room {number}")})).await));
    }
    assert_eq!(
        server.call("DELETE", &format!("/rooms/{}", ids[1]), None).await.0,
        204
    );
    let listed = async |query: &str| {
        let (status, list) = server.call("GET", &format!("/rooms?{query}"), None).await;
        assert_eq!(status, 200, "{list}");
        let rooms = list["rooms"].as_array().expect("a list").clone();
        let names: Vec<String> = rooms
            .iter()
            .map(|room| room["name"].as_str().expect("a name").into())
            .collect();
        (names, list["total"].as_i64().expect("a number"))
    };
    let mut all: Vec<String> = Vec::new();
    for offset in [0, 2, 4] {
        let (page, total) = listed(&format!("limit=2&offset={offset}")).await;
        assert_eq!(total, 5);
        all.extend(page);
    }
    all.sort();
    assert_eq!(all, ["Room 0", "Room 1", "Room 2", "Room 3", "Room 4"]);
    assert_eq!(listed("status=active").await.1, 4);
    assert_eq!(listed("status=closed").await, (vec!["Room 1".to_owned()], 1));
    assert_eq!(listed("offset=50").await, (vec![], 5));
    server.down().await;
}

#[tokio::test]
async fn settings_change_while_people_are_in_and_survive_a_restart() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = id(&server.room(json!({"name": "Before", "password": "sesame"})).await);
    let path = format!("/rooms/{room}");
    let (mut alice, joined) = server.join(&room, "alice", "host").await;
    assert_eq!(joined["room_info"]["password_protected"], true);
    let change = json!({"name": "After", "max_participants": 3, "password": null, "locked": true,
        "mode": "open", "chat_history": false, "recording_enabled": true});
    let (status, changed) = server.call("PATCH", &path, Some(change)).await;
    assert_eq!(status, 200, "{changed}");
    let told = alice.expect("room_updated").await;
    assert_eq!(told["by"], "api");
    for info in [&changed, &told["room_info"]] {
        assert_eq!(info["name"], "After");
        assert_eq!(info["max_participants"], 3);
        assert_eq!(info["password_protected"], false);
        assert_eq!(info["locked"], true);
        assert_eq!(info["mode"], "open");
        assert_eq!(info["chat_history"], false);
        assert_eq!(info["recording_enabled"], true);
    }
    // What is as it was is told to nobody.
    assert_eq!(
        server
            .call("PATCH", &path, Some(json!({"name": "After"})))
            .await
            .0,
        200
    );
    assert!(!alice.has_seen("room_updated").await);
    for (bad, field) in [
        (json!({"name": ""}), "name"),
        (json!({"name": null}), "name"),
        (json!({"max_participants": 0}), "max_participants"),
        (json!({"mode": "closed"}), "mode"),
        (json!({"slug": "x"}), "slug"),
        (json!({"password": "x".repeat(129)}), "password"),
    ] {
        let (status, error) = server.call("PATCH", &path, Some(bad)).await;
        let message = error["error"]["message"].as_str().expect("words");
        assert_eq!(status, 422, "{error}");
        assert!(message.contains(field), "{message} names {field}");
    }
    server.down().await;
    server.up().await;
    let (_, kept) = server.call("GET", &path, None).await;
    assert_eq!((&kept["name"], &kept["mode"]), (&json!("After"), &json!("open")));
    assert_eq!(
        (&kept["locked"], &kept["password_protected"]),
        (&json!(true), &json!(false))
    );
    server.down().await;
}

#[tokio::test]
async fn a_locked_room_takes_moderators_only() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = id(&server.room(json!({"name": "Team"})).await);
    let (status, locked) = server.call("POST", &format!("/rooms/{room}/lock"), None).await;
    assert_eq!((status, &locked["locked"]), (200, &json!(true)));
    let mut bob = server.knock(&room, "bob", "guest").await;
    assert_eq!(bob.expect("error").await["code"], "room_locked");
    let (mut host, joined) = server.join(&room, "host", "host").await;
    assert_eq!(joined["room_info"]["locked"], true);
    host.send(json!({"type": "room_lock", "locked": false})).await;
    let told = host.expect("room_updated").await;
    assert_eq!(
        (&told["by"], &told["room_info"]["locked"]),
        (&json!("host"), &json!(false))
    );
    bob.send(json!({"type": "join", "room": room})).await;
    bob.expect("joined").await;
    assert_eq!(
        server
            .call("POST", &format!("/rooms/{room}/unlock"), None)
            .await
            .1["locked"],
        false
    );
    assert_eq!(server.call("POST", "/rooms/rm_none/lock", None).await.0, 404);
    server.down().await;
}

#[tokio::test]
async fn no_more_rooms_than_allowed_and_empty_ones_close() {
    let mut server = TestServer::start_with(AuthMode::Token, |config| {
        config.room.max_rooms = 2;
        config.room.empty_room_timeout = 1;
    })
    .await;
    let first = id(&server.room(json!({"name": "One"})).await);
    let (alice, _) = server.join(&first, "alice", "host").await;
    server.room(json!({"name": "Two"})).await;
    let (status, error) = server
        .call("POST", "/rooms", Some(json!({"name": "Three"})))
        .await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("too_many_rooms")));
    // The empty one closes by itself and makes room; the other one is not empty.
    let deadline = tokio::time::Instant::now() + common::DEADLINE;
    loop {
        let (_, closed) = server.call("GET", "/rooms?status=closed", None).await;
        if closed["total"] == 1 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        server.call("GET", &format!("/rooms/{first}"), None).await.1["status"],
        "active"
    );
    server.room(json!({"name": "Three"})).await;
    drop(alice);
    server.down().await;
}

#[tokio::test]
async fn a_repeated_post_is_done_once() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let post = |path: &str, key: &str, body: Value| {
        server
            .request("POST", path)
            .bearer_auth(KEY)
            .header("idempotency-key", key)
            .json(&body)
    };
    let body = json!({"name": "Once"});
    let first = post("/rooms", "k1", body.clone())
        .send()
        .await
        .expect("an answer");
    assert_eq!(first.status(), 201);
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let first: Value = first.json().await.expect("JSON");
    let again = post("/rooms", "k1", body.clone())
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        (again.status().as_u16(), &again.headers()["idempotency-replayed"]),
        (201, &"true".parse().expect("v"))
    );
    assert_eq!(again.json::<Value>().await.expect("JSON"), first);
    assert_eq!(server.call("GET", "/rooms", None).await.1["total"], 1);
    // Another request under the same key is a mistake of the caller's.
    let (status, error) = answer(post("/rooms", "k1", json!({"name": "Other"}))).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (409, &json!("idempotency_key_reused"))
    );
    // Errors of the caller are answers like others, and a key is of one caller.
    assert_eq!(answer(post("/rooms", "k2", json!({"name": ""}))).await.0, 422);
    assert_eq!(answer(post("/rooms", "k2", json!({"name": ""}))).await.0, 422);
    let many: Vec<_> = (0..8)
        .map(|_| answer(post("/rooms", "k3", json!({"name": "Race"}))))
        .collect();
    let answers = futures_util::future::join_all(many).await;
    assert!(
        answers.iter().all(|(status, _)| [201, 409].contains(status)),
        "{answers:?}"
    );
    server.down().await;
    server.up().await;
    let post = server
        .request("POST", "/rooms")
        .bearer_auth(KEY)
        .header("idempotency-key", "k1")
        .json(&body);
    assert_eq!(answer(post).await, (201, first));
    assert_eq!(
        server.call("GET", "/rooms", None).await.1["total"],
        2,
        "one of the race, too"
    );
    server.down().await;
}

#[tokio::test]
async fn rates_are_of_a_key_and_of_an_address() {
    let mut server = TestServer::start_with(AuthMode::Open, |config| {
        config.api.burst = 5;
        config.api.requests_per_second = 1;
    })
    .await;
    let mut limited = None;
    for _ in 0..20 {
        let response = server
            .request("GET", "/rooms")
            .bearer_auth(KEY)
            .send()
            .await
            .expect("an answer");
        if response.status() == 429 {
            limited = Some(response);
            break;
        }
    }
    let limited = limited.expect("a limit");
    assert!(limited.headers().contains_key("retry-after"));
    assert_eq!(
        limited.json::<Value>().await.expect("JSON")["error"]["code"],
        "rate_limited"
    );
    // Somebody else's wrong key, and pages, have their own.
    let (status, _) = answer(server.request("GET", "/rooms").bearer_auth("testkey:wrong")).await;
    assert_eq!(status, 401);
    let stranger = |address: &str| {
        let request = server.request("GET", "/rooms").bearer_auth("testkey:wrong");
        request.header("x-forwarded-for", address)
    };
    let mut statuses = Vec::new();
    for _ in 0..80 {
        statuses.push(answer(stranger("192.0.2.7")).await.0);
    }
    assert!(statuses.contains(&429) && statuses.contains(&401), "{statuses:?}");
    assert_eq!(answer(stranger("192.0.2.8")).await.0, 401);
    server.down().await;
}

#[tokio::test]
async fn only_the_allowed_origins_may_read_answers() {
    let mut server = TestServer::start_with(AuthMode::Token, |config| {
        config.auth.allowed_origins = vec!["https://good.example".into()];
    })
    .await;
    let allowed = async |origin: &str| {
        let request = server.request("OPTIONS", "/rooms").header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        let response = request
            .header(
                "access-control-request-headers",
                "authorization,content-type,idempotency-key",
            )
            .send()
            .await
            .expect("an answer");
        let header = response.headers().get("access-control-allow-origin");
        header.map(|value| value.to_str().expect("text").to_owned())
    };
    assert_eq!(
        allowed("https://good.example").await.as_deref(),
        Some("https://good.example")
    );
    assert_eq!(allowed("https://evil.example").await, None);
    server.down().await;
}

#[tokio::test]
async fn every_request_has_an_id() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let ids = async |given: Option<&str>| {
        let request = server.request("GET", "/nowhere");
        let request = match given {
            Some(given) => request.header("x-request-id", given),
            None => request,
        };
        let response = request.send().await.expect("an answer");
        response.headers()["x-request-id"]
            .to_str()
            .expect("text")
            .to_owned()
    };
    let (one, two) = (ids(None).await, ids(None).await);
    assert_ne!(one, two);
    assert_eq!(ids(Some("proxy-42")).await, "proxy-42");
    assert_ne!(ids(Some("has spaces")).await, "has spaces");
    server.down().await;
}

#[tokio::test]
async fn the_document_is_made_of_the_handlers_and_readable() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let (status, document) = answer(server.request("GET", "/openapi.json")).await;
    assert_eq!(status, 200);
    for (path, methods) in [
        ("/health", &["get"][..]),
        ("/health/live", &["get"]),
        ("/health/ready", &["get"]),
        ("/rooms", &["get", "post"]),
        ("/rooms/{id}", &["get", "patch", "delete"]),
        ("/rooms/{id}/lock", &["post"]),
        ("/rooms/{id}/participants", &["get"]),
        ("/rooms/{id}/kick", &["post"]),
        ("/rooms/{id}/mute", &["post"]),
        ("/rooms/{id}/breakouts", &["get", "post", "delete"]),
        ("/tokens", &["post"]),
        ("/meetings", &["post"]),
        ("/stats", &["get"]),
    ] {
        for method in methods {
            let operation = &document["paths"][path][*method];
            assert!(
                operation["responses"]["500"].is_object(),
                "{method} {path}: {operation}"
            );
            let public = path.starts_with("/health") || path.starts_with("/meetings");
            assert_eq!(
                operation["security"][0].get("api_key").is_some(),
                !public,
                "{method} {path}"
            );
        }
    }
    let codes = document["info"]["description"].as_str().expect("words");
    for code in ["room_not_found", "rate_limited", "idempotency_in_progress"] {
        assert!(codes.contains(code), "{code}");
    }
    let (status, page) = answer(server.request("GET", "/docs")).await;
    let page = page.as_str().expect("a page");
    assert_eq!(status, 200);
    for words in ["/rooms/{id}/breakouts", "Makes a room", "schema-Room"] {
        assert!(page.contains(words), "{words}");
    }
    server.down().await;
}

#[tokio::test]
async fn health_says_what_is_away() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let (status, health) = answer(server.request("GET", "/health")).await;
    assert_eq!((status, &health["status"]), (200, &json!("degraded")));
    assert!(health["reason"].as_str().expect("words").contains("media server"));
    assert_eq!(
        (&health["media"], &health["database"]),
        (&json!("away"), &json!("connected"))
    );
    assert!(health["version"].is_string() && health["uptime_seconds"].is_u64());
    assert_eq!(answer(server.request("GET", "/health/live")).await.0, 200);
    assert_eq!(answer(server.request("GET", "/health/ready")).await.0, 503);
    server.down().await;
}
