//! All sessions of one core: the top of the sans-IO part.
//!
//! Calling order: any number of `handle_*`, then [`Shard::poll_transmit`] until its batch stays
//! empty, then [`Shard::poll_event`] until none, then sleep until [`Shard::poll_deadline`].

pub mod placement;
pub mod transmit;

use std::net::{IpAddr, SocketAddr};

use kall_shared::link::{ToControl, ToData};

use crate::time::{Time, WallClock};
pub use transmit::{Run, TransmitBatch};

/// One received datagram; the shard decrypts in place.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// The peer.
    pub from: SocketAddr,
    /// The local address it came to; replies leave from it.
    pub to: IpAddr,
    /// When the kernel got it.
    pub received: Time,
    /// Its bytes.
    pub data: &'a mut [u8],
}

/// What a shard is born with.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// Its index, the top byte of every session id it gives.
    pub core: u8,
    /// The UDP port of its socket, named in every answer.
    pub udp_port: u16,
    /// The wall clock, for sender reports.
    pub wall: WallClock,
    /// Seed of everything random: credentials, SSRCs, first sequence numbers. Must be unpredictable
    /// outside of simulations.
    pub seed: [u8; 32],
}

/// All sessions of one core.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
}

impl Shard {
    /// An empty shard.
    #[must_use]
    pub fn new(config: ShardConfig, _now: Time) -> Self {
        Self { config }
    }

    /// Takes one datagram.
    pub fn handle_datagram(&mut self, _now: Time, _datagram: Datagram<'_>) {}

    /// Takes one request; the answer comes by [`Self::poll_event`].
    pub fn handle_command(&mut self, _now: Time, _command: ToData) {}

    /// Runs what is due.
    pub fn handle_timeout(&mut self, _now: Time) {}

    /// Seals what is ready to leave into `batch`; call until it stays empty.
    pub fn poll_transmit(&mut self, _now: Time, _batch: &mut TransmitBatch) {}

    /// The next answer or event.
    pub fn poll_event(&mut self) -> Option<ToControl> {
        None
    }

    /// When [`Self::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        let _ = self.config.core;
        Time::FAR_FUTURE
    }
}
