//! The template dependency structure: what the frames of a stream can look like (appendix A.8.3).
//!
//! A structure comes with a key frame; until the next one, frames say which template they follow.

use super::bits::{BitReader, BitWriter};
use crate::codec::FrameSize;
use crate::wire::Malformed;

/// Templates have ids of six bits.
pub const TEMPLATES_MAX: usize = 64;

/// Decode targets are counted in five bits, from one.
pub const TARGETS_MAX: usize = 32;

/// A chain protects at least one decode target, so there are no more of them.
pub const CHAINS_MAX: usize = TARGETS_MAX;

/// Frames a frame refers to: AV1 has seven references, and eight places to keep frames in.
pub const REFERENCES_MAX: usize = 8;

/// Spatial layers; RTP payload formats and AV1 count at most eight and four.
pub const SPATIAL_MAX: usize = 4;

/// What a frame is to a decode target (appendix A.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Indication {
    /// It is not part of it.
    #[default]
    NotPresent,
    /// Part of it, and nothing of it depends on the frame.
    Discardable,
    /// Part of it, and everything after depends on nothing of it before the frame.
    Switch,
    /// Part of it.
    Required,
}

impl Indication {
    fn of(bits: u8) -> Self {
        match bits {
            0 => Self::NotPresent,
            1 => Self::Discardable,
            2 => Self::Switch,
            _ => Self::Required,
        }
    }
}

/// What a frame is to every decode target.
pub type Indications = [Indication; TARGETS_MAX];

/// The frames that a frame refers to, by how many frames before it they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct References {
    distances: [u16; REFERENCES_MAX],
    count: u8,
}

impl References {
    /// Adds a distance of 1 to 4096; false when there are too many.
    pub fn push(&mut self, distance: u16) -> bool {
        let free = self.distances.get_mut(usize::from(self.count));
        let fits = free.is_some();
        if let Some(free) = free {
            *free = distance;
            self.count += 1;
        }
        fits
    }

    /// The distances, as the sender gave them.
    #[must_use]
    pub fn distances(&self) -> &[u16] {
        &self.distances[..usize::from(self.count).min(REFERENCES_MAX)]
    }

    /// Whether the frame refers to nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// What frames of one kind are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// Spatial layer.
    pub spatial: u8,
    /// Temporal layer.
    pub temporal: u8,
    /// What they are to each decode target.
    pub indications: Indications,
    /// What they refer to.
    pub references: References,
    /// For each chain, how many frames before is the last one of the chain; 0: none.
    pub chains: [u8; CHAINS_MAX],
}

impl Template {
    const EMPTY: Self = Self {
        spatial: 0,
        temporal: 0,
        indications: [Indication::NotPresent; TARGETS_MAX],
        references: References {
            distances: [0; REFERENCES_MAX],
            count: 0,
        },
        chains: [0; CHAINS_MAX],
    };
}

/// A decode target: the layers a receiver decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Target {
    /// Its highest spatial layer.
    pub spatial: u8,
    /// Its highest temporal layer.
    pub temporal: u8,
    /// The chain that protects it, if there are chains.
    pub protected_by: Option<u8>,
}

/// A template dependency structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// Id of the first template, 0 to 63; the others count on modulo 64.
    pub offset: u8,
    templates: [Template; TEMPLATES_MAX],
    template_count: u8,
    targets: [Target; TARGETS_MAX],
    target_count: u8,
    /// How many chains there are.
    pub chain_count: u8,
    sizes: Option<[FrameSize; SPATIAL_MAX]>,
}

impl Structure {
    /// A structure from its parts, for who writes one. Templates stand in the order of their layers, spatial before temporal,
    /// and layers leave no gap; `protected_by` has an entry for each target when there are chains.
    /// None when it can't be written.
    #[must_use]
    pub fn new(
        offset: u8,
        templates: &[Template],
        target_count: u8,
        protected_by: &[u8],
        chain_count: u8,
        sizes: Option<&[FrameSize]>,
    ) -> Option<Self> {
        let mut structure = Self {
            offset: offset & 0x3f,
            templates: [Template::EMPTY; TEMPLATES_MAX],
            template_count: templates.len() as u8,
            targets: [Target::default(); TARGETS_MAX],
            target_count,
            chain_count,
            sizes: None,
        };
        structure
            .templates
            .get_mut(..templates.len())?
            .copy_from_slice(templates);
        for (target, chain) in structure.targets.iter_mut().zip(protected_by) {
            target.protected_by = Some(*chain);
        }
        if let Some(sizes) = sizes {
            let mut all = [FrameSize::default(); SPATIAL_MAX];
            all.get_mut(..sizes.len())?.copy_from_slice(sizes);
            structure.sizes = Some(all);
        }
        structure.derive_targets();
        Some(structure)
    }

    /// Its templates; the first has the id [`Self::offset`].
    #[must_use]
    pub fn templates(&self) -> &[Template] {
        &self.templates[..usize::from(self.template_count).min(TEMPLATES_MAX)]
    }

    /// Its decode targets.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets[..usize::from(self.target_count).min(TARGETS_MAX)]
    }

    /// The template of an id.
    #[must_use]
    pub fn template(&self, id: u8) -> Option<&Template> {
        self.templates()
            .get(usize::from(id.wrapping_sub(self.offset) & 0x3f))
    }

    /// How many spatial layers it has.
    #[must_use]
    pub fn spatial_layers(&self) -> u8 {
        self.templates().last().map_or(1, |template| template.spatial + 1)
    }

    /// Sizes of the spatial layers, smallest first, where they are told.
    #[must_use]
    pub fn sizes(&self) -> Option<&[FrameSize]> {
        self.sizes
            .as_ref()
            .map(|sizes| &sizes[..usize::from(self.spatial_layers()).min(SPATIAL_MAX)])
    }

    /// The decode target of a spatial layer with everything of time up to `temporal`, or as much as there is.
    #[must_use]
    pub fn target(&self, spatial: u8, temporal: u8) -> Option<usize> {
        self.targets()
            .iter()
            .enumerate()
            .filter(|(_, target)| target.spatial == spatial && target.temporal <= temporal)
            .max_by_key(|(_, target)| target.temporal)
            .map(|(index, _)| index)
    }

    /// The targets without spatial layers above `spatial`, by bit.
    #[must_use]
    pub fn targets_up_to(&self, spatial: u8) -> u32 {
        let within = |target: &Target| target.spatial <= spatial;
        let bits = self.targets().iter().enumerate();
        bits.fold(0, |mask, (index, target)| {
            mask | u32::from(within(target)) << index
        })
    }

    pub(super) fn read(reader: &mut BitReader<'_>) -> Result<Self, Malformed> {
        let mut structure = Self {
            offset: reader.small(6)?,
            templates: [Template::EMPTY; TEMPLATES_MAX],
            template_count: 0,
            targets: [Target::default(); TARGETS_MAX],
            target_count: reader.small(5)? + 1,
            chain_count: 0,
            sizes: None,
        };
        structure.read_layers(reader)?;
        let count = usize::from(structure.template_count);
        for template in &mut structure.templates[..count] {
            let targets = usize::from(structure.target_count);
            for indication in &mut template.indications[..targets] {
                *indication = Indication::of(reader.small(2)?);
            }
        }
        for template in &mut structure.templates[..count] {
            while reader.flag()? {
                let distance = reader.bits(4)? as u16 + 1;
                if !template.references.push(distance) {
                    return Err(Malformed::Value);
                }
            }
        }
        structure.read_chains(reader)?;
        structure.derive_targets();
        if reader.flag()? {
            let mut sizes = [FrameSize::default(); SPATIAL_MAX];
            for size in &mut sizes[..usize::from(structure.spatial_layers())] {
                // One less than the size: 65536 is not a picture that a `u16` can tell.
                let mut side = || Ok((reader.bits(16)? as u16).saturating_add(1));
                *size = FrameSize {
                    width: side()?,
                    height: side()?,
                };
            }
            structure.sizes = Some(sizes);
        }
        Ok(structure)
    }

    fn read_layers(&mut self, reader: &mut BitReader<'_>) -> Result<(), Malformed> {
        let (mut spatial, mut temporal) = (0u8, 0u8);
        loop {
            let template = self
                .templates
                .get_mut(usize::from(self.template_count))
                .ok_or(Malformed::Value)?;
            (template.spatial, template.temporal) = (spatial, temporal);
            self.template_count += 1;
            match reader.small(2)? {
                0 => {}
                1 => temporal += 1,
                2 => (spatial, temporal) = (spatial + 1, 0),
                _ => return Ok(()),
            }
            if usize::from(spatial) >= SPATIAL_MAX {
                return Err(Malformed::Value);
            }
        }
    }

    fn read_chains(&mut self, reader: &mut BitReader<'_>) -> Result<(), Malformed> {
        let targets = usize::from(self.target_count);
        self.chain_count = reader.non_symmetric(u32::from(self.target_count) + 1)? as u8;
        if self.chain_count == 0 {
            return Ok(());
        }
        for target in &mut self.targets[..targets] {
            target.protected_by = Some(reader.non_symmetric(u32::from(self.chain_count))? as u8);
        }
        let chains = usize::from(self.chain_count);
        for template in &mut self.templates[..usize::from(self.template_count)] {
            for chain in &mut template.chains[..chains] {
                *chain = reader.small(4)?;
            }
        }
        Ok(())
    }

    /// Appendix A.8.3.5: a target's layers are the highest of the frames that are part of it.
    fn derive_targets(&mut self) {
        for (index, target) in self.targets.iter_mut().enumerate() {
            let count = usize::from(self.template_count).min(TEMPLATES_MAX);
            for template in &self.templates[..count] {
                if template.indications[index] != Indication::NotPresent {
                    target.spatial = target.spatial.max(template.spatial);
                    target.temporal = target.temporal.max(template.temporal);
                }
            }
        }
    }

    pub(super) fn write(&self, writer: &mut BitWriter<'_>) -> Option<()> {
        writer.bits(u32::from(self.offset), 6)?;
        writer.bits(u32::from(self.target_count).checked_sub(1)?, 5)?;
        let mut templates = self.templates().iter().peekable();
        while let Some(template) = templates.next() {
            let idc = match templates.peek() {
                None => 3,
                Some(next) if next.spatial == template.spatial && next.temporal == template.temporal => 0,
                Some(next) if next.spatial == template.spatial && next.temporal == template.temporal + 1 => 1,
                Some(next) if next.spatial == template.spatial + 1 && next.temporal == 0 => 2,
                Some(_) => return None,
            };
            writer.bits(idc, 2)?;
        }
        for template in self.templates() {
            for indication in &template.indications[..usize::from(self.target_count)] {
                writer.bits(*indication as u32, 2)?;
            }
        }
        for template in self.templates() {
            for distance in template.references.distances() {
                writer.flag(true)?;
                writer.bits(u32::from(*distance).checked_sub(1).filter(|less| *less < 16)?, 4)?;
            }
            writer.flag(false)?;
        }
        let chains = u32::from(self.chain_count);
        writer.non_symmetric(chains, u32::from(self.target_count) + 1)?;
        if chains > 0 {
            for target in self.targets() {
                writer.non_symmetric(u32::from(target.protected_by?), chains)?;
            }
            for template in self.templates() {
                for chain in &template.chains[..usize::from(self.chain_count)] {
                    writer.bits(u32::from(*chain), 4)?;
                }
            }
        }
        writer.flag(self.sizes.is_some())?;
        for size in self.sizes().unwrap_or_default() {
            writer.bits(u32::from(size.width).checked_sub(1)?, 16)?;
            writer.bits(u32::from(size.height).checked_sub(1)?, 16)?;
        }
        Some(())
    }
}
