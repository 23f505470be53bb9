//! Runs repeat.

use kall_simulation::{Scenario, run};

#[test]
fn every_scenario_can_be_read() {
    let names = Scenario::names().expect("the folder");
    assert!(!names.is_empty());
    for name in names {
        Scenario::load(&name).expect("a legal scenario");
    }
}

#[test]
fn a_seed_is_a_run() {
    let scenario = Scenario::load("switches_under_loss").expect("a legal scenario");
    let [first, again, other] = [1, 1, 2].map(|seed| run(&scenario, seed));
    assert_eq!(first.trace, again.trace);
    assert_eq!(first.timeline, again.timeline);
    assert_eq!(first.verdicts, again.verdicts);
    assert_ne!(first.trace, other.trace);
}
