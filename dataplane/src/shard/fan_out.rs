//! One packet of a publication for every slot that wants its layer: put into the outboxes, from which it is sealed later.

use kall_shared::media::{Codec, Kind};

use super::Shard;
use crate::forward::slot::Slot;
use crate::io::prefetch::prefetch;
use crate::session::outbox::Item;
use crate::shard::slab::Key;
use crate::speakers::ONSET;
use crate::time::Time;

/// A packet's place among those of its stream that came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// It is newer than all of them.
    New,
    /// So is this one, the sound of somebody who was just given a place: slots that had something else get
    /// what came since.
    Onset(Time),
    /// It was lost, or is late.
    Late,
    /// So is this one, and a key frame begins with it: slots that wait for one refused its successors,
    /// and get them again.
    LateStart,
}

impl Order {
    /// The place of a packet; `heard` is when it came, if its sender was just given a place among those who are heard.
    pub(super) fn of(late: bool, keyframe_start: bool, heard: Option<Time>) -> Self {
        match (late, keyframe_start) {
            (false, _) => heard.map_or(Self::New, |received| Self::Onset(received - ONSET)),
            (true, false) => Self::Late,
            (true, true) => Self::LateStart,
        }
    }
}
/// Most packets of the beginning of a word: five of 20 ms.
const ONSET_PACKETS: u64 = 5;

/// How many subscribers before its turn the queue of one is fetched; and twice as many, what says where that is.
const FETCHED_AHEAD: usize = 4;

impl Shard {
    /// Hands one packet to every slot that wants its layer, and what belongs to it.
    pub(super) fn fan_out(&mut self, now: Time, publication_key: Key, layer: u8, seq: u64, order: Order) {
        let Some(publication) = self.publications.get(publication_key) else {
            return;
        };
        let from = publication.stream(layer).map_or(0, |stream| stream.forward_from);
        if publication.muted {
            self.counters.drop_muted += 1;
            return;
        }
        if seq < from {
            return;
        }
        if !publication.peers.is_empty() {
            self.relay(now, publication_key, layer, seq);
        }
        let Some(publication) = self.publications.get(publication_key) else {
            return;
        };
        let kind = publication.kind;
        // Of one stream with several layers everybody sees every packet: what is left out must not look lost.
        let scalable = publication.is_scalable();
        let described = scalable
            && publication
                .stream(layer)
                .is_some_and(|stream| stream.codec.codec == Codec::Av1);
        for (place, subscriber) in publication.subscribers.iter().enumerate() {
            let ahead = |by: usize| {
                let subscriber = publication.subscribers.get(place + by)?;
                Some(&self.sessions.get(subscriber.session)?.outbox)
            };
            if let Some(outbox) = ahead(2 * FETCHED_AHEAD) {
                prefetch(outbox);
            }
            if let Some(outbox) = ahead(FETCHED_AHEAD) {
                outbox.prefetch_end(kind);
            }
            if !(subscriber.takes(layer) || scalable && subscriber.takes_any()) {
                continue;
            }
            let Some(session) = self.sessions.get_mut(subscriber.session) else {
                continue;
            };
            if !session.outbox.open {
                continue;
            }
            session
                .outbox
                .enlist(subscriber.session, subscriber.slot, &mut self.ready);
            let slot = subscriber.slot;
            let item = |seq| Item::Forward {
                slot,
                publication: publication_key,
                layer,
                seq,
            };
            if order == Order::New {
                let pushed = session.outbox.push(kind, item(seq));
                self.counters.drop_outbox_full += u64::from(!pushed);
                continue;
            }
            let own = session.slots.get(usize::from(slot));
            let waits = own.is_some_and(Slot::waits_for_keyframe);
            let shown = own.is_some_and(|own| {
                let layer = own.shown_layer().filter(|_| scalable).unwrap_or(layer);
                own.shows_layer(publication_key, layer)
            });
            if let Order::Onset(since) = order
                && let Some(stream) = publication.stream(layer)
                && !own.is_some_and(|own| own.shows(stream.source))
            {
                let first = seq.saturating_sub(ONSET_PACKETS).max(from);
                for (meta, _) in (first..seq).filter_map(|seq| stream.ring.get(seq)) {
                    if meta.arrival >= since && !session.outbox.push(kind, item(meta.seq)) {
                        self.counters.drop_outbox_full += 1;
                        break;
                    }
                }
            }
            // Where the layer's key frame may still be queued itself, what belongs to it keeps behind it.
            let late = matches!(order, Order::Late | Order::LateStart);
            let fills = late && kind == Kind::Video && shown;
            let mut push = |seq| {
                if fills {
                    session.outbox.push_late(item(seq))
                } else {
                    session.outbox.push(kind, item(seq))
                }
            };
            let pushed = push(seq);
            self.counters.drop_outbox_full += u64::from(!pushed);
            // So did slots that show it already, where nobody knew what its successors are before it came.
            let refused = if fills { described } else { waits };
            if order == Order::LateStart
                && refused
                && pushed
                && let Some(stream) = publication.stream(layer)
            {
                // A full queue ends it, or a publisher could make work of it that no bound knows.
                for (meta, _) in stream.ring.from(seq + 1) {
                    if !push(meta.seq) {
                        self.counters.drop_outbox_full += 1;
                        break;
                    }
                }
            }
        }
    }
}
