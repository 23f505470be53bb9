//! Transport addresses: where a peer is, and over which protocol it is reached.

use std::net::{IpAddr, SocketAddr};

/// One connection of a core. The number comes back for another connection only with another epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// Place among the core's connections, reused.
    pub index: u32,
    /// How often the place was given out before.
    pub epoch: u32,
}

/// The combination of an IP address, a port and a transport protocol (RFC 8445 section 4).
///
/// The same address and port over UDP and over TCP are two places, and so are two connections that
/// have them one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransportAddress {
    /// Datagrams.
    Udp(SocketAddr),
    /// Frames on a connection that the peer opened (RFC 6544, RFC 4571).
    Tcp(SocketAddr, ConnectionId),
}

impl TransportAddress {
    /// Address and port.
    #[must_use]
    pub const fn socket(&self) -> SocketAddr {
        match self {
            Self::Udp(socket) | Self::Tcp(socket, _) => *socket,
        }
    }

    /// The address alone.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.socket().ip()
    }

    /// The connection, where there is one.
    #[must_use]
    pub const fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Udp(_) => None,
            Self::Tcp(_, connection) => Some(*connection),
        }
    }
}

/// Datagrams are the rule.
impl From<SocketAddr> for TransportAddress {
    fn from(socket: SocketAddr) -> Self {
        Self::Udp(socket)
    }
}
