//! The sending side: plays a clip in three layers, and does what the server asks for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kall_dataplane::codec::FrameSize;
use kall_dataplane::codec::dependency_descriptor::{
    CHAINS_MAX, Descriptor, Indication, LEN_MAX, Mandatory, References, Structure, TARGETS_MAX, Template,
};
use kall_dataplane::time::{Ntp, Time};
use kall_dataplane::wire::rtcp::sr::SenderInfo;
use kall_dataplane::wire::rtcp::{self, Rtcp};
use kall_dataplane::wire::rtp::{HeaderFields, write_header};

use crate::call::formats;
use crate::clip::{Clip, Coding, Frame, RATE};
use crate::transport::{Opened, Transport};

/// Rids of the layers, the smallest first.
pub(crate) const RIDS: [&str; 3] = ["q", "h", "f"];

/// When the first picture is sent; checks are done by then.
const START: Time = Time::from_millis(300);

const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// One layer's streams.
struct Layer {
    rid: &'static str,
    ssrc: u32,
    rtx_ssrc: u32,
    seq: u64,
    rtx_seq: u16,
    first_ts: u32,
    group: usize,
    index: usize,
    key_wanted: bool,
    /// Whether anybody takes it, as the server told.
    active: bool,
    picture_id: u16,
    tl0: u8,
    key: u8,
    /// What was sent, by number.
    history: BTreeMap<u64, (HeaderFields, Bytes, Vec<u8>)>,
    octets: u32,
}

pub(crate) struct Publisher {
    pub(crate) transport: Transport,
    clip: Arc<Clip>,
    layers: [Layer; 3],
    pictures: u64,
    transport_seq: u16,
    next_report: Time,
    /// Requests for key frames that came.
    pub(crate) plis: u64,
}

impl Publisher {
    pub(crate) fn new(transport: Transport, clip: Arc<Clip>) -> Self {
        let mut number = 0;
        let layers = RIDS.map(|rid| {
            number += 1;
            Layer {
                rid,
                ssrc: 100 * number,
                rtx_ssrc: 100 * number + 1,
                // Near the wraps, which each layer passes in the first seconds.
                seq: 65_400,
                rtx_seq: 65_530,
                first_ts: u32::MAX - 100_000 * number,
                group: 0,
                index: 0,
                key_wanted: false,
                active: true,
                picture_id: 0x7fe0 - number as u16,
                tl0: 250,
                key: 30,
                history: BTreeMap::new(),
                octets: 0,
            }
        });
        Self {
            transport,
            clip,
            layers,
            pictures: 0,
            transport_seq: 65_000,
            next_report: Time::ZERO,
            plis: 0,
        }
    }

    /// The server says whether a layer is wanted; one that comes back begins with a key frame.
    pub(crate) fn on_dynacast(&mut self, rid: &str, wanted: bool) {
        let layer = self.layers.iter_mut().find(|layer| layer.rid == rid);
        let layer = layer.expect("one of ours");
        layer.key_wanted |= wanted && !layer.active;
        layer.active = wanted;
    }

    /// When the next picture is due.
    fn next_picture(&self) -> Time {
        START + Duration::from_nanos(self.pictures * 1_000_000_000 / RATE)
    }

    pub(crate) fn tick(&mut self, now: Time) {
        self.transport.tick(now);
        if !self.transport.connected {
            return;
        }
        while self.next_picture() <= now {
            let at = self.next_picture();
            self.pictures += 1;
            for layer in 0..self.layers.len() {
                self.send_picture(layer, at);
            }
        }
        if now >= self.next_report && now >= START {
            self.next_report = now + REPORT_INTERVAL;
            for layer in 0..self.layers.len() {
                self.send_report(layer, now);
            }
        }
    }

    fn send_picture(&mut self, index: usize, at: Time) {
        let layer = &mut self.layers[index];
        if !layer.active {
            return;
        }
        let clip = self.clip.clone();
        let next = if std::mem::take(&mut layer.key_wanted) {
            None
        } else {
            clip.frame(index, layer.group, layer.index)
        };
        let frame = next.unwrap_or_else(|| {
            (layer.group, layer.index) = (layer.group + 1, 0);
            clip.frame(index, layer.group, 0).expect("a group has a first")
        });
        layer.index += 1;
        layer.count(frame);
        let last = frame.payloads.len() - 1;
        for (number, payload) in frame.payloads.iter().enumerate() {
            let payload = match clip.coding {
                Coding::Vp8 | Coding::Vp8Temporal => layer.described(clip.coding, frame, payload),
                Coding::Vp9 => layer.described_vp9(frame, payload, (number == 0, number == last)),
                Coding::H264 | Coding::Av1 => payload.clone(),
            };
            let dependencies = if clip.coding == Coding::Av1 {
                layer.dependencies(frame, number == 0, number == last)
            } else {
                Vec::new()
            };
            let fields = HeaderFields {
                marker: number == last,
                payload_type: formats(clip.coding).pt,
                sequence: layer.seq as u16,
                timestamp: layer.timestamp(at),
                ssrc: layer.ssrc,
            };
            layer.octets += payload.len() as u32;
            let sent = (fields, payload.clone(), dependencies.clone());
            layer.history.insert(layer.seq, sent);
            layer.seq += 1;
            let rid = (formats::RID, layer.rid);
            send(
                &mut self.transport,
                &mut self.transport_seq,
                &fields,
                rid,
                &dependencies,
                &payload,
            );
        }
    }

    fn send_report(&mut self, index: usize, now: Time) {
        let layer = &self.layers[index];
        if layer.history.is_empty() {
            return;
        }
        let info = SenderInfo {
            ssrc: layer.ssrc,
            ntp: Ntp::from_unix(Duration::from_secs(1_700_000_000) + Duration::from_nanos(now.as_nanos())),
            rtp_timestamp: layer.timestamp(now),
            packet_count: layer.history.len() as u32,
            octet_count: layer.octets,
        };
        let mut buf = [0; 200];
        let len = rtcp::sr::write(&mut buf, &info, &[]).expect("a report fits");
        self.transport.send_rtcp(&buf[..len]);
    }

    pub(crate) fn handle_datagram(&mut self, data: &[u8]) {
        let Opened::Rtcp(plain) = self.transport.open(data) else {
            return;
        };
        for message in rtcp::packets(&plain) {
            match message.expect("well-formed") {
                Rtcp::Pli(pli) => {
                    self.plis += 1;
                    let layer = self.layers.iter_mut().find(|layer| layer.ssrc == pli.media_ssrc);
                    layer.expect("one of ours").key_wanted = true;
                }
                Rtcp::Nack(nack) => {
                    let lost: Vec<u16> = nack.lost().collect();
                    for sequence in lost {
                        self.resend(nack.media_ssrc(), sequence);
                    }
                }
                _ => {}
            }
        }
    }

    /// A packet once more, on the stream for that (RFC 4588).
    fn resend(&mut self, ssrc: u32, sequence: u16) {
        let layer = self.layers.iter_mut().find(|layer| layer.ssrc == ssrc);
        let layer = layer.expect("one of ours");
        let back = (layer.seq as u16).wrapping_sub(sequence);
        let seq = layer.seq.checked_sub(u64::from(back));
        let Some((fields, payload, dependencies)) = seq.and_then(|seq| layer.history.get(&seq)) else {
            return;
        };
        let fields = HeaderFields {
            payload_type: formats(self.clip.coding).rtx_pt,
            sequence: layer.rtx_seq,
            ssrc: layer.rtx_ssrc,
            ..*fields
        };
        layer.rtx_seq = layer.rtx_seq.wrapping_add(1);
        let original = [&sequence.to_be_bytes()[..], payload].concat();
        let rid = (formats::REPAIRED_RID, layer.rid);
        send(
            &mut self.transport,
            &mut self.transport_seq,
            &fields,
            rid,
            dependencies,
            &original,
        );
    }
}

impl Layer {
    fn timestamp(&self, at: Time) -> u32 {
        let ticks = u128::from(at.as_nanos()) * 90_000 / 1_000_000_000;
        self.first_ts.wrapping_add(ticks as u32)
    }

    fn count(&mut self, frame: &Frame) {
        self.picture_id = self.picture_id.wrapping_add(1);
        self.tl0 = self.tl0.wrapping_add(u8::from(frame.temporal.layer == 0));
        self.key = (self.key + u8::from(frame.is_key)) & 0x1f;
    }

    /// A VP8 payload with the descriptor that the `rtp` crate does not write (RFC 7741 section 4.2): the
    /// picture's id, and in temporal layers the other three fields.
    fn described(&self, coding: Coding, frame: &Frame, payload: &Bytes) -> Bytes {
        let mut out = vec![payload[0] | 0x80];
        let id = (self.picture_id | 0x8000).to_be_bytes();
        if coding == Coding::Vp8 {
            out.push(0x80);
            out.extend(id);
        } else {
            let temporal = frame.temporal;
            out.push(0xf0);
            out.extend(id);
            out.extend([
                self.tl0,
                temporal.layer << 6 | u8::from(temporal.sync) << 5 | self.key,
            ]);
        }
        out.extend_from_slice(&payload[1..]);
        out.into()
    }

    /// A VP9 payload with its descriptor (RFC 9628 section 4.2): the picture's id, and sizes with a key frame.
    fn described_vp9(&self, frame: &Frame, payload: &Bytes, (starts, ends): (bool, bool)) -> Bytes {
        let sized = frame.is_key && starts;
        let mut out = vec![
            0x81 | u8::from(!frame.is_key) << 6
                | u8::from(starts) << 3
                | u8::from(ends) << 2
                | u8::from(sized) << 1,
        ];
        out.extend((self.picture_id | 0x8000).to_be_bytes());
        if sized {
            out.push(0x10);
            let (width, height) = frame.size;
            out.extend([width, height].map(u16::to_be_bytes).concat());
        }
        out.extend_from_slice(payload);
        out.into()
    }

    /// An AV1 packet's dependency descriptor: one layer, each picture leans on the one before.
    fn dependencies(&self, frame: &Frame, start_of_frame: bool, end_of_frame: bool) -> Vec<u8> {
        let template = |references: &[u16], chain: u8| {
            let mut own = Template {
                spatial: 0,
                temporal: 0,
                indications: [Indication::Switch; TARGETS_MAX],
                references: References::default(),
                chains: [chain; CHAINS_MAX],
            };
            for distance in references {
                assert!(own.references.push(*distance));
            }
            own
        };
        let templates = [template(&[], 0), template(&[1], 1)];
        let (width, height) = frame.size;
        // All layers have the same ids: it is the server that must tell them apart.
        let structure = Structure::new(0, &templates, 1, &[0], 1, Some(&[FrameSize { width, height }]));
        let structure = structure.expect("well-formed");
        let index = usize::from(!frame.is_key);
        let Template {
            spatial,
            temporal,
            indications,
            references,
            chains,
        } = templates[index];
        let descriptor = Descriptor {
            mandatory: Mandatory {
                start_of_frame,
                end_of_frame,
                template_id: index as u8,
                frame_number: self.picture_id,
            },
            attached: (frame.is_key && start_of_frame).then(|| structure.clone()),
            active_targets: None,
            spatial,
            temporal,
            indications,
            references,
            chains,
        };
        let mut buf = [0; LEN_MAX];
        let len = descriptor.write(Some(&structure), &mut buf).expect("fits");
        buf[..len].to_vec()
    }
}

fn send(
    transport: &mut Transport,
    transport_seq: &mut u16,
    fields: &HeaderFields,
    rid: (u8, &str),
    dependencies: &[u8],
    payload: &[u8],
) {
    let number = transport_seq.to_be_bytes();
    *transport_seq = transport_seq.wrapping_add(1);
    let elements = [
        (formats::MID, &b"0"[..]),
        (rid.0, rid.1.as_bytes()),
        (formats::TRANSPORT, &number),
        (formats::DESCRIPTOR, dependencies),
    ];
    let count = elements.len() - usize::from(dependencies.is_empty());
    let mut packet = vec![0; 200];
    let len = write_header(&mut packet, fields, &elements[..count]).expect("a header fits");
    packet.truncate(len);
    packet.extend_from_slice(payload);
    transport.send_rtp(&packet);
}
