//! ICE over TCP (RFC 6544), the passive side: for peers whose datagrams a firewall drops.
//!
//! One port serves all cores. A thread of its own ([`gate`]) accepts, waits for the first frame, and
//! hands the connection to the core that owns the session named in it; no core looks at a
//! connection before. There it belongs to the core's [`set`], which frames what the shard
//! sends and unframes what it is to get: to the shard a connection is one more address.
//!
//! The connections of a core have an epoll of their own, which either driver watches. They are the way
//! out for a few, and not worth a ring.

mod connection;
pub mod gate;
mod queue;
pub mod set;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr, TcpStream};

use crate::wire::framing::FrameReader;

/// A connection whose first frame has come.
#[derive(Debug)]
pub struct Accepted {
    /// Non-blocking.
    pub stream: TcpStream,
    /// The peer.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: IpAddr,
    /// The first frame.
    pub first: Vec<u8>,
    /// What came behind it.
    pub reader: FrameReader,
}
