//! Media whose every packet is recognisable: RFC 7741 payloads and Opus-like ones that carry a
//! number and bytes derived from it, so that what arrives can be compared with what was sent.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the VP8 payload descriptor that [`Vp8Frames`] writes.
const DESCRIPTOR_LEN: usize = 6;

/// Packets of one frame: several, so that a frame is more than its first packet.
pub(crate) const PACKETS_PER_FRAME: usize = 3;

/// Numbers between the first ones of two senders: nobody sends what another has sent.
const APART: u64 = 1 << 32;

/// The first number of another sender.
pub(crate) fn first_number() -> u64 {
    static SENDERS: AtomicU64 = AtomicU64::new(0);
    SENDERS.fetch_add(1, Ordering::Relaxed) * APART
}

/// Makes VP8 frames with a 15-bit picture id, TL0PICIDX and key index.
#[derive(Debug)]
pub(crate) struct Vp8Frames {
    frame: u64,
}

impl Vp8Frames {
    /// Of another sender.
    pub(crate) fn new() -> Self {
        Self {
            frame: first_number(),
        }
    }

    /// The payloads of the next frame.
    pub(crate) fn next(&mut self, key: bool) -> Vec<Vec<u8>> {
        let frame = self.frame;
        self.frame += 1;
        (0..PACKETS_PER_FRAME)
            .map(|index| vp8_payload(frame, index, key))
            .collect()
    }
}

fn vp8_payload(frame: u64, index: usize, key: bool) -> Vec<u8> {
    let first = index == 0;
    // RFC 7741 section 4.2: X and S; then I, L, T and K; M and 15 bits; TL0PICIDX; TID, Y, KEYIDX.
    let picture_id = (frame & 0x7fff) as u16;
    let mut payload = vec![0x80 | if first { 0x10 } else { 0 }, 0b1111_0000];
    payload.extend_from_slice(&(0x8000 | picture_id).to_be_bytes());
    payload.push(frame as u8);
    payload.push(0);
    debug_assert_eq!(payload.len(), DESCRIPTOR_LEN);
    if first {
        // RFC 6386 section 9.1: P is zero on key frames; then the start code, width and height.
        let size = 1_000u32;
        let tag = u32::from(!key) | 1 << 4 | size << 5;
        payload.extend_from_slice(&tag.to_le_bytes()[..3]);
        if key {
            payload.extend_from_slice(&[0x9d, 0x01, 0x2a]);
            payload.extend_from_slice(&640u16.to_le_bytes());
            payload.extend_from_slice(&360u16.to_le_bytes());
        }
    }
    let number = frame * PACKETS_PER_FRAME as u64 + index as u64;
    // Lengths differ by a few bytes, as an encoder's packets do.
    fill(&mut payload, number, 900 + (number % 7) as usize);
    payload
}

/// The part of a VP8 payload that a forwarder must leave alone: all behind the descriptor.
pub(crate) fn behind_descriptor(payload: &[u8]) -> Option<&[u8]> {
    let (&first, mut rest) = payload.split_first()?;
    if first & 0x80 != 0 {
        let (&flags, after) = rest.split_first()?;
        rest = after;
        if flags & 0x80 != 0 {
            let wide = rest.first()? & 0x80 != 0;
            rest = rest.get(if wide { 2 } else { 1 }..)?;
        }
        if flags & 0x40 != 0 {
            rest = rest.get(1..)?;
        }
        if flags & 0x30 != 0 {
            rest = rest.get(1..)?;
        }
    }
    Some(rest)
}

/// The 15-bit picture id of a payload, if it has one.
pub(crate) fn picture_id(payload: &[u8]) -> Option<u16> {
    let flags = *payload.get(1)?;
    (payload.first()? & 0x80 != 0 && flags & 0x80 != 0 && payload.get(2)? & 0x80 != 0)
        .then(|| u16::from_be_bytes([payload[2], payload.get(3).copied().unwrap_or(0)]) & 0x7fff)
}

/// An Opus packet by its table of contents (RFC 6716 section 3.1: CELT, 20 ms, mono), with unique content.
pub(crate) fn opus_payload(number: u64) -> Vec<u8> {
    let mut payload = vec![0b1111_1000];
    fill(&mut payload, number, 60 + (number % 40) as usize);
    payload
}

fn fill(payload: &mut Vec<u8>, number: u64, len: usize) {
    payload.extend_from_slice(&number.to_be_bytes());
    let mut noise = Noise::new(number);
    payload.extend((0..len).map(|_| noise.next() as u8));
}

/// Reproducible noise (xorshift64*): the same seed gives the same bytes in every run.
#[derive(Debug)]
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self((seed ^ 0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
