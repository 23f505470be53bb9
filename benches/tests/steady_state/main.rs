//! Once media flows, the data plane takes no memory, whoever is there.

mod world;

use std::time::Duration;

use kall_benches::load::engine::Media;
use kall_benches::load::publish::{Camera, Encoding};
use kall_dataplane::time::Time;

use world::World;

/// How long nothing may be allocated.
const STEADY: Duration = Duration::from_secs(8);

const STAGE: Camera = Camera {
    encodings: &[Encoding {
        rid: None,
        width: 1280,
        height: 720,
        bps: 1_500_000,
    }],
    fps: 30,
};

const PERSON: Camera = Camera {
    encodings: &[
        Encoding {
            rid: Some("q"),
            width: 240,
            height: 135,
            bps: 100_000,
        },
        Encoding {
            rid: Some("h"),
            width: 480,
            height: 270,
            bps: 300_000,
        },
    ],
    fps: 30,
};

fn speaks(index: usize) -> u8 {
    if index < 3 { 100 } else { 30 }
}

/// Asserts that nothing is allocated once estimates have risen and layers are chosen, which they are at `settled`,
/// while each subscriber gets `per_second` packets at least.
fn assert_steady(mut world: World, settled: Time, subscribers: u64, per_second: u64) {
    world.run_until(settled);
    assert!(world.allocations > 0, "the start allocates, so the meter works");
    let (before, sent) = (world.allocations, world.counter("rtp_out"));
    world.run_until(settled + STEADY);
    let (allocations, sent) = (world.allocations - before, world.counter("rtp_out") - sent);
    assert!(
        sent > subscribers * per_second * STEADY.as_secs(),
        "{sent} packets are too few"
    );
    assert_eq!(allocations, 0, "allocations while {sent} packets were forwarded");
}

#[test]
fn a_livestream_allocates_nothing() {
    let speaker = Media {
        volume: Some(speaks(0)),
        camera: Some(STAGE),
    };
    assert_steady(
        World::new(&[speaker], 100, (3, 1)),
        Time::from_millis(12_000),
        100,
        200,
    );
}

#[test]
fn a_meeting_allocates_nothing() {
    let people: Vec<Media> = (0..10)
        .map(|index| Media {
            volume: Some(speaks(index)),
            camera: Some(PERSON),
        })
        .collect();
    assert_steady(
        World::new(&people, 20, (3, 9)),
        Time::from_millis(24_000),
        20,
        400,
    );
}
