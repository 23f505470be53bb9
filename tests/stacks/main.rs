//! Independent WebRTC stacks through WHIP and WHEP: each publishes and each plays, and what comes out at the
//! other end is decoded and looked at. `make stacks` runs this and writes its table to `STACKS.md`.
//!
//! GStreamer and aiortc encode and decode live, in programs of their own (`*_peer.py`). The `webrtc` and
//! `str0m` crates have no codecs: they send what ffmpeg encoded before, and ffmpeg decodes what they received.
//! All send the same: colour bars and a tone of 440 Hz.

mod clip;
mod decoded;
mod ffmpeg;
mod film;
mod library;
mod matrix;
mod program;
mod sans_io;
