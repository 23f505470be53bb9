//! Which CPUs the process may use, pinning a thread to one, and keeping the others away from it.

use std::sync::OnceLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tracing::{debug, warn};

/// CPU ids this process may run on; empty when the kernel does not tell.
#[must_use]
pub fn available() -> Vec<usize> {
    core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .map(|core| core.id)
        .collect()
}

/// Where the process ran before [`keep_off`].
static ORIGINAL: OnceLock<CpuSet> = OnceLock::new();

/// Pins the calling thread to `cpu`. A CPU that is not there or not allowed costs speed, not
/// correctness: a warning, and the thread floats.
pub fn pin(cpu: usize) {
    // By the configured id: the crate's own list leaves out isolated CPUs, which are the best ones.
    if !core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
        warn!(cpu, "can't pin the core's thread to this CPU; it floats");
        // Over all of them, not over those that are left for threads beside the cores.
        if let Some(original) = ORIGINAL.get() {
            let _ = sched_setaffinity(None, original);
        }
    }
}

/// Keeps the calling thread, and all it starts from now on, off these `cpus`: a core that has to wait until somebody
/// else's turn is over is milliseconds late with everybody's media. Where there is no other CPU nothing changes.
pub fn keep_off(cpus: &[usize]) {
    let outcome = sched_getaffinity(None).and_then(|mut others| {
        ORIGINAL.get_or_init(|| others);
        for &cpu in cpus.iter().filter(|cpu| **cpu < CpuSet::MAX_CPU) {
            others.unset(cpu);
        }
        if others.count() == 0 {
            return Ok(());
        }
        sched_setaffinity(None, &others)
    });
    if let Err(error) = outcome {
        debug!(%error, "threads beside the cores may run on the same CPUs");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The CPUs of a thread that kept off some, and of one that it started.
    fn kept_off(cpus: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
        let own = std::thread::spawn(move || {
            keep_off(&cpus);
            (
                available(),
                std::thread::spawn(available).join().expect("no panic"),
            )
        });
        own.join().expect("no panic")
    }

    #[test]
    fn threads_keep_off_the_cores_as_long_as_there_is_another_cpu() {
        let all = available();
        let (first, others) = all.split_first().expect("a CPU");
        let expected = if others.is_empty() { &all } else { others };
        assert_eq!(kept_off(vec![*first]), (expected.to_vec(), expected.to_vec()));
        assert_eq!(kept_off(all.clone()), (all.clone(), all.clone()));
        assert_eq!(kept_off(vec![usize::MAX]), (all.clone(), all));
    }
}
