//! One session's DTLS server: handshake, fingerprint check, keys, shutdown.
//!
//! A failure before the keys is final and reported. After the keys nothing that arrives can undo
//! them: an epoch-0 record is ignored, and what the library can't go on with ends DTLS alone,
//! while media lives as long as ICE consent does.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use dimpl::{Output, SrtpProfile};
use kall_shared::media::Fingerprint;

use super::certificate::{HANDSHAKE_TIMEOUT, Identity, fingerprint};
use crate::srtp::{Profile, SessionKeys};
use crate::time::Time;

/// Longest datagram that is looked at, in bytes. A handshake record of a browser fits an Ethernet
/// frame.
const DATAGRAM_MAX: usize = 2048;

/// Room for whatever the library emits: a flight's datagrams are at most its MTU, application data
/// at most what fits a datagram taken in.
const OUTPUT_MAX: usize = DATAGRAM_MAX;

/// Datagrams that wait to be sent: two whole flights. The peer asks again for what is dropped.
const OUTBOX_MAX: usize = 16;

/// What a session learns from its handshake.
#[derive(Debug, Clone)]
pub enum DtlsEvent {
    /// Done: the peer has the certificate it announced, and these are the SRTP keys.
    Connected(SessionKeys),
    /// The peer said goodbye (`close_notify`): it has left.
    PeerClosed,
    /// There will be no keys.
    Failed(Failure),
}

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// It took too long.
    TimedOut,
    /// The peer's certificate is none of those it announced.
    Fingerprint,
    /// No SRTP profile in common.
    NoSrtpProfile,
    /// The peer broke the protocol, refused us, or offers nothing we speak.
    Protocol,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "handshake timed out",
            Self::Fingerprint => "certificate does not match the announced fingerprint",
            Self::NoSrtpProfile => "no SRTP profile in common",
            Self::Protocol => "protocol failure",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Handshaking,
    Connected,
    Over,
}

/// The server side of one session. Call order: any `handle_*` or [`Dtls::close`], then
/// [`Dtls::poll_transmit`] and [`Dtls::poll_event`] until both are empty.
pub struct Dtls {
    identity: Arc<Identity>,
    expected: Vec<Fingerprint>,
    /// Boxed: a session outlives its handshake by hours. Gone when DTLS is over.
    library: Option<Box<dimpl::Dtls>>,
    state: State,
    peer_verified: bool,
    /// When the library wants to be called.
    timer: Time,
    /// When the handshake has taken too long; starts with the peer's first datagram, because the
    /// time before that is ICE's.
    give_up: Time,
    outbox: VecDeque<Vec<u8>>,
    events: VecDeque<DtlsEvent>,
}

impl Dtls {
    /// Waits for a client whose certificate has one of the `expected` fingerprints.
    #[must_use]
    pub fn new(identity: &Arc<Identity>, expected: Vec<Fingerprint>, now: Time) -> Self {
        let mut library = identity.server(now);
        let state = match library.handle_timeout(identity.instant(now)) {
            Ok(()) => State::Handshaking,
            Err(error) => unreachable!("a server that saw no input has no error: {error}"),
        };
        Self {
            identity: Arc::clone(identity),
            expected,
            library: Some(Box::new(library)),
            state,
            peer_verified: false,
            timer: Time::FAR_FUTURE,
            give_up: Time::FAR_FUTURE,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes a datagram that the demultiplexer called DTLS and that came from a validated address.
    pub fn handle_datagram(&mut self, now: Time, datagram: &[u8]) {
        if datagram.len() > DATAGRAM_MAX {
            return;
        }
        if self.state == State::Handshaking && self.give_up == Time::FAR_FUTURE {
            self.give_up = now + HANDSHAKE_TIMEOUT;
        }
        let instant = self.identity.instant(now);
        self.drive(|library| {
            library.handle_timeout(instant)?;
            library.handle_packet(datagram)
        });
    }

    /// Sends again what is due, gives up what took too long.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.state == State::Handshaking && now >= self.give_up {
            self.fail(Failure::TimedOut);
            return;
        }
        if now >= self.timer {
            let instant = self.identity.instant(now);
            self.drive(|library| library.handle_timeout(instant));
        }
    }

    /// When [`Self::handle_timeout`] is due next.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        match self.state {
            State::Handshaking => self.timer.min(self.give_up),
            State::Connected => self.timer,
            State::Over => Time::FAR_FUTURE,
        }
    }

    /// Writes the next datagram into `buf` and gives its length. A datagram that does not fit is
    /// dropped; 2048 bytes always suffice.
    pub fn poll_transmit(&mut self, buf: &mut [u8]) -> Option<usize> {
        while let Some(datagram) = self.outbox.pop_front() {
            if let Some(out) = buf.get_mut(..datagram.len()) {
                out.copy_from_slice(&datagram);
                return Some(datagram.len());
            }
        }
        None
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    /// Whether the keys were handed out.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Says goodbye: after a finished handshake a `close_notify` is queued, once. Takes no event.
    pub fn close(&mut self, now: Time) {
        if self.state == State::Connected {
            let instant = self.identity.instant(now);
            self.drive(|library| {
                library.handle_timeout(instant)?;
                library.close()
            });
        }
        self.end();
    }

    /// Runs one step of the library and takes out all that it has to say.
    fn drive(&mut self, step: impl FnOnce(&mut dimpl::Dtls) -> Result<(), dimpl::Error>) {
        let Some(mut library) = self.library.take() else {
            return;
        };
        let result = step(&mut library);
        // Output is drained even after an error: an alert may wait there.
        self.drain(&mut library);
        if self.state != State::Over {
            self.library = Some(library);
        }
        if let Err(error) = result {
            tracing::debug!(%error, "DTLS ended");
            match self.state {
                State::Handshaking => self.fail(match error {
                    dimpl::Error::Timeout(_) => Failure::TimedOut,
                    _ => Failure::Protocol,
                }),
                // An authenticated fatal alert is a goodbye without manners.
                State::Connected if matches!(error, dimpl::Error::SecurityError(_)) => {
                    self.events.push_back(DtlsEvent::PeerClosed);
                    self.end();
                }
                State::Connected | State::Over => {
                    self.library = None;
                    // Nobody is left to be called: a deadline in the past would be due for ever.
                    self.timer = Time::FAR_FUTURE;
                }
            }
        }
    }

    fn drain(&mut self, library: &mut dimpl::Dtls) {
        let mut buf = [0; OUTPUT_MAX];
        let mut handshake_done = false;
        loop {
            match library.poll_output(&mut buf) {
                Output::Packet(datagram) => {
                    if self.outbox.len() == OUTBOX_MAX {
                        self.outbox.pop_front();
                    }
                    self.outbox.push_back(datagram.to_vec());
                }
                Output::PeerCert(der) => {
                    if !self.expected.contains(&fingerprint(der)) {
                        self.fail(Failure::Fingerprint);
                        self.outbox.push_back(BAD_CERTIFICATE.to_vec());
                        return;
                    }
                    self.peer_verified = true;
                }
                Output::Connected => handshake_done = true,
                Output::KeyingMaterial(material, profile) => self.connect(&material, profile),
                Output::CloseNotify => {
                    self.events.push_back(DtlsEvent::PeerClosed);
                    self.end();
                    // Its answer, our own close_notify, was queued before this event.
                    return;
                }
                Output::Timeout(instant) => {
                    self.timer = self.identity.time(instant);
                    break;
                }
                Output::BufferTooSmall { needed } => {
                    tracing::warn!(needed, "DTLS output larger than any datagram");
                    self.fail(Failure::Protocol);
                    return;
                }
                // Application data: data channels are not offered.
                _ => {}
            }
        }
        if handshake_done && self.state == State::Handshaking {
            self.fail(Failure::NoSrtpProfile);
        }
    }

    fn connect(&mut self, material: &[u8], profile: SrtpProfile) {
        let profile = match profile {
            SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
            SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
            SrtpProfile::AES128_CM_SHA1_80 => Profile::AesCm128HmacSha1_80,
            _ => return,
        };
        let keys = SessionKeys::from_exporter(profile, material);
        if let (State::Handshaking, true, Some(keys)) = (self.state, self.peer_verified, keys) {
            self.state = State::Connected;
            self.expected = Vec::new();
            self.events.push_back(DtlsEvent::Connected(keys));
        }
    }

    fn fail(&mut self, failure: Failure) {
        if self.state == State::Handshaking {
            self.events.push_back(DtlsEvent::Failed(failure));
            self.outbox.clear();
        }
        self.end();
    }

    fn end(&mut self) {
        self.state = State::Over;
        self.library = None;
        self.timer = Time::FAR_FUTURE;
    }
}

/// A fatal `bad_certificate` alert in the clear (RFC 5246 section 7.2.2): the peer learns at once
/// what it would otherwise wait out. The record number is above any that the handshake used.
const BAD_CERTIFICATE: [u8; 15] = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 2, 2, 42];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_after_the_keys_leaves_no_deadline() {
        let identity = Arc::new(Identity::generate().unwrap());
        let mut dtls = Dtls::new(&identity, Vec::new(), Time::ZERO);
        dtls.state = State::Connected;
        dtls.drive(|_| Err(dimpl::Error::RenegotiationAttempt));
        assert_eq!(dtls.poll_deadline(), Time::FAR_FUTURE);
        assert!(dtls.poll_event().is_none(), "media goes on");
    }
}
