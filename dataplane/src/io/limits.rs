//! Bounds of the I/O shell: units, and the reason for each number.

use std::time::Duration;

/// Datagrams a loop turn takes from the socket before it looks at anything else: about a quarter of a
/// millisecond of work, so commands and timers never wait longer than that behind a flood.
pub const DATAGRAMS_PER_TURN: usize = 256;

/// How long a loop turn handles handshakes when there is media to send as well, or would like to; the one it is at may take as
/// long again, since a signature or a key agreement takes a quarter of a millisecond.
pub const HANDSHAKES_PER_TURN: Duration = Duration::from_micros(250);

/// Commands a loop turn takes at the most.
pub const COMMANDS_PER_TURN: usize = 16;

/// How long a loop turn takes commands: one may cost as much as some ten packets (a session's memory, a page of a
/// snapshot).
pub const COMMANDS_TIME: Duration = Duration::from_micros(250);

/// Batches a loop turn sends, each up to 256 runs: more than all answers to a turn's datagrams need.
pub const TRANSMITS_PER_TURN: usize = 32;

/// Commands that wait for one core. Full means the core is overloaded; the request is refused.
pub const COMMAND_QUEUE: usize = 1024;

/// Messages from all cores that wait for the control thread, which only ever moves them on.
pub const CORE_MESSAGE_QUEUE: usize = 8192;

/// How soon a core offers again what the control thread had no room for.
pub const CORE_MESSAGE_RETRY: Duration = Duration::from_millis(5);

/// How soon a core looks again whether a lane that was full has room for its messages.
pub const LANE_RETRY: Duration = Duration::from_millis(1);

/// The longest datagram a shard is given, in bytes. Clients stay within an Ethernet frame; what is longer
/// is not media. Also the room a packet slot has.
pub const DATAGRAM_MAX: usize = 2048;

/// Payload bytes of one receive slot: with UDP_GRO the kernel hands over trains up to the largest
/// UDP datagram, and what does not fit is lost.
pub const TRAIN_MAX: usize = 65_536;

/// Bytes for control messages of a received message: packet info (40), timestamp (32), segment size (24),
/// and room for one more.
pub const RECEIVE_CONTROL_LEN: usize = 128;

/// Bytes for control messages of a sent message: packet info (40) and segment size (24).
pub const SEND_CONTROL_LEN: usize = 64;

/// Messages of one recvmmsg: 2 MB of slots; more saves nothing measurable.
pub const RECEIVE_BATCH: usize = 32;

/// Messages of one sendmmsg or one ring submission. Beyond 16 the gain is within 3 %; 64 keeps the
/// headers within the first-level cache.
pub const SEND_BATCH: usize = 64;

/// Wanted socket buffers in bytes: 20 ms of 10 Gbit/s in each direction. The kernel may grant less.
pub const SOCKET_BUFFER: usize = 16 << 20;

/// Below this a burst of key frames overflows the socket: worth a warning.
pub const SOCKET_BUFFER_LOW: usize = 1 << 20;

/// Segments of one GSO send (`UDP_MAX_SEGMENTS` before Linux 6.9).
pub const GSO_SEGMENTS_MAX: u16 = 64;

/// Bytes of one GSO send: the largest IPv4 UDP payload.
pub const GSO_BYTES_MAX: usize = 65_507;

/// Receive slots in the provided buffer ring, a power of two: a turn consumes 256 at most, so the ring
/// runs dry only under flood. 34 MB of address space, touched only where trains come.
pub const RING_BUFFERS: u16 = 512;

/// Submission queue entries: a send batch, and the re-arming of receive and wake-up.
pub const RING_ENTRIES: u32 = 128;

/// Completion queue entries: every buffer may be filled and every send of a batch fail at once.
pub const RING_COMPLETIONS: u32 = 2048;

/// Connections of one core: each session may have several, but hardly anybody has one.
pub const CONNECTIONS_PER_CORE: usize = 4096;

/// Connections a loop turn takes in, and connections it reads from: as many frames as
/// [`DATAGRAMS_PER_TURN`] datagrams.
pub const CONNECTIONS_PER_TURN: usize = 16;

/// Bytes read from a connection at a time: a dozen full packets.
pub const CONNECTION_READ: usize = 16 << 10;

/// Bytes of frames that wait in one connection. Pictures stop at [`crate::limits::CONNECTION_WINDOW`]; a
/// connection that takes not even ten seconds of sound is closed.
pub const CONNECTION_QUEUE_MAX: usize = 512 << 10;

/// Bytes the kernel takes of a connection beyond what is on its way (`TCP_NOTSENT_LOWAT`): a tenth of a
/// second at 2 Mbit/s.
pub const CONNECTION_UNSENT: usize = 32 << 10;

/// How long written bytes may stay unacknowledged before a connection counts as broken: as long as consent
/// lasts.
pub const CONNECTION_USER_TIMEOUT: Duration = crate::limits::CONSENT_TIMEOUT;

/// Time a connection has for its first frame, and then for a check that its session finds valid.
pub const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that wait for their first frame, 18 KB each. A browser sends it in the round trip
/// after it connected.
pub const GATE_WAITING_MAX: usize = 256;

/// Connections accepted before those that wait are looked at.
pub const ACCEPTS_PER_TURN: usize = 64;

/// Connections the kernel keeps until they are accepted.
pub const LISTEN_BACKLOG: i32 = 256;

/// Connections on their way from the gate to one core.
pub const ARRIVAL_QUEUE: usize = 64;

/// Rest after the kernel had no descriptor for a connection.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long a start may wait for a core's thread to have its socket and ring.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an orderly end waits for the cores' last packets.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Time a connection has for its Hello: it is a local process that has nothing else to do.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that have not said Hello. One control plane and its successor are expected.
pub const UNGREETED_MAX: usize = 8;

/// Frames that wait for the control plane to read. Answers may use all of it, events the first
/// three quarters, so a control plane that reads answers late still gets them.
pub const OUTBOUND_QUEUE: usize = 8192;

/// The part of [`OUTBOUND_QUEUE`] that events may fill.
pub const OUTBOUND_EVENTS: usize = OUTBOUND_QUEUE / 4 * 3;

/// Bytes of the frames that wait for the control plane: a snapshot page can be 4 MB.
pub const OUTBOUND_BYTES: usize = 64 << 20;

/// Frames read from connections that wait for the control thread.
pub const INBOUND_QUEUE: usize = 256;

const _: () = assert!(CONNECTION_QUEUE_MAX > 2 * crate::limits::CONNECTION_WINDOW);
const _: () = assert!(CONNECTION_READ > DATAGRAM_MAX);
const _: () = assert!(OUTBOUND_EVENTS < OUTBOUND_QUEUE);
const _: () = assert!(GSO_BYTES_MAX <= TRAIN_MAX);
const _: () = assert!(DATAGRAM_MAX >= crate::shard::transmit::MAX_DATAGRAM);
const _: () = assert!(RING_BUFFERS.is_power_of_two());
const _: () = assert!(RING_COMPLETIONS as usize >= RING_BUFFERS as usize + 2 * SEND_BATCH);
const _: () = assert!(RING_ENTRIES as usize >= SEND_BATCH + 8);
