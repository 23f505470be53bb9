//! Structures of well-known scalability modes, as browsers send them.

use super::{
    CHAINS_MAX, Descriptor, Indication, Indications, LEN_MAX, Mandatory, References, Structure, TARGETS_MAX,
    Template,
};
use crate::codec::FrameSize;

/// A template written as in the specification's tables.
fn template(spatial: u8, temporal: u8, indications: &str, chains: &[u8], references: &[u16]) -> Template {
    let mut all: Indications = [Indication::NotPresent; TARGETS_MAX];
    for (indication, letter) in all.iter_mut().zip(indications.chars()) {
        *indication = match letter {
            'S' => Indication::Switch,
            'D' => Indication::Discardable,
            'R' => Indication::Required,
            _ => Indication::NotPresent,
        };
    }
    let mut template = Template {
        spatial,
        temporal,
        indications: all,
        references: References::default(),
        chains: [0; CHAINS_MAX],
    };
    template.chains[..chains.len()].copy_from_slice(chains);
    for distance in references {
        assert!(template.references.push(*distance));
    }
    template
}

/// One spatial layer in three temporal ones.
pub(crate) fn l1t3(offset: u8) -> Structure {
    let templates = [
        template(0, 0, "SSS", &[0], &[]),
        template(0, 0, "SSS", &[4], &[4]),
        template(0, 1, "-DS", &[2], &[2]),
        template(0, 2, "--D", &[1], &[1]),
        template(0, 2, "--D", &[3], &[1]),
    ];
    let size = FrameSize {
        width: 640,
        height: 360,
    };
    Structure::new(offset, &templates, 3, &[0; 3], 1, Some(&[size])).expect("well-formed")
}

/// Three spatial layers that depend on each other in key pictures only, each in three temporal ones.
pub(crate) fn l3t3_key(offset: u8) -> Structure {
    let templates = [
        template(0, 0, "SSSSSSSSS", &[0, 0, 0], &[]),
        template(0, 0, "SSS------", &[12, 11, 10], &[12]),
        template(0, 1, "-DS------", &[6, 5, 4], &[6]),
        template(0, 2, "--D------", &[3, 2, 1], &[3]),
        template(0, 2, "--D------", &[9, 8, 7], &[3]),
        template(1, 0, "---SSSSSS", &[1, 1, 1], &[1]),
        template(1, 0, "---SSS---", &[1, 12, 11], &[12]),
        template(1, 1, "----DS---", &[7, 6, 5], &[6]),
        template(1, 2, "-----D---", &[4, 3, 2], &[3]),
        template(1, 2, "-----D---", &[10, 9, 8], &[3]),
        template(2, 0, "------SSS", &[2, 1, 1], &[1]),
        template(2, 0, "------SSS", &[2, 1, 12], &[12]),
        template(2, 1, "-------DS", &[8, 7, 6], &[6]),
        template(2, 2, "--------D", &[5, 4, 3], &[3]),
        template(2, 2, "--------D", &[11, 10, 9], &[3]),
    ];
    let sizes = [(320, 180), (640, 360), (1280, 720)].map(|(width, height)| FrameSize { width, height });
    let chains = [0, 0, 0, 1, 1, 1, 2, 2, 2];
    Structure::new(offset, &templates, 9, &chains, 3, Some(&sizes)).expect("well-formed")
}

/// The descriptor of a frame that follows a template to the letter, more packets of it to come.
pub(super) fn frame(structure: &Structure, template: u8, number: u16, attach: bool) -> Descriptor {
    let template_id = (structure.offset + template) & 0x3f;
    let own = structure.template(template_id).expect("it is there");
    Descriptor {
        mandatory: Mandatory {
            start_of_frame: true,
            end_of_frame: false,
            template_id,
            frame_number: number,
        },
        attached: attach.then(|| structure.clone()),
        active_targets: None,
        spatial: own.spatial,
        temporal: own.temporal,
        indications: own.indications,
        references: own.references,
        chains: own.chains,
    }
}

/// The descriptor of a frame in one packet that follows a template to the letter.
pub(crate) fn describe(structure: &Structure, template: u8, number: u16, attach: bool) -> Vec<u8> {
    let mut descriptor = frame(structure, template, number, attach);
    descriptor.mandatory.end_of_frame = true;
    let mut buf = [0; LEN_MAX];
    let len = descriptor.write(Some(structure), &mut buf).expect("fits");
    buf[..len].to_vec()
}
