//! The lite agent of one session: answers checks, remembers who was authenticated, and follows the
//! peer's choice of a path.
//!
//! Which path is in use:
//!
//! - At first the one of the first valid check, so that a handshake may begin before nomination;
//!   a DTLS or SRTP packet on another validated path moves it.
//! - From USE-CANDIDATE on the nominated one. The controlling side may nominate again at any time:
//!   libwebrtc repeats USE-CANDIDATE on the pair it has selected, and after a NAT rebinding or a
//!   change of network that is the only sign of the new path.
//! - With NOMINATION values (draft-thatcher-ice-renomination) only a higher one moves it.
//! - A path that was silent for [`SILENT_PATH`] gives way to a validated one that carries
//!   authenticated packets.
//!
//! Nothing unauthenticated ever moves it, and nothing it does ends a session: a wrong password is
//! an answerless drop, or a stranger could hang up on anybody.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::candidate::{Pairs, Path};
use super::consent::{CONSENT_TIMEOUT, Consent};
use crate::address::TransportAddress;
use crate::time::Time;
use crate::wire::stun::{Class, Message, write_binding_error, write_binding_success};

/// Silence after which a path counts as broken while another works. Browsers check the path they
/// use every 2.5 seconds or more often.
const SILENT_PATH: Duration = Duration::from_secs(4);

/// RFC 8489 section 14.8: an attribute that must be understood was not.
const UNKNOWN_ATTRIBUTE: u16 = 420;

/// RFC 8445 section 7.3.1.1: both sides claim the same role.
const ROLE_CONFLICT: u16 = 487;

/// One side's ICE credentials (RFC 8839 section 5.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User fragment; not secret.
    pub ufrag: String,
    /// Password, the HMAC key of every check; secret.
    pub pwd: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// Why a STUN message was dropped without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// An answer, though a lite agent asks nothing.
    Answer,
    /// USERNAME is missing or not of this session.
    UnknownUser,
    /// MESSAGE-INTEGRITY is missing or wrong.
    Integrity,
}

/// What a STUN message led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Bytes of the answer in the caller's buffer, to be sent back along the way the message came.
    /// Zero: no answer.
    pub reply_len: usize,
    /// The sender's address is validated from now on.
    pub newly_validated: bool,
    /// [`Agent::selected`] is another path than before, or the first.
    pub path_changed: bool,
    /// An address that is no longer validated.
    pub evicted: Option<TransportAddress>,
    /// Set if the message was dropped.
    pub ignored: Option<Ignored>,
}

impl Outcome {
    fn ignored(reason: Ignored) -> Self {
        Self {
            ignored: Some(reason),
            ..Self::default()
        }
    }
}

/// What the credentials of a message are compared with.
#[derive(Debug)]
struct Generation {
    local: Credentials,
    remote_ufrag: String,
    /// A valid check used it.
    used: bool,
}

impl Generation {
    fn new(local: Credentials, remote_ufrag: String) -> Self {
        Self {
            local,
            remote_ufrag,
            used: false,
        }
    }

    fn matches(&self, message: &Message<'_>) -> bool {
        // RFC 8445 section 7.2.2: the receiver's fragment comes first.
        message.ufrags().is_some_and(|(ours, theirs)| {
            ours == self.local.ufrag.as_bytes() && theirs == self.remote_ufrag.as_bytes()
        })
    }
}

/// A session's lite agent.
#[derive(Debug)]
pub struct Agent {
    current: Generation,
    /// The generation before an ICE restart, and until when it is still believed.
    previous: Option<(Generation, Time)>,
    pairs: Pairs,
    /// The path in use was nominated.
    completed: bool,
    last_nomination: Option<u32>,
    consent: Consent,
}

impl Agent {
    /// A new session's agent. The peer's password is not asked for: it would sign checks that a
    /// lite agent never sends.
    #[must_use]
    pub fn new(local: Credentials, remote_ufrag: String, now: Time) -> Self {
        Self {
            current: Generation::new(local, remote_ufrag),
            previous: None,
            pairs: Pairs::new(),
            completed: false,
            last_nomination: None,
            consent: Consent::new(now),
        }
    }

    /// An ICE restart (RFC 8445 section 9): new credentials. The old ones stay valid until the
    /// peer nominates a pair with the new ones, at most for the time of consent; so do the paths.
    ///
    /// A restart whose answer was lost is followed by another: then the old ones are those that the
    /// peer did use, and their time runs on.
    pub fn restart(&mut self, local: Credentials, remote_ufrag: String, now: Time) {
        let old = std::mem::replace(&mut self.current, Generation::new(local, remote_ufrag));
        if old.used || self.previous.is_none() {
            self.previous = Some((old, now + CONSENT_TIMEOUT));
        }
        self.last_nomination = None;
    }

    /// Takes a STUN message that came from `from` to our address `to`, and writes the answer, if
    /// there is one, into `reply`, which needs at most 256 bytes.
    pub fn handle_request(
        &mut self,
        now: Time,
        message: &Message<'_>,
        from: TransportAddress,
        to: IpAddr,
        reply: &mut [u8],
    ) -> Outcome {
        match message.class() {
            Class::Request => {}
            // RFC 8445 section 11: a keepalive. It carries no proof, so it changes nothing.
            Class::Indication => return Outcome::default(),
            Class::Success | Class::Error => return Outcome::ignored(Ignored::Answer),
        }
        if self.previous.as_ref().is_some_and(|(_, until)| now >= *until) {
            self.previous = None;
        }
        let is_current = self.current.matches(message);
        let generation = match &self.previous {
            _ if is_current => &self.current,
            Some((previous, _)) if previous.matches(message) => previous,
            _ => return Outcome::ignored(Ignored::UnknownUser),
        };
        let password = generation.local.pwd.as_bytes();
        if !message.verify_integrity(password) {
            return Outcome::ignored(Ignored::Integrity);
        }

        let id = message.transaction_id();
        let unknown = message.unknown_attributes().as_slice();
        let refusal = if !unknown.is_empty() {
            Some(UNKNOWN_ATTRIBUTE)
        } else if message.ice_controlled().is_some() {
            // A lite agent is always the controlled one (RFC 8445 section 6.1.1).
            Some(ROLE_CONFLICT)
        } else {
            None
        };
        if let Some(code) = refusal {
            let reply_len = write_binding_error(reply, id, code, Some(password), unknown);
            return Outcome {
                reply_len: reply_len.unwrap_or(0),
                ..Outcome::default()
            };
        }
        let reply_len = write_binding_success(reply, id, from.socket(), password).unwrap_or(0);

        self.consent.renew(now);
        self.current.used |= is_current;
        let path = Path {
            remote: from,
            local: to,
        };
        let before = self.selected();
        let validated = self.pairs.validate(now, path);
        self.choose(message, from, is_current);
        Outcome {
            reply_len,
            newly_validated: validated.new,
            path_changed: self.selected() != before,
            evicted: validated.evicted,
            ignored: None,
        }
    }

    /// Follows a valid check's wish for a path.
    fn choose(&mut self, message: &Message<'_>, from: TransportAddress, is_current: bool) {
        // Repeated checks of the generation before a restart must not move the path any more.
        let nominates = is_current
            && match message.nomination() {
                Some(value) => self.last_nomination.is_none_or(|last| value > last),
                None => message.use_candidate(),
            };
        if nominates {
            self.last_nomination = message.nomination().or(self.last_nomination);
            self.pairs.select(from);
            self.completed = true;
            self.previous = None;
        } else if self.pairs.selected().is_none() {
            self.pairs.select(from);
        }
    }

    /// A DTLS datagram came from `from`. Before nomination the handshake's path is the one that
    /// the peer uses for it. Gives whether the path changed.
    pub fn on_handshake_packet(&mut self, from: TransportAddress) -> bool {
        !self.completed && self.pairs.select(from)
    }

    /// An SRTP or SRTCP packet from `from` was authenticated. Gives whether the path changed.
    pub fn on_authenticated_packet(&mut self, now: Time, from: TransportAddress) -> bool {
        let Some(pair) = self.pairs.get_mut(from) else {
            return false;
        };
        pair.heard = now;
        let Some(selected) = self.pairs.selected() else {
            return self.pairs.select(from);
        };
        if selected.remote == from {
            return false;
        }
        let heard = self
            .pairs
            .get(selected.remote)
            .map_or(Time::ZERO, |pair| pair.heard);
        let silent = now.since(heard) > SILENT_PATH;
        (!self.completed || silent) && self.pairs.select(from)
    }

    /// The connection behind an address is closed. Gives whether the path changed; it may be none now.
    pub fn on_closed(&mut self, remote: TransportAddress) -> bool {
        let before = self.selected();
        self.pairs.remove(remote);
        self.selected() != before
    }

    /// Fetches what [`Self::selected`] looks at.
    pub fn prefetch(&self) {
        self.pairs.prefetch();
    }

    /// Where to send to; `None` before the first valid check.
    #[must_use]
    pub fn selected(&self) -> Option<Path> {
        self.pairs.selected()
    }

    /// Whether the peer has nominated a path.
    #[must_use]
    pub const fn is_completed(&self) -> bool {
        self.completed
    }

    /// Whether a valid check came from `from`, and it was not evicted since.
    #[must_use]
    pub fn is_validated(&self, from: &TransportAddress) -> bool {
        self.pairs.get(*from).is_some()
    }

    /// All validated addresses, for whoever indexes them.
    pub fn validated(&self) -> impl Iterator<Item = TransportAddress> {
        self.pairs.iter().map(|pair| pair.path.remote)
    }

    /// Our own ufrag, and that of the generation before while it is believed.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        let previous = self.previous.as_ref().map(|(generation, _)| generation);
        std::iter::once(&self.current)
            .chain(previous)
            .map(|generation| generation.local.ufrag.as_str())
    }

    /// Our credentials.
    #[must_use]
    pub const fn local(&self) -> &Credentials {
        &self.current.local
    }

    /// When consent expires unless a check comes.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        self.consent.deadline()
    }

    /// Whether the peer has been silent for too long to send to it (RFC 7675 section 5.1).
    #[must_use]
    pub fn consent_expired(&self, now: Time) -> bool {
        now >= self.consent.deadline()
    }
}

#[cfg(test)]
mod tests;
