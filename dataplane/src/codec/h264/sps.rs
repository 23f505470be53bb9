//! The size of a picture, from a sequence parameter set (H.264 section 7.3.2.1.1).

use super::super::FrameSize;

/// Longest parameter set looked at: those of cameras have some twenty bytes, with scaling lists two
/// hundred.
const LEN_MAX: usize = 512;

/// Profiles whose sets describe the colour format and may have scaling lists.
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// Section A.3.1: the largest pictures of any level, in macroblocks in one direction.
const MACROBLOCKS_MAX: u32 = 1055;

/// The size of the pictures that a sequence parameter set describes. `nal` is the whole unit with its
/// type byte; none when it can't be read to the end of what the size depends on.
#[must_use]
pub fn frame_size(nal: &[u8]) -> Option<FrameSize> {
    let body = nal.get(1..)?;
    let mut bits = Bits::new(&body[..body.len().min(LEN_MAX)]);
    let profile = bits.take(8)? as u8;
    // Constraints and level.
    bits.take(16)?;
    bits.unsigned()?;
    let mut chroma = 1;
    let mut separate_planes = false;
    if HIGH_PROFILES.contains(&profile) {
        chroma = bits.unsigned()?;
        if chroma == 3 {
            separate_planes = bits.flag()?;
        }
        bits.unsigned()?;
        bits.unsigned()?;
        bits.flag()?;
        if bits.flag()? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.unsigned()?;
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            bits.flag()?;
            bits.signed()?;
            bits.signed()?;
            // Section 7.4.2.1.1: at most 255 reference frames in a cycle.
            let cycle = bits.unsigned()?;
            if cycle > 255 {
                return None;
            }
            for _ in 0..cycle {
                bits.signed()?;
            }
        }
        _ => {}
    }
    bits.unsigned()?;
    bits.flag()?;
    let columns = bits.unsigned()?.checked_add(1)?;
    let rows = bits.unsigned()?.checked_add(1)?;
    let frames_only = bits.flag()?;
    if columns > MACROBLOCKS_MAX || rows > MACROBLOCKS_MAX {
        return None;
    }
    if !frames_only {
        bits.flag()?;
    }
    bits.flag()?;
    let field_factor = if frames_only { 1 } else { 2 };
    let (mut width, mut height) = (columns * 16, rows * 16 * field_factor);
    if bits.flag()? {
        // Section 7.4.2.1.1, equations 7-19 to 7-22: cropping counts in samples of the chroma.
        let (unit_x, unit_y) = match (chroma, separate_planes) {
            (1, _) => (2, 2),
            (2, _) => (2, 1),
            _ => (1, 1),
        };
        let (left, right) = (bits.unsigned()?, bits.unsigned()?);
        let (top, bottom) = (bits.unsigned()?, bits.unsigned()?);
        let crop = |a: u32, b: u32, unit: u32| a.checked_add(b)?.checked_mul(unit);
        width = width.checked_sub(crop(left, right, unit_x)?)?;
        height = height.checked_sub(crop(top, bottom, unit_y * field_factor)?)?;
    }
    Some(FrameSize {
        width: u16::try_from(width).ok()?,
        height: u16::try_from(height).ok()?,
    })
}

/// Section 7.3.2.1.1.1; the values are of no interest.
fn skip_scaling_list(bits: &mut Bits<'_>, len: usize) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..len {
        if next != 0 {
            next = (last + i64::from(bits.signed()?)).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

/// Bits of a NAL unit, without its emulation prevention bytes (section 7.4.1).
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bits left of the current byte.
    left: u32,
    current: u8,
    zeros: u8,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            left: 0,
            current: 0,
            zeros: 0,
        }
    }

    fn bit(&mut self) -> Option<u32> {
        if self.left == 0 {
            let mut byte = *self.bytes.get(self.at)?;
            self.at += 1;
            if self.zeros == 2 && byte == 3 {
                self.zeros = 0;
                byte = *self.bytes.get(self.at)?;
                self.at += 1;
            }
            self.zeros = if byte == 0 { (self.zeros + 1).min(2) } else { 0 };
            self.current = byte;
            self.left = 8;
        }
        self.left -= 1;
        Some(u32::from(self.current >> self.left & 1))
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | self.bit()?;
        }
        Some(value)
    }

    fn flag(&mut self) -> Option<bool> {
        self.bit().map(|bit| bit == 1)
    }

    /// ue(v), section 9.1: at most 31 leading zeros.
    fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(self.take(zeros)? + (1u32.checked_shl(zeros)? - 1))
    }

    /// se(v), section 9.1.1.
    fn signed(&mut self) -> Option<i32> {
        let coded = self.unsigned()?;
        let magnitude = i32::try_from(coded.div_ceil(2)).ok()?;
        Some(if coded % 2 == 1 { magnitude } else { -magnitude })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes the fields of a set in the constrained baseline profile.
    fn baseline(columns: u32, rows: u32, crop: Option<[u32; 4]>) -> Vec<u8> {
        let mut bits = Vec::new();
        let ue = |bits: &mut Vec<bool>, value: u32| {
            let coded = value + 1;
            let len = 32 - coded.leading_zeros();
            bits.extend((1..len).map(|_| false));
            bits.extend((0..len).rev().map(|bit| coded >> bit & 1 == 1));
        };
        for value in [0, 0, 2, 1] {
            ue(&mut bits, value);
        }
        bits.push(false);
        ue(&mut bits, columns - 1);
        ue(&mut bits, rows - 1);
        bits.extend([true, true]);
        bits.push(crop.is_some());
        for value in crop.into_iter().flatten() {
            ue(&mut bits, value);
        }
        bits.extend([false, true]);
        let mut nal = vec![0x67, 0x42, 0xe0, 0x1f];
        nal.extend(bits.chunks(8).map(|chunk| {
            chunk
                .iter()
                .enumerate()
                .fold(0u8, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at))
        }));
        nal
    }

    #[test]
    fn whole_macroblocks_and_cropped_ones() {
        assert_eq!(
            frame_size(&baseline(80, 45, None)),
            Some(FrameSize {
                width: 1280,
                height: 720
            })
        );
        // 1080 lines are 68 rows of macroblocks less eight lines.
        assert_eq!(
            frame_size(&baseline(120, 68, Some([0, 0, 0, 4]))),
            Some(FrameSize {
                width: 1920,
                height: 1080
            })
        );
    }

    #[test]
    fn a_set_with_emulation_prevention() {
        // Written by an encoder: high profile, 1280 x 720, with timing information full of zeros.
        let nal = [
            0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
            0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60,
        ];
        assert_eq!(
            frame_size(&nal),
            Some(FrameSize {
                width: 1280,
                height: 720
            })
        );
    }

    #[test]
    fn cropped_to_nothing_or_absurd_is_no_size() {
        assert_eq!(frame_size(&baseline(1, 1, Some([8, 1, 0, 0]))), None);
        assert_eq!(frame_size(&baseline(2_000, 1, None)), None);
        assert_eq!(frame_size(&[0x67]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(nal in prop::collection::vec(any::<u8>(), 0..80), high in any::<bool>()) {
            let mut nal = nal;
            if high && nal.len() > 1 {
                nal[1] = 100;
            }
            let _ = frame_size(&nal);
        }

        #[test]
        fn every_size_reads_back(columns in 1u32..300, rows in 1u32..300) {
            let size = frame_size(&baseline(columns, rows, None)).expect("a size");
            prop_assert_eq!((u32::from(size.width), u32::from(size.height)), (columns * 16, rows * 16));
        }
    }
}
