//! Control messages of UDP sockets (`cmsg(3)`): read and written as bounded bytes, without `unsafe`.
//!
//! Received: the segment size of a train (`UDP_GRO`), the local address (`IP_PKTINFO`, RFC 3542
//! section 6 for IPv6) and the time of arrival (`SO_TIMESTAMPNS`). Sent: segment size and source address.
//! Layout: `{ usize length, i32 level, i32 type }`, the data, padding to a `usize`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::limits::SEND_CONTROL_LEN;
use super::sockaddr::Family;

const ALIGN: usize = size_of::<usize>();
const HEADER: usize = size_of::<usize>() + 8;

/// What the control messages of one received message say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Received {
    /// Length of every datagram of the train but the last; none: a single datagram.
    pub segment: Option<usize>,
    /// The local address it came to.
    pub to: Option<IpAddr>,
    /// When the kernel got it, on the wall clock since the Unix epoch.
    pub timestamp: Option<Duration>,
}

/// Reads what the kernel wrote. Unknown messages are skipped; a malformed one ends the list.
#[must_use]
pub(super) fn parse(mut control: &[u8]) -> Received {
    let mut received = Received::default();
    while let Some((level, kind, data, rest)) = take(control) {
        match (level, kind) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                received.segment = data
                    .first_chunk()
                    .map(|bytes| i32::from_ne_bytes(*bytes))
                    .and_then(|size| usize::try_from(size).ok())
                    .filter(|size| *size > 0);
            }
            // in_pktinfo: interface, the local address to answer from, the header's destination.
            // The second differs from the third only for broadcast, which nobody can answer from.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                received.to = data
                    .get(4..8)
                    .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())
                    .map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                received.to = data
                    .first_chunk::<16>()
                    .map(|octets| IpAddr::V6(Ipv6Addr::from(*octets)).to_canonical());
            }
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => received.timestamp = timespec(data),
            _ => {}
        }
        control = rest;
    }
    received
}

fn take(control: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let len = usize::from_ne_bytes(*control.first_chunk()?);
    let level = i32::from_ne_bytes(control.get(ALIGN..ALIGN + 4)?.try_into().ok()?);
    let kind = i32::from_ne_bytes(control.get(ALIGN + 4..HEADER)?.try_into().ok()?);
    let data = control.get(HEADER..len)?;
    let next = len.checked_next_multiple_of(ALIGN)?.min(control.len());
    Some((level, kind, data, &control[next..]))
}

fn timespec(data: &[u8]) -> Option<Duration> {
    let seconds = i64::from_ne_bytes(data.get(..8)?.try_into().ok()?);
    let nanos = i64::from_ne_bytes(data.get(8..16)?.try_into().ok()?);
    let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(seconds).ok()?, nanos))
}

/// Control messages of one message to send.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct SendControl {
    bytes: [u8; SEND_CONTROL_LEN],
    len: usize,
}

impl SendControl {
    /// None yet.
    pub(super) const EMPTY: Self = Self {
        bytes: [0; SEND_CONTROL_LEN],
        len: 0,
    };

    /// The bytes for `msg_control`.
    #[must_use]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Forgets all messages.
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Cuts the payload into datagrams of `segment` bytes, the last may be shorter (`UDP_SEGMENT`).
    pub(super) fn push_segment(&mut self, segment: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
    }

    /// Leaves from `source`, an address of this host. On an IPv6 socket an IPv4 source is mapped.
    pub(super) fn push_source(&mut self, source: IpAddr, family: Family) {
        match (family, source) {
            (Family::V4, IpAddr::V4(v4)) => {
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&v4.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            (Family::V6, source) => {
                let v6 = match source {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                    IpAddr::V6(v6) => v6,
                };
                let mut info = [0; 20];
                info[..16].copy_from_slice(&v6.octets());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            // An IPv4 socket never saw an IPv6 address; the kernel picks the source.
            (Family::V4, IpAddr::V6(_)) => {}
        }
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let start = self.len;
        let end = start + (HEADER + data.len()).next_multiple_of(ALIGN);
        debug_assert!(end <= SEND_CONTROL_LEN, "one source and one segment size fit");
        let message = &mut self.bytes[start..end];
        message.fill(0);
        message[..ALIGN].copy_from_slice(&(HEADER + data.len()).to_ne_bytes());
        message[ALIGN..ALIGN + 4].copy_from_slice(&level.to_ne_bytes());
        message[ALIGN + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER..HEADER + data.len()].copy_from_slice(data);
        self.len = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        bytes
    }

    #[test]
    fn all_messages_of_a_list_are_read() {
        let mut control = message(libc::SOL_UDP, libc::UDP_GRO, &1200_i32.to_ne_bytes());
        let mut time = 1_700_000_000_i64.to_ne_bytes().to_vec();
        time.extend(42_i64.to_ne_bytes());
        control.extend(message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &time));
        control.extend(message(99, 99, b"unknown"));
        let mut info = [0; 12];
        info[4..8].copy_from_slice(&[127, 0, 0, 2]);
        control.extend(message(libc::IPPROTO_IP, libc::IP_PKTINFO, &info));
        let received = parse(&control);
        assert_eq!(received.segment, Some(1200));
        assert_eq!(received.timestamp, Some(Duration::new(1_700_000_000, 42)));
        assert_eq!(received.to, Some(IpAddr::from([127, 0, 0, 2])));
    }

    #[test]
    fn what_is_written_is_what_the_kernel_would_read() {
        let mut control = SendControl::EMPTY;
        control.push_source(IpAddr::from([127, 0, 0, 2]), Family::V6);
        control.push_segment(1200);
        let bytes = control.as_bytes();
        let (level, kind, data, rest) = take(bytes).expect("first");
        assert_eq!((level, kind), (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO));
        let mapped = Ipv4Addr::new(127, 0, 0, 2).to_ipv6_mapped();
        assert_eq!(data[..16], mapped.octets());
        let (level, kind, data, rest) = take(rest).expect("second");
        assert_eq!(
            (level, kind, data),
            (libc::SOL_UDP, libc::UDP_SEGMENT, &1200_u16.to_ne_bytes()[..])
        );
        assert!(rest.is_empty());
        control.clear();
        assert!(control.as_bytes().is_empty());
    }

    #[test]
    fn lengths_that_lie_end_the_list() {
        let mut control = message(libc::SOL_UDP, libc::UDP_GRO, &1200_i32.to_ne_bytes());
        for len in [0, 1, HEADER - 1, 1000, usize::MAX] {
            control[..ALIGN].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(parse(&control), Received::default(), "{len}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
            let _ = parse(&bytes);
        }
    }
}
