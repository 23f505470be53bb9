//! The data plane as the control plane sees it: one client over its Unix socket, and the
//! supervisor that starts it, takes over a live one, and starts it again.

mod client;
pub mod drops;
mod process;
mod supervisor;

pub use client::{MediaClient, MediaError, MediaEvent};
pub use supervisor::{Supervisor, find_program};
