//! ICE as a lite agent (RFC 8445 section 2.5): who may send to a session, and where it sends to.
//!
//! A lite agent never sends a check. It answers the checks of its peer, believes those that carry
//! the session's password, and lets the peer choose among the pairs they came over. Remote
//! candidates are not looked at: an address is known once an authenticated check came from it.
//!
//! The map from a server ufrag, and later from an address, to a session is the shard's.

mod agent;
mod candidate;
pub mod check_limit;
mod consent;

pub use agent::{Agent, Credentials, Ignored, Outcome};
pub use candidate::{PAIRS_MAX, Path};
pub use consent::CONSENT_TIMEOUT;
