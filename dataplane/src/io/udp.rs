//! One core's UDP socket: its options, and what the kernel granted.
//!
//! Bound to a wildcard it learns each datagram's local address and answers from there, so that a host
//! with several addresses is reached on any of them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};
use tracing::{info, warn};

use super::limits::{SOCKET_BUFFER, SOCKET_BUFFER_LOW};
use super::sockaddr::Family;

/// A bound, non-blocking UDP socket.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
    family: Family,
}

impl UdpSocket {
    /// Binds `address`. Another process on the same port is an error, never shared: SO_REUSEADDR and
    /// SO_REUSEPORT stay off, or a forgotten predecessor would silently get half of the packets.
    ///
    /// # Errors
    /// What the kernel said, with the address.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let family = Family::of(address.ip());
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        if family == Family::V6 {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        let fd = socket.as_raw_fd();
        if address.ip().is_unspecified() {
            match family {
                Family::V4 => set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?,
                Family::V6 => set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?,
            }
        }
        // Both are gains, not needs: a kernel without them still works.
        for (level, option, name) in [
            (libc::SOL_UDP, libc::UDP_GRO, "UDP_GRO"),
            (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, "SO_TIMESTAMPNS"),
        ] {
            if let Err(error) = set_option(fd, level, option, 1) {
                warn!(%error, "this kernel does not take {name}");
            }
        }
        socket
            .bind(&address.into())
            .map_err(|error| io::Error::new(error.kind(), format!("UDP {address}: {error}")))?;
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("the kernel gave no local address"))?;
        let this = Self {
            socket,
            local,
            family,
        };
        this.grow_buffers()?;
        Ok(this)
    }

    /// The address and port it is bound to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Which addresses it takes.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// The one local address, when bound to one; none for a wildcard.
    #[must_use]
    pub fn fixed_address(&self) -> Option<IpAddr> {
        (!self.local.ip().is_unspecified()).then(|| self.local.ip())
    }

    /// Sends one datagram, never waiting.
    ///
    /// # Errors
    /// What the kernel said; the datagram is lost then.
    pub fn send_to(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        self.socket.send_to(datagram, &to.into()).map(drop)
    }

    /// Asks for large buffers, beyond `net.core.*mem_max` where the process may, and logs the result: a
    /// burst that does not fit is lost without an error.
    fn grow_buffers(&self) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        let wanted = i32::try_from(SOCKET_BUFFER).unwrap_or(i32::MAX);
        for (force, plain) in [
            (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
            (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
        ] {
            if set_option(fd, libc::SOL_SOCKET, force, wanted).is_err() {
                set_option(fd, libc::SOL_SOCKET, plain, wanted)?;
            }
        }
        // The kernel doubles what it grants, for its own bookkeeping.
        let receive = self.socket.recv_buffer_size()? / 2;
        let send = self.socket.send_buffer_size()? / 2;
        if receive.min(send) < SOCKET_BUFFER_LOW {
            warn!(
                local = %self.local, receive, send,
                "small socket buffers: bursts will be lost; raise net.core.rmem_max and net.core.wmem_max"
            );
        } else {
            info!(local = %self.local, receive, send, "UDP socket buffers");
        }
        Ok(())
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sets an integer option of an open socket.
pub(super) fn set_option(fd: RawFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the kernel reads exactly the given length from a live i32; a bad fd or option is an error.
    let status = unsafe {
        libc::setsockopt(
            fd,
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_never_shared() {
        let first = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("any free port");
        let error = UdpSocket::bind(first.local()).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&first.local().to_string()), "{error}");
    }

    #[test]
    fn only_a_wildcard_has_no_fixed_address() {
        let bound = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("any free port");
        assert_eq!(bound.fixed_address(), Some(IpAddr::from([127, 0, 0, 1])));
        let any = UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0))).expect("any free port");
        assert_eq!(any.fixed_address(), None);
    }
}
