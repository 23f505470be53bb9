//! The dependency descriptor, a header extension that says what a frame is without its payload
//! (RTP Payload Format for AV1, appendix A).
//!
//! ```text
//! │S│E│ template  │         frame number          │   always
//! │T│A│D│F│C│ structure │ active targets │ indications │ references │ chains │   if longer
//! ```
//!
//! Frames of one kind follow a template; templates are defined by the structure that comes with a
//! key frame ([`Structure`]). A descriptor without one is read beside the newest one of its stream.

mod bits;
mod patch;
mod structure;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use patch::Patch;
pub use structure::{
    CHAINS_MAX, Indication, Indications, REFERENCES_MAX, References, SPATIAL_MAX, Structure, TARGETS_MAX,
    TEMPLATES_MAX, Target, Template,
};

use bits::{BitReader, BitWriter};

use crate::wire::Malformed;

/// Bytes of the fields that are always there.
pub const MANDATORY_LEN: usize = 3;

/// Longest descriptor: the data of one element in the two-byte form (RFC 8285 section 4.3).
pub const LEN_MAX: usize = 255;

/// The fields that need no structure to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mandatory {
    /// The packet is the first of its frame.
    pub start_of_frame: bool,
    /// The packet is the last of its frame.
    pub end_of_frame: bool,
    /// Which template the frame follows, 0 to 63.
    pub template_id: u8,
    /// Counts frames of all layers.
    pub frame_number: u16,
}

impl Mandatory {
    /// Reads them.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] for fewer than three bytes.
    pub fn parse(data: &[u8]) -> Result<Self, Malformed> {
        let &[first, high, low] = data.first_chunk::<MANDATORY_LEN>().ok_or(Malformed::Truncated)?;
        Ok(Self {
            start_of_frame: first & 0x80 != 0,
            end_of_frame: first & 0x40 != 0,
            template_id: first & 0x3f,
            frame_number: u16::from_be_bytes([high, low]),
        })
    }

    fn to_bytes(self) -> [u8; MANDATORY_LEN] {
        let flags = u8::from(self.start_of_frame) << 7 | u8::from(self.end_of_frame) << 6;
        let [high, low] = self.frame_number.to_be_bytes();
        [flags | self.template_id & 0x3f, high, low]
    }
}

/// A descriptor with everything its template says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The fields that are always there.
    pub mandatory: Mandatory,
    /// The structure that holds from this frame on.
    pub attached: Option<Structure>,
    /// Which decode targets the sender goes on with, by bit, where it says so.
    pub active_targets: Option<u32>,
    /// Spatial layer.
    pub spatial: u8,
    /// Temporal layer.
    pub temporal: u8,
    /// What the frame is to each decode target.
    pub indications: Indications,
    /// What it refers to.
    pub references: References,
    /// For each chain, how many frames before is the last one of the chain; 0: none.
    pub chains: [u8; CHAINS_MAX],
}

/// The five flags after the mandatory fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Flags {
    structure: bool,
    active: bool,
    indications: bool,
    references: bool,
    chains: bool,
}

impl Flags {
    fn read(reader: &mut BitReader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            structure: reader.flag()?,
            active: reader.flag()?,
            indications: reader.flag()?,
            references: reader.flag()?,
            chains: reader.flag()?,
        })
    }

    fn write(self, writer: &mut BitWriter<'_>) -> Option<()> {
        for flag in [
            self.structure,
            self.active,
            self.indications,
            self.references,
            self.chains,
        ] {
            writer.flag(flag)?;
        }
        Some(())
    }
}

impl Descriptor {
    /// Reads the data of an element. `known` is the newest structure of the stream, for a descriptor that brings none.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when a field ends beyond the data; [`Malformed::Value`] when there is
    /// no structure or no such template in it, or more layers or references than there can be.
    pub fn parse(data: &[u8], known: Option<&Structure>) -> Result<Self, Malformed> {
        if data.len() > LEN_MAX {
            return Err(Malformed::Length);
        }
        let mandatory = Mandatory::parse(data)?;
        let mut reader = BitReader::new(data);
        reader.bits(24)?;
        let flags = if data.len() > MANDATORY_LEN {
            Flags::read(&mut reader)?
        } else {
            Flags::default()
        };
        let attached = flags
            .structure
            .then(|| Structure::read(&mut reader))
            .transpose()?;
        let structure = attached.as_ref().or(known).ok_or(Malformed::Value)?;
        let targets = structure.targets().len();
        let active_targets = flags.active.then(|| reader.bits(targets as u32)).transpose()?;
        let template = structure
            .template(mandatory.template_id)
            .ok_or(Malformed::Value)?;
        let (mut indications, mut references, mut chains) =
            (template.indications, template.references, template.chains);
        let (spatial, temporal) = (template.spatial, template.temporal);
        if flags.indications {
            for indication in &mut indications[..targets] {
                *indication = match reader.small(2)? {
                    0 => Indication::NotPresent,
                    1 => Indication::Discardable,
                    2 => Indication::Switch,
                    _ => Indication::Required,
                };
            }
        }
        if flags.references {
            references = References::default();
            loop {
                let width = reader.bits(2)?;
                if width == 0 {
                    break;
                }
                let distance = reader.bits(4 * width)? as u16 + 1;
                if !references.push(distance) {
                    return Err(Malformed::Value);
                }
            }
        }
        if flags.chains {
            for chain in &mut chains[..usize::from(structure.chain_count)] {
                *chain = reader.small(8)?;
            }
        }
        Ok(Self {
            mandatory,
            active_targets,
            spatial,
            temporal,
            indications,
            references,
            chains,
            attached,
        })
    }

    /// Whether the frame is one that decoding of a stream can begin with.
    #[must_use]
    pub fn is_key_frame(&self) -> bool {
        self.attached.is_some() && self.references.is_empty()
    }

    /// Writes it as an element's data; `known` as for [`Self::parse`]. Gives the bytes written, none when it does not fit.
    #[must_use]
    pub fn write(&self, known: Option<&Structure>, buf: &mut [u8]) -> Option<usize> {
        let structure = self.attached.as_ref().or(known)?;
        let template = structure.template(self.mandatory.template_id)?;
        let targets = structure.targets().len();
        let chains = usize::from(structure.chain_count);
        let flags = Flags {
            structure: self.attached.is_some(),
            active: self.active_targets.is_some(),
            indications: self.indications[..targets] != template.indications[..targets],
            references: self.references != template.references,
            chains: self.chains[..chains] != template.chains[..chains],
        };
        let mut writer = BitWriter::new(buf);
        for byte in self.mandatory.to_bytes() {
            writer.bits(u32::from(byte), 8)?;
        }
        if flags == Flags::default() {
            return writer.finish();
        }
        flags.write(&mut writer)?;
        if let Some(structure) = &self.attached {
            structure.write(&mut writer)?;
        }
        if let Some(active) = self.active_targets {
            writer.bits(active, targets as u32)?;
        }
        if flags.indications {
            for indication in &self.indications[..targets] {
                writer.bits(*indication as u32, 2)?;
            }
        }
        if flags.references {
            for distance in self.references.distances() {
                let less = u32::from(*distance).checked_sub(1)?;
                let width = (u32::BITS - less.leading_zeros()).div_ceil(4).max(1);
                if width > 3 {
                    return None;
                }
                writer.bits(width, 2)?;
                writer.bits(less, 4 * width)?;
            }
            writer.bits(0, 2)?;
        }
        if flags.chains {
            for chain in &self.chains[..chains] {
                writer.bits(u32::from(*chain), 8)?;
            }
        }
        writer.finish()
    }
}
