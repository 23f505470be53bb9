//! WebSocket messages between a client and the control plane, as in the product's reference.
//!
//! `"type"` names the message. A client message may carry `"id"`; its answer or error then has
//! the same value as `"re"`. Text lengths are bounded by the receiver, see [`limits`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::media::{Kind, Layer, Source};

/// Bounds of one message; the frame itself is at most [`limits::FRAME`] bytes.
pub mod limits {
    /// Longest client frame in bytes; a longer one closes with 1009.
    pub const FRAME: usize = 256 << 10;
    /// Longest chat text in characters.
    pub const CHAT_TEXT: usize = 4_096;
    /// Longest display name in characters.
    pub const NAME: usize = 64;
    /// Longest password in characters.
    pub const PASSWORD: usize = 128;
    /// Longest SDP in bytes.
    pub const SDP: usize = 192 << 10;
    /// Longest name of a reaction in characters: an emoji with its modifiers, or a word such as `thumbsup`.
    pub const EMOJI: usize = 32;
    /// Longest reason of a kick or a rejection in characters.
    pub const REASON: usize = 256;
    /// Most messages in one `chat_history`.
    pub const HISTORY_PAGE: u32 = 100;
    /// Most breakout rooms of a room.
    pub const BREAKOUTS: usize = 50;
    /// Longest time of breakout rooms in seconds: a day.
    pub const BREAKOUT_SECONDS: u32 = 86_400;
}

/// Close codes of the WebSocket beyond those of RFC 6455.
pub mod close {
    /// The token was refused.
    pub const AUTH_FAILED: u16 = 4401;
    /// A second join with the same identity took over.
    pub const REPLACED: u16 = 4409;
    /// The client did not read what it was sent.
    pub const TOO_SLOW: u16 = 4408;
    /// A moderator sent the client away, or did not let it in.
    pub const REMOVED: u16 = 4403;
    /// The client opened the socket and joined no room.
    pub const IDLE: u16 = 4400;
}

/// What a participant may do in its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Host,
    /// Everything but ending the room and changing hosts.
    CoHost,
    /// Publish, subscribe, chat.
    Guest,
    /// Subscribe only.
    Viewer,
}

/// What one participant may do: what its role allows, without what its token takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
pub struct Permissions {
    /// Send audio and video.
    pub publish: bool,
    /// Receive them.
    pub subscribe: bool,
    /// Write messages.
    pub chat: bool,
    /// Share a screen.
    pub screen: bool,
    /// Start recordings.
    pub record: bool,
    /// Moderate.
    pub admin: bool,
}

/// A client's frame: the message and its optional id.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
pub struct ClientFrame {
    /// Comes back as `re`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, type = "string | number"))]
    pub id: Option<Value>,
    /// The message.
    #[serde(flatten)]
    pub message: ClientMessage,
}

/// Client to server.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export, optional_fields))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Enters a room.
    Join {
        /// Id or slug.
        room: String,
        /// If the room asks for one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<String>,
        /// Display name; the token's name wins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Token of an earlier `joined`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<String>,
        /// Whether free video slots fill by themselves; default true.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        auto_subscribe: Option<bool>,
    },
    /// Leaves at once.
    Leave,
    /// Names the source of a line, before or with the offer that has it.
    Publish {
        /// The line.
        mid: String,
        /// What it shows.
        source: Source,
    },
    /// An SDP offer, for the server or with `to` for a participant.
    Offer {
        /// The session description.
        sdp: String,
        /// Identity it is relayed to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// An SDP answer, relayed to a participant.
    Answer {
        /// The session description.
        sdp: String,
        /// Identity it is relayed to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// A trickled candidate.
    Candidate {
        /// `RTCIceCandidateInit`, or null for the end.
        #[cfg_attr(feature = "typescript", ts(type = "RTCIceCandidateInit | null"))]
        candidate: Value,
        /// Identity it is relayed to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// Asks for a track in a video slot, and says how much of it is of use. For a track that has a
    /// slot only the wish changes: each message is the whole wish, absent fields have their defaults.
    Subscribe {
        /// Which track.
        track_id: String,
        /// The highest layer wanted; default `auto`, no bound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        layer: Option<Layer>,
        /// The slot; the one it has, else any free one if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mid: Option<String>,
        /// Higher first when bandwidth is short, 0 to 255; default 255 for screens, 100 for cameras.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<u8>,
        /// Widest useful picture in pixels, at least 1: the smallest layer that serves it is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_width: Option<u32>,
        /// Highest useful picture in pixels, at least 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_height: Option<u32>,
        /// Most useful frames per second, at least 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_fps: Option<u32>,
    },
    /// Empties the slots of a track.
    Unsubscribe {
        /// Which track.
        track_id: String,
    },
    /// The sender's own track is silent from now on.
    Mute {
        /// `audio`, `video`, `screen` or a track id.
        track: String,
    },
    /// The sender's own track is back.
    Unmute {
        /// `audio`, `video`, `screen` or a track id.
        track: String,
    },
    /// Silences somebody's track; for moderators. It stays so until that participant lifts it by `unmute`.
    MuteParticipant {
        /// Who.
        identity: String,
        /// `audio`, `video`, `screen` or a track id.
        track: String,
    },
    /// A chat message.
    Chat {
        /// The text.
        text: String,
        /// Identity of the only reader; everybody if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// A reaction to a message, or without `message_id` to the meeting.
    Reaction {
        /// An emoji or its name.
        emoji: String,
        /// The message; the meeting if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
        /// Takes an own reaction to a message back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remove: Option<bool>,
    },
    /// Changes an own message.
    ChatEdit {
        /// Which one.
        message_id: String,
        /// The new text.
        text: String,
    },
    /// Takes a message back: an own one, or as a moderator anybody's.
    ChatDelete {
        /// Which one.
        message_id: String,
    },
    /// Asks for messages of before, newest page first.
    ChatHistory {
        /// Only those before this message; the newest if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        /// At most so many, 1 to 100; default 50.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// Raises or lowers the own hand; a moderator lowers somebody's by `identity`.
    Hand {
        /// The new state.
        raised: bool,
        /// Whose; the sender's if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identity: Option<String>,
    },
    /// Lets somebody in who waits; for moderators.
    LobbyAdmit {
        /// Who.
        identity: String,
    },
    /// Sends somebody away who waits; for moderators.
    LobbyReject {
        /// Who.
        identity: String,
        /// In words, for the one who waits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Lets everybody in who waits; for moderators.
    LobbyAdmitAll,
    /// Sends somebody away; for moderators. The token that opened the room is good for nothing any more.
    Kick {
        /// Who.
        identity: String,
        /// Whether the same identity or address may come back with another token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ban: Option<BanBy>,
    },
    /// Locks the room, or opens it again; for moderators.
    RoomLock {
        /// Whether newcomers are refused.
        locked: bool,
    },
    /// Gives somebody another role; for moderators, hosts are made and changed by hosts.
    Role {
        /// Who.
        identity: String,
        /// What it is from now on.
        role: Role,
    },
    /// Closes the room for everybody; for hosts.
    EndRoom,
    /// Becomes host after `host_offer`.
    HostAccept,
    /// Stays what it is after `host_offer`; the next one is asked.
    HostDecline,
    /// Makes breakout rooms in place of those there are; for moderators.
    BreakoutsCreate {
        /// How many, 1 to 50.
        count: u32,
        /// Their names, in order; `Room 1` and so on where there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        names: Option<Vec<String>>,
        /// How people get into them; default `manual`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        assign: Option<BreakoutAssign>,
    },
    /// Puts somebody into a breakout room, or with null into the main room; for moderators. While they
    /// are open the participant is moved at once.
    BreakoutAssign {
        /// Who.
        identity: String,
        /// Id of the breakout room.
        room: Option<String>,
    },
    /// Opens the breakout rooms: everybody assigned is moved; for moderators.
    BreakoutsOpen {
        /// After so many seconds everybody returns; no end if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration_seconds: Option<u32>,
    },
    /// Goes to a breakout room, or with null back to the main room: when people choose, or as a moderator.
    BreakoutJoin {
        /// Id of the breakout room.
        room: Option<String>,
    },
    /// Says something to everybody in all breakout rooms; for moderators.
    BreakoutsBroadcast {
        /// The text.
        text: String,
    },
    /// Brings everybody back; for moderators.
    BreakoutsClose,
}

impl ClientMessage {
    /// Every `type` a client may send, for telling an unknown type from a malformed message.
    pub const TYPES: [&str; 32] = [
        "join",
        "leave",
        "publish",
        "offer",
        "answer",
        "candidate",
        "subscribe",
        "unsubscribe",
        "mute",
        "unmute",
        "mute_participant",
        "chat",
        "reaction",
        "chat_edit",
        "chat_delete",
        "chat_history",
        "hand",
        "lobby_admit",
        "lobby_reject",
        "lobby_admit_all",
        "kick",
        "room_lock",
        "role",
        "end_room",
        "host_accept",
        "host_decline",
        "breakouts_create",
        "breakout_assign",
        "breakouts_open",
        "breakout_join",
        "breakouts_broadcast",
        "breakouts_close",
    ];
}

/// A server's frame: the message, and which client message it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
pub struct ServerFrame {
    /// The client's `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, type = "string | number"))]
    pub re: Option<Value>,
    /// The message.
    #[serde(flatten)]
    pub message: ServerMessage,
}

/// Server to client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export, optional_fields))]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "joined is said once to each client, and written at once: a box would only make its fields harder to reach"
)]
pub enum ServerMessage {
    /// The join was accepted.
    Joined {
        /// The room's id.
        room: String,
        /// Who the client is.
        identity: String,
        /// What it is.
        role: Role,
        /// What it may do.
        permissions: Permissions,
        /// Token for a later `join`; the last one stays valid until this one is used.
        resume: String,
        /// Whether the media session of the resumed connection still lives.
        resumed: bool,
        /// Who is there, without the client itself.
        participants: Vec<Participant>,
        /// For `RTCPeerConnection`; empty unless the operator runs TURN.
        ice_servers: Vec<IceServer>,
        /// The room's settings.
        room_info: RoomInfo,
        /// How many are there, the client included.
        presence: Presence,
        /// The breakout rooms, if there are any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        breakouts: Option<Breakouts>,
        /// The breakout room the client is in; absent in the main room.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        breakout: Option<String>,
        /// The server.
        server: ServerInfo,
    },
    /// The client waits until a moderator lets it in; then `joined` follows, or `lobby_rejected`.
    LobbyWaiting {
        /// The room's name, and nothing else of it.
        room_name: String,
        /// Who the client would be.
        identity: String,
    },
    /// The client was not let in; the connection is closed.
    LobbyRejected {
        /// In words.
        reason: String,
    },
    /// Somebody waits to be let in; to moderators.
    LobbyRequest {
        /// Who.
        identity: String,
        /// Display name.
        name: String,
    },
    /// Somebody does not wait any more: admitted, rejected or gone; to moderators.
    LobbyLeft {
        /// Who.
        identity: String,
    },
    /// Somebody came.
    ParticipantJoined {
        /// Who.
        identity: String,
        /// Display name.
        name: String,
        /// What it may do.
        role: Role,
    },
    /// Somebody left.
    ParticipantLeft {
        /// Who.
        identity: String,
    },
    /// A relayed offer.
    Offer {
        /// The session description.
        sdp: String,
        /// The sender.
        from: String,
    },
    /// The server's answer, or with `from` a relayed one.
    Answer {
        /// The session description.
        sdp: String,
        /// The sender, if it was a participant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// A relayed candidate.
    Candidate {
        /// `RTCIceCandidateInit`, or null for the end.
        #[cfg_attr(feature = "typescript", ts(type = "RTCIceCandidateInit | null"))]
        candidate: Value,
        /// The sender.
        from: String,
    },
    /// Media of a track has begun to flow.
    TrackPublished {
        /// Its id.
        track_id: String,
        /// Audio or video.
        kind: Kind,
        /// What it shows.
        source: Source,
        /// The publisher.
        from: String,
        /// The publisher's line.
        mid: String,
        /// Whether it is muted.
        muted: bool,
        /// Whether it has several layers.
        simulcast: bool,
    },
    /// A track is gone.
    TrackUnpublished {
        /// Its id.
        track_id: String,
        /// The publisher.
        from: String,
    },
    /// The state of one of the client's slots; `track_id` null: empty.
    Slot {
        /// The slot's line.
        mid: String,
        /// Rises with every change of occupant.
        epoch: u32,
        /// Who feeds it.
        track_id: Option<String>,
        /// Its publisher.
        from: Option<String>,
        /// The layer in use; absent for a track with a single one, and before any flows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        layer: Option<Layer>,
        /// Whether the server holds the picture back: the path is too narrow for it, or the server has too much to do.
        paused: bool,
        /// Why it stays empty.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Which layers of the client's own track anybody takes: the others need not be sent. Keys are
    /// the client's rids. It may come before the track's own `track_published`, and comes again after
    /// a resume.
    Dynacast {
        /// The client's track.
        track_id: String,
        /// Whether each layer is wanted.
        layers: BTreeMap<String, bool>,
    },
    /// Who speaks to the room now. It stays so while nobody speaks, and comes again after a resume.
    ActiveSpeaker {
        /// Who.
        identity: String,
    },
    /// A track fell silent.
    Muted {
        /// Its publisher.
        identity: String,
        /// `audio`, `video`, `screen` or a track id.
        track: String,
        /// Who did it.
        by: String,
    },
    /// A track is back.
    Unmuted {
        /// Its publisher.
        identity: String,
        /// `audio`, `video`, `screen` or a track id.
        track: String,
        /// Who did it.
        by: String,
    },
    /// A chat message; the sender gets its own too.
    Chat {
        /// Its id.
        id: String,
        /// The sender.
        from: String,
        /// The text.
        text: String,
        /// Set on private messages.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// Seconds since 1970.
        #[cfg_attr(feature = "typescript", ts(type = "number"))]
        timestamp: i64,
    },
    /// Messages of before, oldest first: the answer to `chat_history`.
    ChatHistory {
        /// At most as many as were asked for.
        messages: Vec<ChatMessage>,
        /// Whether there are older ones.
        more: bool,
    },
    /// A message has another text now.
    ChatEdited {
        /// Which one.
        id: String,
        /// The new text.
        text: String,
        /// Seconds since 1970.
        #[cfg_attr(feature = "typescript", ts(type = "number"))]
        edited_at: i64,
    },
    /// A message was taken back.
    ChatDeleted {
        /// Which one.
        id: String,
        /// By whom.
        by: String,
    },
    /// A reaction to a message or to the meeting.
    Reaction {
        /// Who reacts.
        from: String,
        /// An emoji or its name.
        emoji: String,
        /// The message; the meeting if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
        /// Whether it was taken back.
        removed: bool,
    },
    /// Somebody raised or lowered a hand.
    Hand {
        /// Whose.
        identity: String,
        /// The new state.
        raised: bool,
        /// Who did it.
        by: String,
    },
    /// Somebody has another role now.
    RoleChanged {
        /// Who.
        identity: String,
        /// The new role.
        role: Role,
        /// Who did it; the participant itself when it took an offer.
        by: String,
        /// What the client may do from now on; told to the one concerned only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        permissions: Option<Permissions>,
    },
    /// The last host has left: the client may become host by `host_accept`.
    HostOffer,
    /// The room's settings have changed.
    RoomUpdated {
        /// As they are now.
        room_info: RoomInfo,
        /// Who did it.
        by: String,
    },
    /// How many are there: in large rooms viewers are counted instead of announced.
    Presence {
        /// The numbers.
        #[serde(flatten)]
        presence: Presence,
    },
    /// The breakout rooms as they are now; none when they are over.
    Breakouts {
        /// All of them.
        breakouts: Option<Breakouts>,
    },
    /// The client is in another room now: its connections stay, everybody else has changed.
    RoomMoved {
        /// Id of the breakout room; absent: the main room.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        breakout: Option<String>,
        /// Name of the room it is in.
        name: String,
        /// Who is there, without the client itself.
        participants: Vec<Participant>,
    },
    /// Everybody returns from the breakout rooms soon.
    BreakoutsEnding {
        /// In so many seconds.
        seconds: u32,
    },
    /// A moderator speaks to everybody in all breakout rooms.
    Announcement {
        /// Who.
        from: String,
        /// The text.
        text: String,
    },
    /// The data plane was lost: offer anew on a new peer connection.
    MediaRestarted,
    /// What the others can decode has changed: offer again on the same peer connection.
    Renegotiate,
    /// The room is over.
    RoomClosed,
    /// The client was sent away.
    Kicked {
        /// Who.
        identity: String,
        /// By whom.
        by: String,
    },
    /// What was asked can't be done; the connection goes on unless it says otherwise.
    Error {
        /// Stable code.
        code: ErrorCode,
        /// In words, naming the field where there is one.
        message: String,
    },
}

/// Codes of `error` messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The token is missing, expired, forged or for another room.
    AuthFailed,
    /// Not JSON, or a field of the wrong shape.
    BadMessage,
    /// No such `type`.
    UnknownType,
    /// The role does not allow it.
    PermissionDenied,
    /// No such room, or it is closed.
    RoomNotFound,
    /// `max_participants` are there, or the media server has too much to do to take newcomers.
    RoomFull,
    /// The room is locked.
    RoomLocked,
    /// The room has a password.
    PasswordRequired,
    /// Another password.
    PasswordWrong,
    /// Join first.
    NotJoined,
    /// Already joined.
    AlreadyJoined,
    /// No such participant.
    ParticipantNotFound,
    /// No such track, or it left.
    TrackNotFound,
    /// No such slot, or none free.
    SlotNotFound,
    /// No such message, or it was taken back.
    MessageNotFound,
    /// No such breakout room, or there are none.
    BreakoutNotFound,
    /// The participant or its address was banned from the room.
    Banned,
    /// No such ban.
    BanNotFound,
    /// It can't be done in this state; the message says why.
    Conflict,
    /// The offer can't be used; the message says why.
    SdpInvalid,
    /// Too many messages.
    RateLimited,
    /// Another connection with the same identity took over.
    Replaced,
    /// The data plane is away; it is being restarted.
    MediaUnavailable,
    /// A bug or an outage on the server's side.
    Internal,
}

/// One participant in `joined`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
pub struct Participant {
    /// Who.
    pub identity: String,
    /// Display name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// RFC 3339, UTC.
    pub joined_at: String,
    /// Whether it raised its hand.
    #[serde(default)]
    pub hand: bool,
    /// What it publishes.
    pub tracks: Vec<Track>,
}

/// Who is kept out after a kick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BanBy {
    /// The identity of the token.
    Identity,
    /// The network address.
    Address,
}

/// How people get into breakout rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BreakoutAssign {
    /// A moderator assigns everybody.
    Manual,
    /// All but moderators, in equal numbers.
    Random,
    /// Everybody chooses.
    Choice,
}

/// The breakout rooms of a room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export, optional_fields))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Breakouts {
    /// Whether people are in them.
    pub open: bool,
    /// How people get into them.
    pub assign: BreakoutAssign,
    /// When everybody returns, RFC 3339; absent: nothing is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,
    /// All of them.
    pub rooms: Vec<Breakout>,
}

impl Breakouts {
    /// There are no breakout rooms.
    #[must_use]
    pub fn none() -> Self {
        Self {
            open: false,
            assign: BreakoutAssign::Manual,
            ends_at: None,
            rooms: Vec::new(),
        }
    }
}

/// One breakout room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Breakout {
    /// Its id.
    pub id: String,
    /// For people.
    pub name: String,
    /// Who is assigned to it.
    pub assigned: Vec<String>,
    /// Who is in it now.
    pub present: Vec<String>,
}

/// How many are in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
pub struct Presence {
    /// All of them.
    pub participants: u32,
    /// Those who only watch.
    pub viewers: u32,
}

/// A kept chat message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export, optional_fields))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChatMessage {
    /// Its id.
    pub id: String,
    /// The sender.
    pub from: String,
    /// The sender's display name when it was sent.
    pub name: String,
    /// The text; empty when it was taken back.
    pub text: String,
    /// Set on private messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Seconds since 1970.
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub timestamp: i64,
    /// When it was changed, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub edited_at: Option<i64>,
    /// Whether it was taken back.
    pub deleted: bool,
    /// Who reacted, by emoji.
    pub reactions: BTreeMap<String, Vec<String>>,
}

/// Who may join a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Holders of a token.
    Token,
    /// Everybody.
    Open,
    /// Everybody, once a host has admitted them.
    Lobby,
}

/// One track in `joined`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
pub struct Track {
    /// Its id.
    pub track_id: String,
    /// Audio or video.
    pub kind: Kind,
    /// What it shows.
    pub source: Source,
    /// Whether it is muted.
    pub muted: bool,
    /// Whether it has several layers.
    pub simulcast: bool,
}

/// An entry for `RTCConfiguration.iceServers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export, optional_fields))]
pub struct IceServer {
    /// `turn:` and `stun:` URLs.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// The room in `joined`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
pub struct RoomInfo {
    /// Id.
    pub id: String,
    /// For links.
    pub slug: String,
    /// For people.
    pub name: String,
    /// Most participants.
    pub max_participants: u32,
    /// Whether newcomers are refused.
    pub locked: bool,
    /// Who may join.
    pub mode: AuthMode,
    /// Whether newcomers wait until a moderator lets them in.
    pub lobby_enabled: bool,
    /// Whether newcomers are asked for a password.
    pub password_protected: bool,
    /// Whether it may be recorded.
    pub recording_enabled: bool,
    /// Whether chat is kept for those who come later.
    pub chat_history: bool,
}

/// The server in `joined`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
pub struct ServerInfo {
    /// Build.
    pub version: String,
    /// What this server can do beyond the base protocol.
    pub features: Vec<String>,
    /// Highest video bitrate in bit/s the client should send.
    pub max_bitrate: u32,
    /// Highest bitrate of a shared screen in bit/s.
    pub screen_share_bitrate: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_examples_are_understood() {
        for text in [
            r#"{"type": "join", "room": "rm_a1b2c3d4"}"#,
            r#"{"type": "leave"}"#,
            r#"{"type": "offer", "sdp": "v=0"}"#,
            r#"{"type": "answer", "sdp": "v=0"}"#,
            r#"{"type": "candidate", "candidate": {"candidate": ""}}"#,
            r#"{"type": "mute", "track": "audio"}"#,
            r#"{"type": "unmute", "track": "audio"}"#,
            r#"{"type": "mute_participant", "identity": "user-1", "track": "audio"}"#,
            r#"{"type": "chat", "text": "Hello!", "to": null}"#,
            r#"{"type": "chat", "text": "Private msg", "to": "user-2", "id": 7}"#,
            r#"{"type": "reaction", "emoji": "thumbsup", "message_id": "msg-1"}"#,
            r#"{"type": "lobby_admit", "identity": "guest-1"}"#,
            r#"{"type": "lobby_reject", "identity": "guest-1", "reason": "Not invited"}"#,
            r#"{"type": "lobby_admit_all"}"#,
            r#"{"type": "subscribe", "track_id": "tr_abc", "layer": "medium"}"#,
            r#"{"type": "unsubscribe", "track_id": "tr_abc"}"#,
        ] {
            let frame: ClientFrame = serde_json::from_str(text).expect(text);
            let value = serde_json::to_value(&frame).expect("serialises");
            let kind = value["type"].as_str().expect("has a type");
            assert!(ClientMessage::TYPES.contains(&kind), "{kind} is listed");
        }
    }

    #[test]
    fn an_answer_repeats_the_id() {
        let frame = ServerFrame {
            re: Some(Value::from(7)),
            message: ServerMessage::MediaRestarted,
        };
        let text = serde_json::to_string(&frame).expect("serialises");
        assert_eq!(text, r#"{"re":7,"type":"media_restarted"}"#);
    }
}
