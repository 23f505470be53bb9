//! The thread that moves the packets of all clients: sockets, timers, and the sums of what was measured.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Commands, TryRecvError};
use std::time::Duration;

use hdrhistogram::Histogram;
use kall_dataplane::io::clients::ClientSockets;
use kall_dataplane::io::clock::{self, Clock};
use kall_dataplane::io::udp::UdpSocket;
use kall_dataplane::srtp::Profile;
use kall_dataplane::time::Time;
use rand::Rng as _;
use tokio::sync::mpsc::UnboundedSender as Events;

use super::client::{Client, Identity};
use super::publish::{Camera, Publisher};
use super::receive::Counts;
use super::sdp::{Answer, Credentials};
use crate::cpu_time::thread_cpu_time;

/// Longest sleep: how late a command may be taken.
const SLEEP_MAX: Duration = Duration::from_millis(2);

/// Datagrams that one socket gives at once.
const TAKE: usize = 256;

/// What a client sends.
#[derive(Debug, Clone, Copy, Default)]
pub struct Media {
    /// A microphone of this volume, 127 the loudest.
    pub volume: Option<u8>,
    /// A camera.
    pub camera: Option<Camera>,
}

/// What the engine is told.
#[derive(Debug)]
pub enum Command {
    /// Client `0` got its answer.
    Start(usize, Answer),
    /// Everything is counted from here on.
    Begin,
    /// What was counted since then.
    End,
    /// The thread ends.
    Stop,
}

/// What the engine tells.
#[derive(Debug)]
pub enum Event {
    /// A client finished its handshake, at a time of the engine's clock.
    Connected(usize, Time),
    /// A client got its first packet of media.
    Media(usize, Time),
    /// A client will never get any.
    Failed(usize, String),
    /// What was counted.
    Totals(Box<Totals>),
}

/// What all clients together got.
#[derive(Debug)]
pub struct Totals {
    /// Packets.
    pub counts: Counts,
    /// Packets that clients sent as publishers.
    pub sent: u64,
    /// Time from sending to arrival at the other end, in microseconds, of the packets that were opened.
    pub latency: Histogram<u64>,
    /// Packets of the clients that were there before, see [`Setup::present`].
    pub present: Counts,
    /// [`Self::latency`] of those clients.
    pub latency_of_present: Histogram<u64>,
    /// How long was counted.
    pub length: Duration,
    /// Processor time of the engine's own thread meanwhile.
    pub cpu: Duration,
    /// The profile of the first client.
    pub profile: Option<Profile>,
}

/// How clients behave.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// One packet of so many is opened and authenticated.
    pub every: u32,
    /// Clients before this index were there before the measurement.
    pub present: usize,
}

/// All clients of the process.
pub struct Engine {
    clock: Clock,
    sockets: ClientSockets,
    clients: Vec<Client>,
    told: Vec<(bool, bool)>,
    scheduled: Vec<Time>,
    timers: BinaryHeap<Reverse<(Time, usize)>>,
    setup: Setup,
    identity: Arc<Identity>,
    latency: Histogram<u64>,
    latency_of_present: Histogram<u64>,
    sent: u64,
    began: (Time, Duration),
}

impl Engine {
    /// Without clients.
    ///
    /// # Errors
    /// What the kernel or the library said.
    pub fn new(clock: Clock, setup: Setup) -> io::Result<Self> {
        let identity = Identity::generate().map_err(io::Error::other)?;
        Ok(Self {
            clock,
            sockets: ClientSockets::new()?,
            clients: Vec::new(),
            told: Vec::new(),
            scheduled: Vec::new(),
            timers: BinaryHeap::new(),
            setup,
            identity: Arc::new(identity),
            latency: histogram(),
            latency_of_present: histogram(),
            sent: 0,
            began: (Time::ZERO, Duration::ZERO),
        })
    }

    /// The certificate's fingerprint as in SDP.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.identity.fingerprint.clone()
    }

    /// Adds a client on a socket of `local`, and gives its ICE credentials, its first SSRC and its port.
    ///
    /// # Errors
    /// What the kernel said: no ports or descriptors left.
    pub fn add(&mut self, local: SocketAddr, media: Media) -> io::Result<(Credentials, u32, u16)> {
        let socket = UdpSocket::bind(local)?;
        let port = socket.local().port();
        let index = self.sockets.add(socket)?;
        let mut random = rand::rng();
        let mut text = |length: usize| -> String {
            (0..length)
                .map(|_| {
                    char::from(
                        b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                            [random.random_range(0..62)],
                    )
                })
                .collect()
        };
        let credentials = Credentials {
            ufrag: text(8),
            password: text(24),
        };
        // 16 streams apart.
        let ssrc = (index as u32 + 1) << 4;
        let mut client = Client::new(&self.identity, credentials.clone(), ssrc - 2);
        if media.volume.is_some() || media.camera.is_some() {
            let wall = self.clock.wall();
            client.set_publisher(Publisher::new(wall, ssrc, media.volume, media.camera));
        }
        self.clients.push(client);
        self.told.push((false, false));
        self.scheduled.push(Time::FAR_FUTURE);
        Ok((credentials, ssrc, port))
    }

    /// Turns until it is told to stop.
    ///
    /// # Errors
    /// What epoll said.
    pub fn run(mut self, commands: &Commands<Command>, events: &Events<Event>) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            loop {
                match commands.try_recv() {
                    Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return Ok(()),
                    Ok(command) => self.obey(command, events),
                    Err(TryRecvError::Empty) => break,
                }
            }
            let now = self.clock.now();
            let next = self
                .timers
                .peek()
                .map_or(Time::FAR_FUTURE, |Reverse((at, _))| *at);
            self.sockets.wait(next.since(now).min(SLEEP_MAX), &mut ready)?;
            for index in ready.drain(..) {
                self.receive(index, events);
            }
            self.run_timers(events);
        }
    }

    fn obey(&mut self, command: Command, events: &Events<Event>) {
        let now = self.clock.now();
        match command {
            Command::Start(index, answer) => {
                self.clients[index].start(now, answer);
                self.schedule(index);
            }
            Command::Begin => {
                self.clients.iter_mut().for_each(|client| client.receiver.begin());
                self.latency.reset();
                self.latency_of_present.reset();
                self.sent = 0;
                self.began = (now, thread_cpu_time());
            }
            Command::End => {
                let (mut counts, mut present) = (Counts::default(), Counts::default());
                for (index, client) in self.clients.iter().enumerate() {
                    counts.add(&client.receiver.counts());
                    if index < self.setup.present {
                        present.add(&client.receiver.counts());
                    }
                }
                let totals = Totals {
                    counts,
                    present,
                    sent: self.sent,
                    latency: self.latency.clone(),
                    latency_of_present: self.latency_of_present.clone(),
                    length: now.since(self.began.0),
                    cpu: thread_cpu_time().saturating_sub(self.began.1),
                    profile: self.clients.first().and_then(Client::profile),
                };
                // Nobody asks who is gone.
                let _ = events.send(Event::Totals(Box::new(totals)));
            }
            Command::Stop => {}
        }
    }

    fn receive(&mut self, index: usize, events: &Events<Event>) {
        let Self {
            clock,
            sockets,
            clients,
            setup,
            latency,
            latency_of_present,
            ..
        } = self;
        let client = &mut clients[index];
        let (now, unix_now) = (clock.now(), clock::unix_now());
        let to = client.remote();
        let mut replies: Vec<Vec<u8>> = Vec::new();
        sockets.receive(index, TAKE, |incoming| {
            let arrival = clock::arrival(incoming.timestamp, now, unix_now);
            let mut send = |datagram: &[u8]| replies.push(datagram.to_vec());
            let sent = client.handle_datagram(now, arrival, incoming.data, setup.every, &mut send);
            if let Some(sent) = sent {
                // Bounded by the histogram.
                let micros = arrival.since(sent).as_micros() as u64;
                latency.saturating_record(micros);
                if index < setup.present {
                    latency_of_present.saturating_record(micros);
                }
            }
        });
        if let Some(to) = to {
            for reply in &replies {
                // What is lost is repeated by its protocol.
                let _ = sockets.send(index, to, reply);
            }
        }
        self.tell(index, events);
        self.schedule(index);
    }

    fn run_timers(&mut self, events: &Events<Event>) {
        let begin = self.clock.now();
        while let Some(Reverse((at, index))) = self.timers.peek().copied()
            && at <= begin
        {
            self.timers.pop();
            if self.scheduled[index] != at {
                continue;
            }
            self.scheduled[index] = Time::FAR_FUTURE;
            let Self {
                clock,
                sockets,
                clients,
                sent,
                ..
            } = self;
            // Read for each: what others did before must not count as this one's media being on its way.
            let now = clock.now();
            let client = &mut clients[index];
            if let Some(to) = client.remote() {
                client.handle_timeout(now, &mut |datagram: &[u8]| {
                    *sent += u64::from(datagram[0] & 0xc0 == 0x80);
                    let _ = sockets.send(index, to, datagram);
                });
            }
            self.tell(index, events);
            self.schedule(index);
        }
    }

    fn tell(&mut self, index: usize, events: &Events<Event>) {
        let client = &mut self.clients[index];
        let (connected, media) = &mut self.told[index];
        if let Some(at) = client.connected
            && !std::mem::replace(connected, true)
        {
            let _ = events.send(Event::Connected(index, at));
        }
        if let Some(at) = client.receiver.first
            && !std::mem::replace(media, true)
        {
            let _ = events.send(Event::Media(index, at));
        }
        if let Some(why) = client.failed.take() {
            let _ = events.send(Event::Failed(index, why));
        }
    }

    fn schedule(&mut self, index: usize) {
        let due = self.clients[index].poll_deadline();
        if due < self.scheduled[index] {
            self.scheduled[index] = due;
            self.timers.push(Reverse((due, index)));
        }
    }
}

/// Up to ten seconds, in microseconds, with three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 10_000_000, 3).unwrap_or_else(|_| unreachable!("constant bounds are legal"))
}
