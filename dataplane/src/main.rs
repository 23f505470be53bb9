//! `kall-dataplane`: settings, the log, the exit status. Everything else is in the library.
//!
//! Exit status: 0 after an orderly end, 1 when it could not start, 2 on bad usage.

use std::io::Write;
use std::process::ExitCode;

use kall_dataplane::config::{self, Config, Invocation};
use kall_dataplane::io::{affinity, process};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

fn main() -> ExitCode {
    let config = match config::from_args(std::env::args_os(), &affinity::available()) {
        Ok(Invocation::Run(config)) => config,
        Ok(Invocation::Print(text)) => {
            // Nothing can be done for somebody who closed the pipe.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(message) => return fail(&message, 2),
    };
    start_log(&config);
    match process::run(&config) {
        Ok(end) => {
            tracing::info!(?end, "stopped");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.to_string(), 1),
    }
}

fn start_log(config: &Config) {
    // A level is that of our own events, for libraries may write what is secret at theirs. The configuration
    // has checked the filter.
    let filter = match config.log_level.parse() {
        Ok(LevelFilter::ERROR | LevelFilter::OFF) | Err(_) => config.log_level.clone(),
        Ok(level) => format!("warn,kall={level}"),
    };
    let filter = EnvFilter::builder().parse_lossy(filter);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if config.log_json {
        log.json().init();
    } else {
        log.with_ansi(false).init();
    }
}

fn fail(message: &str, status: u8) -> ExitCode {
    // As above.
    let _ = writeln!(std::io::stderr(), "kall-dataplane: {message}");
    ExitCode::from(status)
}
