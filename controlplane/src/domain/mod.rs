//! Rooms, people, roles and what they negotiate. No HTTP types, no SQL.

pub mod claims;
pub mod context;
pub mod names;
pub mod outbox;
pub mod password;
pub mod permission;
pub mod registry;
pub mod room;
pub mod token;
mod turn;

use std::time::Duration;

use kall_shared::signalling::ErrorCode;
use thiserror::Error;

/// Why something asked for is not done: a stable code and words that name the field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Rejection {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// When the same request may go through, where only waiting helps.
    pub retry_after: Option<Duration>,
}

/// When somebody should come again for whom a core has no time now: it gives back what it took from others every few
/// seconds at best, and takes newcomers only when all is given back.
const BUSY_RETRY: Duration = Duration::from_secs(10);

/// What a failure of the database is to whoever asked; the reason goes to the log.
pub(crate) fn store_failed(error: &crate::store::StoreError) -> Rejection {
    tracing::error!(%error, "database");
    Rejection::new(ErrorCode::Internal, "the server could not reach its database")
}

impl Rejection {
    /// A rejection with its words.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    /// The media server does more than it can: nobody new until that is over.
    #[must_use]
    pub fn busy() -> Self {
        Self {
            retry_after: Some(BUSY_RETRY),
            ..Self::new(
                ErrorCode::RoomFull,
                "the server is full at the moment, try again soon",
            )
        }
    }
}
