//! What descriptors say, against what the encoder did: ids that go on, references that are those of the encoder,
//! and layers that are there.

use super::Emitted;
use super::picture::{Picture, report};
use super::{Violation, stream};
use crate::codec::{Ids, Label, Said, av1, vp9};

/// Every packet says of its frame what the encoder made of it.
pub(super) fn check_frame(frame: &[Emitted], found: &mut Vec<Violation>) {
    for packet in frame {
        let label = &packet.facts.label;
        let true_to_it = match packet.facts.said {
            Said::Nothing => true,
            Said::Vp8(ids) => ids.temporal == label.temporal,
            Said::Vp9(said) => vp9_tells(&said, label),
            Said::Av1(said) => av1_tells(&said, label),
        };
        if !true_to_it {
            report(found, packet, "a descriptor that tells what is not so");
        }
        if let (Said::Vp8(ids), Said::Vp8(first)) = (packet.facts.said, frame[0].facts.said)
            && ids != first
        {
            report(found, packet, "packets of a frame differ in their ids");
        }
    }
}

fn vp9_tells(said: &vp9::Said, label: &Label) -> bool {
    (said.spatial, said.temporal) == (label.spatial, label.temporal)
        && (said.starts, said.ends) == (label.starts(), label.ends())
        && (said.before, said.below) == (label.before.is_some(), label.below.is_some())
}

fn av1_tells(said: &av1::Said, label: &Label) -> bool {
    let references = said.references.iter().filter(|distance| **distance > 0);
    let references = references.map(|distance| label.frame.wrapping_sub(u32::from(*distance)));
    (said.spatial, said.temporal) == (label.spatial, label.temporal)
        && (said.starts, said.ends) == (label.starts(), label.ends())
        && said.attached == (label.enters() && label.starts())
        && references.eq(label.references())
}

/// The ids of the packets of one picture are those of one picture.
pub(super) fn check_picture(picture: &Picture<'_>, found: &mut Vec<Violation>) {
    let first = picture.first();
    for packet in picture.packets {
        let frames = packet.facts.label.frame.wrapping_sub(picture.label().frame);
        let together = match (first.facts.said, packet.facts.said) {
            (Said::Vp9(one), Said::Vp9(other)) => (one.picture_id, one.tl0) == (other.picture_id, other.tl0),
            (Said::Av1(one), Said::Av1(other)) => u32::from(other.frame.wrapping_sub(one.frame)) == frames,
            _ => true,
        };
        if !together {
            report(found, packet, "frames of a picture differ in their ids");
        }
    }
}

/// The ids of two pictures that follow each other.
pub(super) fn check_neighbours(before: &Picture<'_>, after: &Picture<'_>, found: &mut Vec<Violation>) {
    let (old, new) = (before.last(), after.first());
    let adjacent = stream::adjacent(old, new);
    match (before.first().facts.said, new.facts.said) {
        (Said::Vp8(old), Said::Vp8(ids)) => check_vp8(&old, &ids, adjacent, new, found),
        (Said::Vp9(one), Said::Vp9(other)) => {
            let pictures = other.picture_id.wrapping_sub(one.picture_id) & 0x7fff;
            let truth = new.facts.label.picture.wrapping_sub(before.label().picture) & 0x7fff;
            check_steps(before.first(), new, (u32::from(pictures), truth, 1 << 14), found);
            if let (Some(old_tl0), Some(tl0)) = (one.tl0, other.tl0) {
                let step = tl0.wrapping_sub(old_tl0);
                check_lowest(before.first(), new, step, adjacent, found);
            }
        }
        (Said::Av1(one), Said::Av1(other)) => {
            let frames = other.frame.wrapping_sub(one.frame);
            let truth = new.facts.label.frame.wrapping_sub(before.label().frame) & 0xffff;
            check_steps(before.first(), new, (u32::from(frames), truth, 1 << 15), found);
        }
        _ => {}
    }
}

/// Ids by which references are found move as the encoder's did; a picture that refers to nothing may begin anew, above
/// all before it.
fn check_steps(
    old: &Emitted,
    new: &Emitted,
    (step, truth, half): (u32, u32, u32),
    found: &mut Vec<Violation>,
) {
    let (was, is) = (&old.facts.label, &new.facts.label);
    let anew = is.enters() || was.source != is.source;
    let right = step == truth && was.source == is.source || anew && (1..half).contains(&step);
    if !right {
        report(found, new, &format!("ids move by {step} instead of {truth}"));
    }
}

fn check_lowest(old: &Emitted, new: &Emitted, step: u8, adjacent: bool, found: &mut Vec<Violation>) {
    let (was, is) = (&old.facts.label, &new.facts.label);
    let truth = is.lowest.wrapping_sub(was.lowest) as u8;
    let same = was.source == is.source && step == truth;
    let anew = is.enters() && (step == 1 || !adjacent);
    if !same && !anew && (adjacent || was.source == is.source) {
        report(
            found,
            new,
            &format!("TL0PICIDX moves by {step} instead of {truth}"),
        );
    }
}

fn check_vp8(old: &Ids, new: &Ids, adjacent: bool, packet: &Emitted, found: &mut Vec<Violation>) {
    let pictures = new.picture_id.wrapping_sub(old.picture_id) & 0x7fff;
    if adjacent && pictures != 1 {
        report(
            found,
            packet,
            &format!("picture ids go from {} to {}", old.picture_id, new.picture_id),
        );
    } else if !(1..1 << 14).contains(&pictures) {
        report(
            found,
            packet,
            &format!(
                "picture ids go back from {} to {}",
                old.picture_id, new.picture_id
            ),
        );
    }
    if !adjacent {
        return;
    }
    let lowest = new.tl0.wrapping_sub(old.tl0);
    if lowest != u8::from(new.temporal == 0) {
        report(
            found,
            packet,
            &format!("TL0PICIDX goes from {} to {}", old.tl0, new.tl0),
        );
    }
    let keys = new.key_index.wrapping_sub(old.key_index) & 0x1f;
    if keys != u8::from(packet.facts.label.key) {
        report(
            found,
            packet,
            &format!("KEYIDX goes from {} to {}", old.key_index, new.key_index),
        );
    }
}

/// A receiver waits for the layers of the decode targets that go on, and for no others: what is sent is part of one of
/// them, and a picture ends with their highest layer.
pub(super) fn check_targets(pictures: &[Picture<'_>], found: &mut Vec<Violation>) {
    let mut active = u32::MAX;
    for picture in pictures {
        let mut highest = None;
        for frame in picture.frames() {
            let packet = &frame[0];
            let Said::Av1(said) = packet.facts.said else {
                return;
            };
            if said.attached {
                active = u32::MAX;
            }
            active = said.active.unwrap_or(active);
            if packet.facts.label.starts() && said.present & active == 0 {
                report(found, packet, "a frame of no target that goes on");
            }
            highest = said
                .highest(active)
                .filter(|highest| *highest < packet.facts.label.layers);
        }
        let shown = picture.last().facts.label.spatial;
        if picture.is_whole() && highest.is_some_and(|highest| highest != shown) {
            let what = format!("ends with layer {shown}, and targets go on to {highest:?}");
            report(found, picture.last(), &what);
        }
    }
}
