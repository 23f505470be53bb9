//! Which core a session is given to: the one its room is on, until there are so many of that room that another takes some
//! of them as well ([`crate::shard::relaying`]).
//!
//! Pure accounting, kept by the control thread. It knows every session and its room, so it also says
//! whether the process has any.

use std::collections::HashMap;

use kall_shared::id::{RoomId, SessionId};

use crate::limits::SESSIONS_PER_CORE;

/// Sessions of one room on one core from which on it spreads: fewer are better off together, where nothing of what they
/// send each other has to cross.
const SPREAD_AT: u32 = 150;

/// Rooms and sessions by core.
#[derive(Debug)]
pub struct Placement {
    /// Sessions of each core, those being created included.
    cores: Vec<u32>,
    /// Sessions of each room by core, those being created included; none of them is empty.
    rooms: HashMap<RoomId, Vec<u32>>,
    sessions: HashMap<SessionId, RoomId>,
}

impl Placement {
    /// For so many cores; at least one.
    #[must_use]
    pub fn new(cores: u8) -> Self {
        Self {
            cores: vec![0; usize::from(cores.max(1))],
            rooms: HashMap::new(),
            sessions: HashMap::new(),
        }
    }

    /// Takes a place for a session of `room` and names the core. [`Self::created`] or [`Self::refused`]
    /// must follow. A core that is full, or that `refuses`, is named only if all are.
    pub fn assign(&mut self, room: &RoomId, refuses: impl Fn(u8) -> bool) -> u8 {
        let seats = self.rooms.get(room).map_or(&[][..], Vec::as_slice);
        // There are never more cores than a u8 counts.
        let closed = |core: usize| self.cores[core] >= SESSIONS_PER_CORE as u32 || refuses(core as u8);
        let with_room = seats
            .iter()
            .enumerate()
            .filter(|(core, seats)| (1..SPREAD_AT).contains(*seats) && !closed(*core));
        let own = with_room.min_by_key(|(_, seats)| **seats).map(|(core, _)| core);
        // Of equally loaded ones the one that has fewest of the room.
        let least = (0..self.cores.len())
            .min_by_key(|core| (closed(*core), self.cores[*core], seats.get(*core).copied()));
        let core = own.or(least).unwrap_or(0) as u8;
        self.take(room, core);
        core
    }

    /// The session for which a place was taken lives.
    pub fn created(&mut self, room: &RoomId, session: SessionId) {
        if let Some(before) = self.sessions.insert(session, room.clone()) {
            // Told twice: one place is enough.
            self.leave(&before, session.core());
        }
    }

    /// The session for which a place was taken on a core never came to be.
    pub fn refused(&mut self, room: &RoomId, core: u8) {
        self.leave(room, core);
    }

    /// The session is in another room now, on the same core.
    pub fn moved(&mut self, session: SessionId, room: &RoomId) {
        let Some(own) = self.sessions.get_mut(&session) else {
            return;
        };
        let before = std::mem::replace(own, room.clone());
        self.take(room, session.core());
        self.leave(&before, session.core());
    }

    /// The session is gone. Telling it twice is harmless.
    pub fn closed(&mut self, session: SessionId) {
        if let Some(room) = self.sessions.remove(&session) {
            self.leave(&room, session.core());
        }
    }

    /// Sessions that live or are being created.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cores.iter().map(|load| *load as usize).sum()
    }

    /// Whether there is no session, nor one being created.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The living sessions of `core`.
    #[must_use]
    pub fn sessions_of(&self, core: u8) -> Vec<SessionId> {
        self.sessions
            .keys()
            .filter(|session| session.core() == core)
            .copied()
            .collect()
    }

    fn take(&mut self, room: &RoomId, core: u8) {
        let cores = self.cores.len();
        let seats = self.rooms.entry(room.clone()).or_insert_with(|| vec![0; cores]);
        for count in [&mut self.cores, seats] {
            if let Some(count) = count.get_mut(usize::from(core)) {
                *count += 1;
            }
        }
    }

    fn leave(&mut self, room: &RoomId, core: u8) {
        let Some(seats) = self.rooms.get_mut(room) else {
            return;
        };
        for count in [&mut self.cores, &mut *seats] {
            if let Some(count) = count.get_mut(usize::from(core)) {
                *count = count.saturating_sub(1);
            }
        }
        if seats.iter().all(|seats| *seats == 0) {
            self.rooms.remove(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No core refuses anybody.
    fn open(_: u8) -> bool {
        false
    }

    fn room(name: &str) -> RoomId {
        RoomId::new(name).expect("valid")
    }

    #[test]
    fn rooms_spread_and_small_ones_stay_whole() {
        let mut placement = Placement::new(3);
        let (a, b, c, d) = (room("a"), room("b"), room("c"), room("d"));
        assert_eq!(placement.assign(&a, open), 0);
        assert_eq!(placement.assign(&a, open), 0);
        assert_eq!(placement.assign(&b, open), 1);
        assert_eq!(placement.assign(&c, open), 2);
        assert_eq!(placement.assign(&c, open), 2);
        assert_eq!(placement.assign(&d, open), 1);
        assert_eq!(placement.assign(&a, open), 0);
        assert_eq!(placement.len(), 7);
    }

    #[test]
    fn an_empty_room_frees_its_place_and_may_come_back_elsewhere() {
        let mut placement = Placement::new(2);
        let (a, b) = (room("a"), room("b"));
        let first = SessionId::pack(placement.assign(&a, open), 0, 0);
        placement.created(&a, first);
        assert_eq!(placement.sessions_of(0), [first]);
        assert_eq!(placement.assign(&b, open), 1);
        placement.closed(first);
        placement.closed(first);
        assert_eq!(placement.len(), 1);
        placement.refused(&b, 1);
        assert!(placement.is_empty());
        let again = placement.assign(&b, open);
        assert_eq!(again, 0);
    }

    #[test]
    fn a_session_told_twice_counts_once() {
        let mut placement = Placement::new(1);
        let a = room("a");
        for _ in 0..2 {
            placement.assign(&a, open);
            placement.created(&a, SessionId(1));
        }
        assert_eq!(placement.len(), 1);
        placement.closed(SessionId(1));
        assert!(placement.is_empty());
    }

    #[test]
    fn a_large_room_takes_one_core_after_the_other() {
        let mut placement = Placement::new(3);
        let (large, small) = (room("large"), room("small"));
        let mut by_core = [0; 3];
        for index in 0..150 {
            let core = placement.assign(&large, open);
            by_core[usize::from(core)] += 1;
            placement.created(&large, SessionId::pack(core, index, 0));
        }
        assert_eq!(by_core, [150, 0, 0]);
        assert_eq!(placement.assign(&small, open), 1);
        for _ in 0..900 {
            by_core[usize::from(placement.assign(&large, open))] += 1;
        }
        assert_eq!(by_core, [350, 350, 350]);
        assert_eq!(placement.assign(&small, open), 1, "it is not torn apart for that");
        // Whoever leaves makes room where the others are.
        placement.closed(SessionId::pack(0, 7, 0));
        assert_eq!(placement.len(), 1051);
    }

    #[test]
    fn whoever_moves_counts_with_the_other_room() {
        let mut placement = Placement::new(2);
        let (a, b) = (room("a"), room("b"));
        let session = SessionId::pack(placement.assign(&a, open), 0, 0);
        placement.created(&a, session);
        placement.moved(session, &b);
        assert_eq!(placement.len(), 1);
        assert_eq!(placement.assign(&a, open), 1, "there is nobody in it");
        placement.refused(&a, 1);
        assert_eq!(placement.assign(&b, open), 0, "where its one member is");
        placement.refused(&b, 0);
        placement.closed(session);
        assert!(placement.is_empty());
    }

    #[test]
    fn newcomers_go_where_they_are_taken() {
        let mut placement = Placement::new(3);
        let a = room("a");
        assert_eq!(placement.assign(&a, open), 0);
        assert_eq!(
            placement.assign(&a, |core| core == 0),
            1,
            "its own core has too much to do"
        );
        assert_eq!(placement.assign(&a, |core| core == 0), 1);
        assert_eq!(placement.assign(&a, open), 0, "of its cores the one with fewer");
        let all = placement.assign(&a, |_| true);
        placement.refused(&a, all);
        assert_eq!(placement.len(), 4);
    }
}
