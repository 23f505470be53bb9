//! The REST API and the pages: status and body of each path, and one shape for every error.

mod common;

use common::{KEY, TestServer, answer};
use kall_controlplane::config::AuthMode;
use serde_json::json;

#[tokio::test]
async fn rooms_are_made_found_listed_and_closed() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server
        .room(json!({"name": "Team Standup", "max_participants": 20}))
        .await;
    let (id, slug) = (
        room["id"].as_str().expect("id"),
        room["slug"].as_str().expect("slug"),
    );
    assert!(
        id.starts_with("rm_") && slug.starts_with("team-standup-"),
        "{room}"
    );
    assert_eq!(room["max_participants"], 20);
    assert!(room["created_at"].as_str().expect("a time").ends_with('Z'));
    for name in [id, slug] {
        let (status, found) = server.call("GET", &format!("/rooms/{name}"), None).await;
        assert_eq!(
            (status, &found["status"], &found["participant_count"]),
            (200, &json!("active"), &json!(0))
        );
    }
    let (_, list) = server
        .call("GET", "/rooms?status=active&limit=50&offset=0", None)
        .await;
    assert_eq!(
        (list["total"].as_i64(), list["rooms"][0]["id"].as_str()),
        (Some(1), Some(id))
    );

    // Kept before it was answered: a new start knows it.
    server.down().await;
    server.up().await;
    assert_eq!(server.call("GET", &format!("/rooms/{id}"), None).await.0, 200);
    assert_eq!(
        server
            .call("GET", &format!("/rooms/{slug}/participants"), None)
            .await
            .1,
        json!({"participants": [], "total": 0})
    );

    assert_eq!(
        server.call("DELETE", &format!("/rooms/{slug}"), None).await.0,
        204
    );
    assert_eq!(
        server.call("DELETE", &format!("/rooms/{slug}"), None).await.0,
        404
    );
    let (_, closed) = server.call("GET", &format!("/rooms/{id}"), None).await;
    assert_eq!(closed["status"], "closed");
    server.down().await;
}

#[tokio::test]
async fn every_error_has_one_shape() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let json_type = ("content-type", "application/json");
    let post = |path: &str| server.request("POST", path).bearer_auth(KEY);
    let cases = [
        (server.request("GET", "/rooms"), 401, "unauthorized"),
        (
            server.request("GET", "/rooms").bearer_auth("testkey:wrong"),
            401,
            "unauthorized",
        ),
        (
            server
                .request("GET", "/rooms")
                .bearer_auth("nobody:a-secret-for-these-tests"),
            401,
            "unauthorized",
        ),
        (server.request("GET", "/nowhere"), 404, "not_found"),
        (
            server.request("PUT", "/rooms").bearer_auth(KEY),
            405,
            "method_not_allowed",
        ),
        (server.request("DELETE", "/health"), 405, "method_not_allowed"),
        (
            server.request("GET", "/rooms/rm_none").bearer_auth(KEY),
            404,
            "room_not_found",
        ),
        (
            server.request("GET", "/rooms?limit=0").bearer_auth(KEY),
            422,
            "invalid_value",
        ),
        (
            server.request("GET", "/rooms?limit=x").bearer_auth(KEY),
            422,
            "invalid_value",
        ),
        (
            server.request("GET", "/rooms?status=odd").bearer_auth(KEY),
            422,
            "invalid_value",
        ),
        (post("/rooms").body("{}"), 415, "unsupported_media_type"),
        (
            post("/rooms").header(json_type.0, json_type.1).body("{"),
            400,
            "bad_json",
        ),
        (post("/rooms").json(&json!({"nme": "x"})), 422, "invalid_value"),
        (post("/rooms").json(&json!({"name": ""})), 422, "invalid_value"),
        (
            post("/rooms").json(&json!({"name": "x", "max_participants": 0})),
            422,
            "invalid_value",
        ),
        (
            post("/rooms").json(&json!({"name": "x".repeat(70_000)})),
            413,
            "body_too_large",
        ),
        (
            post("/tokens").json(&json!({"room": "rm_none", "identity": "a", "role": "host"})),
            404,
            "room_not_found",
        ),
        (
            post("/tokens").json(&json!({"room": "rm_none", "identity": "a/b", "role": "host"})),
            422,
            "invalid_value",
        ),
        (
            post("/tokens").json(&json!({"room": "rm_none", "identity": "a", "role": "king"})),
            422,
            "invalid_value",
        ),
        (
            server.request("POST", "/meetings").json(&json!({})),
            403,
            "forbidden",
        ),
        (
            server
                .request("POST", "/meetings/x/guest")
                .json(&json!({"name": "Bob"})),
            403,
            "forbidden",
        ),
        (server.request("GET", "/ws"), 400, "websocket_expected"),
    ];
    for (request, status, code) in cases {
        let (got, body) = answer(request).await;
        assert_eq!(
            (got, body["error"]["code"].as_str()),
            (status, Some(code)),
            "{body}"
        );
        assert!(
            body["error"]["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{body}"
        );
    }
    server.down().await;
}

#[tokio::test]
async fn an_open_server_makes_meetings_for_its_pages() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let (status, made) = answer(
        server
            .request("POST", "/meetings")
            .json(&json!({"name": "Retro"})),
    )
    .await;
    assert_eq!(status, 201, "{made}");
    let slug = made["slug"].as_str().expect("a slug");
    assert!(slug.starts_with("retro-") && made["token"].is_string());
    let path = format!("/meetings/{slug}/guest");
    let (status, guest) = answer(server.request("POST", &path).json(&json!({"name": "Bob"}))).await;
    assert_eq!((status, &guest["room"]), (200, &made["room"]), "{guest}");
    // One address gets so many and no more.
    let mut refused = None;
    for _ in 0..200 {
        let (status, body) = answer(server.request("POST", &path).json(&json!({"name": "Bob"}))).await;
        if status == 429 {
            refused = Some(body);
            break;
        }
    }
    assert_eq!(refused.expect("a limit")["error"]["code"], "rate_limited");
    server.down().await;
}

#[tokio::test]
async fn health_needs_no_key_and_stats_do() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let (status, health) = answer(server.request("GET", "/health")).await;
    assert_eq!(
        (status, &health["status"], &health["media"]),
        (200, &json!("degraded"), &json!("away"))
    );
    let (_, stats) = server.call("GET", "/stats", None).await;
    assert_eq!((&stats["rooms"], &stats["dataplane"]), (&json!(0), &json!(null)));
    let (status, page) = answer(server.request("GET", "/metrics")).await;
    let page = page.as_str().expect("text");
    assert_eq!(status, 200);
    assert!(page.contains("koder_kall_rooms_active 0"), "{page}");
    assert!(
        page.contains("koder_kall_http_requests_total{method=\"GET\",status=\"200\"}"),
        "{page}"
    );
    server.down().await;
}

#[tokio::test]
async fn a_rooms_statistics_need_the_room_and_the_data_plane() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Figures"})).await;
    for (name, status, code) in [
        ("rm_none", 404, "room_not_found"),
        ("", 404, "room_not_found"),
        (room["id"].as_str().expect("id"), 503, "media_unavailable"),
        (room["slug"].as_str().expect("slug"), 503, "media_unavailable"),
    ] {
        let (got, body) = server.call("GET", &format!("/stats?room={name}"), None).await;
        assert_eq!(
            (got, body["error"]["code"].as_str()),
            (status, Some(code)),
            "{name}: {body}"
        );
    }
    let path = format!("/stats?room={}", room["id"].as_str().expect("id"));
    let (status, _) = answer(server.request("GET", &path)).await;
    assert_eq!(status, 401);
    server.down().await;
}

#[tokio::test]
async fn pages_are_served_with_safe_headers() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let (status, page) = answer(server.request("GET", "/")).await;
    assert_eq!(status, 503);
    assert!(page.as_str().expect("a page").contains("npm run build"), "{page}");
    std::fs::create_dir_all(server.dist().join("assets")).expect("a folder");
    std::fs::write(server.dist().join("index.html"), "<title>kall</title>").expect("a page");
    std::fs::write(server.dist().join("assets/index-BxY3_-9z.js"), "1").expect("a script");
    for path in ["/", "/join", "/r/team-1", "/r/team-1?token=x"] {
        let response = server.request("GET", path).send().await.expect("an answer");
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header("cache-control"), "no-cache");
        assert!(header("content-security-policy").contains("default-src 'self'"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("permissions-policy").contains("camera=(self)"));
        assert!(!header("referrer-policy").is_empty() && !header("x-request-id").is_empty());
    }
    let script = server
        .request("GET", "/assets/index-BxY3_-9z.js")
        .send()
        .await
        .expect("an answer");
    assert!(
        script.headers()["cache-control"]
            .to_str()
            .expect("text")
            .contains("immutable")
    );
    assert_eq!(script.headers()["content-type"], "text/javascript");
    for path in [
        "/assets/none.js",
        "/assets/../../kall.db",
        "/assets/%2e%2e/%2e%2e/kall.db",
    ] {
        let (status, body) = answer(server.request("GET", path)).await;
        assert_eq!(
            (status, body["error"]["code"].as_str()),
            (404, Some("not_found")),
            "{path}"
        );
    }
    server.down().await;
}
