//! Whether this kernel and this container allow the io_uring driver.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Unavailable, UringDriver};
use crate::io::udp::UdpSocket;

/// Builds a whole driver on a port of its own and takes it down again: what it needs is found by using it,
/// not by comparing version numbers, which distributions patch and containers hide.
///
/// # Errors
/// The first feature that is missing or forbidden.
pub fn probe() -> Result<(), Unavailable> {
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let socket = UdpSocket::bind(any).map_err(|error| Unavailable::new("a UDP socket", error))?;
    UringDriver::new(socket).map(drop)
}
