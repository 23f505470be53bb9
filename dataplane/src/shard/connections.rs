//! Connections of peers, as far as a shard knows of them: by number. The driver opens and closes
//! them, frames what goes over them, and says how much they take.

use super::Shard;
use super::slab::Key;
use crate::address::{ConnectionId, TransportAddress};
use crate::time::Time;

impl Shard {
    /// Whether a valid check came from this address. A connection for which that stays false is
    /// nobody's, and the driver closes it.
    #[must_use]
    pub fn is_validated(&self, address: &TransportAddress) -> bool {
        self.flows.owner(address).is_some()
    }

    /// A connection takes `room` bytes more before pictures have to wait. Told after each change.
    pub fn handle_room(&mut self, now: Time, address: &TransportAddress, room: usize) {
        let (Some(key), Some(connection)) = (self.flows.owner(address), address.connection()) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.transport.set_room(connection, room) && room > 0 && session.outbox.paced_len() > 0 {
            self.make_ready(key);
            self.reschedule(now, key);
        }
    }

    /// The peer closed a connection, or it broke.
    pub fn handle_disconnect(&mut self, now: Time, address: &TransportAddress) {
        let Some(key) = self.flows.owner(address) else {
            return;
        };
        self.flows.release(address, key);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.transport.ice.on_closed(*address) {
            self.counters.path_changes += 1;
            session.on_path_change(now);
        }
        self.reschedule(now, key);
    }

    /// The next connection that no session has a use for any more. Ask after [`Self::poll_transmit`]:
    /// what was said last is to leave before it closes.
    pub fn poll_hangup(&mut self) -> Option<ConnectionId> {
        self.hangups.pop()
    }

    /// `key` is done with `address`.
    pub(super) fn forget_address(&mut self, address: &TransportAddress, key: Key) {
        self.flows.release(address, key);
        self.hangups.extend(address.connection());
    }
}
