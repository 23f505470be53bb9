//! A client's receiving half of one slot: it restores what was lost and keeps everything that came.

use std::collections::BTreeMap;
use std::time::Duration;

use kall_dataplane::codec::vp8::Descriptor;
use kall_dataplane::time::{Ntp, Time};
use kall_dataplane::wire::rtcp::ReportBlock;
use kall_dataplane::wire::rtcp::sr::SenderInfo;
use kall_dataplane::wire::rtp::Packet;
use kall_shared::media::Kind;

use crate::media::{self, Label};
use crate::peer::Formats;

/// Wait for a packet that was overtaken, then between two requests.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const RETRY: Duration = Duration::from_millis(60);

/// Requests for one packet, as browsers have it.
const TRIES: u8 = 10;

/// Wait for a key frame before asking for it, and between two requests.
const KEYFRAME_WAIT: Duration = Duration::from_millis(300);

/// A packet that came, in the slot's numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) label: Label,
    pub(crate) descriptor: Option<Descriptor>,
    pub(crate) audio_level: Option<u8>,
}

#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) kind: Kind,
    formats: Formats,
    pub(crate) ssrc: u32,
    rtx_ssrc: Option<u32>,
    highest: Option<u64>,
    pub(crate) received: BTreeMap<u64, Received>,
    missing: BTreeMap<u64, (Time, u8)>,
    pub(crate) reports: Vec<SenderInfo>,
    last_report: Option<(Ntp, Time)>,
    keyframe_due: Option<Time>,
    pub(crate) retransmitted: u64,
}

impl Receiver {
    pub(crate) fn new(kind: Kind, formats: Formats, ssrc: u32, rtx_ssrc: Option<u32>) -> Self {
        Self {
            kind,
            formats,
            ssrc,
            rtx_ssrc,
            highest: None,
            received: BTreeMap::new(),
            missing: BTreeMap::new(),
            reports: Vec::new(),
            last_report: None,
            keyframe_due: None,
            retransmitted: 0,
        }
    }

    pub(crate) fn takes(&self, ssrc: u32) -> bool {
        self.ssrc == ssrc || self.rtx_ssrc == Some(ssrc)
    }

    pub(crate) fn on_packet(&mut self, now: Time, mid: &str, packet: &Packet<'_>) {
        assert_eq!(
            packet.extension(self.formats.mid),
            Some(mid.as_bytes()),
            "every packet names its line"
        );
        let (sequence, payload) = if packet.ssrc() == self.ssrc {
            assert_eq!(packet.payload_type(), self.formats.pt(self.kind));
            (packet.sequence(), packet.payload())
        } else {
            assert_eq!(packet.payload_type(), self.formats.rtx_pt);
            let (original, payload) = packet
                .payload()
                .split_first_chunk::<2>()
                .expect("an original number");
            self.retransmitted += 1;
            (u16::from_be_bytes(*original), payload)
        };
        let seq = self.place(now, sequence);
        self.missing.remove(&seq);
        let (descriptor, label) = match self.kind {
            Kind::Audio => (None, media::read_audio(payload)),
            Kind::Video => {
                media::read_video(payload).map_or((None, None), |(found, label)| (Some(found), Some(label)))
            }
        };
        let received = Received {
            timestamp: packet.timestamp(),
            marker: packet.marker(),
            label: label.expect("the payload is what was sent"),
            descriptor,
            audio_level: packet
                .extension(self.formats.level)
                .and_then(|data| data.first().copied()),
        };
        if let Some(before) = self.received.insert(seq, received) {
            assert_eq!(
                (before.timestamp, before.marker, before.label, before.descriptor),
                (
                    received.timestamp,
                    received.marker,
                    received.label,
                    received.descriptor
                ),
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
        let step = sequence.wrapping_sub(highest as u16) as i16;
        let seq = highest.wrapping_add_signed(i64::from(step));
        // After the highest, or before the first when the start came in disorder.
        let first = self.received.keys().next().copied().unwrap_or(highest);
        for missing in (highest + 1..seq).chain(seq + 1..first) {
            self.missing.insert(missing, (now + FIRST_WAIT, 0));
        }
        self.highest = Some(highest.max(seq));
        seq
    }

    /// Numbers to ask for now; audio has no retransmission stream and is not asked for.
    pub(crate) fn poll_nack(&mut self, now: Time) -> Vec<u16> {
        if self.rtx_ssrc.is_none() {
            return Vec::new();
        }
        self.missing.retain(|_, (_, tries)| *tries < TRIES);
        let mut lost = Vec::new();
        for (seq, (due, tries)) in &mut self.missing {
            if *due <= now {
                *due = now + RETRY;
                *tries += 1;
                lost.push(*seq as u16);
            }
        }
        lost
    }

    /// Whether to ask for a key frame: pictures come, but the one to begin with did not.
    pub(crate) fn poll_pli(&mut self, now: Time) -> bool {
        let is_start = |packet: &Received| packet.descriptor.is_some_and(|found| found.is_keyframe());
        if self.kind == Kind::Audio || self.received.values().any(is_start) {
            return false;
        }
        let due = *self.keyframe_due.get_or_insert(now + KEYFRAME_WAIT);
        let asks = self.highest.is_some() && now >= due;
        if asks {
            self.keyframe_due = Some(now + KEYFRAME_WAIT);
        }
        asks
    }

    pub(crate) fn on_sender_report(&mut self, now: Time, info: SenderInfo) {
        self.last_report = Some((info.ntp, now));
        self.reports.push(info);
    }

    /// What to report to the server: of use to it here is the round trip.
    pub(crate) fn report_block(&self, now: Time) -> Option<ReportBlock> {
        let highest = self.highest?;
        let (last_sr, delay) = self.last_report.map_or((0, 0), |(ntp, at)| {
            (
                ntp.compact(),
                (now.since(at).as_micros() * 65_536 / 1_000_000) as u32,
            )
        });
        Some(ReportBlock {
            ssrc: self.ssrc,
            highest_sequence: highest as u32,
            last_sr,
            delay_since_last_sr: delay,
            ..ReportBlock::default()
        })
    }
}
