//! `Idempotency-Key`: a POST that is sent again after a lost answer gets that answer, and is not done
//! twice. Keys are a caller's own; answers are kept for a day, also across a restart.
//!
//! Answers that hold a secret are not kept: `POST /tokens` changes nothing, so a repeated one does no harm.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ring::digest;
use time::OffsetDateTime;

use super::error::ApiError;
use super::extract::{ApiCaller, body_too_large};
use super::{App, BODY_MAX};
use crate::store::Claim;

/// How long answers are kept, in seconds.
const KEPT_FOR: i64 = 24 * 3600;

/// After how long a claim without an answer belongs to a process that died, in seconds.
const DEAD_AFTER: i64 = 120;

/// Longest key in bytes.
const NAME_MAX: usize = 255;

/// Longest answer that is kept in bytes: a room is a tenth of it.
const ANSWER_MAX: usize = 64 << 10;

/// Whether answers to POSTs there hold nothing to be kept from whoever reads the database, and the caller
/// is known by a key.
pub(super) fn applies_to(path: &str) -> bool {
    path != "/tokens" && !path.starts_with("/meetings")
}

/// Answers a repeated POST as the first one was.
pub(super) async fn replay(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Some(name) = request
        .headers()
        .get("idempotency-key")
        .filter(|_| request.method() == Method::POST && applies_to(request.uri().path()))
    else {
        return Ok(next.run(request).await);
    };
    let name = name
        .to_str()
        .ok()
        .filter(|name| (1..=NAME_MAX).contains(&name.len()) && !name.contains('\t'));
    let name = name.map(str::to_owned).ok_or_else(|| {
        ApiError::invalid(format!(
            "Idempotency-Key: 1 to {NAME_MAX} printable ASCII characters"
        ))
    })?;
    let Some(ApiCaller { key }) = request.extensions().get::<ApiCaller>().cloned() else {
        return Ok(next.run(request).await);
    };
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_MAX)
        .await
        .map_err(|_| body_too_large())?;
    let fingerprint = fingerprint(parts.uri.path(), &body);
    let store = &app.rooms.context().store;
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let owner = (&*key, name.as_str());
    match store
        .claim(owner, &fingerprint, now, (now - DEAD_AFTER, now - KEPT_FOR))
        .await?
    {
        Claim::First => {}
        Claim::Taken(kept) if kept.fingerprint != fingerprint => {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "idempotency_key_reused",
                "Idempotency-Key: was used for another request",
            ));
        }
        Claim::Taken(kept) => {
            let status = kept.status.and_then(|status| u16::try_from(status).ok());
            let status = status.and_then(|status| StatusCode::from_u16(status).ok());
            return match status {
                Some(status) => Ok(again(status, kept.answer.unwrap_or_default())),
                None => Err(ApiError::new(
                    StatusCode::CONFLICT,
                    "idempotency_in_progress",
                    "Idempotency-Key: the first request is under way",
                )),
            };
        }
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, ANSWER_MAX).await;
    let bytes = bytes.map_err(|error| ApiError::internal(&error))?;
    // What failed on our side, or was refused for its rate, may be tried again.
    let settled = !parts.status.is_server_error() && parts.status != StatusCode::TOO_MANY_REQUESTS;
    match std::str::from_utf8(&bytes) {
        Ok(text) if settled => store.settle(owner, parts.status.as_u16(), text).await?,
        _ => store.release(owner).await?,
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn fingerprint(path: &str, body: &Bytes) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(path.as_bytes());
    context.update(b"\n");
    context.update(body);
    hex::encode(context.finish())
}

fn again(status: StatusCode, text: String) -> Response {
    let json = !text.is_empty();
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    if json {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    } else {
        headers.remove(header::CONTENT_TYPE);
    }
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}
