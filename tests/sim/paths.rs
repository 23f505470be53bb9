//! A client moves while media flows: what the others see of it, and what it sees of them.

use std::time::Duration;

use kall_dataplane::srtp::Profile;
use kall_dataplane::time::Time;
use kall_shared::link::Event;
use kall_shared::media::Kind;

use crate::link::Quality;
use crate::world::World;

const MOVER: usize = 0;
const OTHER: usize = 1;

/// When the client moves, and when the run ends.
const MOVED: Time = Time::from_millis(5_000);
const END: Time = Time::from_millis(12_000);

fn call(seed: u64) -> World {
    let mut world = World::new(seed, Profile::AeadAes128Gcm, Quality::POOR, 2, |work| {
        work();
        0
    });
    world.run_until(MOVED);
    world
}

/// The longest time without sound in what `listener` received of the other.
fn longest_gap(world: &World, listener: usize) -> Duration {
    let receivers = &world.peers[listener].receivers;
    let audio = receivers
        .iter()
        .find(|(_, receiver)| receiver.kind == Kind::Audio);
    let received = &audio.expect("an audio slot").1.received;
    let mut captured: Vec<u64> = received.values().map(|packet| packet.label.captured).collect();
    captured.sort_unstable();
    let last = captured.last().expect("sound came");
    assert!(END.as_millis() - last < 200, "it goes on to the end: {last}");
    let gaps = captured.windows(2).map(|pair| pair[1] - pair[0]);
    Duration::from_millis(gaps.max().expect("more than one"))
}

/// Nothing of the session began anew.
fn check_session(world: &World) {
    for name in [
        "bug_egress_guard",
        "drop_srtp_auth",
        "drop_srtp_streams",
        "drop_stun_integrity",
    ] {
        assert_eq!(world.counter(name), 0, "{name}");
    }
    assert_eq!(world.counter("sessions_opened"), 2);
    let connected = world
        .events
        .iter()
        .filter(|event| matches!(event, Event::SessionConnected { .. }));
    assert_eq!(connected.count(), 2, "one handshake each");
    assert!(
        !world
            .events
            .iter()
            .any(|event| matches!(event, Event::SessionClosed { .. }))
    );
    assert_eq!(world.counter("path_changes"), 1);
}

#[test]
fn an_ice_restart_from_another_address_costs_less_than_a_second() {
    for seed in [21, 22, 23] {
        let mut world = call(seed);
        world.rebind(MOVER);
        world.restart_ice(MOVER);
        world.run_until(END);
        check_session(&world);
        assert_eq!(world.counter("ice_restarts"), 1);
        for listener in [MOVER, OTHER] {
            let gap = longest_gap(&world, listener);
            assert!(gap < Duration::from_secs(1), "seed {seed}, {listener}: {gap:?}");
        }
    }
}

#[test]
fn an_ice_restart_on_the_same_address_costs_nothing() {
    let mut world = call(24);
    let unknown = world.counter("drop_unknown_tuple");
    world.restart_ice(MOVER);
    world.run_until(END);
    assert_eq!(world.counter("path_changes"), 0);
    assert_eq!(world.counter("drop_unknown_tuple"), unknown);
    for listener in [MOVER, OTHER] {
        // What is lost on the way, and no more.
        assert!(longest_gap(&world, listener) < Duration::from_millis(200));
    }
}

#[test]
fn a_nat_rebinding_lasts_until_the_next_check() {
    for seed in [25, 26] {
        let mut world = call(seed);
        world.rebind(MOVER);
        world.run_until(END);
        check_session(&world);
        assert!(
            world.counter("drop_unknown_tuple") > 0,
            "nobody knew the new port"
        );
        for listener in [MOVER, OTHER] {
            // A check comes every 2.5 seconds, and one may get lost.
            let gap = longest_gap(&world, listener);
            assert!(
                gap < Duration::from_millis(5_500),
                "seed {seed}, {listener}: {gap:?}"
            );
        }
    }
}
