//! A prober whose probes are answered by a path of some capacity.

use super::*;

struct World {
    prober: Prober,
    millis: u64,
    number: u64,
    estimate: f64,
    capacity: f64,
    congested: bool,
    saturating: bool,
    /// The peer gives feedback.
    answers: bool,
    /// When each probe began, and its rate.
    probes: Vec<(u64, u64)>,
    running: bool,
}

impl World {
    fn new(capacity: f64) -> Self {
        Self {
            prober: Prober::new(Time::ZERO),
            millis: 0,
            number: 1000,
            estimate: 1e6,
            capacity,
            congested: false,
            saturating: false,
            answers: true,
            probes: Vec::new(),
            running: false,
        }
    }

    fn now(&self) -> Time {
        Time::from_millis(self.millis)
    }

    fn wish(&mut self, all: u64, next: Option<u64>) {
        let demand = Demand {
            wanted_bps: all,
            next_step_bps: next,
            awaited: false,
        };
        self.prober.set_demand(self.now(), demand);
    }

    /// What was wished for is within the estimate, and waits for a proof.
    fn wait(&mut self) {
        let demand = self.prober.demand();
        self.prober.set_demand(
            self.now(),
            Demand {
                awaited: true,
                ..demand
            },
        );
    }

    fn proven(&self) -> Option<u64> {
        let proven = self.prober.proven(self.now(), self.estimate);
        proven.map(|bps| bps as u64)
    }

    fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.millis += 1;
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now();
        // At each feedback, and when it asks for it.
        let fed = self.answers && self.millis.is_multiple_of(50);
        if fed || self.prober.poll_deadline(self.estimate, None) <= now {
            let situation = Situation {
                estimate: self.estimate,
                congested: self.congested,
                saturating: self.saturating,
                measured: self.answers,
                rtt: None,
                inherent: 0.0,
                jitter: Duration::ZERO,
                told: if self.answers { self.number } else { 0 },
                next: self.number,
            };
            if let Some(Finding::Carried { bps, .. }) = self.prober.handle_timeout(now, &situation)
                && bps > self.estimate
            {
                self.estimate = bps;
                self.prober.on_adopted(now, bps);
            }
        }
        if let Some(rate) = self.prober.rate().filter(|_| !self.running) {
            self.probes.push((self.millis, rate));
        }
        self.running = self.prober.rate().is_some();
        let mut wanted = self.prober.wanted(now);
        while wanted > 0 && self.prober.is_sending() {
            let rate = self.prober.rate().unwrap() as f64;
            self.prober.on_sent(now, self.number, 250);
            // Spread by the link when it is slower.
            let stretch = (rate / self.capacity).max(1.0);
            let began = self.probes.last().unwrap().0 as f64;
            let arrival = began + (self.millis as f64 - began) * stretch;
            if self.answers {
                self.prober.on_acked(&Acked {
                    number: self.number,
                    sent_at: now,
                    arrival: (arrival * 1000.0) as i64 + self.number as i64,
                    bytes: 250,
                    total: 0,
                    after_gap: false,
                });
            }
            self.number += 1;
            wanted = wanted.saturating_sub(250);
        }
    }
}

#[test]
fn nothing_to_gain_is_nothing_to_find_out() {
    let mut world = World::new(1e8);
    assert_eq!(world.prober.poll_deadline(1e6, None), Time::FAR_FUTURE);
    world.wish(3_000_000, None);
    world.run(60_000);
    assert!(world.probes.is_empty());
    assert_eq!(world.prober.poll_deadline(1e6, None), Time::FAR_FUTURE);
}

#[test]
fn the_first_go_on_up_to_what_is_wanted() {
    let mut world = World::new(1e8);
    world.wish(8_000_000, Some(1_200_000));
    world.run(2_000);
    let rates: Vec<_> = world.probes.iter().map(|(_, rate)| *rate).collect();
    assert_eq!(rates[0], 3_000_000);
    assert!((5_000_000..=8_800_000).contains(&rates[1]), "{rates:?}");
    assert!(rates.iter().all(|rate| *rate <= 8_800_000), "{rates:?}");
    assert!(world.proven() > Some(1_200_000));
    // Nobody asks for more.
    let count = world.probes.len();
    world.run(7_000);
    assert_eq!(world.probes.len(), count);
    assert_eq!(world.proven(), None, "others may have come");
}

#[test]
fn who_waits_for_a_proof_gets_it() {
    let mut world = World::new(1e8);
    world.wish(8_000_000, Some(2_000_000));
    world.run(20_000);
    let count = world.probes.len();
    world.wait();
    world.run(1_000);
    assert_eq!(world.probes.len(), count + 1);
    assert_eq!(world.probes[count].1, 2_400_000, "no more than what it needs");
    assert!(world.proven() >= Some(2_000_000));
    assert!(world.prober.is_awaited_proven(world.now(), world.estimate));
    // It gets no other as long as that one holds.
    world.run(500);
    assert_eq!(world.probes.len(), count + 1);
    world.prober.on_congestion(world.now(), world.estimate);
    assert_eq!(world.proven(), None);
}

#[test]
fn what_only_the_feedback_hid_is_proven() {
    let mut world = World::new(1e8);
    world.wish(8_000_000, Some(2_000_000));
    world.estimate = 2e6;
    assert_eq!(world.proven(), None);
    world.prober.on_restored(world.now(), 1e6);
    assert_eq!(world.proven(), Some(1_250_000));
    world.estimate = 1.1e6;
    assert_eq!(world.proven(), Some(1_100_000), "the estimate bounds it");
    world.prober.on_congestion(world.now(), world.estimate);
    assert_eq!(world.proven(), None);
}

#[test]
fn what_others_took_is_proven_no_more() {
    let mut world = World::new(1e8);
    world.wish(8_000_000, Some(2_000_000));
    world.run(20_000);
    world.capacity = 1.2e6;
    let count = world.probes.len();
    world.wait();
    world.run(60_000);
    assert!(!world.prober.is_awaited_proven(world.now(), world.estimate));
    // And it is asked for less and less often.
    assert!(
        (7..12).contains(&(world.probes.len() - count)),
        "{:?}",
        world.probes
    );
}

#[test]
fn where_nothing_can_be_proven_the_estimate_is_all_there_is() {
    let mut world = World::new(1e8);
    world.wish(8_000_000, Some(2_000_000));
    world.run(20_000);
    world.answers = false;
    world.wait();
    world.run(1_000);
    assert_eq!(world.proven(), None);
    world.run(10_000);
    assert_eq!(world.proven(), Some(world.estimate as u64));
    assert_eq!(world.prober.poll_deadline(world.estimate, None), Time::FAR_FUTURE);
}

#[test]
fn a_row_of_probes_ends() {
    for all in (1_000_000..9_000_000).step_by(333_333) {
        for capacity in [1e6, 2.5e6, 1e8] {
            let mut world = World::new(capacity);
            world.wish(all, Some(all * 9 / 10));
            world.run(10_000);
            assert!(world.probes.len() <= 8, "{all} {capacity}: {:?}", world.probes);
        }
    }
}

#[test]
fn a_step_out_of_reach_is_asked_for_less_and_less_often() {
    let mut world = World::new(1.5e6);
    world.wish(6_000_000, Some(2_000_000));
    world.run(60_000);
    let gaps: Vec<_> = world
        .probes
        .windows(2)
        .map(|pair| pair[1].0 - pair[0].0)
        .collect();
    assert!(gaps.len() >= 6, "{gaps:?}");
    assert!(gaps[0] >= 2_000, "{gaps:?}");
    assert!(
        gaps.iter().skip(3).all(|gap| (5_000..10_000).contains(gap)),
        "{gaps:?}"
    );
    // Never beyond twice what is known.
    assert!(world.probes.iter().skip(1).all(|(_, rate)| *rate <= 3_000_000));
    // And when the path grows it is found within ten seconds.
    world.capacity = 1e7;
    world.run(10_000);
    assert!(world.estimate >= 2e6, "{}", world.estimate);
}

#[test]
fn congestion_and_growth_by_itself_postpone() {
    let mut world = World::new(1e8);
    world.congested = true;
    world.wish(3_000_000, Some(2_000_000));
    world.run(20_000);
    assert!(world.probes.is_empty());
    world.congested = false;
    world.run(2_000);
    assert!(!world.probes.is_empty());

    let count = world.probes.len();
    world.saturating = true;
    world.wish(30_000_000, Some(20_000_000));
    world.run(20_000);
    assert_eq!(world.probes.len(), count);
}

#[test]
fn a_fall_is_recovered_from() {
    let mut world = World::new(1e8);
    world.wish(3_000_000, Some(2_800_000));
    world.run(5_000);
    world.estimate = 4e5;
    world.prober.on_congestion(world.now(), 4e5);
    world.prober.on_fall(world.now(), 2.5e6);
    let before = world.probes.len();
    world.run(3_000);
    let (_, rate) = world.probes[before];
    assert_eq!(rate, (4e5 * FIRST) as u64, "the path may be narrow now");
    assert!(world.estimate > 1.9e6, "{}", world.estimate);
}

#[test]
fn what_was_usual_before_a_silence_is_tried_at_once() {
    let mut world = World::new(1e8);
    world.wish(3_000_000, Some(2_800_000));
    world.run(5_000);
    world.estimate = 4e5;
    world.prober.on_return(world.now(), 2.5e6);
    let before = world.probes.len();
    world.run(3_000);
    let (_, rate) = world.probes[before];
    assert_eq!(rate, (2.5e6 * RECOVER) as u64);
}

#[test]
fn who_takes_the_share_of_others_waits_longer_each_time() {
    let mut world = World::new(1e8);
    world.wish(3_000_000, Some(2_800_000));
    let mut gaps = Vec::new();
    for _ in 0..4 {
        let count = world.probes.len();
        while world.probes.len() == count {
            world.run(1);
        }
        let began = world.probes.last().unwrap().0;
        world.run(1_000);
        // What was found is lost at once.
        world.estimate = 1e6;
        world.prober.on_congestion(world.now(), 1e6);
        world.prober.on_fall(world.now(), 2.8e6);
        gaps.push(began);
    }
    let gaps: Vec<_> = gaps.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[2] > gaps[0] && gaps[2] > 10_000, "{gaps:?}");
}

#[test]
fn who_never_answers_is_left_alone() {
    let mut world = World::new(1e8);
    world.answers = false;
    world.wish(3_000_000, Some(2_000_000));
    world.run(120_000);
    assert_eq!(world.probes.len(), usize::from(UNANSWERED_MAX));
    assert_eq!(world.prober.poll_deadline(1e6, None), Time::FAR_FUTURE);
}

#[test]
fn another_path_is_left_to_settle() {
    let mut world = World::new(1e8);
    world.wish(3_000_000, Some(2_000_000));
    world.prober.on_path_change(world.now());
    world.run(499);
    assert!(world.probes.is_empty());
    world.run(2);
    assert_eq!(world.probes.len(), 1);
}
