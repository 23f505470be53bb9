//! VP8: the payload descriptor (RFC 7741 section 4.2) and the frame header (RFC 6386 section 9.1).

use kall_dataplane::codec::vp8::Descriptor;

use super::{Facts, Frame, IdWidth, Ids, Label, Said, write_body};

const EXTENDED: u8 = 0x80;
const NON_REFERENCE: u8 = 0x20;
const START_OF_PARTITION: u8 = 0x10;

/// Picture id, TL0PICIDX, TID and KEYIDX are all there.
const ALL_PRESENT: u8 = 0xf0;

/// Tag of a delta frame, and of a key frame: the lowest bit tells.
const DELTA_TAG: [u8; 3] = [1, 0, 0];
const KEY_TAG: [u8; 3] = [0, 0, 0];
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];

pub(super) fn write(width: IdWidth, frame: &Frame, label: &Label, body: usize, out: &mut Vec<u8>) {
    let ids = &frame.ids;
    let start = if label.starts() { START_OF_PARTITION } else { 0 };
    let top = if ids.temporal == 2 { NON_REFERENCE } else { 0 };
    out.extend_from_slice(&[EXTENDED | start | top, ALL_PRESENT]);
    match width {
        IdWidth::Long => out.extend_from_slice(&(ids.picture_id | 0x8000).to_be_bytes()),
        IdWidth::Short => out.push((ids.picture_id & 0x7f) as u8),
    }
    let sync = if ids.sync { 0x20 } else { 0 };
    out.extend_from_slice(&[ids.tl0, ids.temporal << 6 | sync | ids.key_index & 0x1f]);
    if label.starts() {
        out.extend_from_slice(if label.key { &KEY_TAG } else { &DELTA_TAG });
        if label.key {
            out.extend_from_slice(&START_CODE);
            out.extend_from_slice(&frame.width.to_le_bytes());
            out.extend_from_slice(&frame.height.to_le_bytes());
        }
    }
    write_body(label, body, out);
}

pub(super) fn read(payload: &[u8]) -> Option<Facts> {
    let descriptor = Descriptor::parse(payload).ok()?;
    let header = match (descriptor.is_frame_start(), descriptor.is_keyframe()) {
        (false, _) => 0,
        (true, false) => DELTA_TAG.len(),
        (true, true) => KEY_TAG.len() + START_CODE.len() + 4,
    };
    let label = Label::read(payload.get(descriptor.header_len + header..)?)?;
    Some(Facts {
        label,
        said: Said::Vp8(Ids {
            picture_id: descriptor.picture_id?.value(),
            tl0: descriptor.tl0_picture_index?,
            temporal: descriptor.temporal_id?,
            sync: descriptor.layer_sync,
            key_index: descriptor.key_index?,
        }),
    })
}
