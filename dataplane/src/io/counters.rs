//! What a core's driver counts. Owned by its thread, read only by it, told in answers to `Stats`.

use kall_shared::link::CoreStats;

/// Counters of one driver since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoCounters {
    /// Turns of the loop.
    pub loop_turns: u64,
    /// Time the loop was at work and not asleep, in microseconds.
    pub loop_busy_micros: u64,
    /// Commands that waited when the counters were told.
    pub lane_depth: u64,
    /// Datagrams given to the shard.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Received messages; with UDP_GRO one may carry many datagrams.
    pub rx_messages: u64,
    /// Datagrams over the slot size, or cut by the kernel.
    pub drop_truncated: u64,
    /// Messages whose sender or local address is unknown: nobody could answer them.
    pub drop_no_address: u64,
    /// Times the provided buffers ran out and the receive had to be armed again.
    pub rx_no_buffers: u64,
    /// Receive calls that failed otherwise.
    pub rx_errors: u64,
    /// Datagrams handed to the kernel.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Kernel sends; a run of many datagrams is one.
    pub tx_runs: u64,
    /// Datagrams lost to a full send buffer.
    pub tx_eagain: u64,
    /// Datagrams the kernel refused for another reason: no route, no such source.
    pub tx_errors: u64,
    /// Runs that had to be sent one by one.
    pub tx_gso_refused: u64,
    /// Connections taken in.
    pub tcp_opened: u64,
    /// Connections closed, by either side.
    pub tcp_closed: u64,
    /// Connections that reached the core and were nobody's, or for which there was no room.
    pub tcp_refused: u64,
    /// Connections closed because they took nothing any more.
    pub tcp_stuck: u64,
    /// Frames from connections; they count as received packets too.
    pub tcp_frames_in: u64,
    /// Frames to connections; they count as sent packets too.
    pub tcp_frames_out: u64,
    /// Events lost because the control thread did not take them.
    pub events_lost: u64,
}

impl IoCounters {
    /// Writes all into the core's statistics. These names belong to the driver alone.
    pub fn report(&self, stats: &mut CoreStats) {
        let named = [
            ("loop_turns", self.loop_turns),
            ("loop_busy_micros", self.loop_busy_micros),
            ("lane_depth", self.lane_depth),
            ("rx_packets", self.rx_packets),
            ("rx_bytes", self.rx_bytes),
            ("rx_messages", self.rx_messages),
            ("drop_truncated", self.drop_truncated),
            ("drop_no_address", self.drop_no_address),
            ("rx_no_buffers", self.rx_no_buffers),
            ("rx_errors", self.rx_errors),
            ("tx_packets", self.tx_packets),
            ("tx_bytes", self.tx_bytes),
            ("tx_runs", self.tx_runs),
            ("tx_eagain", self.tx_eagain),
            ("tx_errors", self.tx_errors),
            ("tx_gso_refused", self.tx_gso_refused),
            ("tcp_opened", self.tcp_opened),
            ("tcp_closed", self.tcp_closed),
            ("tcp_refused", self.tcp_refused),
            ("tcp_stuck", self.tcp_stuck),
            ("tcp_frames_in", self.tcp_frames_in),
            ("tcp_frames_out", self.tcp_frames_out),
            ("events_lost", self.events_lost),
        ];
        for (name, value) in named {
            stats.counters.insert(name.to_owned(), value);
        }
    }
}
