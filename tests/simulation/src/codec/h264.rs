//! H.264 (RFC 6184, packetization mode 1): parameter sets in an aggregate before each key frame, slices
//! in one packet or in fragments.

use super::{Facts, Frame, Label, Said, write_body};

/// Slice of a picture, slice of an IDR picture, supplemental information, and both parameter sets,
/// with the importance that encoders give them.
const SLICE: u8 = 0x41;
const IDR: u8 = 0x65;
const SEI: u8 = 0x06;
const SPS: u8 = 0x67;
const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];

const STAP_A: u8 = 0x78;
const FU_A: u8 = 28;
const TYPE: u8 = 0x1f;

const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

pub(super) fn write(frame: &Frame, label: &Label, body: usize, out: &mut Vec<u8>) {
    if label.key && label.starts() {
        return write_parameters(frame, label, out);
    }
    let unit = if label.key { IDR } else { SLICE };
    let first = if label.key { 1 } else { 0 };
    if label.packets == 1 {
        out.push(unit);
    } else {
        let start = if label.packet == first { FU_START } else { 0 };
        let end = if label.ends() { FU_END } else { 0 };
        out.extend_from_slice(&[unit & !TYPE | FU_A, start | end | unit & TYPE]);
    }
    write_body(label, body, out);
}

/// The aggregate; the label is in a unit of supplemental information, which decoders skip.
fn write_parameters(frame: &Frame, label: &Label, out: &mut Vec<u8>) {
    let mut information = vec![SEI];
    write_body(label, 0, &mut information);
    let parameters = sequence_parameters(frame.width, frame.height);
    out.push(STAP_A);
    for unit in [&parameters[..], &PPS, &information] {
        // Units are a few dozen bytes.
        out.extend_from_slice(&(unit.len() as u16).to_be_bytes());
        out.extend_from_slice(unit);
    }
}

pub(super) fn read(payload: &[u8]) -> Option<Facts> {
    let (first, rest) = payload.split_first()?;
    let label = match first & TYPE {
        24 => {
            let mut rest = rest;
            loop {
                let (len, after) = rest.split_first_chunk()?;
                let (unit, next) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
                if unit.first() == Some(&SEI) {
                    break Label::read(&unit[1..])?;
                }
                rest = next;
            }
        }
        FU_A => Label::read(rest.get(1..)?)?,
        _ => Label::read(rest)?,
    };
    Some(Facts {
        label,
        said: Said::Nothing,
    })
}

/// A sequence parameter set of the constrained baseline profile, level 3.1 (ITU-T H.264 section
/// 7.3.2.1.1).
fn sequence_parameters(width: u16, height: u16) -> Vec<u8> {
    let mut bits = Bits::default();
    for byte in [0x42, 0xe0, 0x1f] {
        bits.put(byte, 8);
    }
    // Its id, log2_max_frame_num_minus4, pic_order_cnt_type 2, one reference frame, no gaps.
    for value in [0, 0, 2, 1] {
        bits.put_golomb(value);
    }
    bits.put(0, 1);
    let blocks = |pixels: u16| u32::from(pixels.div_ceil(16));
    bits.put_golomb(blocks(width) - 1);
    bits.put_golomb(blocks(height) - 1);
    // Frames only, direct_8x8_inference.
    bits.put(0b11, 2);
    let crop = |pixels: u16| (blocks(pixels) * 16 - u32::from(pixels)) / 2;
    let cropped = crop(width) + crop(height) > 0;
    bits.put(u32::from(cropped), 1);
    if cropped {
        for value in [0, crop(width), 0, crop(height)] {
            bits.put_golomb(value);
        }
    }
    // No VUI; the stop bit.
    bits.put(0b01, 2);
    let mut unit = vec![SPS];
    for byte in bits.bytes() {
        // Two zeros and a small byte would look like a start code (section 7.4.1.1).
        if byte <= 3 && unit.ends_with(&[0, 0]) {
            unit.push(3);
        }
        unit.push(byte);
    }
    unit
}

/// Bits, most significant first.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    /// ue(v), section 9.1.
    fn put_golomb(&mut self, value: u32) {
        let length = (value + 1).ilog2();
        self.put(0, length);
        self.put(value + 1, length + 1);
    }

    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.0.chunks(8).map(|bits| {
            let byte = bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
            byte << (8 - bits.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_are_those_of_an_encoder() {
        // 1280x720 needs no cropping: 80 by 45 macroblocks.
        assert_eq!(
            sequence_parameters(1280, 720),
            [0x67, 0x42, 0xe0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe4]
        );
    }
}
