//! The shards of one process, their peers and the paths between them, in virtual time: things happen in the order of their time,
//! and nothing else decides.

mod control;
pub(crate) mod measures;
pub(crate) mod paths;
mod queue;
mod timeline;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kall_dataplane::dtls::Identity;
use kall_dataplane::lane;
use kall_dataplane::shard::relaying::ENTRIES_PER_TURN;
use kall_dataplane::shard::{Datagram, Shard, ShardConfig, TransmitBatch};
use kall_dataplane::time::{Time, WallClock};
use kall_network::Random;
use kall_shared::id::SessionId;
use kall_shared::link::ToControl;

use crate::checker::{SlotLog, Truth};
use crate::peer::Peer;
use crate::peer::opening::{Content, Delivery};
use crate::peer::transmitter::Carried;
use crate::scenario::Scenario;
use crate::talk::{self, Turn};
use measures::{Measures, PeerMeasures};
use paths::Paths;
use queue::{Happening, Queue};

/// Turns without time passing that can only be a busy loop.
const TURNS_MAX: u32 = 1000;

/// Where the server is, as far as peers see it.
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

/// Bytes of a packet of cross traffic, without the headers below UDP.
const CROSS_BYTES: usize = 1200 - paths::HEADERS;

/// FNV-1a over words of everything that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace(u64);

impl Trace {
    fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    /// A datagram: its authentication tag stands for its content.
    fn add_datagram(&mut self, now: Time, peer: usize, bytes: &[u8]) {
        self.add(now.as_nanos());
        self.add((peer as u64) << 32 | bytes.len() as u64);
        if let Some(tail) = bytes.last_chunk::<8>() {
            self.add(u64::from_le_bytes(*tail));
        }
    }
}

/// The certificate of every server here. Its key is random, and nothing that is traced depends on it.
pub(crate) fn identity() -> Arc<Identity> {
    static IDENTITY: OnceLock<Arc<Identity>> = OnceLock::new();
    let made = || Arc::new(Identity::generate().expect("a certificate"));
    Arc::clone(IDENTITY.get_or_init(made))
}

/// Shards that differ in their seeds, joined by lanes if there are several.
fn shards(cores: usize, random: &mut Random) -> Vec<Shard> {
    let make = |core| {
        let mut seed = [0; 32];
        random.fill(&mut seed);
        let config = ShardConfig {
            core: core as u8,
            udp_port: 5004 + core as u16,
            identity: identity(),
            wall: WallClock::new(Duration::from_secs(1_800_000_000)),
            seed,
        };
        Shard::new(config, Time::ZERO)
    };
    let mut shards: Vec<Shard> = (0..cores).map(make).collect();
    if cores > 1 {
        for (shard, lanes) in shards.iter_mut().zip(lane::mesh(cores)) {
            shard.connect_lanes(lanes);
        }
    }
    shards
}

/// A peer, and what the checker saw of it.
pub(crate) struct Connected {
    pub(crate) peer: Peer,
    /// What the server sent, by video slot.
    pub(crate) logs: Vec<SlotLog>,
    pub(crate) measures: PeerMeasures,
}

/// A running call.
pub(crate) struct World<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) now: Time,
    /// One for each core.
    pub(crate) shards: Vec<Shard>,
    /// Taken out while it is read.
    batch: Option<TransmitBatch>,
    pub(crate) peers: Vec<Connected>,
    /// The newest peer of each person.
    pub(crate) current: Vec<Option<usize>>,
    /// What each person's video slots shall show.
    shown: Vec<Vec<control::Shown>>,
    by_session: HashMap<SessionId, usize>,
    /// Who speaks when.
    pub(crate) turns: Vec<Turn>,
    /// When which publishing peer's camera was switched off or on.
    pub(crate) muted: Vec<(Time, u16, bool)>,
    pub(crate) paths: Paths,
    pub(crate) truth: Truth,
    pub(crate) measures: Measures,
    queue: Queue,
    random: Random,
    scratch: Vec<u8>,
    requests: u64,
    trace: Trace,
}

impl<'a> World<'a> {
    /// The call of a scenario, before anybody has joined.
    pub(crate) fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let shards = shards(usize::from(scenario.cores.max(1)), &mut random);
        let paths = Paths::new(scenario, &mut random);
        let mut world = Self {
            scenario,
            now: Time::ZERO,
            shards,
            batch: Some(TransmitBatch::new()),
            peers: Vec::new(),
            current: Vec::new(),
            shown: Vec::new(),
            by_session: HashMap::new(),
            turns: Vec::new(),
            muted: Vec::new(),
            paths,
            truth: Truth::default(),
            measures: Measures::default(),
            queue: Queue::default(),
            random,
            scratch: Vec::new(),
            requests: 0,
            trace: Trace(0xcbf2_9ce4_8422_2325),
        };
        if let Some(talk) = &scenario.talk {
            let members = scenario.members(&talk.group).unwrap_or_default();
            let mut random = world.random.split();
            world.turns = talk::conversation(talk, members, scenario.length(), &mut random);
        }
        world.plan_scenario();
        world
    }

    /// A hash of everything that happened so far.
    pub(crate) const fn trace(&self) -> Trace {
        self.trace
    }

    /// Lets everything happen that is due before `end`.
    pub(crate) fn run_until(&mut self, end: Time) {
        let mut turns = 0;
        loop {
            let deadlines = self.shards.iter().map(Shard::poll_deadline);
            let next = deadlines.fold(self.queue.next_at(), Time::min).max(self.now);
            if next >= end {
                self.now = end;
                return;
            }
            turns = if next > self.now { 0 } else { turns + 1 };
            assert!(turns < TURNS_MAX, "a deadline that never passes at {next:?}");
            self.now = next;
            self.turn();
        }
    }

    fn turn(&mut self) {
        while let Some(happening) = self.queue.pop(self.now) {
            self.happen(happening);
        }
        for shard in &mut self.shards {
            if shard.poll_deadline() <= self.now {
                shard.handle_timeout(self.now);
            }
        }
        self.cross();
        for core in 0..self.shards.len() {
            self.flush_shard(core);
        }
        self.cross();
        for core in 0..self.shards.len() {
            while let Some(message) = self.shards[core].poll_event() {
                let ToControl::Event(event) = message else {
                    panic!("{message:?} answers nothing");
                };
                self.on_event(event);
            }
        }
    }

    /// What cores have for each other arrives, and what that causes.
    pub(super) fn cross(&mut self) {
        let mut turns = 0;
        loop {
            for shard in &mut self.shards {
                shard.publish_lanes(|_| {});
            }
            let mut taken = 0;
            for shard in &mut self.shards {
                taken += shard.handle_lanes(self.now, ENTRIES_PER_TURN);
            }
            if taken == 0 {
                return;
            }
            turns += 1;
            assert!(turns < TURNS_MAX, "cores that never stop telling each other");
        }
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::ToServer { peer, bytes, carries } => self.reach_server(peer, bytes, carries),
            Happening::ToPeer { peer, delivery } => {
                let checked = self.peers[peer].peer.checked;
                self.peers[peer].peer.on_delivery(now, delivery);
                if let (None, Some((_, rtt))) = (checked, self.peers[peer].peer.checked) {
                    // Two round trips for the handshake (RFC 9147 section 5.1, with a cookie).
                    self.queue.plan(now + rtt * 2, Happening::Keys { peer });
                }
                self.after_peer(peer);
            }
            Happening::Wake { peer } => {
                self.peers[peer].peer.wake_at = Time::FAR_FUTURE;
                self.peers[peer].peer.wake(now);
                self.after_peer(peer);
            }
            Happening::Join { person } => self.join(person),
            Happening::Keys { peer } => self.give_keys(peer),
            Happening::Dynacast { peer, layers } => self.obey_dynacast(peer, &layers),
            Happening::Action { index } => self.act(index),
            Happening::Cross { index } => {
                let cross = &self.scenario.cross_traffic[index];
                self.paths.cross(now, &cross.on, self.scenario, CROSS_BYTES);
                self.plan_cross(index);
            }
            Happening::Sample => self.sample(),
        }
    }

    /// Takes what a peer has to send to its path, and plans its next look at the clock.
    fn after_peer(&mut self, peer: usize) {
        let now = self.now;
        let person = self.peers[peer].peer.person;
        let mut list = self.peers[peer].peer.take();
        for outgoing in list.drain(..) {
            if let Some(Carried::Video(label)) = &outgoing.carries {
                self.truth.on_sent(label);
            }
            let passage = self.paths.up(now, person, outgoing.bytes.len());
            if let Some(at) = passage.duplicate {
                let (bytes, carries) = (outgoing.bytes.clone(), outgoing.carries);
                self.queue.plan(at, Happening::ToServer { peer, bytes, carries });
            }
            match passage.first {
                Some(at) => {
                    let (bytes, carries) = (outgoing.bytes, outgoing.carries);
                    self.queue.plan(at, Happening::ToServer { peer, bytes, carries });
                }
                None => self.peers[peer].peer.recycle(outgoing.bytes),
            }
        }
        let connected = &mut self.peers[peer].peer;
        connected.recycle_list(list);
        let deadline = connected.poll_deadline().max(now);
        if deadline < connected.wake_at {
            connected.wake_at = deadline;
            self.queue.plan(deadline, Happening::Wake { peer });
        }
    }

    fn reach_server(&mut self, peer: usize, mut bytes: Vec<u8>, carries: Option<Carried>) {
        let now = self.now;
        self.trace.add_datagram(now, peer, &bytes);
        match carries {
            Some(Carried::Video(label)) => self.truth.on_arrived(now, &label),
            Some(Carried::Audio) => self.truth.on_spoken(now, self.peers[peer].peer.index),
            None => {}
        }
        let datagram = Datagram {
            from: address(peer).into(),
            to: SERVER,
            received: now,
            data: &mut bytes,
        };
        let core = usize::from(self.peers[peer].peer.session.core());
        self.shards[core].handle_datagram(now, datagram);
        self.peers[peer].peer.recycle(bytes);
    }

    fn flush_shard(&mut self, core: usize) {
        let mut batch = self.batch.take().unwrap_or_default();
        loop {
            batch.clear();
            self.shards[core].poll_transmit(self.now, &mut batch);
            if batch.is_empty() {
                break;
            }
            for run in batch.runs() {
                assert_eq!(run.from, SERVER, "replies leave from where the peer sends to");
                let peer = peer_at(run.to.socket());
                for datagram in batch.bytes(run).chunks(usize::from(run.segment)) {
                    self.leave_server(peer, datagram);
                }
            }
        }
        self.batch = Some(batch);
    }

    /// A datagram leaves the server: it is opened and noted, and goes its way.
    fn leave_server(&mut self, peer: usize, datagram: &[u8]) {
        let now = self.now;
        self.trace.add_datagram(now, peer, datagram);
        self.scratch.clear();
        self.scratch.extend_from_slice(datagram);
        let Connected {
            peer: to,
            logs,
            measures,
        } = &mut self.peers[peer];
        let delivery = match to.open(&mut self.scratch) {
            Ok(delivery) => delivery,
            Err(what) => {
                self.measures.fault(now, format!("to {}: {what}", to.index));
                return;
            }
        };
        let passage = self.paths.down(now, to.person, datagram.len());
        if let Delivery::Media(media) = &delivery {
            measures.sent_bytes += datagram.len() as u64;
            match media.content {
                Content::Video(facts) => logs[usize::from(media.slot)].push(
                    now,
                    media.sequence,
                    media.timestamp,
                    media.marker,
                    media.again,
                    facts,
                ),
                Content::Audio(_) if passage.lost_on_wire => measures.audio_lost_on_wire += 1,
                Content::Audio(_) => {}
                Content::Padding => measures.padding += 1,
            }
        }
        if let Some(at) = passage.duplicate {
            let delivery = delivery.clone();
            self.queue.plan(at, Happening::ToPeer { peer, delivery });
        }
        if let Some(at) = passage.first {
            self.queue.plan(at, Happening::ToPeer { peer, delivery });
        }
    }
}

/// Where a peer is: its index is in the address.
fn address(peer: usize) -> SocketAddr {
    let [high, low] = (peer as u16).to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, 0, high, low), 40_000))
}

fn peer_at(address: SocketAddr) -> usize {
    match address.ip() {
        IpAddr::V4(ip) => usize::from(u16::from_be_bytes([ip.octets()[2], ip.octets()[3]])),
        IpAddr::V6(_) => panic!("no peer is at {address}"),
    }
}
