//! Every scenario with all its seeds, those that failed once included; and that runs repeat.

use kall_simulation::{Run, Scenario, run};

/// One test for each scenario, so that they run beside each other and a red one has a name.
macro_rules! scenarios {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                holds(stringify!($name));
            }
        )*
        /// The same with their people on several cores, who notice nothing of that.
        mod spread {
            $(
                #[test]
                fn $name() {
                    super::holds_spread(stringify!($name));
                }
            )*
        }
    };
}

scenarios! {
    av1_simulcast
    av1_svc
    av1_svc_key
    bursty_loss
    capacity_collapse
    capacity_step_down
    capacity_step_up
    congested_feedback
    h264_layers
    join_storm
    large_stream
    longer_route
    loss_20
    loss_5
    pause_and_resume
    publisher_reconnect
    rtt_300
    several_flows
    steady
    switches_under_loss
    talkers_1000
    talkers_20
    thumbnails
    variable_capacity
    vp9_simulcast
    vp9_svc
    vp9_svc_key
}

#[test]
fn every_scenario_has_a_test() {
    assert_eq!(Scenario::names().expect("the folder"), TESTED);
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

fn holds(name: &str) {
    let scenario = Scenario::load(name).expect("a legal scenario");
    let failed: Vec<String> = scenario
        .all_seeds()
        .map(|seed| run(&scenario, seed))
        .filter(|run| !run.holds())
        .map(|run| failure(name, &run))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn holds_spread(name: &str) {
    let mut scenario = Scenario::load(name).expect("a legal scenario");
    scenario.cores = 3;
    let seed = scenario.seeds[0];
    let run = run(&scenario, seed);
    assert!(run.holds(), "on 3 cores: {}", failure(name, &run));
}

fn failure(name: &str, run: &Run) -> String {
    let mut said = format!("make simulate SCENARIO={name} SEED={}\n", run.seed);
    for verdict in run.verdicts.iter().filter(|verdict| !verdict.holds) {
        said += &format!(
            "    {}: {}, required {}\n",
            verdict.oracle, verdict.measured, verdict.required
        );
    }
    said
}
