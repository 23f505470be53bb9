//! A data plane that has no media and says what it is told to: the control link alone.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use kall_shared::frame;
use kall_shared::id::SessionId;
use kall_shared::link::{
    CloseReason, Event, HelloAnswer, Refusal, RefusalCode, Request, Response, Stats, ToControl, ToData,
};
use kall_shared::media::{Fingerprint, SessionDescription, SessionParams, SlotDescription};
use kall_shared::version::LINK_VERSION;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

pub(crate) struct FakeDataPlane {
    state: Arc<Mutex<State>>,
    folder: TempDir,
}

#[derive(Default)]
struct State {
    /// Whether each core takes newcomers.
    refuses: Vec<bool>,
    /// For each session asked for: whether it was said to be of somebody who comes back.
    asked: Vec<bool>,
    opened: u32,
    events: Option<mpsc::UnboundedSender<ToControl>>,
}

impl FakeDataPlane {
    /// With so many cores, listening.
    pub(crate) fn start(cores: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = Arc::new(Mutex::new(State {
            refuses: vec![false; cores],
            ..State::default()
        }));
        let this = Self { state, folder };
        let listener = UnixListener::bind(this.socket()).expect("a free path");
        let state = Arc::clone(&this.state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&state)));
            }
        });
        this
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("dataplane.sock")
    }

    /// A core changes its mind; known to the control plane once it has had an answer of later.
    pub(crate) fn refuse(&self, core: usize, refuses: bool) {
        let mut state = self.state.lock().expect("no panic");
        state.refuses[core] = refuses;
        let event = load(core, refuses);
        state.tell(event);
    }

    /// The data plane closes the session that was opened last.
    pub(crate) fn lose(&self) {
        let state = self.state.lock().expect("no panic");
        let session = SessionId::pack(0, state.opened, 0);
        let reason = CloseReason::ConsentExpired;
        state.tell(Event::SessionClosed { session, reason });
    }

    /// For each session that was asked for since the last call, whether its owner was said to come back.
    pub(crate) fn asked(&self) -> Vec<bool> {
        std::mem::take(&mut self.state.lock().expect("no panic").asked)
    }
}

impl State {
    fn tell(&self, event: Event) {
        if let Some(events) = &self.events {
            let _ = events.send(ToControl::Event(event));
        }
    }

    fn answer(&mut self, request: Request) -> Result<Response, Refusal> {
        match request {
            Request::Hello { .. } => Ok(Response::Hello(HelloAnswer {
                version: LINK_VERSION,
                instance: 1,
                pid: std::process::id(),
                build: "fake".to_owned(),
                uptime_seconds: 1,
                io: "syscall".to_owned(),
                udp_ports: (40_000..).take(self.refuses.len()).collect(),
                tcp_port: None,
                bind: [127, 0, 0, 1].into(),
                addresses: vec![[127, 0, 0, 1].into()],
            })),
            Request::Snapshot { .. } => {
                for (core, refuses) in self.refuses.iter().enumerate() {
                    self.tell(load(core, *refuses));
                }
                Ok(Response::Snapshot {
                    sessions: Vec::new(),
                    more: false,
                })
            }
            Request::CreateSession { params, returns, .. } => {
                self.asked.push(returns);
                // Every room is on the first core.
                if self.refuses[0] && !returns {
                    return Err(Refusal::new(RefusalCode::Exhausted, "too much to do"));
                }
                self.opened += 1;
                Ok(Response::Session {
                    session: SessionId::pack(0, self.opened, 0),
                    description: description(&params),
                })
            }
            Request::Stats => Ok(Response::Stats(Stats::default())),
            _ => Ok(Response::Done),
        }
    }
}

fn load(core: usize, refuses: bool) -> Event {
    Event::CoreLoad {
        core: core as u8,
        level: u8::from(refuses),
        refuses,
    }
}

fn description(params: &SessionParams) -> SessionDescription {
    let slots = params.lines.iter().filter(|line| line.slot);
    SessionDescription {
        ufrag: "abcdefgh".to_owned(),
        pwd: "p".repeat(32),
        fingerprint: Fingerprint { sha256: [7; 32] },
        udp_port: 40_000,
        cname: "fake".to_owned(),
        slots: slots
            .enumerate()
            .map(|(index, line)| SlotDescription {
                mid: line.mid.clone(),
                ssrc: 1_000 + index as u32,
                rtx_ssrc: None,
            })
            .collect(),
    }
}

async fn serve(stream: UnixStream, state: Arc<Mutex<State>>) {
    let (mut reader, mut writer) = stream.into_split();
    let (messages, mut queue) = mpsc::unbounded_channel();
    state.lock().expect("no panic").events = Some(messages.clone());
    tokio::spawn(async move {
        while let Some(message) = queue.recv().await {
            let mut bytes = Vec::new();
            frame::encode(&message, &mut bytes).expect("short");
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = BytesMut::new();
    loop {
        while let Some((ToData { id, request }, used)) = frame::decode(&buffer).expect("frames") {
            drop(buffer.split_to(used));
            let result = state.lock().expect("no panic").answer(request);
            let _ = messages.send(ToControl::Answer { id, result });
        }
        if reader.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
            return;
        }
    }
}
