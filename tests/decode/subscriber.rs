//! The receiving side: it asks again for what was lost, tells what arrived, and keeps every packet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kall_dataplane::rtp::twcc_recorder::TwccRecorder;
use kall_dataplane::time::Time;
use kall_dataplane::wire::rtcp::{self, ReportBlock, Rtcp};
use kall_shared::media::{Codec, SlotDescription};
use rtp::packet::Packet;
use webrtc::util::marshal::Unmarshal;

use crate::call::formats;
use crate::clip::{Clip, Coding};
use crate::depacketize::{self, Description};
use crate::dependencies::Told;
use crate::transport::{Opened, Transport};

/// Wait for a packet that was overtaken, then between two requests.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const RETRY: Duration = Duration::from_millis(70);

/// Requests for one packet, as browsers have it.
const TRIES: u8 = 10;

const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Wait for the first picture before asking for it.
const KEYFRAME_WAIT: Duration = Duration::from_millis(500);

/// Our own SSRC in feedback.
const OWN: u32 = 7;

struct Received {
    timestamp: u32,
    marker: bool,
    payload: Bytes,
    dependencies: Option<Bytes>,
}

/// A picture of which every packet came.
#[derive(Debug, Clone)]
pub(crate) struct Complete {
    pub(crate) timestamp: u32,
    pub(crate) bytes: Bytes,
    pub(crate) description: Option<Description>,
    /// Whether nothing is missing between the one before and this one.
    pub(crate) follows: bool,
}

pub(crate) struct Subscriber {
    pub(crate) transport: Transport,
    coding: Coding,
    slot: SlotDescription,
    highest: Option<u64>,
    received: BTreeMap<u64, Received>,
    missing: BTreeMap<u64, (Time, u8)>,
    arrivals: TwccRecorder,
    next_report: Time,
    next_pli: Time,
    /// Packets that came by being sent again.
    pub(crate) repaired: u64,
}

impl Subscriber {
    pub(crate) fn new(transport: Transport, clip: &Arc<Clip>, slot: SlotDescription) -> Self {
        Self {
            transport,
            coding: clip.coding,
            slot,
            highest: None,
            received: BTreeMap::new(),
            missing: BTreeMap::new(),
            arrivals: TwccRecorder::new(Time::ZERO),
            next_report: Time::ZERO + REPORT_INTERVAL,
            next_pli: Time::ZERO + KEYFRAME_WAIT,
            repaired: 0,
        }
    }

    pub(crate) fn tick(&mut self, now: Time) {
        self.transport.tick(now);
        if !self.transport.connected {
            return;
        }
        let mut buf = [0; 1200];
        while let Some(len) = self.arrivals.poll(now, &mut buf, OWN, self.slot.ssrc) {
            self.transport.send_rtcp(&buf[..len]);
        }
        self.missing.retain(|_, (_, tries)| *tries < TRIES);
        let mut lost = Vec::new();
        for (seq, (due, tries)) in &mut self.missing {
            if *due <= now {
                (*due, *tries) = (now + RETRY, *tries + 1);
                lost.push(*seq as u16);
            }
        }
        if let Some(len) = rtcp::nack::write(&mut buf, OWN, self.slot.ssrc, &lost) {
            self.transport.send_rtcp(&buf[..len]);
        }
        if self.highest.is_none() && now >= self.next_pli {
            self.next_pli = now + KEYFRAME_WAIT;
            let len = rtcp::pli::write(&mut buf, OWN, self.slot.ssrc).expect("a request fits");
            self.transport.send_rtcp(&buf[..len]);
        }
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            self.report();
        }
    }

    fn report(&mut self) {
        let Some(highest) = self.highest else {
            return;
        };
        let block = ReportBlock {
            ssrc: self.slot.ssrc,
            highest_sequence: highest as u32,
            ..ReportBlock::default()
        };
        let mut buf = [0; 200];
        let len = rtcp::rr::write(&mut buf, OWN, &[block]).expect("a report fits");
        self.transport.send_rtcp(&buf[..len]);
    }

    pub(crate) fn handle_datagram(&mut self, now: Time, data: &[u8]) {
        match self.transport.open(data) {
            Opened::Rtp(plain) => self.on_rtp(now, plain.into()),
            Opened::Rtcp(plain) => {
                for message in rtcp::packets(&plain) {
                    let message = message.expect("well-formed");
                    assert!(
                        matches!(message, Rtcp::SenderReport(_) | Rtcp::Sdes(_)),
                        "{message:?} was not agreed on"
                    );
                }
            }
            Opened::Nothing => {}
        }
    }

    fn on_rtp(&mut self, now: Time, mut plain: Bytes) {
        let len = plain.len();
        let packet = Packet::unmarshal(&mut plain).expect("well-formed");
        let header = packet.header;
        let number = header.get_extension(formats::TRANSPORT).expect("a number");
        let number = u16::from_be_bytes(number[..].try_into().expect("of two bytes"));
        self.arrivals.on_packet(now, number, len);
        assert_eq!(header.get_extension(formats::MID).as_deref(), Some(&b"0"[..]));

        let (sequence, payload) = if header.ssrc == self.slot.ssrc {
            assert_eq!(header.payload_type, formats(self.coding).pt);
            (header.sequence_number, packet.payload)
        } else {
            assert_eq!(Some(header.ssrc), self.slot.rtx_ssrc, "a stream of the answer");
            assert_eq!(header.payload_type, formats(self.coding).rtx_pt);
            // Nothing but padding: sent to measure the path.
            if packet.payload.len() < 2 {
                return;
            }
            let original = u16::from_be_bytes([packet.payload[0], packet.payload[1]]);
            (original, packet.payload.slice(2..))
        };
        let seq = self.place(now, sequence);
        let was_missing = self.missing.remove(&seq).is_some();
        self.repaired += u64::from(was_missing && header.ssrc != self.slot.ssrc);
        let received = Received {
            timestamp: header.timestamp,
            marker: header.marker,
            payload,
            dependencies: header.get_extension(formats::DESCRIPTOR),
        };
        if let Some(before) = self.received.insert(seq, received) {
            assert_eq!(
                before.payload, self.received[&seq].payload,
                "one number, one packet"
            );
        }
    }

    /// The extended number; what lies between it and the highest is missed from now on.
    fn place(&mut self, now: Time, sequence: u16) -> u64 {
        let Some(highest) = self.highest else {
            let seq = (1 << 16) + u64::from(sequence);
            self.highest = Some(seq);
            return seq;
        };
        let step = sequence.wrapping_sub(highest as u16).cast_signed();
        let seq = highest.wrapping_add_signed(i64::from(step));
        for missing in highest + 1..seq {
            self.missing.insert(missing, (now + FIRST_WAIT, 0));
        }
        self.highest = Some(highest.max(seq));
        seq
    }

    /// Every picture that came whole, in order.
    pub(crate) fn complete(&self) -> Vec<Complete> {
        let mut frames = Vec::new();
        let mut frame: Vec<&Received> = Vec::new();
        let mut last: Option<(u64, bool)> = None;
        // The number after the last whole picture.
        let mut expected = None;
        let mut told = Told::default();
        for (seq, packet) in &self.received {
            let follows = last.is_some_and(|(before, _)| before + 1 == *seq);
            let begins = follows && last.is_some_and(|(_, marker)| marker);
            let continues = follows
                && !begins
                && frame
                    .first()
                    .is_some_and(|first| first.timestamp == packet.timestamp);
            last = Some((*seq, packet.marker));
            if !continues {
                frame.clear();
                // After a gap, or a picture that was cut, only the payload can tell.
                if !begins
                    && !depacketize::starts_frame(self.coding, &packet.payload, packet.dependencies.as_ref())
                {
                    continue;
                }
            }
            frame.push(packet);
            if packet.marker {
                let first = *seq + 1 - frame.len() as u64;
                let follows = expected.is_none_or(|expected| expected == first);
                expected = Some(*seq + 1);
                let dependencies = frame[0].dependencies.clone();
                if self.coding.codec == Codec::Av1 {
                    let packets: Vec<&[u8]> = (frame.iter())
                        .map(|packet| packet.dependencies.as_deref().expect("on every packet"))
                        .collect();
                    told.take(&packets, follows);
                }
                let payloads: Vec<Bytes> = frame.drain(..).map(|packet| packet.payload.clone()).collect();
                let bytes = depacketize::frame(self.coding, &payloads).expect("payloads of the codec");
                frames.push(Complete {
                    timestamp: packet.timestamp,
                    bytes,
                    description: depacketize::description(self.coding, &payloads[0], dependencies.as_ref()),
                    follows,
                });
            }
        }
        frames
    }

    /// Numbers between the first and the last that never came.
    pub(crate) fn gaps(&self) -> u64 {
        let first = self.received.keys().next().copied().unwrap_or(0);
        self.highest
            .map_or(0, |highest| highest + 1 - first - self.received.len() as u64)
    }
}
