//! Consent freshness (RFC 7675), seen from the side that is asked: the peer's checks are its
//! standing wish to receive, and when they stop we stop sending.

use std::time::Duration;

use crate::time::Time;

/// RFC 7675 section 5.1: consent expires 30 seconds after the last valid check.
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);

/// When the peer last said that it is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Consent {
    renewed: Time,
}

impl Consent {
    /// A new session has as long as a silent one.
    pub(super) const fn new(now: Time) -> Self {
        Self { renewed: now }
    }

    pub(super) fn renew(&mut self, now: Time) {
        self.renewed = now;
    }

    pub(super) fn deadline(self) -> Time {
        self.renewed + CONSENT_TIMEOUT
    }
}
