//! A cursor over a caller's buffer. Each step says `None` when the buffer is full, so a writer
//! reads as the list of its fields.

pub(super) struct Writer<'a> {
    buf: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, at: 0 }
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.at
    }

    /// What is written so far.
    pub(super) fn written(&self) -> &[u8] {
        &self.buf[..self.at]
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.buf.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    pub(super) fn u8(&mut self, value: u8) -> Option<()> {
        self.bytes(&[value])
    }

    pub(super) fn u16(&mut self, value: u16) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    /// The low 24 bits of `value`.
    pub(super) fn u24(&mut self, value: u32) -> Option<()> {
        self.bytes(&value.to_be_bytes()[1..])
    }

    pub(super) fn u32(&mut self, value: u32) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    /// Zeros up to the next multiple of 4.
    pub(super) fn align4(&mut self) -> Option<()> {
        while !self.at.is_multiple_of(4) {
            self.u8(0)?;
        }
        Some(())
    }

    /// Overwrites 16 bits written before; a length that is known only afterwards.
    pub(super) fn patch_u16(&mut self, at: usize, value: u16) -> Option<()> {
        if at + 2 > self.at {
            return None;
        }
        self.buf[at..at + 2].copy_from_slice(&value.to_be_bytes());
        Some(())
    }
}
