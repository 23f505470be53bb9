//! Payloads that know what they are: every byte can be checked at the far end.

use kall_dataplane::codec::vp8::Descriptor;

use crate::random::Random;

/// Milliseconds of capture, number, publisher, packet and packets.
const LABEL_LEN: usize = 8 + 8 + 1 + 1 + 1;

/// Body of a full video packet.
const VIDEO_BODY: usize = 1000;

/// Body of an audio packet: 32 kbit/s in packets of 20 ms.
const AUDIO_BODY: usize = 80;

/// What a payload says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label {
    /// Whose it is.
    pub(crate) publisher: u8,
    /// Number of the frame; of the packet, for audio.
    pub(crate) number: u64,
    pub(crate) packet: u8,
    pub(crate) packets: u8,
    /// When it was captured, in milliseconds of the simulation.
    pub(crate) captured: u64,
}

impl Label {
    fn body(&self, len: usize) -> Vec<u8> {
        let mut body = Vec::with_capacity(len);
        body.extend_from_slice(&self.captured.to_be_bytes());
        body.extend_from_slice(&self.number.to_be_bytes());
        body.extend_from_slice(&[self.publisher, self.packet, self.packets]);
        let filler = Random::new(self.number << 8 | u64::from(self.packet)).bytes(len - LABEL_LEN);
        body.extend_from_slice(&filler);
        body
    }

    /// The label of a body, if every other byte of it is what it must be.
    fn read(body: &[u8]) -> Option<Self> {
        let (captured, rest) = body.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let [publisher, packet, packets, ..] = *rest else {
            return None;
        };
        let label = Self {
            publisher,
            captured: u64::from_be_bytes(*captured),
            number: u64::from_be_bytes(*number),
            packet,
            packets,
        };
        (label.body(body.len()) == body).then_some(label)
    }
}

/// An Opus packet: a table of contents byte (SILK, wide band, 20 ms), and what passes for sound.
pub(crate) fn audio(label: &Label) -> Vec<u8> {
    let mut payload = vec![0x48];
    payload.extend_from_slice(&label.body(AUDIO_BODY));
    payload
}

pub(crate) fn read_audio(payload: &[u8]) -> Option<Label> {
    Label::read(payload.get(1..)?)
}

/// How a simulated encoder counts pictures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PictureCount {
    pub(crate) picture_id: u16,
    /// 15 bits, else 7.
    pub(crate) long: bool,
    pub(crate) tl0: u8,
    pub(crate) key: u8,
}

/// A VP8 packet (RFC 7741 section 4.2, RFC 6386 section 9.1), with every optional field.
pub(crate) fn video(label: &Label, is_key: bool, count: &PictureCount) -> Vec<u8> {
    let starts = label.packet == 0;
    let mut payload = vec![0x80 | if starts { 0x10 } else { 0 }, 0xf0];
    if count.long {
        payload.extend_from_slice(&(count.picture_id | 0x8000).to_be_bytes());
    } else {
        payload.push(count.picture_id as u8 & 0x7f);
    }
    payload.extend_from_slice(&[count.tl0, count.key & 0x1f]);
    if starts {
        // Frame tag; start code and 640x360 on key frames.
        payload.extend_from_slice(&[u8::from(!is_key), 0, 0]);
        if is_key {
            payload.extend_from_slice(&[0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
        }
    }
    // The last packet of a frame is shorter, as it is with real encoders.
    let last = label.packet + 1 == label.packets;
    let len = if last {
        VIDEO_BODY / 2 + (label.number % 97) as usize
    } else {
        VIDEO_BODY
    };
    payload.extend_from_slice(&label.body(len));
    payload
}

/// The descriptor and the label of a VP8 packet.
pub(crate) fn read_video(payload: &[u8]) -> Option<(Descriptor, Label)> {
    let descriptor = Descriptor::parse(payload).ok()?;
    let tag = match (descriptor.is_frame_start(), descriptor.is_keyframe()) {
        (true, true) => 10,
        (true, false) => 3,
        (false, _) => 0,
    };
    let label = Label::read(payload.get(descriptor.header_len + tag..)?)?;
    Some((descriptor, label))
}
