//! The configuration: every key with its type and default, as in `kall.example.toml`.
//!
//! Types live here, reading in [`load`], bounds in [`check`]. An unknown key, a wrong type or an
//! impossible value stops the start; nothing is silently ignored.

mod check;
mod load;
mod services;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use kall_shared::signalling::AuthMode;
pub use load::{ConfigError, Loaded, load, parse};
pub use services::{
    Ai, Database, DatabaseDriver, Metrics, Recording, RecordingFormat, Redis, Rtmp, Turn, Webhooks,
};

/// All sections.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where and how the control plane listens.
    pub server: Server,
    /// Callers of the REST API.
    pub api: Api,
    /// Tokens and who may join.
    pub auth: Auth,
    /// Limits of rooms.
    pub room: Room,
    /// Codecs and bitrates.
    pub media: Media,
    /// The media process.
    pub dataplane: DataPlane,
    /// Bus between instances.
    pub redis: Redis,
    /// Persistence.
    pub database: Database,
    /// Relay for clients behind strict NATs.
    pub turn: Turn,
    /// Recording of rooms.
    pub recording: Recording,
    /// Streaming to RTMP targets.
    pub rtmp: Rtmp,
    /// Notifications to other systems.
    pub webhooks: Webhooks,
    /// Speech and language services.
    pub ai: Ai,
    /// Prometheus.
    pub metrics: Metrics,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Bind address.
    pub host: IpAddr,
    /// HTTP and WebSocket port; 0 lets the kernel choose.
    pub port: u16,
    /// Public URL; empty: derived from host and port.
    pub base_url: String,
    /// Path of the TLS certificate chain in PEM; empty: plain HTTP.
    pub tls_cert: String,
    /// Path of the TLS private key in PEM.
    pub tls_key: String,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub log_level: LogLevel,
    /// Seconds that open requests get at a stop.
    pub drain_timeout: u64,
    /// Seconds a request may take, its head and its body each; WebSockets are none.
    pub request_timeout: u64,
    /// Folder of generated secrets, logs and the control socket; empty: the database file's, with
    /// PostgreSQL the current one.
    pub data_dir: String,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            host: IpAddr::from([0, 0, 0, 0]),
            port: 7880,
            base_url: String::new(),
            tls_cert: String::new(),
            tls_key: String::new(),
            log_level: LogLevel::Info,
            drain_timeout: 10,
            request_timeout: 30,
            data_dir: String::new(),
        }
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// For developers.
    Debug,
    /// For operators.
    Info,
    /// What may need a hand.
    Warn,
    /// What does.
    Error,
}

impl LogLevel {
    /// The level as configuration and data plane spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// `[api]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// `[[api.keys]]`; none: no REST caller is accepted.
    pub keys: Vec<ApiKey>,
    /// Requests of one key in the long run.
    pub requests_per_second: u32,
    /// Requests of one key at once.
    pub burst: u32,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            requests_per_second: 50,
            burst: 200,
        }
    }
}

/// `[[api.keys]]`
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Names the caller.
    pub key: String,
    /// Proves it.
    pub secret: String,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// `[auth]`
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// JWT signing secret of 32 bytes or more; empty: generated and kept beside the database.
    pub secret: String,
    /// `[[auth.keys]]`: named secrets; the first signs, all check.
    pub keys: Vec<SigningKey>,
    /// `iss` of tokens.
    pub issuer: String,
    /// Who may join.
    pub mode: AuthMode,
    /// Life of guest tokens in seconds.
    pub guest_ttl: u64,
    /// Origins allowed by CORS and on the WebSocket; `*` allows all.
    pub allowed_origins: Vec<String>,
    /// Maps claim names: ours to the issuer's.
    pub claims: BTreeMap<String, String>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            secret: String::new(),
            keys: Vec::new(),
            issuer: "koder-kall".to_owned(),
            mode: AuthMode::Token,
            guest_ttl: 3600,
            allowed_origins: vec!["*".to_owned()],
            claims: BTreeMap::new(),
        }
    }
}

/// `[[auth.keys]]`
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKey {
    /// Name in the tokens' `kid`.
    pub kid: String,
    /// 32 bytes or more.
    pub secret: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// `[room]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Room {
    /// Participants of a room that says nothing else.
    pub default_max_participants: u32,
    /// Open rooms of this server.
    pub max_rooms: u32,
    /// Seconds before an empty room is closed; 0: never.
    pub empty_room_timeout: u64,
    /// Default of a room's lobby.
    pub lobby_enabled: bool,
    /// Default of a room's recording.
    pub recording_enabled: bool,
    /// Above it, viewers are counted instead of announced.
    pub presence_limit: u32,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            default_max_participants: 100,
            max_rooms: 500,
            empty_room_timeout: 300,
            lobby_enabled: false,
            recording_enabled: false,
            presence_limit: 200,
        }
    }
}

/// `[media]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// Codecs of answers, in order.
    pub codecs: Vec<CodecName>,
    /// Whether publishers may send several layers.
    pub simulcast: bool,
    /// Whether unseen layers are paused.
    pub dynacast: bool,
    /// Highest video bitrate in bit/s.
    pub max_bitrate: u32,
    /// Highest bitrate of a shared screen in bit/s.
    pub screen_share_bitrate: u32,
    /// 1 or 2.
    pub audio_channels: u8,
    /// 48000; WebRTC's Opus knows no other.
    pub audio_sample_rate: u32,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            codecs: vec![CodecName::Vp8, CodecName::Vp9, CodecName::H264, CodecName::Opus],
            simulcast: true,
            dynacast: true,
            max_bitrate: 3_000_000,
            screen_share_bitrate: 5_000_000,
            audio_channels: 1,
            audio_sample_rate: 48_000,
        }
    }
}

/// A codec as the configuration spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodecName {
    /// RFC 7741.
    #[serde(rename = "VP8")]
    Vp8,
    /// RFC 9628.
    #[serde(rename = "VP9")]
    Vp9,
    /// RFC 6184.
    #[serde(rename = "H264")]
    H264,
    /// RTP Payload Format for AV1, profile 0.
    #[serde(rename = "AV1")]
    Av1,
    /// RFC 7587.
    #[serde(rename = "opus")]
    Opus,
}

impl CodecName {
    /// The codec meant.
    #[must_use]
    pub fn codec(self) -> kall_shared::media::Codec {
        use kall_shared::media::Codec;
        match self {
            Self::Vp8 => Codec::Vp8,
            Self::Vp9 => Codec::Vp9,
            Self::H264 => Codec::H264,
            Self::Av1 => Codec::Av1,
            Self::Opus => Codec::Opus,
        }
    }
}

/// `[dataplane]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataPlane {
    /// Whether `kall` starts and stops the media process.
    pub spawn: bool,
    /// Path of the control link; empty: `dataplane.sock` beside the database.
    pub control_socket: String,
    /// Address of the media sockets; `::` takes both families.
    pub bind: IpAddr,
    /// First of one UDP port per core; 0: any free ones.
    pub udp_port: u16,
    /// Which CPUs carry media.
    pub cores: Cores,
    /// Addresses put into candidates; empty: the host's own and what `base_url` resolves to.
    pub advertise: Vec<IpAddr>,
    /// Port of ICE over TCP, one for all cores; 0: off.
    pub tcp_port: u16,
    /// How packets move.
    pub io: IoDriver,
    /// Seconds a spawned media process lives on with no control plane and no session.
    pub orphan_timeout: u64,
}

impl Default for DataPlane {
    fn default() -> Self {
        Self {
            spawn: true,
            control_socket: String::new(),
            bind: IpAddr::from([0, 0, 0, 0]),
            udp_port: 7882,
            cores: Cores::Word("auto".to_owned()),
            advertise: Vec::new(),
            tcp_port: 7881,
            io: IoDriver::Auto,
            orphan_timeout: 60,
        }
    }
}

/// Which CPUs carry media.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"auto\", a number of CPUs, or a list of CPU ids"
)]
pub enum Cores {
    /// So many.
    Count(u16),
    /// These.
    List(Vec<u16>),
    /// `auto`: all but one, at least one.
    Word(String),
}

impl Cores {
    /// As the data plane's `--cores` takes it.
    #[must_use]
    pub fn to_flag(&self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::List(ids) => {
                let ids: Vec<String> = ids.iter().map(u16::to_string).collect();
                format!("[{}]", ids.join(","))
            }
            Self::Word(word) => word.clone(),
        }
    }
}

/// How packets move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IoDriver {
    /// `io_uring` where the kernel has it.
    Auto,
    /// Or stop.
    IoUring,
    /// Plain system calls.
    Syscall,
}

impl IoDriver {
    /// As the data plane's `--io` takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::IoUring => "io_uring",
            Self::Syscall => "syscall",
        }
    }
}

impl Config {
    /// What a start without a configuration file means: everybody may join, on this machine only.
    #[must_use]
    pub fn development() -> Self {
        let mut config = Self::default();
        config.auth.mode = AuthMode::Open;
        config.server.host = IpAddr::from([127, 0, 0, 1]);
        config
    }

    /// The folder of the database file: generated secrets, logs and the control socket live there.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        if !self.server.data_dir.is_empty() {
            return PathBuf::from(&self.server.data_dir);
        }
        if self.database.driver == DatabaseDriver::Postgres {
            return PathBuf::from(".");
        }
        match Path::new(&self.database.url).parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        }
    }

    /// Path of the control link.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        if self.dataplane.control_socket.is_empty() {
            self.data_dir().join("dataplane.sock")
        } else {
            PathBuf::from(&self.dataplane.control_socket)
        }
    }

    /// Whether HTTPS is served.
    #[must_use]
    pub fn tls(&self) -> bool {
        !self.server.tls_cert.is_empty()
    }

    /// Keys that are switched on here but that this version does not act on yet.
    #[must_use]
    pub fn without_effect(&self) -> Vec<&'static str> {
        [
            (self.recording.enabled, "recording.enabled"),
            (self.rtmp.enabled, "rtmp.enabled"),
            (self.webhooks.enabled, "webhooks.enabled"),
            (self.ai.transcription, "ai.transcription"),
            (self.ai.translation, "ai.translation"),
            (self.ai.summary, "ai.summary"),
            (self.ai.noise_cancellation, "ai.noise_cancellation"),
            (!self.redis.url.is_empty(), "redis.url"),
        ]
        .into_iter()
        .filter_map(|(set, key)| set.then_some(key))
        .collect()
    }
}
