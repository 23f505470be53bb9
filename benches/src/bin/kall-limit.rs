//! What it costs to send packets in ideal runs, raw and sealed, beside plain `sendto`.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kall_benches::limit::{self, Cpus, Flow, Sinks};
use kall_dataplane::io::affinity;
use kall_dataplane::srtp::Profile;
use serde_json::json;

#[derive(Parser)]
#[command(
    name = "kall-limit",
    about = "What it costs to send packets in ideal runs",
    version
)]
struct Arguments {
    /// How many get each run.
    #[arg(long, default_value_t = 100)]
    subscribers: usize,
    /// Packets of a run.
    #[arg(long, default_value_t = 10)]
    run: usize,
    /// Bytes of a packet.
    #[arg(long, default_value_t = 1_200)]
    bytes: usize,
    /// Runs in a second for each subscriber.
    #[arg(long, default_value_t = 30)]
    per_second: u32,
    /// Seconds of each row.
    #[arg(long, default_value_t = 5.0)]
    duration: f64,
    /// CPU of the sender.
    #[arg(long)]
    cpu: Option<usize>,
    /// One line of JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn measure(arguments: &Arguments) -> io::Result<()> {
    let available = affinity::available();
    let first = available.first().copied().unwrap_or(0);
    let sender = arguments.cpu.unwrap_or(first);
    let other = available.iter().copied().rev().find(|cpu| *cpu != sender);
    let cpus = Cpus {
        sender,
        sinks: other.unwrap_or(sender),
    };
    let sinks = Sinks::new(arguments.subscribers, cpus.sinks)?;
    let flow = Flow {
        packets: arguments.run.clamp(1, 64),
        bytes: arguments.bytes.clamp(64, 1_400),
        per_second: arguments.per_second.max(1),
    };
    let duration = Duration::try_from_secs_f64(arguments.duration).map_err(io::Error::other)?;
    let run = |profile| limit::run(&[flow], &sinks, profile, duration, cpus.sender);
    let raw = run(None)?;
    let gcm128 = run(Some(Profile::AeadAes128Gcm))?;
    let gcm256 = run(Some(Profile::AeadAes256Gcm))?;
    let sendto = limit::sendto(flow.bytes, &sinks, raw.packets.min(200_000), cpus.sender)?;
    let rows = [
        ("sendto_cpu_ns_per_packet", sendto.cpu_ns_per_packet()),
        ("raw_cpu_ns_per_packet", raw.cpu_ns_per_packet()),
        ("gcm128_cpu_ns_per_packet", gcm128.cpu_ns_per_packet()),
        ("gcm256_cpu_ns_per_packet", gcm256.cpu_ns_per_packet()),
        (
            "raw_to_sendto",
            raw.cpu_ns_per_packet() / sendto.cpu_ns_per_packet(),
        ),
    ];
    let mut out = io::stdout();
    if arguments.json {
        let object: serde_json::Map<_, _> = rows
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        writeln!(out, "{}", serde_json::Value::Object(object))
    } else {
        rows.iter()
            .try_for_each(|(name, value)| writeln!(out, "{name:28} {value:.2}"))
    }
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "kall-limit: {error}");
            ExitCode::FAILURE
        }
    }
}
