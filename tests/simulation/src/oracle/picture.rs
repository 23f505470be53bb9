//! Oracles of what a viewer sees: layers, freezes, pauses.

use std::ops::Range;
use std::time::Duration;

use kall_dataplane::time::Time;
use kall_shared::media::Layer;

use super::{Span, Verdict, millis, nothing, worst};
use crate::peer::video_slot::Decoded;
use crate::world::{Connected, World};

/// Frames whose mean interval is the usual one (webrtc-stats, freezeCount).
const USUAL_OVER: usize = 30;

/// A freeze is longer than three usual intervals, and longer than the usual one by this.
const FREEZE_EXTRA: Duration = Duration::from_millis(150);

pub(super) fn layer_changes(peers: &[&Connected], span: Span, bound: f64) -> Vec<Verdict> {
    let oracle = "layer changes of one slot".to_owned();
    let required = format!("at most {bound} a minute");
    let counts = peers.iter().flat_map(|peer| &peer.logs).map(|log| {
        let changes = log.shown.windows(2).filter(|pair| {
            let ((_, before), (at, after)) = (pair[0], pair[1]);
            before.peer == after.peer && span.contains(at)
        });
        changes.count()
    });
    let Some(count) = counts.max() else {
        return nothing(&oracle, required);
    };
    // Of a span that is shorter than the time between two, one may fall into it.
    let most = (bound * span.minutes()).ceil();
    vec![Verdict {
        oracle,
        measured: format!("{count} in {:.0} s", span.length().as_secs_f64()),
        required,
        holds: count as f64 <= most,
    }]
}

pub(super) fn shows(peers: &[&Connected], slot: usize, layer: Layer, span: Span, bound: f64) -> Vec<Verdict> {
    let least = match layer {
        Layer::Low => 0,
        Layer::Medium => 1,
        Layer::High | Layer::Auto => 2,
    };
    let oracle = format!("slot {slot} shows layer {least} or better");
    let required = format!("{:.0} % of the frames that are due", bound * 100.0);
    let share = |peer: &&Connected| {
        let (video, _) = peer.peer.video.get(slot)?;
        let due = span.length().as_secs_f64() * 30.0;
        let good = decoded_within(&video.decoded, span)
            .iter()
            .filter(|decoded| decoded.label.shows().layer >= least)
            .count();
        Some((good as f64 / due).min(1.0))
    };
    let Some(share) = peers.iter().filter_map(share).reduce(f64::min) else {
        return nothing(&oracle, required);
    };
    vec![Verdict {
        oracle,
        measured: format!("{:.0} %", share * 100.0),
        required,
        holds: share >= bound,
    }]
}

fn range_within(decoded: &[Decoded], span: Span) -> Range<usize> {
    let from = decoded.partition_point(|frame| frame.at < span.from);
    from..decoded.partition_point(|frame| frame.at < span.until)
}

fn decoded_within(decoded: &[Decoded], span: Span) -> &[Decoded] {
    &decoded[range_within(decoded, span)]
}

/// Longest delay that a receiver adds so that repaired pictures come in time.
const PLAYOUT_MAX: Duration = Duration::from_millis(400);

/// How much of it is given up in each second of pictures that come in time.
const PLAYOUT_DECAY: Duration = Duration::from_millis(10);

/// When each picture is shown: browsers delay all of them by about as much as the late ones need, and
/// follow that down slowly.
fn shown_at(decoded: &[Decoded]) -> Vec<Time> {
    let mut least: Option<Duration> = None;
    let mut delay = Duration::ZERO;
    let mut shown = Vec::with_capacity(decoded.len());
    let mut last = Time::ZERO;
    for frame in decoded {
        let captured = Time::ZERO + Duration::from_nanos(frame.label.captured);
        let took = frame.at.since(captured);
        let base = *least.insert(least.map_or(took, |least| least.min(took)));
        let late = took - base;
        if late > delay {
            delay = late.min(PLAYOUT_MAX);
        } else {
            delay = delay.saturating_sub(PLAYOUT_DECAY.mul_f64(frame.at.since(last).as_secs_f64().min(1.0)));
        }
        last = frame.at;
        shown.push(frame.at.max(captured + base + delay));
    }
    shown
}

/// Pictures that stood still: since when, and how long.
fn freezes_of(world: &World<'_>, peer: &Connected, slot: usize, span: Span) -> Vec<(Time, Duration)> {
    let decoded = &peer.peer.video[slot].0.decoded;
    let measures = &peer.measures.slots[slot];
    let mut found = Vec::new();
    let shown = shown_at(decoded);
    let range = range_within(decoded, span);
    let (frames, shown) = (&decoded[range.clone()], &shown[range]);
    for index in 1..frames.len() {
        let (before, after) = (shown[index - 1], shown[index]);
        let gap = after.since(before);
        let oldest = (index - 1).saturating_sub(USUAL_OVER);
        let usual = before.since(shown[oldest]) / ((index - 1 - oldest).max(1) as u32);
        let publisher = frames[index - 1].label.source.peer;
        let expected = !measures.paused_within(before, after)
            && !measures.changed_within(before, after)
            && !muted_within(world, publisher, before, after);
        if index > 1 && expected && gap > (usual * 3).max(usual + FREEZE_EXTRA) {
            found.push((before, gap));
        }
    }
    // A picture that stands still in the end is frozen as well.
    if let Some(last) = frames.last()
        && !measures.paused_within(last.at, span.until)
        && !muted_within(world, last.label.source.peer, last.at, span.until)
        && span.until.since(last.at) > Duration::from_secs(1)
    {
        found.push((last.at, span.until.since(last.at)));
    }
    found
}

/// Whether a publisher's camera was off at some time of an interval.
fn muted_within(world: &World<'_>, publisher: u16, from: Time, until: Time) -> bool {
    let mut changes = world.muted.iter().filter(|(_, peer, _)| *peer == publisher);
    let before = changes.clone().rev().find(|(at, ..)| *at <= from);
    before.is_some_and(|(.., muted)| *muted) || changes.any(|(at, ..)| *at > from && *at <= until)
}

pub(super) fn freezes(
    world: &World<'_>,
    peers: &[&Connected],
    span: Span,
    (per_minute, longest_ms): (f64, f64),
) -> Vec<Verdict> {
    let oracle = "freezes of one slot".to_owned();
    let required = format!("at most {per_minute} a minute, none over {longest_ms:.0} ms");
    let slots = peers
        .iter()
        .flat_map(|peer| (0..peer.peer.video.len()).map(move |slot| (*peer, slot)));
    let found = slots.map(|(peer, slot)| {
        let freezes = freezes_of(world, peer, slot, span);
        let longest = worst(freezes.iter().copied(), |(_, length)| *length);
        let silent = peer.peer.video[slot].0.decoded.is_empty()
            && !peer.measures.slots[slot].paused_within(span.from, span.until);
        (peer.peer.index, slot, freezes.len(), longest, silent)
    });
    let found: Vec<_> = found.collect();
    if let Some((peer, slot, ..)) = found.iter().find(|(.., silent)| *silent) {
        return vec![Verdict {
            oracle,
            measured: format!("peer {peer} slot {slot} never showed anything"),
            required,
            holds: false,
        }];
    }
    let most = worst(&found, |(_, _, count, ..)| *count);
    let longest = worst(&found, |(.., longest, _)| longest.map(|(_, length)| length));
    let (Some((peer, slot, count, ..)), Some((.., longest, _))) = (most, longest) else {
        return nothing(&oracle, required);
    };
    let length = longest.map_or(0.0, |(_, length)| millis(length));
    let place = longest.map_or(String::new(), |(at, _)| {
        format!(" at {:.1} s", at.as_millis() as f64 / 1000.0)
    });
    vec![Verdict {
        oracle,
        measured: format!(
            "{count} in {:.0} s (peer {peer} slot {slot}), longest {length:.0} ms{place}",
            span.length().as_secs_f64()
        ),
        required,
        holds: *count as f64 <= (per_minute * span.minutes()).ceil() && length <= longest_ms,
    }]
}

pub(super) fn resumes(peers: &[&Connected], at: Time, bound: f64) -> Vec<Verdict> {
    let oracle = format!("picture after what ended at {} s", at.as_millis() / 1000);
    let required = format!("within {bound:.0} ms");
    let times = peers.iter().flat_map(|peer| &peer.peer.video).map(|(slot, _)| {
        let next = slot
            .decoded
            .iter()
            .find(|decoded| Time::ZERO + Duration::from_nanos(decoded.label.captured) >= at);
        next.map(|decoded| millis(decoded.at.since(at)))
    });
    let Some(last) = worst(times, |time| time.unwrap_or(f64::INFINITY)) else {
        return nothing(&oracle, required);
    };
    vec![Verdict {
        oracle,
        measured: last.map_or("never".to_owned(), |last| format!("{last:.0} ms")),
        required,
        holds: last.is_some_and(|last| last <= bound),
    }]
}

/// How long a slot was paused within a span, as a share.
fn paused_share(peer: &Connected, slot: usize, span: Span) -> f64 {
    let measures = &peer.measures.slots[slot];
    let paused = measures
        .paused_for(span.until)
        .saturating_sub(measures.paused_for(span.from));
    paused.as_secs_f64() / span.length().as_secs_f64()
}

pub(super) fn priority(world: &World<'_>, peers: &[&Connected], span: Span) -> Vec<Verdict> {
    let oracle = "slots of lower priority are paused first".to_owned();
    let required = "no slot is paused longer than one of lower priority".to_owned();
    let mut wrong = 0;
    let mut compared = 0;
    let mut first = String::new();
    for peer in peers {
        let shares: Vec<(u8, f64)> = world
            .wishes(peer.peer.person)
            .enumerate()
            .map(|(slot, wish)| (wish.priority, paused_share(peer, slot, span)))
            .collect();
        for (slot, (priority, share)) in shares.iter().enumerate() {
            for (other, (lower, other_share)) in shares.iter().enumerate() {
                if lower < priority {
                    compared += 1;
                    if share > other_share {
                        wrong += 1;
                        first = format!("; slot {slot} {share:.2}, slot {other} {other_share:.2}");
                    }
                }
            }
        }
    }
    vec![Verdict {
        oracle,
        measured: format!("{wrong} of {compared} pairs{first}"),
        required,
        holds: wrong == 0 && compared > 0,
    }]
}

pub(super) fn paused(peers: &[&Connected], span: Span, (low, high): (f64, f64)) -> Vec<Verdict> {
    let oracle = "share of slots that are paused".to_owned();
    let required = format!("{:.0} to {:.0} %", low * 100.0, high * 100.0);
    let shares: Vec<f64> = peers
        .iter()
        .flat_map(|peer| (0..peer.peer.video.len()).map(move |slot| paused_share(peer, slot, span)))
        .collect();
    if shares.is_empty() {
        return nothing(&oracle, required);
    }
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    vec![Verdict {
        oracle,
        measured: format!("{:.0} %", mean * 100.0),
        required,
        holds: (low..=high).contains(&mean),
    }]
}
