//! What a stream's dependency descriptors say of its packets.
//!
//! Owns the newest structure of one incoming stream. A packet from before that structure can't be
//! read any more: its template is of another one.

use crate::codec::FrameSize;
use crate::codec::dependency_descriptor::{Descriptor, Indication, Structure};
use crate::forward::layers::LAYERS_MAX;
use crate::rtp::packet_ring::PacketMeta;

/// The structure that holds now.
#[derive(Debug, Default)]
pub struct Dependencies {
    structure: Option<Box<Structure>>,
    /// Frame number, extended, that it came with.
    since: i64,
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
    /// Takes in the descriptor of frame `frame` and writes what it says into the packet's facts. Gives what a
    /// structure that came with it announces. A descriptor that can't be read says nothing.
    pub fn take(&mut self, frame: i64, data: &[u8], meta: &mut PacketMeta) -> Option<Announced> {
        let descriptor = Descriptor::parse(data, self.of(frame)).ok()?;
        let structure = descriptor.attached.as_ref().or(self.of(frame))?;
        let spatial = descriptor.spatial;
        meta.spatial = spatial;
        meta.temporal = descriptor.temporal;
        meta.end_of_frame = descriptor.mandatory.end_of_frame;
        meta.start_of_frame = descriptor.mandatory.start_of_frame && spatial == 0;
        meta.keyframe_start = meta.start_of_frame && descriptor.is_key_frame();
        let active = descriptor.active_targets.unwrap_or(u32::MAX);
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
        let attached = descriptor.attached?;
        let announced = Announced::new(attached.spatial_layers(), attached.sizes().unwrap_or_default());
        // One that was repaired late is not the newest.
        if self.structure.is_none() || frame >= self.since {
            self.since = frame;
            match &mut self.structure {
                Some(own) => **own = attached,
                None => self.structure = Some(Box::new(attached)),
            }
        }
        Some(announced)
    }

    /// The structure that frame `frame` is described by, if it is known.
    #[must_use]
    pub fn of(&self, frame: i64) -> Option<&Structure> {
        self.structure.as_deref().filter(|_| frame >= self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::dependency_descriptor::testing::{describe, l1t3, l3t3_key};

    fn taken(own: &mut Dependencies, frame: i64, data: &[u8]) -> (PacketMeta, Option<Announced>) {
        let mut meta = PacketMeta::default();
        let announced = own.take(frame, data, &mut meta);
        (meta, announced)
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
        assert!(late.keyframe_start && announced.is_some(), "it is read by itself");
        assert_eq!(own.of(100).map(|structure| structure.offset), Some(10));
        assert!(own.of(99).is_none());
        let (old, announced) = taken(&mut own, 41, &describe(&l3t3_key(20), 1, 41, false));
        assert_eq!(
            (old, announced),
            (PacketMeta::default(), None),
            "unreadable by now"
        );
    }
}
