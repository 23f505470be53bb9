//! Oracles of the estimate, and of what it is for: short queues and fair shares.

use std::time::Duration;

use super::{Span, Verdict, millis, nothing, worst};
use crate::world::measures::Estimated;
use crate::world::{Connected, World};

fn within(peer: &Connected, span: Span) -> impl Iterator<Item = &Estimated> {
    let estimates = peer.measures.estimates.iter();
    estimates.filter(move |estimated| span.contains(estimated.at))
}

/// The estimate against the capacity.
fn share(estimated: &Estimated) -> Option<f64> {
    Some(estimated.bps as f64 / estimated.capacity? as f64)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

pub(super) fn rises(
    peers: &[&Connected],
    span: Span,
    limit: Duration,
    (low, high): (f64, f64),
) -> Vec<Verdict> {
    let oracle = format!("estimate after the step up at {} s", span.from.as_millis() / 1000);
    let required = format!(
        "{:.0} % within {} s, then {:.0} to {:.0} % on average",
        low * 100.0,
        limit.as_secs(),
        low * 100.0,
        high * 100.0
    );
    let settled = Span {
        from: span.from + limit,
        ..span
    };
    let of = |peer: &&Connected| {
        let reached = within(peer, span)
            .find(|estimated| share(estimated).is_some_and(|share| share >= low))
            .map(|estimated| estimated.at.since(span.from));
        Some((reached, mean(within(peer, settled).filter_map(share))?))
    };
    let found: Vec<_> = peers.iter().filter_map(of).collect();
    let distance = |mean: f64| (low - mean).max(mean - high);
    let Some((reached, mean)) = worst(found, |(reached, mean)| {
        // Whoever never gets there is the worst.
        (reached.unwrap_or(Duration::MAX) > limit, distance(*mean))
    }) else {
        return nothing(&oracle, required);
    };
    let after = reached.map_or("never".to_owned(), |after| {
        format!("after {:.1} s", after.as_secs_f64())
    });
    vec![Verdict {
        oracle,
        measured: format!("{after}, then {:.0} %", mean * 100.0),
        required,
        holds: reached.is_some_and(|after| after <= limit) && distance(mean) <= 0.0,
    }]
}

pub(super) fn falls(peers: &[&Connected], span: Span, limit: Duration) -> Vec<Verdict> {
    let oracle = format!(
        "estimate after the step down at {} s",
        span.from.as_millis() / 1000
    );
    let required = format!("below capacity within {} s, and then on average", limit.as_secs());
    let settled = Span {
        from: span.from + limit,
        ..span
    };
    let of = |peer: &&Connected| {
        let below = within(peer, span)
            .find(|estimated| share(estimated).is_some_and(|share| share <= 1.0))
            .map(|estimated| estimated.at.since(span.from));
        Some((below, mean(within(peer, settled).filter_map(share))?))
    };
    let found: Vec<_> = peers.iter().filter_map(of).collect();
    let Some((below, mean)) = worst(found, |(below, mean)| (below.unwrap_or(Duration::MAX), *mean)) else {
        return nothing(&oracle, required);
    };
    let after = below.map_or("never".to_owned(), |after| {
        format!("after {:.1} s", after.as_secs_f64())
    });
    vec![Verdict {
        oracle,
        measured: format!("{after}, then {:.0} %", mean * 100.0),
        required,
        holds: below.is_some_and(|after| after <= limit) && mean <= 1.0,
    }]
}

pub(super) fn queueing_delay(
    world: &World<'_>,
    peers: &[&Connected],
    span: Span,
    bound: f64,
) -> Vec<Verdict> {
    let oracle = "queueing delay, 95th percentile".to_owned();
    let required = format!("< {bound:.0} ms");
    let of = |peer: &&Connected| {
        let links = world.paths.downward(peer.peer.person);
        links
            .filter_map(|logged| {
                let waits = logged.waits.iter().filter(|waited| span.contains(waited.at));
                let mut waits: Vec<Duration> = waits.map(|waited| waited.wait).collect();
                waits.sort_unstable();
                // The smallest that 95 of 100 do not pass.
                let index = (waits.len() * 95).div_ceil(100).checked_sub(1)?;
                Some(millis(waits[index]))
            })
            .reduce(f64::max)
    };
    let Some(most) = peers.iter().filter_map(of).reduce(f64::max) else {
        return nothing(&oracle, required);
    };
    vec![Verdict {
        oracle,
        measured: format!("{most:.0} ms"),
        required,
        holds: most < bound,
    }]
}

pub(super) fn fair(peers: &[&Connected], span: Span, bound: f64) -> Vec<Verdict> {
    let oracle = "fairness of those behind one bottleneck".to_owned();
    let required = format!("index of at least {bound:.2}");
    let rates: Vec<f64> = peers
        .iter()
        .map(|peer| {
            let mut sent = peer.measures.sent.iter().filter(|(at, _)| span.contains(*at));
            let first = sent.next().map_or(0, |(_, bytes)| *bytes);
            let last = sent.next_back().map_or(first, |(_, bytes)| *bytes);
            (last - first) as f64 * 8.0 / span.length().as_secs_f64() / 1000.0
        })
        .collect();
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    if squares == 0.0 {
        return nothing(&oracle, required);
    }
    // Jain, Chiu and Hawe 1984.
    let index = sum * sum / (rates.len() as f64 * squares);
    let listed: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    vec![Verdict {
        oracle,
        measured: format!("{index:.2} ({} kbit/s)", listed.join(", ")),
        required,
        holds: index >= bound,
    }]
}
