//! Session descriptions (RFC 8866, RFC 8829): an offer's text in, typed parameters out, and the
//! answer written from the parameters and the data plane's half.
//!
//! The grammar of a line is the `webrtc-sdp` crate's; which lines are read, and what is kept of
//! them, is decided here. The data plane never sees text.

mod answer;
mod candidates;
mod fragment;
mod grammar;
mod offer;
mod params;

use thiserror::Error;

pub use answer::{AnswerSettings, answer};
pub use candidates::candidate_addresses;
pub use fragment::{Fragment, restart_fragment};
pub use offer::{Direction, Offer, OfferLine};
pub use params::{Rules, publishes_h264_high, takes_h264_high};

/// Why an offer can't be used, in words for the developer of the client.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SdpError {
    /// Longer than [`kall_shared::signalling::limits::SDP`].
    #[error("sdp: at most {} bytes", kall_shared::signalling::limits::SDP)]
    TooLong,
    /// Not SDP.
    #[error("sdp: {0}")]
    Grammar(String),
    /// A line lacks something, or has it wrong.
    #[error("sdp, line {line}: {reason}")]
    Line {
        /// Its `a=mid`, or its index when that is what is missing.
        line: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The description as a whole.
    #[error("sdp: {0}")]
    Session(&'static str),
}
