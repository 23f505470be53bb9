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
use crate::id::{Mid, Rid, RoomId, SessionId, TrackId};
use crate::media::{Codec, Kind, Layer, SessionDescription, SessionParams, SlotWish};

/// Longest label of a session, in bytes. The control plane keeps there what it needs to carry on
/// after a restart: identity, name, role and the negotiated description.
pub const LABEL_MAX_LEN: usize = 32 << 10;

/// Most sessions in one snapshot page.
pub const SNAPSHOT_PAGE_MAX: u32 = 64;

/// Most sessions in one page of statistics: with every slot in use such a page stays below half of
/// what a frame may carry.
pub const STATS_PAGE_MAX: u32 = 64;

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
        /// Since version 4: whoever it is for was in the room already and is let in where newcomers are refused.
        #[serde(default)]
        returns: bool,
    },
    /// A new offer on a living session: lines may be added, or stop publishing. SSRCs and
    /// counters of lines that stay are kept.
    ///
    /// Since version 2 another ICE user fragment or password restarts ICE (RFC 8445 section 9): the answer
    /// has new ones of the server, everything else of the session goes on. Version 1 refuses it.
    UpdateSession {
        /// Which one.
        session: SessionId,
        /// Replaces the label when given.
        label: Option<Vec<u8>>,
        /// What the new offer said; the certificates must be the same.
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
    /// Since version 3: takes a session with its tracks into another room of its core. Its slots and those
    /// its tracks fed are emptied; transport, SSRCs and counters go on.
    ///
    /// A room that is only ever reached by this lives on the core of the sessions that came into it, so
    /// parts of a room stay together when every session begins in the main one.
    MoveSession {
        /// Which one.
        session: SessionId,
        /// Where to; made if nobody is there yet.
        room: RoomId,
    },
    /// Says which track feeds a slot; none empties it. Audio slots are filled by the data plane, until one
    /// is set by this: from then on it carries what it is told.
    /// With the track the slot has already, only the wish changes.
    SetSlot {
        /// The receiving session.
        session: SessionId,
        /// The slot's line.
        mid: Mid,
        /// A track of the same room.
        track: Option<TrackId>,
        /// What of it is wanted.
        #[serde(default)]
        wish: SlotWish,
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
    /// Counters of the process and its cores.
    Stats,
    /// A page of what sessions send and receive, in id order.
    SessionStats {
        /// Only those of this room.
        #[serde(default)]
        room: Option<RoomId>,
        /// The last id of the page before; none for the first page.
        after: Option<SessionId>,
    },
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
    /// To [`Request::SessionStats`].
    SessionStats {
        /// At most [`STATS_PAGE_MAX`] sessions in id order.
        sessions: Vec<SessionStats>,
        /// Whether another page follows.
        more: bool,
    },
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
    /// TCP port of all cores (ICE-TCP, RFC 6544); none while it is off, and from a data plane without it.
    #[serde(default)]
    pub tcp_port: Option<u16>,
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
    /// A bound of the data plane is reached, or a core has too much to do.
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
    /// Which layers of a simulcast track anybody takes or is about to take. Told when it changes;
    /// a layer nobody takes is told only after some seconds.
    Dynacast {
        /// The publishing session.
        session: SessionId,
        /// Which of its tracks.
        track: TrackId,
        /// Every rid of the track, in the order of the offer, and whether it is wanted.
        layers: Vec<(Rid, bool)>,
    },
    /// Somebody else speaks now: the one that a room's listeners follow. At most one a second and room.
    ActiveSpeaker {
        /// The publishing session.
        session: SessionId,
        /// The microphone.
        track: TrackId,
    },
    /// Since version 4: how much of a core is shed because it has too much to do, and whether it takes newcomers. Told
    /// when it changes, and for every core with the first page of a snapshot.
    CoreLoad {
        /// Which core.
        core: u8,
        /// 0: nothing. Each level takes something more of everybody's video.
        level: u8,
        /// Whether new sessions are refused, but for those that come back.
        refuses: bool,
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
    /// Whether it is the microphone of the one who speaks to the room.
    #[serde(default)]
    pub speaks: bool,
    /// What dynacast said last: rids and whether each is wanted; empty without simulcast.
    #[serde(default)]
    pub layers: Vec<(Rid, bool)>,
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
    /// The layer that is shown; none for a track with a single one, and before any flows.
    #[serde(default)]
    pub layer: Option<Layer>,
    /// Whether it is held back because the receiver's path is too narrow, or the core has too much to do.
    #[serde(default)]
    pub paused: bool,
    /// What was asked for.
    #[serde(default)]
    pub wish: SlotWish,
}

/// Why a slot with a wanted track stays empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotReason {
    /// The receiver can't decode the track's codec or profile.
    Codec,
}

/// What one session sends and receives. Bitrates are over the last second, in bits per second with all
/// headers above UDP; counts are since the session, track or slot began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStats {
    /// Which one.
    pub session: SessionId,
    /// Round trip in milliseconds, as reports or feedback tell.
    pub rtt_ms: u32,
    /// What the path to the peer is believed to carry; none before feedback.
    pub estimate_bps: Option<u64>,
    /// What is sent to the peer, probes and retransmissions included.
    pub send_bps: u64,
    /// What comes from the peer.
    pub receive_bps: u64,
    /// Share of what was sent that got lost, in thousandths, by transport-wide feedback.
    pub loss_permille: u16,
    /// Packets sent again.
    pub rtx_packets: u64,
    /// Packets sent only to measure the path.
    pub padding_packets: u64,
    /// Packets that wait for their turn on the path.
    pub queued_packets: u64,
    /// What it publishes.
    pub tracks: Vec<TrackStats>,
    /// What it receives on; slots that never carried anything are left out.
    pub slots: Vec<SlotStats>,
}

/// One published track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrackStats {
    /// Its id.
    pub track: TrackId,
    /// Its layers, in the order of the offer.
    pub layers: Vec<LayerStats>,
}

/// One layer as it comes from its publisher.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LayerStats {
    /// Its rid; none for a single encoding.
    pub rid: Option<Rid>,
    /// Its codec, once something came.
    pub codec: Option<Codec>,
    /// Whether packets still come.
    pub active: bool,
    /// Over the last second.
    pub bitrate_bps: u64,
    /// Pictures per second; zero for sound.
    pub fps: u16,
    /// In pixels; zero while unknown.
    pub width: u16,
    /// In pixels; zero while unknown.
    pub height: u16,
    /// Packets of the primary stream.
    pub packets: u64,
    /// Their payload.
    pub bytes: u64,
    /// Packets that never came, retransmissions not counted.
    pub lost: u64,
    /// Interarrival jitter in milliseconds (RFC 3550 section 6.4.1).
    pub jitter_ms: u32,
    /// Sequence numbers we asked for again.
    pub nack_sent: u64,
    /// Key frames we asked for.
    pub pli_sent: u64,
    /// Retransmissions that came.
    pub rtx_packets: u64,
}

/// One slot as it goes to its receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotStats {
    /// The slot's line.
    pub mid: Mid,
    /// Who feeds it.
    pub track: Option<TrackId>,
    /// The layer that is shown.
    pub layer: Option<Layer>,
    /// Whether it is held back because the path is too narrow, or the core has too much to do.
    pub paused: bool,
    /// Over the last second.
    pub bitrate_bps: u64,
    /// Packets of the primary stream.
    pub packets: u64,
    /// Their payload.
    pub bytes: u64,
    /// Packets the receiver says it lost.
    pub lost: i32,
    /// Loss of the last report in thousandths.
    pub loss_permille: u16,
    /// Jitter at the receiver in milliseconds.
    pub jitter_ms: u32,
    /// Sequence numbers the receiver asked for again.
    pub nack_received: u64,
    /// Key frames the receiver asked for.
    pub pli_received: u64,
    /// Packets sent again.
    pub rtx_packets: u64,
    /// Changes of the layer that is shown.
    pub layer_changes: u64,
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
