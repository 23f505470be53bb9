//! DTLS-SRTP (RFC 5763, RFC 5764): the handshake that gives a session its SRTP keys and ties it to
//! the certificate the peer announced in its SDP.
//!
//! We are always the server: the answer says `a=setup:passive`. The protocol itself is `dimpl`'s,
//! a sans-IO implementation; here it gets its configuration, our time, the fingerprint check, the
//! bounds and the shutdown. Application data is not used: there are no data channels.

mod certificate;
mod handshake;

pub use certificate::{Identity, IdentityError};
pub use handshake::{Dtls, DtlsEvent, Failure};
pub use kall_shared::media::Fingerprint;

#[cfg(test)]
mod abuse;
#[cfg(test)]
mod hello;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod testing;
