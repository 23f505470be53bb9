//! What a publisher sends: Opus-like packets every 20 ms, and VP8-like pictures of a steady rate whose key
//! frames are larger and whose sizes vary, cut into packets as browsers cut them.
//!
//! The last bytes of each payload say when it was sent, so that whoever opens it knows how long it took.

use std::time::Duration;

use kall_dataplane::time::{Time, WallClock};
use kall_dataplane::wire::rtcp::sr::{self, SenderInfo};
use kall_dataplane::wire::rtp::{HeaderFields, write_header};

use super::sdp::{OPUS, VP8, extension};

/// Marks a payload that ends with the time of its sending.
const STAMP: [u8; 8] = *b"kallload";

/// Bytes of [`STAMP`] and the time.
const STAMP_LEN: usize = 16;

/// Most bytes of a payload: what browsers put into a packet.
const PAYLOAD_MAX: usize = 1_160;

/// A key frame is so many times a usual picture.
const KEY_FACTOR: usize = 4;

/// Between two packets of sound.
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);

/// Payload bytes of a packet of sound: 32 kbit/s.
const AUDIO_BYTES: usize = 80;

/// Between two sender reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// One encoding of a camera.
#[derive(Debug, Clone, Copy)]
pub struct Encoding {
    /// Its `a=rid`; none for the only one.
    pub rid: Option<&'static str>,
    /// Pixels in a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// Bits per second.
    pub bps: u64,
}

/// A camera.
#[derive(Debug, Clone, Copy)]
pub struct Camera {
    /// From small to large.
    pub encodings: &'static [Encoding],
    /// Frames per second.
    pub fps: u32,
}

impl Camera {
    /// Packets of a usual picture of an encoding, and the bytes of each but for headers.
    #[must_use]
    pub fn shape(&self, encoding: &Encoding) -> (usize, usize) {
        let bytes = (encoding.bps / 8 / u64::from(self.fps)) as usize;
        let packets = bytes.div_ceil(PAYLOAD_MAX);
        (packets, bytes.div_ceil(packets))
    }
}

/// Payload bytes of a packet of sound.
#[must_use]
pub const fn audio_bytes() -> usize {
    AUDIO_BYTES
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    sequence: u64,
    packets: u32,
    octets: u32,
}

impl Stream {
    fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            sequence: 1_000,
            packets: 0,
            octets: 0,
        }
    }
}

#[derive(Debug)]
struct Layer {
    encoding: Encoding,
    stream: Stream,
    key_wanted: bool,
}

/// What one publisher sends.
#[derive(Debug)]
pub struct Publisher {
    wall: WallClock,
    audio: Option<(Stream, Time)>,
    /// Volume, 127 the loudest.
    volume: u8,
    camera: Option<Camera>,
    layers: Vec<Layer>,
    picture_at: Time,
    picture_id: u16,
    report_at: Time,
    transport: u16,
    random: u64,
    scratch: Vec<u8>,
}

/// What lies at the beginning of a buffer, to be sealed and sent.
#[derive(Debug, Clone, Copy)]
pub enum Output {
    /// A packet of media.
    Rtp(Plain),
    /// A compound of so many bytes.
    Rtcp(usize),
}

/// A packet as it is to be sealed.
#[derive(Debug, Clone, Copy)]
pub struct Plain {
    /// Of the header.
    pub header_len: usize,
    /// Of the whole packet.
    pub len: usize,
    /// Extended sequence number.
    pub index: u64,
    /// Which stream's; streams are numbered in the order they were made.
    pub stream: usize,
}

impl Publisher {
    /// Silent until [`Self::begin`]. Streams have the SSRCs from `ssrc` on: the microphone's, then the camera's.
    #[must_use]
    pub fn new(wall: WallClock, ssrc: u32, volume: Option<u8>, camera: Option<Camera>) -> Self {
        let layers = camera.iter().flat_map(|camera| camera.encodings);
        Self {
            wall,
            audio: volume.map(|_| (Stream::new(ssrc), Time::FAR_FUTURE)),
            volume: volume.unwrap_or_default(),
            camera,
            layers: layers
                .zip(ssrc + 1..)
                .map(|(encoding, ssrc)| Layer {
                    encoding: *encoding,
                    stream: Stream::new(ssrc),
                    key_wanted: true,
                })
                .collect(),
            picture_at: Time::FAR_FUTURE,
            picture_id: 0,
            report_at: Time::FAR_FUTURE,
            transport: 0,
            random: u64::from(ssrc) | 1,
            scratch: Vec::new(),
        }
    }

    /// Sends from now on. Cameras and microphones of different publishers are not in step.
    pub fn begin(&mut self, now: Time) {
        let shift =
            |interval: Duration| interval * (self.random.wrapping_mul(2_654_435_761) as u32 >> 24) / 256;
        self.picture_at = now + shift(Duration::from_millis(33));
        if let Some((_, at)) = &mut self.audio {
            *at = now + shift(AUDIO_INTERVAL);
        }
        self.report_at = now + REPORT_INTERVAL;
    }

    /// Streams that it sends.
    #[must_use]
    pub fn streams(&self) -> usize {
        usize::from(self.audio.is_some()) + self.layers.len()
    }

    /// A decoder waits for a stream's key frame.
    pub fn on_key_frame_request(&mut self, ssrc: u32) {
        for layer in &mut self.layers {
            layer.key_wanted |= layer.stream.ssrc == ssrc;
        }
    }

    /// When there is something to send.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        let audio = self.audio.as_ref().map_or(Time::FAR_FUTURE, |(_, at)| *at);
        let pictures = if self.layers.is_empty() {
            Time::FAR_FUTURE
        } else {
            self.picture_at
        };
        audio.min(pictures).min(self.report_at)
    }

    /// Makes what is due, each in the buffer given with it, which has room for a tag.
    pub fn poll(&mut self, now: Time, mut out: impl FnMut(&mut [u8], Output)) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(2_048, 0x5a);
        while self.audio.as_ref().is_some_and(|(_, at)| *at <= now) {
            self.sound(now, &mut scratch, &mut out);
        }
        while !self.layers.is_empty() && self.picture_at <= now {
            self.picture(now, &mut scratch, &mut out);
        }
        if self.report_at <= now {
            self.report_at = now + REPORT_INTERVAL;
            self.report(now, &mut scratch, &mut out);
        }
        self.scratch = scratch;
    }

    fn ticks(now: Time, clock: u64) -> u32 {
        // Timestamps wrap.
        (u128::from(now.as_nanos()) * u128::from(clock) / 1_000_000_000) as u32
    }

    fn sound(&mut self, now: Time, buf: &mut [u8], out: &mut impl FnMut(&mut [u8], Output)) {
        let Some((stream, at)) = &mut self.audio else {
            return;
        };
        let fields = HeaderFields {
            marker: false,
            payload_type: OPUS,
            sequence: stream.sequence as u16,
            timestamp: Self::ticks(*at, 48_000),
            ssrc: stream.ssrc,
        };
        *at += AUDIO_INTERVAL;
        self.transport = self.transport.wrapping_add(1);
        let level = [0x80 | (127 - self.volume.min(127))];
        let extensions: [(u8, &[u8]); 3] = [
            (extension::AUDIO_LEVEL, &level),
            (extension::TRANSPORT, &self.transport.to_be_bytes()),
            (extension::MID, b"0"),
        ];
        let Some(header_len) = write_header(buf, &fields, &extensions) else {
            return;
        };
        let len = header_len + AUDIO_BYTES;
        // An Opus packet of one frame of 20 ms (RFC 6716 section 3.1).
        buf[header_len] = 0x78;
        stamp(&mut buf[header_len..len], now);
        let plain = Plain {
            header_len,
            len,
            index: stream.sequence,
            stream: 0,
        };
        count(stream, AUDIO_BYTES);
        out(buf, Output::Rtp(plain));
    }

    fn picture(&mut self, now: Time, buf: &mut [u8], out: &mut impl FnMut(&mut [u8], Output)) {
        let Some(camera) = self.camera else {
            return;
        };
        let timestamp = Self::ticks(self.picture_at, 90_000);
        self.picture_at += Duration::from_secs(1) / camera.fps;
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        let first = usize::from(self.audio.is_some());
        let mid = [b'0' + first as u8];
        for (place, layer) in self.layers.iter_mut().enumerate() {
            let key = std::mem::take(&mut layer.key_wanted);
            let usual = (layer.encoding.bps / 8 / u64::from(camera.fps)) as usize;
            self.random = self
                .random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // A quarter more or less.
            let varied = usual * 3 / 4 + usual * (self.random >> 48) as usize / 2 / 65_536;
            let bytes = if key { usual * KEY_FACTOR } else { varied }.max(64);
            let packets = bytes.div_ceil(PAYLOAD_MAX);
            for number in 0..packets {
                let payload = bytes * (number + 1) / packets - bytes * number / packets;
                let fields = HeaderFields {
                    marker: number + 1 == packets,
                    payload_type: VP8,
                    sequence: layer.stream.sequence as u16,
                    timestamp,
                    ssrc: layer.stream.ssrc,
                };
                self.transport = self.transport.wrapping_add(1);
                let transport = self.transport.to_be_bytes();
                let rid = layer.encoding.rid.unwrap_or_default().as_bytes();
                let extensions: [(u8, &[u8]); 3] = [
                    (extension::TRANSPORT, &transport),
                    (extension::MID, &mid),
                    (extension::RID, rid),
                ];
                let extensions = &extensions[..if rid.is_empty() { 2 } else { 3 }];
                let Some(header_len) = write_header(buf, &fields, extensions) else {
                    return;
                };
                let len = header_len + payload;
                describe(
                    &mut buf[header_len..len],
                    number == 0,
                    key,
                    self.picture_id,
                    &layer.encoding,
                );
                stamp(&mut buf[header_len..len], now);
                let plain = Plain {
                    header_len,
                    len,
                    index: layer.stream.sequence,
                    stream: first + place,
                };
                count(&mut layer.stream, payload);
                out(buf, Output::Rtp(plain));
            }
        }
    }

    fn report(&mut self, now: Time, buf: &mut [u8], out: &mut impl FnMut(&mut [u8], Output)) {
        let audio = self.audio.iter().map(|(stream, _)| (stream, 48_000));
        let video = self.layers.iter().map(|layer| (&layer.stream, 90_000));
        for (stream, clock) in audio.chain(video) {
            let info = SenderInfo {
                ssrc: stream.ssrc,
                ntp: self.wall.ntp(now),
                rtp_timestamp: Self::ticks(now, clock),
                packet_count: stream.packets,
                octet_count: stream.octets,
            };
            if let Some(len) = sr::write(buf, &info, &[]) {
                out(buf, Output::Rtcp(len));
            }
        }
    }
}

fn count(stream: &mut Stream, payload: usize) {
    stream.sequence += 1;
    stream.packets = stream.packets.wrapping_add(1);
    stream.octets = stream.octets.wrapping_add(payload as u32);
}

/// The payload descriptor (RFC 7741 section 4.2) with a long picture id, and at the start of a picture its
/// header (section 4.3).
fn describe(payload: &mut [u8], start: bool, key: bool, picture_id: u16, encoding: &Encoding) {
    payload[..4].copy_from_slice(&[
        if start { 0x90 } else { 0x80 },
        0x80,
        0x80 | (picture_id >> 8) as u8,
        picture_id as u8,
    ]);
    if !start {
        return;
    }
    let header = &mut payload[4..14];
    header[0] = u8::from(!key);
    if key {
        header[1..3].fill(0);
        header[3..6].copy_from_slice(&[0x9d, 0x01, 0x2a]);
        header[6..8].copy_from_slice(&encoding.width.to_le_bytes());
        header[8..10].copy_from_slice(&encoding.height.to_le_bytes());
    }
}

fn stamp(payload: &mut [u8], now: Time) {
    let at = payload.len() - STAMP_LEN;
    payload[at..at + 8].copy_from_slice(&STAMP);
    payload[at + 8..].copy_from_slice(&now.as_nanos().to_be_bytes());
}

/// When a payload was sent, if it says so.
#[must_use]
pub fn stamped(payload: &[u8]) -> Option<Time> {
    let (rest, nanos) = payload.split_last_chunk::<8>()?;
    rest.ends_with(&STAMP)
        .then(|| Time::from_nanos(u64::from_be_bytes(*nanos)))
}

#[cfg(test)]
mod tests {
    use kall_dataplane::wire::rtp::Packet;

    use super::*;

    const CAMERA: Camera = Camera {
        encodings: &[Encoding {
            rid: None,
            width: 1280,
            height: 720,
            bps: 1_500_000,
        }],
        fps: 30,
    };

    #[test]
    fn a_second_is_as_much_as_was_asked_for() {
        let wall = WallClock::new(Duration::from_secs(1_700_000_000));
        let mut publisher = Publisher::new(wall, 7, Some(100), Some(CAMERA));
        publisher.begin(Time::ZERO);
        let (mut sound, mut pictures, mut bytes, mut reports) = (0, 0, 0, 0);
        for millis in 0..=1_000 {
            let now = Time::from_millis(millis);
            publisher.poll(now, |buf, output| {
                let Output::Rtp(plain) = output else {
                    reports += 1;
                    return;
                };
                let packet = Packet::parse(&buf[..plain.len]).unwrap();
                assert_eq!(stamped(packet.payload()), Some(now));
                if packet.payload_type() == OPUS {
                    sound += 1;
                } else {
                    pictures += u32::from(packet.marker());
                    bytes += packet.payload().len();
                }
            });
        }
        assert!((50..=51).contains(&sound) && (30..=31).contains(&pictures));
        assert_eq!(reports, 2);
        // One key frame of four pictures' size.
        let usual = 1_500_000 / 8;
        assert!((usual * 95 / 100..usual * 125 / 100).contains(&bytes), "{bytes}");
    }
}
