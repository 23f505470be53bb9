//! The control plane: rooms, people, tokens, signalling, pages. It never touches a media packet.
//!
//! Dependencies point one way: `cli` -> `server` -> `http` -> `domain` -> `store`, `media`, `sdp`.

pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod media;
pub mod sdp;
pub mod secret;
pub mod server;
pub mod store;
