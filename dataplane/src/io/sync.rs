//! The atomics of this crate's own protocols between threads, by one name, so that a model checker can put its own in
//! their place.

pub use std::sync::atomic::{AtomicBool, Ordering, fence};
