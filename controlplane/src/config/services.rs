//! Sections of what surrounds the server: storage, relays, recording, notifications, metrics.

use serde::{Deserialize, Serialize};

/// `[redis]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redis {
    /// Empty: one instance, bus in the process.
    pub url: String,
    /// Connections.
    pub pool_size: u32,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: String::new(),
            pool_size: 10,
        }
    }
}

/// `[database]`
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// Which engine.
    pub driver: DatabaseDriver,
    /// Path of the SQLite file, or `postgres://user:password@host/database`.
    pub url: String,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A PostgreSQL URL may hold a password.
        f.debug_struct("Database")
            .field("driver", &self.driver)
            .finish_non_exhaustive()
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            driver: DatabaseDriver::Sqlite,
            url: "kall.db".to_owned(),
        }
    }
}

/// Which database engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseDriver {
    /// A file of our own.
    Sqlite,
    /// A server.
    Postgres,
}

/// `[turn]`
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Turn {
    /// Whether clients get a relay.
    pub enabled: bool,
    /// Its host name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Long-term user name.
    pub username: String,
    /// Long-term credential.
    pub credential: String,
    /// Whether `turns:` is used.
    pub tls: bool,
    /// Shared secret for time-limited credentials; wins over user name and credential.
    pub secret: String,
    /// Whether the media port answers bare Binding requests.
    pub stun: bool,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn")
            .field("enabled", &self.enabled)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            enabled: false,
            host: String::new(),
            port: 3478,
            username: String::new(),
            credential: String::new(),
            tls: false,
            secret: String::new(),
            stun: false,
        }
    }
}

/// `[recording]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recording {
    /// Whether rooms can be recorded.
    pub enabled: bool,
    /// Where files go.
    pub output_dir: String,
    /// Container.
    pub format: RecordingFormat,
    /// One file for all, or one per track.
    pub composite: bool,
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            enabled: false,
            output_dir: "./recordings".to_owned(),
            format: RecordingFormat::Webm,
            composite: true,
        }
    }
}

/// Container of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordingFormat {
    /// WebM.
    Webm,
    /// MP4.
    Mp4,
}

/// `[rtmp]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rtmp {
    /// Whether rooms can be streamed.
    pub enabled: bool,
    /// At once.
    pub max_streams: u32,
}

impl Default for Rtmp {
    fn default() -> Self {
        Self {
            enabled: false,
            max_streams: 5,
        }
    }
}

/// `[webhooks]`
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Whether events are delivered.
    pub enabled: bool,
    /// Seconds for one delivery.
    pub timeout: u64,
    /// Attempts after the first.
    pub retry_count: u32,
    /// HMAC-SHA256 secret.
    pub signing_secret: String,
    /// Whether private and loopback targets are allowed; unset: in development only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_private: Option<bool>,
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhooks")
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            enabled: false,
            timeout: 10,
            retry_count: 3,
            signing_secret: String::new(),
            allow_private: None,
        }
    }
}

/// `[ai]`
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ai {
    /// Captions.
    pub transcription: bool,
    /// Translated captions.
    pub translation: bool,
    /// A summary after the call.
    pub summary: bool,
    /// Noise cancellation.
    pub noise_cancellation: bool,
    /// Which service.
    pub provider: String,
    /// Its key.
    pub api_key: String,
}

impl std::fmt::Debug for Ai {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ai")
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Whether they are served.
    pub enabled: bool,
    /// At which path.
    pub endpoint: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            enabled: true,
            endpoint: "/metrics".to_owned(),
        }
    }
}
