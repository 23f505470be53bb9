//! A shard, two clients and the paths between them, in virtual time: events happen in the order of
//! their time, and nothing else decides.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kall_dataplane::dtls::Identity;
use kall_dataplane::shard::{Datagram, Shard, ShardConfig, TransmitBatch};
use kall_dataplane::srtp::{Profile, SessionKeys};
use kall_dataplane::time::{Time, WallClock};
use kall_shared::id::{Mid, RoomId, SessionId, TrackId};
use kall_shared::link::{Event, Request, Response, ToControl, ToData};
use kall_shared::media::{
    Codec, CodecParams, Extension, ExtensionParams, Feedback, Fingerprint, Kind, MediaLine, PublishParams,
    RemoteTransport, SessionDescription, SessionParams, SlotWish, Source,
};

use crate::link::{Link, Quality};
use crate::peer::{Formats, Keys, Peer};
use crate::publish::Publisher;
use crate::random::Random;
use crate::receive::Receiver;

/// How often clients look at the clock.
const CLIENT_TICK: Duration = Duration::from_millis(5);

/// When media begins; checks are done by then.
pub(crate) const MEDIA_START: Time = Time::from_millis(300);

/// Turns without time passing that can only be a busy loop.
const TURNS_MAX: u32 = 100;

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const NAMES: [&str; 3] = ["ann", "boris", "clara"];

const FORMATS: [Formats; 3] = [
    Formats {
        opus: 111,
        vp8: 96,
        rtx_pt: 97,
        mid: 9,
        transport: 4,
        level: 12,
    },
    Formats {
        opus: 109,
        vp8: 120,
        rtx_pt: 124,
        mid: 3,
        transport: 7,
        level: 1,
    },
    Formats {
        opus: 63,
        vp8: 35,
        rtx_pt: 36,
        mid: 14,
        transport: 1,
        level: 2,
    },
];

/// Runs the shard's part of a turn; a meter can look at what it does meanwhile.
pub(crate) type Meter = fn(&mut dyn FnMut()) -> u64;

enum Node {
    Server,
    Client(usize),
}

struct InFlight {
    to: Node,
    client: usize,
    /// The client's port when it left.
    port: u16,
    bytes: Vec<u8>,
    carries: Option<(u32, u64)>,
    transport: Option<u16>,
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) shard: Shard,
    batch: TransmitBatch,
    pub(crate) sessions: Vec<SessionId>,
    pub(crate) peers: Vec<Peer>,
    up: Vec<Link>,
    down: Vec<Link>,
    /// Where each client is; who moves gets nothing more of what goes to the old port.
    ports: Vec<u16>,
    in_flight: BTreeMap<(Time, u64), InFlight>,
    datagrams: u64,
    next_tick: Time,
    pub(crate) events: Vec<Event>,
    /// What reached the server: primary SSRC, and number on it.
    pub(crate) delivered: BTreeSet<(u32, u64)>,
    /// First arrival of each transport-wide number at the server, in ticks of 250 us.
    pub(crate) arrivals: Vec<BTreeMap<u16, i64>>,
    /// Over time, addresses and bytes of every datagram that arrived, and of every event.
    pub(crate) trace: Trace,
    meter: Meter,
    /// What the meter counted while packets were handled, and while timeouts were.
    pub(crate) metered: u64,
}

/// FNV-1a over everything that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace(u64);

impl Trace {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl World {
    /// Clients of one room, each of which receives the picture of the next.
    pub(crate) fn new(seed: u64, profile: Profile, quality: Quality, clients: usize, meter: Meter) -> Self {
        let mut random = Random::new(seed);
        let mut shard_seed = [0; 32];
        shard_seed.copy_from_slice(&random.bytes(32));
        let config = ShardConfig {
            core: 0,
            udp_port: 5004,
            identity: Arc::new(Identity::generate().expect("a certificate")),
            wall: WallClock::new(Duration::from_secs(1_800_000_000)),
            seed: shard_seed,
        };
        let mut world = Self {
            now: Time::ZERO,
            shard: Shard::new(config, Time::ZERO),
            batch: TransmitBatch::new(),
            sessions: Vec::new(),
            peers: Vec::new(),
            up: Vec::new(),
            down: Vec::new(),
            ports: vec![40_000; clients],
            in_flight: BTreeMap::new(),
            datagrams: 0,
            next_tick: Time::ZERO,
            events: Vec::new(),
            delivered: BTreeSet::new(),
            arrivals: vec![BTreeMap::new(); clients],
            trace: Trace(0xcbf2_9ce4_8422_2325),
            meter,
            metered: 0,
        };
        let sessions: Vec<(SessionId, SessionDescription)> =
            (0..clients).map(|client| world.join(client)).collect();
        for (client, (session, _)) in sessions.iter().enumerate() {
            world.sessions.push(*session);
            let track = track((client + 1) % clients, Kind::Video);
            let answer = world.ask(Request::SetSlot {
                session: *session,
                mid: mid("3"),
                track: Some(track),
                wish: SlotWish::default(),
            });
            assert!(matches!(answer, Response::Done), "{answer:?}");
        }
        for (client, (session, description)) in sessions.into_iter().enumerate() {
            let keys = world.key(session, profile, &mut random);
            world.peers.push(peer(client, description, &keys));
            world.up.push(Link::new(quality, random.next()));
            world.down.push(Link::new(quality, random.next()));
        }
        world
    }

    /// What the control plane asks; it must be granted.
    pub(crate) fn ask(&mut self, request: Request) -> Response {
        self.shard.handle_command(self.now, ToData { id: 1, request });
        let mut answer = None;
        while let Some(message) = self.shard.poll_event() {
            match message {
                ToControl::Answer { result, .. } => answer = Some(result.expect("granted")),
                ToControl::Event(event) => self.events.push(event),
            }
        }
        answer.expect("an answer at once")
    }

    /// A NAT before a client forgets it, and has another port for it from now on. Neither side knows.
    pub(crate) fn rebind(&mut self, client: usize) {
        self.ports[client] += 1;
    }

    /// A client restarts ICE: an offer with new credentials, and the answer's.
    pub(crate) fn restart_ice(&mut self, client: usize) {
        let mut params = params(client);
        params.transport.ufrag = format!("{}again", NAMES[client]);
        params.transport.pwd = "another-password-of-this-client".to_owned();
        let ufrag = params.transport.ufrag.clone();
        let request = Request::UpdateSession {
            session: self.sessions[client],
            label: None,
            params,
        };
        let Response::Session { description, .. } = self.ask(request) else {
            panic!("not a session");
        };
        self.peers[client].restart_ice(self.now, &ufrag, description);
    }

    fn join(&mut self, client: usize) -> (SessionId, SessionDescription) {
        let request = Request::CreateSession {
            room: RoomId::new("rm_sim").expect("a legal name"),
            label: Vec::new(),
            params: params(client),
            returns: false,
        };
        let Response::Session { session, description } = self.ask(request) else {
            panic!("not a session");
        };
        (session, description)
    }

    fn key(&mut self, session: SessionId, profile: Profile, random: &mut Random) -> Keys {
        let (key, salt) = (profile.key_len(), profile.salt_len());
        let material = random.bytes(2 * (key + salt));
        let keys = SessionKeys::from_exporter(profile, &material).expect("as long as it must be");
        assert!(self.shard.inject_keys(self.now, session, &keys));
        let (writing, salts) = material.split_at(2 * key);
        Keys {
            profile,
            client: (writing[..key].to_vec(), salts[..salt].to_vec()),
            server: (writing[key..].to_vec(), salts[salt..].to_vec()),
        }
    }

    /// Lets everything happen that is due before `end`.
    pub(crate) fn run_until(&mut self, end: Time) {
        let mut turns = 0;
        loop {
            let arrival = self.in_flight.first_key_value().map(|((at, _), _)| *at);
            let next = self
                .shard
                .poll_deadline()
                .min(self.next_tick)
                .min(arrival.unwrap_or(Time::FAR_FUTURE))
                .max(self.now);
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
        while let Some(entry) = self.in_flight.first_entry()
            && entry.key().0 <= self.now
        {
            let datagram = entry.remove();
            self.deliver(datagram);
        }
        let now = self.now;
        if self.shard.poll_deadline() <= now {
            self.shard.handle_timeout(now);
        }
        self.shard.run_handshakes(now, || true);
        self.flush_shard();
        while let Some(message) = self.shard.poll_event() {
            let ToControl::Event(event) = message else {
                panic!("{message:?} answers nothing");
            };
            self.trace.add(format!("{now:?}{event:?}").as_bytes());
            self.events.push(event);
        }
        if now >= self.next_tick {
            self.next_tick = now + CLIENT_TICK;
            for client in 0..self.peers.len() {
                self.peers[client].tick(now);
            }
        }
        for client in 0..self.peers.len() {
            self.flush_client(client);
        }
    }

    fn deliver(&mut self, mut datagram: InFlight) {
        let now = self.now;
        self.trace.add(&now.as_nanos().to_be_bytes());
        self.trace.add(&[datagram.client as u8]);
        self.trace.add(&datagram.bytes);
        let client = datagram.client;
        match datagram.to {
            Node::Client(client) if datagram.port != self.ports[client] => {}
            Node::Client(client) => self.peers[client].handle_datagram(now, &datagram.bytes),
            Node::Server => {
                self.delivered.extend(datagram.carries);
                if let Some(transport) = datagram.transport {
                    let ticks = (now.as_nanos() / 250_000) as i64;
                    self.arrivals[client].entry(transport).or_insert(ticks);
                }
                let shard = &mut self.shard;
                self.metered += (self.meter)(&mut || {
                    let data = &mut datagram.bytes[..];
                    shard.handle_datagram(
                        now,
                        Datagram {
                            from: address(client, datagram.port).into(),
                            to: SERVER,
                            received: now,
                            data,
                        },
                    );
                });
            }
        }
    }

    fn flush_shard(&mut self) {
        loop {
            self.batch.clear();
            let (now, shard, batch) = (self.now, &mut self.shard, &mut self.batch);
            self.metered += (self.meter)(&mut || shard.poll_transmit(now, batch));
            if self.batch.is_empty() {
                return;
            }
            let mut sent = Vec::new();
            for run in self.batch.runs() {
                assert_eq!(run.from, SERVER, "replies leave from where the peer sends to");
                let client = (0..self.peers.len())
                    .find(|client| address(*client, 0).ip() == run.to.ip())
                    .expect("one of the clients");
                let port = run.to.socket().port();
                let segments = self.batch.bytes(run).chunks(usize::from(run.segment));
                sent.extend(segments.map(|segment| ((client, port), segment.to_vec())));
            }
            for (at_client, bytes) in sent {
                for at in self.down[at_client.0].arrivals(now) {
                    let to = Node::Client(at_client.0);
                    self.launch(at, to, at_client, bytes.clone(), None, None);
                }
            }
        }
    }

    fn flush_client(&mut self, client: usize) {
        while let Some(outgoing) = self.peers[client].poll_transmit() {
            for at in self.up[client].arrivals(self.now) {
                let bytes = outgoing.bytes.clone();
                self.launch(
                    at,
                    Node::Server,
                    (client, self.ports[client]),
                    bytes,
                    outgoing.carries,
                    outgoing.transport,
                );
            }
        }
    }

    fn launch(
        &mut self,
        at: Time,
        to: Node,
        (client, port): (usize, u16),
        bytes: Vec<u8>,
        carries: Option<(u32, u64)>,
        transport: Option<u16>,
    ) {
        self.datagrams += 1;
        let datagram = InFlight {
            to,
            client,
            port,
            bytes,
            carries,
            transport,
        };
        self.in_flight.insert((at, self.datagrams), datagram);
    }

    /// A counter of the shard.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let stats = self.shard.stats();
        *stats.cores[0]
            .counters
            .get(name)
            .unwrap_or_else(|| panic!("no counter {name}"))
    }
}

fn address(client: usize, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, client as u8 + 1), port))
}

pub(crate) fn mid(text: &str) -> Mid {
    Mid::new(text).expect("a legal mid")
}

pub(crate) fn track(client: usize, kind: Kind) -> TrackId {
    TrackId::new(format!("tr_{}_{kind:?}", NAMES[client])).expect("a legal name")
}

fn ufrag(client: usize) -> String {
    format!("{}frag", NAMES[client])
}

fn params(client: usize) -> SessionParams {
    let line = |text: &str, kind: Kind, publishes: bool| {
        let formats = FORMATS[client];
        let extension = |id, extension| ExtensionParams { id, extension };
        let source = match kind {
            Kind::Audio => Source::Microphone,
            Kind::Video => Source::Camera,
        };
        MediaLine {
            mid: mid(text),
            kind,
            codecs: vec![CodecParams {
                pt: formats.pt(kind),
                rtx_pt: (kind == Kind::Video).then_some(formats.rtx_pt),
                codec: match kind {
                    Kind::Audio => Codec::Opus,
                    Kind::Video => Codec::Vp8,
                },
                h264_profile: None,
                feedback: Feedback {
                    nack: true,
                    pli: kind == Kind::Video,
                    fir: false,
                    // These clients give none about what they receive.
                    transport_cc: publishes,
                    remb: false,
                },
            }],
            extensions: vec![
                extension(formats.mid, Extension::Mid),
                extension(formats.transport, Extension::TransportCc),
                extension(formats.level, Extension::AudioLevel),
            ],
            publish: publishes.then(|| PublishParams {
                track: track(client, kind),
                source,
                rids: Vec::new(),
                ssrcs: Vec::new(),
                muted: false,
            }),
            slot: !publishes,
        }
    };
    SessionParams {
        transport: RemoteTransport {
            ufrag: ufrag(client),
            pwd: "the-password-of-this-client".to_owned(),
            fingerprints: vec![Fingerprint { sha256: [7; 32] }],
        },
        lines: vec![
            line("0", Kind::Audio, true),
            line("1", Kind::Video, true),
            line("2", Kind::Audio, false),
            line("3", Kind::Video, false),
        ],
    }
}

fn peer(client: usize, description: SessionDescription, keys: &Keys) -> Peer {
    let formats = FORMATS[client];
    let ssrc = 1000 * (client as u32 + 1);
    let long_ids = client == 1;
    let name = client as u8;
    let publishers = vec![
        Publisher::new(name, Kind::Audio, "0", formats, ssrc, MEDIA_START, long_ids),
        Publisher::new(name, Kind::Video, "1", formats, ssrc + 10, MEDIA_START, long_ids),
    ];
    let receivers = description
        .slots
        .iter()
        .map(|slot| {
            let kind = if slot.mid == mid("2") {
                Kind::Audio
            } else {
                Kind::Video
            };
            let rtx_ssrc = slot.rtx_ssrc;
            (
                slot.mid.to_string(),
                Receiver::new(kind, formats, slot.ssrc, rtx_ssrc),
            )
        })
        .collect();
    Peer::new(
        NAMES[client],
        &ufrag(client),
        description,
        keys,
        publishers,
        receivers,
    )
}
