//! Calls in virtual time: one real shard, peers with modelled encoders and receivers, and modelled
//! paths between them, all from one seed.
//!
//! A scenario is a file ([`scenario`]): who is there, what their paths are like, what happens, and
//! which statements must hold in the end ([`oracle`]). A run of it ([`run`]) gives a verdict for each.
//! The same seed is the same run, bit for bit.
//!
//! The crate stands apart from `kall-tests` because it links the data plane, which those tests know
//! only as a program, and none of the independent WebRTC stack, which takes minutes to build.

pub(crate) mod checker;
pub(crate) mod codec;
pub mod oracle;
pub(crate) mod peer;
pub mod report;
pub mod run;
pub mod scenario;
pub(crate) mod talk;
pub(crate) mod world;

pub use run::{Run, run};
pub use scenario::Scenario;
