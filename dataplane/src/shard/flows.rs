//! Which session an address belongs to: what the shard asks for every packet that is not STUN.
//!
//! An address has one owner at a time, and can change it: a NAT gives the port of a page that was
//! closed to the next one while the old session still waits for its consent to expire. The latest
//! authenticated check decides, and whoever lost an address must not take it along when it goes.

use std::collections::HashMap;

use super::slab::Key;
use crate::address::TransportAddress;

/// Addresses proved by a check, with the session they proved it to. Bounded by the sessions: each
/// has at most [`crate::ice::PAIRS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Flows(HashMap<TransportAddress, Key>);

impl Flows {
    /// The session that packets from `address` are for.
    pub(super) fn owner(&self, address: &TransportAddress) -> Option<Key> {
        self.0.get(address).copied()
    }

    /// An authenticated check from `address` reached `session`.
    pub(super) fn claim(&mut self, address: TransportAddress, session: Key) {
        self.0.insert(address, session);
    }

    /// How many addresses have an owner.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// `session` is done with `address`.
    pub(super) fn release(&mut self, address: &TransportAddress, session: Key) {
        if self.owner(address) == Some(session) {
            self.0.remove(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn the_latest_check_owns_and_the_former_owner_takes_nothing_along() {
        let address = SocketAddr::from(([192, 0, 2, 1], 5000)).into();
        let session = |index| Key { index, epoch: 1 };
        let mut flows = Flows::default();
        flows.claim(address, session(1));
        flows.claim(address, session(2));
        assert_eq!(flows.owner(&address), Some(session(2)));
        flows.release(&address, session(1));
        assert_eq!(flows.owner(&address), Some(session(2)));
        // A check of the first session, if its peer is still there, wins the address back.
        flows.claim(address, session(1));
        flows.release(&address, session(1));
        assert_eq!(flows.owner(&address), None);
    }
}
