//! A load generator: many clients of a WebRTC server in one thread, each with ICE, DTLS and SRTP of its own.
//!
//! [`signal`] talks to the server as a browser's page does, [`engine`] moves the packets of all clients, and
//! [`client`] is one of them: what it sends is made by [`publish`], what it gets is counted by [`receive`].
//! [`server`] starts a kall for the run and measures it, [`syscalls`] counts what it asks of the kernel; [`janus`] is
//! how another server is spoken to. [`scenario`] says who takes part.

pub mod client;
pub mod engine;
pub mod janus;
pub mod publish;
pub mod receive;
pub mod report;
pub mod scenario;
pub mod sdp;
pub mod server;
pub mod signal;
pub mod syscalls;
