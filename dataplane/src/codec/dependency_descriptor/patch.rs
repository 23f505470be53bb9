//! The same descriptor in another stream's numbers.
//!
//! What a receiver is told of a frame's layers and references is what the publisher said, bit for bit; only the
//! frame number, the template ids and the targets that go on are the receiver's own.

use super::bits::{BitReader, BitWriter};
use super::structure::Structure;
use super::{Flags, LEN_MAX, MANDATORY_LEN, Mandatory};
use crate::wire::Malformed;

/// What is written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Patch {
    /// The frame number.
    pub frame_number: u16,
    /// Added to every template id, modulo 64.
    pub template_shift: u8,
    /// The decode targets that go on, by bit; none to leave it as the publisher said.
    pub active_targets: Option<u32>,
    /// How many decode targets there are; needed with [`Self::active_targets`] where no structure is attached.
    pub target_count: u8,
}

impl Patch {
    /// Writes the descriptor `data`, patched, into `buf`. Gives the bytes written, none when it is malformed
    /// or does not fit.
    #[must_use]
    pub fn apply(&self, data: &[u8], buf: &mut [u8]) -> Option<usize> {
        let mut mandatory = Mandatory::parse(data).ok().filter(|_| data.len() <= LEN_MAX)?;
        mandatory.frame_number = self.frame_number;
        mandatory.template_id = mandatory.template_id.wrapping_add(self.template_shift) & 0x3f;
        let head = mandatory.to_bytes();
        if data.len() == MANDATORY_LEN && self.active_targets.is_none() {
            buf.get_mut(..MANDATORY_LEN)?.copy_from_slice(&head);
            return Some(MANDATORY_LEN);
        }
        let mut reader = BitReader::new(data);
        reader.bits(24).ok()?;
        let mut flags = if data.len() > MANDATORY_LEN {
            Flags::read(&mut reader).ok()?
        } else {
            Flags::default()
        };
        let (structure_end, targets) = self.measure(reader.clone(), flags).ok()?;
        // Without the number of targets nothing can be said of them.
        let active = self.active_targets.filter(|_| targets > 0);
        let mut writer = BitWriter::new(buf);
        for byte in head {
            writer.bits(u32::from(byte), 8)?;
        }
        let was_told = flags.active;
        flags.active |= active.is_some();
        flags.write(&mut writer)?;
        if flags.structure {
            let offset = reader.small(6).ok()?.wrapping_add(self.template_shift);
            writer.bits(u32::from(offset & 0x3f), 6)?;
            copy(&mut reader, &mut writer, structure_end)?;
        }
        if let Some(active) = active {
            // Never more than the publisher goes on with.
            let published = if was_told {
                reader.bits(targets).ok()?
            } else {
                u32::MAX
            };
            writer.bits(active & published, targets)?;
        }
        copy(&mut reader, &mut writer, data.len() * 8)?;
        writer.finish()
    }

    /// Where the structure ends, in bits, and how many decode targets there are.
    fn measure(&self, mut reader: BitReader<'_>, flags: Flags) -> Result<(usize, u32), Malformed> {
        let mut targets = u32::from(self.target_count).min(u32::BITS);
        if flags.structure {
            targets = Structure::read(&mut reader)?.targets().len() as u32;
        }
        Ok((reader.position(), targets))
    }
}

/// Copies bits up to the position `end` of the reader.
fn copy(reader: &mut BitReader<'_>, writer: &mut BitWriter<'_>, end: usize) -> Option<()> {
    while reader.position() < end {
        let count = (end - reader.position()).min(32) as u32;
        writer.bits(reader.bits(count).ok()?, count)?;
    }
    Some(())
}
