//! A shard and the load generator's clients in this process, in virtual time, over paths without loss.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kall_benches::load::client::{Client, Identity};
use kall_benches::load::engine::Media;
use kall_benches::load::publish::Publisher;
use kall_benches::load::sdp::{Answer, Credentials, OPUS, RTX, VP8, extension};
use kall_dataplane::dtls;
use kall_dataplane::shard::{Datagram, Shard, ShardConfig, TransmitBatch};
use kall_dataplane::time::{Time, WallClock};
use kall_shared::id::{Mid, Rid, RoomId, TrackId};
use kall_shared::link::{Request, Response, ToControl, ToData};
use kall_shared::media::{
    Codec, CodecParams, Extension, ExtensionParams, Feedback, Fingerprint, Kind, MediaLine, PublishParams,
    RemoteTransport, SessionParams, SlotWish, Source,
};

/// How often clients look at the clock.
const TICK: Duration = Duration::from_millis(1);

/// One way.
const DELAY: Duration = Duration::from_millis(10);

/// Between two that come.
const JOIN_SPACING: Duration = Duration::from_millis(5);

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const PORT: u16 = 5_004;

/// None of the packets is opened.
const NEVER: u32 = u32::MAX;

struct InFlight {
    at: Time,
    client: usize,
    bytes: Vec<u8>,
}

pub(crate) struct World {
    now: Time,
    shard: Shard,
    batch: TransmitBatch,
    clients: Vec<Client>,
    up: VecDeque<InFlight>,
    down: VecDeque<InFlight>,
    /// What the shard allocated while it handled datagrams and timeouts and wrote packets.
    pub(crate) allocations: u64,
}

impl World {
    /// A room of these publishers, and of subscribers with so many slots for sound and for pictures.
    pub(crate) fn new(publishers: &[Media], subscribers: usize, slots: (usize, usize)) -> Self {
        let config = ShardConfig {
            core: 0,
            udp_port: PORT,
            identity: Arc::new(dtls::Identity::generate().expect("a certificate")),
            wall: WallClock::new(Duration::from_secs(1_800_000_000)),
            seed: [7; 32],
        };
        let mut world = Self {
            now: Time::ZERO,
            shard: Shard::new(config, Time::ZERO),
            batch: TransmitBatch::new(),
            clients: Vec::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            allocations: 0,
        };
        let identity = Arc::new(Identity::generate().expect("a certificate"));
        for media in publishers {
            world.join(&identity, publishing(world.clients.len(), media), Some(media), 0);
        }
        let cameras = publishers.iter().filter(|media| media.camera.is_some()).count();
        for _ in 0..subscribers {
            world.join(&identity, watching(slots), None, cameras.min(slots.1));
        }
        world
    }

    /// A client comes; its first `pictures` slots for pictures have the cameras of the first publishers.
    fn join(
        &mut self,
        identity: &Arc<Identity>,
        lines: Vec<MediaLine>,
        media: Option<&Media>,
        pictures: usize,
    ) {
        self.run_until(self.now + JOIN_SPACING);
        let number = self.clients.len();
        let local = Credentials {
            ufrag: format!("client{number}"),
            password: "the-password-of-this-client".to_owned(),
        };
        let first_video = lines.iter().position(|line| line.kind == Kind::Video);
        let params = SessionParams {
            transport: RemoteTransport {
                ufrag: local.ufrag.clone(),
                pwd: local.password.clone(),
                fingerprints: vec![fingerprint(&identity.fingerprint)],
            },
            lines,
        };
        let room = RoomId::new("rm_steady").expect("a legal name");
        let create = Request::CreateSession {
            room,
            label: Vec::new(),
            params,
            returns: false,
        };
        let Response::Session { session, description } = self.ask(create) else {
            panic!("not a session");
        };
        for picture in 0..pictures {
            let line = first_video.expect("a line with pictures") + picture;
            let wish = Request::SetSlot {
                session,
                mid: mid(line),
                track: Some(track(picture, Kind::Video)),
                wish: SlotWish::default(),
            };
            assert!(matches!(self.ask(wish), Response::Done));
        }
        // 16 streams apart.
        let ssrc = (number as u32 + 1) << 4;
        let mut client = Client::new(identity, local, ssrc - 2);
        if let Some(media) = media {
            let wall = WallClock::new(Duration::from_secs(1_800_000_000));
            client.set_publisher(Publisher::new(wall, ssrc, media.volume, media.camera));
        }
        let credentials = Credentials {
            ufrag: description.ufrag,
            password: description.pwd,
        };
        let address = SocketAddr::new(SERVER, PORT);
        client.start(self.now, Answer { credentials, address });
        self.clients.push(client);
    }

    fn ask(&mut self, request: Request) -> Response {
        self.shard.handle_command(self.now, ToData { id: 1, request });
        let mut answer = None;
        while let Some(message) = self.shard.poll_event() {
            if let ToControl::Answer { result, .. } = message {
                answer = Some(result.expect("granted"));
            }
        }
        answer.expect("an answer at once")
    }

    /// A counter of the shard.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.shard.stats().cores[0].counters[name]
    }

    /// Lets everything happen that is due before `end`.
    pub(crate) fn run_until(&mut self, end: Time) {
        while self.now < end {
            self.now += TICK;
            self.run_clients();
            self.deliver_up();
            self.run_shard();
            self.deliver_down();
        }
    }

    fn run_clients(&mut self) {
        let Self { now, clients, up, .. } = self;
        for (client, state) in clients.iter_mut().enumerate() {
            if state.poll_deadline() <= *now {
                state.handle_timeout(*now, &mut |bytes| launch(up, *now, client, bytes));
            }
            if let Some(why) = &state.failed {
                panic!("client {client}: {why}");
            }
        }
    }

    fn deliver_up(&mut self) {
        while let Some(mut datagram) = self.up.pop_front_if(|datagram| datagram.at <= self.now) {
            let datagram = Datagram {
                from: address(datagram.client).into(),
                to: SERVER,
                received: datagram.at,
                data: &mut datagram.bytes,
            };
            let (now, shard) = (self.now, &mut self.shard);
            self.allocations += count(|| shard.handle_datagram(now, datagram));
        }
    }

    fn run_shard(&mut self) {
        let Self {
            now,
            shard,
            batch,
            down,
            ..
        } = self;
        if shard.poll_deadline() <= *now {
            self.allocations += count(|| shard.handle_timeout(*now));
        }
        self.allocations += count(|| _ = shard.run_handshakes(*now, || true));
        loop {
            batch.clear();
            self.allocations += count(|| shard.poll_transmit(*now, batch));
            if batch.is_empty() {
                break;
            }
            for run in batch.runs() {
                let client = client_at(run.to.socket());
                for segment in batch.bytes(run).chunks(usize::from(run.segment)) {
                    launch(down, *now, client, segment);
                }
            }
        }
        while shard.poll_event().is_some() {}
    }

    fn deliver_down(&mut self) {
        let Self {
            now,
            clients,
            up,
            down,
            ..
        } = self;
        while let Some(mut datagram) = down.pop_front_if(|datagram| datagram.at <= *now) {
            let client = datagram.client;
            clients[client].handle_datagram(*now, datagram.at, &mut datagram.bytes, NEVER, &mut |bytes| {
                launch(up, *now, client, bytes);
            });
        }
    }
}

/// Counts what this thread allocates.
fn count(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

fn launch(path: &mut VecDeque<InFlight>, now: Time, client: usize, bytes: &[u8]) {
    path.push_back(InFlight {
        at: now + DELAY,
        client,
        bytes: bytes.to_vec(),
    });
}

fn address(client: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 10_000 + client as u16))
}

fn client_at(address: SocketAddr) -> usize {
    usize::from(address.port() - 10_000)
}

fn mid(line: usize) -> Mid {
    Mid::new(line.to_string()).expect("a legal mid")
}

fn track(client: usize, kind: Kind) -> TrackId {
    TrackId::new(format!("tr_{client}_{kind:?}")).expect("a legal name")
}

fn fingerprint(text: &str) -> Fingerprint {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal"))
        .collect();
    Fingerprint {
        sha256: bytes.try_into().expect("as long as it must be"),
    }
}

fn publishing(client: usize, media: &Media) -> Vec<MediaLine> {
    let publish = |kind, source, rids: Vec<Rid>| {
        Some(PublishParams {
            track: track(client, kind),
            source,
            rids,
            ssrcs: Vec::new(),
            muted: false,
        })
    };
    let mut lines = Vec::new();
    if media.volume.is_some() {
        let publish = publish(Kind::Audio, Source::Microphone, Vec::new());
        lines.push(line(lines.len(), Kind::Audio, publish));
    }
    if let Some(camera) = &media.camera {
        let rids = camera.encodings.iter().filter_map(|encoding| encoding.rid);
        let rids = rids.map(|rid| Rid::new(rid).expect("a legal rid")).collect();
        let publish = publish(Kind::Video, Source::Camera, rids);
        lines.push(line(lines.len(), Kind::Video, publish));
    }
    lines
}

fn watching((audio, video): (usize, usize)) -> Vec<MediaLine> {
    let kinds = std::iter::repeat_n(Kind::Audio, audio).chain(std::iter::repeat_n(Kind::Video, video));
    kinds
        .enumerate()
        .map(|(number, kind)| line(number, kind, None))
        .collect()
}

/// As the load generator's offers have them; what publishes nothing is a slot.
fn line(number: usize, kind: Kind, publish: Option<PublishParams>) -> MediaLine {
    let is_video = kind == Kind::Video;
    let (pt, rtx_pt, codec) = match kind {
        Kind::Audio => (OPUS, None, Codec::Opus),
        Kind::Video => (VP8, Some(RTX), Codec::Vp8),
    };
    let mut extensions = vec![
        (extension::MID, Extension::Mid),
        (extension::TRANSPORT, Extension::TransportCc),
    ];
    if is_video {
        extensions.push((extension::RID, Extension::Rid));
        extensions.push((extension::REPAIRED_RID, Extension::RepairedRid));
    } else {
        extensions.push((extension::AUDIO_LEVEL, Extension::AudioLevel));
    }
    MediaLine {
        mid: mid(number),
        kind,
        codecs: vec![CodecParams {
            pt,
            rtx_pt,
            codec,
            h264_profile: None,
            feedback: Feedback {
                nack: is_video,
                pli: is_video,
                fir: is_video,
                transport_cc: true,
                remb: false,
            },
        }],
        extensions: extensions
            .into_iter()
            .map(|(id, extension)| ExtensionParams { id, extension })
            .collect(),
        slot: publish.is_none(),
        publish,
    }
}
