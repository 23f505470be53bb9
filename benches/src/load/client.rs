//! One client: connectivity checks, a DTLS handshake as the active side, and then media and feedback. Bytes and
//! a time go in; bytes and a deadline come out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kall_dataplane::rtp::twcc_recorder::TwccRecorder;
use kall_dataplane::srtp::{EgressGuard, Inbound, Outbound, Profile, SessionKeys};
use kall_dataplane::time::Time;
use kall_dataplane::wire::demux::{self, Class};
use kall_dataplane::wire::rtcp::{self, ReportBlock, Rtcp, rr};
use kall_dataplane::wire::rtp_ext::{Elements, read_transport_sequence};
use kall_dataplane::wire::stun::{self, BindingRequest, Role, TransactionId};
use ring::digest::{SHA256, digest};

use super::publish::{Output, Plain, Publisher};
use super::receive::Receiver;
use super::sdp::{Answer, Credentials, extension};

/// Between two checks until the handshake is over.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Between two checks for consent (RFC 7675 section 5.1).
const CONSENT_INTERVAL: Duration = Duration::from_secs(5);

/// Between two receiver reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Report blocks of one receiver report.
const BLOCKS_MAX: usize = 24;

/// What all clients of a process share: one certificate, and the library's clock.
pub struct Identity {
    certificate: dimpl::DtlsCertificate,
    config: Arc<dimpl::Config>,
    zero: Instant,
    /// As in SDP.
    pub fingerprint: String,
}

impl Identity {
    /// Makes a certificate.
    ///
    /// # Errors
    /// What the library said.
    pub fn generate() -> Result<Self, String> {
        let certificate =
            dimpl::certificate::generate_self_signed_certificate().map_err(|error| error.to_string())?;
        let config = dimpl::Config::builder()
            .build()
            .map_err(|error| error.to_string())?;
        let digest = digest(&SHA256, &certificate.certificate);
        let bytes: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        Ok(Self {
            certificate,
            config: Arc::new(config),
            zero: Instant::now(),
            fingerprint: bytes.join(":"),
        })
    }

    fn instant(&self, now: Time) -> Instant {
        self.zero + Duration::from_nanos(now.as_nanos())
    }
}

/// The keys of a connected client.
struct Keys {
    profile: Profile,
    outbound: Outbound,
    guards: Vec<EgressGuard>,
    inbound: Inbound,
}

/// One client.
pub struct Client {
    identity: Arc<Identity>,
    /// Its own credentials.
    pub local: Credentials,
    remote: Option<Answer>,
    dtls: Option<Box<dimpl::Dtls>>,
    dtls_due: Time,
    checked: bool,
    check_at: Time,
    transaction: u64,
    keys: Option<Keys>,
    twcc: TwccRecorder,
    report_at: Time,
    ssrc: u32,
    /// What it sends, once it is connected.
    publisher: Option<Publisher>,
    /// What it got.
    pub receiver: Receiver,
    /// When it was connected.
    pub connected: Option<Time>,
    /// Why it never will be.
    pub failed: Option<String>,
}

impl Client {
    /// One that waits for its answer; `number` tells it from others.
    #[must_use]
    pub fn new(identity: &Arc<Identity>, local: Credentials, number: u32) -> Self {
        Self {
            identity: Arc::clone(identity),
            local,
            remote: None,
            dtls: None,
            dtls_due: Time::FAR_FUTURE,
            checked: false,
            check_at: Time::FAR_FUTURE,
            transaction: u64::from(number) << 32,
            keys: None,
            twcc: TwccRecorder::new(Time::ZERO),
            report_at: Time::FAR_FUTURE,
            ssrc: number + 1,
            publisher: None,
            receiver: Receiver::default(),
            connected: None,
            failed: None,
        }
    }

    /// What it will send.
    pub fn set_publisher(&mut self, publisher: Publisher) {
        self.publisher = Some(publisher);
    }

    /// Takes the server's answer; checks begin.
    pub fn start(&mut self, now: Time, answer: Answer) {
        self.remote = Some(answer);
        self.check_at = now;
    }

    /// Where it sends to.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote.as_ref().map(|remote| remote.address)
    }

    /// The profile it negotiated.
    #[must_use]
    pub fn profile(&self) -> Option<Profile> {
        self.keys.as_ref().map(|keys| keys.profile)
    }

    /// Takes a datagram, of which one of `every` with media is opened; gives when such a one was sent.
    pub fn handle_datagram(
        &mut self,
        now: Time,
        arrival: Time,
        data: &mut [u8],
        every: u32,
        send: &mut impl FnMut(&[u8]),
    ) -> Option<Time> {
        match demux::classify(data) {
            Class::Rtp => return self.on_rtp(arrival, data, every),
            Class::Rtcp => self.on_rtcp(data),
            Class::Stun => self.on_stun(now, data, send),
            Class::Dtls => {
                if let Some(dtls) = &mut self.dtls
                    && let Err(error) = dtls.handle_packet(data)
                {
                    self.failed.get_or_insert(format!("DTLS: {error}"));
                }
                self.drive_dtls(now, send);
            }
            Class::Other => {}
        }
        None
    }

    fn on_rtp(&mut self, arrival: Time, data: &mut [u8], every: u32) -> Option<Time> {
        let keys = self.keys.as_mut()?;
        if let Some(sequence) = transport_sequence(data) {
            self.twcc.on_packet(arrival, sequence, data.len());
        }
        self.receiver.on_packet(arrival, data, &mut keys.inbound, every)
    }

    fn on_rtcp(&mut self, data: &mut [u8]) {
        let (Some(keys), Some(publisher)) = (&mut self.keys, &mut self.publisher) else {
            return;
        };
        let Ok(len) = keys.inbound.unprotect_rtcp(data) else {
            return;
        };
        for packet in rtcp::packets(&data[..len]).flatten() {
            match packet {
                Rtcp::Pli(pli) => publisher.on_key_frame_request(pli.media_ssrc),
                Rtcp::Fir(fir) => fir
                    .entries()
                    .for_each(|entry| publisher.on_key_frame_request(entry.ssrc)),
                _ => {}
            }
        }
    }

    fn on_stun(&mut self, now: Time, data: &[u8], send: &mut impl FnMut(&[u8])) {
        let Some(remote) = &self.remote else {
            return;
        };
        let Ok(message) = stun::Message::parse(data) else {
            return;
        };
        let own = self.local.password.as_bytes();
        if message.class() == stun::Class::Request && message.verify_integrity(own) {
            // A server that is not lite checks as well. What it is told it knows: it is at its own address.
            let mut buf = [0; 128];
            let id = message.transaction_id();
            if let Some(len) = stun::write_binding_success(&mut buf, id, remote.address, own) {
                send(&buf[..len]);
            }
            return;
        }
        let answered = message.class() == stun::Class::Success
            && message.verify_integrity(remote.credentials.password.as_bytes());
        if !answered || self.checked {
            return;
        }
        self.checked = true;
        let mut dtls = dimpl::Dtls::new_12(
            Arc::clone(&self.identity.config),
            self.identity.certificate.clone(),
            self.identity.instant(now),
        );
        dtls.set_active(true);
        self.dtls = Some(Box::new(dtls));
        self.drive_dtls(now, send);
    }

    fn drive_dtls(&mut self, now: Time, send: &mut impl FnMut(&[u8])) {
        let Some(dtls) = &mut self.dtls else {
            return;
        };
        if let Err(error) = dtls.handle_timeout(self.identity.instant(now)) {
            self.failed.get_or_insert(format!("DTLS: {error}"));
            self.dtls_due = Time::FAR_FUTURE;
            return;
        }
        let mut buf = [0; 2_048];
        loop {
            match dtls.poll_output(&mut buf) {
                dimpl::Output::Packet(datagram) => send(datagram),
                dimpl::Output::KeyingMaterial(material, profile) => {
                    let profile = match profile {
                        dimpl::SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
                        dimpl::SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
                        _ => Profile::AesCm128HmacSha1_80,
                    };
                    if let Some(keys) = SessionKeys::from_exporter(profile, &material) {
                        let streams = self.publisher.as_ref().map_or(0, Publisher::streams);
                        self.keys = Some(Keys {
                            profile,
                            outbound: Outbound::new(&keys.client),
                            guards: (0..streams).map(|_| EgressGuard::new()).collect(),
                            inbound: Inbound::new(&keys.server),
                        });
                    }
                }
                dimpl::Output::Connected => {
                    self.connected = Some(now);
                    if let Some(publisher) = &mut self.publisher {
                        publisher.begin(now);
                    }
                    self.report_at = now + REPORT_INTERVAL;
                }
                dimpl::Output::Timeout(at) => {
                    let due = Time::ZERO + at.saturating_duration_since(self.identity.zero);
                    // A connected library has nothing left to repeat.
                    self.dtls_due = if self.connected.is_some() {
                        Time::FAR_FUTURE
                    } else {
                        due
                    };
                    return;
                }
                _ => {}
            }
        }
    }

    /// Runs what is due.
    pub fn handle_timeout(&mut self, now: Time, send: &mut impl FnMut(&[u8])) {
        if self.check_at <= now {
            self.check(now, send);
        }
        if self.dtls_due <= now {
            self.drive_dtls(now, send);
        }
        if self.connected.is_none() {
            return;
        }
        if let (Some(keys), Some(publisher)) = (&mut self.keys, &mut self.publisher) {
            let Keys { outbound, guards, .. } = keys;
            publisher.poll(now, |buf, output| {
                let sealed = match output {
                    Output::Rtp(Plain {
                        header_len,
                        len,
                        index,
                        stream,
                    }) => outbound.seal_rtp(&mut guards[stream], buf, header_len, len, index),
                    Output::Rtcp(len) => outbound.seal_rtcp(buf, len),
                };
                if let Ok(len) = sealed {
                    send(&buf[..len]);
                }
            });
        }
        self.feed_back(now, send);
    }

    fn feed_back(&mut self, now: Time, send: &mut impl FnMut(&[u8])) {
        let Some(keys) = &mut self.keys else {
            return;
        };
        let mut buf = [0; 2_048];
        let media = self.receiver.streams().next().map_or(0, |(ssrc, _)| ssrc);
        while let Some(len) = self.twcc.poll(now, &mut buf, self.ssrc, media) {
            if let Ok(len) = keys.outbound.seal_rtcp(&mut buf, len) {
                send(&buf[..len]);
            }
        }
        if self.report_at <= now {
            self.report_at = now + REPORT_INTERVAL;
            let blocks: Vec<ReportBlock> = self
                .receiver
                .streams()
                .take(BLOCKS_MAX)
                .map(|(ssrc, highest)| ReportBlock {
                    ssrc,
                    highest_sequence: highest as u32,
                    ..ReportBlock::default()
                })
                .collect();
            if !blocks.is_empty()
                && let Some(len) = rr::write(&mut buf, self.ssrc, &blocks)
                && let Ok(len) = keys.outbound.seal_rtcp(&mut buf, len)
            {
                send(&buf[..len]);
            }
        }
    }

    fn check(&mut self, now: Time, send: &mut impl FnMut(&[u8])) {
        // A server may know the address of a check only after it.
        self.check_at = now
            + if self.connected.is_some() {
                CONSENT_INTERVAL
            } else {
                CHECK_INTERVAL
            };
        let Some(remote) = &self.remote else {
            return;
        };
        self.transaction += 1;
        let mut transaction = [0; 12];
        transaction[4..].copy_from_slice(&self.transaction.to_be_bytes());
        let username = format!("{}:{}", remote.credentials.ufrag, self.local.ufrag);
        let request = BindingRequest {
            transaction_id: TransactionId(transaction),
            username: username.as_bytes(),
            password: remote.credentials.password.as_bytes(),
            priority: 2_130_706_431,
            // A server that means to control as well gives in to the larger number (RFC 8445 section 7.3.1.1).
            role: Role::Controlling(u64::MAX),
            use_candidate: true,
            nomination: None,
        };
        let mut buf = [0; 512];
        if let Some(len) = stun::write_binding_request(&mut buf, &request) {
            send(&buf[..len]);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        let media = if self.connected.is_some() {
            let publisher = self
                .publisher
                .as_ref()
                .map_or(Time::FAR_FUTURE, Publisher::poll_deadline);
            publisher.min(self.twcc.poll_deadline()).min(self.report_at)
        } else {
            Time::FAR_FUTURE
        };
        self.check_at.min(self.dtls_due).min(media)
    }
}

/// The transport-wide number of a sealed packet: its header is in the clear, and its padding can't be looked at.
fn transport_sequence(data: &[u8]) -> Option<u16> {
    let start = 12 + 4 * usize::from(data[0] & 0x0f);
    if data[0] & 0x10 == 0 {
        return None;
    }
    let (profile, rest) = data.get(start..)?.split_first_chunk::<2>()?;
    let (words, rest) = rest.split_first_chunk::<2>()?;
    let elements = rest.get(..4 * usize::from(u16::from_be_bytes(*words)))?;
    Elements::new(u16::from_be_bytes(*profile), elements)
        .find(|(id, _)| *id == extension::TRANSPORT)
        .and_then(|(_, value)| read_transport_sequence(value))
}
