//! The control link: what the two planes say to each other over their Unix socket.
//!
//! The control plane speaks first with [`Request::Hello`]. Every request carries an id and gets
//! exactly one [`Response`] with it; events flow the other way unasked. Order holds per session:
//! an event that a request caused never overtakes the request's response. The data plane serves one
//! control plane at a time: a newer connection replaces an older one, so that a successor
//! never waits for a dead predecessor's socket.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::error::InvalidValue;
use crate::id::{Mid, RoomId, SessionId, TrackId};
use crate::media::{Kind, SessionDescription, SessionParams};

/// Longest label of a session, in bytes. The control plane keeps there what it needs to carry on
/// after a restart: identity, name, role and the negotiated description.
pub const LABEL_MAX_LEN: usize = 32 << 10;

/// Most sessions in one snapshot page.
pub const SNAPSHOT_PAGE_MAX: u32 = 64;

/// A frame to the data plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToData {
    /// Chosen by the control plane, repeated in the answer.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// A frame to the control plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToControl {
    /// The one answer to the request with this id.
    Answer {
        /// The request's id.
        id: u64,
        /// What came of it.
        result: Result<Response, Refusal>,
    },
    /// Something happened.
    Event(Event),
}

/// What the control plane asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// First message of a connection.
    Hello {
        /// Oldest link version the control plane speaks.
        version_min: u16,
        /// Newest link version the control plane speaks.
        version_max: u16,
        /// Build of the control plane, for the log.
        build: String,
    },
    /// Proof of life; answered at once by the control thread.
    Ping,
    /// A page of the sessions after `after` in id order.
    Snapshot {
        /// The last id of the page before; none for the first page.
        after: Option<SessionId>,
    },
    /// Opens a session. All sessions of a room live on one core.
    CreateSession {
        /// The room whose tracks the session may receive.
        room: RoomId,
        /// Opaque to the data plane, comes back in the snapshot. At most [`LABEL_MAX_LEN`] bytes.
        label: Vec<u8>,
        /// What the offer said.
        params: SessionParams,
    },
    /// A new offer on a living session: lines may be added, or stop publishing. SSRCs and
    /// counters of lines that stay are kept.
    UpdateSession {
        /// Which one.
        session: SessionId,
        /// Replaces the label when given.
        label: Option<Vec<u8>>,
        /// What the new offer said; the transport must be the same unless ICE restarts.
        params: SessionParams,
    },
    /// Replaces a session's label.
    SetLabel {
        /// Which one.
        session: SessionId,
        /// At most [`LABEL_MAX_LEN`] bytes.
        label: Vec<u8>,
    },
    /// Ends a session: its tracks leave the room, its slots are freed.
    CloseSession {
        /// Which one.
        session: SessionId,
    },
    /// Says which track feeds a video slot; none empties it. Audio slots are filled by the data plane.
    SetSlot {
        /// The receiving session.
        session: SessionId,
        /// The slot's line.
        mid: Mid,
        /// A track of the same room.
        track: Option<TrackId>,
    },
    /// Stops or restarts forwarding of a track, whatever its publisher goes on sending.
    SetMuted {
        /// The publishing session.
        session: SessionId,
        /// Which of its tracks.
        track: TrackId,
        /// The new state.
        muted: bool,
    },
    /// Counters of the process, its cores and their sessions.
    Stats,
    /// Orderly end: sessions are closed, the process exits with status 0.
    Shutdown,
}

/// What the data plane answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Hello`].
    Hello(HelloAnswer),
    /// To [`Request::Snapshot`].
    Snapshot {
        /// At most [`SNAPSHOT_PAGE_MAX`] sessions in id order.
        sessions: Vec<SessionSnapshot>,
        /// Whether another page follows.
        more: bool,
    },
    /// To [`Request::CreateSession`] and [`Request::UpdateSession`].
    Session {
        /// Which one.
        session: SessionId,
        /// What the answer is written from.
        description: SessionDescription,
    },
    /// To [`Request::Stats`].
    Stats(Stats),
    /// Done; nothing more to say.
    Done,
}

/// The data plane introduces itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HelloAnswer {
    /// The link version both sides use from here on.
    pub version: u16,
    /// Random per process: another value means another process, and all sessions gone.
    pub instance: u64,
    /// Process id, for supervision by pidfd.
    pub pid: u32,
    /// Build of the data plane.
    pub build: String,
    /// Seconds since its start.
    pub uptime_seconds: u64,
    /// The driver that moves packets: `io_uring` or `syscall`.
    pub io: String,
    /// UDP port of each core, by core index.
    pub udp_ports: Vec<u16>,
    /// The address the sockets are bound to.
    pub bind: IpAddr,
    /// Addresses peers can reach: `dataplane.advertise`, else the host's own, loopback included.
    pub addresses: Vec<IpAddr>,
}

/// Why a request was refused. The code is stable, the message is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of refusal.
    pub code: RefusalCode,
    /// In words, naming the field where there is one.
    pub message: String,
}

impl Refusal {
    /// A refusal with its words.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<InvalidValue> for Refusal {
    fn from(invalid: InvalidValue) -> Self {
        Self::new(RefusalCode::Invalid, invalid.to_string())
    }
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// No version in common; the control plane drains and replaces the data plane.
    Version,
    /// Another message was due first.
    Protocol,
    /// A value is out of bounds.
    Invalid,
    /// No such session, track or slot.
    NotFound,
    /// A bound of the data plane is reached.
    Exhausted,
}

/// What the data plane reports by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// DTLS is done and the peer's certificate is the one it announced.
    SessionConnected {
        /// Which one.
        session: SessionId,
        /// Name of the SRTP profile in use.
        srtp_profile: String,
    },
    /// The session is gone from the data plane.
    SessionClosed {
        /// Which one.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// The first authenticated media packet of a track has come.
    TrackStarted {
        /// The publishing session.
        session: SessionId,
        /// Which of its tracks.
        track: TrackId,
    },
    /// A slot's occupant or its state changed. `epoch` rises with every change of occupant.
    SlotChanged {
        /// The receiving session.
        session: SessionId,
        /// The slot.
        slot: SlotSnapshot,
    },
    /// Events were lost because the control plane did not read: it must take a new snapshot.
    Overflow {
        /// How many.
        lost: u64,
    },
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The control plane asked.
    Requested,
    /// The peer sent a DTLS close_notify.
    PeerClosed,
    /// No consent from the peer for 30 s (RFC 7675).
    ConsentExpired,
    /// The peer never came within the time to connect.
    ConnectTimeout,
    /// DTLS failed, or the peer's certificate was not the announced one.
    DtlsFailed,
}

/// One session as the data plane has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionSnapshot {
    /// Which one.
    pub session: SessionId,
    /// Its room.
    pub room: RoomId,
    /// The label as it was given.
    pub label: Vec<u8>,
    /// Whether DTLS is done.
    pub connected: bool,
    /// As it was given last.
    pub params: SessionParams,
    /// As it was answered.
    pub description: SessionDescription,
    /// Published tracks.
    pub tracks: Vec<TrackSnapshot>,
    /// Slots, in the order of the lines.
    pub slots: Vec<SlotSnapshot>,
}

/// One published track as the data plane has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrackSnapshot {
    /// Its id.
    pub track: TrackId,
    /// The line that publishes it.
    pub mid: Mid,
    /// Audio or video.
    pub kind: Kind,
    /// Whether media has come.
    pub started: bool,
    /// Whether forwarding is stopped.
    pub muted: bool,
}

/// One slot as the data plane has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotSnapshot {
    /// The slot's line.
    pub mid: Mid,
    /// Rises with every change of occupant.
    pub epoch: u32,
    /// Who feeds it.
    pub track: Option<TrackId>,
    /// Why it does not flow though it is wanted.
    #[serde(default)]
    pub reason: Option<SlotReason>,
}

/// Why a slot with a wanted track stays empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotReason {
    /// The receiver can't decode the track's codec or profile.
    Codec,
}

/// Counters since the start of the process. Names are stable; a missing one is zero.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// By core index.
    pub cores: Vec<CoreStats>,
}

/// Counters of one core.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CoreStats {
    /// Living sessions.
    pub sessions: u32,
    /// Packets, bytes, drops by reason, feedback: all by name.
    pub counters: BTreeMap<String, u64>,
}
