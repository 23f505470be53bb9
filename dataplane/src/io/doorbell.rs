//! How cores end each other's sleep: one that is awake looks at its lanes by itself, and waking it would only cost.
//!
//! A core says that it is about to sleep, looks at its lanes once more, and sleeps. Whoever has put something into one
//! of them looks whether it said so. Both look after they have written, with a fence in between, so that at least one
//! of the two sees the other.

use super::sync::{AtomicBool, Ordering, fence};

/// Whether one core sleeps.
#[derive(Debug)]
pub struct Doorbell {
    asleep: AtomicBool,
}

impl Doorbell {
    /// Of a core that is awake.
    #[must_use]
    pub fn new() -> Self {
        Self {
            asleep: AtomicBool::new(false),
        }
    }

    /// The core is about to sleep. It looks for work after this call, and if there is any does not.
    pub fn lie_down(&self) {
        self.asleep.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// The core is awake.
    pub fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// There is work for the core, and everybody can see it. Whether the core must be woken; of several who ask, one is
    /// told so.
    #[must_use]
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel)
    }
}

impl Default for Doorbell {
    fn default() -> Self {
        Self::new()
    }
}
