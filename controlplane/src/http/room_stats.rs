//! One room's figures: what the data plane counts, with the names that only this plane knows.

use std::collections::HashMap;

use kall_shared::id::{Mid, SessionId, TrackId};
use kall_shared::link::{LayerStats, SessionStats, SlotStats};
use kall_shared::media::{Kind, Layer, SlotWish, Source};
use serde::Serialize;

use crate::domain::room::{MediaSession, MediaTrack};

/// One participant's media session. Bitrates are over the last second, in bit/s above UDP; counts are
/// since the session, track or slot began.
#[derive(Debug, Serialize)]
pub(super) struct SessionFigures {
    identity: String,
    name: String,
    rtt_ms: u32,
    estimate_bps: Option<u64>,
    send_bps: u64,
    receive_bps: u64,
    loss_permille: u16,
    rtx_packets: u64,
    padding_packets: u64,
    queued_packets: u64,
    tracks: Vec<TrackFigures>,
    slots: Vec<SlotFigures>,
}

#[derive(Debug, Serialize)]
struct TrackFigures {
    track_id: TrackId,
    kind: Kind,
    source: Source,
    muted: bool,
    layers: Vec<LayerStats>,
}

#[derive(Debug, Serialize)]
struct SlotFigures {
    mid: Mid,
    track_id: Option<TrackId>,
    /// The publisher's identity.
    from: Option<String>,
    source: Option<Source>,
    /// What was asked for; none for sound.
    wish: Option<SlotWish>,
    layer: Option<Layer>,
    paused: bool,
    bitrate_bps: u64,
    packets: u64,
    bytes: u64,
    lost: i32,
    loss_permille: u16,
    jitter_ms: u32,
    nack_received: u64,
    pli_received: u64,
    rtx_packets: u64,
    layer_changes: u64,
}

/// Figures under the names of the people they belong to. A session or track that this plane does not
/// know yet, or no more, is left out.
pub(super) fn sessions(people: &[MediaSession], figures: Vec<SessionStats>) -> Vec<SessionFigures> {
    let owners: HashMap<SessionId, &MediaSession> =
        people.iter().map(|person| (person.session, person)).collect();
    let tracks: HashMap<&TrackId, (&MediaSession, &MediaTrack)> = people
        .iter()
        .flat_map(|person| {
            person
                .tracks
                .iter()
                .map(move |track| (&track.track, (person, track)))
        })
        .collect();
    figures
        .into_iter()
        .filter_map(|figures| {
            let owner = owners.get(&figures.session)?;
            let published = figures.tracks.into_iter().filter_map(|track| {
                let (_, known) = tracks.get(&track.track)?;
                Some(TrackFigures {
                    track_id: track.track,
                    kind: known.source.kind(),
                    source: known.source,
                    muted: known.muted,
                    layers: track.layers,
                })
            });
            Some(SessionFigures {
                identity: owner.identity.to_string(),
                name: owner.name.clone(),
                rtt_ms: figures.rtt_ms,
                estimate_bps: figures.estimate_bps,
                send_bps: figures.send_bps,
                receive_bps: figures.receive_bps,
                loss_permille: figures.loss_permille,
                rtx_packets: figures.rtx_packets,
                padding_packets: figures.padding_packets,
                queued_packets: figures.queued_packets,
                tracks: published.collect(),
                slots: figures
                    .slots
                    .into_iter()
                    .map(|slot| slot_figures(slot, owner, &tracks))
                    .collect(),
            })
        })
        .collect()
}

fn slot_figures(
    slot: SlotStats,
    owner: &MediaSession,
    tracks: &HashMap<&TrackId, (&MediaSession, &MediaTrack)>,
) -> SlotFigures {
    let occupant = slot.track.as_ref().and_then(|track| tracks.get(track));
    let wish = owner.wishes.iter().find(|(mid, _)| *mid == slot.mid);
    SlotFigures {
        wish: wish.map(|(_, wish)| *wish),
        from: occupant.map(|(person, _)| person.identity.to_string()),
        source: occupant.map(|(_, track)| track.source),
        mid: slot.mid,
        track_id: slot.track,
        layer: slot.layer,
        paused: slot.paused,
        bitrate_bps: slot.bitrate_bps,
        packets: slot.packets,
        bytes: slot.bytes,
        lost: slot.lost,
        loss_permille: slot.loss_permille,
        jitter_ms: slot.jitter_ms,
        nack_received: slot.nack_received,
        pli_received: slot.pli_received,
        rtx_packets: slot.rtx_packets,
        layer_changes: slot.layer_changes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kall_shared::id::Identity;
    use kall_shared::link::TrackStats;
    use serde_json::json;

    fn person(session: u64, identity: &str, tracks: &[(&str, Source)]) -> MediaSession {
        MediaSession {
            session: SessionId(session),
            identity: Identity::new(identity).expect("an identity"),
            name: identity.to_uppercase(),
            tracks: tracks
                .iter()
                .map(|(id, source)| MediaTrack {
                    track: TrackId::new(*id).expect("an id"),
                    source: *source,
                    muted: false,
                })
                .collect(),
            wishes: vec![(Mid::new("4").expect("a mid"), SlotWish::default())],
        }
    }

    fn figures(session: u64, tracks: &[&str], slots: &[(&str, &str)]) -> SessionStats {
        SessionStats {
            session: SessionId(session),
            rtt_ms: 12,
            estimate_bps: Some(2_000_000),
            send_bps: 1_000_000,
            receive_bps: 500_000,
            loss_permille: 5,
            rtx_packets: 1,
            padding_packets: 2,
            queued_packets: 3,
            tracks: tracks
                .iter()
                .map(|id| TrackStats {
                    track: TrackId::new(*id).expect("an id"),
                    layers: vec![LayerStats::default()],
                })
                .collect(),
            slots: slots
                .iter()
                .map(|(mid, id)| SlotStats {
                    mid: Mid::new(*mid).expect("a mid"),
                    track: Some(TrackId::new(*id).expect("an id")),
                    layer: Some(Layer::Low),
                    paused: true,
                    bitrate_bps: 100_000,
                    packets: 10,
                    bytes: 1000,
                    lost: -1,
                    loss_permille: 0,
                    jitter_ms: 4,
                    nack_received: 0,
                    pli_received: 1,
                    rtx_packets: 0,
                    layer_changes: 2,
                })
                .collect(),
        }
    }

    #[test]
    fn figures_get_the_names_of_people_and_what_their_tracks_show() {
        let people = [
            person(
                1,
                "alice",
                &[("tr_cam", Source::Camera), ("tr_mic", Source::Microphone)],
            ),
            person(2, "bob", &[]),
        ];
        let all = sessions(
            &people,
            vec![
                figures(1, &["tr_cam", "tr_mic", "tr_gone"], &[]),
                figures(2, &[], &[("4", "tr_cam"), ("5", "tr_gone")]),
                figures(3, &[], &[]),
            ],
        );
        let value = serde_json::to_value(&all).expect("serialises");
        assert_eq!(value.as_array().map(Vec::len), Some(2), "nobody owns the third");
        assert_eq!(
            (
                &value[0]["identity"],
                &value[0]["name"],
                &value[0]["estimate_bps"]
            ),
            (&json!("alice"), &json!("ALICE"), &json!(2_000_000))
        );
        let tracks = &value[0]["tracks"];
        assert_eq!(
            (
                &tracks[0]["source"],
                &tracks[1]["kind"],
                tracks.as_array().map(Vec::len)
            ),
            (&json!("camera"), &json!("audio"), Some(2))
        );
        let slots = &value[1]["slots"];
        assert_eq!(
            (
                &slots[0]["from"],
                &slots[0]["source"],
                &slots[0]["layer"],
                &slots[0]["paused"]
            ),
            (&json!("alice"), &json!("camera"), &json!("low"), &json!(true))
        );
        assert_eq!(
            (&slots[0]["wish"]["priority"], &slots[1]["wish"]),
            (&json!(100), &json!(null))
        );
        assert_eq!(
            (&slots[1]["from"], &slots[1]["track_id"]),
            (&json!(null), &json!("tr_gone"))
        );
    }
}
