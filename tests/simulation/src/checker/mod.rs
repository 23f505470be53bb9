//! The reference checker: whether what the server sent on a slot can be decoded, and is one stream.
//!
//! It reads everything that left the server, in the receiver's numbers, and knows from the labels what
//! each packet is and what it is predicted from, and from [`Truth`] what the server had. What the path to the receiver loses is not
//! seen here, and what the path to the server lost is not held against it.

mod picture;
mod said;
pub(crate) mod stream;
pub(crate) mod truth;

use kall_dataplane::time::Time;

use crate::codec::{Facts, Source};
pub(crate) use stream::check;
pub(crate) use truth::Truth;

/// A packet of video that left the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Emitted {
    pub(crate) at: Time,
    /// Extended number on the slot's primary stream.
    pub(crate) seq: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    /// It was sent again.
    pub(crate) again: bool,
    pub(crate) facts: Facts,
}

/// Everything that left the server on one slot.
#[derive(Debug, Default)]
pub(crate) struct SlotLog {
    highest: Option<u64>,
    pub(crate) packets: Vec<Emitted>,
    /// The source of the newest frame, and when it changed.
    pub(crate) shown: Vec<(Time, Source)>,
}

impl SlotLog {
    pub(crate) fn push(
        &mut self,
        at: Time,
        sequence: u16,
        timestamp: u32,
        marker: bool,
        again: bool,
        facts: Facts,
    ) {
        let highest = self.highest.unwrap_or((1 << 16) + u64::from(sequence));
        let step = sequence.wrapping_sub(highest as u16) as i16;
        let seq = highest.wrapping_add_signed(i64::from(step));
        self.highest = Some(highest.max(seq));
        let label = &facts.label;
        let source = label.shows();
        // Of the layers of one stream the last of a picture is the one that is shown.
        let tells = label.layers == 1 || marker;
        if !again && tells && seq >= highest && self.shown.last().is_none_or(|(_, shown)| *shown != source) {
            self.shown.push((at, source));
        }
        self.packets.push(Emitted {
            at,
            seq,
            timestamp,
            marker,
            again,
            facts,
        });
    }
}

/// Something a receiver can't make sense of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When it left the server.
    pub at: Time,
    /// Where and what, in words.
    pub what: String,
}
