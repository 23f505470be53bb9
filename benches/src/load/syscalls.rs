//! What threads ask of the kernel: `strace -c` on them for a while.
//!
//! Being watched makes each call slower, so times of such a run say nothing. What is counted stays true: a waiting
//! loop that turns less often has more to do each time.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

/// How long attaching to all threads may take.
const ATTACH_MAX: Duration = Duration::from_secs(5);

/// Threads being watched.
#[derive(Debug)]
pub struct Watch {
    strace: Child,
    counts: NamedTempFile,
}

impl Watch {
    /// Begins to count the calls of these threads; they are being watched when this returns.
    ///
    /// # Errors
    /// There is no strace, or it may not.
    pub async fn start(threads: &[u32]) -> Result<Self, String> {
        let counts = NamedTempFile::new().map_err(|error| error.to_string())?;
        let strace = Command::new("strace")
            .args(["-c", "--summary-columns=name,calls", "-o"])
            .arg(counts.path())
            .args(threads.iter().map(|thread| format!("--attach={thread}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("strace: {error}"))?;
        let watch = Self { strace, counts };
        let end = Instant::now() + ATTACH_MAX;
        while !threads.iter().all(|&thread| is_watched(thread)) {
            if Instant::now() > end {
                return Err(format!("strace can't attach to {threads:?}"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(watch)
    }

    /// Ends it, and gives how often each call was made.
    ///
    /// # Errors
    /// strace left nothing to read.
    pub fn stop(mut self) -> Result<BTreeMap<String, u64>, String> {
        self.interrupt();
        let text = fs::read_to_string(self.counts.path()).map_err(|error| error.to_string())?;
        Ok(read(&text))
    }

    fn interrupt(&mut self) {
        // Interrupted, it detaches and writes what it counted.
        let pid = self.strace.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let _ = self.strace.wait();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Ok(None) = self.strace.try_wait() {
            self.interrupt();
        }
    }
}

fn is_watched(thread: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|tracer| tracer.trim() != "0")
}

/// Names and calls of a summary, the sum left out.
fn read(summary: &str) -> BTreeMap<String, u64> {
    summary
        .lines()
        .filter_map(|line| {
            let (name, calls) = line.trim().split_once(char::is_whitespace)?;
            let calls = calls.trim().parse().ok()?;
            (name != "total").then(|| (name.to_owned(), calls))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_read_without_its_sum() {
        let counts = read(
            "syscall              calls\n---------------- ---------\nio_uring_enter         120\n\
             read                     3\n---------------- ---------\ntotal                  123\n",
        );
        let expected = [("io_uring_enter".to_owned(), 120), ("read".to_owned(), 3)];
        assert_eq!(counts, BTreeMap::from(expected));
    }
}
