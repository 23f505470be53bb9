//! From one received message to datagrams: the part of receiving that both drivers share.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::cmsg;
use super::counters::IoCounters;
use super::limits::DATAGRAM_MAX;
use super::sockaddr;

/// One datagram as a driver hands it over.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// The peer.
    pub from: SocketAddr,
    /// The local address it came to.
    pub to: IpAddr,
    /// When the kernel got it, on the wall clock since the Unix epoch.
    pub timestamp: Option<Duration>,
    /// Its bytes, in the receive slot.
    pub data: &'a mut [u8],
}

/// Who takes datagrams.
pub trait TakeDatagrams {
    /// Said before each message is given, and for the first ones before all: who sent the one that is [`EXPECTED_AHEAD`]
    /// places behind it, so that what that one needs may be fetched; none when no more have come.
    fn expect(&mut self, from: Option<SocketAddr>);

    /// Takes one.
    fn take(&mut self, incoming: Incoming<'_>);
}

/// A receiver that prepares nothing, see [`unprepared`].
pub(super) struct Unprepared<F>(F);

/// Whatever takes datagrams, as a receiver.
pub(super) fn unprepared<F: FnMut(Incoming<'_>)>(take: F) -> Unprepared<F> {
    Unprepared(take)
}

impl<F: FnMut(Incoming<'_>)> TakeDatagrams for Unprepared<F> {
    fn expect(&mut self, _: Option<SocketAddr>) {}

    fn take(&mut self, incoming: Incoming<'_>) {
        (self.0)(incoming);
    }
}

/// So many messages before its turn the sender of one is told of.
pub(super) const EXPECTED_AHEAD: usize = 2;

/// One message as the kernel left it in a slot.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) name: &'a [u8],
    pub(super) control: &'a [u8],
    /// The kernel cut payload or control messages (`MSG_TRUNC`, `MSG_CTRUNC`).
    pub(super) truncated: bool,
    pub(super) payload: &'a mut [u8],
}

/// Splits a train into its datagrams and gives them to `receiver`; answers how many. Dropped ones are counted
/// too: they cost their turn's share all the same.
pub(super) fn deliver(
    message: Message<'_>,
    fixed: Option<IpAddr>,
    counters: &mut IoCounters,
    receiver: &mut impl TakeDatagrams,
) -> usize {
    let Message {
        name,
        control,
        truncated,
        payload,
    } = message;
    counters.rx_messages += 1;
    if truncated {
        // Which datagrams of a train are whole can't be known: its segment size may be what was cut.
        counters.drop_truncated += 1;
        return 1;
    }
    let control = cmsg::parse(control);
    let (Some(from), Some(to)) = (sockaddr::decode(name), fixed.or(control.to)) else {
        counters.drop_no_address += 1;
        return 1;
    };
    let segment = control.segment.unwrap_or(usize::MAX).min(payload.len()).max(1);
    let mut count = 0;
    for data in payload.chunks_mut(segment) {
        count += 1;
        if data.len() > DATAGRAM_MAX {
            counters.drop_truncated += 1;
            continue;
        }
        counters.rx_packets += 1;
        counters.rx_bytes += data.len() as u64;
        receiver.take(Incoming {
            from,
            to,
            timestamp: control.timestamp,
            data,
        });
    }
    // An empty datagram is legal UDP and means nothing to us; it only takes its place in the turn.
    count.max(1)
}
