//! A client of the same library, and a network between it and our server that loses, delays,
//! duplicates and cuts handshake messages, all in virtual time and from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::certificate::fingerprint;
use super::{Dtls, DtlsEvent, Fingerprint, Identity};
use crate::srtp::{Profile, SessionKeys};
use crate::time::Time;

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A browser's end.
pub(super) struct Client {
    library: dimpl::Dtls,
    zero: Instant,
    timer: Time,
    pub(super) fingerprint: Fingerprint,
    pub(super) keys: Option<SessionKeys>,
    pub(super) closed: bool,
    pub(super) error: Option<dimpl::Error>,
}

impl Client {
    fn new(seed: u64) -> Self {
        let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
        let config = dimpl::Config::builder()
            .flight_start_rto(Duration::from_millis(150))
            .flight_retries(20)
            .handshake_timeout(Duration::from_secs(60))
            .dangerously_set_rng_seed(seed)
            .build()
            .unwrap();
        let zero = Instant::now();
        let fingerprint = fingerprint(&certificate.certificate);
        let mut library = dimpl::Dtls::new_12(Arc::new(config), certificate, zero);
        library.set_active(true);
        Self {
            library,
            zero,
            timer: Time::ZERO,
            fingerprint,
            keys: None,
            closed: false,
            error: None,
        }
    }

    fn step(&mut self, now: Time, datagram: Option<&[u8]>) {
        let now = self.zero + Duration::from_nanos(now.as_nanos());
        let result = self
            .library
            .handle_timeout(now)
            .and_then(|()| datagram.map_or(Ok(()), |datagram| self.library.handle_packet(datagram)));
        if let Err(error) = result {
            self.error.get_or_insert(error);
            self.timer = Time::FAR_FUTURE;
        }
    }

    pub(super) fn close(&mut self) {
        self.library.close().unwrap();
    }

    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        let mut buf = [0; 2048];
        loop {
            match self.library.poll_output(&mut buf) {
                dimpl::Output::Packet(datagram) => sent.push(datagram.to_vec()),
                dimpl::Output::KeyingMaterial(material, profile) => {
                    assert_eq!(profile, dimpl::SrtpProfile::AEAD_AES_256_GCM);
                    self.keys = SessionKeys::from_exporter(Profile::AeadAes256Gcm, &material);
                }
                dimpl::Output::CloseNotify => self.closed = true,
                dimpl::Output::Timeout(instant) => {
                    if self.error.is_none() {
                        self.timer = Time::ZERO + instant.saturating_duration_since(self.zero);
                    }
                    return sent;
                }
                _ => {}
            }
        }
    }
}

/// What the network does to a datagram.
#[derive(Clone, Copy)]
pub(super) struct Weather {
    /// Percent that are lost.
    pub(super) loss: u64,
    /// Percent that arrive twice.
    pub(super) duplicates: u64,
    /// Each takes 5 ms and up to so many more.
    pub(super) jitter_ms: u64,
    /// Handshake messages are cut into pieces of so many bytes, each in a datagram of its own.
    pub(super) piece: Option<usize>,
}

impl Weather {
    pub(super) const FINE: Self = Self {
        loss: 0,
        duplicates: 0,
        jitter_ms: 0,
        piece: None,
    };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Client,
    Server,
}

/// Client, server and what is between them.
pub(super) struct Pair {
    pub(super) client: Client,
    pub(super) server: Dtls,
    pub(super) now: Time,
    pub(super) weather: Weather,
    pub(super) random: Random,
    pub(super) events: Vec<DtlsEvent>,
    /// Everything the client sent, for replays.
    pub(super) recorded: Vec<Vec<u8>>,
    flying: BTreeMap<(Time, u64), (End, Vec<u8>)>,
    /// The next plaintext record's number towards each end, where messages are cut.
    numbers: [u64; 2],
    count: u64,
}

impl Pair {
    /// A server that expects the client's certificate, or with `stranger` somebody else's.
    pub(super) fn new(seed: u64, weather: Weather, stranger: bool) -> Self {
        let identity = Arc::new(Identity::generate().unwrap());
        let client = Client::new(seed);
        let announced = if stranger {
            identity.fingerprint()
        } else {
            client.fingerprint.clone()
        };
        let unused = Fingerprint { sha256: [9; 32] };
        Self {
            server: Dtls::new(&identity, vec![unused, announced], Time::ZERO),
            client,
            now: Time::ZERO,
            weather,
            random: Random(seed),
            events: Vec::new(),
            recorded: Vec::new(),
            flying: BTreeMap::new(),
            numbers: [0; 2],
            count: 0,
        }
    }

    /// Runs until `done`, or until `limit` of virtual time. Gives whether it was done.
    pub(super) fn run(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        self.client.step(self.now, None);
        loop {
            self.exchange();
            if done(self) {
                return true;
            }
            let arrival = self.flying.keys().next().map(|(at, _)| *at);
            let next = arrival
                .unwrap_or(Time::FAR_FUTURE)
                .min(self.client.timer)
                .min(self.server.poll_deadline());
            if next >= end {
                self.now = end;
                return false;
            }
            self.now = self.now.max(next);
            if arrival == Some(next) {
                if let Some((_, (to, datagram))) = self.flying.pop_first() {
                    match to {
                        End::Client => self.client.step(self.now, Some(&datagram)),
                        End::Server => self.server.handle_datagram(self.now, &datagram),
                    }
                }
            } else {
                self.client.step(self.now, None);
                self.server.handle_timeout(self.now);
            }
        }
    }

    /// Takes out what both have to say.
    pub(super) fn exchange(&mut self) {
        for datagram in self.client.drain() {
            self.recorded.push(datagram.clone());
            self.send(End::Server, &datagram);
        }
        let mut buf = [0; 2048];
        while let Some(len) = self.server.poll_transmit(&mut buf) {
            assert!(len <= 1200, "a flight's datagram fits any path");
            self.send(End::Client, &buf[..len]);
        }
        while let Some(event) = self.server.poll_event() {
            self.events.push(event);
        }
    }

    fn send(&mut self, to: End, datagram: &[u8]) {
        let pieces = match self.weather.piece {
            Some(size) => cut(datagram, size, &mut self.numbers[to as usize]),
            None => vec![datagram.to_vec()],
        };
        for piece in pieces {
            let copies = 1 + u64::from(self.random.below(100) < self.weather.duplicates);
            for _ in 0..copies {
                if self.random.below(100) < self.weather.loss {
                    continue;
                }
                let delay = 5 + self.random.below(self.weather.jitter_ms + 1);
                self.count += 1;
                let at = self.now + Duration::from_millis(delay);
                self.flying.insert((at, self.count), (to, piece.clone()));
            }
        }
    }

    /// The keys that the server handed out.
    pub(super) fn server_keys(&self) -> Option<&SessionKeys> {
        self.events.iter().find_map(|event| match event {
            DtlsEvent::Connected(keys) => Some(keys),
            _ => None,
        })
    }

    pub(super) fn both_connected(&self) -> bool {
        self.client.keys.is_some() && self.server_keys().is_some()
    }
}

/// One record of a datagram: its thirteen bytes of header and its fragment.
pub(super) fn records(datagram: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut records = Vec::new();
    let mut rest = datagram;
    while rest.len() >= 13 {
        let len = usize::from(u16::from_be_bytes([rest[11], rest[12]]));
        let (record, behind) = rest.split_at(13 + len);
        records.push(record.split_at(13));
        rest = behind;
    }
    records
}

/// A record around `fragment`.
pub(super) fn record(header: &[u8], sequence: u64, fragment: &[u8]) -> Vec<u8> {
    let mut out = header[..5].to_vec();
    out.extend_from_slice(&sequence.to_be_bytes()[2..]);
    out.extend_from_slice(&(fragment.len() as u16).to_be_bytes());
    out.extend_from_slice(fragment);
    out
}

/// Every record in a datagram of its own, plaintext handshake messages in pieces (RFC 6347 section
/// 4.2.3). The cuts depend on the message alone, so a repeated flight is cut alike. Plaintext records are
/// numbered anew, one by one as a sender does: gaps would push what is merely late out of the
/// receiver's replay window of 64.
fn cut(datagram: &[u8], size: usize, next: &mut u64) -> Vec<Vec<u8>> {
    let mut number = || {
        *next += 1;
        *next - 1
    };
    let mut out = Vec::new();
    for (header, fragment) in records(datagram) {
        let sequence = u64::from_be_bytes([
            0, 0, header[5], header[6], header[7], header[8], header[9], header[10],
        ]);
        let encrypted = header[3..5] != [0, 0];
        if encrypted {
            out.push(record(header, sequence, fragment));
            continue;
        }
        if header[0] != 22 {
            out.push(record(header, number(), fragment));
            continue;
        }
        let (message, body) = fragment.split_at(12);
        let start = u32::from_be_bytes([0, message[6], message[7], message[8]]) as usize;
        let mut offset = 0;
        loop {
            let piece = &body[offset..body.len().min(offset + size)];
            let mut fragment = message[..6].to_vec();
            fragment.extend_from_slice(&((start + offset) as u32).to_be_bytes()[1..]);
            fragment.extend_from_slice(&(piece.len() as u32).to_be_bytes()[1..]);
            fragment.extend_from_slice(piece);
            out.push(record(header, number(), &fragment));
            offset += piece.len();
            if offset >= body.len() {
                break;
            }
        }
    }
    out
}
