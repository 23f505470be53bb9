//! A published camera: one encoder and two RTP streams for each layer, and answers to what the server asks.

use std::time::Duration;

use kall_dataplane::time::{Ntp, Time};
use kall_dataplane::wire::rtcp::sr::{self, SenderInfo};
use kall_dataplane::wire::rtp::HeaderFields;
use kall_network::Random;
use kall_shared::media::Codec;

use super::encoder::{Encoder, period};
use super::negotiation::{CAMERA, EXT_MID, EXT_REPAIRED_RID, EXT_RID, payload_type};
use super::transmitter::{Carried, RtpStream, Transmitter};
use crate::codec::{self, IdWidth, Label, Source};
use crate::scenario::Video;

/// Packets kept for retransmission: two seconds of the largest layer.
const HISTORY: usize = 1024;

/// An encoder works on one layer after the other.
const ENCODING: Duration = Duration::from_millis(4);

/// Interval of sender reports; the first comes after half of it.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Browsers name a stream until a report about it has come; this is later.
const NAMED: Duration = Duration::from_secs(3);

/// RTP clock of video.
const CLOCK: u128 = 90_000;

#[derive(Debug)]
struct Kept {
    seq: u64,
    fields: HeaderFields,
    label: Label,
    payload: Vec<u8>,
}

/// One encoding on its way.
#[derive(Debug)]
struct Layer {
    source: Source,
    rid: Option<String>,
    encoder: Encoder,
    primary: RtpStream,
    rtx: RtpStream,
    first_ts: u32,
    /// Number of the next picture of the camera, whether this layer encodes it or not.
    next_picture: u64,
    history: Vec<Option<Kept>>,
    next_report: Time,
    /// When the server asked for a key frame.
    requests: Vec<Time>,
}

/// A camera with its layers.
#[derive(Debug)]
pub(crate) struct Camera {
    codec: Codec,
    width: IdWidth,
    period: Duration,
    /// When the first picture is captured.
    start: Time,
    muted: bool,
    layers: Vec<Layer>,
    payload: Vec<u8>,
}

impl Camera {
    pub(crate) fn new(peer: u16, video: &Video, start: Time, random: &mut Random) -> Self {
        let temporal = if video.codec == Codec::H264 {
            1
        } else {
            video.temporal
        };
        let single = video.layers.len() == 1;
        let layers = (0u8..)
            .zip(&video.layers)
            .map(|(layer, spec)| Layer {
                source: Source { peer, layer },
                rid: (!single).then(|| spec.rid.clone()),
                encoder: Encoder::new(
                    (spec.width, spec.height),
                    spec.kbps,
                    video.fps,
                    temporal,
                    random.split(),
                ),
                primary: RtpStream::new(random.bits() as u32, random.below(1 << 15) as u16),
                rtx: RtpStream::new(random.bits() as u32, random.below(1 << 15) as u16),
                first_ts: random.bits() as u32,
                next_picture: 0,
                history: (0..HISTORY).map(|_| None).collect(),
                next_report: start + REPORT_INTERVAL / 2,
                requests: Vec::new(),
            })
            .collect();
        Self {
            codec: video.codec,
            width: if random.chance(0.5) {
                IdWidth::Long
            } else {
                IdWidth::Short
            },
            period: period(video.fps),
            start,
            muted: false,
            layers,
            payload: Vec::new(),
        }
    }

    /// Switches the camera off or on.
    pub(crate) fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
        if !muted {
            // A camera that starts again starts its encoders again.
            for layer in &mut self.layers {
                layer.encoder.want_key();
            }
        }
    }

    /// Obeys a message of dynacast.
    pub(crate) fn set_active(&mut self, rid: &str, active: bool) {
        for layer in &mut self.layers {
            if layer.rid.as_deref() == Some(rid) {
                layer.encoder.set_active(active);
            }
        }
    }

    /// A key frame is asked for; false if the SSRC is none of this camera's.
    pub(crate) fn on_pli(&mut self, now: Time, ssrc: u32) -> bool {
        let layer = self.layers.iter_mut().find(|layer| layer.primary.ssrc == ssrc);
        if let Some(layer) = layer {
            layer.requests.push(now);
            layer.encoder.want_key();
            return true;
        }
        false
    }

    /// When key frames were asked for, layer by layer.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &[Time]> {
        self.layers.iter().map(|layer| &layer.requests[..])
    }

    /// When there is something to send.
    pub(crate) fn poll_deadline(&self) -> Time {
        let frames = self.layers.iter().map(|layer| self.due(layer));
        let reports = self.layers.iter().map(|layer| layer.next_report);
        frames.chain(reports).min().unwrap_or(Time::FAR_FUTURE)
    }

    fn captured(&self, layer: &Layer) -> Time {
        let nanos = self.period.as_nanos() as u64 * layer.next_picture;
        self.start + Duration::from_nanos(nanos)
    }

    fn due(&self, layer: &Layer) -> Time {
        self.captured(layer) + ENCODING * (u32::from(layer.source.layer) + 1)
    }

    /// Sends what is due; `ntp` is this peer's wall clock.
    pub(crate) fn poll(&mut self, now: Time, ntp: Ntp, out: &mut Transmitter) {
        for index in 0..self.layers.len() {
            while self.due(&self.layers[index]) <= now {
                let captured = self.captured(&self.layers[index]);
                self.layers[index].next_picture += 1;
                if !self.muted {
                    self.send_frame(index, captured, out);
                }
            }
            let layer = &mut self.layers[index];
            if layer.next_report <= now {
                layer.next_report = now + REPORT_INTERVAL;
                if layer.primary.packets > 0 {
                    layer.report(now, ntp, out);
                }
            }
        }
    }

    fn send_frame(&mut self, index: usize, captured: Time, out: &mut Transmitter) {
        let layer = &mut self.layers[index];
        let Some(frame) = layer.encoder.encode() else {
            return;
        };
        let parameters = usize::from(self.codec == Codec::H264 && frame.key);
        let packets = u8::try_from(codec::packets(frame.bytes) + parameters).expect("frames are bounded");
        let named = captured.since(self.start) < NAMED;
        for packet in 0..packets {
            let label = Label {
                source: layer.source,
                key: frame.key,
                frame: frame.number,
                packet,
                packets,
                reference: frame.reference,
                captured: captured.as_nanos(),
            };
            self.payload.clear();
            codec::write(self.codec, self.width, &frame, &label, &mut self.payload);
            let fields = HeaderFields {
                marker: label.ends(),
                payload_type: payload_type(self.codec),
                timestamp: layer.ts(captured),
                ..HeaderFields::default()
            };
            layer.send(fields, label, &self.payload, named, out);
        }
    }

    /// Sends a packet again (RFC 4588); false if the SSRC is none of this camera's.
    pub(crate) fn resend(&mut self, ssrc: u32, sequence: u16, out: &mut Transmitter) -> bool {
        let layer = self.layers.iter_mut().find(|layer| layer.primary.ssrc == ssrc);
        if let Some(layer) = layer {
            layer.resend(sequence, payload_type(self.codec) + 1, out);
            return true;
        }
        false
    }
}

impl Layer {
    fn ts(&self, at: Time) -> u32 {
        let ticks = u128::from(at.as_nanos()) * CLOCK / 1_000_000_000;
        // RTP timestamps wrap.
        self.first_ts.wrapping_add(ticks as u32)
    }

    fn send(
        &mut self,
        fields: HeaderFields,
        label: Label,
        payload: &[u8],
        named: bool,
        out: &mut Transmitter,
    ) {
        let seq = self.primary.next;
        let kept = self.history[seq as usize % HISTORY].get_or_insert_with(|| Kept {
            seq,
            fields,
            label,
            payload: Vec::new(),
        });
        (kept.seq, kept.fields, kept.label) = (seq, fields, label);
        kept.payload.clear();
        kept.payload.extend_from_slice(payload);
        let rid = self.rid.as_deref().unwrap_or_default().as_bytes();
        let extensions = [(EXT_MID, CAMERA.as_bytes()), (EXT_RID, rid)];
        let count = match (named, rid.is_empty()) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        let carries = Carried::Video(label);
        out.send_rtp(
            &mut self.primary,
            fields,
            &extensions[..count],
            &[payload],
            carries,
        );
    }

    fn resend(&mut self, sequence: u16, pt: u8, out: &mut Transmitter) {
        let last = self.primary.next.wrapping_sub(1);
        let back = (last as u16).wrapping_sub(sequence);
        let Some(seq) = last.checked_sub(u64::from(back)) else {
            return;
        };
        let Some(kept) = self.history[seq as usize % HISTORY]
            .as_ref()
            .filter(|kept| kept.seq == seq)
        else {
            return;
        };
        let rid = self.rid.as_deref().unwrap_or_default().as_bytes();
        let extensions = [(EXT_MID, CAMERA.as_bytes()), (EXT_REPAIRED_RID, rid)];
        let count = if rid.is_empty() { 1 } else { 2 };
        let fields = HeaderFields {
            payload_type: pt,
            ..kept.fields
        };
        let original = sequence.to_be_bytes();
        let carries = Carried::Video(kept.label);
        out.send_rtp(
            &mut self.rtx,
            fields,
            &extensions[..count],
            &[&original, &kept.payload],
            carries,
        );
    }

    fn report(&self, now: Time, ntp: Ntp, out: &mut Transmitter) {
        let info = SenderInfo {
            ssrc: self.primary.ssrc,
            ntp,
            rtp_timestamp: self.ts(now),
            packet_count: self.primary.packets,
            octet_count: self.primary.octets,
        };
        out.send_rtcp(|buf| sr::write(buf, &info, &[]));
    }
}
