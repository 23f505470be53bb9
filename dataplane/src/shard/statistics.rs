//! What sessions send and receive, in pages: made when asked for, so that nobody pays for it otherwise.

use kall_shared::id::{RoomId, SessionId};
use kall_shared::link::{LayerStats, Response, STATS_PAGE_MAX, SessionStats, SlotStats, TrackStats};

use super::Shard;
use crate::forward::publication::Publication;
use crate::forward::slot::Slot;
use crate::session::{Session, layer_name};
use crate::time::Time;

impl Shard {
    /// A page of sessions after `after`, of one room if named.
    pub(super) fn session_stats(
        &self,
        now: Time,
        room: Option<&RoomId>,
        after: Option<SessionId>,
    ) -> Response {
        let room = room.map(|id| self.rooms_by_id.get(id).copied());
        let mut later = self
            .sessions
            .iter()
            .map(|(_, session)| session)
            .filter(|session| after.is_none_or(|after| session.id > after))
            .filter(|session| room.is_none_or(|room| room == Some(session.room)));
        let sessions = later
            .by_ref()
            .take(STATS_PAGE_MAX as usize)
            .map(|session| self.stats_of(now, session))
            .collect();
        Response::SessionStats {
            sessions,
            more: later.next().is_some(),
        }
    }

    fn stats_of(&self, now: Time, session: &Session) -> SessionStats {
        let downstream = &session.downstream;
        let tracks = session
            .published
            .iter()
            .filter_map(|published| self.publications.get(published.publication))
            .map(|publication| track_stats(now, publication))
            .collect();
        let slots = session
            .slots
            .iter()
            .filter(|slot| slot.occupant().is_some() || slot.send_stream().totals().0 > 0)
            .map(|slot| self.slot_stats(now, slot))
            .collect();
        SessionStats {
            session: session.id,
            rtt_ms: u32::try_from(session.rtt.as_millis()).unwrap_or(u32::MAX),
            estimate_bps: downstream.budget().filter(|_| downstream.is_measured()),
            send_bps: downstream.sent.bps(now),
            receive_bps: session.received.bps(now),
            loss_permille: downstream.estimator.loss_permille(),
            rtx_packets: downstream.rtx_packets,
            padding_packets: downstream.padding_packets,
            queued_packets: session.outbox.paced_len() as u64,
            tracks,
            slots,
        }
    }

    fn slot_stats(&self, now: Time, slot: &Slot) -> SlotStats {
        let occupant = slot.occupant().and_then(|key| self.publications.get(key));
        let sent = slot.send_stream();
        let (packets, bytes) = sent.totals();
        SlotStats {
            mid: slot.mid().clone(),
            track: occupant.map(|publication| publication.track.clone()),
            layer: occupant.and_then(|publication| layer_name(slot, publication)),
            paused: slot.is_paused(),
            bitrate_bps: slot.sent.bps(now),
            packets,
            bytes,
            lost: sent.cumulative_lost(),
            loss_permille: (u32::from(sent.fraction_lost()) * 1000 / 256) as u16,
            jitter_ms: ticks_to_ms(sent.jitter(), slot.clock_rate()),
            nack_received: slot.counts.nack_received,
            pli_received: slot.counts.pli_received,
            rtx_packets: slot.counts.rtx_packets,
            layer_changes: slot.counts.layer_changes,
        }
    }
}

fn track_stats(now: Time, publication: &Publication) -> TrackStats {
    let layers = publication
        .layers
        .iter()
        .enumerate()
        .map(|(index, layer)| {
            let mut stats = LayerStats {
                rid: publication.rids.get(index).cloned(),
                active: layer.flow.flows(now),
                bitrate_bps: if layer.flow.flows(now) {
                    layer.flow.bps(now, u8::MAX).unwrap_or(0)
                } else {
                    0
                },
                fps: layer.flow.fps(now),
                nack_sent: layer.nack_sent,
                pli_sent: layer.pli_sent,
                ..LayerStats::default()
            };
            if let Some(size) = layer.size {
                (stats.width, stats.height) = (size.width, size.height);
            }
            if publication.is_scalable() {
                stats.codec = publication.stream(0).map(|stream| stream.codec.codec);
            }
            if let Some(stream) = &layer.stream {
                let totals = stream.recv.totals();
                stats.codec = Some(stream.codec.codec);
                stats.packets = totals.packets;
                stats.bytes = totals.bytes;
                stats.lost = totals.lost;
                stats.rtx_packets = totals.recovered;
                stats.jitter_ms = ticks_to_ms(totals.jitter, stream.recv.clock_rate());
            }
            stats
        })
        .collect();
    TrackStats {
        track: publication.track.clone(),
        layers,
    }
}

fn ticks_to_ms(ticks: u32, clock_rate: u32) -> u32 {
    let exact = u64::from(ticks) * 1000 / u64::from(clock_rate.max(1));
    u32::try_from(exact).unwrap_or(u32::MAX)
}
