//! The protocols between threads, under every order in which their steps may be seen.
//!
//! The files are the data plane's own; only the atomics in them are the model checker's.
#![cfg(test)]

mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

#[path = "../../../dataplane/src/io/doorbell.rs"]
#[expect(unreachable_pub, reason = "it is public where it belongs")]
mod doorbell;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use doorbell::Doorbell;

/// A core that may sleep, a lane to it, and whether somebody woke it.
#[derive(Default)]
struct Core {
    bell: Doorbell,
    published: AtomicUsize,
    woken: AtomicBool,
}

impl Core {
    fn give(&self) {
        self.published.fetch_add(1, Ordering::Release);
        if self.bell.ring() {
            assert!(!self.woken.swap(true, Ordering::AcqRel), "one is told to wake it");
        }
    }

    /// Whether it went to sleep.
    fn sleep(&self, seen: usize) -> bool {
        self.bell.lie_down();
        if self.published.load(Ordering::Acquire) > seen {
            self.bell.get_up();
            return false;
        }
        true
    }
}

#[test]
fn nobody_sleeps_over_what_is_there() {
    loom::model(|| {
        let core = Arc::new(Core::default());
        let writer = {
            let core = Arc::clone(&core);
            thread::spawn(move || core.give())
        };
        let slept = core.sleep(0);
        writer.join().expect("no panic");
        assert!(!slept || core.woken.load(Ordering::Acquire), "it sleeps for ever");
    });
}

#[test]
fn of_two_who_ring_one_wakes() {
    loom::model(|| {
        let core = Arc::new(Core::default());
        let writers = [(); 2].map(|()| {
            let core = Arc::clone(&core);
            thread::spawn(move || core.give())
        });
        let slept = core.sleep(0);
        for writer in writers {
            writer.join().expect("no panic");
        }
        assert!(!slept || core.woken.load(Ordering::Acquire), "it sleeps for ever");
    });
}
