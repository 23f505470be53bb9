//! Socket addresses as the kernel reads and writes them, byte by byte and so without `unsafe`.
//!
//! A dual-stack socket sees IPv4 peers as v4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2). Nothing
//! above this file does: mapped addresses are unmapped when read and mapped when written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes of a `sockaddr_in6`, the longer of the two.
pub(super) const LEN_MAX: usize = 28;

const LEN_V4: usize = 16;

/// Which protocol family a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`, both protocols when bound to `::`.
    V6,
}

impl Family {
    /// The family of a socket bound to `address`.
    #[must_use]
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// Writes `address` for a socket of `family` and gives the length, or `None` for an IPv6 address on an
/// IPv4 socket.
pub(super) fn encode(address: SocketAddr, family: Family, out: &mut [u8; LEN_MAX]) -> Option<usize> {
    match (family, address) {
        (Family::V4, SocketAddr::V4(v4)) => {
            *out = [0; LEN_MAX];
            out[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            out[2..4].copy_from_slice(&v4.port().to_be_bytes());
            out[4..8].copy_from_slice(&v4.ip().octets());
            Some(LEN_V4)
        }
        (Family::V4, SocketAddr::V6(_)) => None,
        (Family::V6, address) => {
            let v6 = match address {
                SocketAddr::V4(v4) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0),
                SocketAddr::V6(v6) => v6,
            };
            *out = [0; LEN_MAX];
            out[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            out[2..4].copy_from_slice(&v6.port().to_be_bytes());
            out[8..24].copy_from_slice(&v6.ip().octets());
            out[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
            Some(LEN_MAX)
        }
    }
}

/// Reads an address the kernel wrote.
#[must_use]
pub(super) fn decode(bytes: &[u8]) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match family {
        libc::AF_INET => {
            let octets: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(octets), port).into())
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let scope = u32::from_ne_bytes(bytes.get(24..28)?.try_into().ok()?);
            let ip = Ipv6Addr::from(octets);
            Some(match ip.to_ipv4_mapped() {
                Some(v4) => SocketAddrV4::new(v4, port).into(),
                None => SocketAddrV6::new(ip, port, 0, scope).into(),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn both_ways(address: &str, family: Family) -> Option<SocketAddr> {
        let mut bytes = [0xff; LEN_MAX];
        let len = encode(address.parse().expect("literal"), family, &mut bytes)?;
        decode(&bytes[..len])
    }

    #[test]
    fn addresses_survive_both_families() {
        for (address, family) in [
            ("192.0.2.7:4433", Family::V4),
            ("192.0.2.7:4433", Family::V6),
            ("[2001:db8::7]:4433", Family::V6),
            ("[fe80::1%3]:9", Family::V6),
        ] {
            assert_eq!(
                both_ways(address, family),
                address.parse().ok(),
                "{address} {family:?}"
            );
        }
        assert_eq!(both_ways("[2001:db8::7]:4433", Family::V4), None);
    }

    #[test]
    fn the_bytes_are_the_kernels() {
        let address: SocketAddr = "192.0.2.7:4433".parse().expect("literal");
        let reference = socket2::SockAddr::from(address);
        let mut bytes = [0; LEN_MAX];
        let len = encode(address, Family::V4, &mut bytes).expect("same family");
        assert_eq!(len, reference.len() as usize);
        assert_eq!(reference.as_socket(), decode(&bytes[..len]));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&bytes);
        }
    }
}
