//! The vocabulary of kall: what its two planes and its clients say to each other.
//!
//! Plain serde types and their limits; no I/O, no clock, no logic beyond checking a value.
//! The control plane, the data plane and the TypeScript client are built from here, so a
//! name on the wire is written once.

pub mod error;
pub mod frame;
pub mod id;
pub mod link;
pub mod media;
pub mod signalling;
pub mod version;
