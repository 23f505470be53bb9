//! Loads a WebRTC server with clients and says what it carried and what that cost.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use kall_benches::limit::{self, Limit, Sinks};
use kall_benches::load::janus::Janus;
use kall_benches::load::report::Report;
use kall_benches::load::scenario::{self, Plan, Scenario};
use kall_benches::load::server::{Dataplane, Pinning};
use kall_benches::load::signal::Target;
use kall_dataplane::io::affinity;
use serde_json::json;

#[derive(Parser)]
#[command(
    name = "kall-load",
    about = "Loads a WebRTC server with clients and says what it carried",
    version
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Clone)]
struct Common {
    /// Seconds that are measured, after everybody has settled.
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// Seconds in which everybody settles: estimates rise, layers are chosen.
    #[arg(long, default_value_t = 5.0)]
    settle: f64,
    /// Share of the packets that are opened, authenticated and timed, 0 to 1.
    #[arg(long, default_value_t = 0.05)]
    verify: f64,
    /// One line of JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Measures what the scenario's ideal runs cost in the same minute, and gives the ratio.
    #[arg(long)]
    with_limit: bool,
    /// CPUs that may be used, such as 0,1: the first ones are the data plane's, the others everybody else's.
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
    /// CPUs of the data plane.
    #[arg(long, default_value_t = 1)]
    cores: usize,
    /// A kall that runs already instead of one of its own, with --api-key.
    #[arg(long, requires = "api_key")]
    url: Option<String>,
    /// Of that kall: key:secret.
    #[arg(long)]
    api_key: Option<String>,
    /// Any server's endpoint for publishers (RFC 9725), with --whep.
    #[arg(long, requires = "whep", conflicts_with = "url")]
    whip: Option<String>,
    /// Any server's endpoint for players.
    #[arg(long, requires = "whip")]
    whep: Option<String>,
    /// Bearer token for both.
    #[arg(long)]
    token: Option<String>,
    /// The HTTP API of a Janus with its VideoRoom, such as http://127.0.0.1:8088/janus.
    #[arg(long, conflicts_with_all = ["url", "whip"])]
    janus: Option<String>,
    /// The process of the server that runs already, to measure its CPU time and memory.
    #[arg(long)]
    pid: Option<u32>,
    /// Counts the data plane's system calls with strace meanwhile; times of such a run say nothing.
    #[arg(long)]
    syscalls: bool,
    /// Slots for sound that each subscriber offers, instead of what the scenario has.
    #[arg(long)]
    audio_slots: Option<usize>,
    /// Slots for pictures.
    #[arg(long)]
    video_slots: Option<usize>,
}

#[derive(Subcommand)]
enum Command {
    /// One publisher of 1.5 Mbit/s at 30 frames a second with sound, watched by many.
    Livestream {
        /// How many watch.
        #[arg(long, default_value_t = 500)]
        subscribers: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Publishers with three layers, and subscribers who each take nine pictures and three sounds.
    Meeting {
        /// How many publish.
        #[arg(long, default_value_t = 10)]
        publishers: usize,
        /// How many watch.
        #[arg(long, default_value_t = 40)]
        subscribers: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Open microphones, of which each listener gets three.
    Audio {
        /// How many have one.
        #[arg(long, default_value_t = 10)]
        publishers: usize,
        /// How many listen.
        #[arg(long, default_value_t = 800)]
        subscribers: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Many clients come within two seconds while others watch.
    JoinStorm {
        /// How many come.
        #[arg(long, default_value_t = 500)]
        subscribers: usize,
        /// How many are there.
        #[arg(long, default_value_t = 50)]
        present: usize,
        /// Within so many seconds.
        #[arg(long, default_value_t = 2.0)]
        within: f64,
        /// They come to another room, where nobody sends: what is measured is what their coming costs those who are there.
        #[arg(long)]
        elsewhere: bool,
        #[command(flatten)]
        common: Common,
    },
    /// More and more subscribers of 600 kbit/s, until one packet of a hundred is lost.
    Capacity {
        /// The first number of them.
        #[arg(long, default_value_t = 200)]
        from: usize,
        /// How many more each time.
        #[arg(long, default_value_t = 200)]
        step: usize,
        /// The last number of them.
        #[arg(long, default_value_t = 2_000)]
        to: usize,
        #[command(flatten)]
        common: Common,
    },
    /// What one more subscriber takes: memory with many, less that with few.
    Memory {
        /// How few.
        #[arg(long, default_value_t = 100)]
        few: usize,
        /// How many.
        #[arg(long, default_value_t = 500)]
        many: usize,
        /// Something is in every slot, instead of one picture and one sound.
        #[arg(long)]
        in_use: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Connected viewers of a silent room.
    Idle {
        /// How many.
        #[arg(long, default_value_t = 2_000)]
        subscribers: usize,
        #[command(flatten)]
        common: Common,
    },
}

impl Common {
    fn pinning(&self) -> Pinning {
        // Asked once: in the runs after the first this thread keeps off some of them.
        static ALL: LazyLock<Vec<usize>> = LazyLock::new(affinity::available);
        let cpus = if self.cpus.is_empty() { &ALL } else { &self.cpus };
        Pinning::of(cpus, self.cores)
    }

    async fn plan(&self) -> Result<Plan, String> {
        let target = match (&self.url, &self.whip, &self.whep) {
            _ if let Some(janus) = &self.janus => Some(Target::Janus(Janus::new(janus).await?)),
            (Some(url), _, _) => {
                let api = self.api_key.as_deref().unwrap_or_default();
                let (key, secret) = api.split_once(':').ok_or("--api-key: key:secret")?;
                Some(Target::kall(url, (key, secret)).await?)
            }
            (None, Some(publish), Some(play)) => Some(Target::Whip {
                publish: publish.clone(),
                play: play.clone(),
                token: self.token.clone(),
            }),
            _ => None,
        };
        let seconds = |name: &str, value: f64| {
            Duration::try_from_secs_f64(value).map_err(|error| format!("--{name}: {error}"))
        };
        Ok(Plan {
            settle: seconds("settle", self.settle)?,
            duration: seconds("duration", self.duration)?,
            verify: self.verify,
            pinning: self.pinning(),
            target,
            measured: self.pid.map(Dataplane::of),
            syscalls: self.syscalls,
        })
    }

    fn slots(&self, scenario: &mut Scenario) {
        scenario.audio_slots = self.audio_slots.unwrap_or(scenario.audio_slots);
        scenario.video_slots = self.video_slots.unwrap_or(scenario.video_slots);
    }

    fn say(&self, report: &Report) {
        let text = if self.json { report.json() } else { report.table() };
        // Whoever no longer reads doesn't miss it.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// Raw and sealed are measured in turns, so that a slow moment of the machine hits both.
const LIMIT_TURNS: u32 = 5;

fn add_limit(scenario: &Scenario, plan: &Plan, report: &mut Report) -> Result<(), String> {
    let [sender, ..] = plan.pinning.dataplane[..] else {
        return Err("no CPU for the data plane".to_owned());
    };
    let sinks = plan.pinning.others.last().copied().unwrap_or(sender);
    let sinks = Sinks::new(scenario.subscribers, sinks).map_err(|error| error.to_string())?;
    let profile = report.profile.ok_or("nobody connected")?;
    let flows = scenario.flows();
    let (mut raw, mut sealed) = (Limit::default(), Limit::default());
    for _ in 0..LIMIT_TURNS {
        for (sum, profile) in [(&mut raw, None), (&mut sealed, Some(profile))] {
            *sum += limit::run(&flows, &sinks, profile, plan.duration / LIMIT_TURNS, sender)
                .map_err(|error| error.to_string())?;
        }
    }
    report.add_limit(&raw, &sealed);
    Ok(())
}

async fn measure(mut scenario: Scenario, common: &Common) -> Result<Report, String> {
    let plan = common.plan().await?;
    common.slots(&mut scenario);
    let mut report = scenario::run(&scenario, &plan).await?;
    if common.with_limit {
        add_limit(&scenario, &plan, &mut report)?;
    }
    Ok(report)
}

/// Loss that still is one core's work.
const CARRIED: f64 = 0.01;

async fn capacity(from: usize, step: usize, to: usize, common: &Common) -> Result<(), String> {
    let mut best: Option<Report> = None;
    for subscribers in (from..=to).step_by(step.max(1)) {
        let mut report = measure(Scenario::capacity(subscribers), common).await?;
        let carried = report.loss < CARRIED && report.joined == subscribers;
        report.add("carried", json!(carried));
        common.say(&report);
        if !carried {
            break;
        }
        best = Some(report);
    }
    match best {
        Some(mut report) => {
            report.add("scenario", json!("capacity: the most that was carried"));
            common.say(&report);
            Ok(())
        }
        None => Err("not even the first number was carried".to_owned()),
    }
}

async fn memory(few: usize, many: usize, in_use: bool, common: &Common) -> Result<(), String> {
    let scenario = |subscribers| {
        let mut scenario = Scenario::livestream(subscribers);
        common.slots(&mut scenario);
        if in_use {
            scenario = Scenario::tiles(subscribers, scenario.audio_slots, scenario.video_slots);
        }
        scenario
    };
    let with_few = measure(scenario(few), common).await?;
    common.say(&with_few);
    let mut with_many = measure(scenario(many), common).await?;
    let rss = |report: &Report| report.get("rss_bytes").as_u64();
    let more = rss(&with_many)
        .zip(rss(&with_few))
        .map(|(many, few)| many.saturating_sub(few));
    let each = more.map(|more| more as f64 / many.saturating_sub(few).max(1) as f64);
    with_many.add("bytes_of_one_more", json!(each));
    common.say(&with_many);
    Ok(())
}

async fn run(command: Command) -> Result<(), String> {
    let (scenario, common) = match command {
        Command::Livestream { subscribers, common } => (Scenario::livestream(subscribers), common),
        Command::Meeting {
            publishers,
            subscribers,
            common,
        } => (Scenario::meeting(publishers, subscribers), common),
        Command::Audio {
            publishers,
            subscribers,
            common,
        } => (Scenario::audio(publishers, subscribers), common),
        Command::JoinStorm {
            subscribers,
            present,
            within,
            elsewhere,
            common,
        } => {
            let within = Duration::try_from_secs_f64(within).map_err(|error| format!("--within: {error}"))?;
            (
                Scenario::join_storm(present, subscribers, within, elsewhere),
                common,
            )
        }
        Command::Capacity {
            from,
            step,
            to,
            common,
        } => return capacity(from, step, to, &common).await,
        Command::Memory {
            few,
            many,
            in_use,
            common,
        } => return memory(few, many, in_use, &common).await,
        Command::Idle { subscribers, common } => (Scenario::idle(subscribers), common),
    };
    let report = measure(scenario, &common).await?;
    common.say(&report);
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(run(arguments.command)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "kall-load: {error}");
            ExitCode::FAILURE
        }
    }
}
