//! A data plane as a process, and a control plane that says what it is told to.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kall_shared::frame;
use kall_shared::link::{HelloAnswer, Refusal, Request, Response, ToControl, ToData};
use kall_shared::version::{LINK_VERSION, LINK_VERSION_MIN};

/// Every wait in these tests ends here; a healthy run never comes near.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running data plane, killed when dropped.
pub(crate) struct DataPlane {
    pub(crate) child: Child,
    pub(crate) socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl DataPlane {
    pub(crate) fn start(args: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let socket = directory.path().join("dataplane.sock");
        let child = command(&socket, args).spawn().expect("starts");
        let mut this = Self {
            child,
            socket,
            _directory: directory,
        };
        assert!(
            ready(&mut this.child, &this.socket),
            "it does not start: {}",
            this.log()
        );
        this
    }

    pub(crate) fn connect(&self) -> Client {
        let stream = UnixStream::connect(&self.socket).expect("listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("valid");
        Client {
            stream,
            bytes: Vec::new(),
        }
    }

    pub(crate) fn greet(&self) -> (Client, HelloAnswer) {
        let mut client = self.connect();
        let answer = match client.ask(1, hello(LINK_VERSION_MIN, LINK_VERSION)) {
            Ok(Response::Hello(answer)) => answer,
            other => panic!("{other:?}"),
        };
        (client, answer)
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// What an ended process has said.
    pub(crate) fn log(&mut self) -> String {
        let _ = self.child.kill();
        let mut log = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut log).expect("text");
        }
        log
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .expect("kill is installed");
        assert!(status.success());
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn command(socket: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kall-dataplane"));
    command
        .arg("--control-socket")
        .arg(socket)
        .args([
            "--bind",
            "127.0.0.1",
            "--udp-port",
            "0",
            "--tcp-port",
            "0",
            "--cores",
            "1",
        ])
        .args(args)
        .stderr(Stdio::piped());
    command
}

/// Waits until the socket answers, which is when all is ready; false when the process does not come so far.
pub(crate) fn ready(child: &mut Child, socket: &Path) -> bool {
    let end = Instant::now() + DEADLINE;
    while UnixStream::connect(socket).is_err() {
        if Instant::now() > end || child.try_wait().expect("ours").is_some() {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().expect("ours") {
            return status;
        }
        assert!(Instant::now() < end, "it goes on");
        std::thread::yield_now();
    }
}

pub(crate) fn hello(version_min: u16, version_max: u16) -> Request {
    Request::Hello {
        version_min,
        version_max,
        build: "test".to_owned(),
    }
}

/// A control plane that says what it is told to.
pub(crate) struct Client {
    pub(crate) stream: UnixStream,
    bytes: Vec<u8>,
}

impl Client {
    pub(crate) fn send(&mut self, id: u64, request: Request) {
        let mut bytes = Vec::new();
        frame::encode(&ToData { id, request }, &mut bytes).expect("fits");
        self.stream.write_all(&bytes).expect("open");
    }

    /// The next message; none when the data plane closed.
    pub(crate) fn next(&mut self) -> Option<ToControl> {
        let mut chunk = [0; 4096];
        loop {
            if let Some((message, used)) = frame::decode(&self.bytes).expect("well formed") {
                self.bytes.drain(..used);
                return Some(message);
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.bytes.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The answer to `request`; events before it are skipped.
    pub(crate) fn ask(&mut self, id: u64, request: Request) -> Result<Response, Refusal> {
        self.send(id, request);
        loop {
            match self.next().expect("an answer") {
                ToControl::Answer { id: answered, result } => {
                    assert_eq!(answered, id);
                    return result;
                }
                ToControl::Event(_) => {}
            }
        }
    }
}
