//! AV1: the aggregation header, and beside the payload the dependency descriptor (RTP Payload Format for
//! AV1, section 4.4 and appendix A).

use kall_dataplane::codec::FrameSize;
use kall_dataplane::codec::dependency_descriptor::{
    CHAINS_MAX, Descriptor, Indication, Indications, LEN_MAX, Mandatory, References, Structure, TARGETS_MAX,
    Template,
};

use super::{Dependence, Facts, Form, Frame, Label, SPATIAL_MAX, Said as SaidOf, write_body};

/// One element without a length: a sequence header that begins a sequence, a frame, and more of a frame.
const SEQUENCE: [u8; 2] = [0x18, 0x08];
const FRAME: [u8; 2] = [0x10, 0x30];
const MORE: [u8; 2] = [0x90, 0x30];

/// Structures a receiver keeps: late packets are read by older ones.
const KEPT: usize = 8;

/// What a descriptor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) frame: u16,
    pub(crate) starts: bool,
    pub(crate) ends: bool,
    pub(crate) spatial: u8,
    pub(crate) temporal: u8,
    /// How many frames back those are that it is predicted from; zero for none.
    pub(crate) references: [u16; 2],
    /// How many frames back the last one of each chain is.
    pub(crate) chains: [u8; SPATIAL_MAX],
    /// It brings the structure that holds from here on.
    pub(crate) attached: bool,
    /// The decode targets that it is part of, by bit.
    pub(crate) present: u32,
    /// The targets that go on, where it says so.
    pub(crate) active: Option<u32>,
    /// The spatial layer of each target, four bits each.
    pub(crate) layers: u64,
}

impl Said {
    /// The highest spatial layer of some targets.
    pub(crate) fn highest(&self, targets: u32) -> Option<u8> {
        let within = (0..16u32).filter(|target| targets >> target & 1 == 1);
        within
            .map(|target| (self.layers >> (4 * target) & 15) as u8)
            .max()
    }
}

/// The structures that came on one slot.
#[derive(Debug, Default)]
pub(crate) struct Structures {
    newest_first: Vec<Structure>,
}

/// A frame's part in each target: of `spatial` and `temporal` layers there are `counts`.
fn indications((spatial, temporal): (u8, u8), counts: (u8, u8), key: bool, every: bool) -> Indications {
    let mut all = [Indication::NotPresent; TARGETS_MAX];
    for target in 0..counts.0 * counts.1 {
        let (to_spatial, to_temporal) = (target / counts.1, target % counts.1);
        let above = to_spatial > spatial;
        all[usize::from(target)] =
            if to_spatial < spatial || to_temporal < temporal || above && !(every || key) {
                Indication::NotPresent
            } else if above && !key {
                Indication::Required
            } else if temporal > 0 && temporal == to_temporal {
                Indication::Discardable
            } else {
                Indication::Switch
            };
    }
    all
}

/// The structure of a stream: for each layer what key pictures and others are like, as far as that is the same for all.
/// `offset` is the id of the first template.
pub(super) fn structure(sizes: &[(u16, u16)], temporal: u8, dependence: Dependence, offset: u8) -> Structure {
    let spatial = sizes.len() as u8;
    let every = dependence == Dependence::Every;
    let mut templates = Vec::new();
    for own in 0..spatial {
        for (time, key) in [(0, true)]
            .into_iter()
            .chain((0..temporal).map(|time| (time, false)))
        {
            templates.push(Template {
                spatial: own,
                temporal: time,
                indications: indications((own, time), (spatial, temporal), key, every),
                references: References::default(),
                chains: [0; CHAINS_MAX],
            });
        }
    }
    let protected: Vec<u8> = (0..spatial)
        .flat_map(|chain| (0..temporal).map(move |_| chain))
        .collect();
    let sizes: Vec<FrameSize> = sizes
        .iter()
        .map(|(width, height)| FrameSize {
            width: *width,
            height: *height,
        })
        .collect();
    let targets = spatial * temporal;
    Structure::new(offset, &templates, targets, &protected, spatial, Some(&sizes)).expect("well-formed")
}

pub(super) fn write(label: &Label, body: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(match (label.starts(), label.enters()) {
        (true, true) => &SEQUENCE,
        (true, false) => &FRAME,
        (false, _) => &MORE,
    });
    write_body(label, body, out);
}

pub(super) fn describe(form: &Form, structure: &Structure, frame: &Frame, label: &Label) -> Vec<u8> {
    let spatial = form.sizes.len() as u8;
    let every = form.dependence == Dependence::Every;
    let layers = (frame.spatial, frame.ids.temporal);
    let counts = (spatial, form.temporal);
    // Of a layer's templates the first is that of key pictures.
    let own = if frame.key { 0 } else { 1 + frame.ids.temporal };
    let template_id = (structure.offset + frame.spatial * (form.temporal + 1) + own) & 0x3f;
    let mut references = References::default();
    for reference in label.references() {
        assert!(references.push((frame.number - reference) as u16));
    }
    let mut chains = [0; CHAINS_MAX];
    chains[..SPATIAL_MAX].copy_from_slice(&frame.chains);
    let starts_picture = frame.spatial == 0 && label.starts();
    let stopped = frame.layers < spatial;
    let descriptor = Descriptor {
        mandatory: Mandatory {
            start_of_frame: label.starts(),
            end_of_frame: label.ends(),
            template_id,
            frame_number: frame.number as u16,
        },
        attached: (frame.key && starts_picture).then(|| structure.clone()),
        // Of the layers that are not coded it is said with every picture that there is nothing to wait for.
        active_targets: (stopped && starts_picture)
            .then(|| structure.targets_up_to(frame.layers.saturating_sub(1))),
        spatial: frame.spatial,
        temporal: frame.ids.temporal,
        indications: indications(layers, counts, frame.key, every),
        references,
        chains,
    };
    let mut buf = [0; LEN_MAX];
    let len = descriptor.write(Some(structure), &mut buf).expect("fits");
    buf[..len].to_vec()
}

pub(super) fn read(payload: &[u8], descriptor: &[u8], structures: &mut Structures) -> Option<Facts> {
    let (_, rest) = payload.split_first_chunk::<2>()?;
    let label = Label::read(rest)?;
    let kept = &mut structures.newest_first;
    let mandatory = Mandatory::parse(descriptor).ok()?;
    let known = kept
        .iter()
        .find(|own| own.template(mandatory.template_id).is_some());
    let read = Descriptor::parse(descriptor, known).ok()?;
    let structure = read.attached.as_ref().or(known)?;
    let mut said = Said {
        frame: mandatory.frame_number,
        starts: mandatory.start_of_frame,
        ends: mandatory.end_of_frame,
        spatial: read.spatial,
        temporal: read.temporal,
        references: [0; 2],
        chains: [0; SPATIAL_MAX],
        attached: read.attached.is_some(),
        present: 0,
        active: read.active_targets,
        layers: 0,
    };
    for (own, told) in said.references.iter_mut().zip(read.references.distances()) {
        *own = *told;
    }
    said.chains.copy_from_slice(&read.chains[..SPATIAL_MAX]);
    for (index, target) in structure.targets().iter().enumerate() {
        said.present |= u32::from(read.indications[index] != Indication::NotPresent) << index;
        said.layers |= u64::from(target.spatial) << (4 * index);
    }
    if let Some(attached) = read.attached
        && kept.first() != Some(&attached)
    {
        kept.insert(0, attached);
        kept.truncate(KEPT);
    }
    Some(Facts {
        label,
        said: SaidOf::Av1(said),
    })
}
