//! What leaves a peer: packets are numbered, sealed, and wait to be taken to the path.

use kall_dataplane::srtp::{EgressGuard, MasterKey, Outbound};
use kall_dataplane::wire::rtp::{HeaderFields, write_header};

use super::negotiation::EXT_TRANSPORT;
use crate::codec::Label;

/// Room for any datagram, sealed.
const DATAGRAM_MAX: usize = 1500;

/// A sealed datagram, and what a loss of it would lose.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) bytes: Vec<u8>,
    pub(crate) carries: Option<Carried>,
}

/// Media in a datagram on its way up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Carried {
    Video(Label),
    Audio,
}

/// One outgoing SSRC.
#[derive(Debug)]
pub(crate) struct RtpStream {
    pub(crate) ssrc: u32,
    /// Extended number of the next packet.
    pub(crate) next: u64,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
    guard: EgressGuard,
}

impl RtpStream {
    /// `first` is the first packet's number.
    pub(crate) fn new(ssrc: u32, first: u16) -> Self {
        Self {
            ssrc,
            next: u64::from(first),
            packets: 0,
            octets: 0,
            guard: EgressGuard::new(),
        }
    }
}

/// The sending half of a peer's transport.
pub(crate) struct Transmitter {
    outbound: Option<Outbound>,
    transport: u16,
    queue: Vec<Outgoing>,
    /// Buffers that came back.
    pool: Vec<Vec<u8>>,
}

impl Transmitter {
    /// `transport` is the first transport-wide sequence number.
    pub(crate) const fn new(transport: u16) -> Self {
        Self {
            outbound: None,
            transport,
            queue: Vec::new(),
            pool: Vec::new(),
        }
    }

    pub(crate) fn set_key(&mut self, key: &MasterKey) {
        self.outbound = Some(Outbound::new(key));
    }

    pub(crate) const fn has_key(&self) -> bool {
        self.outbound.is_some()
    }

    /// Sends a packet of `stream` with its next number.
    pub(crate) fn send_rtp(
        &mut self,
        stream: &mut RtpStream,
        fields: HeaderFields,
        extensions: &[(u8, &[u8])],
        payload: &[&[u8]],
        carries: Carried,
    ) {
        let Some(outbound) = &self.outbound else { return };
        let number = self.transport.to_be_bytes();
        self.transport = self.transport.wrapping_add(1);
        let mut elements: [(u8, &[u8]); 5] = [(EXT_TRANSPORT, &number); 5];
        elements[1..=extensions.len()].copy_from_slice(extensions);
        let fields = HeaderFields {
            // The low bits are what is on the wire.
            sequence: stream.next as u16,
            ssrc: stream.ssrc,
            ..fields
        };
        let mut bytes = self.pool.pop().unwrap_or_default();
        bytes.resize(DATAGRAM_MAX, 0);
        let header_len =
            write_header(&mut bytes, &fields, &elements[..=extensions.len()]).expect("a header fits");
        let mut len = header_len;
        for part in payload {
            bytes[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        stream.packets = stream.packets.wrapping_add(1);
        stream.octets = stream.octets.wrapping_add((len - header_len) as u32);
        let index = stream.next;
        stream.next += 1;
        let sealed = outbound
            .seal_rtp(&mut stream.guard, &mut bytes, header_len, len, index)
            .expect("a new number in a large buffer");
        bytes.truncate(sealed);
        self.queue.push(Outgoing {
            bytes,
            carries: Some(carries),
        });
    }

    /// Sends a compound that `write` writes; nothing if it gives none.
    pub(crate) fn send_rtcp(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
        let Some(outbound) = &mut self.outbound else {
            return;
        };
        let mut bytes = self.pool.pop().unwrap_or_default();
        bytes.resize(DATAGRAM_MAX, 0);
        let room = DATAGRAM_MAX - outbound.rtcp_overhead();
        let Some(len) = write(&mut bytes[..room]) else {
            self.pool.push(bytes);
            return;
        };
        let sealed = outbound.seal_rtcp(&mut bytes, len).expect("room was left");
        bytes.truncate(sealed);
        self.queue.push(Outgoing { bytes, carries: None });
    }

    /// Sends a datagram as it is.
    pub(crate) fn send_clear(&mut self, bytes: Vec<u8>) {
        self.queue.push(Outgoing { bytes, carries: None });
    }

    /// Everything that waits; the list comes back empty with its memory by [`Self::recycle_list`].
    pub(crate) fn take(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.queue)
    }

    /// The list of [`Self::take`] once it is empty.
    pub(crate) fn recycle_list(&mut self, list: Vec<Outgoing>) {
        debug_assert!(list.is_empty());
        if self.queue.is_empty() {
            self.queue = list;
        }
    }

    /// A buffer that arrived.
    pub(crate) fn recycle(&mut self, bytes: Vec<u8>) {
        self.pool.push(bytes);
    }
}
