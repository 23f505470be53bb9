//! Why a value from outside was refused.

use thiserror::Error;

/// A value that breaks a stated bound. The message names the field and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {reason}")]
pub struct InvalidValue {
    /// Path of the offending field, as the sender wrote it.
    pub field: &'static str,
    /// What is allowed, in words a person can act on.
    pub reason: String,
}

impl InvalidValue {
    /// A refusal of `field` with the reason.
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self {
            field,
            reason: reason.into(),
        }
    }
}
