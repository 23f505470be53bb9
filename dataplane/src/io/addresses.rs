//! The addresses of this host that peers may reach, for the candidates of answers.

use std::ffi::CStr;
use std::io;
use std::net::IpAddr;
use std::ptr;

use super::sockaddr;

/// What clients are told: `advertise` when given, else the one bound address, else every local address of
/// the bound family, loopback included. Not more than a `HelloAnswer` needs: 32.
///
/// # Errors
/// What the kernel said when asked for its interfaces.
pub fn reachable(bind: IpAddr, advertise: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
    if !advertise.is_empty() {
        return Ok(advertise.to_vec());
    }
    if !bind.is_unspecified() {
        return Ok(vec![bind]);
    }
    Ok(select(bind, local()?))
}

/// Interfaces of container hosts come and go by the hundred; the first ones are the machine's own.
const ADDRESSES_MAX: usize = 32;

/// Those of `local` that a socket bound to the wildcard `bind` receives on and that a peer can name. Public
/// and private ones first, loopback last: candidates are tried in order.
fn select(bind: IpAddr, local: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut chosen: Vec<IpAddr> = Vec::new();
    for address in local {
        let usable = match address {
            IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_unspecified(),
            // A link-local address means nothing without an interface, which a candidate can't carry.
            IpAddr::V6(v6) => bind.is_ipv6() && !v6.is_unicast_link_local() && !v6.is_unspecified(),
        };
        if usable && !chosen.contains(&address) {
            chosen.push(address);
        }
    }
    chosen.sort_by_key(IpAddr::is_loopback);
    // Cut from the middle, so that loopback survives for the browser on the same machine.
    while chosen.len() > ADDRESSES_MAX {
        let last_routed = chosen.iter().rposition(|address| !address.is_loopback());
        chosen.remove(last_routed.unwrap_or(chosen.len() - 1));
    }
    chosen
}

/// Addresses of all interfaces that are up, in the kernel's order.
fn local() -> io::Result<Vec<IpAddr>> {
    let mut head: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: `head` is a live out-pointer; on success it owns a list that is freed below.
    if unsafe { libc::getifaddrs(&raw mut head) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut addresses = Vec::new();
    let mut entry = head;
    while !entry.is_null() {
        // SAFETY: not null, and a node of the list that is freed only after the loop.
        let interface = unsafe { &*entry };
        entry = interface.ifa_next;
        if interface.ifa_addr.is_null() || interface.ifa_flags & libc::IFF_UP as u32 == 0 {
            continue;
        }
        // SAFETY: not null, and every sockaddr begins with its family.
        let family = i32::from(unsafe { (*interface.ifa_addr).sa_family });
        let len = match family {
            libc::AF_INET => size_of::<libc::sockaddr_in>(),
            libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
            _ => continue,
        };
        // SAFETY: getifaddrs(3) gives an address of the length its family says.
        let bytes = unsafe { std::slice::from_raw_parts(interface.ifa_addr.cast::<u8>(), len) };
        if let Some(address) = sockaddr::decode(bytes) {
            // SAFETY: `ifa_name` is a NUL-terminated string of the same list.
            let name = unsafe { CStr::from_ptr(interface.ifa_name) };
            tracing::debug!(interface = %name.to_string_lossy(), address = %address.ip(), "local address");
            addresses.push(address.ip());
        }
    }
    // SAFETY: the list of the successful call above, freed once; nothing borrows from it any more.
    unsafe { libc::freeifaddrs(head) };
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("literal")).collect()
    }

    #[test]
    fn advertised_and_bound_addresses_go_before_the_hosts() {
        let advertise = ips(&["192.0.2.1"]);
        let any = IpAddr::from([0, 0, 0, 0]);
        assert_eq!(reachable(any, &advertise).expect("no call"), advertise);
        let one = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(reachable(one, &[]).expect("no call"), [one]);
    }

    #[test]
    fn the_host_has_a_loopback() {
        let found = reachable(IpAddr::from([0, 0, 0, 0]), &[]).expect("interfaces");
        assert!(found.contains(&IpAddr::from([127, 0, 0, 1])), "{found:?}");
        assert!(found.iter().all(IpAddr::is_ipv4), "{found:?}");
    }

    #[test]
    fn loopback_is_last_and_link_local_is_left_out() {
        let local = ips(&[
            "127.0.0.1",
            "::1",
            "169.254.1.1",
            "fe80::1",
            "192.0.2.1",
            "2001:db8::1",
            "192.0.2.1",
        ]);
        assert_eq!(
            select(ips(&["::"])[0], local.clone()),
            ips(&["192.0.2.1", "2001:db8::1", "127.0.0.1", "::1"])
        );
        assert_eq!(
            select(ips(&["0.0.0.0"])[0], local),
            ips(&["192.0.2.1", "127.0.0.1"])
        );
    }

    #[test]
    fn a_host_with_many_addresses_keeps_its_loopback() {
        let mut local = ips(&["127.0.0.1"]);
        local.extend((0..200).map(|last| IpAddr::from([192, 0, 2, last])));
        let chosen = select(ips(&["0.0.0.0"])[0], local);
        assert_eq!(chosen.len(), ADDRESSES_MAX);
        assert!(chosen.contains(&IpAddr::from([127, 0, 0, 1])));
    }
}
