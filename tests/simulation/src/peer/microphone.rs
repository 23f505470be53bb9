//! A published microphone: Opus packets of 20 ms, all alike but for what their levels say.

use std::time::Duration;

use kall_dataplane::time::{Ntp, Time};
use kall_dataplane::wire::rtcp::sr::{self, SenderInfo};
use kall_dataplane::wire::rtp::HeaderFields;
use kall_network::Random;

use super::negotiation::{EXT_LEVEL, EXT_MID, MICROPHONE, OPUS};
use super::transmitter::{Carried, RtpStream, Transmitter};
use crate::talk::Voice;

/// Duration of a packet.
pub(crate) const PACKET: Duration = Duration::from_millis(20);

/// Payload: 32 kbit/s.
const PAYLOAD: usize = 80;

/// Table of contents: SILK, wide band, 20 ms, mono (RFC 6716 section 3.1).
const CONTENTS: u8 = 0x48;

/// Interval of sender reports; the first comes after half of it.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Loud speech (RFC 6464).
const LEVEL: u8 = 30;

/// The flag of voice activity beside the level (RFC 6464 section 3).
const VOICE: u8 = 0x80;

/// Ticks of a packet at 48 kHz.
const TICKS: u32 = 960;

/// Number and publisher of a packet: all that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spoken {
    pub(crate) peer: u16,
    pub(crate) number: u32,
}

/// Reads what [`Microphone`] wrote.
pub(crate) fn read(payload: &[u8]) -> Option<Spoken> {
    let (peer, rest) = payload.get(1..)?.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    Some(Spoken {
        peer: u16::from_be_bytes(*peer),
        number: u32::from_be_bytes(*number),
    })
}

#[derive(Debug)]
pub(crate) struct Microphone {
    peer: u16,
    stream: RtpStream,
    first_ts: u32,
    next_at: Time,
    next_number: u32,
    /// Nothing was sent since; the next packet begins a talkspurt.
    paused: bool,
    next_report: Time,
    voice: Option<Voice>,
}

impl Microphone {
    pub(crate) fn new(peer: u16, voice: Option<Voice>, start: Time, random: &mut Random) -> Self {
        Self {
            peer,
            stream: RtpStream::new(random.bits() as u32, random.below(1 << 15) as u16),
            first_ts: random.bits() as u32,
            next_at: start,
            next_number: 0,
            paused: true,
            voice,
            next_report: start + REPORT_INTERVAL / 2,
        }
    }

    pub(crate) fn poll_deadline(&self) -> Time {
        self.next_at.min(self.next_report)
    }

    pub(crate) fn poll(&mut self, now: Time, ntp: Ntp, out: &mut Transmitter) {
        while self.next_at <= now {
            let captured = self.next_at;
            self.next_at += PACKET;
            let level = match &mut self.voice {
                Some(voice) => voice.next(captured),
                None => Some(LEVEL),
            };
            match level {
                Some(level) => self.send(level, out),
                None => self.pause(),
            }
        }
        if self.next_report <= now {
            self.next_report = now + REPORT_INTERVAL;
            // What is being captured now is sent when it is whole.
            let since = now.since(Time::ZERO + (self.next_at.since(Time::ZERO) - PACKET));
            let ticks = since.as_micros() as u32 * 48 / 1000;
            let info = SenderInfo {
                ssrc: self.stream.ssrc,
                ntp,
                rtp_timestamp: self.ts(self.next_number.wrapping_sub(1)).wrapping_add(ticks),
                packet_count: self.stream.packets,
                octet_count: self.stream.octets,
            };
            out.send_rtcp(|buf| sr::write(buf, &info, &[]));
        }
    }

    fn ts(&self, number: u32) -> u32 {
        self.first_ts.wrapping_add(number.wrapping_mul(TICKS))
    }

    /// The encoder sends nothing for this packet; time goes on.
    fn pause(&mut self) {
        self.next_number += 1;
        self.paused = true;
    }

    fn send(&mut self, level: u8, out: &mut Transmitter) {
        let spoken = Spoken {
            peer: self.peer,
            number: self.next_number,
        };
        let mut payload = [CONTENTS; PAYLOAD];
        payload[1..3].copy_from_slice(&spoken.peer.to_be_bytes());
        payload[3..7].copy_from_slice(&spoken.number.to_be_bytes());
        let fields = HeaderFields {
            marker: std::mem::take(&mut self.paused),
            payload_type: OPUS,
            timestamp: self.ts(self.next_number),
            ..HeaderFields::default()
        };
        let level = [VOICE | level];
        let extensions: [(u8, &[u8]); 2] = [(EXT_MID, MICROPHONE.as_bytes()), (EXT_LEVEL, &level)];
        self.next_number += 1;
        out.send_rtp(&mut self.stream, fields, &extensions, &[&payload], Carried::Audio);
    }
}
