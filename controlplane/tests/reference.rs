//! The product's reference as a table: each documented request and message at least once, and each code
//! of an error. What is documented is read from the program itself, so that a new message, request or
//! code without a row here fails.

mod common;

use std::collections::BTreeSet;

use common::{KEY, TestServer, answer, until_closed};
use kall_controlplane::config::{AuthMode, DatabaseDriver};
use kall_controlplane::store::{Claim, Store};
use kall_shared::signalling::{ClientMessage, ErrorCode, ServerMessage};
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio_tungstenite::tungstenite::Message;

const OFFER: &str = include_str!("data/chromium_offer.sdp");

/// Messages that tell of media: `tests/real/reference.rs` has them, `tests/browser/test/dynacast.test.js`
/// and `speaking.test.js` the last two. And numbers, which
/// large rooms get instead of names: `moderation.rs`.
const ELSEWHERE: [&str; 10] = [
    "presence",
    "answer",
    "track_published",
    "track_unpublished",
    "slot",
    "unmuted",
    "media_restarted",
    "renegotiate",
    "dynacast",
    "active_speaker",
];

/// All names an enum is written by, as the refusal of another one lists them.
fn names_of<T: DeserializeOwned>(unknown: Value) -> BTreeSet<String> {
    let Err(error) = serde_json::from_value::<T>(unknown) else {
        panic!("it has no such name");
    };
    let names = error.to_string();
    let names = names.split('`').skip(3).step_by(2);
    names.map(str::to_owned).collect()
}

/// Whether an answer has every field of the reference's example, with a value of its type.
fn like(example: &Value, answer: &Value) -> bool {
    match (example, answer) {
        (Value::Object(example), Value::Object(answer)) => example.iter().all(|(name, value)| {
            let found = answer.get(name);
            found.is_some_and(|found| like(value, found))
        }),
        (Value::Array(example), Value::Array(answer)) => match example.first() {
            Some(first) => !answer.is_empty() && answer.iter().all(|item| like(first, item)),
            None => true,
        },
        (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Null, Value::Null) => true,
        _ => false,
    }
}

/// The operations and the error codes that `/openapi.json` documents.
async fn documented(server: &TestServer) -> (BTreeSet<String>, BTreeSet<String>) {
    let (_, api) = answer(server.request("GET", "/openapi.json")).await;
    let paths = api["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("methods").keys();
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    let words = api["info"]["description"].as_str().expect("words");
    let codes = words.lines().filter_map(|line| line.strip_prefix("- `"));
    let codes = codes.filter_map(|line| line.split('`').next());
    (operations.collect(), codes.map(str::to_owned).collect())
}

#[tokio::test]
async fn each_request_is_answered_as_its_example_says() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let example = json!({"name": "Team Standup", "max_participants": 20, "password": "optional-password",
        "lobby_enabled": true, "recording_enabled": false});
    let room = server.room(example.clone()).await;
    let id = room["id"].as_str().expect("an id").to_owned();
    let (mut host, _) = server.join(&id, "host", "host").await;
    let slug = server.room(json!({"name": "Doors"})).await["slug"].clone();
    let slug = slug.as_str().expect("a slug");
    let _waiting = {
        let mut sockets = Vec::new();
        for who in ["user-1", "user-2", "user-3", "user-4", "user-5"] {
            let token = server.token(&id, who, "guest").await;
            let mut socket = server.socket(&format!("token={token}")).await;
            socket
                .send(json!({"type": "join", "room": id, "password": "optional-password"}))
                .await;
            socket.expect("lobby_waiting").await;
            sockets.push(socket);
        }
        sockets
    };
    let described = json!({"id": "rm_a1b2c3d4", "name": "Team Standup", "slug": "team-standup-a1b2",
        "status": "active", "max_participants": 20, "participant_count": 5, "lobby_enabled": true,
        "created_at": "2026-03-16T10:00:00Z"});
    let health = json!({"status": "ok", "version": "1.0.0", "uptime_seconds": 86400});
    let breakouts = json!({"open": false, "assign": "manual",
        "rooms": [{"id": "rm_x", "name": "Room 1", "assigned": [], "present": []}]});
    let nothing = json!("");
    let rooms = json!({"rooms": [described], "total": 12});
    let people = json!({"participants": [{"identity": "user-1", "name": "Alice", "role": "host",
        "joined_at": "2026-03-16T10:01:00Z",
        "tracks": {"audio": true, "video": true, "screen": false}}]});
    let token = json!({"token": "eyJhbGciOi..."});
    let stats = json!({"rooms": 12, "participants": 87, "tracks": {"audio": 87, "video": 64, "screen": 3},
        "uptime_seconds": 86400, "memory_mb": 512});
    let entrance = json!({"room": "rm_x", "slug": "x-1", "token": "eyJ"});
    let bans = json!({"bans": [{"id": "ban_x", "by": "identity", "value": "user-9"}]});
    let messages = json!({"messages": [], "more": false});
    let waiting = json!({"waiting": [{"identity": "user-1", "name": "A"}]});
    let table: Vec<(&str, &str, Option<Value>, u16, &Value)> = vec![
        ("GET", "/health", None, 200, &health),
        ("GET", "/health/live", None, 200, &nothing),
        // There is no data plane behind this server.
        ("GET", "/health/ready", None, 503, &nothing),
        ("POST", "/rooms", Some(example), 201, &described),
        ("GET", "/rooms", None, 200, &rooms),
        ("GET", "/rooms?status=active&limit=50&offset=0", None, 200, &rooms),
        ("GET", "/rooms/{id}", None, 200, &described),
        (
            "PATCH",
            "/rooms/{id}",
            Some(json!({"max_participants": 30})),
            200,
            &described,
        ),
        ("POST", "/rooms/{id}/lock", None, 200, &described),
        ("POST", "/rooms/{id}/unlock", None, 200, &described),
        ("GET", "/rooms/{id}/lobby", None, 200, &waiting),
        ("POST", "/rooms/{id}/lobby/user-1/admit", None, 204, &nothing),
        (
            "POST",
            "/rooms/{id}/lobby/user-2/reject",
            Some(json!({"reason": "Not invited"})),
            204,
            &nothing,
        ),
        ("POST", "/rooms/{id}/lobby/admit_all", None, 204, &nothing),
        ("GET", "/rooms/{id}/participants", None, 200, &people),
        (
            "POST",
            "/rooms/{id}/participants/user-4/role",
            Some(json!({"role": "co_host"})),
            204,
            &nothing,
        ),
        (
            "POST",
            "/rooms/{id}/kick",
            Some(json!({"identity": "user-1"})),
            204,
            &nothing,
        ),
        (
            "POST",
            "/rooms/{id}/mute",
            Some(json!({"identity": "user-3", "track_type": "audio"})),
            204,
            &nothing,
        ),
        (
            "POST",
            "/rooms/{id}/bans",
            Some(json!({"by": "identity", "value": "user-9"})),
            201,
            &bans,
        ),
        ("GET", "/rooms/{id}/bans", None, 200, &bans),
        ("DELETE", "/rooms/{id}/bans/{ban}", None, 204, &nothing),
        (
            "POST",
            "/rooms/{id}/breakouts",
            Some(json!({"count": 1})),
            201,
            &breakouts,
        ),
        ("GET", "/rooms/{id}/breakouts", None, 200, &breakouts),
        (
            "POST",
            "/rooms/{id}/breakouts/assign",
            Some(json!({"identity": "user-3", "room": null})),
            200,
            &breakouts,
        ),
        (
            "POST",
            "/rooms/{id}/breakouts/open",
            Some(json!({"duration_seconds": 60})),
            200,
            &breakouts,
        ),
        (
            "POST",
            "/rooms/{id}/breakouts/broadcast",
            Some(json!({"text": "Two minutes"})),
            204,
            &nothing,
        ),
        ("POST", "/rooms/{id}/breakouts/close", None, 200, &breakouts),
        ("DELETE", "/rooms/{id}/breakouts", None, 204, &nothing),
        ("GET", "/rooms/{id}/messages", None, 200, &messages),
        (
            "POST",
            "/tokens",
            Some(
                json!({"room": id, "identity": "user-1", "name": "Alice", "role": "host",
            "ttl": 86400}),
            ),
            200,
            &token,
        ),
        ("GET", "/stats", None, 200, &stats),
        ("POST", "/meetings", Some(json!({"name": "Chat"})), 201, &entrance),
        (
            "POST",
            "/meetings/{slug}/guest",
            Some(json!({"name": "Alice"})),
            200,
            &entrance,
        ),
        ("DELETE", "/rooms/{id}", None, 204, &nothing),
    ];
    let mut asked = BTreeSet::new();
    let mut ban = String::new();
    for (method, template, body, status, example) in table {
        let path = template
            .replace("{id}", &id)
            .replace("{slug}", slug)
            .replace("{ban}", &ban);
        let (got, said) = server.call(method, &path, body).await;
        assert_eq!(got, status, "{method} {path}: {said}");
        assert!(
            *example == nothing || like(example, &said),
            "{method} {path}: {said}"
        );
        if let Some(made) = said["bans"][0]["id"].as_str() {
            ban = made.to_owned();
        }
        let template = template.split('?').next().expect("a path");
        let template = ["user-1", "user-2", "user-4"]
            .iter()
            .fold(template.to_owned(), |path, who| {
                path.replace(&format!("/{who}/"), "/{identity}/")
            });
        asked.insert(format!("{method} {template}"));
    }
    host.expect("room_closed").await;
    let (operations, _) = documented(&server).await;
    let missing: Vec<&String> = operations.difference(&asked).collect();
    assert!(missing.is_empty(), "documented, but not asked: {missing:?}");
    server.down().await;
}

/// The codes that were given.
#[derive(Default)]
struct Given(BTreeSet<String>);

impl Given {
    /// Makes a request that is refused so.
    async fn row(&mut self, request: RequestBuilder, status: u16, code: &str) {
        let (got, said) = answer(request).await;
        assert_eq!((got, &said["error"]["code"]), (status, &json!(code)), "{said}");
        self.0.insert(code.to_owned());
    }

    /// The same with bytes that no client library would send.
    async fn raw(&mut self, server: &TestServer, request: &str, status: u16, code: &str) {
        let address = server.base.trim_start_matches("http://");
        let said = until_closed(address, request).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        assert!(said.contains(&format!("\"code\":\"{code}\"")), "{said}");
        self.0.insert(code.to_owned());
    }
}

/// Takes the rooms out of the database behind the server's back.
async fn drop_rooms(server: &TestServer) {
    let database = &server.config().database;
    let url = &database.url;
    match database.driver {
        DatabaseDriver::Sqlite => {
            let mut connection = sqlx::SqliteConnection::connect(url).await.expect("the file");
            sqlx::raw_sql("ALTER TABLE rooms RENAME TO gone")
                .execute(&mut connection)
                .await
                .expect("renamed");
        }
        DatabaseDriver::Postgres => {
            let mut connection = sqlx::PgConnection::connect(url).await.expect("it answers");
            sqlx::raw_sql("ALTER TABLE rooms RENAME TO gone")
                .execute(&mut connection)
                .await
                .expect("renamed");
        }
    }
}

#[tokio::test]
async fn each_code_of_the_rest_api_is_given() {
    let mut server = TestServer::start_with(AuthMode::Open, |config| {
        config.room.max_rooms = 3;
        config.auth.allowed_origins = vec!["https://good.example".into()];
    })
    .await;
    let room = server
        .room(json!({"name": "Studio", "max_participants": 1}))
        .await;
    let id = room["id"].as_str().expect("an id").to_owned();
    let guarded = server
        .room(json!({"name": "Guarded", "password": "secret"}))
        .await;
    let guarded_id = guarded["id"].as_str().expect("an id").to_owned();
    let slug = guarded["slug"].as_str().expect("a slug").to_owned();
    server.room(json!({"name": "Third"})).await;
    let guest = server.token(&id, "camera", "guest").await;
    let other = server.token(&guarded_id, "other", "guest").await;
    let viewer = server.token(&id, "viewer", "viewer").await;
    let banned = server.token(&id, "banned", "guest").await;
    let ban = json!({"by": "identity", "value": "banned"});
    assert_eq!(
        server
            .call("POST", &format!("/rooms/{id}/bans"), Some(ban))
            .await
            .0,
        201
    );

    let get = |path: &str| server.request("GET", path).bearer_auth(KEY);
    let delete = |path: &str| server.request("DELETE", path).bearer_auth(KEY);
    let post = |path: &str, body: Value| server.request("POST", path).bearer_auth(KEY).json(&body);
    let guest_of = |slug: &str, body: Value| {
        server
            .request("POST", &format!("/meetings/{slug}/guest"))
            .json(&body)
    };
    let whip = |token: &str, offer: &str| {
        let request = server.request("POST", &format!("/whip/{id}")).bearer_auth(token);
        request
            .header("content-type", "application/sdp")
            .body(offer.to_owned())
    };
    let within = |path: &str| format!("/rooms/{id}{path}");
    let text = |body: &'static str| server.request("POST", "/rooms").bearer_auth(KEY).body(body);
    let json_text = |body: &'static str| text(body).header("content-type", "application/json");

    let mut given = Given::default();
    given.row(json_text("{"), 400, "bad_json").await;
    given.row(text("{}"), 415, "unsupported_media_type").await;
    given.row(get("/rooms/%ff"), 400, "bad_path").await;
    given
        .row(get(&format!("/ws?token={guest}")), 400, "websocket_expected")
        .await;
    given.row(whip(&guest, "v=0"), 400, "sdp_invalid").await;
    given
        .row(server.request("GET", "/rooms"), 401, "unauthorized")
        .await;
    given.row(whip(&other, OFFER), 403, "forbidden").await;
    given.row(whip(&viewer, OFFER), 403, "permission_denied").await;
    given.row(whip(&banned, OFFER), 403, "banned").await;
    given
        .row(guest_of(&slug, json!({"name": "A"})), 403, "password_required")
        .await;
    given
        .row(
            guest_of(&slug, json!({"name": "A", "password": "x"})),
            403,
            "password_wrong",
        )
        .await;
    given.row(get("/nowhere"), 404, "not_found").await;
    given.row(get("/rooms/rm_none"), 404, "room_not_found").await;
    given
        .row(
            post(&within("/kick"), json!({"identity": "nobody"})),
            404,
            "participant_not_found",
        )
        .await;
    let once = |name: &str| post("/rooms", json!({"name": name})).header("idempotency-key", "once");
    given.row(once(""), 422, "invalid_value").await;
    given.row(once("Other"), 409, "idempotency_key_reused").await;
    given
        .row(
            get(&within("/messages?before=msg-none")),
            404,
            "message_not_found",
        )
        .await;
    given
        .row(delete(&within("/bans/ban_none")), 404, "ban_not_found")
        .await;
    given
        .row(
            server
                .request("DELETE", &format!("/whip/{id}/none"))
                .bearer_auth(&guest),
            404,
            "session_not_found",
        )
        .await;
    given
        .row(server.request("DELETE", "/health"), 405, "method_not_allowed")
        .await;
    given
        .row(post("/rooms", json!({"name": "Fourth"})), 409, "too_many_rooms")
        .await;
    given
        .row(
            post("/rooms", json!({"name": "x".repeat(70_000)})),
            413,
            "body_too_large",
        )
        .await;
    given
        .row(post("/rooms", json!({"name": ""})), 422, "invalid_value")
        .await;
    // All is well, but there is no data plane behind this server.
    given.row(whip(&guest, OFFER), 503, "media_unavailable").await;
    let (status, said) = server.call("POST", &within("/lock"), None).await;
    assert_eq!(status, 200, "{said}");
    given.row(whip(&guest, OFFER), 403, "room_locked").await;
    let (status, said) = server.call("POST", &within("/unlock"), None).await;
    assert_eq!(status, 200, "{said}");
    let (_alice, _) = server.join(&id, "alice", "host").await;
    given.row(whip(&guest, OFFER), 409, "room_full").await;
    let mute = json!({"identity": "alice", "track_type": "tr_none"});
    given
        .row(post(&within("/mute"), mute), 404, "track_not_found")
        .await;
    let assign = json!({"identity": "alice", "room": "rm_none"});
    let (status, said) = server
        .call("POST", &within("/breakouts"), Some(json!({"count": 1})))
        .await;
    assert_eq!(status, 201, "{said}");
    given
        .row(
            post(&within("/breakouts/assign"), assign),
            404,
            "breakout_not_found",
        )
        .await;
    given
        .row(post(&within("/breakouts/close"), json!({})), 409, "conflict")
        .await;
    let foreign = get("/ws").header("origin", "https://evil.example");
    given.row(foreign, 403, "origin_refused").await;

    // A second process on this database answers the first request with this key.
    let store = Store::connect(&server.config().database)
        .await
        .expect("the same database");
    let body = json!({"name": "Busy"}).to_string();
    let text = format!("/rooms\n{body}");
    let print = hex::encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()));
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let claimed = store.claim(("testkey", "busy"), &print, now, (0, 0)).await;
    assert_eq!(claimed.expect("kept"), Claim::First);
    let busy = server
        .request("POST", "/rooms")
        .bearer_auth(KEY)
        .header("idempotency-key", "busy");
    let busy = busy.header("content-type", "application/json").body(body);
    given.row(busy, 409, "idempotency_in_progress").await;
    store.close().await;

    let key = format!("authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n");
    let chunks = "transfer-encoding: chunked\r\n\r\nno size\r\n";
    let broken = format!("POST /rooms HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{key}{chunks}");
    given.raw(&server, &broken, 400, "bad_body").await;
    let nameless = || guest_of(&slug, json!({"name": ""}));
    while answer(nameless()).await.0 == 422 {}
    given.row(nameless(), 429, "rate_limited").await;
    drop_rooms(&server).await;
    given.row(get("/rooms"), 500, "internal").await;

    let (_, codes) = documented(&server).await;
    server.down().await;
    let mut server = TestServer::start_with(AuthMode::Open, |config| config.server.request_timeout = 1).await;
    let slow = format!("POST /rooms HTTP/1.1\r\nhost: x\r\n{key}content-length: 9\r\n\r\n{{");
    given.raw(&server, &slow, 408, "request_timeout").await;
    server.down().await;
    let missing: Vec<&String> = codes.difference(&given.0).collect();
    assert!(missing.is_empty(), "documented, but not given: {missing:?}");
}

#[tokio::test]
async fn each_message_goes_over_the_wire_and_each_code_is_given() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let room = server
        .room(json!({"name": "Team Standup", "max_participants": 4}))
        .await;
    let id = room["id"].as_str().expect("an id").to_owned();
    let (mut host, _) = server.join(&id, "host", "host").await;
    let (mut bob, _) = server.join(&id, "bob", "guest").await;
    host.expect("participant_joined").await;

    // Before a join, and joins that are refused.
    let mut early = server.socket("name=Early").await;
    assert_eq!(
        early.refused(json!({"type": "chat", "text": "?"})).await,
        "not_joined"
    );
    assert_eq!(
        early.refused(json!({"type": "chat", "text": 1})).await,
        "bad_message"
    );
    assert_eq!(early.refused(json!({"type": "sing"})).await, "unknown_type");
    early.send_raw(Message::text("no JSON")).await;
    assert_eq!(early.expect("error").await["code"], "bad_message");
    let join =
        |room: &str, password: Option<&str>| json!({"type": "join", "room": room, "password": password});
    assert_eq!(early.refused(join("rm_none", None)).await, "room_not_found");
    let guarded = server
        .room(json!({"name": "Guarded", "password": "secret", "max_participants": 1}))
        .await;
    let guarded = guarded["id"].as_str().expect("an id");
    assert_eq!(early.refused(join(guarded, None)).await, "password_required");
    assert_eq!(early.refused(join(guarded, Some("x"))).await, "password_wrong");
    assert_eq!(early.ask(join(guarded, Some("secret"))).await["type"], "joined");
    assert_eq!(
        early.refused(join(guarded, Some("secret"))).await,
        "already_joined"
    );
    let mut late = server.socket("name=Late").await;
    assert_eq!(late.refused(join(guarded, Some("secret"))).await, "room_full");
    early.send(json!({"type": "leave"})).await;
    let mut forged = server.socket("token=rubbish").await;
    assert_eq!(forged.expect("error").await["code"], "auth_failed");

    // What people say to each other.
    let said = bob
        .ask(json!({"type": "chat", "text": "Hello!", "to": null}))
        .await;
    let message = said["id"].clone();
    bob.send(json!({"type": "chat", "text": "Private msg", "to": "host"}))
        .await;
    host.send(json!({"type": "reaction", "emoji": "thumbsup", "message_id": message}))
        .await;
    assert_eq!(bob.expect("reaction").await["from"], "host");
    bob.send(json!({"type": "chat_edit", "message_id": message, "text": "Hello, all!"}))
        .await;
    host.expect("chat_edited").await;
    host.send(json!({"type": "chat_history", "limit": 10})).await;
    assert_eq!(
        host.expect("chat_history").await["messages"][0]["text"],
        "Hello, all!"
    );
    host.send(json!({"type": "chat_delete", "message_id": message}))
        .await;
    bob.expect("chat_deleted").await;
    let gone = json!({"type": "chat_edit", "message_id": message, "text": "again"});
    assert_eq!(bob.refused(gone).await, "message_not_found");
    bob.send(json!({"type": "hand", "raised": true})).await;
    host.expect("hand").await;

    // Descriptions and candidates are relayed to a participant, and taken by the server.
    for (kind, body) in [
        ("offer", json!({"sdp": "x"})),
        ("answer", json!({"sdp": "x"})),
        ("candidate", json!({"candidate": {"candidate": ""}})),
    ] {
        let mut relayed = body;
        relayed["type"] = json!(kind);
        relayed["to"] = json!("host");
        bob.send(relayed).await;
        assert_eq!(host.expect(kind).await["from"], "bob");
    }
    bob.send(json!({"type": "publish", "mid": "0", "source": "microphone"}))
        .await;
    bob.send(json!({"type": "mute", "track": "audio"})).await;
    host.expect("muted").await;
    bob.send(json!({"type": "unmute", "track": "audio"})).await;
    let subscribe = json!({"type": "subscribe", "track_id": "tr_none", "layer": "medium"});
    assert_eq!(bob.refused(subscribe).await, "track_not_found");
    bob.send(json!({"type": "unsubscribe", "track_id": "tr_none"}))
        .await;
    assert_eq!(
        bob.refused(json!({"type": "offer", "sdp": "v=0"})).await,
        "sdp_invalid"
    );
    // There is no data plane behind this server.
    assert_eq!(
        bob.refused(json!({"type": "offer", "sdp": OFFER})).await,
        "media_unavailable"
    );

    // Moderation.
    let mute = json!({"type": "mute_participant", "identity": "bob", "track": "audio"});
    assert_eq!(bob.refused(mute.clone()).await, "permission_denied");
    host.send(mute).await;
    host.send(json!({"type": "role", "identity": "bob", "role": "co_host"}))
        .await;
    assert_eq!(bob.expect("role_changed").await["role"], "co_host");
    host.send(json!({"type": "room_lock", "locked": true})).await;
    bob.expect("room_updated").await;
    let mut late = server.knock(&id, "late", "guest").await;
    assert_eq!(late.expect("error").await["code"], "room_locked");
    host.send(json!({"type": "room_lock", "locked": false})).await;
    let nobody = json!({"type": "kick", "identity": "nobody"});
    assert_eq!(host.refused(nobody).await, "participant_not_found");
    let (mut carol, _) = server.join(&id, "carol", "guest").await;
    host.send(json!({"type": "kick", "identity": "carol", "ban": "identity"}))
        .await;
    carol.expect("kicked").await;
    host.expect("participant_left").await;
    let mut carol = server.knock(&id, "carol", "guest").await;
    assert_eq!(carol.expect("error").await["code"], "banned");
    let (mut twin, _) = server.join(&id, "twin", "guest").await;
    let (_twin, _) = server.join(&id, "twin", "guest").await;
    assert_eq!(twin.expect("error").await["code"], "replaced");

    // Breakout rooms.
    assert_eq!(
        bob.refused(json!({"type": "breakouts_close"})).await,
        "breakout_not_found"
    );
    host.send(json!({"type": "breakouts_create", "count": 1, "assign": "choice"}))
        .await;
    let breakouts = bob.expect("breakouts").await;
    let red = breakouts["breakouts"]["rooms"][0]["id"].clone();
    assert_eq!(
        bob.refused(json!({"type": "breakout_join", "room": red})).await,
        "conflict"
    );
    host.send(json!({"type": "breakout_assign", "identity": "twin", "room": red}))
        .await;
    host.send(json!({"type": "breakouts_open", "duration_seconds": 4}))
        .await;
    while bob.expect("breakouts").await["breakouts"]["open"] != true {}
    bob.send(json!({"type": "breakout_join", "room": red})).await;
    bob.expect("room_moved").await;
    bob.expect("breakouts_ending").await;
    host.send(json!({"type": "breakouts_broadcast", "text": "Come back"}))
        .await;
    bob.expect("announcement").await;
    assert_eq!(bob.expect("room_moved").await.get("breakout"), None);

    // The lobby.
    let (status, said) = server
        .call(
            "PATCH",
            &format!("/rooms/{id}"),
            Some(json!({"lobby_enabled": true})),
        )
        .await;
    assert_eq!(status, 200, "{said}");
    let mut dave = server.knock(&id, "dave", "guest").await;
    dave.expect("lobby_waiting").await;
    host.expect("lobby_request").await;
    host.send(json!({"type": "lobby_reject", "identity": "dave", "reason": "Not invited"}))
        .await;
    assert_eq!(dave.expect("lobby_rejected").await["reason"], "Not invited");
    host.expect("lobby_left").await;
    let mut erin = server.knock(&id, "erin", "guest").await;
    erin.expect("lobby_waiting").await;
    host.send(json!({"type": "lobby_admit", "identity": "erin"}))
        .await;
    erin.expect("joined").await;
    host.send(json!({"type": "lobby_admit_all"})).await;

    // A flood, and the host's way out.
    for _ in 0..400 {
        erin.send(json!({"type": "candidate", "candidate": null})).await;
    }
    loop {
        if erin.expect("error").await["code"] == "rate_limited" {
            break;
        }
    }
    host.send(json!({"type": "leave"})).await;
    bob.expect("host_offer").await;
    bob.send(json!({"type": "host_decline"})).await;
    // Once a host was there again, everybody is asked anew.
    let (mut again, _) = server.join(&id, "host", "host").await;
    again.send(json!({"type": "leave"})).await;
    bob.expect("host_offer").await;
    bob.send(json!({"type": "host_accept"})).await;
    while bob.expect("role_changed").await["role"] != "host" {}
    bob.send(json!({"type": "end_room"})).await;
    bob.expect("room_closed").await;

    let seen = server.ledger.lock().expect("nobody panicked").clone();
    let all: BTreeSet<String> = ClientMessage::TYPES
        .iter()
        .map(|kind| format!("> {kind}"))
        .collect();
    let missing: Vec<&String> = all.difference(&seen).collect();
    assert!(missing.is_empty(), "never sent: {missing:?}");
    let mut all = names_of::<ServerMessage>(json!({"type": "?"}));
    for kind in ELSEWHERE {
        assert!(all.remove(kind), "{kind}");
    }
    let missing: Vec<String> = all
        .into_iter()
        .filter(|kind| {
            let way = format!("< {kind}");
            kind != "error" && !seen.contains(&way)
        })
        .collect();
    assert!(missing.is_empty(), "never received: {missing:?}");
    let codes = names_of::<ErrorCode>(json!("?"));
    let missing: Vec<String> = codes
        .into_iter()
        // By REST alone, and when the database fails: `each_code_of_the_rest_api_is_given`; the last one
        // with media: `tests/real/reference.rs`.
        .filter(|code| !["ban_not_found", "internal", "slot_not_found"].contains(&code.as_str()))
        .filter(|code| !seen.contains(&format!("< error {code}")))
        .collect();
    assert!(missing.is_empty(), "never given: {missing:?}");
    server.down().await;
}
