//! `kall` and its data plane in a temporary folder, on free ports of 127.0.0.1.
//!
//! What they logged is kept in `artifacts/` when the test fails. Dropping the server ends both
//! processes by force; [`Server::stop`] ends them as an operator does.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{self, Process};
use crate::wait::{DEADLINE, until, until_value};

/// Key and secret of the REST API in every test server.
pub const API_KEY: (&str, &str) = ("testkey", "a-secret-for-the-tests-of-this-api");

/// The driver that moves packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    /// Multishot receive and batched sends on a ring.
    IoUring,
    /// Plain system calls.
    Syscall,
}

impl Io {
    /// The value of `dataplane.io`, and what a running data plane reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Syscall => "syscall",
        }
    }
}

/// What a test changes about the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// `dataplane.io`.
    pub io: Io,
    /// Whether the harness starts the data plane, as a second unit of systemd would, and `kall` has
    /// `dataplane.spawn = false`.
    pub own_dataplane: bool,
    /// `dataplane.bind`.
    pub bind: &'static str,
    /// Whether there is a port for ICE over TCP.
    pub tcp: bool,
    /// `server.log_level`.
    pub log_level: &'static str,
    /// Further lines of the configuration file, by section.
    pub extra: Vec<(&'static str, String)>,
}

impl From<Io> for Options {
    fn from(io: Io) -> Self {
        Self {
            io,
            own_dataplane: false,
            bind: "127.0.0.1",
            tcp: false,
            log_level: "debug",
            extra: Vec::new(),
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    name: String,
    folder: Option<TempDir>,
    kall: Option<Child>,
    own_dataplane: Option<Child>,
    port: u16,
    io: Io,
    starts: u32,
}

impl Server {
    /// Starts both planes and waits until the page and the data plane answer; asserts that the
    /// driver that was asked for is the one in use.
    ///
    /// # Panics
    /// When they don't come up; the message holds what they logged.
    pub async fn start(name: &str, options: impl Into<Options>) -> Self {
        let options = options.into();
        let folder = tempfile::Builder::new()
            .prefix("kall-test-")
            .tempdir()
            .expect("a temporary folder can be made");
        let port = free_port(0);
        fs::write(
            folder.path().join("kall.toml"),
            config(folder.path(), port, &options),
        )
        .expect("the configuration can be written");
        let mut server = Self {
            name: format!("{name}-{}", options.io.name()),
            folder: Some(folder),
            kall: None,
            own_dataplane: None,
            port,
            io: options.io,
            starts: 0,
        };
        if options.own_dataplane {
            server.own_dataplane = Some(server.run_dataplane());
        }
        server.run_kall().await;
        server
    }

    fn run_dataplane(&self) -> Child {
        let log = File::create(self.folder().join("own-dataplane.log")).expect("a log file");
        Command::new(program("kall-dataplane"))
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
            .args(["--io", self.io.name(), "--control-socket"])
            .arg(self.folder().join("dataplane.sock"))
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the data plane starts")
    }

    /// Starts `kall` (again) in the same folder and waits until it is ready.
    ///
    /// # Panics
    /// When it runs already, or never becomes ready.
    pub async fn run_kall(&mut self) {
        assert!(self.kall.is_none(), "kall runs already");
        self.starts += 1;
        let log = File::create(self.folder().join(format!("kall-{}.log", self.starts))).expect("a log file");
        let program = program("kall");
        let child = Command::new(&program)
            .arg("--config")
            .arg(self.folder().join("kall.toml"))
            .arg("server")
            .current_dir(self.folder())
            .env("RUST_BACKTRACE", "1")
            // Secrets and settings of whoever runs the tests must not leak into them.
            .env_remove("KALL_BIN_DIR")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        self.kall = Some(child);
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(io) = self.dataplane_io().await {
                assert_eq!(io, self.io.name(), "the driver in use is the one asked for");
                return;
            }
            let exit = self
                .kall
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            assert!(
                exit.is_none() && Instant::now() < end,
                "kall did not become ready (exit: {exit:?}); it said:\n{}",
                self.logs()
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn dataplane_io(&self) -> Option<String> {
        let stats = self.try_get("/stats").await?;
        stats["dataplane"]["io"].as_str().map(str::to_owned)
    }

    /// The temporary folder with configuration, database, socket and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("kept until drop").path()
    }

    /// Where the web page and the API are.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Where the WebSocket is.
    #[must_use]
    pub fn ws_url(&self, query: &str) -> String {
        format!("ws://127.0.0.1:{}/ws?{query}", self.port)
    }

    /// The process of `kall`.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn kall(&self) -> Process {
        let pid = self.kall.as_ref().expect("kall was started").id();
        Process::find(pid).expect("kall runs")
    }

    /// The process of the data plane; exactly one must run.
    ///
    /// # Panics
    /// When none or several do.
    #[must_use]
    pub fn dataplane(&self) -> Process {
        let found = process::of_folder("kall-dataplane", self.folder());
        let [one] = found.as_slice() else {
            panic!("exactly one data plane runs, found {found:?}");
        };
        *one
    }

    /// Kills `kall` as the kernel's out-of-memory killer would.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill_kall(&mut self) {
        self.kall().signal("KILL");
        let mut child = self.kall.take().expect("kall was started");
        child.wait().expect("a killed child can be waited for");
    }

    /// Ends `kall` by SIGTERM, as an operator does, and asserts that it exits with status 0.
    ///
    /// # Panics
    /// When it does not end, or not cleanly.
    pub async fn terminate_kall(&mut self) {
        self.kall().signal("TERM");
        let mut child = self.kall.take().expect("kall was started");
        let status = until("kall to end after SIGTERM", async || {
            child.try_wait().expect("a child can be asked")
        })
        .await;
        assert!(
            status.success(),
            "a clean stop has status 0, not {status}; it said:\n{}",
            self.logs()
        );
    }

    /// Ends both planes by a SIGTERM to `kall` and asserts that nothing of them is left.
    ///
    /// # Panics
    /// When something is left.
    pub async fn stop(mut self) {
        let dataplane = self.dataplane();
        self.terminate_kall().await;
        until("the data plane to go down with kall", async || {
            (!dataplane.is_alive()).then_some(())
        })
        .await;
        assert_eq!(process::of_folder("kall-dataplane", self.folder()), []);
    }

    /// A GET with the API key that must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub async fn get(&self, path: &str) -> Value {
        self.try_get(path)
            .await
            .unwrap_or_else(|| panic!("GET {path} failed; logs:\n{}", self.logs()))
    }

    async fn try_get(&self, path: &str) -> Option<Value> {
        let answer = reqwest::Client::new()
            .get(self.url(path))
            .bearer_auth(format!("{}:{}", API_KEY.0, API_KEY.1))
            .send()
            .await
            .ok()?;
        answer.status().is_success().then_some(())?;
        answer.json().await.ok()
    }

    /// A POST as the pages send it, without an API key.
    ///
    /// # Panics
    /// When it does not succeed.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = reqwest::Client::new()
            .post(self.url(path))
            .json(body)
            .send()
            .await
            .expect("the server answers");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "POST {path}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// A counter of the data plane, summed over its cores; a missing one is zero.
    pub async fn counter(&self, name: &str) -> u64 {
        counter(&self.get("/stats").await, name)
    }

    /// Living media sessions, summed over the cores.
    ///
    /// # Panics
    /// When the statistics don't say.
    pub async fn sessions(&self) -> u64 {
        let stats = self.get("/stats").await;
        let cores = stats["dataplane"]["cores"].as_array().expect("a list of cores");
        cores
            .iter()
            .map(|core| core["sessions"].as_u64().expect("a count"))
            .sum()
    }

    /// Waits until a counter of the data plane is at least `least`.
    pub async fn until_counter(&self, name: &str, least: u64) -> u64 {
        let what = format!("counter {name} to reach {least}");
        until_value(&what, async || self.counter(name).await, |value| *value >= least).await
    }

    /// Everything both planes wrote.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut files: Vec<PathBuf> = walk(self.folder())
            .into_iter()
            .filter(|file| file.extension().is_some_and(|extension| extension == "log"))
            .collect();
        files.sort();
        files
            .iter()
            .map(|file| {
                format!(
                    "--- {}\n{}",
                    file.display(),
                    fs::read_to_string(file).unwrap_or_default()
                )
            })
            .collect()
    }

    fn keep_logs(&self) {
        let kept = artifacts().join(&self.name);
        if fs::create_dir_all(&kept).is_err() {
            return;
        }
        for file in walk(self.folder()) {
            if let (Some(name), true) = (file.file_name(), file.extension().is_some_and(|e| e == "log")) {
                let _ = fs::copy(&file, kept.join(name));
            }
        }
        eprintln_kept(&kept);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_logs();
        }
        if let Some(mut child) = self.kall.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for process in process::of_folder("kall-dataplane", self.folder()) {
            process.signal("KILL");
        }
        if let Some(mut child) = self.own_dataplane.take() {
            let _ = child.wait();
        }
    }
}

/// A counter in an answer of `GET /stats`, summed over the cores.
#[must_use]
pub fn counter(stats: &Value, name: &str) -> u64 {
    let cores = stats["dataplane"]["cores"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    cores
        .iter()
        .filter_map(|core| core["counters"][name].as_u64())
        .sum()
}

/// Where failed tests leave what they saw; git ignores it.
#[must_use]
pub fn artifacts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../artifacts")
}

/// A program of the workspace: in `KALL_BIN_DIR`, else in the build folder that holds this test.
fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("KALL_BIN_DIR")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            // target/debug/deps/real-0123456789abcdef
            let test = std::env::current_exe().expect("a test knows its own file");
            test.ancestors().nth(2).expect("a test lies in deps/").to_owned()
        });
    let file = folder.join(name);
    assert!(
        file.is_file(),
        "{} is missing: build the programs first (cargo build --workspace --bins)",
        file.display()
    );
    file
}

/// A TCP port nobody listens on. Below the range the kernel gives to outgoing connections, so that
/// none of those takes it while a server is down for a moment in a test of restarts. Not `taken`,
/// which somebody is about to use.
fn free_port(taken: u16) -> u16 {
    let start = 20_000 + (std::process::id() % 11_000) as u16;
    (0..11_000u16)
        .map(|step| 20_000 + (start - 20_000 + step * 7) % 11_000)
        .filter(|port| *port != taken)
        .find(|port| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], *port))).is_ok())
        .expect("one of 11,000 ports is free")
}

fn config(folder: &Path, port: u16, options: &Options) -> String {
    let extra = |section: &str| -> String {
        options
            .extra
            .iter()
            .filter(|(name, _)| *name == section)
            .map(|(_, line)| format!("{line}\n"))
            .collect()
    };
    format!(
        r#"[server]
host = "127.0.0.1"
port = {port}
base_url = "http://127.0.0.1:{port}"
log_level = "{log_level}"
{server}
[auth]
secret = "a secret of more than thirty-two bytes for tests"
mode = "open"
{auth}
[api]
# Tests ask again and again until something is there.
requests_per_second = 10000
burst = 10000
[[api.keys]]
key = "{key}"
secret = "{secret}"

[room]
{room}
[media]
{media}
[database]
driver = "sqlite"
url = "{database}"

[dataplane]
bind = "{bind}"
udp_port = 0
tcp_port = {tcp_port}
cores = 1
io = "{io}"
{dataplane}"#,
        key = API_KEY.0,
        secret = API_KEY.1,
        database = folder.join("kall.db").display(),
        io = options.io.name(),
        bind = options.bind,
        log_level = options.log_level,
        tcp_port = if options.tcp { free_port(port) } else { 0 },
        server = extra("server"),
        auth = extra("auth"),
        room = extra("room"),
        media = extra("media"),
        dataplane = if options.own_dataplane {
            "spawn = false\n"
        } else {
            ""
        }
        .to_owned()
            + &extra("dataplane"),
    )
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() { walk(&path) } else { vec![path] }
        })
        .collect()
}

#[expect(
    clippy::print_stderr,
    reason = "the reader of a failed test wants to know where to look"
)]
fn eprintln_kept(folder: &Path) {
    eprintln!("logs of both planes: {}", folder.display());
}
