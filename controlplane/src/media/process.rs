//! One data-plane process: found, started, watched, stopped. A process that was taken over is
//! watched by pidfd, as it is no child of ours.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};

use crate::config::Config;

/// Name of the executable.
const PROGRAM: &str = "kall-dataplane";

/// Time between a request to stop and the end by force.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The data plane's executable: beside our own, else by `PATH`.
#[must_use]
pub fn find_program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let beside = own
        .as_deref()
        .and_then(Path::parent)
        .map(|folder| folder.join(PROGRAM));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join(PROGRAM));
    beside
        .into_iter()
        .chain(in_path)
        .find(|candidate| candidate.is_file())
}

/// Each packet touches the state of another subscriber; in huge pages all of it is within reach of the CPU's table of
/// addresses. glibc reads this at start, and other libraries ignore it. Whoever sets it already knows better.
const MALLOC_TUNABLES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");

/// A running data plane.
#[derive(Debug)]
pub(super) enum Process {
    /// Started by us.
    Child(Child),
    /// Found running.
    Adopted(AsyncFd<rustix::fd::OwnedFd>),
}

impl Process {
    /// Starts the program. It gets no pipe of ours, so it can outlive this process; what it
    /// writes goes to a log beside the database.
    pub(super) fn spawn(program: &Path, config: &Config, socket: &Path) -> io::Result<Self> {
        let log = config.data_dir().join("dataplane.log");
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let plane = &config.dataplane;
        let mut command = Command::new(program);
        command
            .arg("--control-socket")
            .arg(socket)
            .arg("--bind")
            .arg(plane.bind.to_string())
            .arg("--udp-port")
            .arg(plane.udp_port.to_string())
            .arg("--tcp-port")
            .arg(plane.tcp_port.to_string())
            .arg("--cores")
            .arg(plane.cores.to_flag())
            .arg("--io")
            .arg(plane.io.as_str())
            .arg("--orphan-timeout")
            .arg(plane.orphan_timeout.to_string())
            .arg("--log-level")
            .arg(config.server.log_level.as_str())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if std::env::var_os(MALLOC_TUNABLES.0).is_none() {
            command.env(MALLOC_TUNABLES.0, MALLOC_TUNABLES.1);
        }
        if config.turn.stun {
            command.arg("--stun");
        }
        if !plane.advertise.is_empty() {
            let list: Vec<String> = plane.advertise.iter().map(ToString::to_string).collect();
            command.arg("--advertise").arg(list.join(","));
        }
        Ok(Self::Child(command.spawn()?))
    }

    /// Watches a process that somebody else started.
    pub(super) fn adopt(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "an owned descriptor stays open while registered, which is all its unsafe successor asks"
        )]
        Ok(Self::Adopted(AsyncFd::new(pidfd)?))
    }

    /// Returns when the process has ended.
    pub(super) async fn ended(&mut self) {
        match self {
            Self::Child(child) => match child.wait().await {
                Ok(status) => tracing::info!(%status, "data plane ended"),
                Err(error) => tracing::error!(%error, "data plane can't be waited for"),
            },
            Self::Adopted(fd) => {
                let _ = fd.readable().await;
                tracing::info!("adopted data plane ended");
            }
        }
    }

    /// Waits for the end, asks for it, and at last makes it so.
    pub(super) async fn stop(mut self) {
        if tokio::time::timeout(STOP_TIMEOUT, self.ended()).await.is_ok() {
            return;
        }
        for signal in [Signal::TERM, Signal::KILL] {
            tracing::warn!(?signal, "data plane did not stop");
            self.signal(signal);
            if tokio::time::timeout(STOP_TIMEOUT, self.ended()).await.is_ok() {
                return;
            }
        }
        tracing::error!("data plane does not end");
    }

    pub(super) fn signal(&self, signal: Signal) {
        let sent = match self {
            Self::Adopted(fd) => pidfd_send_signal(fd.get_ref(), signal),
            // Not reaped yet, so the id is still its own.
            Self::Child(child) => match child.id().and_then(|id| Pid::from_raw(id as i32)) {
                Some(pid) => rustix::process::kill_process(pid, signal),
                None => return,
            },
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "signal not delivered");
        }
    }
}
