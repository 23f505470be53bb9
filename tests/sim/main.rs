//! The data plane's shard in a simulated call: real packets, virtual time, one seed for everything.
//!
//! Keys are injected, so that a run repeats bit for bit; the handshake has simulations of its own
//! beside its code.

mod call;
mod handover;
mod link;
mod media;
mod paths;
mod peer;
mod publish;
mod random;
mod receive;
mod steady_state;
mod world;
