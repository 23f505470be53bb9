//! Oracles of what is sent at all: decodable, soon, in order, and with few key frames.

use kall_dataplane::time::Time;

use super::{Span, Verdict, millis, nothing, worst};
use crate::checker::{Violation, check};
use crate::world::{Connected, World};

/// Counters that stand for a bug of the server, or for a simulation that does not fit it.
const ZERO: [&str; 12] = [
    "bug_egress_guard",
    "drop_unknown_class",
    "drop_stun_malformed",
    "drop_stun_integrity",
    "drop_srtp_auth",
    "drop_srtp_short",
    "drop_srtp_streams",
    "drop_rtp_malformed",
    "drop_rtcp_malformed",
    "drop_outbox_full",
    "drop_control_full",
    "drop_too_long",
];

/// Everything wrong with what the server sent.
pub(crate) fn violations(world: &World<'_>) -> Vec<Violation> {
    let mut found = world.measures.faults.clone();
    for Connected { peer, logs, .. } in &world.peers {
        for (slot, log) in logs.iter().enumerate() {
            let wrong = check(log, &world.truth, world.now);
            found.extend(wrong.into_iter().map(|violation| Violation {
                what: format!("to peer {} slot {slot}: {}", peer.index, violation.what),
                ..violation
            }));
        }
        for (slot, (video, _)) in peer.video.iter().enumerate() {
            if video.corrupted > 0 {
                found.push(Violation {
                    at: world.now,
                    what: format!(
                        "peer {} slot {slot} decoded {} frames without what they are predicted from",
                        peer.index, video.corrupted
                    ),
                });
            }
        }
        for (slot, (audio, _)) in peer.audio.iter().enumerate() {
            if audio.disordered > 0 {
                found.push(Violation {
                    at: world.now,
                    what: format!("peer {} heard slot {slot} in disorder", peer.index),
                });
            }
        }
    }
    for name in ZERO {
        let count = world.measures.counters.get(name).copied().unwrap_or(0);
        if count > 0 {
            found.push(Violation {
                at: world.now,
                what: format!("the server counts {name} = {count}"),
            });
        }
    }
    found.sort_by_key(|violation| violation.at);
    found
}

pub(super) fn decodable(world: &World<'_>) -> Vec<Verdict> {
    let found = violations(world);
    let packets: usize = world
        .peers
        .iter()
        .flat_map(|connected| &connected.logs)
        .map(|log| log.packets.len())
        .sum();
    let sound = world.peers.iter().flat_map(|connected| &connected.peer.audio);
    let packets = packets + sound.map(|(slot, _)| slot.in_order as usize).sum::<usize>();
    let first = found.first().map_or(String::new(), |violation| {
        format!(
            "; first at {:.3} s: {}",
            violation.at.as_millis() as f64 / 1000.0,
            violation.what
        )
    });
    vec![Verdict {
        oracle: "what is sent can be decoded".to_owned(),
        measured: format!("{} faults in {packets} packets{first}", found.len()),
        required: "no fault".to_owned(),
        holds: found.is_empty() && packets > 0,
    }]
}

pub(super) fn first_media(
    peers: &[&Connected],
    audio_ms: Option<f64>,
    video_ms: Option<f64>,
) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut judge = |name: &str, bound: f64, times: Vec<Option<f64>>| {
        let required = format!("< {bound:.0} ms");
        let Some(last) = worst(times, |time| time.unwrap_or(f64::INFINITY)) else {
            return verdicts.extend(nothing(name, required));
        };
        verdicts.push(Verdict {
            oracle: name.to_owned(),
            measured: last.map_or("never".to_owned(), |last| format!("{last:.0} ms")),
            required,
            holds: last.is_some_and(|last| last < bound),
        });
    };
    let since = |peer: &Connected, at| Some(millis(Time::since(at, peer.peer.first_check()?)));
    if let Some(bound) = audio_ms {
        let times = peers.iter().flat_map(|peer| {
            let slots = peer.peer.audio.iter().take(1);
            slots.map(|(slot, _)| since(peer, slot.first?))
        });
        judge("first sound after the first check", bound, times.collect());
    }
    if let Some(bound) = video_ms {
        let times = peers.iter().flat_map(|peer| {
            let slots = peer.peer.video.iter();
            slots.map(|(slot, _)| since(peer, slot.decoded.first()?.at))
        });
        judge("first picture after the first check", bound, times.collect());
    }
    verdicts
}

pub(super) fn keyframe_requests(peers: &[&Connected], span: Span, most: usize) -> Vec<Verdict> {
    let oracle = "key frame requests to one layer".to_owned();
    let required = format!("at most {most}");
    let counts = peers
        .iter()
        .filter_map(|peer| peer.peer.camera.as_ref())
        .flat_map(|camera| {
            camera
                .requests()
                .map(|times| times.iter().filter(|at| span.contains(**at)).count())
                .collect::<Vec<_>>()
        });
    let Some(count) = counts.max() else {
        return nothing(&oracle, required);
    };
    vec![Verdict {
        oracle,
        measured: count.to_string(),
        required,
        holds: count <= most,
    }]
}

/// Sound that reached the server while somebody listened, against what he got.
pub(super) fn audio(world: &World<'_>, peers: &[&Connected], bound: f64) -> Vec<Verdict> {
    let oracle = "sound that arrives in order".to_owned();
    let required = format!("at least {:.1} % of what the wire did not lose", bound * 100.0);
    let share = |peer: &&Connected| {
        let heard: u64 = peer.peer.audio.iter().map(|(slot, _)| slot.in_order).sum();
        let first = peer.peer.audio.iter().filter_map(|(slot, _)| slot.first).min()?;
        // What the server forwards last is still on its way.
        let end = world.now - std::time::Duration::from_millis(500);
        let others = world
            .peers
            .iter()
            .filter(|other| other.peer.person != peer.peer.person);
        let sent: usize = others
            .map(|other| {
                let times = world.truth.spoken(other.peer.index);
                times.iter().filter(|at| first <= **at && **at < end).count()
            })
            .sum();
        let due = (sent as u64).saturating_sub(peer.measures.audio_lost_on_wire);
        Some((heard as f64 / due as f64).min(1.0))
    };
    let Some(least) = peers.iter().filter_map(share).reduce(f64::min) else {
        return nothing(&oracle, required);
    };
    vec![Verdict {
        oracle,
        measured: format!("{:.2} %", least * 100.0),
        required,
        holds: least >= bound,
    }]
}
