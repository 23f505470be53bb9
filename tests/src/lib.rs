//! What the tests with real processes stand on: the two programs in a folder of their own, a
//! client of the REST API and of the WebSocket protocol, and waiting for conditions.
//!
//! Nothing here knows the data plane's code: it is started as the program that users start, and
//! seen through the interfaces that users have.

pub use kall_network as network;

pub mod annex_b;
pub mod av1;
mod dependencies;
pub mod process;
pub mod server;
pub mod signalling;
pub mod wait;
pub mod whip;
