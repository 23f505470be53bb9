//! All sessions of one core: the top of the sans-IO part.
//!
//! Calling order: any number of `handle_*`, then [`Shard::poll_transmit`] until its batch stays
//! empty, then [`Shard::poll_event`] until none, then sleep until [`Shard::poll_deadline`].
//!
//! A shard owns every session of its core, the rooms they are in and the tracks they publish; it is
//! the only place that sees two sessions at once. The path of a packet: [`ingress`], the
//! publication's ring, [`fan_out`], a subscriber's outbox, [`egress`]; between cores [`relaying`] hands it over to
//! [`mirroring`].

mod allocation;
mod command;
mod connections;
mod control_queue;
pub mod counters;
mod egress;
mod entropy;
mod event;
mod fan_out;
mod feedback;
mod flows;
mod handshakes;
mod hearing;
mod ingress;
mod membership;
mod mirroring;
mod mirrors;
mod moving;
pub mod overload;
mod periodic;
pub mod placement;
pub mod relaying;
mod room;
mod shedding;
pub mod slab;
mod statistics;
mod timers;
pub mod transmit;
pub mod ufrag;
mod write;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use kall_shared::id::{RoomId, SessionId};
use kall_shared::link::{Stats, ToControl};

use crate::address::{ConnectionId, TransportAddress};
use crate::dtls;
use crate::forward::allocator::Demand;
use crate::forward::publication::{Publication, SourceIds};
use crate::forward::slot::Slot;
use crate::ice::check_limit::{self, CheckLimit};
use crate::lane::Lanes;
use crate::limits;
use crate::session::Session;
use crate::session::outbox::Ready;
use crate::session::transport::Keyed;
use crate::srtp::SessionKeys;
use crate::time::{Time, WallClock};
use control_queue::ControlQueue;
use counters::Counters;
use entropy::Entropy;
use event::Outgoing;
use flows::Flows;
use handshakes::Handshakes;
use mirrors::Mirrors;
use room::Room;
use shedding::Shedding;
use slab::{Key, Slab};
use timers::Timers;
pub use transmit::{Run, TransmitBatch};

/// One received datagram; the shard decrypts in place.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// The peer.
    pub from: TransportAddress,
    /// The local address it came to; replies leave from it.
    pub to: IpAddr,
    /// When the kernel got it.
    pub received: Time,
    /// Its bytes.
    pub data: &'a mut [u8],
}

/// What a shard is born with.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// Its index, the top byte of every session id it gives.
    pub core: u8,
    /// The UDP port of its socket, named in every answer.
    pub udp_port: u16,
    /// The certificate of the process.
    pub identity: Arc<dtls::Identity>,
    /// The wall clock, for sender reports.
    pub wall: WallClock,
    /// Seed of everything random: credentials, SSRCs, first sequence numbers. Must be unpredictable
    /// outside of simulations.
    pub seed: [u8; 32],
}

/// All sessions of one core.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    entropy: Entropy,
    sessions: Slab<Session>,
    publications: Slab<Publication>,
    rooms: Slab<Room>,
    rooms_by_id: HashMap<RoomId, Key>,
    /// Validated address of a peer, and whose it is.
    flows: Flows,
    /// Checks from addresses that are not validated yet.
    check_limit: CheckLimit,
    /// Bare Binding requests, which anybody may send: none while they are not answered.
    bare_limit: Option<CheckLimit>,
    /// To and from the other cores.
    lanes: Lanes,
    /// What stands for the tracks of other cores.
    mirrors: Mirrors,
    /// Those of them that a key frame is wanted of.
    asking: Vec<Key>,
    /// Connections that no session has a use for any more.
    hangups: Vec<ConnectionId>,
    timers: Timers,
    control: ControlQueue,
    handshakes: Handshakes,
    /// Sessions whose outbox is not empty, each once.
    ready: VecDeque<Ready>,
    /// Who sent the last datagram that was said to come, see [`Self::expect_from`].
    expected: Option<Key>,
    /// Slots that need a key frame from their publisher, found while sealing.
    wanting: Vec<(Key, u8)>,
    /// Slots that began or changed their source while sealing.
    switched: Vec<(Key, u8)>,
    /// Where the shares of one receiver are worked out.
    demands: Vec<Demand>,
    outgoing: Outgoing,
    counters: Counters,
    /// What is taken from everybody while the core has too much to do.
    shedding: Shedding,
    sources: SourceIds,
    /// Sessions whose wake-up is due, while a timeout is handled.
    due: Vec<Key>,
    /// Where feedback is written before it is sealed.
    scratch: [u8; transmit::MAX_DATAGRAM],
}

/// Publications of one core: each session may publish a handful.
const PUBLICATIONS_PER_CORE: usize = limits::SESSIONS_PER_CORE * 4;

/// Tracks of other cores: what comes from there takes nothing away from those who are here.
const MIRRORS_PER_CORE: usize = PUBLICATIONS_PER_CORE;

impl Shard {
    /// An empty shard.
    #[must_use]
    pub fn new(config: ShardConfig, now: Time) -> Self {
        Self {
            entropy: Entropy::new(config.seed),
            config,
            sessions: Slab::new(limits::SESSIONS_PER_CORE),
            publications: Slab::new(PUBLICATIONS_PER_CORE + MIRRORS_PER_CORE),
            rooms: Slab::new(limits::SESSIONS_PER_CORE),
            rooms_by_id: HashMap::new(),
            flows: Flows::default(),
            check_limit: CheckLimit::per_second(check_limit::OF_NEWCOMERS),
            bare_limit: None,
            lanes: Lanes::default(),
            mirrors: Mirrors::default(),
            asking: Vec::new(),
            hangups: Vec::new(),
            timers: Timers::with_capacity(limits::SESSIONS_PER_CORE),
            control: ControlQueue::default(),
            handshakes: Handshakes::default(),
            ready: VecDeque::with_capacity(limits::SESSIONS_PER_CORE),
            expected: None,
            wanting: Vec::with_capacity(limits::SESSIONS_PER_CORE),
            switched: Vec::with_capacity(limits::SESSIONS_PER_CORE),
            demands: Vec::with_capacity(kall_shared::media::limits::MEDIA_LINES),
            outgoing: Outgoing::default(),
            counters: Counters::default(),
            shedding: Shedding::new(now),
            sources: SourceIds::default(),
            due: Vec::with_capacity(limits::SESSIONS_PER_CORE),
            scratch: [0; transmit::MAX_DATAGRAM],
        }
    }

    /// The next answer or event.
    pub fn poll_event(&mut self) -> Option<ToControl> {
        self.outgoing.pop()
    }

    /// When [`Self::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        if self.handshakes.is_empty() && self.shedding.is_settled() {
            self.timers.next_deadline()
        } else {
            Time::ZERO
        }
    }

    /// Gives a session its keys without a handshake: simulations repeat bit for bit only if nothing
    /// in them draws randomness of its own, as DTLS does. False when there is no such session.
    pub fn inject_keys(&mut self, now: Time, session: SessionId, keys: &SessionKeys) -> bool {
        let key = session_key(session);
        if let Some(session) = self.sessions.get_mut(key) {
            session.transport.drop_dtls();
        }
        self.connect(now, key, Keyed::new(keys));
        self.reschedule(now, key);
        self.sessions.get(key).is_some()
    }

    /// Answers bare Binding requests from now on, as a STUN server does.
    pub fn answer_bare_stun(&mut self) {
        self.bare_limit = Some(CheckLimit::per_second(check_limit::OF_STRANGERS));
    }

    /// This core's part of the statistics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let core = kall_shared::link::CoreStats {
            sessions: self.sessions.len() as u32,
            counters: self.counters.to_map(),
        };
        Stats { cores: vec![core] }
    }

    fn slot_mut(&mut self, session: Key, slot: u8) -> Option<&mut Slot> {
        self.sessions.get_mut(session)?.slots.get_mut(usize::from(slot))
    }

    fn push_control(&mut self, datagram: &[u8], to: TransportAddress, from: IpAddr) {
        if !self.control.push(datagram, to, from) {
            self.counters.drop_control_full += 1;
        }
    }
}

/// Where the session of an id lives.
fn session_key(session: SessionId) -> Key {
    Key {
        index: session.slot(),
        epoch: session.epoch(),
    }
}

#[cfg(test)]
mod tests;
