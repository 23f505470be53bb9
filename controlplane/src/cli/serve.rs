//! `kall server`.

use std::io::IsTerminal as _;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Environment, Failure, block_on};
use crate::config::{Config, Loaded};
use crate::http::Assets;
use crate::media::find_program;
use crate::server::{Options, Server};

pub(super) fn embedded() -> Assets {
    Assets::Embedded
}

pub(super) fn run(loaded: Loaded, env: Environment, assets: Assets) -> Result<(), Failure> {
    init_log(&loaded.config, env);
    block_on(async move {
        if !loaded.from_file {
            tracing::warn!("no kall.toml: everybody on this machine may join, nobody else can connect");
        }
        let options = Options {
            assets,
            program: find_program(),
        };
        // Before the data plane is started: a signal from now on ends both.
        let stop = stop_signal()?;
        let server = Server::start(loaded.config, options).await?;
        tracing::info!(url = server.url(), address = %server.address(), "kall is ready");
        server.run(stop).await?;
        tracing::info!("kall has stopped");
        Ok(())
    })
}

/// Resolves with the first SIGTERM or SIGINT.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
        }
    })
}

fn init_log(config: &Config, env: Environment) {
    let level = config.server.log_level.as_str();
    // The level is that of our own events. Libraries write whole frames and headers at theirs, with the
    // tokens and passwords in them.
    let others = if level == "error" { "error" } else { "warn" };
    let filter = EnvFilter::try_new(format!("{others},webrtc_sdp=error,kall={level}"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second start in one process (tests) keeps the first one's log.
    let _ = match env {
        Environment::Production => builder.json().try_init(),
        Environment::Development => builder.try_init(),
    };
}
