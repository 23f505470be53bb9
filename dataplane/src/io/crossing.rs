//! One core's hold on the others: what its shard has for them becomes visible, and those that sleep are woken.

use std::sync::{Arc, OnceLock};

use super::doorbell::Doorbell;
use super::wake::Waker;
use crate::shard::Shard;

/// A core, as the others see it; on a line of its own, and the one that is fetched with it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Neighbour {
    bell: Doorbell,
    /// Present once the core's driver stands.
    waker: OnceLock<Waker>,
}

/// All cores of the process, and which of them is one's own.
#[derive(Debug, Clone)]
pub struct Crossing {
    cores: Arc<[Neighbour]>,
    own: usize,
}

impl Crossing {
    /// For each of so many cores.
    #[must_use]
    pub fn between(cores: usize) -> Vec<Self> {
        let neighbours: Arc<[Neighbour]> = (0..cores).map(|_| Neighbour::default()).collect();
        (0..cores)
            .map(|own| Self {
                cores: Arc::clone(&neighbours),
                own,
            })
            .collect()
    }

    /// The others may end this core's sleep by it.
    pub fn open(&self, waker: Waker) {
        // A core opens once.
        let _ = self.cores[self.own].waker.set(waker);
    }

    /// Makes what `shard` has for the others visible to them, and wakes those that sleep.
    pub fn publish(&self, shard: &mut Shard) {
        if self.cores.len() < 2 {
            return;
        }
        shard.publish_lanes(|core| {
            if let Some(other) = self.cores.get(usize::from(core))
                && other.bell.ring()
                && let Some(waker) = other.waker.get()
            {
                waker.wake();
            }
        });
    }

    /// The core is about to sleep. False when others have something for it: it must not.
    #[must_use]
    pub fn may_sleep(&self, shard: &Shard) -> bool {
        if self.cores.len() < 2 {
            return true;
        }
        let bell = &self.cores[self.own].bell;
        bell.lie_down();
        if shard.has_relayed() {
            bell.get_up();
            return false;
        }
        true
    }

    /// The core slept.
    pub fn woke(&self) {
        self.cores[self.own].bell.get_up();
    }
}
