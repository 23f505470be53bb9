//! One peer: its transport, what it publishes and the slots it receives on.
//!
//! A session only holds and wires these together; each part owns its state and its tests. Packets go
//! through [`crate::shard`], which is the one that sees several sessions at once.

pub mod downstream;
pub mod formats;
pub mod incoming;
pub mod outbox;
pub mod transport;

use std::time::Duration;

use kall_shared::id::{Mid, SessionId};
use kall_shared::link::SlotSnapshot;
use kall_shared::media::{Kind, Layer, SessionDescription, SessionParams};

use crate::forward::publication::Publication;
use crate::forward::slot::Slot;
use crate::io::prefetch::prefetch;
use crate::rtp::{CaptureClock, RateMeter, RembSource, ReportSchedule, RtxBudget, TwccRecorder};
use crate::shard::slab::{Key, Slab};
use crate::time::Time;
use downstream::{Downstream, Feedback};
use formats::ExtensionIds;
use incoming::IncomingStreams;
use outbox::Outbox;

use transport::Transport;

/// The round trip assumed before the first report: an ordinary one, so that requests are neither
/// repeated in vain nor late.
pub const DEFAULT_RTT: Duration = Duration::from_millis(100);

/// A track this session publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Index of the line.
    pub line: u8,
    /// The publication.
    pub publication: Key,
}

/// One peer connection.
#[derive(Debug)]
pub struct Session {
    /// Its id for the control plane.
    pub id: SessionId,
    /// Its room.
    pub room: Key,
    /// Opaque; comes back in the snapshot.
    pub label: Vec<u8>,
    /// As negotiated last.
    pub params: SessionParams,
    /// As answered.
    pub description: SessionDescription,
    /// The peer's ids of header extensions.
    pub extensions: ExtensionIds,
    /// ICE, DTLS and keys.
    pub transport: Transport,
    /// Which stream is which.
    pub incoming: IncomingStreams,
    /// What it publishes.
    pub published: Vec<Published>,
    /// What it receives on, in the order of the lines.
    pub slots: Vec<Slot>,
    /// How many of them receive sound, as its room's contest counts them.
    pub hears: usize,
    /// What it is to be sent.
    pub outbox: Outbox,
    /// What the path to the peer carries, and what it is filled with.
    pub downstream: Downstream,
    /// What comes from the peer.
    pub received: RateMeter,
    /// Arrivals to report, when the peer wants transport-wide feedback.
    pub arrivals: TwccRecorder,
    /// The limit for a publisher without transport-wide feedback.
    pub remb: RembSource,
    /// Whether there is such a publisher, see [`wants_remb`].
    pub wants_remb: bool,
    /// How much may be sent again.
    pub rtx_budget: RtxBudget,
    /// The peer's wall clock against ours, for everything it publishes.
    pub capture_clock: CaptureClock,
    /// When what it publishes is reported on.
    pub receiver_reports: ReportSchedule,
    /// When what it is sent is reported on.
    pub sender_reports: ReportSchedule,
    /// The SSRC our feedback speaks with.
    pub feedback_ssrc: u32,
    /// Round trip, as the peer's reports tell.
    pub rtt: Duration,
    /// Counts full intra requests (RFC 5104 section 4.3.1.1).
    pub fir_sequence: u8,
    /// Datagrams of its handshake that wait for their turn.
    pub handshakes_waiting: u8,
    /// The earliest wake-up asked for.
    pub wake_at: Time,
}

/// Whether a peer with these lines agreed to a receive-side estimate, and to nothing better, on any that it publishes
/// pictures on.
#[must_use]
pub fn wants_remb(params: &SessionParams) -> bool {
    params.lines.iter().any(|line| {
        line.kind == Kind::Video
            && line.publish.is_some()
            && line
                .codecs
                .iter()
                .any(|codec| codec.feedback.remb && !codec.feedback.transport_cc)
    })
}

impl Session {
    /// Its lines were negotiated anew.
    pub fn agree(&mut self, params: SessionParams) {
        self.extensions = ExtensionIds::of_lines(&params.lines);
        self.downstream.feedback = Feedback::of(&params);
        self.wants_remb = wants_remb(&params);
        self.params = params;
        for slot in &mut self.slots {
            if let Some(line) = self.params.lines.get(usize::from(slot.line)) {
                slot.renegotiate(ExtensionIds::of_line(line));
            }
        }
    }

    /// The peer is reached another way: what was measured belonged to the old path. Handshake, keys,
    /// streams and their numbers stay as they are.
    pub fn on_path_change(&mut self, now: Time) {
        self.rtt = DEFAULT_RTT;
        self.downstream.estimator.on_path_change(now);
        self.downstream.follow_estimate(now);
        self.release_holds(Time::ZERO);
    }

    /// When something is due of what sending moves: packets wait for their turn, slots are to be reported on, or feedback
    /// is waited for.
    #[must_use]
    pub fn sending_deadline(&self, now: Time) -> Time {
        if !self.outbox.open {
            // Nothing is sent yet, and a path that nothing is sent on can't be probed.
            return self.downstream.allocate_at;
        }
        let waits = self.outbox.paced_len() > 0 && self.transport.has_room();
        self.sender_reports
            .poll_deadline()
            .min(self.downstream.poll_deadline(now, waits))
    }

    /// Fetches what sealing its packets looks at in the session itself. It only works out addresses and reads nothing, so
    /// that nothing is waited for.
    pub fn prefetch(&self) {
        prefetch(&self.outbox);
        prefetch(&self.slots);
        prefetch(&self.params.lines);
        prefetch(&self.rtx_budget);
        prefetch(&self.sender_reports);
        prefetch(&self.wake_at);
        self.transport.prefetch();
        self.downstream.prefetch();
    }

    /// Fetches what that leads to, once it is there itself.
    pub fn prefetch_linked(&self, slot: u8) {
        self.outbox.prefetch_items();
        self.transport.prefetch_linked();
        self.downstream.estimator.prefetch_linked();
        if let Some(slot) = self.slots.get(usize::from(slot)) {
            slot.prefetch();
        }
    }

    /// Fetches what taking a packet of the peer looks at.
    pub fn prefetch_incoming(&self) {
        self.transport.prefetch();
        prefetch(&self.outbox);
        prefetch(&self.arrivals);
        prefetch(&self.params.lines);
        prefetch(&self.published);
        prefetch(&self.receiver_reports);
        prefetch(&self.sender_reports);
        prefetch(&self.wants_remb);
        prefetch(&self.wake_at);
        self.downstream.prefetch_incoming();
    }

    /// Fetches what that leads to, once it is there itself.
    pub fn prefetch_incoming_linked(&self) {
        self.transport
            .prefetch_incoming_linked(!self.published.is_empty());
        self.downstream.estimator.prefetch_unacknowledged();
    }

    /// Fetches what its next items lead to, once they are there; `slot` is the one that was fetched before.
    pub fn prefetch_slots(&self, slot: u8) {
        for index in self.outbox.next_slots() {
            let Some(next) = self.slots.get(usize::from(index)) else {
                continue;
            };
            if index == slot {
                next.prefetch_linked();
            } else {
                next.prefetch();
            }
        }
    }

    /// What slots were given less for since then is no more.
    pub fn release_holds(&mut self, since: Time) {
        for slot in &mut self.slots {
            slot.release_hold(since);
        }
    }

    /// The slot on a line.
    #[must_use]
    pub fn slot_index(&self, mid: &Mid) -> Option<usize> {
        self.slots.iter().position(|slot| slot.mid() == mid)
    }

    /// The slot that sends with this SSRC, primary or retransmission.
    #[must_use]
    pub fn slot_by_ssrc(&self, ssrc: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.sends(ssrc))
    }

    /// Whether the line of a slot still receives. A slot outlives that: its SSRC and its counters
    /// belong to the line for as long as the keys live.
    #[must_use]
    pub fn receives(&self, slot: usize) -> bool {
        self.slots
            .get(slot)
            .and_then(|slot| self.params.lines.get(usize::from(slot.line)))
            .is_some_and(|line| line.slot)
    }

    /// The publication of a line.
    #[must_use]
    pub fn publication_on(&self, line: u8) -> Option<Key> {
        self.published
            .iter()
            .find(|published| published.line == line)
            .map(|published| published.publication)
    }

    /// The index of the line with this mid.
    #[must_use]
    pub fn line_index(&self, mid: &Mid) -> Option<usize> {
        self.params.lines.iter().position(|line| &line.mid == mid)
    }

    /// The state of a slot, given the name of its occupant.
    #[must_use]
    pub fn slot_snapshot(&self, slot: usize, publications: &Slab<Publication>) -> Option<SlotSnapshot> {
        let slot = self.slots.get(slot)?;
        let occupant = slot.occupant().and_then(|key| publications.get(key));
        Some(SlotSnapshot {
            mid: slot.mid().clone(),
            epoch: slot.epoch(),
            track: occupant.map(|publication| publication.track.clone()),
            reason: slot.reason(),
            layer: occupant.and_then(|publication| layer_name(slot, publication)),
            paused: slot.is_paused(),
            wish: slot.wish,
        })
    }

    /// Some stream the peer sends: feedback about the whole transport names one.
    #[must_use]
    pub fn any_incoming_ssrc(&self, publications: &Slab<Publication>) -> Option<u32> {
        self.published
            .iter()
            .filter_map(|published| publications.get(published.publication))
            .flat_map(|publication| &publication.layers)
            .find_map(|layer| layer.stream.as_ref().map(|stream| stream.recv.ssrc()))
    }

    /// The number of the next full intra request.
    pub fn next_fir(&mut self) -> u8 {
        self.fir_sequence = self.fir_sequence.wrapping_add(1);
        self.fir_sequence
    }
}

/// The name of the layer a slot shows; none for a track with a single one.
#[must_use]
pub fn layer_name(slot: &Slot, publication: &Publication) -> Option<Layer> {
    let layer = slot.shown_layer()?;
    (publication.ranks.len() > 1).then(|| Layer::of_rank(publication.ranks.rank_of(layer)))
}
