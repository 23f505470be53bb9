//! The rules for one slot's stream, applied to all of it in the order of its numbers.

use std::collections::HashMap;

use kall_dataplane::time::Time;

use super::{Emitted, SlotLog, Truth, Violation};
use crate::codec::{Ids, Label, Source};

/// Ticks of video's RTP clock in a second.
const CLOCK: i128 = 90_000;

/// Frames younger than this at the end may be on their way still.
const UNSETTLED: std::time::Duration = std::time::Duration::from_millis(500);

/// Packets of one timestamp, in the order of their numbers.
struct Frame<'a> {
    packets: &'a [Emitted],
}

impl Frame<'_> {
    fn first(&self) -> &Emitted {
        &self.packets[0]
    }

    fn last(&self) -> &Emitted {
        &self.packets[self.packets.len() - 1]
    }

    fn label(&self) -> &Label {
        &self.first().facts.label
    }

    /// Whether a receiver has all of it: it begins, ends, and lacks no number.
    fn is_whole(&self) -> bool {
        let numbers = self.last().seq - self.first().seq + 1;
        self.label().starts() && self.last().marker && numbers == self.packets.len() as u64
    }
}

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
    let frames: Vec<Frame<'_>> = packets
        .chunk_by(|a, b| a.timestamp == b.timestamp)
        .map(|packets| Frame { packets })
        .collect();
    for frame in &frames {
        check_frame(frame, &mut found);
    }
    for pair in frames.windows(2) {
        check_neighbours(&pair[0], &pair[1], &mut found);
    }
    check_references(&frames, truth, &mut found);
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

fn report(found: &mut Vec<Violation>, packet: &Emitted, what: &str) {
    let label = &packet.facts.label;
    found.push(Violation {
        at: packet.at,
        what: format!(
            "{what}: number {}, publisher {} layer {} frame {} packet {}/{}",
            packet.seq & 0xffff,
            label.source.peer,
            label.source.layer,
            label.frame,
            label.packet + 1,
            label.packets
        ),
    });
}

fn check_frame(frame: &Frame<'_>, found: &mut Vec<Violation>) {
    let first = frame.label();
    for packet in frame.packets {
        let label = &packet.facts.label;
        if (label.source, label.frame) != (first.source, first.frame) {
            report(found, packet, "two frames of one time");
            return;
        }
        if packet.marker != label.ends() {
            report(
                found,
                packet,
                "a marker where none belongs, or none where one does",
            );
        }
        let numbers = (packet.seq - frame.first().seq) as i64;
        if numbers != i64::from(label.packet) - i64::from(first.packet) {
            report(found, packet, "packets of a frame do not stand side by side");
        }
        if packet.facts.ids != frame.first().facts.ids {
            report(found, packet, "packets of a frame differ in their ids");
        }
    }
}

fn check_neighbours(before: &Frame<'_>, after: &Frame<'_>, found: &mut Vec<Violation>) {
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
    let adjacent = new.seq == old.seq + 1;
    if adjacent && !old.marker {
        report(found, new, "the frame before is cut, and no number is missing");
    }
    if adjacent && !new_label.starts() {
        report(
            found,
            new,
            "a frame without its beginning, and no number is missing",
        );
    }
    if let (Some(old), Some(ids)) = (old.facts.ids, new.facts.ids) {
        check_ids(&old, &ids, adjacent, new, found);
    }
}

fn check_ids(old: &Ids, new: &Ids, adjacent: bool, packet: &Emitted, found: &mut Vec<Violation>) {
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

/// Whatever is sent whole can be decoded, unless its reference never reached the server, or only when
/// another key frame had made it needless, or when nothing of its source was sent any more.
fn check_references(frames: &[Frame<'_>], truth: &Truth, found: &mut Vec<Violation>) {
    let mut fates: HashMap<u32, Fate> = HashMap::new();
    let mut source: Option<Source> = None;
    for (index, frame) in frames.iter().enumerate() {
        if !frame.is_whole() {
            continue;
        }
        let label = frame.label();
        let fate = if label.key {
            source = Some(label.source);
            fates.clear();
            Fate::Decodable
        } else if source != Some(label.source) {
            report(found, frame.first(), "begins with a picture that is no key frame");
            source = Some(label.source);
            fates.clear();
            Fate::Broken
        } else {
            match fates.get(&label.reference) {
                Some(fate) => *fate,
                None => {
                    let superseded = frames[index..].iter().find(|later| later.label().key);
                    let superseded = superseded.map(|key| key.first().at);
                    let shown = frames[index..]
                        .iter()
                        .take_while(|later| later.label().source == label.source);
                    let last = shown.last().map(|last| last.first().at);
                    if let Some(at) = truth.whole_at(label.source, label.reference)
                        && superseded.is_none_or(|superseded| at < superseded)
                        && last.is_some_and(|last| at < last)
                    {
                        let what = format!("predicted from frame {}, which was not sent", label.reference);
                        report(found, frame.first(), &what);
                    }
                    Fate::Broken
                }
            }
        };
        fates.insert(label.frame, fate);
    }
}

#[cfg(test)]
mod tests;
