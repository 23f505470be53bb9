//! Which core owns a room: the least loaded one when its first session comes, the same one after.
//!
//! Pure accounting, kept by the control thread. It knows every session and its room, so it also says
//! whether the process has any.

use std::collections::HashMap;

use kall_shared::id::{RoomId, SessionId};

#[derive(Debug, Clone, Copy)]
struct Seat {
    core: u8,
    /// Living sessions, and those being created.
    sessions: u32,
}

/// Rooms and sessions by core.
#[derive(Debug)]
pub struct Placement {
    /// Sessions of each core, those being created included.
    cores: Vec<u32>,
    rooms: HashMap<RoomId, Seat>,
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
    /// must follow.
    pub fn assign(&mut self, room: &RoomId) -> u8 {
        if let Some(seat) = self.rooms.get_mut(room) {
            seat.sessions += 1;
            self.cores[usize::from(seat.core)] += 1;
            return seat.core;
        }
        let least = self.cores.iter().enumerate().min_by_key(|(_, load)| **load);
        // There is at least one core and never more than a u8 counts.
        let core = least.map_or(0, |(index, _)| index as u8);
        self.cores[usize::from(core)] += 1;
        self.rooms.insert(room.clone(), Seat { core, sessions: 1 });
        core
    }

    /// The session for which a place was taken lives.
    pub fn created(&mut self, room: &RoomId, session: SessionId) {
        if self.sessions.insert(session, room.clone()).is_some() {
            // Told twice: one place is enough.
            self.leave(room);
        }
    }

    /// The session for which a place was taken never came to be.
    pub fn refused(&mut self, room: &RoomId) {
        self.leave(room);
    }

    /// The session is gone. Telling it twice is harmless.
    pub fn closed(&mut self, session: SessionId) {
        if let Some(room) = self.sessions.remove(&session) {
            self.leave(&room);
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

    fn leave(&mut self, room: &RoomId) {
        let Some(seat) = self.rooms.get_mut(room) else {
            return;
        };
        let load = &mut self.cores[usize::from(seat.core)];
        *load = load.saturating_sub(1);
        seat.sessions = seat.sessions.saturating_sub(1);
        if seat.sessions == 0 {
            self.rooms.remove(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> RoomId {
        RoomId::new(name).expect("valid")
    }

    #[test]
    fn rooms_spread_and_stay_whole() {
        let mut placement = Placement::new(3);
        let (a, b, c, d) = (room("a"), room("b"), room("c"), room("d"));
        assert_eq!(placement.assign(&a), 0);
        assert_eq!(placement.assign(&a), 0);
        assert_eq!(placement.assign(&b), 1);
        assert_eq!(placement.assign(&c), 2);
        assert_eq!(placement.assign(&c), 2);
        assert_eq!(placement.assign(&d), 1);
        assert_eq!(placement.assign(&a), 0);
        assert_eq!(placement.len(), 7);
    }

    #[test]
    fn an_empty_room_frees_its_place_and_may_come_back_elsewhere() {
        let mut placement = Placement::new(2);
        let (a, b) = (room("a"), room("b"));
        let first = SessionId::pack(placement.assign(&a), 0, 0);
        placement.created(&a, first);
        assert_eq!(placement.sessions_of(0), [first]);
        assert_eq!(placement.assign(&b), 1);
        placement.closed(first);
        placement.closed(first);
        assert_eq!(placement.len(), 1);
        placement.refused(&b);
        assert!(placement.is_empty());
        let again = placement.assign(&b);
        assert_eq!(again, 0);
    }

    #[test]
    fn a_session_told_twice_counts_once() {
        let mut placement = Placement::new(1);
        let a = room("a");
        for _ in 0..2 {
            placement.assign(&a);
            placement.created(&a, SessionId(1));
        }
        assert_eq!(placement.len(), 1);
        placement.closed(SessionId(1));
        assert!(placement.is_empty());
    }
}
