//! Who takes part in a run, and the run itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kall_dataplane::io::affinity;
use kall_dataplane::io::clock::Clock;
use kall_dataplane::time::Time;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::engine::{Command, Engine, Event, Media, Setup, Totals};
use super::publish::{self, Camera, Encoding};
use super::report::Report;
use super::sdp::{self, Line};
use super::server::{Dataplane, Pinning, Server};
use super::signal::{Membership, Offer, Target};
use super::syscalls::Watch;
use crate::limit::Flow;

/// One publisher of 1.5 Mbit/s.
const STAGE: Camera = Camera {
    encodings: &[Encoding {
        rid: None,
        width: 1280,
        height: 720,
        bps: 1_500_000,
    }],
    fps: 30,
};

/// A camera of a meeting.
const PERSON: Camera = Camera {
    encodings: &[
        Encoding {
            rid: Some("q"),
            width: 240,
            height: 135,
            bps: 100_000,
        },
        Encoding {
            rid: Some("h"),
            width: 480,
            height: 270,
            bps: 300_000,
        },
        Encoding {
            rid: Some("f"),
            width: 960,
            height: 540,
            bps: 900_000,
        },
    ],
    fps: 30,
};

/// What the capacity of a core is measured with.
const MODERATE: Camera = Camera {
    encodings: &[Encoding {
        rid: None,
        width: 640,
        height: 360,
        bps: 600_000,
    }],
    fps: 30,
};

/// A camera for a tile among many: little of it, so that a core carries hundreds of subscribers who see all.
const TILE: Camera = Camera {
    encodings: &[Encoding {
        rid: None,
        width: 160,
        height: 90,
        bps: 60_000,
    }],
    fps: 10,
};

/// Volumes of those who talk and of those who don't, 127 the loudest.
const LOUD: u8 = 100;
/// See [`LOUD`].
const QUIET: u8 = 30;

/// Bytes before the payload of a forwarded packet, with its extensions.
const HEADER: usize = 24;

/// Between two looks at what changes all the time.
const SAMPLING: Duration = Duration::from_millis(250);

/// How long everybody may take to get the first packet.
const JOIN_MAX: Duration = Duration::from_secs(60);

/// Clients that talk to the server at once.
const JOINING_MAX: usize = 64;

/// Who takes part.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What each publisher sends.
    pub publishers: Vec<Media>,
    /// How many listen and watch.
    pub subscribers: usize,
    /// Slots of each of them.
    pub audio_slots: usize,
    /// See [`Self::audio_slots`].
    pub video_slots: usize,
    /// How many of them are there before the measurement; the others come in it.
    pub present: usize,
    /// Whether those others go to a room of their own, where nobody sends: what is seen then is what it costs those who
    /// are there that others come, and not that there is more to send.
    pub elsewhere: bool,
    /// Subscribers that come in a second.
    pub rate: f64,
}

impl Scenario {
    /// One speaks, many watch.
    #[must_use]
    pub fn livestream(subscribers: usize) -> Self {
        Self {
            name: "livestream",
            publishers: vec![Media {
                volume: Some(LOUD),
                camera: Some(STAGE),
            }],
            subscribers,
            audio_slots: 3,
            video_slots: 1,
            present: subscribers,
            elsewhere: false,
            rate: 100.0,
        }
    }

    /// Cameras with three layers, seen by everybody.
    #[must_use]
    pub fn meeting(publishers: usize, subscribers: usize) -> Self {
        let media = |index: usize| Media {
            volume: Some(if index < 3 { LOUD } else { QUIET }),
            camera: Some(PERSON),
        };
        Self {
            name: "meeting",
            publishers: (0..publishers).map(media).collect(),
            subscribers,
            audio_slots: 3,
            video_slots: 9,
            present: subscribers,
            elsewhere: false,
            rate: 20.0,
        }
    }

    /// Sound alone.
    #[must_use]
    pub fn audio(talkers: usize, subscribers: usize) -> Self {
        let media = |index: usize| Media {
            volume: Some(if index < 3 { LOUD } else { QUIET }),
            camera: None,
        };
        Self {
            name: "audio",
            publishers: (0..talkers).map(media).collect(),
            subscribers,
            audio_slots: 3,
            video_slots: 0,
            present: subscribers,
            elsewhere: false,
            rate: 100.0,
        }
    }

    /// Many come at once while some are there.
    #[must_use]
    pub fn join_storm(present: usize, coming: usize, within: Duration, elsewhere: bool) -> Self {
        Self {
            name: "join-storm",
            subscribers: present + coming,
            present,
            elsewhere,
            rate: coming as f64 / within.as_secs_f64().max(0.001),
            ..Self::livestream(0)
        }
    }

    /// Whether some come while others are there.
    #[must_use]
    pub fn is_storm(&self) -> bool {
        self.present < self.subscribers
    }

    /// One camera of 600 kbit/s.
    #[must_use]
    pub fn capacity(subscribers: usize) -> Self {
        Self {
            name: "capacity",
            publishers: vec![Media {
                volume: Some(LOUD),
                camera: Some(MODERATE),
            }],
            ..Self::livestream(subscribers)
        }
    }

    /// Connected viewers of a silent room.
    #[must_use]
    pub fn idle(subscribers: usize) -> Self {
        Self {
            name: "idle",
            publishers: Vec::new(),
            ..Self::livestream(subscribers)
        }
    }

    /// Every slot of everybody in use.
    #[must_use]
    pub fn tiles(subscribers: usize, audio_slots: usize, video_slots: usize) -> Self {
        let media = |index: usize| Media {
            volume: (index < audio_slots).then_some(LOUD),
            camera: (index < video_slots).then_some(TILE),
        };
        Self {
            name: "tiles",
            publishers: (0..audio_slots.max(video_slots)).map(media).collect(),
            audio_slots,
            video_slots,
            ..Self::livestream(subscribers)
        }
    }

    /// The ideal runs of the scenario: a picture for a subscriber is one run.
    #[must_use]
    pub fn flows(&self) -> Vec<Flow> {
        let cameras = self.publishers.iter().filter_map(|media| media.camera);
        let mut flows: Vec<Flow> = cameras
            .take(self.video_slots)
            .filter_map(|camera| {
                let (packets, payload) = camera.shape(camera.encodings.last()?);
                Some(Flow {
                    packets,
                    bytes: HEADER + payload,
                    per_second: camera.fps,
                })
            })
            .collect();
        let sounds = self.publishers.iter().filter(|media| media.volume.is_some());
        flows.extend(sounds.take(self.audio_slots).map(|_| Flow {
            packets: 1,
            bytes: HEADER + publish::audio_bytes(),
            per_second: 50,
        }));
        flows
    }
}

/// What a run takes besides its scenario.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long media settles before it is measured: estimates rise, layers are chosen.
    pub settle: Duration,
    /// How long is measured.
    pub duration: Duration,
    /// Share of the packets that are opened and authenticated.
    pub verify: f64,
    /// CPUs of the server that is started; none is started with a target.
    pub pinning: Pinning,
    /// A server that runs already.
    pub target: Option<Target>,
    /// What is measured of it; of a server that is started, its data plane is.
    pub measured: Option<Dataplane>,
    /// Whether the data plane's system calls are counted.
    pub syscalls: bool,
}

/// Everybody of a run, and the thread that moves their packets.
struct Crowd {
    clock: Clock,
    commands: mpsc::Sender<Command>,
    events: UnboundedReceiver<Event>,
    thread: Option<thread::JoinHandle<std::io::Result<()>>>,
    offers: Vec<Option<Offer>>,
    began: Vec<Time>,
    connected: Vec<Option<Time>>,
    media: Vec<Option<Time>>,
    failures: Vec<String>,
    members: Vec<Membership>,
}

impl Crowd {
    fn new(scenario: &Scenario, plan: &Plan) -> Result<Self, String> {
        let clock = Clock::start();
        let every = (1.0 / plan.verify.clamp(1e-6, 1.0)).round() as u32;
        let setup = Setup {
            every,
            present: scenario.publishers.len() + scenario.present,
        };
        let text = |error: std::io::Error| error.to_string();
        let mut engine = Engine::new(clock, setup).map_err(text)?;
        let fingerprint = engine.fingerprint();
        let local = match &plan.target {
            None => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            Some(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        };
        let mut offers = Vec::new();
        for media in &scenario.publishers {
            let (credentials, ssrc, port) = engine.add(local, *media).map_err(text)?;
            let rids: Vec<&str> = media
                .camera
                .iter()
                .flat_map(|camera| camera.encodings.iter().filter_map(|encoding| encoding.rid))
                .collect();
            let audio = media.volume.map(|_| Line::SendAudio { ssrc });
            let video = media.camera.map(|_| Line::SendVideo {
                ssrc: ssrc + 1,
                rids: &rids,
            });
            let lines: Vec<Line<'_>> = audio.into_iter().chain(video).collect();
            let sdp = sdp::offer(&credentials, &fingerprint, &lines);
            offers.push(Some(Offer { sdp, port }));
        }
        let slots: Vec<Line<'_>> = std::iter::repeat_n(Line::ReceiveAudio, scenario.audio_slots)
            .chain(std::iter::repeat_n(Line::ReceiveVideo, scenario.video_slots))
            .collect();
        for _ in 0..scenario.subscribers {
            let (credentials, _, port) = engine.add(local, Media::default()).map_err(text)?;
            let sdp = sdp::offer(&credentials, &fingerprint, &slots);
            offers.push(Some(Offer { sdp, port }));
        }
        let (commands, orders) = mpsc::channel();
        let (tell, events) = tokio::sync::mpsc::unbounded_channel();
        let cpu = plan.pinning.others.last().copied();
        let thread = thread::Builder::new()
            .name("clients".to_owned())
            .spawn(move || {
                if let Some(cpu) = cpu {
                    affinity::pin(cpu);
                }
                engine.run(&orders, &tell)
            })
            .map_err(text)?;
        let count = offers.len();
        Ok(Self {
            clock,
            commands,
            events,
            thread: Some(thread),
            offers,
            began: vec![Time::ZERO; count],
            connected: vec![None; count],
            media: vec![None; count],
            failures: Vec::new(),
            members: Vec::new(),
        })
    }

    fn tell(&self, command: Command) {
        // A thread that ended says why when it is joined.
        let _ = self.commands.send(command);
    }

    /// Takes clients in, `rate` in a second.
    async fn join(&mut self, target: &Target, clients: std::ops::Range<usize>, publish: bool, rate: f64) {
        let mut joining: JoinSet<(usize, Result<_, String>)> = JoinSet::new();
        let start = Instant::now();
        for (place, client) in clients.enumerate() {
            sleep_until(start + Duration::from_secs_f64(place as f64 / rate)).await;
            while joining.len() >= JOINING_MAX {
                self.joined(joining.join_next().await);
            }
            while let Some(done) = joining.try_join_next() {
                self.joined(Some(done));
            }
            let Some(offer) = self.offers[client].take() else {
                continue;
            };
            self.began[client] = self.clock.now();
            let target = target.clone();
            joining.spawn(async move {
                (
                    client,
                    target.join(&format!("client-{client}"), publish, offer).await,
                )
            });
        }
        while let Some(done) = joining.join_next().await {
            self.joined(Some(done));
        }
    }

    #[expect(clippy::type_complexity, reason = "what a set of tasks gives")]
    fn joined(
        &mut self,
        done: Option<Result<(usize, Result<(sdp::Answer, Membership), String>), tokio::task::JoinError>>,
    ) {
        match done {
            Some(Ok((client, Ok((answer, membership))))) => {
                self.members.push(membership);
                self.tell(Command::Start(client, answer));
            }
            Some(Ok((client, Err(error)))) => self.failures.push(format!("client {client}: {error}")),
            Some(Err(error)) => self.failures.push(error.to_string()),
            None => {}
        }
    }

    fn note(&mut self, event: Event) -> Option<Box<Totals>> {
        match event {
            Event::Connected(client, at) => self.connected[client] = Some(at),
            Event::Media(client, at) => self.media[client] = Some(at),
            Event::Failed(client, why) => self.failures.push(format!("client {client}: {why}")),
            Event::Totals(totals) => return Some(totals),
        }
        None
    }

    /// Waits until clients are connected, and with `media` until they got some. False when time is up.
    async fn wait(&mut self, clients: std::ops::Range<usize>, media: bool) -> bool {
        let end = Instant::now() + JOIN_MAX;
        loop {
            let times = if media { &self.media } else { &self.connected };
            if clients.clone().all(|client| times[client].is_some()) {
                return true;
            }
            match timeout_at(end, self.events.recv()).await {
                Ok(Some(event)) => {
                    self.note(event);
                }
                _ => return false,
            }
        }
    }

    async fn totals(&mut self) -> Result<Box<Totals>, String> {
        self.tell(Command::End);
        while let Some(event) = self.events.recv().await {
            if let Some(totals) = self.note(event) {
                return Ok(totals);
            }
        }
        Err("the clients' thread ended".to_owned())
    }

    fn stop(mut self) -> Result<(), String> {
        self.tell(Command::Stop);
        match self.thread.take().map(thread::JoinHandle::join) {
            Some(Ok(Err(error))) => Err(error.to_string()),
            Some(Err(_)) => Err("the clients' thread panicked".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Runs a scenario.
///
/// # Errors
/// What kept it from being measured.
pub async fn run(scenario: &Scenario, plan: &Plan) -> Result<Report, String> {
    affinity::keep_off(&plan.pinning.dataplane);
    let server = match &plan.target {
        Some(_) => None,
        None => Some(Server::start(&plan.pinning).await?),
    };
    let dataplane = match &server {
        Some(server) => Some(server.dataplane()?),
        None => plan.measured,
    };
    let target = match (&plan.target, &server) {
        (Some(target), _) => target.clone(),
        (None, Some(server)) => Target::kall(&server.url, super::server::API).await?,
        (None, None) => return Err("no server".to_owned()),
    };
    let mut crowd = Crowd::new(scenario, plan)?;
    let publishers = scenario.publishers.len();
    let everybody = publishers + scenario.subscribers;
    crowd.join(&target, 0..publishers, true, scenario.rate).await;
    let there = crowd.wait(0..publishers, false).await;
    if !there {
        return Err(format!("publishers did not connect: {:?}", crowd.failures));
    }
    let before = dataplane.map(Dataplane::rss);
    let present = publishers + scenario.present;
    let hears = publishers > 0;
    let newcomers_hear = hears && !scenario.elsewhere;
    let elsewhere = if scenario.elsewhere {
        target.another_room().await?
    } else {
        target.clone()
    };
    crowd
        .join(&target, publishers..present, false, scenario.rate)
        .await;
    crowd.wait(publishers..present, hears).await;
    sleep(plan.settle).await;

    let quiet = if scenario.is_storm() {
        crowd.tell(Command::Begin);
        sleep(plan.duration).await;
        Some(crowd.totals().await?)
    } else {
        None
    };
    let mut watches = Vec::new();
    if let Some(dataplane) = dataplane.filter(|_| plan.syscalls) {
        let (cores, others) = dataplane.threads();
        watches.push(("core", Watch::start(&cores).await?));
        watches.push(("other", Watch::start(&others).await?));
    }
    crowd.tell(Command::Begin);
    let cpu = dataplane.map(Dataplane::cpu);
    let start = Instant::now();
    crowd
        .join(&elsewhere, present..everybody, false, scenario.rate)
        .await;
    let storm = if scenario.is_storm() {
        crowd.wait(present..everybody, newcomers_hear).await;
        Some(crowd.totals().await?)
    } else {
        None
    };
    let mut sockets = dataplane.map(Dataplane::socket_memory);
    while Instant::now() < start + plan.duration {
        sleep_until((Instant::now() + SAMPLING).min(start + plan.duration)).await;
        sockets = sockets.max(dataplane.map(Dataplane::socket_memory));
    }
    let totals = crowd.totals().await?;
    let cpu = dataplane
        .zip(cpu)
        .map(|(dataplane, before)| dataplane.cpu().saturating_sub(before));
    let mut syscalls = Vec::new();
    for (threads, watch) in watches {
        syscalls.push((threads, watch.stop()?));
    }
    let mut joins: Vec<Duration> = (publishers..everybody)
        .filter_map(|client| {
            let hears = if client < present { hears } else { newcomers_hear };
            let times = if hears { &crowd.media } else { &crowd.connected };
            Some(times[client]?.since(crowd.began[client]))
        })
        .collect();
    joins.sort_unstable();
    let mut report = Report::new(
        scenario,
        &totals,
        &joins,
        cpu,
        before.zip(dataplane.map(Dataplane::rss)),
        &crowd.failures,
    );
    report.add("socket_bytes_max", json!(sockets));
    if let (Some(quiet), Some(storm)) = (&quiet, &storm) {
        report.add_storm(quiet, storm);
    }
    for (threads, counts) in syscalls {
        report.add_syscalls(threads, &counts);
    }
    crowd.stop()?;
    Ok(report)
}
