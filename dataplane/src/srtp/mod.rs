//! SRTP and SRTCP (RFC 3711, RFC 7714): one session's packets sealed and opened in place.
//!
//! Owns the key schedule, the transforms, rollover counters, replay windows and the guard against
//! sealing twice under one index. Works on byte slices that the caller owns, allocates nothing per
//! packet, and never decides what is sent. All state of a received stream changes after its packet
//! was authenticated, never before: a forged packet leaves no trace.
//!
//! - [`Inbound`] opens what the peer sent: one per session.
//! - [`Outbound`] seals what we send: one per session. The 48-bit index comes from the caller, who
//!   counts it per SSRC in a `u64`, and [`EgressGuard`] refuses an index that was used before.
//!
//! MKI and key derivation rates other than zero are absent: DTLS-SRTP negotiates neither here
//! (RFC 5764 section 4.1.3).

mod cipher;
mod cm;
mod egress_guard;
mod gcm;
mod inbound;
mod kdf;
mod keys;
mod outbound;
mod profile;
mod replay;
mod roc;

pub use egress_guard::{EgressGuard, Reused};
pub use inbound::{Inbound, Opened, Refused};
pub use keys::{MasterKey, SessionKeys};
pub use outbound::{Outbound, SealError};
pub use profile::Profile;

#[cfg(test)]
mod interop;
