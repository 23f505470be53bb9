//! Pictures of a slot's stream: all packets of one timestamp, in the order of their numbers.

use super::{Emitted, Violation};
use crate::codec::Label;

/// Packets of one timestamp: the frames of the spatial layers that were sent, the lowest first.
pub(super) struct Picture<'a> {
    pub(super) packets: &'a [Emitted],
}

impl<'a> Picture<'a> {
    pub(super) fn first(&self) -> &'a Emitted {
        &self.packets[0]
    }

    pub(super) fn last(&self) -> &'a Emitted {
        &self.packets[self.packets.len() - 1]
    }

    pub(super) fn label(&self) -> &'a Label {
        &self.first().facts.label
    }

    /// Its frames, each with the packets of it that were sent.
    pub(super) fn frames(&self) -> impl Iterator<Item = &'a [Emitted]> {
        self.packets
            .chunk_by(|a, b| a.facts.label.frame == b.facts.label.frame)
    }

    /// Whether no number is missing between its beginning and its end.
    pub(super) fn is_whole(&self) -> bool {
        let numbers = self.last().seq - self.first().seq + 1;
        self.label().starts() && self.last().marker && numbers == self.packets.len() as u64
    }
}

/// Whether a receiver has all of a frame: it begins, ends, and lacks no number.
pub(super) fn is_whole(frame: &[Emitted]) -> bool {
    let (first, last) = (&frame[0], &frame[frame.len() - 1]);
    let numbers = last.seq - first.seq + 1;
    first.facts.label.starts() && last.facts.label.ends() && numbers == frame.len() as u64
}

pub(super) fn report(found: &mut Vec<Violation>, packet: &Emitted, what: &str) {
    let label = &packet.facts.label;
    found.push(Violation {
        at: packet.at,
        what: format!(
            "{what}: number {}, publisher {} layer {} frame {} packet {}/{}",
            packet.seq & 0xffff,
            label.source.peer,
            label.shows().layer,
            label.frame,
            label.packet + 1,
            label.packets
        ),
    });
}

/// The packets of a picture stand side by side, and the last one alone says that it is the last.
pub(super) fn check(picture: &Picture<'_>, found: &mut Vec<Violation>) {
    let first = picture.label();
    for packet in picture.packets {
        let label = &packet.facts.label;
        if (label.source, label.picture) != (first.source, first.picture) {
            report(found, packet, "two frames of one time");
            return;
        }
        // Where an upper layer was lost on the way to the server, nothing says that a picture ends.
        let ends = label.ends() && packet.seq == picture.last().seq;
        let told = if label.layers == 1 {
            packet.marker == ends
        } else {
            !packet.marker || ends
        };
        if !told {
            report(
                found,
                packet,
                "a marker where none belongs, or none where one does",
            );
        }
    }
    for pair in picture.packets.windows(2) {
        let (old, new) = (&pair[0].facts.label, &pair[1].facts.label);
        let numbers = (pair[1].seq - pair[0].seq) as i64;
        let (at, to) = (i64::from(old.packet), i64::from(new.packet));
        let stand = if old.frame == new.frame {
            numbers == to - at
        } else {
            // Layers between the two may have been lost, but nothing of these two is left out.
            old.frame < new.frame && numbers >= i64::from(old.packets) - at + to
        };
        if !stand {
            report(found, &pair[1], "packets of a frame do not stand side by side");
        }
    }
}
