//! What the data plane forwards, in a real decoder: three layers from real encoders, in streams of their own or in
//! one, go through a shard in virtual time, the receiver changes its mind about the layer again and again, and what it
//! got must decode without an error, picture by picture the same as the encoder's own stream.
//!
//! Encoders and decoders are ffmpeg's, libvpx's and libaom's; packets are made and taken apart by the `rtp` crate. None
//! of them shares code with the data plane.

mod call;
mod clip;
mod depacketize;
mod dependencies;
mod encoder;
mod ffmpeg;
mod publisher;
mod subscriber;
mod switching;
mod transport;
