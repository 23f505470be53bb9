//! `/whip` and `/whep`: publishing into a room and playing from it by one HTTP request (RFC 9725,
//! draft-ietf-wish-whep). The offer is the body, the answer is the answer; what follows goes to the
//! resource that `Location` names (see [`session`]).
//!
//! The caller shows a participant's token. On an open server who has none comes as a guest, as on the
//! WebSocket, and finds a token of its own in the resource's URL.

mod session;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{patch, post};
use kall_shared::id::{Identity, TrackId};
use kall_shared::signalling::{IceServer, Role};
use serde::Deserialize;

use super::App;
use super::error::ApiError;
use super::extract::{ClientAddress, Path, Query};
use super::limiter::{Caller, PAGES};
use crate::config::AuthMode;
use crate::domain::room::{AttachRequest, Attached, Purpose, RoomHandle, Ticket, View};
use crate::domain::token::Claims;
use crate::domain::{names, password};
use crate::sdp;

const SDP: &str = "application/sdp";

const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Attempts to enter a room that ends in the same moment.
const ENTER_ATTEMPTS: usize = 3;

pub(super) fn router() -> Router<Arc<App>> {
    let resource = || patch(session::change).delete(session::end);
    Router::new()
        .route("/whip/{room}", post(publish))
        .route("/whip/{room}/{resource}", resource())
        .route("/whep/{room}", post(play))
        .route("/whep/{room}/{resource}", resource())
}

/// Says on OPTIONS, preflight or not, what the endpoints take (RFC 9725 section 4.2).
pub(super) async fn announce(request: Request, next: Next) -> Response {
    let ours = ["/whip/", "/whep/"]
        .iter()
        .any(|prefix| request.uri().path().starts_with(prefix));
    let asked = ours && request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    if asked {
        let headers = response.headers_mut();
        headers.insert(
            HeaderName::from_static("accept-post"),
            HeaderValue::from_static(SDP),
        );
        headers.insert(
            HeaderName::from_static("accept-patch"),
            HeaderValue::from_static(FRAGMENT),
        );
    }
    response
}

/// What the URL may say beside the room.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wishes {
    /// Display name; a token's own comes first.
    name: Option<String>,
    /// Of the room.
    password: Option<String>,
    /// WHEP: only this track.
    track: Option<String>,
    /// WHEP: only this participant.
    participant: Option<String>,
}

async fn publish(
    State(app): State<Arc<App>>,
    Path(room): Path<String>,
    Query(wishes): Query<Wishes>,
    newcomer: Newcomer,
    body: Body,
) -> Result<Response, ApiError> {
    if wishes.track.is_some() || wishes.participant.is_some() {
        return Err(ApiError::invalid(
            "track, participant: only a WHEP player has a choice",
        ));
    }
    newcomer.attach(&app, &room, wishes, Purpose::Publish, body).await
}

async fn play(
    State(app): State<Arc<App>>,
    Path(room): Path<String>,
    Query(wishes): Query<Wishes>,
    newcomer: Newcomer,
    body: Body,
) -> Result<Response, ApiError> {
    let invalid = |error: kall_shared::error::InvalidValue| ApiError::invalid(error.to_string());
    let view = match (&wishes.track, &wishes.participant) {
        (None, None) => View::Stage,
        (Some(track), None) => View::Track(TrackId::new(track.as_str()).map_err(invalid)?),
        (None, Some(who)) => View::Participant(Identity::new(who.as_str()).map_err(invalid)?),
        (Some(_), Some(_)) => return Err(ApiError::invalid("track, participant: one of them")),
    };
    newcomer
        .attach(&app, &room, wishes, Purpose::Play(view), body)
        .await
}

/// A body of text with its type.
struct Body {
    kind: String,
    text: String,
}

impl<S: Send + Sync> axum::extract::FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        // Parameters such as a charset change nothing: both types are UTF-8.
        let kind = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let text = String::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                let words = "the body is too large";
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", words)
            } else {
                ApiError::new(StatusCode::BAD_REQUEST, "bad_body", rejection.body_text())
            }
        })?;
        Ok(Self { kind, text })
    }
}

impl Body {
    /// The text, if it is of this type.
    fn of(self, kind: &'static str) -> Result<String, ApiError> {
        if self.kind != kind {
            let words = format!("the body must be {kind}");
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                words,
            ));
        }
        Ok(self.text)
    }
}

/// The bearer token of a request, if it has one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// 401, with the scheme that would do (RFC 6750 section 3).
fn unauthorized(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

/// Who asks to come in.
struct Newcomer {
    /// None: a guest of an open server.
    claims: Option<Claims>,
    address: ClientAddress,
}

impl FromRequestParts<Arc<App>> for Newcomer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let Ok(address) = ClientAddress::from_request_parts(parts, app).await;
        app.limiter
            .allow(Caller::Address(address.0), PAGES, Instant::now())
            .map_err(ApiError::rate_limited)?;
        let claims = match bearer(&parts.headers) {
            Some(token) => {
                let claims = app.rooms.context().tokens.check(token);
                Some(claims.map_err(|error| unauthorized(error.to_string()))?)
            }
            // Whether strangers may come in is the room's to say.
            None if app.rooms.takes_strangers() => None,
            None => {
                let words = "Authorization: Bearer and a participant's token";
                return Err(unauthorized(words));
            }
        };
        Ok(Self { claims, address })
    }
}

impl Newcomer {
    async fn attach(
        self,
        app: &App,
        wanted: &str,
        wishes: Wishes,
        purpose: Purpose,
        body: Body,
    ) -> Result<Response, ApiError> {
        let offer = sdp::Offer::parse(&body.of(SDP)?)
            .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "sdp_invalid", error.to_string()))?;
        let claims = self.claims.as_ref();
        let given = [claims.map(|claims| claims.name.as_str()), wishes.name.as_deref()];
        let mut given = given.into_iter().flatten().filter(|name| !name.trim().is_empty());
        let name = names::display_name(given.next().unwrap_or("Guest")).map_err(ApiError::invalid)?;
        let password = password::bounded(wishes.password).map_err(ApiError::invalid)?;
        let ticket = claims.map(Claims::ticket);
        if let Some(ticket) = &ticket
            && app.rooms.context().store.is_revoked(&ticket.jti).await?
        {
            return Err(unauthorized("the token was revoked"));
        }
        for _ in 0..ENTER_ATTEMPTS {
            let room = self.room(app, wanted).await?;
            let request = AttachRequest {
                identity: claims.map(|claims| claims.sub.clone()),
                name: name.clone(),
                role: claims.map_or(Role::Guest, |claims| claims.role),
                permissions: claims.and_then(|claims| claims.permissions).unwrap_or_default(),
                password: password::check(password.clone(), room.row().password_hash.clone()).await,
                address: self.address.0,
                purpose: purpose.clone(),
                ticket: ticket.clone().unwrap_or_else(Ticket::made_up),
                offer: offer.clone(),
            };
            if let Some(outcome) = room.attach(request).await {
                let attached = outcome?;
                return created(app, &room, &attached, &purpose, claims.is_none());
            }
            // The room ended in this very moment; the next look finds it closed, or opens it again.
            tokio::task::yield_now().await;
        }
        Err(ApiError::room_not_found(wanted))
    }

    /// The room of the URL, which must be the token's.
    async fn room(&self, app: &App, wanted: &str) -> Result<RoomHandle, ApiError> {
        let Some(claims) = &self.claims else {
            let room = app.rooms.enter(wanted).await?;
            if room.row().mode_or(app.config().auth.mode) == AuthMode::Token {
                return Err(unauthorized("Authorization: Bearer and a participant's token"));
            }
            return Ok(room);
        };
        // Looked up by the token's room: whatever else exists is nobody's business.
        let own = app.rooms.enter(claims.room.as_str()).await?;
        if wanted != own.id().as_str() && wanted != own.row().slug {
            let words = "the token is for another room";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", words));
        }
        Ok(own)
    }
}

/// 201: the answer, and where to go on.
fn created(
    app: &App,
    room: &RoomHandle,
    attached: &Attached,
    purpose: &Purpose,
    guest: bool,
) -> Result<Response, ApiError> {
    let endpoint = match purpose {
        Purpose::Publish => "whip",
        Purpose::Play(_) => "whep",
    };
    let mut location = format!("/{endpoint}/{}/{}", room.id(), attached.resource);
    let context = app.rooms.context();
    if guest {
        let ttl = context.config.auth.guest_ttl;
        let token = context
            .tokens
            .issue(room.id(), &attached.identity, "", Role::Guest, ttl, None)
            .map_err(|error| ApiError::internal(&error))?;
        location.push_str("?token=");
        location.push_str(&token);
    }
    let mut response = (StatusCode::CREATED, attached.answer.clone()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    headers.insert(
        HeaderName::from_static("accept-patch"),
        HeaderValue::from_static(FRAGMENT),
    );
    let text = |text: &str| HeaderValue::from_str(text).map_err(|error| ApiError::internal(&error));
    headers.insert(header::LOCATION, text(&location)?);
    headers.insert(header::ETAG, text(&session::entity_tag(&attached.ice_session))?);
    for server in context.ice_servers(attached.identity.as_str()) {
        for link in links(&server) {
            headers.append(header::LINK, text(&link)?);
        }
    }
    Ok(response)
}

/// RFC 9725 section 4.6: a link for each URL.
fn links(server: &IceServer) -> Vec<String> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut credentials = String::new();
    if let (Some(username), Some(credential)) = (&server.username, &server.credential) {
        credentials = format!(
            r#"; username="{}"; credential="{}"; credential-type="password""#,
            quoted(username),
            quoted(credential)
        );
    }
    let urls = server.urls.iter();
    urls.map(|url| format!(r#"<{url}>; rel="ice-server"{credentials}"#))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_for_each_url_of_a_relay() {
        let server = IceServer {
            urls: vec![
                "turn:turn.example.net?transport=udp".to_owned(),
                "turns:turn.example.net".to_owned(),
            ],
            username: Some(r#"a"b"#.to_owned()),
            credential: Some("secret".to_owned()),
        };
        assert_eq!(
            links(&server),
            [
                r#"<turn:turn.example.net?transport=udp>; rel="ice-server"; username="a\"b"; credential="secret"; credential-type="password""#,
                r#"<turns:turn.example.net>; rel="ice-server"; username="a\"b"; credential="secret"; credential-type="password""#,
            ]
        );
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc ", Some("abc")),
            ("Basic abc", None),
            ("abc", None),
        ] {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(bearer(&headers), token, "{value}");
        }
    }
}
