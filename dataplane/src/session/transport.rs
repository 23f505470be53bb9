//! ICE, DTLS and the keys of one session.
//!
//! The order is fixed: a connectivity check validates an address, DTLS runs over a validated
//! address only, and media counts only once DTLS has given keys to a peer with the announced
//! certificate.

use std::fmt;
use std::net::IpAddr;

use crate::address::{ConnectionId, TransportAddress};
use crate::dtls::Dtls;
use crate::ice::{self, check_limit::Unproved};
use crate::io::prefetch::prefetch;
use crate::limits;
use crate::srtp::{Inbound, Outbound, Profile, SessionKeys};
use crate::time::Time;

/// Keys in use, one context a direction.
pub struct Keyed {
    /// Name of the profile, for reports.
    pub profile: Profile,
    /// Opens what the peer sends.
    pub inbound: Inbound,
    /// Seals what we send.
    pub outbound: Outbound,
}

impl Keyed {
    /// Contexts for a DTLS server: the peer's are the client's keys.
    #[must_use]
    pub fn new(keys: &SessionKeys) -> Self {
        Self {
            profile: keys.profile,
            inbound: Inbound::new(&keys.client),
            outbound: Outbound::new(&keys.server),
        }
    }
}

/// The transport of one session.
pub struct Transport {
    /// Which addresses the peer has, and which one to use.
    pub ice: ice::Agent,
    /// Bounds what strangers may ask of it.
    pub unproved: Unproved,
    /// The handshake, and close_notify after it; none where a simulation brings keys.
    dtls: Option<Box<Dtls>>,
    /// Present once the peer has proven its certificate.
    pub keyed: Option<Keyed>,
    /// The connection in use that was last told of, and the bytes of pictures it still takes.
    room: Option<(ConnectionId, usize)>,
    /// When the handshake is due, see [`Self::with_dtls`].
    dtls_at: Time,
    created: Time,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("path", &self.path())
            .field("profile", &self.keyed.as_ref().map(|keyed| keyed.profile))
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// A transport that waits for its peer.
    #[must_use]
    pub fn new(ice: ice::Agent, dtls: Box<Dtls>, now: Time) -> Self {
        Self {
            ice,
            dtls_at: dtls.poll_deadline(),
            unproved: Unproved::default(),
            dtls: Some(dtls),
            keyed: None,
            room: None,
            created: now,
        }
    }

    /// Fetches what sending looks at.
    pub fn prefetch(&self) {
        self.ice.prefetch();
        prefetch(&self.dtls_at);
        prefetch(&self.room);
        prefetch(&self.keyed);
    }

    /// Fetches the keys, once it is known that there are some.
    pub fn prefetch_linked(&self) {
        if let Some(keyed) = &self.keyed {
            keyed.outbound.prefetch();
        }
    }

    /// Fetches the keys of what comes, once it is known that there are some. `publishes`: media, and not only feedback.
    pub fn prefetch_incoming_linked(&self, publishes: bool) {
        if let Some(keyed) = &self.keyed {
            keyed.inbound.prefetch(publishes);
        }
    }

    /// Does something with the handshake, if there still is one, and notes when it is due next: that is asked for after
    /// every packet, and its own memory is far from what packets need.
    pub fn with_dtls<R>(&mut self, act: impl FnOnce(&mut Dtls) -> R) -> Option<R> {
        let dtls = self.dtls.as_mut()?;
        let done = act(dtls);
        self.dtls_at = dtls.poll_deadline();
        Some(done)
    }

    /// Goes on without a handshake.
    pub fn drop_dtls(&mut self) {
        self.dtls = None;
        self.dtls_at = Time::FAR_FUTURE;
    }

    /// Whether the handshake is due.
    #[must_use]
    pub fn is_dtls_due(&self, now: Time) -> bool {
        self.dtls_at <= now
    }

    /// Where to send: the nominated path, or before a nomination any validated one.
    #[must_use]
    pub fn path(&self) -> Option<(TransportAddress, IpAddr)> {
        self.ice.selected().map(|path| (path.remote, path.local))
    }

    /// Whether the path is a connection, which loses nothing and so may fall behind.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        self.connection().is_some()
    }

    fn connection(&self) -> Option<ConnectionId> {
        self.ice.selected()?.remote.connection()
    }

    /// Whether pictures and what repairs them may be handed to the path. Datagrams always may: what is
    /// too much gets lost. A connection keeps all it is given, and what waits in it can't be taken back.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let Some(connection) = self.connection() else {
            return true;
        };
        self.room.is_none_or(|(of, room)| of != connection || room > 0)
    }

    /// Notes bytes handed to the path.
    pub fn take_room(&mut self, bytes: usize) {
        let Some(connection) = self.connection() else {
            return;
        };
        let room = match self.room {
            Some((of, room)) if of == connection => room,
            _ => limits::CONNECTION_WINDOW,
        };
        self.room = Some((connection, room.saturating_sub(bytes)));
    }

    /// The connection takes so many bytes more. Gives whether it is the one in use.
    pub fn set_room(&mut self, connection: ConnectionId, room: usize) -> bool {
        let in_use = self.connection() == Some(connection);
        if in_use {
            self.room = Some((connection, room));
        }
        in_use
    }

    /// Whether the peer did not come up in time.
    #[must_use]
    pub fn connect_expired(&self, now: Time) -> bool {
        self.keyed.is_none() && now >= self.created + limits::CONNECT_TIMEOUT
    }

    /// Whether the peer stopped checking. One that never came has given no consent that could
    /// expire; [`Self::connect_expired`] is about it.
    #[must_use]
    pub fn consent_expired(&self, now: Time) -> bool {
        self.path().is_some() && self.ice.consent_expired(now)
    }

    /// When something is due.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        let mut deadline = match self.path() {
            Some(_) => self.ice.poll_deadline(),
            None => Time::FAR_FUTURE,
        };
        deadline = deadline.min(self.dtls_at);
        if self.keyed.is_none() {
            deadline = deadline.min(self.created + limits::CONNECT_TIMEOUT);
        }
        deadline
    }
}
