//! Bounds that types can't say: one line per impossible value, with the key's path.

use super::{Config, Cores, DatabaseDriver};
use crate::config::CodecName;
use crate::domain::claims::MAPPABLE;

/// Shortest signing secret: HS256 wants a key as long as its hash (RFC 7518 section 3.2).
const SECRET_MIN_LEN: usize = 32;

/// Every fault of the configuration, in the order of the sections.
pub(super) fn faults(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |legal: bool, key: &str, allowed: &str| {
        if !legal {
            faults.push(format!("{key}: {allowed}"));
        }
    };
    let server = &config.server;
    let url_ok = server.base_url.is_empty()
        || server
            .base_url
            .parse::<axum::http::Uri>()
            .is_ok_and(|uri| uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https")));
    check(
        url_ok,
        "server.base_url",
        "empty, or an http:// or https:// URL with a host",
    );
    check(
        server.tls_cert.is_empty() || !server.tls_key.is_empty(),
        "server.tls_key",
        "must be set together with tls_cert",
    );
    check(
        server.tls_key.is_empty() || !server.tls_cert.is_empty(),
        "server.tls_cert",
        "must be set together with tls_key",
    );
    check(
        server.drain_timeout <= 3600,
        "server.drain_timeout",
        "0 to 3600 seconds",
    );
    check(
        (1..=3600).contains(&server.request_timeout),
        "server.request_timeout",
        "1 to 3600 seconds",
    );
    check(
        (1..=100_000).contains(&config.api.requests_per_second),
        "api.requests_per_second",
        "1 to 100000",
    );
    check(
        (1..=100_000).contains(&config.api.burst),
        "api.burst",
        "1 to 100000",
    );
    for (index, key) in config.api.keys.iter().enumerate() {
        check(
            !key.key.is_empty() && !key.key.contains(':'),
            &format!("api.keys[{index}].key"),
            "a name without ':'",
        );
        check(
            key.secret.len() >= 16,
            &format!("api.keys[{index}].secret"),
            "at least 16 characters",
        );
    }
    check(
        config.auth.secret.is_empty() || config.auth.secret.len() >= SECRET_MIN_LEN,
        "auth.secret",
        "at least 32 bytes, or empty to have one generated",
    );
    for (index, key) in config.auth.keys.iter().enumerate() {
        let again = config.auth.keys[..index].iter().any(|other| other.kid == key.kid);
        check(
            (1..=64).contains(&key.kid.len()) && !again,
            &format!("auth.keys[{index}].kid"),
            "1 to 64 bytes, each once",
        );
        check(
            key.secret.len() >= SECRET_MIN_LEN,
            &format!("auth.keys[{index}].secret"),
            "at least 32 bytes",
        );
    }
    for (own, theirs) in &config.auth.claims {
        check(
            MAPPABLE.contains(&own.as_str())
                && !theirs.is_empty()
                && theirs.split('.').all(|part| !part.is_empty()),
            &format!("auth.claims.{own}"),
            "names of sub, name, room, role, jti and permissions in the issuer's tokens, such as \"context.user.name\"",
        );
    }
    check(!config.auth.issuer.is_empty(), "auth.issuer", "not empty");
    check(
        (1..=31_536_000).contains(&config.auth.guest_ttl),
        "auth.guest_ttl",
        "1 to 31536000 seconds",
    );
    check(
        config
            .auth
            .allowed_origins
            .iter()
            .all(|origin| origin == "*" || origin.starts_with("http://") || origin.starts_with("https://")),
        "auth.allowed_origins",
        "\"*\" or origins such as \"https://kall.example.com\"",
    );
    let room = &config.room;
    check(
        (1..=100_000).contains(&room.default_max_participants),
        "room.default_max_participants",
        "1 to 100000",
    );
    check(
        (1..=100_000).contains(&room.max_rooms),
        "room.max_rooms",
        "1 to 100000",
    );
    check(
        room.empty_room_timeout <= 31_536_000,
        "room.empty_room_timeout",
        "0 (never) to 31536000 seconds",
    );
    check(
        (1..=10_000).contains(&room.presence_limit),
        "room.presence_limit",
        "1 to 10000",
    );
    let media = &config.media;
    check(
        media.codecs.contains(&CodecName::Opus) && media.codecs.iter().any(|codec| *codec != CodecName::Opus),
        "media.codecs",
        "opus and at least one of VP8, VP9, H264, AV1",
    );
    let twice = (1..media.codecs.len()).any(|at| media.codecs[..at].contains(&media.codecs[at]));
    check(!twice, "media.codecs", "each codec once");
    for (value, key) in [
        (media.max_bitrate, "media.max_bitrate"),
        (media.screen_share_bitrate, "media.screen_share_bitrate"),
    ] {
        check(
            (30_000..=100_000_000).contains(&value),
            key,
            "30000 to 100000000 bit/s",
        );
    }
    check(
        (1..=2).contains(&media.audio_channels),
        "media.audio_channels",
        "1 or 2",
    );
    check(
        media.audio_sample_rate == 48_000,
        "media.audio_sample_rate",
        "48000, the only rate of Opus in WebRTC",
    );
    let cores_ok = match &config.dataplane.cores {
        Cores::Word(word) => word == "auto",
        Cores::Count(count) => (1..=64).contains(count),
        Cores::List(ids) => {
            (1..=64).contains(&ids.len()) && !(1..ids.len()).any(|at| ids[..at].contains(&ids[at]))
        }
    };
    check(
        cores_ok,
        "dataplane.cores",
        "\"auto\", 1 to 64, or a list of 1 to 64 different CPU ids",
    );
    check(
        config.dataplane.advertise.len() <= 8,
        "dataplane.advertise",
        "at most 8 addresses",
    );
    check(
        config.dataplane.orphan_timeout <= 31_536_000,
        "dataplane.orphan_timeout",
        "0 (never) to 31536000 seconds",
    );
    let url = &config.database.url;
    let server = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    match config.database.driver {
        DatabaseDriver::Sqlite => check(
            !url.is_empty() && !server,
            "database.url",
            "path of the database file; a postgres:// URL needs database.driver = \"postgres\"",
        ),
        DatabaseDriver::Postgres => check(
            server,
            "database.url",
            "postgres://user:password@host:5432/database",
        ),
    }
    check(
        (1..=1000).contains(&config.redis.pool_size),
        "redis.pool_size",
        "1 to 1000",
    );
    check(
        !config.turn.enabled || !config.turn.host.is_empty(),
        "turn.host",
        "a host name when turn.enabled = true",
    );
    check(
        config.dataplane.tcp_port == 0 || config.dataplane.tcp_port != config.server.port,
        "dataplane.tcp_port",
        "0 or another port than server.port",
    );
    check(config.turn.port != 0, "turn.port", "1 to 65535");
    check(
        (1..=300).contains(&config.webhooks.timeout),
        "webhooks.timeout",
        "1 to 300 seconds",
    );
    check(
        config.webhooks.retry_count <= 20,
        "webhooks.retry_count",
        "0 to 20",
    );
    check(
        config.metrics.endpoint.starts_with('/') && config.metrics.endpoint.len() > 1,
        "metrics.endpoint",
        "a path such as \"/metrics\"",
    );
    faults
}
