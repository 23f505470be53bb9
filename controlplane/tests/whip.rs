//! WHIP and WHEP as far as they go without media: who may come, what is refused and how, and what a
//! browser's page may read.

mod common;

use common::{TestServer, answer};
use kall_controlplane::config::AuthMode;
use serde_json::json;

const OFFER: &str = include_str!("data/chromium_offer.sdp");

fn post(server: &TestServer, path: &str, token: Option<&str>, offer: &str) -> reqwest::RequestBuilder {
    let request = server
        .request("POST", path)
        .header("content-type", "application/sdp")
        .body(offer.to_owned());
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

#[tokio::test]
async fn each_refusal_has_its_status_and_its_code() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Studio"})).await;
    let id = room["id"].as_str().expect("an id");
    let slug = room["slug"].as_str().expect("a slug");
    let other = server.room(json!({"name": "Other"})).await;
    let other = other["id"].as_str().expect("an id");
    let guest = server.token(id, "camera", "guest").await;
    let viewer = server.token(id, "viewer", "viewer").await;
    let stranger = server.token(other, "camera", "guest").await;
    let lapsed = server.expired_token(id, "camera");
    let (whip, whep) = (format!("/whip/{id}"), format!("/whep/{id}"));
    let receiving = OFFER.replace("a=sendonly", "a=recvonly");

    let wrong_type = server.request("POST", &whip).bearer_auth(&guest).json(&json!({}));
    let track = format!("{whep}?track=tr_none");
    let nobody = format!("{whep}?participant=nobody");
    let both = format!("{whep}?participant=nobody&track=tr_none");
    let choice = format!("{whip}?track=tr_none");
    let unknown = format!("{whip}?colour=red");
    let cases = [
        (post(&server, &whip, None, OFFER), 401, "unauthorized"),
        (post(&server, &whip, Some("rubbish"), OFFER), 401, "unauthorized"),
        (post(&server, &whip, Some(&lapsed), OFFER), 401, "unauthorized"),
        (post(&server, &whip, Some(&stranger), OFFER), 403, "forbidden"),
        (
            post(&server, "/whip/rm_none", Some(&guest), OFFER),
            403,
            "forbidden",
        ),
        (wrong_type, 415, "unsupported_media_type"),
        (post(&server, &whip, Some(&guest), "v=0"), 400, "sdp_invalid"),
        (
            post(&server, &whip, Some(&guest), &"x".repeat(70_000)),
            413,
            "body_too_large",
        ),
        (post(&server, &whip, Some(&guest), &receiving), 422, "sdp_invalid"),
        (post(&server, &whep, Some(&guest), OFFER), 422, "sdp_invalid"),
        (
            post(&server, &whip, Some(&viewer), OFFER),
            403,
            "permission_denied",
        ),
        (post(&server, &choice, Some(&guest), OFFER), 422, "invalid_value"),
        (post(&server, &unknown, Some(&guest), OFFER), 422, "invalid_value"),
        (
            post(&server, &both, Some(&viewer), &receiving),
            422,
            "invalid_value",
        ),
        (
            post(&server, &track, Some(&viewer), &receiving),
            404,
            "track_not_found",
        ),
        (
            post(&server, &nobody, Some(&viewer), &receiving),
            404,
            "participant_not_found",
        ),
        (
            server.request("GET", &whip).bearer_auth(&guest),
            405,
            "method_not_allowed",
        ),
        // All is well, but there is no data plane behind this server.
        (
            post(&server, &whip, Some(&guest), OFFER),
            503,
            "media_unavailable",
        ),
        (
            post(&server, &format!("/whip/{slug}"), Some(&guest), OFFER),
            503,
            "media_unavailable",
        ),
        (
            post(&server, &whep, Some(&viewer), &receiving),
            503,
            "media_unavailable",
        ),
    ];
    for (number, (request, status, code)) in cases.into_iter().enumerate() {
        let (got, body) = answer(request).await;
        assert_eq!(
            (got, body["error"]["code"].as_str()),
            (status, Some(code)),
            "case {number}: {body}"
        );
    }
    let roster = format!("/rooms/{id}/participants");
    let (_, roster) = server.call("GET", &roster, None).await;
    assert_eq!(
        roster,
        json!({"participants": [], "total": 0}),
        "who failed is not there"
    );
    server.down().await;
}

#[tokio::test]
async fn a_newcomer_that_fails_does_not_push_out_whom_it_would_replace() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Studio"})).await;
    let id = room["id"].as_str().expect("an id");
    let (mut alice, _) = server.join(id, "alice", "guest").await;
    let token = server.token(id, "alice", "guest").await;
    let receiving = OFFER.replace("a=sendonly", "a=recvonly");
    let (status, _) = answer(post(&server, &format!("/whip/{id}"), Some(&token), &receiving)).await;
    assert_eq!(status, 422);
    assert_eq!(alice.barrier().await, Vec::<serde_json::Value>::new());
    server.down().await;
}

#[tokio::test]
async fn rules_of_the_room_hold_without_a_websocket() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let room = server
        .room(json!({"name": "Closed shop", "password": "let me in", "max_participants": 2}))
        .await;
    let id = room["id"].as_str().expect("an id");
    let code = async |path: String, token: Option<&str>| {
        let (status, body) = answer(post(&server, &path, token, OFFER)).await;
        (
            status,
            body["error"]["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let whip = format!("/whip/{id}");
    assert_eq!(code(whip.clone(), None).await, (403, "password_required".into()));
    let wrong = format!("{whip}?password=guess");
    assert_eq!(code(wrong, None).await, (403, "password_wrong".into()));
    let right = format!("{whip}?password=let%20me%20in");
    assert_eq!(code(right, None).await, (503, "media_unavailable".into()));
    let (_alice, _) = server.join(id, "alice", "host").await;
    let (_bob, _) = server.join(id, "bob", "host").await;
    let host = server.token(id, "carol", "host").await;
    assert_eq!(code(whip, Some(&host)).await, (409, "room_full".into()));
    server.down().await;
}

#[tokio::test]
async fn an_open_server_makes_the_room_and_takes_a_guest() {
    let mut server = TestServer::start(AuthMode::Open).await;
    let (status, _) = answer(post(&server, "/whip/front-door", None, OFFER)).await;
    assert_eq!(status, 503, "it got as far as the data plane");
    let (status, room) = server.call("GET", "/rooms/front-door", None).await;
    assert_eq!((status, room["slug"].as_str()), (200, Some("front-door")));
    server.down().await;
}

#[tokio::test]
async fn a_session_is_found_by_its_owner_only() {
    let mut server = TestServer::start(AuthMode::Token).await;
    let room = server.room(json!({"name": "Studio"})).await;
    let id = room["id"].as_str().expect("an id");
    let token = server.token(id, "camera", "guest").await;
    for method in ["PATCH", "DELETE"] {
        let path = format!("/whip/{id}/nosuchsession");
        let (status, body) = answer(server.request(method, &path)).await;
        assert_eq!((status, &body["error"]["code"]), (401, &json!("unauthorized")));
        let (status, body) = answer(server.request(method, &path).bearer_auth(&token)).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (404, &json!("session_not_found"))
        );
    }
    server.down().await;
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_ask_and_read() {
    let mut server = TestServer::start_with(AuthMode::Token, |config| {
        config.auth.allowed_origins = vec!["https://studio.example".to_owned()];
    })
    .await;
    let preflight = |origin: &'static str| {
        server
            .request("OPTIONS", "/whip/rm_any")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization, content-type, if-match",
            )
    };
    let response = preflight("https://studio.example")
        .send()
        .await
        .expect("an answer");
    assert!(response.status().is_success());
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map(|value| value.to_str().expect("text").to_ascii_lowercase())
    };
    assert_eq!(
        header("access-control-allow-origin").as_deref(),
        Some("https://studio.example")
    );
    assert_eq!(header("accept-post").as_deref(), Some("application/sdp"));
    assert_eq!(
        header("accept-patch").as_deref(),
        Some("application/trickle-ice-sdpfrag")
    );
    for allowed in ["authorization", "content-type", "if-match"] {
        assert!(header("access-control-allow-headers").is_some_and(|list| list.contains(allowed)));
    }
    let other = preflight("https://evil.example").send().await.expect("an answer");
    assert_eq!(other.headers().get("access-control-allow-origin"), None);

    let request = post(&server, "/whip/rm_any", None, OFFER).header("origin", "https://studio.example");
    let response = request.send().await.expect("an answer");
    let exposed = response.headers()["access-control-expose-headers"]
        .to_str()
        .expect("text");
    for name in ["location", "etag", "link"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    server.down().await;
}
