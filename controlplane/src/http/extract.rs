//! Extractors whose refusals have the API's error shape.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;

use super::App;
use super::error::ApiError;
use super::limiter::{Caller, Rate, WRONG_KEYS};
use super::values::Object;

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match axum::Json::<Object<T>>::from_request(request, state).await {
            Ok(axum::Json(Object(value))) => Ok(Self(value)),
            Err(rejection) => Err(match &rejection {
                JsonRejection::JsonDataError(error) => ApiError::invalid(error.body_text()),
                JsonRejection::JsonSyntaxError(error) => {
                    ApiError::new(StatusCode::BAD_REQUEST, "bad_json", error.body_text())
                }
                JsonRejection::MissingJsonContentType(_) => ApiError::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "unsupported_media_type",
                    "the body must be application/json",
                ),
                other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => body_too_large(),
                other => ApiError::new(StatusCode::BAD_REQUEST, "bad_body", other.body_text()),
            }),
        }
    }
}

/// 413.
pub(super) fn body_too_large() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        "the body is too large",
    )
}

/// A query string.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query: Result<axum::extract::Query<T>, QueryRejection> =
            axum::extract::Query::from_request_parts(parts, state).await;
        match query {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::invalid(rejection.body_text())),
        }
    }
}

/// Furthest that a page may begin: what every client's 32-bit integer holds.
pub(super) const OFFSET_MAX: u32 = i32::MAX as u32;

/// A number of a request, `default` if it gave none.
pub(super) fn within(
    field: &str,
    given: Option<u32>,
    default: u32,
    allowed: RangeInclusive<u32>,
) -> Result<u32, ApiError> {
    let value = given.unwrap_or(default);
    if allowed.contains(&value) {
        return Ok(value);
    }
    let (least, most) = allowed.into_inner();
    Err(ApiError::invalid(format!("{field}: {least} to {most}")))
}

/// Parts of the path.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path: Result<axum::extract::Path<T>, PathRejection> =
            axum::extract::Path::from_request_parts(parts, state).await;
        match path {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "bad_path",
                rejection.body_text(),
            )),
        }
    }
}

/// A caller with one of `[[api.keys]]`, as [`authenticate`] found it.
#[derive(Debug, Clone)]
pub(super) struct ApiCaller {
    /// Its key, which is a name and no secret.
    pub(super) key: Arc<str>,
}

impl<S: Send + Sync> FromRequestParts<S> for ApiCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // A route that was left out of the layer is closed, not open.
        parts.extensions.get::<Self>().cloned().ok_or_else(no_key)
    }
}

fn no_key() -> ApiError {
    ApiError::unauthorized("Authorization: Bearer key:secret with a key of [[api.keys]]")
}

/// Lets in callers with an API key, as often as they may come.
pub(super) async fn authenticate(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let now = Instant::now();
    let Some(key) = known_key(&app, request.headers()) else {
        let stranger = Caller::Stranger(address);
        app.limiter
            .allow(stranger, WRONG_KEYS, now)
            .map_err(ApiError::rate_limited)?;
        return Err(no_key());
    };
    let api = &app.config().api;
    let rate = Rate {
        burst: f64::from(api.burst),
        per_second: f64::from(api.requests_per_second),
    };
    app.limiter
        .allow(Caller::Key(key.clone()), rate, now)
        .map_err(ApiError::rate_limited)?;
    request.extensions_mut().insert(ApiCaller { key: key.into() });
    Ok(next.run(request).await)
}

/// The caller's key, if its secret is right.
fn known_key(app: &App, headers: &HeaderMap) -> Option<String> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(|value| value.trim().split_once(':'));
    let (key, secret) = given?;
    // Every key is compared in full: neither which one nor how much of it matched shows.
    let known = app.config().api.keys.iter().fold(false, |known, own| {
        let key = own.key.as_bytes().ct_eq(key.as_bytes());
        let secret = own.secret.as_bytes().ct_eq(secret.as_bytes());
        known | bool::from(key & secret)
    });
    known.then(|| key.to_owned())
}

/// Where the client is. A proxy on this machine is believed about who is behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientAddress(pub(super) IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        // Without a peer (in-process calls) the least trusted address is assumed.
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |info| info.0.ip().to_canonical());
        let address = if peer.is_loopback() {
            forwarded(&parts.headers).unwrap_or(peer)
        } else {
            peer
        };
        Ok(Self(address))
    }
}

/// The last address of `X-Forwarded-For`: the one our own proxy added.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let list = headers
        .get_all("x-forwarded-for")
        .iter()
        .next_back()?
        .to_str()
        .ok()?;
    list.rsplit(',').next()?.trim().parse().ok()
}
