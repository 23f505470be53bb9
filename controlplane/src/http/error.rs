//! The one shape of every error: `{"error": {"code": "room_not_found", "message": "..."}}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kall_shared::signalling::ErrorCode;
use serde_json::json;

use crate::domain::Rejection;
use crate::domain::registry::CreateError;
use crate::store::StoreError;

/// An answer that is an error.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    /// With its words.
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    /// 404 for a room.
    #[must_use]
    pub(super) fn room_not_found(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "room_not_found", format!("no room '{id}'"))
    }

    /// 422 for a value; the message names the field.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", message)
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
        let body = json!({"error": {"code": self.code, "message": self.message}});
        (self.status, Json(body)).into_response()
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
            CreateError::Slug => Self::new(StatusCode::CONFLICT, "slug_taken", error.to_string()),
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
            ErrorCode::RoomFull => (StatusCode::CONFLICT, "room_full"),
            ErrorCode::RoomLocked => (StatusCode::FORBIDDEN, "room_locked"),
            ErrorCode::PasswordRequired => (StatusCode::FORBIDDEN, "password_required"),
            ErrorCode::PasswordWrong => (StatusCode::FORBIDDEN, "password_wrong"),
            ErrorCode::ParticipantNotFound => (StatusCode::NOT_FOUND, "participant_not_found"),
            ErrorCode::TrackNotFound => (StatusCode::NOT_FOUND, "track_not_found"),
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
        Self::new(status, code, rejection.message)
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
