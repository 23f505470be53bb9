//! Feedback that no receiver would write, in any order with everything else that can happen.

use std::time::Duration;

use proptest::prelude::*;

use super::super::{Class, Demand, ESTIMATE_MAX, ESTIMATE_MIN, Estimator};
use crate::time::Time;
use crate::wire::rtcp::{Rtcp, packets, twcc};

#[derive(Debug, Clone)]
enum Event {
    Wait(u64),
    /// Packets of this size, a millisecond apart.
    Send(u8, u16, Class),
    /// Feedback over packets from so many before the next one on, after so many messages.
    Feedback(u16, u8, Vec<Option<u32>>),
    /// The body of a message as it may come from anybody.
    Raw(Vec<u8>),
    Remb(u64),
    Report(u8, Option<u32>),
    Wish(u64, Option<u64>),
    PathChange,
}

fn event() -> impl Strategy<Value = Event> {
    let class = prop::sample::select(&Class::ALL[..]);
    let arrivals = prop::collection::vec(prop::option::weighted(0.8, 0u32..2000), 1..120);
    let wild = prop::collection::vec(prop::option::weighted(0.5, any::<u32>()), 1..50);
    prop_oneof![
        3 => (0u64..3000).prop_map(Event::Wait),
        6 => (1u8..100, 0u16..1500, class).prop_map(|(count, size, class)| Event::Send(count, size, class)),
        6 => (0u16..150, any::<u8>(), arrivals).prop_map(|(back, count, list)| Event::Feedback(back, count, list)),
        2 => (any::<u16>(), any::<u8>(), wild).prop_map(|(back, count, list)| Event::Feedback(back, count, list)),
        2 => prop::collection::vec(any::<u8>(), 8..60).prop_map(Event::Raw),
        1 => any::<u64>().prop_map(Event::Remb),
        1 => (any::<u8>(), any::<Option<u32>>()).prop_map(|(loss, rtt)| Event::Report(loss, rtt)),
        1 => (any::<u64>(), any::<Option<u64>>()).prop_map(|(all, next)| Event::Wish(all, next)),
        1 => Just(Event::PathChange),
    ]
}

/// A message with this base over arrivals that are ticks apart.
fn message(base: u16, count: u8, gaps: &[Option<u32>]) -> Option<Vec<u8>> {
    let mut clock = 1_000_000;
    let arrivals: Vec<_> = gaps
        .iter()
        .map(|gap| {
            gap.map(|gap| {
                clock += u64::from(gap);
                clock
            })
        })
        .collect();
    let header = twcc::Feedback {
        sender_ssrc: 1,
        media_ssrc: 2,
        base_sequence: base,
        feedback_count: count,
    };
    let mut buf = vec![0; 1200];
    let written = twcc::write(&mut buf, &header, &arrivals)?;
    buf.truncate(written.len);
    Some(buf)
}

/// A message of the right type and length with anything in it.
fn raw(body: &[u8]) -> Vec<u8> {
    let words = 2 + body.len() / 4;
    let mut message = vec![0x8f, 205, 0, words as u8, 0, 0, 0, 1, 0, 0, 0, 2];
    message.extend_from_slice(&body[..body.len() / 4 * 4]);
    message
}

struct World {
    estimator: Estimator,
    now: Time,
}

impl World {
    fn new() -> Self {
        Self {
            estimator: Estimator::new(Time::ZERO),
            now: Time::ZERO,
        }
    }

    /// Hands in all feedback of the message; how many packets were acknowledged.
    fn hear(&mut self, message: &[u8]) -> u32 {
        let mut acked = 0;
        for packet in packets(message) {
            if let Ok(Rtcp::Twcc(twcc)) = packet {
                acked += self.estimator.on_feedback(self.now, self.now, &twcc).acked;
            }
        }
        acked
    }

    fn send(&mut self, count: u64, size: usize, class: Class) {
        for _ in 0..count {
            let sequence = self.estimator.next_sequence();
            self.estimator.on_sent(self.now, size, class);
            assert_eq!(self.estimator.next_sequence(), sequence.wrapping_add(1));
            self.now += Duration::from_millis(1);
        }
    }

    fn run(&mut self, event: &Event) {
        match event {
            Event::Wait(millis) => self.now += Duration::from_millis(*millis),
            Event::Send(count, size, class) => self.send(u64::from(*count), usize::from(*size), *class),
            Event::Feedback(back, count, gaps) => {
                let base = self.estimator.next_sequence().wrapping_sub(*back);
                if let Some(message) = message(base, *count, gaps) {
                    self.hear(&message);
                }
            }
            Event::Raw(body) => {
                self.hear(&raw(body));
            }
            Event::Remb(bps) => self.estimator.on_remb(self.now, *bps),
            Event::Report(loss, rtt) => {
                let rtt = rtt.map(|micros| Duration::from_micros(u64::from(micros)));
                self.estimator.on_report(self.now, *loss, rtt);
            }
            Event::Wish(wanted_bps, next_step_bps) => {
                let (wanted_bps, next_step_bps) = (*wanted_bps, *next_step_bps);
                let demand = Demand {
                    wanted_bps,
                    next_step_bps,
                    awaited: wanted_bps % 2 == 0,
                };
                self.estimator.set_demand(self.now, demand);
            }
            Event::PathChange => self.estimator.on_path_change(self.now),
        }
        // A driver that wakes when it is asked to, and sends what is wanted.
        for _ in 0..2 {
            if self.estimator.poll_deadline() <= self.now {
                self.estimator.handle_timeout(self.now);
            }
        }
        assert!(self.estimator.poll_deadline() > self.now, "{:?}", self.estimator);
        let wanted = self.estimator.probe_bytes(self.now);
        self.send(wanted.div_ceil(200).min(50) as u64, 200, Class::Padding);
        let estimate = self.estimator.estimate();
        assert!((ESTIMATE_MIN..=ESTIMATE_MAX).contains(&estimate), "{estimate}");
        assert!(self.estimator.loss_permille() <= 1000);
    }
}

proptest! {
    #[test]
    fn nothing_breaks_it(events in prop::collection::vec(event(), 1..200)) {
        let mut world = World::new();
        for event in &events {
            world.run(event);
        }
    }

    /// Feedback about numbers that were not sent on this path, or that it has told of before, is nothing.
    #[test]
    fn what_names_nothing_new_changes_nothing(
        events in prop::collection::vec(event(), 0..60),
        ahead in 0u16..30_000,
        gaps in prop::collection::vec(prop::option::weighted(0.8, 0u32..2000), 1..120),
        count: u8,
    ) {
        let mut world = World::new();
        for event in &events {
            world.run(event);
        }
        // Before the first feedback of a fresh path any number behind is of the old one.
        world.estimator.on_path_change(world.now);
        let next = world.estimator.next_sequence();
        world.send(100, 1000, Class::Video);
        let valid = message(next, count, &[Some(4); 100]).unwrap();
        prop_assert_eq!(world.hear(&valid), 100);
        let before = format!("{:?}", world.estimator);
        let next = world.estimator.next_sequence();
        let again = [
            Some(valid),
            message(next.wrapping_add(ahead), count.wrapping_add(1), &gaps),
            // Up to the first number of this path.
            message(next.wrapping_sub(100).wrapping_sub(gaps.len() as u16), count.wrapping_add(1), &gaps),
        ];
        for message in again.into_iter().flatten() {
            prop_assert_eq!(world.hear(&message), 0);
            prop_assert_eq!(&format!("{:?}", world.estimator), &before);
        }
    }
}

#[test]
fn a_flood_of_run_lengths_is_cheap() {
    let mut world = World::new();
    world.send(100, 1000, Class::Video);
    let before = world.estimator.estimate();
    // Four runs of 8191 lost packets, from before what is remembered.
    let base = world.estimator.next_sequence().wrapping_sub(32_000);
    let mut body = base.to_be_bytes().to_vec();
    body.extend_from_slice(&[0x7f, 0xfc, 0, 0, 0, 0]);
    body.extend_from_slice(&[0x1f, 0xff, 0x1f, 0xff, 0x1f, 0xff, 0x1f, 0xff]);
    for _ in 0..100_000 {
        world.hear(&raw(&body));
    }
    assert_eq!(world.estimator.estimate(), before);
    assert!(!world.estimator.is_measured());
}
