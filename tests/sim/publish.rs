//! A client's sending half: an encoder, its RTP streams, and the answers to what the server asks for.

use std::collections::BTreeMap;

use kall_dataplane::time::{Ntp, Time};
use kall_dataplane::wire::rtcp::sr::SenderInfo;
use kall_dataplane::wire::rtp::{HeaderFields, write_header};
use kall_shared::media::Kind;

use crate::media::{self, Label, PictureCount};
use crate::peer::Formats;

/// A packet as it is to be sealed.
#[derive(Debug, Clone)]
pub(crate) struct Plain {
    pub(crate) bytes: Vec<u8>,
    /// SSRC and number of the primary stream's packet that it carries.
    pub(crate) carries: (u32, u64),
}

/// Sends its media until it is told to stop.
#[derive(Debug)]
pub(crate) struct Publisher {
    publisher: u8,
    kind: Kind,
    mid: &'static str,
    formats: Formats,
    ssrc: u32,
    rtx_ssrc: u32,
    seq: u64,
    rtx_seq: u16,
    first_ts: u32,
    next_at: Time,
    number: u64,
    count: PictureCount,
    key_wanted: bool,
    /// What was sent, by number: header and payload.
    history: BTreeMap<u64, (HeaderFields, Vec<u8>)>,
    /// Labels of what was sent, by number, with the start of each key frame marked.
    pub(crate) sent: BTreeMap<u64, (Label, bool)>,
    packets: u32,
    octets: u32,
}

impl Publisher {
    pub(crate) fn new(
        publisher: u8,
        kind: Kind,
        mid: &'static str,
        formats: Formats,
        ssrc: u32,
        start: Time,
        long_ids: bool,
    ) -> Self {
        Self {
            publisher,
            kind,
            mid,
            formats,
            ssrc,
            rtx_ssrc: ssrc + 1,
            // Near the wrap, which each stream passes in the first seconds.
            seq: 65_000,
            rtx_seq: 65_500,
            first_ts: u32::MAX - 200_000,
            next_at: start,
            number: 0,
            count: PictureCount {
                picture_id: if long_ids { 0x7ff0 } else { 0x70 },
                long: long_ids,
                tl0: 250,
                key: 30,
            },
            key_wanted: true,
            history: BTreeMap::new(),
            sent: BTreeMap::new(),
            packets: 0,
            octets: 0,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Id of the transport-wide sequence number.
    pub(crate) fn transport_id(&self) -> u8 {
        self.formats.transport
    }

    fn clock_rate(&self) -> u64 {
        match self.kind {
            Kind::Audio => 48_000,
            Kind::Video => 90_000,
        }
    }

    fn ts(&self, at: Time) -> u32 {
        let ticks = u128::from(at.as_nanos()) * u128::from(self.clock_rate()) / 1_000_000_000;
        self.first_ts.wrapping_add(ticks as u32)
    }

    /// A decoder somewhere waits.
    pub(crate) fn on_pli(&mut self) {
        self.key_wanted = true;
    }

    /// What there is to send now. `transport` gives transport-wide sequence numbers.
    pub(crate) fn poll(&mut self, now: Time, transport: &mut u16) -> Vec<Plain> {
        let mut packets = Vec::new();
        while now >= self.next_at {
            let captured = self.next_at;
            match self.kind {
                Kind::Audio => {
                    self.next_at += std::time::Duration::from_millis(20);
                    packets.push(self.audio(captured, transport));
                }
                Kind::Video => {
                    self.next_at += std::time::Duration::from_micros(33_333);
                    packets.extend(self.frame(captured, transport));
                }
            }
            self.number += 1;
        }
        packets
    }

    fn audio(&mut self, captured: Time, transport: &mut u16) -> Plain {
        let label = Label {
            publisher: self.publisher,
            number: self.number,
            packet: 0,
            packets: 1,
            captured: captured.as_millis(),
        };
        let payload = media::audio(&label);
        self.packet(captured, false, label, false, payload, transport)
    }

    fn frame(&mut self, captured: Time, transport: &mut u16) -> Vec<Plain> {
        let is_key = std::mem::take(&mut self.key_wanted);
        let packets = if is_key { 12 } else { 3 + (self.number % 3) as u8 };
        self.count.picture_id = (self.count.picture_id + 1) & if self.count.long { 0x7fff } else { 0x7f };
        self.count.tl0 = self.count.tl0.wrapping_add(1);
        self.count.key = self.count.key.wrapping_add(u8::from(is_key)) & 0x1f;
        let mut plain = Vec::new();
        for packet in 0..packets {
            let label = Label {
                publisher: self.publisher,
                number: self.number,
                packet,
                packets,
                captured: captured.as_millis(),
            };
            let payload = media::video(&label, is_key, &self.count);
            let starts_key = is_key && packet == 0;
            plain.push(self.packet(
                captured,
                packet + 1 == packets,
                label,
                starts_key,
                payload,
                transport,
            ));
        }
        plain
    }

    fn packet(
        &mut self,
        captured: Time,
        marker: bool,
        label: Label,
        starts_key: bool,
        payload: Vec<u8>,
        transport: &mut u16,
    ) -> Plain {
        let fields = HeaderFields {
            marker,
            payload_type: self.formats.pt(self.kind),
            sequence: self.seq as u16,
            timestamp: self.ts(captured),
            ssrc: self.ssrc,
        };
        let seq = self.seq;
        self.seq += 1;
        self.packets += 1;
        self.octets += payload.len() as u32;
        self.sent.insert(seq, (label, starts_key));
        let plain = self.write(&fields, &payload, seq, transport);
        self.history.insert(seq, (fields, payload));
        plain
    }

    fn write(&self, fields: &HeaderFields, payload: &[u8], seq: u64, transport: &mut u16) -> Plain {
        let number = transport.to_be_bytes();
        *transport = transport.wrapping_add(1);
        let mut elements: Vec<(u8, &[u8])> = vec![
            (self.formats.mid, self.mid.as_bytes()),
            (self.formats.transport, &number),
        ];
        if self.kind == Kind::Audio {
            elements.push((self.formats.level, &[0x80 | 30]));
        }
        let mut bytes = vec![0; 1500];
        let header_len = write_header(&mut bytes, fields, &elements).expect("a header fits");
        bytes.truncate(header_len);
        bytes.extend_from_slice(payload);
        Plain {
            bytes,
            carries: (self.ssrc, seq),
        }
    }

    /// A packet once more: video on its own stream (RFC 4588), audio under its own number. None
    /// for one that was never sent.
    pub(crate) fn resend(&mut self, sequence: u16, transport: &mut u16) -> Option<Plain> {
        let last = self.seq.checked_sub(1)?;
        let back = (last as u16).wrapping_sub(sequence);
        let seq = last.checked_sub(u64::from(back))?;
        let (fields, payload) = self.history.get(&seq)?.clone();
        if self.kind == Kind::Audio {
            return Some(self.write(&fields, &payload, seq, transport));
        }
        let fields = HeaderFields {
            payload_type: self.formats.rtx_pt,
            sequence: self.rtx_seq,
            ssrc: self.rtx_ssrc,
            ..fields
        };
        self.rtx_seq = self.rtx_seq.wrapping_add(1);
        let mut original = sequence.to_be_bytes().to_vec();
        original.extend_from_slice(&payload);
        Some(self.write(&fields, &original, seq, transport))
    }

    /// The sender report of now.
    pub(crate) fn sender_info(&self, now: Time, ntp: Ntp) -> SenderInfo {
        SenderInfo {
            ssrc: self.ssrc,
            ntp,
            rtp_timestamp: self.ts(now),
            packet_count: self.packets,
            octet_count: self.octets,
        }
    }
}
