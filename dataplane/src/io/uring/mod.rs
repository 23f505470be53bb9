//! The io_uring driver: one ring per core, multishot receive into provided buffers, batched sends.
//!
//! What it needs of the kernel is all in Linux 6.1; [`probe`] finds out before anything depends on it, and
//! names what is missing. SQPOLL and zero-copy sends are left out on purpose: the one burns a second core
//! for no gain, the other loses at packet sizes.

mod buffer_ring;
mod driver;
mod mapping;
mod op;
mod probe;
mod ring;

pub use driver::UringDriver;
pub use probe::probe;

use std::io;

use thiserror::Error;

/// Why io_uring can't be used here.
#[derive(Debug, Error)]
#[error("{feature}: {error}")]
pub struct Unavailable {
    /// What the kernel lacks or forbids, and since when it exists.
    pub feature: &'static str,
    /// What the kernel said.
    pub error: io::Error,
}

impl Unavailable {
    fn new(feature: &'static str, error: io::Error) -> Self {
        Self { feature, error }
    }
}
