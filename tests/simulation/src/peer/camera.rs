//! A published camera: one encoder and two RTP streams for each layer, and answers to what the server asks.

use std::time::Duration;

use kall_dataplane::time::{Ntp, Time};
use kall_dataplane::wire::rtcp::sr::{self, SenderInfo};
use kall_dataplane::wire::rtp::HeaderFields;
use kall_network::Random;
use kall_shared::media::Codec;

use super::encoder::{Encoder, period};
use super::negotiation::{CAMERA, EXT_DEPENDENCIES, EXT_MID, EXT_REPAIRED_RID, EXT_RID, payload_type};
use super::transmitter::{Carried, RtpStream, Transmitter};
use crate::codec::{Dependence, Form, IdWidth, Label, Source};
use crate::scenario::{LayerSpec, Video};

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
    /// The dependency descriptor; empty where there is none.
    descriptor: Vec<u8>,
    payload: Vec<u8>,
}

/// One encoding on its way, of one layer or of all in one stream.
#[derive(Debug)]
struct Layer {
    source: Source,
    rid: Option<String>,
    form: Form,
    encoder: Encoder,
    /// Which of its spatial layers are wanted.
    wanted: Vec<bool>,
    /// Pictures of the lowest temporal layer.
    lowest: u32,
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
        // One stream has all layers, or each layer has one.
        let streams: Vec<&[LayerSpec]> = match video.scalable {
            Some(_) => vec![&video.layers],
            None => video.layers.chunks(1).collect(),
        };
        let single = streams.len() == 1;
        let dependence = video.scalable.unwrap_or(Dependence::Every);
        let mut layers: Vec<Layer> = (0u8..)
            .zip(streams)
            .map(|(layer, specs)| Layer {
                source: Source { peer, layer },
                rid: (!single).then(|| specs[0].rid.clone()),
                form: Form::new(video, IdWidth::Long, sizes(specs), 0),
                encoder: Encoder::new(specs, dependence, video.fps, temporal, random.split()),
                wanted: vec![true; specs.len()],
                lowest: 0,
                primary: RtpStream::new(random.bits() as u32, random.below(1 << 15) as u16),
                rtx: RtpStream::new(random.bits() as u32, random.below(1 << 15) as u16),
                first_ts: random.bits() as u32,
                next_picture: 0,
                history: (0..HISTORY).map(|_| None).collect(),
                next_report: start + REPORT_INTERVAL / 2,
                requests: Vec::new(),
            })
            .collect();
        let width = if random.chance(0.5) {
            IdWidth::Long
        } else {
            IdWidth::Short
        };
        if video.codec != Codec::Vp8 {
            // It draws for itself, or scenarios with VP8 would be others than before.
            let bits = random.clone().bits();
            for layer in &mut layers {
                layer.form = Form::new(video, width, layer.form.sizes.clone(), bits);
            }
        } else {
            for layer in &mut layers {
                layer.form.width = width;
            }
        }
        Self {
            codec: video.codec,
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

    /// Obeys a message of dynacast, which names layers of one stream by their numbers.
    pub(crate) fn set_active(&mut self, rid: &str, active: bool) {
        for layer in &mut self.layers {
            match (&layer.rid, rid.parse::<usize>()) {
                (Some(own), _) if own == rid => layer.wanted[0] = active,
                (None, Ok(number)) if number < layer.wanted.len() => layer.wanted[number] = active,
                _ => continue,
            }
            // What lies below a layer is needed for it.
            let highest = layer.wanted.iter().rposition(|wanted| *wanted);
            layer.encoder.set_layers(highest.map_or(0, |highest| highest + 1));
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
                    self.send_picture(index, captured, out);
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

    fn send_picture(&mut self, index: usize, captured: Time, out: &mut Transmitter) {
        let layer = &mut self.layers[index];
        let named = captured.since(self.start) < NAMED;
        for frame in layer.encoder.encode() {
            if frame.spatial == 0 && frame.ids.temporal == 0 {
                layer.lowest += 1;
            }
            let parameters = usize::from(self.codec == Codec::H264 && frame.key);
            let packets = layer.form.packets(frame.bytes) + parameters;
            let packets = u8::try_from(packets).expect("frames are bounded");
            for packet in 0..packets {
                let label = Label {
                    source: layer.source,
                    key: frame.key,
                    frame: frame.number,
                    packet,
                    packets,
                    before: frame.before,
                    below: frame.below,
                    captured: captured.as_nanos(),
                    picture: frame.picture,
                    lowest: layer.lowest,
                    spatial: frame.spatial,
                    layers: frame.layers,
                    temporal: frame.ids.temporal,
                };
                self.payload.clear();
                layer.form.write(&frame, &label, &mut self.payload);
                let descriptor = layer.form.describe(&frame, &label);
                let fields = HeaderFields {
                    marker: label.ends() && frame.ends_picture(),
                    payload_type: payload_type(self.codec),
                    timestamp: layer.ts(captured),
                    ..HeaderFields::default()
                };
                layer.send(fields, label, (&descriptor, &self.payload), named, out);
            }
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
        (descriptor, payload): (&[u8], &[u8]),
        named: bool,
        out: &mut Transmitter,
    ) {
        let seq = self.primary.next;
        let kept = self.history[seq as usize % HISTORY].get_or_insert_with(|| Kept {
            seq,
            fields,
            label,
            descriptor: Vec::new(),
            payload: Vec::new(),
        });
        (kept.seq, kept.fields, kept.label) = (seq, fields, label);
        kept.descriptor.clear();
        kept.descriptor.extend_from_slice(descriptor);
        kept.payload.clear();
        kept.payload.extend_from_slice(payload);
        let rid = self.rid.as_deref().unwrap_or_default().as_bytes();
        let names = named.then_some((EXT_MID, CAMERA.as_bytes()));
        let rid = (named && !rid.is_empty()).then_some((EXT_RID, rid));
        let extensions = extensions(names, rid, descriptor);
        let carries = Carried::Video(label);
        out.send_rtp(&mut self.primary, fields, &extensions, &[payload], carries);
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
        let rid = (!rid.is_empty()).then_some((EXT_REPAIRED_RID, rid));
        let extensions = extensions(Some((EXT_MID, CAMERA.as_bytes())), rid, &kept.descriptor);
        let fields = HeaderFields {
            payload_type: pt,
            ..kept.fields
        };
        let original = sequence.to_be_bytes();
        let carries = Carried::Video(kept.label);
        let payload = [&original[..], &kept.payload];
        out.send_rtp(&mut self.rtx, fields, &extensions, &payload, carries);
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

fn sizes(specs: &[LayerSpec]) -> Vec<(u16, u16)> {
    specs.iter().map(|spec| (spec.width, spec.height)).collect()
}

/// Those header extensions that there are.
fn extensions<'a>(
    mid: Option<(u8, &'a [u8])>,
    rid: Option<(u8, &'a [u8])>,
    descriptor: &'a [u8],
) -> Vec<(u8, &'a [u8])> {
    let described = (!descriptor.is_empty()).then_some((EXT_DEPENDENCIES, descriptor));
    [mid, rid, described].into_iter().flatten().collect()
}
