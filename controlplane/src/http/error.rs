//! The one shape of every error: `{"error": {"code": "room_not_found", "message": "..."}}`.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kall_shared::signalling::ErrorCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::Rejection;
use crate::domain::registry::CreateError;
use crate::store::StoreError;

/// Every code of an error and what it means, for the OpenAPI document.
pub(super) const CODES: [(&str, &str); 34] = [
    ("bad_json", "400: the body is not JSON"),
    ("bad_body", "400: the body could not be read"),
    ("bad_path", "400: a part of the path can't be read"),
    ("websocket_expected", "400: /ws takes WebSockets"),
    ("sdp_invalid", "400 or 422: a session description can't be used"),
    ("unauthorized", "401: no key or token, or a wrong one"),
    ("forbidden", "403: this server or this token does not allow it"),
    (
        "origin_refused",
        "403: this origin is not among auth.allowed_origins",
    ),
    ("permission_denied", "403: the role does not allow it"),
    ("room_locked", "403: the room is locked"),
    ("password_required", "403: the room has a password"),
    ("password_wrong", "403: another password"),
    ("banned", "403: banned from this room"),
    ("not_found", "404: no such path or file"),
    ("room_not_found", "404: no such room, or it is closed"),
    ("participant_not_found", "404: nobody of this identity is there"),
    ("track_not_found", "404: no such track"),
    ("message_not_found", "404: no such message"),
    ("breakout_not_found", "404: no such breakout room"),
    ("ban_not_found", "404: no such ban"),
    ("session_not_found", "404: no such media session"),
    ("method_not_allowed", "405: the path takes other methods"),
    ("request_timeout", "408: the request did not come in time"),
    ("conflict", "409: not in this state"),
    (
        "room_full",
        "409: all places are taken; 503: the media server takes nobody new now, Retry-After says when",
    ),
    ("too_many_rooms", "409: room.max_rooms are open"),
    (
        "idempotency_in_progress",
        "409: the first request with this Idempotency-Key is under way",
    ),
    (
        "idempotency_key_reused",
        "409: this Idempotency-Key was used for another request",
    ),
    ("body_too_large", "413: the body is longer than allowed"),
    ("unsupported_media_type", "415: the body is of another type"),
    (
        "invalid_value",
        "422: a value is out of bounds; the message names the field",
    ),
    ("rate_limited", "429: too many requests; Retry-After says when"),
    ("internal", "500: a bug or an outage on the server's side"),
    ("media_unavailable", "503: the media server is away"),
];

/// Every error's body.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// What went wrong.
    pub(super) error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ErrorDetail {
    /// Stable, for programs.
    pub(super) code: String,
    /// For people; names the field and what is allowed.
    pub(super) message: String,
}

/// An answer that is an error.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// With its words.
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    /// 404 for a room.
    #[must_use]
    pub(super) fn room_not_found(id: &str) -> Self {
        let id: String = id.chars().take(64).collect();
        Self::new(StatusCode::NOT_FOUND, "room_not_found", format!("no room '{id}'"))
    }

    /// 401, with what would do.
    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 422 for a value; the message names the field.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", message)
    }

    /// 429: come again after `wait`.
    #[must_use]
    pub(super) fn rate_limited(wait: Duration) -> Self {
        let mut error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "too many requests, wait a moment",
        );
        error.retry_after = Some(wait);
        error
    }

    /// 503 while the data plane is away.
    pub(super) fn media_unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "media_unavailable", message)
    }

    /// 500; what happened goes to the log, not to the caller.
    #[must_use]
    pub(super) fn internal(what: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %what, "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server could not do that",
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: ErrorDetail {
                code: self.code.to_owned(),
                message: self.message,
            },
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 11.6.1.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::TooMany(_) => Self::new(StatusCode::CONFLICT, "too_many_rooms", error.to_string()),
            CreateError::Store(error) => error.into(),
            CreateError::Slug => Self::internal(&error),
        }
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        let (status, code) = match rejection.code {
            ErrorCode::AuthFailed => (StatusCode::UNAUTHORIZED, "unauthorized"),
            ErrorCode::BadMessage => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_value"),
            ErrorCode::PermissionDenied => (StatusCode::FORBIDDEN, "permission_denied"),
            ErrorCode::RoomNotFound => (StatusCode::NOT_FOUND, "room_not_found"),
            ErrorCode::RoomFull if rejection.retry_after.is_some() => {
                (StatusCode::SERVICE_UNAVAILABLE, "room_full")
            }
            ErrorCode::RoomFull => (StatusCode::CONFLICT, "room_full"),
            ErrorCode::RoomLocked => (StatusCode::FORBIDDEN, "room_locked"),
            ErrorCode::PasswordRequired => (StatusCode::FORBIDDEN, "password_required"),
            ErrorCode::PasswordWrong => (StatusCode::FORBIDDEN, "password_wrong"),
            ErrorCode::Banned => (StatusCode::FORBIDDEN, "banned"),
            ErrorCode::ParticipantNotFound => (StatusCode::NOT_FOUND, "participant_not_found"),
            ErrorCode::TrackNotFound => (StatusCode::NOT_FOUND, "track_not_found"),
            ErrorCode::MessageNotFound => (StatusCode::NOT_FOUND, "message_not_found"),
            ErrorCode::BreakoutNotFound => (StatusCode::NOT_FOUND, "breakout_not_found"),
            ErrorCode::BanNotFound => (StatusCode::NOT_FOUND, "ban_not_found"),
            ErrorCode::Conflict => (StatusCode::CONFLICT, "conflict"),
            ErrorCode::SdpInvalid => (StatusCode::UNPROCESSABLE_ENTITY, "sdp_invalid"),
            ErrorCode::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            ErrorCode::MediaUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "media_unavailable"),
            // What only a WebSocket says, and what is our own fault.
            ErrorCode::UnknownType
            | ErrorCode::NotJoined
            | ErrorCode::AlreadyJoined
            | ErrorCode::SlotNotFound
            | ErrorCode::Replaced
            | ErrorCode::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Self {
            retry_after: rejection.retry_after,
            ..Self::new(status, code, rejection.message)
        }
    }
}

/// No such path.
pub(super) async fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", "no such path")
}

/// A path that takes other methods.
pub(super) async fn method_not_allowed() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path takes other methods",
    )
}

/// What a panic in a handler becomes.
// The layer hands the panic's value over.
#[expect(clippy::needless_pass_by_value, reason = "the signature is the layer's")]
pub(super) fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let words = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    ApiError::internal(&format!("panic: {words}")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_has_the_shape_of_every_error_and_tells_nothing() {
        let response = panicked(Box::new("secret detail"));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 1024)
            .await
            .expect("a body");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["error"]["code"], "internal");
        assert!(!body.to_string().contains("secret"));
    }

    #[test]
    fn every_code_is_listed_once() {
        let mut codes: Vec<&str> = CODES.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
        // What the domain can say is among them.
        for code in [ErrorCode::Banned, ErrorCode::Conflict, ErrorCode::RoomFull] {
            let error = ApiError::from(Rejection::new(code, ""));
            assert!(codes.contains(&error.code), "{}", error.code);
        }
    }
}
