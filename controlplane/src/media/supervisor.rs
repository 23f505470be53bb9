//! Keeps a data plane running: takes over a live one found on the socket, starts one otherwise,
//! starts it again with back-off when it ends, stops it when the server stops in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kall_shared::link::RefusalCode;
use rustix::process::Signal;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use super::process::find_program;

use super::client::{LinkError, MediaClient, MediaError};
use super::process::Process;
use crate::config::Config;

/// Shortest and longest pause between attempts; it doubles from one to the next.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A link that held this long was a good one: the pauses start over.
const GOOD_LINK: Duration = Duration::from_secs(10);

/// How long a started data plane may take to open its socket.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between looks at the socket of a process that starts.
const START_POLL: Duration = Duration::from_millis(20);

/// How long the first connection may hold up the start of the server.
const FIRST_CONNECTION: Duration = Duration::from_secs(10);

/// Runs beside the server.
#[derive(Debug)]
pub struct Supervisor {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Supervisor {
    /// Starts supervision and waits until a data plane is connected and its sessions are adopted,
    /// or the first attempt came to nothing: clients that resume must find what lives.
    pub async fn start(config: Config, client: MediaClient, program: Option<PathBuf>) -> Self {
        let stop = CancellationToken::new();
        let mut connected = client.watch();
        let run = Run {
            socket: config.control_socket(),
            config: Arc::new(config),
            client,
            program,
            stop: stop.clone(),
            process: None,
        };
        let (failed, failure) = oneshot::channel();
        let task = tokio::spawn(run.run(failed));
        let there = tokio::select! {
            connected = connected.wait_for(Option::is_some) => connected.is_ok(),
            _ = failure => false,
            () = tokio::time::sleep(FIRST_CONNECTION) => false,
        };
        if !there {
            tracing::warn!("no data plane yet, going on without media");
        }
        Self { stop, task }
    }

    /// Ends supervision, and the data plane with it if `dataplane.spawn` is on.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "supervision ended badly");
        }
    }
}

struct Run {
    config: Arc<Config>,
    socket: PathBuf,
    client: MediaClient,
    program: Option<PathBuf>,
    stop: CancellationToken,
    /// The data plane that runs, as far as known.
    process: Option<Process>,
}

impl Run {
    async fn run(mut self, failed: oneshot::Sender<()>) {
        let mut pause = BACK_OFF.0;
        let mut failed = Some(failed);
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            let begun = Instant::now();
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.attempt() => {}
            }
            drop(failed.take());
            if begun.elapsed() > GOOD_LINK {
                pause = BACK_OFF.0;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(BACK_OFF.1);
        }
        self.finish().await;
    }

    /// One life of a link: returns when it is over, or could not be had.
    async fn attempt(&mut self) {
        let stream = match UnixStream::connect(&self.socket).await {
            Ok(stream) => stream,
            Err(error) if !self.config.dataplane.spawn => {
                tracing::warn!(%error, socket = %self.socket.display(), "no data plane to connect to");
                return;
            }
            Err(_) => {
                self.end_silent_process().await;
                match self.start().await {
                    Some(stream) => stream,
                    None => return,
                }
            }
        };
        self.watch_peer(&stream);
        let client = self.client.clone();
        let served = client.serve(stream);
        let ended = match &mut self.process {
            Some(process) => {
                tokio::select! {
                    served = served => Some(served),
                    () = process.ended() => None,
                }
            }
            None => Some(served.await),
        };
        match ended {
            None => self.process = None,
            Some(Ok(())) => tracing::warn!("link to the data plane ended"),
            Some(Err(error)) => {
                tracing::warn!(%error, "link to the data plane failed");
                if is_version(&error) && self.config.dataplane.spawn {
                    self.replace().await;
                }
            }
        }
    }

    /// A process whose socket can't be reached any more is of no use, and in the way of the next.
    async fn end_silent_process(&mut self) {
        if let Some(process) = self.process.take() {
            tracing::warn!("data plane lives without its socket, ending it");
            process.signal(Signal::KILL);
            process.stop().await;
        }
    }

    async fn start(&mut self) -> Option<UnixStream> {
        let Some(program) = self.program.as_deref() else {
            tracing::error!("kall-dataplane is neither beside this program nor in PATH");
            return None;
        };
        let process = self
            .process
            .insert(match Process::spawn(program, &self.config, &self.socket) {
                Ok(process) => process,
                Err(error) => {
                    tracing::error!(%error, program = %program.display(), "data plane can't be started");
                    return None;
                }
            });
        let answered = tokio::select! {
            stream = connect_when_there(&self.socket) => stream,
            () = process.ended() => {
                tracing::error!(log = %self.config.data_dir().join("dataplane.log").display(), "data plane ended at once");
                self.process = None;
                return None;
            }
        };
        if answered.is_none() {
            tracing::error!("data plane does not open its socket");
        }
        answered
    }

    /// Finds out who is at the other end, so that its death is seen at once.
    fn watch_peer(&mut self, stream: &UnixStream) {
        if self.process.is_some() || !self.config.dataplane.spawn {
            return;
        }
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let adopted = pid.and_then(|pid| u32::try_from(pid).ok()).map(Process::adopt);
        match adopted {
            Some(Ok(process)) => {
                tracing::info!(pid, "taking over a running data plane");
                self.process = Some(process);
            }
            Some(Err(error)) => tracing::warn!(%error, pid, "running data plane can't be watched"),
            None => tracing::warn!("running data plane tells no process id"),
        }
    }

    /// No version in common: the old one is ended and the next attempt starts ours.
    async fn replace(&mut self) {
        tracing::warn!("replacing a data plane of another link version; its calls are interrupted");
        if let Some(process) = self.process.take() {
            process.signal(Signal::TERM);
            process.stop().await;
        }
    }

    async fn finish(mut self) {
        if !self.config.dataplane.spawn {
            return;
        }
        // The link went down with the attempt, so the process is asked by signal.
        if let Some(process) = self.process.take() {
            process.signal(Signal::TERM);
            process.stop().await;
            tracing::info!("data plane stopped");
        }
    }
}

async fn connect_when_there(socket: &Path) -> Option<UnixStream> {
    let until = Instant::now() + START_TIMEOUT;
    while Instant::now() < until {
        if let Ok(stream) = UnixStream::connect(socket).await {
            return Some(stream);
        }
        tokio::time::sleep(START_POLL).await;
    }
    None
}

fn is_version(error: &LinkError) -> bool {
    matches!(
        error,
        LinkError::Greeting(MediaError::Refused(refusal)) if refusal.code == RefusalCode::Version
    )
}
