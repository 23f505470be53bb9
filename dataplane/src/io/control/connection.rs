//! One accepted connection: a thread that reads frames, a thread that writes them.
//!
//! Neither ever holds up a core. The reader waits for the control thread, so a peer that floods
//! is slowed down by its own socket. The writer has a bounded queue that the control thread never waits for.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use kall_shared::frame::{self, FrameError, HEADER_LEN, MAX_BODY_LEN};
use kall_shared::link::ToData;
use serde::Deserialize;

use super::router::ConnectionId;
use crate::io::limits::{OUTBOUND_BYTES, OUTBOUND_EVENTS, OUTBOUND_QUEUE};

/// A peer that reads nothing for so long is stuck; its successor takes a snapshot.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What connections tell the control thread.
#[derive(Debug)]
pub(super) enum Inbound {
    /// The listener accepted.
    Accepted(UnixStream),
    /// A request.
    Frame(ConnectionId, ToData),
    /// A frame with an id that is no request we know.
    Unknown(ConnectionId, u64, String),
    /// The connection is over, and why.
    Closed(ConnectionId, String),
}

/// The control thread's hold on a connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    frames: Sender<Vec<u8>>,
    queued_bytes: Arc<AtomicUsize>,
    /// Events that had no room and were not told yet.
    pub(super) lost: u64,
}

impl Connection {
    /// Starts both threads.
    pub(super) fn start(id: ConnectionId, stream: UnixStream, inbound: Sender<Inbound>) -> io::Result<Self> {
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let (frames, queue) = bounded(OUTBOUND_QUEUE);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let reading = stream.try_clone()?;
        let writing = stream.try_clone()?;
        let written = Arc::clone(&queued_bytes);
        std::thread::Builder::new()
            .name("link-write".to_owned())
            .spawn(move || write(writing, &queue, &written))?;
        std::thread::Builder::new()
            .name("link-read".to_owned())
            .spawn(move || {
                let reason = read(id, reading, &inbound);
                // The control thread is gone only when the process ends.
                let _ = inbound.send(Inbound::Closed(id, reason));
            })?;
        Ok(Self {
            stream,
            frames,
            queued_bytes,
            lost: 0,
        })
    }

    /// Queues a frame. Events leave a part of the queue to answers. False: no room.
    pub(super) fn send(&self, bytes: Vec<u8>, is_event: bool) -> bool {
        let len = bytes.len();
        // Only this thread adds, so the sum can't grow between check and add.
        let queued = self.queued_bytes.load(Ordering::Relaxed);
        if queued + len > OUTBOUND_BYTES || (is_event && self.frames.len() >= OUTBOUND_EVENTS) {
            return false;
        }
        self.queued_bytes.fetch_add(len, Ordering::Relaxed);
        let sent = self.frames.try_send(bytes).is_ok();
        if !sent {
            self.queued_bytes.fetch_sub(len, Ordering::Relaxed);
        }
        sent
    }

    /// Ends both threads at once; what is queued is lost.
    pub(super) fn cut(self) {
        // An error means that it is closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Ends the connection when what is queued has been written.
    pub(super) fn close(self) {
        // Dropping the queue's only sender lets the writer run dry, and it then shuts the stream.
    }
}

fn write(mut stream: UnixStream, queue: &Receiver<Vec<u8>>, queued_bytes: &AtomicUsize) {
    for frame in queue {
        if stream.write_all(&frame).is_err() {
            break;
        }
        queued_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
    }
    // The reader ends with it. An error means that it is closed already.
    let _ = stream.shutdown(Shutdown::Both);
}

/// Only the id: what is left of a request that this version does not know.
#[derive(Deserialize)]
struct Stub {
    id: u64,
}

/// Reads until the peer is done or breaks the frame format, and says why it ended.
fn read(id: ConnectionId, mut stream: UnixStream, inbound: &Sender<Inbound>) -> String {
    let mut bytes = Vec::new();
    loop {
        match read_frame(&mut stream, &mut bytes) {
            Ok(true) => {}
            Ok(false) => return "end of stream".to_owned(),
            Err(error) => return error.to_string(),
        }
        let message = match frame::decode::<ToData>(&bytes) {
            Ok(Some((request, _))) => Inbound::Frame(id, request),
            Ok(None) => return "incomplete frame".to_owned(),
            Err(FrameError::Malformed(error)) => match frame::decode::<Stub>(&bytes) {
                // A neighbouring version may ask what we don't know; it gets its one answer.
                Ok(Some((Stub { id: request }, _))) => Inbound::Unknown(id, request, error.to_string()),
                _ => return format!("malformed frame: {error}"),
            },
            Err(error) => return error.to_string(),
        };
        if inbound.send(message).is_err() {
            return "the process ends".to_owned();
        }
    }
}

/// Reads one whole frame into `bytes`; false at a clean end. Memory grows with what has come, not with what
/// the length promises.
fn read_frame(stream: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<bool> {
    // A page of a snapshot is rare; its memory is not kept for ever.
    if bytes.capacity() > 1 << 20 {
        *bytes = Vec::new();
    }
    bytes.clear();
    if stream.by_ref().take(HEADER_LEN as u64).read_to_end(bytes)? == 0 {
        return Ok(false);
    }
    let header: [u8; HEADER_LEN] = bytes[..]
        .try_into()
        .map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    let body_len = u32::from_le_bytes(header) as usize;
    if body_len > MAX_BODY_LEN {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            FrameError::TooLong(body_len).to_string(),
        ));
    }
    if stream.by_ref().take(body_len as u64).read_to_end(bytes)? < body_len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kall_shared::link::Request;
    use proptest::prelude::*;

    fn framed(body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    /// Runs the reader over a stream with `bytes` and gives what it told and why it ended.
    fn feed(bytes: &[u8]) -> (Vec<Inbound>, String) {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let (inbound, told) = crossbeam_channel::unbounded();
        let reader = std::thread::spawn(move || read(7, theirs, &inbound));
        // The reader may have hung up on what came before.
        let _ = ours.write_all(bytes);
        let _ = ours.shutdown(Shutdown::Write);
        let reason = reader.join().expect("no panic");
        (told.try_iter().collect(), reason)
    }

    #[test]
    fn requests_come_in_order_and_a_clean_end_is_one() {
        let mut bytes = Vec::new();
        for id in 1..=3 {
            let request = ToData {
                id,
                request: Request::Ping,
            };
            frame::encode(&request, &mut bytes).expect("fits");
        }
        let (told, reason) = feed(&bytes);
        let ids: Vec<u64> = told
            .iter()
            .map(|message| match message {
                Inbound::Frame(7, request) => request.id,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!(reason, "end of stream");
    }

    #[test]
    fn an_unknown_request_keeps_its_id() {
        #[derive(serde::Serialize)]
        struct Foreign {
            id: u64,
            request: &'static str,
        }
        let mut bytes = Vec::new();
        let foreign = Foreign {
            id: 9,
            request: "teleport",
        };
        frame::encode(&foreign, &mut bytes).expect("fits");
        let (told, _) = feed(&bytes);
        assert!(matches!(told[..], [Inbound::Unknown(7, 9, _)]), "{told:?}");
    }

    #[test]
    fn a_promise_of_too_much_ends_the_connection_without_the_memory() {
        let (told, reason) = feed(&u32::MAX.to_le_bytes());
        assert!(told.is_empty());
        assert!(reason.contains("at most"), "{reason}");
        let (told, reason) = feed(&framed(b"")[..3]);
        assert!(told.is_empty());
        assert_eq!(reason, io::Error::from(io::ErrorKind::UnexpectedEof).to_string());
    }

    #[test]
    fn events_leave_room_for_answers() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let (inbound, _told) = bounded(1);
        // Nobody reads `ours`: the writer fills the socket and stops.
        let connection = Connection::start(1, theirs, inbound).expect("starts");
        let mut events = 0;
        while connection.send(vec![0; 1024], true) {
            events += 1;
        }
        assert!(events >= OUTBOUND_EVENTS, "{events}");
        let mut answers = 0;
        while connection.send(vec![0; 1024], false) {
            answers += 1;
        }
        assert!(answers >= OUTBOUND_QUEUE - OUTBOUND_EVENTS - 1, "{answers}");
        connection.cut();
        drop(ours);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            feed(&bytes);
            feed(&framed(&bytes));
        }
    }
}
