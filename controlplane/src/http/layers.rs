//! What happens to every request: an id, a log line without its query, a count, safe headers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};
use tracing::Instrument;

use super::histogram::Histogram;

use super::App;
use super::error::ApiError;

/// Longest request id that is taken over from a proxy in bytes.
const REQUEST_ID_MAX: usize = 64;

/// The id a proxy gave the request, if it can stand in a log line.
fn given_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter);
    ((1..=REQUEST_ID_MAX).contains(&id.len()) && id.bytes().all(plain)).then(|| id.to_owned())
}

/// Requests by method and status, and how long their answers took.
#[derive(Debug, Default)]
pub(super) struct RequestCounts {
    by_status: Mutex<BTreeMap<(String, u16), u64>>,
    /// Seconds until the answer began.
    pub(super) latency: Histogram,
}

impl RequestCounts {
    fn add(&self, method: &Method, status: u16, took: Duration) {
        self.latency.observe(took);
        // Methods are a client's free text; what HTTP does not name is one row.
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
            _ => "other",
        };
        let mut counts = self.by_status.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((method.to_owned(), status)).or_default() += 1;
    }

    pub(super) fn snapshot(&self) -> BTreeMap<(String, u16), u64> {
        let counts = self.by_status.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clone()
    }
}

/// Gives the request an id and logs it: the path without its query, which may hold a token.
pub(super) async fn observe(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> axum::response::Response {
    let id = given_id(request.headers()).unwrap_or_else(|| app.request_id());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let begun = Instant::now();
    let span = tracing::info_span!("request", id, %method, path);
    // A body that trickles in must not hold a connection for ever. WebSockets begin with an answer,
    // and have their own patience.
    let limit = Duration::from_secs(app.config().server.request_timeout);
    let answer = next.run(request).instrument(span.clone());
    let mut response = match tokio::time::timeout(limit, answer).await {
        Ok(response) => response,
        Err(_) => {
            let words = "the request did not come in time";
            let error = ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", words);
            // RFC 9110 section 15.5.9: whoever is this slow starts over.
            ([(header::CONNECTION, "close")], error).into_response()
        }
    };
    let status = response.status().as_u16();
    let took = begun.elapsed();
    app.requests.add(&method, status, took);
    span.in_scope(|| tracing::debug!(status, micros = took.as_micros() as u64, "answered"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-request-id"), value);
    }
    response
}

/// What pages may do: scripts, workers and connections of our own only; inline style attributes are
/// how components size their tiles.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob: mediastream:; \
    font-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; object-src 'none'; \
    base-uri 'self'; form-action 'self'; frame-ancestors 'self'";

const PERMISSIONS_POLICY: &str =
    "camera=(self), microphone=(self), display-capture=(self), autoplay=(self), geolocation=(), usb=()";

/// Headers that every answer carries.
pub(super) async fn security_headers<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Links to meetings hold tokens: other sites learn the origin at most.
        (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// CORS for the origins of the configuration.
pub(super) fn cors(origins: &[String]) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("x-request-id"),
        ])
        // What a page's WHIP or WHEP client has to read (RFC 9725 section 4.2), and every caller.
        .expose_headers([
            header::LOCATION,
            header::ETAG,
            header::LINK,
            header::RETRY_AFTER,
            HeaderName::from_static("idempotency-replayed"),
            HeaderName::from_static("x-request-id"),
        ]);
    if origins.iter().any(|origin| origin == "*") {
        layer.allow_origin(Any)
    } else {
        layer.allow_origin(AllowOrigin::list(
            origins.iter().filter_map(|origin| origin.parse().ok()),
        ))
    }
}
