//! Runs simulated calls from the command line: all of them into a table, many seeds of all of them, or one
//! again with its time line.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand};
use kall_simulation::{Run, Scenario, report, run};

#[derive(Parser)]
#[command(about = "Simulated calls")]
struct Arguments {
    /// Spreads the people over so many cores.
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    cores: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs every scenario with its seeds and writes the table of results.
    Report {
        /// Where to.
        file: PathBuf,
    },
    /// Runs every scenario with new seeds and lists those that fail.
    Soak {
        /// Seeds, spread over the scenarios.
        seeds: u64,
        /// The first seed; from the clock when it is not given.
        #[arg(long)]
        first: Option<u64>,
        /// This scenario only.
        #[arg(long)]
        scenario: Option<String>,
    },
    /// Runs a scenario with one seed and shows what happened.
    Replay {
        /// Its name.
        scenario: String,
        /// Its seed.
        seed: u64,
    },
}

fn main() -> ExitCode {
    let Arguments { cores, command } = Arguments::parse();
    let done = match command {
        Command::Report { file } => write_report(&file, cores),
        Command::Soak {
            seeds,
            first,
            scenario,
        } => soak(seeds, first, scenario, cores),
        Command::Replay { scenario, seed } => replay(&scenario, seed, cores),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&error);
            ExitCode::FAILURE
        }
    }
}

/// A line for whoever called; whoever no longer reads doesn't miss it.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn scenarios(only: Option<String>, cores: u8) -> Result<Vec<Scenario>, String> {
    let names = only.map_or_else(Scenario::names, |name| Ok(vec![name]))?;
    names.iter().map(|name| load(name, cores)).collect()
}

fn load(name: &str, cores: u8) -> Result<Scenario, String> {
    let mut scenario = Scenario::load(name)?;
    scenario.cores = cores;
    Ok(scenario)
}

fn write_report(file: &PathBuf, cores: u8) -> Result<bool, String> {
    let mut results = Vec::new();
    for scenario in scenarios(None, cores)? {
        // One after the other, so that the speed is that of one core.
        let runs: Vec<Run> = scenario.all_seeds().map(|seed| run(&scenario, seed)).collect();
        results.push((scenario, runs));
    }
    fs::write(file, report::page(&results)).map_err(|error| format!("{}: {error}", file.display()))?;
    let holds = results.iter().all(|(_, runs)| runs.iter().all(Run::holds));
    say(&format!(
        "{}: written, {}",
        file.display(),
        if holds {
            "every oracle holds"
        } else {
            "some oracles fail"
        }
    ));
    Ok(holds)
}

fn soak(seeds: u64, first: Option<u64>, only: Option<String>, cores: u8) -> Result<bool, String> {
    let scenarios = scenarios(only, cores)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|error| error.to_string())?;
    let first = first.unwrap_or(now.as_secs());
    let jobs: Vec<(&Scenario, u64)> = (first..first + seeds)
        .enumerate()
        .map(|(index, seed)| (&scenarios[index % scenarios.len()], seed))
        .collect();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(0_usize);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((scenario, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = run(scenario, *seed);
                    if run.holds() {
                        continue;
                    }
                    // Nothing panics while it is held, and if it did the count would still be good.
                    let mut failed = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    *failed += 1;
                    say(&format!("FAILED {} seed {seed}", scenario.name));
                    for verdict in run.verdicts.iter().filter(|verdict| !verdict.holds) {
                        say(&format!(
                            "    {}: {}, required {}",
                            verdict.oracle, verdict.measured, verdict.required
                        ));
                    }
                    say(&format!(
                        "    again: make simulate SCENARIO={} SEED={seed}",
                        scenario.name
                    ));
                }
            });
        }
    });
    let failed = failed
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let passed = jobs.len() - failed;
    say(&format!(
        "soak: {passed} seeds passed, {failed} failed, from seed {first}"
    ));
    Ok(failed == 0)
}

fn replay(name: &str, seed: u64, cores: u8) -> Result<bool, String> {
    let scenario = load(name, cores)?;
    let run = run(&scenario, seed);
    for line in &run.timeline {
        say(line);
    }
    for violation in &run.violations {
        say(&format!(
            "{:9.3} s  WRONG {}",
            violation.at.as_nanos() as f64 / 1e9,
            violation.what
        ));
    }
    let counters: Vec<String> = run
        .counters
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    say(&format!("counters: {}", counters.join(", ")));
    for verdict in &run.verdicts {
        let holds = if verdict.holds { "holds" } else { "FAILS" };
        say(&format!(
            "{holds}  {}: {}, required {}",
            verdict.oracle, verdict.measured, verdict.required
        ));
    }
    let speed = scenario.length().as_secs_f64() / run.took.as_secs_f64();
    say(&format!("{speed:.0} times as fast as real time"));
    Ok(run.holds())
}
