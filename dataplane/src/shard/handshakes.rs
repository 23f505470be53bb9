//! Handshake datagrams that wait for their turn.
//!
//! One of them costs as much as a hundred packets of media: a signature, a key agreement. When many peers come at once
//! their handshakes are spread over turns: after its media each turn has a little time for them, which whoever turns
//! the shard measures. A peer repeats what takes too long, so what the queue can't hold is only dropped.

use std::collections::VecDeque;

use kall_shared::link::{CloseReason, Event};

use super::slab::Key;
use super::transmit::MAX_DATAGRAM;
use super::{Datagram, Shard};
use crate::address::TransportAddress;
use crate::dtls::{Dtls, DtlsEvent};
use crate::session::transport::Keyed;
use crate::time::Time;

/// Datagrams that wait: two flights of a thousand peers.
const WAITING_MAX: usize = 2048;

/// Of one of them: two flights. Nobody fills the queue alone.
const OF_ONE_MAX: u8 = 16;

/// A datagram and whose it is.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) session: Key,
    pub(super) from: TransportAddress,
    pub(super) data: Box<[u8]>,
}

/// The queue of one core.
#[derive(Debug, Default)]
pub(super) struct Handshakes(VecDeque<Waiting>);

impl Handshakes {
    /// Keeps a datagram; false when there are too many already.
    #[must_use]
    pub(super) fn push(&mut self, waiting: Waiting) -> bool {
        let free = self.0.len() < WAITING_MAX;
        if free {
            self.0.push_back(waiting);
        }
        free
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Shard {
    pub(super) fn on_dtls(&mut self, datagram: &Datagram<'_>) {
        let Some(key) = self.flow(&datagram.from) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let kept = session.handshakes_waiting < OF_ONE_MAX
            && self.handshakes.push(Waiting {
                session: key,
                from: datagram.from,
                data: Box::from(&*datagram.data),
            });
        if kept {
            session.handshakes_waiting += 1;
        } else {
            self.counters.drop_handshake_full += 1;
        }
    }

    /// Handles handshakes' datagrams that wait: one at least, and others while `go_on` says so. What they make is ready
    /// to be sent then. How many it were.
    pub fn run_handshakes(&mut self, now: Time, mut go_on: impl FnMut() -> bool) -> usize {
        let mut count = 0;
        while let Some(waiting) = self.handshakes.pop() {
            self.run_handshake(now, &waiting);
            count += 1;
            if !go_on() {
                break;
            }
        }
        count
    }

    fn run_handshake(&mut self, now: Time, waiting: &Waiting) {
        let key = waiting.session;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.handshakes_waiting -= 1;
        let taken = session
            .transport
            .with_dtls(|dtls| dtls.handle_datagram(now, &waiting.data));
        if taken.is_none() {
            self.counters.drop_dtls += 1;
            return;
        }
        // The address may have been forgotten, or proved to be another's, since the datagram came from it.
        let valid = self.flows.owner(&waiting.from) == Some(key);
        if valid && session.transport.ice.on_handshake_packet(waiting.from) {
            self.counters.path_changes += 1;
            session.on_path_change(now);
        }
        self.after_dtls(now, key);
    }

    /// Sends what the handshake has to send and acts on what it found.
    pub(super) fn after_dtls(&mut self, now: Time, key: Key) {
        let mut scratch = [0; MAX_DATAGRAM];
        loop {
            let Some(session) = self.sessions.get_mut(key) else {
                return;
            };
            let path = session.transport.path();
            let written = session
                .transport
                .with_dtls(|dtls| dtls.poll_transmit(&mut scratch));
            let Some(len) = written.flatten() else { break };
            if let Some((to, from)) = path {
                self.push_control(&scratch[..len], to, from);
            }
        }
        loop {
            let Some(session) = self.sessions.get_mut(key) else {
                return;
            };
            match session.transport.with_dtls(Dtls::poll_event).flatten() {
                None => break,
                Some(DtlsEvent::Connected(keys)) => {
                    self.connect(now, key, Keyed::new(&keys));
                }
                Some(DtlsEvent::PeerClosed) => {
                    self.close_session(now, key, CloseReason::PeerClosed);
                    return;
                }
                Some(DtlsEvent::Failed(reason)) => {
                    tracing::info!(session = %session.id, %reason, "DTLS failed");
                    self.close_session(now, key, CloseReason::DtlsFailed);
                    return;
                }
            }
        }
        self.reschedule(now, key);
    }

    /// Media may flow from here on.
    pub(super) fn connect(&mut self, now: Time, key: Key, keyed: Keyed) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let srtp_profile = keyed.profile.name().to_owned();
        session.transport.keyed = Some(keyed);
        session.outbox.open = true;
        self.outgoing.event(Event::SessionConnected {
            session: session.id,
            srtp_profile,
        });
        // Slots were filled while the peer connected; what waited for a key frame asks now.
        for slot in 0..session.slots.len() {
            self.request_keyframe_for(now, key, slot);
        }
    }
}
