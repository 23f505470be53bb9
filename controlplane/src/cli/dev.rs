//! `kall dev`: runs `kall server` as a child and starts it again when the program or its
//! configuration changes. The child is ended by SIGKILL then, as a crash would: the data plane goes
//! on, calls survive, and the next child takes it over. The pages come from disk when they are there.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::{Cli, Environment, Failure, block_on, print};
use crate::config;
use crate::http::Assets;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Where a checkout keeps the built web client.
const DIST: &str = "controlplane/web/dist";

/// Set for the child, so that it serves instead of watching.
const CHILD: &str = "KALL_DEV_CHILD";

pub(super) fn run(cli: &Cli) -> Result<(), Failure> {
    if std::env::var_os(CHILD).is_some() {
        return super::serve::run(cli.load()?, Environment::Development, assets());
    }
    block_on(watch(cli))
}

fn assets() -> Assets {
    let folder = PathBuf::from(DIST);
    if folder.join("index.html").is_file() {
        Assets::Folder(folder)
    } else {
        Assets::Embedded
    }
}

async fn watch(cli: &Cli) -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    let config = cli.config_path();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut state = look(&program, &config);
    let mut child = spawn(cli, &program, &config)?;
    loop {
        tokio::select! {
            status = child.wait() => {
                let status = status?;
                return if status.success() { Ok(()) } else { Err(format!("kall server ended: {status}").into()) };
            }
            _ = terminate.recv() => return stop(child).await,
            _ = interrupt.recv() => return stop(child).await,
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = look(&program, &config);
        if now == state {
            continue;
        }
        // A file that is being written, or that says nonsense, must not end what runs.
        let readable = config::load(&config, cli.config.is_some()).is_ok();
        if now.program.is_some() && readable && now == settle(&program, &config).await {
            print("kall dev: starting again, calls go on")?;
            child.kill().await?;
            child = spawn(cli, &program, &config)?;
            state = now;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Look {
    program: Option<(SystemTime, u64)>,
    config: Option<(SystemTime, u64)>,
}

fn look(program: &Path, config: &Path) -> Look {
    let stamp = |path: &Path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    Look {
        program: stamp(program),
        config: stamp(config),
    }
}

async fn settle(program: &Path, config: &Path) -> Look {
    tokio::time::sleep(LOOK).await;
    look(program, config)
}

fn spawn(cli: &Cli, program: &Path, config: &Path) -> Result<Child, Failure> {
    let mut command = Command::new(program);
    command.arg("dev").env(CHILD, "1").kill_on_drop(true);
    if cli.config.is_some() {
        command.arg("--config").arg(config);
    }
    Ok(command.spawn()?)
}

/// The child stops in order, and the data plane with it.
async fn stop(mut child: Child) -> Result<(), Failure> {
    let pid = child
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(id as i32));
    if let Some(pid) = pid {
        // From a terminal the child has had its SIGINT already; a second signal changes nothing.
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    }
    let status = child.wait().await?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("kall server ended: {status}").into())
    }
}
