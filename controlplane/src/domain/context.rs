//! What every room shares: configuration, keys, storage and the way to the data plane.

use std::net::IpAddr;

use kall_shared::signalling::{IceServer, ServerInfo};
use kall_shared::version;

use super::token::Tokens;
use crate::config::{CodecName, Config};
use crate::media::MediaClient;
use crate::store::Store;

/// Whether the video codec that comes first carries its layers in one stream: browsers send that one.
fn sends_scalable(codecs: &[CodecName]) -> bool {
    let first = codecs.iter().find(|codec| **codec != CodecName::Opus);
    matches!(first, Some(CodecName::Vp9 | CodecName::Av1))
}

/// Shared by all rooms of this process.
#[derive(Debug)]
pub struct Context {
    /// As the operator wrote it.
    pub config: Config,
    /// Signs and checks tokens.
    pub tokens: Tokens,
    /// Persistence.
    pub store: Store,
    /// The data plane.
    pub media: MediaClient,
    /// What the host of `server.base_url` resolved to at the start.
    pub public_addresses: Vec<IpAddr>,
}

impl Context {
    /// What `joined` says about the server.
    #[must_use]
    pub fn server_info(&self) -> ServerInfo {
        let media = &self.config.media;
        let features = [
            ("chat", true),
            ("resume", true),
            ("screen", true),
            ("chat_history", true),
            ("reactions", true),
            ("lobby", true),
            ("breakouts", true),
            ("hand", true),
            ("simulcast", media.simulcast),
            ("dynacast", media.simulcast && media.dynacast),
            // The layers of what publishers send first go in one stream.
            ("svc", media.simulcast && sends_scalable(&media.codecs)),
        ];
        let offered = features.into_iter().filter(|(_, offered)| *offered);
        ServerInfo {
            version: version::BUILD.to_owned(),
            features: offered.map(|(feature, _)| feature.to_owned()).collect(),
            max_bitrate: media.max_bitrate,
            screen_share_bitrate: media.screen_share_bitrate,
        }
    }

    /// Relays for clients; no public STUN server is ever named.
    #[must_use]
    pub fn ice_servers(&self, identity: &str) -> Vec<IceServer> {
        let turn = &self.config.turn;
        if !turn.enabled {
            return Vec::new();
        }
        let urls = if turn.tls {
            vec![format!("turns:{}:{}?transport=tcp", turn.host, turn.port)]
        } else {
            vec![
                format!("turn:{}:{}?transport=udp", turn.host, turn.port),
                format!("turn:{}:{}?transport=tcp", turn.host, turn.port),
            ]
        };
        let (username, credential) = if turn.secret.is_empty() {
            (turn.username.clone(), turn.credential.clone())
        } else {
            super::turn::credentials(&turn.secret, identity)
        };
        vec![IceServer {
            urls,
            username: Some(username),
            credential: Some(credential),
        }]
    }
}
