//! Every bound of the data plane: its unit and the reason for its number.
//!
//! At a bound is where a system fails, so each one says why it is where it is. Bounds of a single
//! component stand in that component's file; these are the ones several parts share.

use std::time::Duration;

/// Sessions of one core: past what its packet rate could serve. A session that only receives holds
/// about 60 KB; one that publishes video holds a packet ring of 1.5 MB a layer beside it.
pub const SESSIONS_PER_CORE: usize = 4096;

/// Sounds of one room: a microphone and a screen's sound of everybody whom one core has.
pub const SOUNDS_PER_ROOM: usize = SESSIONS_PER_CORE * 2;

/// Packets waiting to be sealed for one session within one turn. A turn hands at most a few
/// hundred datagrams to the shard, so a longer queue means a bug or a flood, never media.
pub const OUTBOX_PACKETS: usize = 4096;

/// Bytes of replies, handshakes and feedback waiting for the next transmit poll of a core.
/// A thousand handshakes of four flights fit.
pub const CONTROL_BYTES: usize = 8 << 20;

/// Bytes that wait in a connection to a peer before pictures are held back: 0.4 s at 2 Mbit/s.
/// What is behind them only gets later.
pub const CONNECTION_WINDOW: usize = 96 << 10;

/// Streams one session may send: every layer of every line with its retransmissions, and a few
/// that browsers use for probing before they name them.
pub const INBOUND_STREAMS: usize = 64;

/// Time a new session has to bring up ICE and DTLS before it is closed. Longer than the 30 s a
/// browser itself tries.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(45);

/// How long consent lasts without a check (RFC 7675 section 5.1).
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Interval of sender and receiver reports. RFC 3550's five seconds are for multicast; a second keeps
/// RTT and lip sync fresh.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The first report after a stream begins: browsers stop repeating mid and rid once they see one,
/// and know the path's RTT from it.
pub const FIRST_REPORT_DELAY: Duration = Duration::from_millis(200);

/// Longest RTCP compound we send; leaves room for SRTCP and tunnels below 1,280.
pub const RTCP_COMPOUND_BYTES: usize = 1200;

/// Longest datagram accepted from a peer; what an Ethernet path carries.
pub const DATAGRAM_MAX: usize = 1500;

const _: () = assert!(RTCP_COMPOUND_BYTES < DATAGRAM_MAX);
const _: () = assert!(
    SESSIONS_PER_CORE < 1 << 24,
    "a session id has 24 bits for its slot"
);
