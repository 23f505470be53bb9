//! A shard with simulated peers around it: commands and sealed datagrams in, events and sealed
//! datagrams out, in virtual time. The peers use the wire and SRTP parts of this crate with keys
//! given to both sides; the handshake has its own tests.

mod forwarding;
mod hearing;
mod hostile;
mod lifecycle;
mod moving;
mod overload;
mod paths;
mod relaying;
mod repair;
mod scalable;
mod simulcast;
mod soak;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use kall_shared::id::{Mid, Rid, RoomId, SessionId, TrackId};
use kall_shared::link::{
    Event, Refusal, Request, Response, SessionSnapshot, SlotReason, SlotSnapshot, ToControl, ToData,
};
use kall_shared::media::{
    Codec, CodecParams, Extension, ExtensionParams, Feedback, Fingerprint, Kind, MediaLine, PublishParams,
    RemoteTransport, SessionDescription, SessionParams, SlotWish, Source,
};

use super::{Datagram, Shard, ShardConfig, TransmitBatch};
use crate::address::TransportAddress;
use crate::dtls::Identity;
use crate::forward::slot::Slot;
use crate::srtp::{EgressGuard, Inbound, MasterKey, Outbound, Profile, SessionKeys};
use crate::time::{Time, WallClock};
use crate::wire::demux::{Class, classify};
use crate::wire::rtp::{HeaderFields, Packet, write_header};
use crate::wire::stun::{self, BindingRequest, Role, TransactionId, write_binding_request};

/// Our own address; peers differ in their port.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Header extension ids of every simulated peer.
const MID_ID: u8 = 3;
const RID_ID: u8 = 4;
const TWCC_ID: u8 = 5;
const LEVEL_ID: u8 = 6;
const DESCRIPTOR_ID: u8 = 13;

const OPUS: u8 = 111;
const VP8: u8 = 96;
const VP8_RTX: u8 = 97;
const H264: u8 = 102;
const VP9: u8 = 98;
const AV1: u8 = 45;

/// The shard, its clock, and what it said so far.
struct World {
    shard: Shard,
    now: Time,
    last_id: u64,
    events: Vec<Event>,
    sent: Vec<(SocketAddr, Vec<u8>)>,
}

/// A peer's end of one session.
struct Peer {
    id: SessionId,
    description: SessionDescription,
    address: SocketAddr,
    outbound: Outbound,
    inbound: Inbound,
    guards: HashMap<u32, EgressGuard>,
}

/// An opened packet, by value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    header: HeaderFields,
    mid: Option<String>,
    level: Option<u8>,
    descriptor: Option<Vec<u8>>,
    payload: Vec<u8>,
}

/// What a peer sends; the rest is the peer's.
#[derive(Debug, Clone, Copy)]
struct Media<'a> {
    pt: u8,
    ssrc: u32,
    seq: u64,
    ts: u32,
    marker: bool,
    extensions: &'a [(u8, &'a [u8])],
    payload: &'a [u8],
}

impl World {
    fn new() -> Self {
        Self::on_core(1)
    }

    fn on_core(core: u8) -> Self {
        let config = ShardConfig {
            core,
            udp_port: 40_000,
            identity: Identity::generate().expect("a certificate").into(),
            wall: WallClock::new(Duration::from_secs(1_800_000_000)),
            seed: [7; 32],
        };
        let now = Time::from_millis(1000);
        Self {
            shard: Shard::new(config, now),
            now,
            last_id: 0,
            events: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn ask(&mut self, request: Request) -> Result<Response, Refusal> {
        self.last_id += 1;
        let id = self.last_id;
        self.shard.handle_command(self.now, ToData { id, request });
        let mut answer = None;
        while let Some(message) = self.shard.poll_event() {
            match message {
                ToControl::Answer { id: of, result } => {
                    assert_eq!(of, id);
                    answer = Some(result);
                }
                ToControl::Event(event) => self.events.push(event),
            }
        }
        answer.expect("every request is answered")
    }

    /// A session without an address and keys.
    fn open(&mut self, room: &str, lines: Vec<MediaLine>) -> (SessionId, SessionDescription) {
        let request = Request::CreateSession {
            room: RoomId::new(room).expect("valid"),
            label: b"label".to_vec(),
            params: params(lines),
            returns: false,
        };
        match self.ask(request).expect("accepted") {
            Response::Session { session, description } => (session, description),
            other => panic!("{other:?}"),
        }
    }

    /// A connected peer on `port`.
    fn join(&mut self, room: &str, port: u16, lines: Vec<MediaLine>) -> Peer {
        let (id, description) = self.open(room, lines);
        let keys = keys(id);
        let peer = Peer {
            id,
            description,
            address: SocketAddr::from(([192, 0, 2, 9], port)),
            outbound: Outbound::new(&keys.client),
            inbound: Inbound::new(&keys.server),
            guards: HashMap::new(),
        };
        self.check(&peer);
        assert!(self.shard.inject_keys(self.now, id, &keys));
        self.gather();
        peer
    }

    /// A connectivity check of a peer, from its address.
    fn check(&mut self, peer: &Peer) {
        let mut datagram = check_of(&peer.description);
        self.receive(peer.address, &mut datagram);
    }

    fn receive(&mut self, from: impl Into<TransportAddress>, data: &mut [u8]) {
        let datagram = Datagram {
            from: from.into(),
            to: LOCAL,
            received: self.now,
            data,
        };
        self.shard.handle_datagram(self.now, datagram);
    }

    /// Sends everything that waits and takes in events.
    fn gather(&mut self) {
        let mut batch = TransmitBatch::new();
        loop {
            batch.clear();
            self.shard.poll_transmit(self.now, &mut batch);
            if batch.is_empty() {
                break;
            }
            for run in batch.runs() {
                for datagram in batch.bytes(run).chunks(usize::from(run.segment)) {
                    self.sent.push((run.to.socket(), datagram.to_vec()));
                }
            }
        }
        while let Some(message) = self.shard.poll_event() {
            if let ToControl::Event(event) = message {
                self.events.push(event);
            }
        }
    }

    /// Lets time pass, timer by timer.
    fn pass(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        self.gather();
        for _ in 0..100_000 {
            let due = self.shard.poll_deadline().max(self.now);
            if due > until {
                self.now = until;
                return;
            }
            self.now = due;
            self.shard.handle_timeout(due);
            self.shard.run_handshakes(due, || true);
            self.gather();
        }
        panic!("timers never rest");
    }

    /// What a peer was sent since the last call: RTP opened, and RTCP compounds opened.
    fn taken(&mut self, peer: &mut Peer) -> (Vec<Got>, Vec<Vec<u8>>) {
        self.gather();
        let (mut media, mut feedback) = (Vec::new(), Vec::new());
        let mut others = Vec::new();
        for (to, mut datagram) in std::mem::take(&mut self.sent) {
            if to != peer.address {
                others.push((to, datagram));
                continue;
            }
            match classify(&datagram) {
                Class::Rtp => {
                    let opened = peer.inbound.unprotect_rtp(&mut datagram).expect("authentic");
                    media.push(got(&datagram[..opened.len]));
                }
                Class::Rtcp => {
                    let len = peer.inbound.unprotect_rtcp(&mut datagram).expect("authentic");
                    feedback.push(datagram[..len].to_vec());
                }
                _ => {}
            }
        }
        self.sent = others;
        (media, feedback)
    }

    fn media_of(&mut self, peer: &mut Peer) -> Vec<Got> {
        self.taken(peer).0
    }

    fn send(&mut self, peer: &mut Peer, media: Media<'_>) {
        let mut datagram = peer.seal(media);
        self.receive(peer.address, &mut datagram);
    }

    fn send_rtcp(&mut self, peer: &mut Peer, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
        let mut buf = [0; 1500];
        let len = write(&mut buf).expect("fits");
        let sealed = peer.outbound.seal_rtcp(&mut buf, len).expect("sealed");
        self.receive(peer.address, &mut buf[..sealed]);
    }

    fn counter(&self, name: &str) -> u64 {
        self.shard.counters.to_map()[name]
    }

    fn show(&mut self, peer: &Peer, mid: &str, track: Option<&str>) {
        let request = Request::SetSlot {
            session: peer.id,
            mid: Mid::new(mid).expect("valid"),
            track: track.map(|track| TrackId::new(track).expect("valid")),
            wish: SlotWish::default(),
        };
        self.ask(request).expect("accepted");
    }

    fn mute(&mut self, peer: &Peer, track: &str, muted: bool) {
        let request = Request::SetMuted {
            session: peer.id,
            track: TrackId::new(track).expect("valid"),
            muted,
        };
        self.ask(request).expect("accepted");
    }

    fn snapshot(&mut self) -> Vec<SessionSnapshot> {
        match self.ask(Request::Snapshot { after: None }) {
            Ok(Response::Snapshot {
                sessions,
                more: false,
            }) => sessions,
            other => panic!("{other:?}"),
        }
    }

    fn slot(&mut self, peer: &Peer, mid: &str) -> SlotSnapshot {
        let snapshot = self.snapshot();
        let session = snapshot.iter().find(|session| session.session == peer.id);
        let mut slots = session.expect("there").slots.iter();
        slots
            .find(|slot| slot.mid.as_str() == mid)
            .expect("a slot")
            .clone()
    }

    /// Who feeds a slot.
    fn seen(&mut self, peer: &Peer, mid: &str) -> Option<String> {
        self.slot(peer, mid).track.map(|track| track.to_string())
    }
}

impl Peer {
    fn seal(&mut self, media: Media<'_>) -> Vec<u8> {
        let mut buf = vec![0; 1500];
        let fields = HeaderFields {
            marker: media.marker,
            payload_type: media.pt,
            sequence: media.seq as u16,
            timestamp: media.ts,
            ssrc: media.ssrc,
        };
        let header = write_header(&mut buf, &fields, media.extensions).expect("fits");
        let plain = header + media.payload.len();
        buf[header..plain].copy_from_slice(media.payload);
        let guard = self.guards.entry(media.ssrc).or_default();
        let sealed = self.outbound.seal_rtp(guard, &mut buf, header, plain, media.seq);
        buf.truncate(sealed.expect("sealed"));
        buf
    }

    fn slot_ssrc(&self, mid: &str) -> u32 {
        let mut slots = self.description.slots.iter();
        slots.find(|slot| slot.mid.as_str() == mid).expect("a slot").ssrc
    }
}

fn got(packet: &[u8]) -> Got {
    let packet = Packet::parse(packet).expect("well-formed");
    let text = |id| {
        packet
            .extension(id)
            .map(|data| String::from_utf8_lossy(data).into())
    };
    Got {
        header: packet.fields(),
        mid: text(MID_ID),
        level: packet.extension(LEVEL_ID).map(|data| data[0]),
        descriptor: packet.extension(DESCRIPTOR_ID).map(<[u8]>::to_vec),
        payload: packet.payload().to_vec(),
    }
}

fn check_of(description: &SessionDescription) -> Vec<u8> {
    check_from(description, "peer")
}

/// A nominating check of the peer with this user fragment.
fn check_from(description: &SessionDescription, theirs: &str) -> Vec<u8> {
    let mut buf = [0; 500];
    let username = format!("{}:{theirs}", description.ufrag);
    let request = BindingRequest {
        transaction_id: TransactionId([5; 12]),
        username: username.as_bytes(),
        password: description.pwd.as_bytes(),
        priority: 1,
        role: Role::Controlling(1),
        use_candidate: true,
        nomination: None,
    };
    let len = write_binding_request(&mut buf, &request).expect("fits");
    assert!(stun::Message::parse(&buf[..len]).is_ok());
    buf[..len].to_vec()
}

/// Keys that differ from session to session.
fn keys(session: SessionId) -> SessionKeys {
    let profile = Profile::AeadAes128Gcm;
    let key = |side: u8| {
        let mut key = [side; 16];
        key[..8].copy_from_slice(&session.0.to_be_bytes());
        MasterKey::new(profile, &key, &[side; 12]).expect("right lengths")
    };
    SessionKeys {
        profile,
        client: key(1),
        server: key(2),
    }
}

fn params(lines: Vec<MediaLine>) -> SessionParams {
    SessionParams {
        transport: RemoteTransport {
            ufrag: "peer".into(),
            pwd: "a password of a simulated peer".into(),
            fingerprints: vec![Fingerprint { sha256: [3; 32] }],
        },
        lines,
    }
}

fn line(mid: &str, kind: Kind) -> MediaLine {
    let codec = |pt, rtx_pt, codec, h264_profile| CodecParams {
        pt,
        rtx_pt,
        codec,
        h264_profile,
        feedback: Feedback {
            nack: true,
            pli: true,
            fir: false,
            transport_cc: true,
            remb: false,
        },
    };
    let codecs = match kind {
        Kind::Audio => vec![codec(OPUS, None, Codec::Opus, None)],
        Kind::Video => vec![
            codec(VP8, Some(VP8_RTX), Codec::Vp8, None),
            codec(H264, None, Codec::H264, Some(0x42_e01f)),
            codec(VP9, None, Codec::Vp9, None),
            codec(AV1, None, Codec::Av1, None),
        ],
    };
    let extensions = [
        (MID_ID, Extension::Mid),
        (RID_ID, Extension::Rid),
        (TWCC_ID, Extension::TransportCc),
        (LEVEL_ID, Extension::AudioLevel),
        (DESCRIPTOR_ID, Extension::DependencyDescriptor),
    ];
    MediaLine {
        mid: Mid::new(mid).expect("valid"),
        kind,
        codecs,
        extensions: extensions
            .map(|(id, extension)| ExtensionParams { id, extension })
            .to_vec(),
        publish: None,
        slot: false,
    }
}

fn publishing(mid: &str, source: Source, track: &str, rids: &[&str]) -> MediaLine {
    MediaLine {
        publish: Some(PublishParams {
            track: TrackId::new(track).expect("valid"),
            source,
            rids: rids.iter().map(|rid| Rid::new(*rid).expect("valid")).collect(),
            ssrcs: Vec::new(),
            muted: false,
        }),
        ..line(mid, source.kind())
    }
}

fn slot(mid: &str, kind: Kind) -> MediaLine {
    MediaLine {
        slot: true,
        ..line(mid, kind)
    }
}

/// An Opus packet on the line `mid`.
fn opus<'a>(seq: u64, extensions: &'a [(u8, &'a [u8])], payload: &'a [u8]) -> Media<'a> {
    Media {
        pt: OPUS,
        ssrc: 11,
        seq,
        ts: seq as u32 * 960,
        marker: false,
        extensions,
        payload,
    }
}

/// A VP8 frame of one packet: key frame or not, picture id of 15 bits.
fn vp8_payload(key: bool, picture: u16) -> Vec<u8> {
    let [high, low] = picture.to_be_bytes();
    let mut payload = vec![0x90, 0x80, 0x80 | high, low];
    if key {
        payload.extend_from_slice(&[0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
    } else {
        payload.extend_from_slice(&[0x11, 0x02, 0x00]);
    }
    payload.extend_from_slice(&[picture as u8; 20]);
    payload
}

/// Frame number `seq` of a camera that sends one packet a frame.
fn frame<'a>(seq: u64, payload: &'a [u8], extensions: &'a [(u8, &'a [u8])]) -> Media<'a> {
    Media {
        pt: VP8,
        ssrc: 22,
        seq,
        ts: seq as u32 * 3000,
        marker: true,
        extensions,
        payload,
    }
}

const MIC: &[(u8, &[u8])] = &[(MID_ID, b"0")];
const CAM: &[(u8, &[u8])] = &[(MID_ID, b"1")];

/// What a person's browser offers: own sound and picture, and two slots of each.
fn person(name: &str) -> Vec<MediaLine> {
    vec![
        publishing("0", Source::Microphone, &format!("{name}_mic"), &[]),
        publishing("1", Source::Camera, &format!("{name}_cam"), &[]),
        slot("2", Kind::Audio),
        slot("3", Kind::Audio),
        slot("4", Kind::Video),
        slot("5", Kind::Video),
    ]
}

/// Two connected people in a room.
fn two() -> (World, Peer, Peer) {
    let mut world = World::new();
    let ada = world.join("rm_1", 1001, person("ada"));
    let bob = world.join("rm_1", 1002, person("bob"));
    (world, ada, bob)
}

/// Sends one VP8 frame of a peer.
fn film(world: &mut World, peer: &mut Peer, seq: u64, key: bool) {
    let payload = vp8_payload(key, seq as u16);
    world.send(peer, frame(seq, &payload, CAM));
}

fn codec_reason(slot: &SlotSnapshot) -> bool {
    slot.reason == Some(SlotReason::Codec)
}
