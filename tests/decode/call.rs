//! A shard, a publisher beside it and a subscriber behind a path, in virtual time.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kall_dataplane::dtls::Identity;
use kall_dataplane::shard::{Datagram, Shard, ShardConfig, TransmitBatch};
use kall_dataplane::srtp::SessionKeys;
use kall_dataplane::time::{Time, WallClock};
use kall_network::{Link, LinkConfig, Random};
use kall_shared::id::{Mid, Rid, RoomId, SessionId, TrackId};
use kall_shared::link::{Event, Request, Response, ToControl, ToData};
use kall_shared::media::{
    Codec, CodecParams, Extension, ExtensionParams, Feedback, Fingerprint, Kind, MediaLine, PublishParams,
    RemoteTransport, SessionDescription, SessionParams, SlotWish, Source,
};

use crate::clip::{Clip, Coding};
use crate::publisher::{Publisher, RIDS};
use crate::subscriber::Subscriber;
use crate::transport::{self, Transport};

/// How often the two sides look at the clock.
const TICK: Duration = Duration::from_millis(5);

/// Turns without time passing that can only be a busy loop.
const TURNS_MAX: u32 = 100;

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

/// The two sides.
const PUBLISHER: usize = 0;
const SUBSCRIBER: usize = 1;
const UFRAGS: [&str; 2] = ["pubfrag", "subfrag"];

/// Payload types of a codec, the same for both sides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Types {
    pub(crate) pt: u8,
    pub(crate) rtx_pt: u8,
}

pub(crate) fn formats(coding: Coding) -> Types {
    match coding.codec {
        Codec::Vp8 => Types { pt: 96, rtx_pt: 97 },
        Codec::H264 => Types { pt: 102, rtx_pt: 103 },
        Codec::Vp9 => Types { pt: 98, rtx_pt: 99 },
        Codec::Av1 => Types { pt: 45, rtx_pt: 46 },
        other => panic!("{other:?} is no picture"),
    }
}

/// Ids of header extensions.
pub(crate) mod formats {
    pub(crate) const TRANSPORT: u8 = 4;
    pub(crate) const MID: u8 = 9;
    pub(crate) const RID: u8 = 10;
    pub(crate) const REPAIRED_RID: u8 = 11;
    pub(crate) const DESCRIPTOR: u8 = 13;
}

/// A datagram on its way: whose it is, whether to the server, and its bytes.
struct InFlight {
    side: usize,
    to_server: bool,
    bytes: Vec<u8>,
}

pub(crate) struct Call {
    pub(crate) now: Time,
    shard: Shard,
    batch: TransmitBatch,
    sessions: [SessionId; 2],
    pub(crate) publisher: Publisher,
    pub(crate) subscriber: Subscriber,
    /// By side, to the server and back.
    links: [[Link; 2]; 2],
    in_flight: BTreeMap<(Time, u64), InFlight>,
    datagrams: u64,
    next_tick: Time,
}

impl Call {
    /// `path` is the subscriber's, both ways; the publisher's is 10 ms long and perfect.
    pub(crate) fn new(clip: &Arc<Clip>, path: &LinkConfig, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut shard_seed = [0; 32];
        random.fill(&mut shard_seed);
        let config = ShardConfig {
            core: 0,
            udp_port: 5004,
            identity: Arc::new(Identity::generate().expect("a certificate")),
            wall: WallClock::new(Duration::from_secs(1_800_000_000)),
            seed: shard_seed,
        };
        let mut shard = Shard::new(config, Time::ZERO);
        let [(publishing, own), (subscribing, others)] =
            [PUBLISHER, SUBSCRIBER].map(|side| create(&mut shard, side, clip.coding));
        let slot = others.slots[0].clone();
        let [own, others] = [(publishing, own, PUBLISHER), (subscribing, others, SUBSCRIBER)].map(
            |(session, description, side)| {
                let (profile, material) = transport::material(&mut random);
                let keys = SessionKeys::from_exporter(profile, &material).expect("as long as it must be");
                assert!(shard.inject_keys(Time::ZERO, session, &keys));
                Transport::new(UFRAGS[side], description, &material)
            },
        );
        let near = LinkConfig {
            delay: Duration::from_millis(10),
            ..LinkConfig::default()
        };
        let links = [&near, path].map(|config| [(); 2].map(|()| Link::new(config.clone(), random.bits())));
        Self {
            now: Time::ZERO,
            shard,
            batch: TransmitBatch::new(),
            sessions: [publishing, subscribing],
            publisher: Publisher::new(own, clip.clone()),
            subscriber: Subscriber::new(others, clip, slot),
            links,
            in_flight: BTreeMap::new(),
            datagrams: 0,
            next_tick: Time::ZERO,
        }
    }

    /// The subscriber wants the publisher's picture, as `wish` says.
    pub(crate) fn wish(&mut self, wish: SlotWish) {
        let request = Request::SetSlot {
            session: self.sessions[SUBSCRIBER],
            mid: mid(),
            track: Some(track()),
            wish,
        };
        let (answer, events) = ask(&mut self.shard, self.now, request);
        assert!(matches!(answer, Response::Done), "{answer:?}");
        for event in &events {
            self.on_event(event);
        }
    }

    /// A counter of the shard.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let stats = self.shard.stats();
        let found = stats.cores[0].counters.get(name);
        *found.unwrap_or_else(|| panic!("no counter {name}"))
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
        let now = self.now;
        while let Some(entry) = self.in_flight.first_entry()
            && entry.key().0 <= now
        {
            let datagram = entry.remove();
            self.deliver(datagram);
        }
        if self.shard.poll_deadline() <= now {
            self.shard.handle_timeout(now);
        }
        self.shard.run_handshakes(now, || true);
        self.send_from_server();
        while let Some(message) = self.shard.poll_event() {
            let ToControl::Event(event) = message else {
                panic!("{message:?} answers nothing");
            };
            self.on_event(&event);
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.publisher.tick(now);
            self.subscriber.tick(now);
        }
        self.send_to_server();
    }

    fn on_event(&mut self, event: &Event) {
        if let Event::Dynacast { layers, .. } = event {
            for (rid, wanted) in layers {
                self.publisher.on_dynacast(rid.as_str(), *wanted);
            }
        }
    }

    fn deliver(&mut self, mut datagram: InFlight) {
        let now = self.now;
        match (datagram.to_server, datagram.side) {
            (true, side) => self.shard.handle_datagram(
                now,
                Datagram {
                    from: address(side).into(),
                    to: SERVER,
                    received: now,
                    data: &mut datagram.bytes,
                },
            ),
            (false, PUBLISHER) => self.publisher.handle_datagram(&datagram.bytes),
            (false, _) => self.subscriber.handle_datagram(now, &datagram.bytes),
        }
    }

    fn send_from_server(&mut self) {
        loop {
            self.batch.clear();
            self.shard.poll_transmit(self.now, &mut self.batch);
            if self.batch.is_empty() {
                return;
            }
            let mut sent = Vec::new();
            for run in self.batch.runs() {
                let side = [PUBLISHER, SUBSCRIBER]
                    .into_iter()
                    .find(|side| address(*side) == run.to.socket())
                    .expect("one of the two");
                let segments = self.batch.bytes(run).chunks(usize::from(run.segment));
                sent.extend(segments.map(|segment| (side, segment.to_vec())));
            }
            for (side, bytes) in sent {
                self.launch(side, false, &bytes);
            }
        }
    }

    fn send_to_server(&mut self) {
        let mut sent = Vec::new();
        for (side, outgoing) in [
            (PUBLISHER, &mut self.publisher.transport.outgoing),
            (SUBSCRIBER, &mut self.subscriber.transport.outgoing),
        ] {
            sent.extend(outgoing.drain(..).map(|bytes| (side, bytes)));
        }
        for (side, bytes) in sent {
            self.launch(side, true, &bytes);
        }
    }

    fn launch(&mut self, side: usize, to_server: bool, bytes: &[u8]) {
        let link = &mut self.links[side][usize::from(to_server)];
        let now = Duration::from_nanos(self.now.as_nanos());
        for at in link.send(now, bytes.len()) {
            self.datagrams += 1;
            let at = Time::ZERO + at;
            let datagram = InFlight {
                side,
                to_server,
                bytes: bytes.to_owned(),
            };
            self.in_flight.insert((at, self.datagrams), datagram);
        }
    }
}

/// What the control plane asks; it must be granted. Also what happened meanwhile.
fn ask(shard: &mut Shard, now: Time, request: Request) -> (Response, Vec<Event>) {
    shard.handle_command(now, ToData { id: 1, request });
    let mut answer = None;
    let mut events = Vec::new();
    while let Some(message) = shard.poll_event() {
        match message {
            ToControl::Answer { result, .. } => answer = Some(result.expect("granted")),
            ToControl::Event(event) => events.push(event),
        }
    }
    (answer.expect("an answer at once"), events)
}

fn create(shard: &mut Shard, side: usize, coding: Coding) -> (SessionId, SessionDescription) {
    let request = Request::CreateSession {
        room: RoomId::new("rm_decode").expect("a legal name"),
        label: Vec::new(),
        params: params(side, coding),
        returns: false,
    };
    let (Response::Session { session, description }, _) = ask(shard, Time::ZERO, request) else {
        panic!("not a session");
    };
    (session, description)
}

fn address(side: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, side as u8 + 1), 40_000))
}

fn mid() -> Mid {
    Mid::new("0").expect("a legal mid")
}

fn track() -> TrackId {
    TrackId::new("tr_camera").expect("a legal name")
}

/// Rids in the order of the offer, of one stream none: from the largest for H264, so that nothing can rely on the order.
fn rids(coding: Coding) -> Vec<Rid> {
    if coding.leaning().is_some() {
        return Vec::new();
    }
    let mut rids = RIDS.map(|rid| Rid::new(rid).expect("a legal rid")).to_vec();
    if coding.codec == Codec::H264 {
        rids.reverse();
    }
    rids
}

fn params(side: usize, coding: Coding) -> SessionParams {
    let Types { pt, rtx_pt } = formats(coding);
    let extension = |id, extension| ExtensionParams { id, extension };
    let publishes = side == PUBLISHER;
    SessionParams {
        transport: RemoteTransport {
            ufrag: UFRAGS[side].to_owned(),
            pwd: "the-password-of-this-client".to_owned(),
            fingerprints: vec![Fingerprint { sha256: [7; 32] }],
        },
        lines: vec![MediaLine {
            mid: mid(),
            kind: Kind::Video,
            codecs: vec![CodecParams {
                pt,
                rtx_pt: Some(rtx_pt),
                codec: coding.codec,
                h264_profile: (coding.codec == Codec::H264).then_some(0x42_e01f),
                feedback: Feedback {
                    nack: true,
                    pli: true,
                    fir: false,
                    transport_cc: true,
                    remb: false,
                },
            }],
            extensions: vec![
                extension(formats::TRANSPORT, Extension::TransportCc),
                extension(formats::MID, Extension::Mid),
                extension(formats::RID, Extension::Rid),
                extension(formats::REPAIRED_RID, Extension::RepairedRid),
                extension(formats::DESCRIPTOR, Extension::DependencyDescriptor),
            ],
            publish: publishes.then(|| PublishParams {
                track: track(),
                source: Source::Camera,
                rids: rids(coding),
                ssrcs: Vec::new(),
                muted: false,
            }),
            slot: !publishes,
        }],
    }
}
