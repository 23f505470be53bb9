//! Once a call flows, forwarding takes no memory.

use kall_dataplane::srtp::Profile;
use kall_dataplane::time::Time;

use crate::link::Quality;
use crate::world::World;

/// Counts what this thread allocates.
fn count(work: &mut dyn FnMut()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn forwarding_allocates_nothing() {
    let mut world = World::new(3, Profile::AeadAes128Gcm, Quality::POOR, 2, count);
    world.run_until(Time::from_millis(4_000));
    assert!(world.metered > 0, "the start allocates, so the meter works");
    let (metered, sent) = (world.metered, world.counter("rtp_out"));
    world.run_until(Time::from_millis(12_000));
    assert!(world.counter("rtp_out") > sent + 2_000);
    assert_eq!(world.metered, metered);
}
