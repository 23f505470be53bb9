//! A model of one direction of a network path: bottleneck and queue, propagation, jitter, loss,
//! reordering and duplication, from a seed.
//!
//! It has no sockets and no clock. Time is the [`std::time::Duration`] since the start of whatever
//! uses it: simulations count it up by themselves, an emulator between two interfaces reads it
//! from the system.

pub mod link;
pub mod loss;
pub mod random;
pub mod rate;

pub use link::{Arrivals, Drop, Link, LinkConfig, Queue, Stats};
pub use loss::Loss;
pub use random::Random;
pub use rate::Rate;
