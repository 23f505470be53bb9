//! Oracles of who speaks, and of what it costs to hear him.

use std::time::Duration;

use kall_dataplane::time::Time;

use super::{Verdict, millis, nothing, worst};
use crate::talk::Turn;
use crate::world::{Connected, World};

/// Somebody who has just stopped may still be announced: the measure looks back a second.
const AFTER: Duration = Duration::from_secs(1);

/// A turn that is over so soon need not be announced.
const SHORTEST: Duration = Duration::from_millis(1500);

pub(super) fn speakers(world: &World<'_>, within_ms: f64, wrong_per_minute: f64) -> Vec<Verdict> {
    let told: Vec<(Time, usize)> = world
        .measures
        .speakers
        .iter()
        .map(|(at, peer)| (*at, world.peers[*peer].peer.person))
        .collect();
    let (Some(first), Some(last)) = (world.turns.first(), world.turns.last()) else {
        return nothing("who speaks", format!("< {within_ms:.0} ms"));
    };
    let speaks = |at: Time, person: usize| {
        let mut turns = world.turns.iter();
        turns.any(|turn| turn.person == person && turn.from <= at && at < turn.until + AFTER)
    };
    let wrong = told.iter().filter(|(at, person)| !speaks(*at, *person)).count();
    let minutes = last.until.since(first.from).as_secs_f64() / 60.0;
    let waits = waits(&world.turns, &told);
    let slowest = worst(waits.iter().copied(), |wait| wait.unwrap_or(f64::INFINITY)).flatten();
    let never = waits.iter().filter(|wait| wait.is_none()).count();
    vec![
        Verdict {
            oracle: "a new talker is announced".to_owned(),
            measured: match slowest {
                Some(slowest) if never == 0 => format!("{slowest:.0} ms, of {} turns", waits.len()),
                _ => format!("{never} of {} turns never", waits.len()),
            },
            required: format!("< {within_ms:.0} ms"),
            holds: never == 0 && slowest.is_some_and(|slowest| slowest < within_ms),
        },
        Verdict {
            oracle: "announcements of somebody who does not speak".to_owned(),
            measured: format!("{:.2} a minute, of {}", wrong as f64 / minutes, told.len()),
            required: format!("at most {wrong_per_minute} a minute"),
            holds: !told.is_empty() && wrong as f64 / minutes <= wrong_per_minute,
        },
    ]
}

/// How long each turn had to wait for its announcement from when nobody else had the word, in
/// milliseconds; none when it never came.
fn waits(turns: &[Turn], told: &[(Time, usize)]) -> Vec<Option<f64>> {
    let mut waits = Vec::new();
    let mut free = Time::ZERO;
    for turn in turns {
        let from = turn.from.max(free);
        free = turn.until;
        if turn.until.since(from) < SHORTEST {
            continue;
        }
        let before = told.iter().rev().find(|(at, _)| *at <= from);
        if before.is_some_and(|(_, person)| *person == turn.person) {
            waits.push(Some(0.0));
            continue;
        }
        let announced = told
            .iter()
            .find(|(at, person)| *person == turn.person && from < *at && *at < turn.until);
        waits.push(announced.map(|(at, _)| millis(at.since(from))));
    }
    waits
}

pub(super) fn sound_cost(world: &World<'_>, peers: &[&Connected], (least, most): (f64, f64)) -> Vec<Verdict> {
    let oracle = "sound sealed for one listener";
    let required = format!("{least:.0} to {most:.0} packets a second");
    let rate = |connected: &&Connected| {
        let first = connected
            .peer
            .audio
            .iter()
            .filter_map(|(slot, _)| slot.first)
            .min()?;
        let packets: u64 = connected
            .peer
            .audio
            .iter()
            .map(|(slot, _)| slot.in_order + slot.late)
            .sum();
        Some(packets as f64 / world.now.since(first).as_secs_f64())
    };
    let rates: Vec<f64> = peers.iter().filter_map(rate).collect();
    let (Some(low), Some(high)) = (
        rates.iter().copied().reduce(f64::min),
        rates.iter().copied().reduce(f64::max),
    ) else {
        return nothing(oracle, required);
    };
    vec![Verdict {
        oracle: oracle.to_owned(),
        measured: format!("{low:.1} to {high:.1}"),
        required,
        holds: low >= least && high <= most,
    }]
}
