//! kall's data plane: a sans-IO media core in an I/O shell.
//!
//! Bytes and a time go in; bytes, events and a deadline come out. Only [`io`] knows sockets,
//! threads and clocks; dependencies point one way:
//! `io → shard → session → lane, forward, speakers, bwe, rtp, codec, srtp, ice, dtls → wire, address, time`.

pub mod address;
pub mod bwe;
pub mod codec;
pub mod config;
pub mod dtls;
pub mod forward;
pub mod ice;
pub mod io;
pub mod lane;
pub mod limits;
pub mod rtp;
pub mod session;
pub mod shard;
pub mod speakers;
pub mod srtp;
pub mod time;
pub mod wire;
