//! What publishers sent, and what of it reached the server: the part of the story that no fault of the
//! server can change.

use std::collections::HashMap;

use kall_dataplane::time::Time;

use crate::codec::{Label, Source};

/// Packets of a frame fit a word of flags.
const PACKETS_MAX: u8 = 64;

#[derive(Debug, Clone, Copy, Default)]
struct FrameTruth {
    packets: u8,
    arrived: u64,
    /// When the last packet of it came that had not come before.
    newest: Time,
}

/// Frames of every source, by number, and the packets of every microphone.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    frames: HashMap<Source, Vec<FrameTruth>>,
    /// When each microphone's packets reached the server, by publishing peer.
    spoken: HashMap<u16, Vec<Time>>,
}

impl Truth {
    /// A packet of video leaves its publisher, for the first time or again.
    pub(crate) fn on_sent(&mut self, label: &Label) {
        assert!(
            label.packets <= PACKETS_MAX,
            "a frame of {} packets",
            label.packets
        );
        let frames = self.frames.entry(label.source).or_default();
        let index = label.frame as usize;
        if index >= frames.len() {
            frames.resize(index + 1, FrameTruth::default());
        }
        frames[index].packets = label.packets;
    }

    /// A packet of video reaches the server.
    pub(crate) fn on_arrived(&mut self, now: Time, label: &Label) {
        if let Some(frame) = self
            .frames
            .get_mut(&label.source)
            .and_then(|frames| frames.get_mut(label.frame as usize))
        {
            let packet = 1 << label.packet;
            if frame.arrived & packet == 0 {
                frame.arrived |= packet;
                frame.newest = now;
            }
        }
    }

    /// A packet of a microphone reaches the server.
    pub(crate) fn on_spoken(&mut self, now: Time, peer: u16) {
        self.spoken.entry(peer).or_default().push(now);
    }

    /// When all of a frame had reached the server, if it did.
    pub(super) fn whole_at(&self, source: Source, frame: u32) -> Option<Time> {
        let frame = self.frames.get(&source)?.get(frame as usize)?;
        (frame.arrived.count_ones() == u32::from(frame.packets)).then_some(frame.newest)
    }

    /// When a microphone's packets reached the server.
    pub(crate) fn spoken(&self, peer: u16) -> &[Time] {
        self.spoken.get(&peer).map_or(&[], Vec::as_slice)
    }
}
