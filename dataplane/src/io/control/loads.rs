//! Which cores shed, and which take newcomers: the last each core said of it.

use kall_shared::link::{CoreStats, Event, Refusal, RefusalCode};
use tracing::{info, warn};

/// Loads of all cores, by index.
#[derive(Debug)]
pub(super) struct CoreLoads {
    cores: Vec<CoreLoad>,
}

#[derive(Debug, Clone, Copy, Default)]
struct CoreLoad {
    level: u8,
    refuses: bool,
    /// Sessions that were refused for it.
    refused: u64,
}

impl CoreLoads {
    /// So many cores with nothing to do.
    pub(super) fn new(cores: u8) -> Self {
        Self {
            cores: vec![CoreLoad::default(); usize::from(cores)],
        }
    }

    /// Takes over what a core said.
    pub(super) fn note(&mut self, core: u8, level: u8, refuses: bool) {
        let Some(load) = self.cores.get_mut(usize::from(core)) else {
            return;
        };
        if level > load.level {
            warn!(core, level, "a core has too much to do and sheds more");
        } else if level < load.level {
            info!(core, level, "a core sheds less");
        } else if refuses != load.refuses {
            info!(core, refuses, "a core changed whether it takes newcomers");
        }
        (load.level, load.refuses) = (level, refuses);
    }

    /// Whether a newcomer would make it worse. Whoever places rooms looks here first.
    pub(super) fn refuses(&self, core: u8) -> bool {
        let load = self.cores.get(usize::from(core));
        load.is_some_and(|load| load.refuses)
    }

    /// What a newcomer is told whom this core would have got.
    pub(super) fn refuse(&mut self, core: u8) -> Refusal {
        if let Some(load) = self.cores.get_mut(usize::from(core)) {
            load.refused += 1;
        }
        Refusal::new(RefusalCode::Exhausted, "the server has too much to do")
    }

    /// What every core said last, for whoever missed it.
    pub(super) fn events(&self) -> impl Iterator<Item = Event> {
        let cores = self.cores.iter().enumerate();
        cores.map(|(core, load)| Event::CoreLoad {
            core: core as u8,
            level: load.level,
            refuses: load.refuses,
        })
    }

    /// Adds what only this thread counts to a core's statistics.
    pub(super) fn report(&self, core: u8, stats: &mut CoreStats) {
        if let Some(load) = self.cores.get(usize::from(core)) {
            stats.counters.insert("sessions_refused".to_owned(), load.refused);
        }
    }
}
