//! One page of a listing of sessions, gathered core by core in id order: a snapshot, or statistics.
//!
//! Session ids begin with their core, so pages walk through the cores. A page that says `more` is never
//! empty, and `more` is only said when a further session has been seen.

use kall_shared::id::SessionId;

/// A page in the making.
#[derive(Debug)]
pub(super) struct Page<T> {
    sessions: Vec<T>,
    /// Most entries of a page.
    max: usize,
    core: u8,
    cores: u8,
    after: Option<SessionId>,
    more: bool,
}

/// What the page needs next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Sessions of this core after that id.
    Ask { core: u8, after: Option<SessionId> },
    /// Nothing.
    Done,
}

impl<T> Page<T> {
    /// The page that follows `after`, or the first one.
    pub(super) fn after(after: Option<SessionId>, cores: u8, max: u32) -> Self {
        Self {
            sessions: Vec::new(),
            max: max as usize,
            core: after.map_or(0, SessionId::core),
            cores,
            after,
            more: false,
        }
    }

    pub(super) fn next(&self) -> Step {
        if self.more || self.core >= self.cores {
            return Step::Done;
        }
        Step::Ask {
            core: self.core,
            after: self.after,
        }
    }

    /// Takes the current core's answer. Sessions that do not fit are left to the next page.
    pub(super) fn add(&mut self, sessions: Vec<T>, core_has_more: bool) {
        let room = self.max - self.sessions.len();
        let fits = sessions.len() <= room;
        // A core that says `more` without a session would be asked for ever.
        self.more = !fits || (core_has_more && !sessions.is_empty());
        self.sessions.extend(sessions.into_iter().take(room));
        self.core = self.core.saturating_add(1);
        self.after = None;
    }

    pub(super) fn finish(self) -> (Vec<T>, bool) {
        (self.sessions, self.more)
    }
}
