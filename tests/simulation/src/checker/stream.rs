//! The rules for one slot's stream, applied to all of it in the order of its numbers.

use std::collections::HashMap;

use kall_dataplane::time::Time;

use super::picture::{self, Picture, report};
use super::{Emitted, SlotLog, Truth, Violation, said};
use crate::codec::Source;

/// Ticks of video's RTP clock in a second.
const CLOCK: i128 = 90_000;

/// Frames younger than this at the end may be on their way still.
const UNSETTLED: std::time::Duration = std::time::Duration::from_millis(500);

/// What became of a frame that others may be predicted from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Decodable,
    /// Not decodable, and said so already or no fault of the server.
    Broken,
}

/// Checks all that a slot sent until `end`.
pub(crate) fn check(log: &SlotLog, truth: &Truth, end: Time) -> Vec<Violation> {
    let mut found = Vec::new();
    let packets = in_order(&log.packets, &mut found);
    let pictures: Vec<Picture<'_>> = packets
        .chunk_by(|a, b| a.timestamp == b.timestamp)
        .map(|packets| Picture { packets })
        .collect();
    for picture in &pictures {
        picture::check(picture, &mut found);
        for frame in picture.frames() {
            said::check_frame(frame, &mut found);
        }
        said::check_picture(picture, &mut found);
    }
    for pair in pictures.windows(2) {
        check_neighbours(&pair[0], &pair[1], &mut found);
        said::check_neighbours(&pair[0], &pair[1], &mut found);
    }
    said::check_targets(&pictures, &mut found);
    check_references(&pictures, truth, &mut found);
    found.retain(|violation| end.since(violation.at) > UNSETTLED);
    found.sort_by_key(|violation| violation.at);
    found
}

/// One packet for each number; what was sent again must be what was sent.
fn in_order(packets: &[Emitted], found: &mut Vec<Violation>) -> Vec<Emitted> {
    let mut sorted = packets.to_vec();
    // Stable: the first packet of a number stays the first.
    sorted.sort_by_key(|packet| packet.seq);
    sorted.dedup_by(|later, first| {
        if later.seq != first.seq {
            return false;
        }
        if !later.again {
            report(found, later, "a number that was used before");
        } else if (later.timestamp, later.marker, later.facts) != (first.timestamp, first.marker, first.facts)
        {
            report(found, later, "sent again, but not what was sent");
        }
        true
    });
    sorted
}

/// Whether no number is missing between two packets.
pub(super) fn adjacent(old: &Emitted, new: &Emitted) -> bool {
    new.seq == old.seq + 1
}

fn check_neighbours(before: &Picture<'_>, after: &Picture<'_>, found: &mut Vec<Violation>) {
    let (old, new) = (before.last(), after.first());
    let step = new.timestamp.wrapping_sub(old.timestamp).cast_signed();
    if step <= 0 {
        report(
            found,
            new,
            &format!("time goes back by {} ticks", -i64::from(step)),
        );
    }
    let (old_label, new_label) = (before.label(), after.label());
    if old_label.source == new_label.source {
        let captured = i128::from(new_label.captured) - i128::from(old_label.captured);
        let ticks = captured * CLOCK / 1_000_000_000;
        // The publisher rounds each of the two.
        if (i128::from(step) - ticks).abs() > 2 {
            report(
                found,
                new,
                &format!("time moves by {step} ticks instead of {ticks}"),
            );
        }
    }
    if !adjacent(old, new) {
        return;
    }
    if !old.marker {
        report(found, new, "the frame before is cut, and no number is missing");
    }
    if !new_label.starts() {
        report(
            found,
            new,
            "a frame without its beginning, and no number is missing",
        );
    }
}

/// Whatever is sent whole can be decoded, unless its reference never reached the server, or only when
/// another key frame had made it needless, or when nothing of its source was sent any more.
fn check_references(pictures: &[Picture<'_>], truth: &Truth, found: &mut Vec<Violation>) {
    let mut fates: HashMap<u32, Fate> = HashMap::new();
    let mut source: Option<Source> = None;
    for (index, picture) in pictures.iter().enumerate() {
        for frame in picture.frames() {
            let label = &frame[0].facts.label;
            if label.enters() {
                source = Some(label.source);
                fates.clear();
            }
            if !picture::is_whole(frame) {
                continue;
            }
            if source != Some(label.source) {
                report(found, &frame[0], "begins with a picture that is no key frame");
                source = Some(label.source);
                fates.clear();
                fates.insert(label.frame, Fate::Broken);
                continue;
            }
            let mut fate = Fate::Decodable;
            for reference in label.references() {
                let own = fates.get(&reference).copied().unwrap_or_else(|| {
                    if was_left_out(&pictures[index..], reference, truth) {
                        let what = format!("predicted from frame {reference}, which was not sent");
                        report(found, &frame[0], &what);
                    }
                    Fate::Broken
                });
                if own == Fate::Broken {
                    fate = Fate::Broken;
                }
            }
            fates.insert(label.frame, fate);
        }
    }
}

/// Whether the server had a frame that the first of these pictures is predicted from, and in time to send it.
fn was_left_out(pictures: &[Picture<'_>], reference: u32, truth: &Truth) -> bool {
    let source = pictures[0].label().source;
    // The picture itself may be the key picture whose layer it lacks.
    let later = pictures.iter().enumerate();
    let mut later = later.skip_while(|(index, later)| *index == 0 || !later.label().enters());
    let superseded = later.next().map(|(_, key)| key.first().at);
    // Of a slot that was stopped nothing is sent until that key picture.
    let shown = pictures.iter().enumerate().take_while(|(index, later)| {
        later.label().source == source && (*index == 0 || !later.label().enters())
    });
    let last = shown.last().map(|(_, last)| last.first().at);
    truth.whole_at(source, reference).is_some_and(|at| {
        superseded.is_none_or(|superseded| at < superseded) && last.is_some_and(|last| at < last)
    })
}

#[cfg(test)]
mod tests;
