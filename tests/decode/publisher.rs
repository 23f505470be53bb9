//! The sending side: plays a clip in three layers, each in a stream of its own or all in one, and does what the server
//! asks for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kall_dataplane::time::{Ntp, Time};
use kall_dataplane::wire::rtcp::sr::SenderInfo;
use kall_dataplane::wire::rtcp::{self, Rtcp};
use kall_dataplane::wire::rtp::{HeaderFields, write_header};

use kall_shared::media::Codec;

use crate::call::formats;
use crate::clip::{Clip, Coding, Frame, Layering, Leaning, RATE};
use crate::dependencies::Dependencies;
use crate::transport::{Opened, Transport};

/// Rids of the layers, the smallest first.
pub(crate) const RIDS: [&str; 3] = ["q", "h", "f"];

/// When the first picture is sent; checks are done by then.
const START: Time = Time::from_millis(300);

const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A layer's streams, or those of all layers.
struct Stream {
    /// None where it is the only one.
    rid: Option<&'static str>,
    /// The layers that are in it.
    layers: Range<usize>,
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
    /// Frames that were sent; a picture has one of each of its layers.
    frame: u16,
    /// What was sent, by number.
    history: BTreeMap<u64, (HeaderFields, Bytes, Vec<u8>)>,
    octets: u32,
}

pub(crate) struct Publisher {
    pub(crate) transport: Transport,
    clip: Arc<Clip>,
    streams: Vec<Stream>,
    dependencies: Dependencies,
    pictures: u64,
    transport_seq: u16,
    next_report: Time,
    /// Requests for key frames that came.
    pub(crate) plis: u64,
}

impl Publisher {
    pub(crate) fn new(transport: Transport, clip: Arc<Clip>) -> Self {
        let streams = match clip.coding.layers {
            Layering::Simulcast | Layering::Temporal => (0..3)
                .map(|layer| Stream::new(Some(RIDS[layer]), layer..layer + 1))
                .collect(),
            Layering::Svc(_) => vec![Stream::new(None, 0..3)],
        };
        Self {
            transport,
            dependencies: Dependencies::new(&clip),
            clip,
            streams,
            pictures: 0,
            transport_seq: 65_000,
            next_report: Time::ZERO,
            plis: 0,
        }
    }

    /// The server says whether a layer is wanted; one that comes back begins with a key frame. Those of one stream go on
    /// as they are: that nobody takes them is an offer to save, not an order.
    pub(crate) fn on_dynacast(&mut self, rid: &str, wanted: bool) {
        if self.clip.coding.leaning().is_some() {
            return;
        }
        let stream = self.streams.iter_mut().find(|stream| stream.rid == Some(rid));
        let stream = stream.expect("one of ours");
        stream.key_wanted |= wanted && !stream.active;
        stream.active = wanted;
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
            for stream in 0..self.streams.len() {
                self.send_picture(stream, at);
            }
        }
        if now >= self.next_report && now >= START {
            self.next_report = now + REPORT_INTERVAL;
            for stream in 0..self.streams.len() {
                self.send_report(stream, now);
            }
        }
    }

    fn send_picture(&mut self, index: usize, at: Time) {
        let stream = &mut self.streams[index];
        if !stream.active {
            return;
        }
        let clip = self.clip.clone();
        let lowest = stream.layers.start;
        let wanted = std::mem::take(&mut stream.key_wanted);
        if wanted || clip.frame(lowest, stream.group, stream.index).is_none() {
            (stream.group, stream.index) = (stream.group + 1, 0);
        }
        let frames: Vec<&Frame> = (stream.layers.clone())
            .map(|layer| {
                let frame = clip.frame(layer, stream.group, stream.index);
                frame.expect("a group has a first")
            })
            .collect();
        stream.index += 1;
        stream.count(frames[0]);
        for (number, frame) in frames.iter().enumerate() {
            let stream = &mut self.streams[index];
            stream.frame = stream.frame.wrapping_add(1);
            self.send_frame(index, frame, number + 1 == frames.len(), at);
        }
    }

    fn send_frame(&mut self, index: usize, frame: &Frame, ends_picture: bool, at: Time) {
        let stream = &mut self.streams[index];
        let coding = self.clip.coding;
        let last = frame.payloads.len() - 1;
        for (number, payload) in frame.payloads.iter().enumerate() {
            let edges = (number == 0, number == last);
            let payload = match coding.codec {
                Codec::Vp8 => stream.described(coding, frame, payload),
                Codec::Vp9 => stream.described_vp9(&self.clip, frame, payload, edges),
                _ => payload.clone(),
            };
            let dependencies = if coding.codec == Codec::Av1 {
                self.dependencies.describe(frame, stream.frame, edges)
            } else {
                Vec::new()
            };
            let fields = HeaderFields {
                marker: ends_picture && number == last,
                payload_type: formats(coding).pt,
                sequence: stream.seq as u16,
                timestamp: stream.timestamp(at),
                ssrc: stream.ssrc,
            };
            stream.octets += payload.len() as u32;
            let sent = (fields, payload.clone(), dependencies.clone());
            stream.history.insert(stream.seq, sent);
            stream.seq += 1;
            let rid = stream.rid.map(|rid| (formats::RID, rid));
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
        let stream = &self.streams[index];
        if stream.history.is_empty() {
            return;
        }
        let info = SenderInfo {
            ssrc: stream.ssrc,
            ntp: Ntp::from_unix(Duration::from_secs(1_700_000_000) + Duration::from_nanos(now.as_nanos())),
            rtp_timestamp: stream.timestamp(now),
            packet_count: stream.history.len() as u32,
            octet_count: stream.octets,
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
                    let mut streams = self.streams.iter_mut();
                    let stream = streams.find(|stream| stream.ssrc == pli.media_ssrc);
                    stream.expect("one of ours").key_wanted = true;
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
        let stream = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc);
        let stream = stream.expect("one of ours");
        let back = (stream.seq as u16).wrapping_sub(sequence);
        let seq = stream.seq.checked_sub(u64::from(back));
        let Some((fields, payload, dependencies)) = seq.and_then(|seq| stream.history.get(&seq)) else {
            return;
        };
        let fields = HeaderFields {
            payload_type: formats(self.clip.coding).rtx_pt,
            sequence: stream.rtx_seq,
            ssrc: stream.rtx_ssrc,
            ..*fields
        };
        stream.rtx_seq = stream.rtx_seq.wrapping_add(1);
        let original = [&sequence.to_be_bytes()[..], payload].concat();
        let rid = stream.rid.map(|rid| (formats::REPAIRED_RID, rid));
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

impl Stream {
    fn new(rid: Option<&'static str>, layers: Range<usize>) -> Self {
        let number = layers.start as u32 + 1;
        Self {
            rid,
            layers,
            ssrc: 100 * number,
            rtx_ssrc: 100 * number + 1,
            // Near the wraps, which each stream passes in the first seconds.
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
            frame: 0xffd0,
            history: BTreeMap::new(),
            octets: 0,
        }
    }

    fn timestamp(&self, at: Time) -> u32 {
        let ticks = u128::from(at.as_nanos()) * 90_000 / 1_000_000_000;
        self.first_ts.wrapping_add(ticks as u32)
    }

    fn count(&mut self, frame: &Frame) {
        self.picture_id = self.picture_id.wrapping_add(1);
        self.tl0 = self.tl0.wrapping_add(u8::from(frame.place.temporal == 0));
        self.key = (self.key + u8::from(frame.place.is_key())) & 0x1f;
    }

    /// A VP8 payload with the descriptor that the `rtp` crate does not write (RFC 7741 section 4.2): the
    /// picture's id, and in temporal layers the other three fields.
    fn described(&self, coding: Coding, frame: &Frame, payload: &Bytes) -> Bytes {
        let mut out = vec![payload[0] | 0x80];
        let id = (self.picture_id | 0x8000).to_be_bytes();
        if coding.is_temporal() {
            let place = frame.place;
            out.push(0xf0);
            out.extend(id);
            out.extend([
                self.tl0,
                place.temporal << 6 | u8::from(place.sync) << 5 | self.key,
            ]);
        } else {
            out.push(0x80);
            out.extend(id);
        }
        out.extend_from_slice(&payload[1..]);
        out.into()
    }

    /// A VP9 payload with its descriptor (RFC 9628 section 4.2): the picture's id, and the structure with a key picture.
    /// Layers that lean on each other in key pictures only come in the mode that browsers use for them, where the pattern
    /// of a period stands in the structure; those that always do in the other one, where each frame names what it
    /// leans on.
    fn described_vp9(
        &self,
        clip: &Clip,
        frame: &Frame,
        payload: &Bytes,
        (starts, ends): (bool, bool),
    ) -> Bytes {
        let place = frame.place;
        let leaning = clip.coding.leaning();
        let flexible = leaning == Some(Leaning::Always);
        let structured = place.is_key() && starts && place.spatial == 0;
        let is_top = place.spatial == 2;
        let unneeded = match leaning {
            None => true,
            Some(Leaning::Always) => is_top,
            Some(Leaning::KeyPictures) => is_top || !place.is_key(),
        };
        let mut out = vec![
            0x80 | u8::from(!place.is_key()) << 6
                | u8::from(leaning.is_some()) << 5
                | u8::from(flexible) << 4
                | u8::from(starts) << 3
                | u8::from(ends) << 2
                | u8::from(structured) << 1
                | u8::from(unneeded),
        ];
        out.extend((self.picture_id | 0x8000).to_be_bytes());
        if leaning.is_some() {
            out.push(
                place.temporal << 5 | u8::from(place.sync) << 4 | place.spatial << 1 | u8::from(place.below),
            );
            match place.earlier {
                _ if !flexible => out.push(self.tl0),
                Some(earlier) => out.push((earlier as u8) << 1),
                None => {}
            }
        }
        if structured {
            let sizes = leaning.map_or_else(|| vec![frame.size], |_| clip.sizes());
            let grouped = leaning == Some(Leaning::KeyPictures);
            out.push((sizes.len() as u8 - 1) << 5 | 0x10 | u8::from(grouped) << 3);
            for (width, height) in sizes {
                out.extend([width, height].map(u16::to_be_bytes).concat());
            }
            if grouped {
                // Four pictures; of each the layer, whether a receiver may step up, and what it leans on.
                out.extend([4, 0x04, 4, 0x54, 1, 0x34, 2, 0x44, 1]);
            }
        }
        out.extend_from_slice(payload);
        out.into()
    }
}

fn send(
    transport: &mut Transport,
    transport_seq: &mut u16,
    fields: &HeaderFields,
    rid: Option<(u8, &str)>,
    dependencies: &[u8],
    payload: &[u8],
) {
    let number = transport_seq.to_be_bytes();
    *transport_seq = transport_seq.wrapping_add(1);
    let mut elements = vec![(formats::MID, &b"0"[..]), (formats::TRANSPORT, &number[..])];
    elements.extend(rid.map(|(id, rid)| (id, rid.as_bytes())));
    if !dependencies.is_empty() {
        elements.push((formats::DESCRIPTOR, dependencies));
    }
    let mut packet = vec![0; 400];
    let len = write_header(&mut packet, fields, &elements).expect("a header fits");
    packet.truncate(len);
    packet.extend_from_slice(payload);
    transport.send_rtp(&packet);
}
