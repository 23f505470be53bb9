//! Which addresses go into the answer's candidates (RFC 8445 section 5.1.1).

use std::net::IpAddr;

/// Most addresses in an answer; a host with more interfaces should use `dataplane.advertise`.
pub(super) const CANDIDATES_MAX: usize = 16;

/// The data plane's addresses and those the public name resolves to, for this client: loopback
/// is of use, and no leak, only to a client on loopback, and then comes first.
#[must_use]
pub fn candidate_addresses(own: &[IpAddr], public: &[IpAddr], bind: IpAddr, client: IpAddr) -> Vec<IpAddr> {
    let local_client = client.to_canonical().is_loopback();
    // A socket bound to one address is reached at no other, but a NAT may stand before any.
    let reachable = |address: &IpAddr| bind.is_ipv6() || address.is_ipv4();
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in own.iter().chain(public).map(IpAddr::to_canonical) {
        if reachable(&address) && !addresses.contains(&address) && (local_client || !address.is_loopback()) {
            addresses.push(address);
        }
    }
    addresses.sort_by_key(|address| !address.is_loopback());
    addresses.truncate(CANDIDATES_MAX);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn loopback_is_for_clients_on_loopback_only() {
        let own = [ip("192.0.2.1"), ip("127.0.0.1"), ip("::1"), ip("2001:db8::1")];
        let far = candidate_addresses(&own, &[ip("203.0.113.9")], ip("0.0.0.0"), ip("198.51.100.1"));
        assert_eq!(far, [ip("192.0.2.1"), ip("203.0.113.9")]);
        let near = candidate_addresses(&own, &[], ip("0.0.0.0"), ip("127.0.0.1"));
        assert_eq!(near, [ip("127.0.0.1"), ip("192.0.2.1")]);
        let mapped = candidate_addresses(&own, &[], ip("::"), ip("::ffff:127.0.0.1"));
        assert_eq!(
            mapped,
            [ip("127.0.0.1"), ip("::1"), ip("192.0.2.1"), ip("2001:db8::1")]
        );
    }
}
