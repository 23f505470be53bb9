//! What a router must know of a payload: where a picture starts, whether it can be decoded on its
//! own, which layer it is of. Views over payload bytes; no state, no allocation.

pub mod av1;
pub mod dependency_descriptor;
pub mod h264;
pub mod opus;
pub mod red;
pub mod vp8;
pub mod vp9;

use crate::wire::Malformed;

/// Takes bytes off the front of a payload descriptor.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or(Malformed::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    /// A picture id in the form VP8 and VP9 share: 7 bits, or 15 when the first bit is set.
    fn picture_id(&mut self) -> Result<PictureId, Malformed> {
        let first = self.u8()?;
        if first & 0x80 == 0 {
            return Ok(PictureId::Short(first));
        }
        let id = u16::from_be_bytes([first & 0x7f, self.u8()?]);
        Ok(PictureId::Long(id))
    }

    /// What is not taken yet.
    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }
}

/// A picture id and the width it was sent with; the width says where it wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PictureId {
    /// 7 bits.
    Short(u8),
    /// 15 bits.
    Long(u16),
}

impl PictureId {
    /// The number.
    #[must_use]
    pub fn value(self) -> u16 {
        match self {
            Self::Short(id) => u16::from(id),
            Self::Long(id) => id,
        }
    }

    /// Bits of the number: 7 or 15.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::Short(_) => 7,
            Self::Long(_) => 15,
        }
    }
}

/// Width and height of a picture in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FrameSize {
    /// Pixels in a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
}
