//! Peers with less than transport-wide feedback, and what is told of a path besides its rate.

use std::time::Duration;

use super::super::{Class, ESTIMATE_MIN, ESTIMATE_START, Estimator};
use super::call::{Media, World};
use super::link::Path;
use crate::time::Time;
use crate::wire::rtcp::{Rtcp, packets, twcc};

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

/// Sends 1000 bytes every 10 ms, and runs what is due.
fn send(estimator: &mut Estimator, from: u64, to: u64) {
    for millis in (from..to).step_by(10) {
        if estimator.poll_deadline() <= at(millis) {
            estimator.handle_timeout(at(millis));
        }
        estimator.on_sent(at(millis), 1000, Class::Video);
    }
}

#[test]
fn without_any_feedback_it_is_what_it_began_with_and_then_falls() {
    let mut estimator = Estimator::new(Time::ZERO);
    send(&mut estimator, 0, 4_900);
    assert_eq!(estimator.estimate(), ESTIMATE_START);
    assert!(!estimator.is_measured());
    send(&mut estimator, 4_900, 20_000);
    assert_eq!(estimator.estimate(), ESTIMATE_MIN);
}

#[test]
fn reports_alone_steer_it() {
    let mut estimator = Estimator::new(Time::ZERO);
    for second in 0..20 {
        send(&mut estimator, second * 1000, second * 1000 + 1000);
        estimator.on_report(at(second * 1000 + 999), 0, Some(Duration::from_millis(40)));
    }
    let risen = estimator.estimate();
    assert!((1_150_000..1_300_000).contains(&risen), "{risen}");
    assert_eq!(estimator.rtt(), Some(Duration::from_millis(40)));
    for second in 20..25 {
        send(&mut estimator, second * 1000, second * 1000 + 1000);
        estimator.on_report(at(second * 1000 + 999), 80, None);
    }
    assert!(estimator.estimate() < risen / 2, "{}", estimator.estimate());
    assert!(estimator.is_congested());
    assert_eq!(estimator.loss_permille(), 0);
}

#[test]
fn a_receiver_s_estimate_is_taken_for_what_it_is() {
    let mut estimator = Estimator::new(Time::ZERO);
    send(&mut estimator, 0, 1000);
    estimator.on_remb(at(1000), 2_500_000);
    assert_eq!(estimator.estimate(), 2_500_000);
    // Reports have no say then.
    estimator.on_report(at(1000), 200, None);
    assert_eq!(estimator.estimate(), 2_500_000);
    estimator.on_remb(at(2000), 0);
    assert_eq!(estimator.estimate(), ESTIMATE_MIN);
    estimator.on_path_change(at(3000));
    assert_eq!(estimator.estimate(), ESTIMATE_MIN);
}

#[test]
fn a_receiver_s_estimate_caps_what_is_measured() {
    let mut world = World::new(Path::new(3_000_000), Media::Elastic(8_000_000), 150);
    world.run(20);
    assert!(world.call().estimator.estimate() > 2_000_000);
    world.call().estimator.on_remb(at(20_000), 600_000);
    assert_eq!(world.call().estimator.estimate(), 600_000);
    world.run(25);
    assert_eq!(world.call().estimator.estimate(), 600_000);
    world.call().estimator.on_remb(at(25_000), 50_000_000);
    assert!(world.call().estimator.estimate() > 600_000);
}

#[test]
fn the_round_trip_is_that_of_the_path() {
    let mut path = Path::new(10_000_000);
    path.delay = Duration::from_millis(60);
    let mut world = World::new(path, Media::Layers(&[1_000_000]), 170);
    world.run(10);
    let rtt = world.call().estimator.rtt().unwrap();
    // The receiver gathers for a moment.
    assert!((120..170).contains(&rtt.as_millis()), "{rtt:?}");
}

#[test]
fn what_only_denies_does_not_lift_it() {
    let mut estimator = Estimator::new(Time::ZERO);
    let hear = |estimator: &mut Estimator, now: Time, base: u16, count: u8, comes: bool| {
        let mut buf = [0; 1200];
        let header = twcc::Feedback {
            sender_ssrc: 1,
            media_ssrc: 2,
            base_sequence: base,
            feedback_count: count,
        };
        let start = now.as_nanos() / 250_000;
        let arrivals: Vec<_> = (0..10).map(|index| Some(start + 40 * index)).collect();
        let mut written = twcc::write(&mut buf, &header, &arrivals).unwrap();
        if !comes {
            // One run of ten packets that did not come, padded to a word.
            buf[20..24].copy_from_slice(&[0, 10, 0, 0]);
            buf[2..4].copy_from_slice(&5u16.to_be_bytes());
            written.len = 24;
        }
        for packet in packets(&buf[..written.len]) {
            let Ok(Rtcp::Twcc(twcc)) = packet else {
                panic!("{packet:?}");
            };
            let outcome = estimator.on_feedback(now, now, &twcc);
            assert_eq!(outcome.acked, if comes { 10 } else { 0 });
        }
    };
    for round in 0..20u64 {
        let base = estimator.next_sequence();
        send(&mut estimator, round * 100, round * 100 + 100);
        hear(&mut estimator, at(round * 100 + 100), base, round as u8, true);
    }
    let before = estimator.estimate();
    for round in 20..40u64 {
        let base = estimator.next_sequence();
        send(&mut estimator, round * 100, round * 100 + 100);
        hear(&mut estimator, at(round * 100 + 100), base, round as u8, false);
        assert!(estimator.estimate() <= before, "{}", estimator.estimate());
    }
    assert!(estimator.loss_permille() > 800);
}
