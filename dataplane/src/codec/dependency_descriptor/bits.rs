//! Fields of single bits, most significant first, as the dependency descriptor is made of.

use crate::wire::Malformed;

/// Takes bits off the front.
#[derive(Debug, Clone)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bits taken so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// `f(count)`: the next `count` bits, at most 32.
    pub(super) fn bits(&mut self, count: u32) -> Result<u32, Malformed> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8).ok_or(Malformed::Truncated)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Ok(value)
    }

    /// `f(1)` as a flag.
    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        Ok(self.bits(1)? == 1)
    }

    /// `f(count)` of at most 8 bits.
    pub(super) fn small(&mut self, count: u32) -> Result<u8, Malformed> {
        Ok(self.bits(count.min(8))? as u8)
    }

    /// `ns(count)`: one of `count` values in as few bits as possible; `count` is at least 1.
    pub(super) fn non_symmetric(&mut self, count: u32) -> Result<u32, Malformed> {
        let width = u32::BITS - count.leading_zeros();
        let shorter = (1 << width) - count;
        let value = self.bits(width.saturating_sub(1))?;
        if value < shorter {
            return Ok(value);
        }
        Ok((value << 1) - shorter + self.bits(1)?)
    }
}

/// Puts bits at the end; what does not fit is nothing.
#[derive(Debug)]
pub(super) struct BitWriter<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// `f(count)`: the low `count` bits of `value`, at most 32.
    pub(super) fn bits(&mut self, value: u32, count: u32) -> Option<()> {
        for bit in (0..count).rev() {
            let byte = self.bytes.get_mut(self.at / 8)?;
            let mask = 0x80 >> (self.at % 8);
            if value >> bit & 1 == 1 {
                *byte |= mask;
            } else {
                *byte &= !mask;
            }
            self.at += 1;
        }
        Some(())
    }

    /// `f(1)` as a flag.
    pub(super) fn flag(&mut self, value: bool) -> Option<()> {
        self.bits(u32::from(value), 1)
    }

    /// `ns(count)` of a value below `count`.
    pub(super) fn non_symmetric(&mut self, value: u32, count: u32) -> Option<()> {
        let width = u32::BITS - count.leading_zeros();
        let shorter = (1 << width) - count;
        if value < shorter {
            self.bits(value, width.saturating_sub(1))
        } else {
            self.bits(value + shorter, width)
        }
    }

    /// Fills the last byte with zeros and gives the bytes written.
    pub(super) fn finish(mut self) -> Option<usize> {
        while !self.at.is_multiple_of(8) {
            self.flag(false)?;
        }
        Some(self.at / 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ns_is_that_of_the_specification() {
        // AV1 section 4.10.7 has this table for n = 5.
        for (value, bits) in [(0, "00"), (1, "01"), (2, "10"), (3, "110"), (4, "111")] {
            let mut bytes = [0; 1];
            let mut writer = BitWriter::new(&mut bytes);
            writer.non_symmetric(value, 5).expect("fits");
            assert_eq!(writer.at, bits.len());
            let text = format!("{:08b}", bytes[0]);
            assert_eq!(text[..bits.len()], *bits);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(fields in prop::collection::vec((any::<u32>(), 1u32..33, any::<bool>()), 1..20)) {
            let mut bytes = [0xff; 100];
            let mut writer = BitWriter::new(&mut bytes);
            let cut = |value: u32, count: u32| value & u32::MAX >> (32 - count);
            for (value, count, is_ns) in &fields {
                if *is_ns {
                    writer.non_symmetric(value % count, *count).expect("fits");
                } else {
                    writer.bits(*value, *count).expect("fits");
                }
            }
            let len = writer.finish().expect("fits");
            let mut reader = BitReader::new(&bytes[..len]);
            for (value, count, is_ns) in fields {
                if is_ns {
                    prop_assert_eq!(reader.non_symmetric(count), Ok(value % count));
                } else {
                    prop_assert_eq!(reader.bits(count), Ok(cut(value, count)));
                }
            }
            prop_assert!(len * 8 - reader.position() < 8);
        }
    }
}
