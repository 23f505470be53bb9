//! One run of a scenario from one seed.

use std::collections::BTreeMap;
use std::time::Duration;

use kall_dataplane::time::Time;
use rustix::time::{ClockId, clock_gettime};

use crate::checker::Violation;
use crate::oracle::Verdict;
use crate::scenario::Scenario;
use crate::world::{self, Trace, World};

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// One or more for each oracle, in their order.
    pub verdicts: Vec<Verdict>,
    /// What was wrong with what the server sent, in the order of its time.
    pub violations: Vec<Violation>,
    /// A hash of everything that happened.
    pub trace: Trace,
    /// Processor time that it took.
    pub took: Duration,
    /// The server's counters that are not zero.
    pub counters: BTreeMap<String, u64>,
    /// Happenings over time, for people.
    pub timeline: Vec<String>,
}

impl Run {
    /// Whether every oracle holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.holds)
    }
}

/// Processor time of this thread: others on the machine don't make a run slower.
fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

/// Runs a scenario.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64) -> Run {
    // The process's one certificate is made for the first call, and is no part of any.
    world::identity();
    let started = thread_time();
    let mut world = World::new(scenario, seed);
    world.run_until(Time::ZERO + scenario.length());
    world.close();
    let trace = world.trace();
    let took = thread_time().saturating_sub(started);
    Run {
        seed,
        verdicts: scenario
            .oracles
            .iter()
            .flat_map(|oracle| oracle.judge(&world))
            .collect(),
        violations: crate::oracle::violations(&world),
        trace,
        took,
        counters: world
            .measures
            .counters
            .clone()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect(),
        timeline: world.timeline(),
    }
}
