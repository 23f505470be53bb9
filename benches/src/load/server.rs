//! A kall of its own for a run, pinned to CPUs, and what its data plane costs.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Key and secret of the API of a server that lives for one run on loopback.
pub const API: (&str, &str) = ("load", "a-secret-for-one-run-of-the-load-generator");

/// How long the server may take to come up.
const START_MAX: Duration = Duration::from_secs(20);

/// A running kall.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    child: Child,
    /// Where its API is.
    pub url: String,
}

/// Which CPUs what runs on.
#[derive(Debug, Clone)]
pub struct Pinning {
    /// The data plane, one thread each.
    pub dataplane: Vec<usize>,
    /// Everything else.
    pub others: Vec<usize>,
}

impl Pinning {
    /// The first CPU for the data plane and the others for the rest; with a single one both share it.
    #[must_use]
    pub fn of(cpus: &[usize], cores: usize) -> Self {
        let (dataplane, others) = cpus.split_at(cores.clamp(1, cpus.len()));
        Self {
            dataplane: dataplane.to_vec(),
            others: if others.is_empty() {
                cpus.to_vec()
            } else {
                others.to_vec()
            },
        }
    }
}

fn list(cpus: &[usize]) -> String {
    let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
    cpus.join(",")
}

impl Server {
    /// Starts the `kall` that lies beside this program.
    ///
    /// # Errors
    /// It is not there, or does not come up; the message has what it logged.
    pub async fn start(pinning: &Pinning) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let port = free_port().map_err(|error| error.to_string())?;
        let config = folder.path().join("kall.toml");
        fs::write(&config, configuration(folder.path(), port, pinning)).map_err(|error| error.to_string())?;
        let log = fs::File::create(folder.path().join("kall.log")).map_err(|error| error.to_string())?;
        let program = program()?;
        // The data plane pins its own threads; the rest stays away from them.
        let child = Command::new("taskset")
            .args([
                "--cpu-list",
                &list(&[&pinning.others[..], &pinning.dataplane[..]].concat()),
            ])
            .arg(&program)
            .arg("--config")
            .arg(&config)
            .arg("server")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("taskset {}: {error}", program.display()))?;
        let mut server = Self {
            folder,
            child,
            url: format!("http://127.0.0.1:{port}"),
        };
        server.wait_until_ready().await?;
        server.restrict(&pinning.others);
        Ok(server)
    }

    async fn wait_until_ready(&mut self) -> Result<(), String> {
        let end = Instant::now() + START_MAX;
        let client = reqwest::Client::new();
        loop {
            let health = client.get(format!("{}/health", self.url)).send().await;
            if let Ok(answer) = health
                && let Ok(text) = answer.text().await
                && text.contains("\"connected\"")
            {
                return Ok(());
            }
            let exited = self.child.try_wait().ok().flatten();
            if exited.is_some() || Instant::now() > end {
                let log = fs::read_to_string(self.folder.path().join("kall.log")).unwrap_or_default();
                return Err(format!("kall did not come up ({exited:?}):\n{log}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Keeps the control plane off the data plane's CPUs.
    fn restrict(&self, cpus: &[usize]) {
        // A run without it is noisier, and no less true.
        let _ = Command::new("taskset")
            .args([
                "--all-tasks",
                "--cpu-list",
                "--pid",
                &list(cpus),
                &self.child.id().to_string(),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }

    /// The data plane that this server started.
    ///
    /// # Errors
    /// There is none.
    pub fn dataplane(&self) -> Result<Dataplane, String> {
        let folder = self.folder.path();
        let found = fs::read_dir("/proc")
            .map_err(|error| error.to_string())?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .find(|pid| {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                let at = fs::read_link(format!("/proc/{pid}/cwd"));
                name.trim_end() == "kall-dataplane" && at.is_ok_and(|at| at == folder)
            });
        found
            .map(Dataplane)
            .ok_or_else(|| "no data plane runs".to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }
}

/// A data plane's process.
#[derive(Debug, Clone, Copy)]
pub struct Dataplane(u32);

impl Dataplane {
    /// A process of any server.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        Self(pid)
    }

    /// Its threads: those that forward, and the others.
    #[must_use]
    pub fn threads(self) -> (Vec<u32>, Vec<u32>) {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0))
            .into_iter()
            .flatten();
        tasks
            .flatten()
            .filter_map(|task| task.file_name().to_str()?.parse::<u32>().ok())
            .partition(|task| {
                let name = fs::read_to_string(format!("/proc/{task}/comm")).unwrap_or_default();
                name.starts_with("core-")
            })
    }

    /// Processor time of all its threads so far, by the scheduler's own account in nanoseconds.
    #[must_use]
    pub fn cpu(self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0))
            .into_iter()
            .flatten();
        let nanos = tasks.flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// Resident memory in bytes.
    #[must_use]
    pub fn rss(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }

    /// Bytes that the kernel holds for its sockets now: what was received and not read yet, and what is being sent.
    #[must_use]
    pub fn socket_memory(self) -> u64 {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.0));
        let own: HashSet<String> = folder
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let link = fs::read_link(entry.path()).ok()?;
                let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                Some(inode.to_owned())
            })
            .collect();
        let tables = ["udp", "udp6", "tcp", "tcp6"];
        let queues = tables.iter().map(|table| {
            let text = fs::read_to_string(format!("/proc/{}/net/{table}", self.0)).unwrap_or_default();
            text.lines().filter_map(|line| queued(line, &own)).sum::<u64>()
        });
        queues.sum()
    }
}

/// Bytes in the queues of a socket, as a line of the kernel's table says, if it is one of `own`.
fn queued(line: &str, own: &HashSet<String>) -> Option<u64> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (queues, inode) = (fields.get(4)?, fields.get(9)?);
    let (sent, received) = queues.split_once(':')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    own.contains(*inode)
        .then_some(hex(sent)?.saturating_add(hex(received)?))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The programs lie beside this one, or where `KALL_BIN_DIR` says.
fn program() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = std::env::var_os("KALL_BIN_DIR")
        .map(PathBuf::from)
        .or_else(|| own.parent().map(Path::to_owned))
        .ok_or("this program lies nowhere")?;
    let file = folder.join("kall");
    if file.is_file() {
        Ok(file)
    } else {
        Err(format!("{} is missing: make release", file.display()))
    }
}

fn configuration(folder: &Path, port: u16, pinning: &Pinning) -> String {
    format!(
        r#"[server]
host = "127.0.0.1"
port = {port}
log_level = "warn"

[api]
requests_per_second = 10000
burst = 10000

[[api.keys]]
key = "{}"
secret = "{}"

[auth]
secret = "a secret of more than thirty-two bytes for one run"

[room]
default_max_participants = 100000

[database]
url = "{}"

[dataplane]
bind = "127.0.0.1"
udp_port = 0
tcp_port = 0
cores = [{}]
io = "auto"
"#,
        API.0,
        API.1,
        folder.join("kall.db").display(),
        list(&pinning.dataplane),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_those_of_its_own_sockets() {
        let line = "  7: 0100007F:1EC8 00000000:0000 07 00000010:00000300 00:00000000 00000000     0        0 4711 2 0 0";
        let own = HashSet::from(["4711".to_owned()]);
        assert_eq!(queued(line, &own), Some(0x310));
        assert_eq!(queued(line, &HashSet::new()), None);
        assert_eq!(queued("  sl  local_address rem_address", &own), None);
    }
}
