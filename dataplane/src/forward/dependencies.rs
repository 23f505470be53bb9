//! What a stream's dependency descriptors say of its packets.
//!
//! Owns the two newest structures of one incoming stream, and which targets its sender goes on with. What comes late
//! is read by the structure of its time: templates of another one would say what is not so.

use crate::codec::FrameSize;
use crate::codec::dependency_descriptor::{Descriptor, Indication, Structure};
use crate::forward::chains::{Chains, Links, Part};
use crate::forward::layers::LAYERS_MAX;
use crate::rtp::packet_ring::{PacketMeta, UNREAD};
use crate::time::Time;

/// A structure, and what was told since it came.
#[derive(Debug)]
struct Known {
    structure: Structure,
    /// Frame number, extended, that it came with.
    since: i64,
    /// The decode targets that go on, by bit, and the frame that said so.
    active: (u32, i64),
}

/// The structures of a stream, and its chains.
#[derive(Debug, Default)]
pub struct Dependencies {
    newest: Option<Box<Known>>,
    /// For what comes late.
    before: Option<Box<Known>>,
    chains: Chains,
}

/// What a packet's descriptor tells beside the packet's facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// What a structure that came with it announces.
    pub announced: Option<Announced>,
    /// That structure was news.
    pub kept: bool,
    /// Spatial layers that have just turned out to lack what they can't do without, by bit.
    pub broken: u8,
}

/// The spatial layers that a key picture announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Announced {
    /// How many there are, at least one.
    pub count: u8,
    /// Their sizes, smallest first, where they are told.
    pub sizes: [Option<FrameSize>; LAYERS_MAX],
}

impl Announced {
    /// Of these sizes, which are as many as there are layers if they are told.
    #[must_use]
    pub fn new(count: u8, told: &[FrameSize]) -> Self {
        let mut sizes = [None; LAYERS_MAX];
        for (own, told) in sizes.iter_mut().zip(told) {
            *own = Some(*told);
        }
        Self { count, sizes }
    }

    /// The largest that is told.
    #[must_use]
    pub fn largest(&self) -> Option<FrameSize> {
        self.sizes.iter().flatten().last().copied()
    }
}

impl Dependencies {
    /// Takes in the descriptor of frame `frame` and writes what it says into the packet's facts, whose number is known.
    /// Of a descriptor that can't be read nobody knows who needs its packet.
    pub fn take(&mut self, now: Time, frame: i64, data: &[u8], meta: &mut PacketMeta) -> Told {
        let (told, part) = self.read(frame, data, meta);
        Told {
            broken: part.map_or(0, |part| self.chains.take(now, &part)),
            ..told
        }
    }

    /// What the descriptor says of its packet, and what that means for the chains; nothing when it can't be read.
    pub(super) fn read(&mut self, frame: i64, data: &[u8], meta: &mut PacketMeta) -> (Told, Option<Part>) {
        let Ok(descriptor) = Descriptor::parse(data, self.of(frame)) else {
            meta.needed_by = 0;
            meta.spatial = UNREAD;
            return (Told::default(), None);
        };
        let announced = descriptor
            .attached
            .as_ref()
            .map(|attached| Announced::new(attached.spatial_layers(), attached.sizes().unwrap_or_default()));
        let kept = descriptor
            .attached
            .as_ref()
            .is_some_and(|attached| self.keep(frame, attached));
        let Some(known) = self.known(frame) else {
            return (Told::default(), None);
        };
        if let Some(active) = descriptor.active_targets
            && frame >= known.active.1
        {
            known.active = (active, frame);
        }
        let (active, said_at) = known.active;
        // A late one is of before.
        let active = if frame >= said_at { active } else { u32::MAX };
        let structure = &known.structure;
        let spatial = descriptor.spatial;
        meta.spatial = spatial;
        meta.temporal = descriptor.temporal;
        meta.end_of_frame = descriptor.mandatory.end_of_frame;
        meta.start_of_frame = descriptor.mandatory.start_of_frame && spatial == 0;
        meta.keyframe_start = meta.start_of_frame && descriptor.is_key_frame();
        let to = |layer: u8| {
            let target = structure.target(layer, u8::MAX)?;
            let own = descriptor.indications.get(target).copied()?;
            // One that the sender does not go on with has no use for anything.
            let goes_on = active >> target & 1 == 1;
            Some(if goes_on { own } else { Indication::NotPresent })
        };
        meta.layer_sync = to(spatial) == Some(Indication::Switch);
        meta.needed_by = 0;
        for layer in 0..LAYERS_MAX as u8 {
            // A layer without a target of its own is nobody's choice; its packets go with it.
            let needed = to(layer).map_or(layer == spatial, |own| own != Indication::NotPresent);
            meta.needed_by |= u8::from(needed) << layer;
        }
        let links: Links = std::array::from_fn(|layer| {
            let target = structure.target(layer as u8, u8::MAX)?;
            let chain = structure.targets().get(target)?.protected_by?;
            descriptor.chains.get(usize::from(chain)).copied()
        });
        let part = Part {
            frame,
            seq: meta.seq,
            starts: descriptor.mandatory.start_of_frame,
            ends: descriptor.mandatory.end_of_frame,
            key: meta.keyframe_start,
            links,
        };
        let told = Told {
            announced,
            kept,
            broken: 0,
        };
        (told, Some(part))
    }

    /// The highest layer up to `layer` that lacks nothing it can't do without; `layer` itself if there is none.
    #[must_use]
    pub fn highest_held(&self, layer: u8) -> u8 {
        self.chains.highest_held(layer)
    }

    /// Keeps a structure in its place: one that was repaired late is not the newest. False if it is of no use.
    fn keep(&mut self, frame: i64, structure: &Structure) -> bool {
        let known = Box::new(Known {
            structure: structure.clone(),
            since: frame,
            active: (u32::MAX, frame),
        });
        let since = |known: &Option<Box<Known>>| known.as_ref().map(|known| known.since);
        if since(&self.newest).is_none_or(|newest| frame > newest) {
            self.before = self.newest.replace(known);
            true
        } else if since(&self.newest) != Some(frame)
            && since(&self.before).is_none_or(|before| frame > before)
        {
            self.before = Some(known);
            true
        } else {
            false
        }
    }

    fn known(&mut self, frame: i64) -> Option<&mut Known> {
        let both = [&mut self.newest, &mut self.before];
        let mut known = both.into_iter().filter_map(|known| known.as_deref_mut());
        known.find(|known| frame >= known.since)
    }

    /// The structure that frame `frame` is described by, if it is known.
    #[must_use]
    pub fn of(&self, frame: i64) -> Option<&Structure> {
        let both = [&self.newest, &self.before];
        let mut known = both.into_iter().filter_map(|known| known.as_deref());
        let known = known.find(|known| frame >= known.since)?;
        Some(&known.structure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::dependency_descriptor::Patch;
    use crate::codec::dependency_descriptor::testing::{describe, l1t3, l3t3_key};

    fn taken(own: &mut Dependencies, frame: i64, data: &[u8]) -> (PacketMeta, Option<Announced>) {
        let mut meta = PacketMeta {
            seq: frame as u64,
            ..PacketMeta::default()
        };
        let told = own.take(Time::ZERO, frame, data, &mut meta);
        (meta, told.announced)
    }

    #[test]
    fn layers_of_key_pictures_and_of_others() {
        let structure = l3t3_key(0);
        let mut own = Dependencies::default();
        let (key, announced) = taken(&mut own, 1, &describe(&structure, 0, 1, true));
        assert!(key.keyframe_start && key.layer_sync);
        assert_eq!(key.needed_by, 0b111);
        assert_eq!(announced.map(|announced| announced.count), Some(3));
        assert_eq!(
            announced.and_then(|announced| announced.largest()),
            Some(FrameSize {
                width: 1280,
                height: 720
            })
        );
        // The middle layer of the key picture, and a picture after it.
        let (middle, _) = taken(&mut own, 2, &describe(&structure, 5, 2, false));
        assert_eq!((middle.spatial, middle.needed_by), (1, 0b110));
        assert!(!middle.keyframe_start && !middle.start_of_frame);
        let (base, _) = taken(&mut own, 4, &describe(&structure, 1, 4, false));
        assert_eq!((base.spatial, base.needed_by), (0, 0b001));
        let (top, _) = taken(&mut own, 6, &describe(&structure, 13, 6, false));
        assert_eq!((top.spatial, top.temporal, top.needed_by), (2, 2, 0b100));
        assert!(!top.layer_sync);
    }

    #[test]
    fn a_late_structure_takes_no_newer_ones_place() {
        let mut own = Dependencies::default();
        taken(&mut own, 100, &describe(&l1t3(10), 0, 100, true));
        let (late, announced) = taken(&mut own, 40, &describe(&l3t3_key(20), 0, 40, true));
        assert!(late.keyframe_start && announced.is_some());
        assert_eq!(own.of(100).map(|structure| structure.offset), Some(10));
        assert_eq!(own.of(99).map(|structure| structure.offset), Some(20));
        assert!(own.of(39).is_none());
    }

    #[test]
    fn what_is_late_is_read_by_the_structure_of_its_time() {
        let (first, second) = (l3t3_key(20), l1t3(50));
        let mut own = Dependencies::default();
        taken(&mut own, 40, &describe(&first, 0, 40, true));
        taken(&mut own, 100, &describe(&second, 0, 100, true));
        let (late, _) = taken(&mut own, 57, &describe(&first, 13, 57, false));
        assert_eq!((late.spatial, late.needed_by), (2, 0b100));
        // Of what is older still, nobody knows who needs it.
        let (lost, announced) = taken(&mut own, 39, &describe(&first, 1, 39, false));
        assert_eq!((lost.needed_by, announced), (0, None));
    }

    #[test]
    fn targets_that_ended_stay_so_until_they_are_told_again() {
        let structure = l3t3_key(0);
        let mut own = Dependencies::default();
        taken(&mut own, 1, &describe(&structure, 0, 1, true));
        let stop = Patch {
            frame_number: 4,
            active_targets: Some(structure.targets_up_to(0)),
            target_count: structure.targets().len() as u8,
            ..Patch::default()
        };
        let mut buf = [0; 64];
        let len = stop
            .apply(&describe(&structure, 1, 4, false), &mut buf)
            .expect("fits");
        taken(&mut own, 4, &buf[..len]);
        let (top, _) = taken(&mut own, 6, &describe(&structure, 11, 6, false));
        assert_eq!(top.needed_by, 0);
        // One from before the end.
        let (late, _) = taken(&mut own, 3, &describe(&structure, 11, 3, false));
        assert_eq!(late.needed_by, 0b100);
        let (key, _) = taken(&mut own, 7, &describe(&structure, 0, 7, true));
        assert_eq!(key.needed_by, 0b111);
    }
}
