//! AV1's dependency descriptors: how a publisher writes them, and whether what a receiver reads there is so.

use std::collections::HashMap;

use kall_dataplane::codec::FrameSize;
use kall_dataplane::codec::dependency_descriptor::{
    CHAINS_MAX, Descriptor, Indication, Indications, LEN_MAX, Mandatory, References, Structure, TARGETS_MAX,
    Template,
};

use crate::clip::{Clip, Coding, Frame, Leaning, PERIOD, Place};

/// What one stream of a clip says of its frames.
#[derive(Debug)]
pub(crate) struct Dependencies {
    coding: Coding,
    /// For each layer one template of key pictures, and those of a period by temporal layer.
    templates: Vec<Template>,
    /// Of layers of one stream; streams of one layer differ in the size.
    sizes: Option<Vec<(u16, u16)>>,
}

/// Layers of a stream, spatial and temporal.
fn counts(coding: Coding) -> (u8, u8) {
    if coding.leaning().is_some() {
        (3, 3)
    } else {
        (1, 1)
    }
}

/// The pictures of a period, and before them a key picture, each kind once and in the order of temporal layers.
fn kinds(coding: Coding) -> Vec<usize> {
    if coding.is_temporal() {
        vec![0, PERIOD, 2, 1, 3]
    } else {
        vec![0, 1]
    }
}

/// What a frame is to each target.
fn indications(coding: Coding, place: Place) -> Indications {
    let (spatial, temporal) = counts(coding);
    let always = coding.leaning() == Some(Leaning::Always);
    let mut all = [Indication::NotPresent; TARGETS_MAX];
    for (target, own) in all.iter_mut().take((spatial * temporal).into()).enumerate() {
        let (to_spatial, to_temporal) = (target as u8 / temporal, target as u8 % temporal);
        let above = to_spatial > place.spatial;
        *own = if to_spatial < place.spatial
            || to_temporal < place.temporal
            || above && !always && !place.is_key()
        {
            Indication::NotPresent
        } else if above && !place.is_key() {
            Indication::Required
        } else if place.temporal > 0 && to_temporal == place.temporal {
            Indication::Discardable
        } else {
            Indication::Switch
        };
    }
    all
}

/// How many frames before this one is the last of the chain of layer `chain`.
fn link(coding: Coding, place: Place, chain: u8) -> u8 {
    let (layers, _) = counts(coding);
    let period = if coding.is_temporal() { PERIOD } else { 1 };
    let since = (place.index % period) as u8;
    let leans = place.is_key() || coding.leaning() == Some(Leaning::Always);
    let spatial = place.spatial;
    let in_picture = since > 0 || spatial > chain;
    if in_picture {
        // The frame of that layer in the newest picture of the lowest temporal layer.
        layers * since + spatial - chain
    } else if leans && spatial > 0 {
        1
    } else if place.is_key() {
        0
    } else {
        layers * period as u8 - (chain - spatial)
    }
}

fn template(coding: Coding, place: Place) -> Template {
    let (layers, _) = counts(coding);
    let mut references = References::default();
    if let Some(earlier) = place.earlier {
        assert!(references.push(u16::from(layers) * earlier));
    }
    if place.below {
        assert!(references.push(1));
    }
    let mut chains = [0; CHAINS_MAX];
    for chain in 0..layers {
        chains[usize::from(chain)] = link(coding, place, chain);
    }
    Template {
        spatial: place.spatial,
        temporal: place.temporal,
        indications: indications(coding, place),
        references,
        chains,
    }
}

impl Dependencies {
    pub(crate) fn new(clip: &Clip) -> Self {
        let coding = clip.coding;
        let (layers, _) = counts(coding);
        let templates = (0..layers)
            .flat_map(|spatial| kinds(coding).into_iter().map(move |index| (spatial, index)))
            .map(|(spatial, index)| template(coding, coding.place(spatial, index)))
            .collect();
        Self {
            coding,
            templates,
            sizes: coding.leaning().map(|_| clip.sizes()),
        }
    }

    /// The descriptor of a packet of a frame, which may be its first and its last.
    pub(crate) fn describe(&self, frame: &Frame, number: u16, (starts, ends): (bool, bool)) -> Vec<u8> {
        let (layers, temporal) = counts(self.coding);
        let sizes: Vec<FrameSize> = (self.sizes.clone())
            .unwrap_or_else(|| vec![frame.size])
            .into_iter()
            .map(|(width, height)| FrameSize { width, height })
            .collect();
        let protected: Vec<u8> = (0..layers)
            .flat_map(|layer| vec![layer; temporal.into()])
            .collect();
        // All streams have the same ids: it is the server that must tell them apart.
        let structure = Structure::new(
            0,
            &self.templates,
            layers * temporal,
            &protected,
            layers,
            Some(&sizes),
        );
        let structure = structure.expect("well-formed");
        let place = frame.place;
        let kinds = kinds(self.coding);
        let period = kinds.len() - 1;
        let kind = if place.is_key() {
            0
        } else {
            let same = |index: &usize| *index > 0 && index % period == place.index % period;
            kinds.iter().position(same).expect("one of a period")
        };
        let template_id = usize::from(place.spatial) * kinds.len() + kind;
        let Template {
            spatial,
            temporal,
            indications,
            references,
            chains,
        } = self.templates[template_id];
        let descriptor = Descriptor {
            mandatory: Mandatory {
                start_of_frame: starts,
                end_of_frame: ends,
                template_id: template_id as u8,
                frame_number: number,
            },
            attached: (place.is_key() && spatial == 0 && starts).then(|| structure.clone()),
            active_targets: None,
            spatial,
            temporal,
            indications,
            references,
            chains,
        };
        let mut buf = [0; LEN_MAX];
        let len = descriptor.write(Some(&structure), &mut buf).expect("fits");
        buf[..len].to_vec()
    }
}

/// What a receiver has been told of the frames of its slot, packet by packet.
#[derive(Debug, Default)]
pub(crate) struct Told {
    structure: Option<Structure>,
    /// The frames since the last key picture, by number, with their layers.
    frames: HashMap<u16, (u8, u8)>,
}

impl Told {
    /// Takes the descriptors of a picture of which every packet came. `follows` says whether nothing is missing since the
    /// picture before.
    ///
    /// # Panics
    /// When packets say otherwise than they stand, or a frame leans on one that did not come.
    pub(crate) fn take(&mut self, packets: &[&[u8]], follows: bool) {
        let mut starts = true;
        let mut lowest = true;
        let mut last = None;
        for data in packets {
            // Of a picture whose key frame was lost.
            let Ok(own) = Descriptor::parse(data, self.structure.as_ref()) else {
                return;
            };
            assert_eq!(own.mandatory.start_of_frame, starts, "where the last frame ended");
            if own.attached.is_some() {
                assert!(starts && lowest);
                self.structure.clone_from(&own.attached);
                self.frames.clear();
            } else if !follows && lowest {
                // What it leans on may be what is missing: it is not decoded before the next key picture.
                self.structure = None;
                return;
            }
            if starts {
                self.check_references(&own);
                let number = own.mandatory.frame_number;
                self.frames.insert(number, (own.spatial, own.temporal));
            }
            starts = own.mandatory.end_of_frame;
            lowest = false;
            last = Some(own);
        }
        let last = last.expect("a picture has packets");
        assert!(last.mandatory.end_of_frame, "the marker ends a frame");
    }

    fn check_references(&self, own: &Descriptor) {
        let number = own.mandatory.frame_number;
        assert_eq!(
            own.is_key_frame(),
            own.attached.is_some(),
            "a key frame has a structure"
        );
        for distance in own.references.distances() {
            let known = self.frames.get(&number.wrapping_sub(*distance));
            let (spatial, temporal) = known.unwrap_or_else(|| panic!("{number} leans on nothing: {own:?}"));
            assert!(*spatial <= own.spatial && *temporal <= own.temporal, "{own:?}");
        }
    }
}
