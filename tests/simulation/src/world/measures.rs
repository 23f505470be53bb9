//! What is noted of a call while it runs, for the oracles to judge in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use kall_dataplane::time::Time;

use crate::checker::Violation;

/// What concerns everybody.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    /// What may never happen, and did.
    pub(crate) faults: Vec<Violation>,
    /// The shard's counters in the end.
    pub(crate) counters: BTreeMap<String, u64>,
    /// Messages of dynacast.
    pub(crate) dynacast: u64,
    /// Who was announced as the one who speaks: index of the peer.
    pub(crate) speakers: Vec<(Time, usize)>,
}

impl Measures {
    pub(crate) fn fault(&mut self, at: Time, what: String) {
        self.faults.push(Violation { at, what });
    }
}

/// What the server said of its estimate of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimated {
    pub(crate) at: Time,
    pub(crate) bps: u64,
    /// What the path could carry then; none without a bottleneck.
    pub(crate) capacity: Option<u64>,
}

/// What concerns one peer.
#[derive(Debug, Default)]
pub(crate) struct PeerMeasures {
    pub(crate) estimates: Vec<Estimated>,
    pub(crate) sent_bytes: u64,
    /// What was sent until when.
    pub(crate) sent: Vec<(Time, u64)>,
    pub(crate) padding: u64,
    /// Audio packets that nobody could have brought to the peer.
    pub(crate) audio_lost_on_wire: u64,
    /// When the peer's session was closed.
    pub(crate) closed: Option<Time>,
    /// By video slot.
    pub(crate) slots: Vec<SlotMeasures>,
}

/// What concerns one video slot.
#[derive(Debug, Default)]
pub(crate) struct SlotMeasures {
    /// Who is shown from when on: index of the publishing peer.
    pub(crate) occupants: Vec<(Time, Option<u16>)>,
    /// When it was paused, and when it went on.
    pub(crate) paused: Vec<(Time, bool)>,
}

impl SlotMeasures {
    /// Whether the slot was paused at some time of an interval.
    pub(crate) fn paused_within(&self, from: Time, until: Time) -> bool {
        let before = self.paused.iter().rev().find(|(at, _)| *at <= from);
        before.is_some_and(|(_, paused)| *paused)
            || self
                .paused
                .iter()
                .any(|(at, paused)| *paused && *at > from && *at <= until)
    }

    /// How long the slot was paused before `end`.
    pub(crate) fn paused_for(&self, end: Time) -> Duration {
        let next = self.paused.iter().skip(1).map(|(at, _)| *at).chain([end]);
        let spells = self.paused.iter().zip(next);
        spells
            .filter(|((_, paused), _)| *paused)
            .map(|((at, _), until)| until.since(*at))
            .sum()
    }

    /// Whether the slot changed hands within an interval.
    pub(crate) fn changed_within(&self, from: Time, until: Time) -> bool {
        self.occupants.iter().any(|(at, _)| *at > from && *at <= until)
    }
}
