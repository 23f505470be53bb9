//! The control link's server: a Unix socket, one control plane at a time, requests on to the cores.
//!
//! Blocking threads and bounded channels, no runtime: what comes over the link is rare. A control plane
//! that is slow, dead or hostile costs itself events or its connection, never a core its time.

mod answer;
mod connection;
pub mod link;
mod loads;
mod page;
pub mod router;
pub mod socket;

#[cfg(test)]
mod router_tests;
