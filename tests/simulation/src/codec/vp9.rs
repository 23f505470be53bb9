//! VP9: the payload descriptor (RFC 9628 section 4.2). It is read by code of its own, so that no mistake of the
//! server's can hide in it.

use super::{Facts, Form, Frame, Label, Said as SaidOf, write_body};

const HAS_ID: u8 = 0x80;
const PREDICTED: u8 = 0x40;
const HAS_LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const START: u8 = 0x08;
const END: u8 = 0x04;
const HAS_STRUCTURE: u8 = 0x02;
const NOT_BELOW: u8 = 0x01;

/// What a descriptor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) picture_id: u16,
    /// TL0PICIDX; not in the flexible mode.
    pub(crate) tl0: Option<u8>,
    pub(crate) temporal: u8,
    pub(crate) sync: bool,
    pub(crate) spatial: u8,
    /// Predicted from an earlier picture; from the layer below.
    pub(crate) before: bool,
    pub(crate) below: bool,
    /// How many pictures back, in the flexible mode.
    pub(crate) distance: Option<u8>,
    pub(crate) starts: bool,
    pub(crate) ends: bool,
}

pub(super) fn write(form: &Form, frame: &Frame, label: &Label, body: usize, out: &mut Vec<u8>) {
    let ids = &frame.ids;
    // A stream of one layer names none.
    let layered = form.temporal > 1 || form.sizes.len() > 1;
    let flexible = layered && form.flexible;
    let sized = label.enters() && label.starts();
    let referred = !frame.ends_picture() && (frame.key || form.dependence == super::Dependence::Every);
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.push(
        HAS_ID
            | flag(frame.before.is_some(), PREDICTED)
            | flag(layered, HAS_LAYERS)
            | flag(flexible, FLEXIBLE)
            | flag(label.starts(), START)
            | flag(label.ends(), END)
            | flag(sized, HAS_STRUCTURE)
            | flag(!referred, NOT_BELOW),
    );
    out.extend_from_slice(&(ids.picture_id | 0x8000).to_be_bytes());
    if layered {
        let below = frame.below.is_some();
        out.push(ids.temporal << 5 | flag(ids.sync, 0x10) | frame.spatial << 1 | u8::from(below));
        if !flexible {
            out.push(ids.tl0);
        }
    }
    if flexible && frame.before.is_some() {
        out.push(frame.distance << 1);
    }
    if sized {
        out.push((frame.layers - 1) << 5 | 0x10);
        for (width, height) in &form.sizes[..usize::from(frame.layers)] {
            out.extend_from_slice(&width.to_be_bytes());
            out.extend_from_slice(&height.to_be_bytes());
        }
    }
    write_body(label, body, out);
}

pub(super) fn read(payload: &[u8]) -> Option<Facts> {
    let (first, rest) = payload.split_first()?;
    let has = |bit: u8| first & bit != 0;
    let (id, mut rest) = rest.split_first_chunk::<2>().filter(|_| has(HAS_ID))?;
    let mut said = Said {
        picture_id: u16::from_be_bytes(*id) & 0x7fff,
        tl0: None,
        temporal: 0,
        sync: false,
        spatial: 0,
        before: has(PREDICTED),
        below: false,
        distance: None,
        starts: has(START),
        ends: has(END),
    };
    let mut next = |count: usize| {
        let (taken, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(taken)
    };
    if has(HAS_LAYERS) {
        let layers = next(1)?[0];
        said.temporal = layers >> 5;
        said.sync = layers & 0x10 != 0;
        said.spatial = layers >> 1 & 7;
        said.below = layers & 1 == 1;
        if !has(FLEXIBLE) {
            said.tl0 = Some(next(1)?[0]);
        }
    }
    if has(FLEXIBLE) && has(PREDICTED) {
        said.distance = Some(next(1)?[0] >> 1);
    }
    if has(HAS_STRUCTURE) {
        let layers = (next(1)?[0] >> 5) + 1;
        next(4 * usize::from(layers))?;
    }
    Some(Facts {
        label: Label::read(rest)?,
        said: SaidOf::Vp9(said),
    })
}
