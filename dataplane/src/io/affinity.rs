//! Which CPUs the process may use, and pinning a thread to one.

use tracing::warn;

/// CPU ids this process may run on; empty when the kernel does not tell.
#[must_use]
pub fn available() -> Vec<usize> {
    core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .map(|core| core.id)
        .collect()
}

/// Pins the calling thread to `cpu`. A CPU that is not there or not allowed costs speed, not
/// correctness: a warning, and the thread floats.
pub fn pin(cpu: usize) {
    // By the configured id: the crate's own list leaves out isolated CPUs, which are the best ones.
    if !core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
        warn!(cpu, "can't pin the core's thread to this CPU; it floats");
    }
}
