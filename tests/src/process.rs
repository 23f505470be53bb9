//! Processes as the kernel shows them. The data plane is nobody's child once `kall` was killed, so
//! it is found by what it was started with, never by name alone: other servers may be running.

use std::fs;
use std::path::{Path, PathBuf};

/// A living process, told apart from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    start: u64,
}

impl Process {
    /// The process with this id, if there is one that runs (a zombie does not).
    #[must_use]
    pub fn find(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; the fields start after the last one.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let state = fields.first()?;
        let start = fields.get(19)?.parse().ok()?;
        (*state != "Z" && *state != "X").then_some(Self { pid, start })
    }

    /// Whether this very process still runs.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// How many UDP sockets the process holds.
    #[must_use]
    pub fn udp_sockets(self) -> usize {
        let folder = PathBuf::from(format!("/proc/{}", self.pid));
        let inodes: Vec<String> = ["net/udp", "net/udp6"]
            .iter()
            .map(|table| fs::read_to_string(folder.join(table)).unwrap_or_default())
            .flat_map(|table| {
                let rows = table.lines().skip(1);
                rows.filter_map(|row| row.split_whitespace().nth(9).map(str::to_owned))
                    .collect::<Vec<_>>()
            })
            .collect();
        let Ok(open) = fs::read_dir(folder.join("fd")) else {
            return 0;
        };
        open.flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .filter_map(|target| {
                Some(
                    target
                        .to_str()?
                        .strip_prefix("socket:[")?
                        .strip_suffix(']')?
                        .to_owned(),
                )
            })
            .filter(|inode| inodes.contains(inode))
            .count()
    }

    /// Sends a signal by its name, as in `kill -TERM`.
    pub fn signal(self, name: &str) {
        if self.is_alive() {
            let _ = std::process::Command::new("kill")
                .arg(format!("-{name}"))
                .arg(self.pid.to_string())
                .status();
        }
    }
}

/// Every living process of the program file `name` whose command line or environment mentions `folder`.
#[must_use]
pub fn of_folder(name: &str, folder: &Path) -> Vec<Process> {
    let folder = folder.as_os_str().as_encoded_bytes();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let proc = PathBuf::from(format!("/proc/{pid}"));
            let program = fs::read_link(proc.join("exe")).unwrap_or_default();
            // A binary that was rebuilt meanwhile reads "name (deleted)".
            let program = program
                .file_name()
                .and_then(|file| file.to_str())
                .unwrap_or_default();
            let same_program = program.strip_suffix(" (deleted)").unwrap_or(program) == name;
            same_program
                && ["cmdline", "environ"]
                    .iter()
                    .any(|file| fs::read(proc.join(file)).is_ok_and(|bytes| contains(&bytes, folder)))
        })
        .filter_map(Process::find)
        .collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udp_sockets_are_counted() {
        let this = Process::find(std::process::id()).expect("this test runs");
        let before = this.udp_sockets();
        let _socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        assert_eq!(this.udp_sockets(), before + 1);
    }

    #[tokio::test]
    async fn a_process_is_found_by_its_folder_and_known_to_be_dead_afterwards() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = fs::canonicalize("/bin/sleep").expect("every system has it");
        let program = program
            .file_name()
            .and_then(|file| file.to_str())
            .expect("a name")
            .to_owned();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .env("FOLDER_OF_THE_TEST", folder.path())
            .spawn()
            .expect("sleep starts");
        // spawn() returns while the kernel still puts the new program's environment in place.
        let found = crate::wait::until("the process to be found", async || {
            of_folder(&program, folder.path()).first().copied()
        })
        .await;
        assert_eq!(found.pid, child.id());
        found.signal("KILL");
        child.wait().expect("it ended");
        assert!(!found.is_alive());
    }
}
