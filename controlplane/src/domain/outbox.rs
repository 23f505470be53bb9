//! The bounded way from a room to one WebSocket. A client that does not read is dropped, never
//! waited for: one slow reader must not hold up a room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kall_shared::signalling::{ServerFrame, ServerMessage, close};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

/// Frames that may wait for one client: a join burst of a large room fits, a stalled tab does not.
pub const QUEUE_DEPTH: usize = 256;

/// Bytes that may wait for one client. Relayed descriptions are large: the number of frames alone
/// would let two clients pile up memory at a third that does not read.
pub const QUEUE_BYTES: usize = 4 << 20;

/// Why the server closes a connection (RFC 6455 section 7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// The code on the wire.
    pub code: u16,
    /// In words.
    pub reason: &'static str,
}

/// A frame as it goes out, shared by all who get the same.
pub type Text = Arc<str>;

/// The room's end.
#[derive(Debug, Clone)]
pub struct Outbox {
    id: u64,
    frames: mpsc::Sender<Text>,
    waiting: Arc<AtomicUsize>,
    close: watch::Sender<Option<Close>>,
}

/// The connection's end.
#[derive(Debug)]
pub struct Inlet {
    /// What to send, in order.
    pub frames: Frames,
    /// Set when the connection has to end.
    pub close: watch::Receiver<Option<Close>>,
}

/// The queue of one connection.
#[derive(Debug)]
pub struct Frames {
    queue: mpsc::Receiver<Text>,
    waiting: Arc<AtomicUsize>,
}

/// A new pair with an id that no other connection of this process has.
#[must_use]
pub fn pair() -> (Outbox, Inlet) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let (frames_in, frames_out) = mpsc::channel(QUEUE_DEPTH);
    let (close_in, close_out) = watch::channel(None);
    let waiting = Arc::new(AtomicUsize::new(0));
    let outbox = Outbox {
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        frames: frames_in,
        waiting: Arc::clone(&waiting),
        close: close_in,
    };
    let inlet = Inlet {
        frames: Frames {
            queue: frames_out,
            waiting,
        },
        close: close_out,
    };
    (outbox, inlet)
}

/// Writes a frame once for any number of readers.
#[must_use]
pub fn encode(re: Option<Value>, message: ServerMessage) -> Text {
    let frame = ServerFrame { re, message };
    let text = serde_json::to_string(&frame).expect("server messages have string keys and finite numbers");
    Text::from(text)
}

impl Outbox {
    /// The connection's id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Sends a message, as the answer to `re` if given.
    pub fn send(&self, re: Option<Value>, message: ServerMessage) {
        self.send_text(encode(re, message));
    }

    /// Sends an encoded frame; a full queue ends the connection.
    pub fn send_text(&self, text: Text) {
        let len = text.len();
        let fits = self.waiting.fetch_add(len, Ordering::Relaxed) + len <= QUEUE_BYTES;
        if !fits
            || matches!(
                self.frames.try_send(text),
                Err(mpsc::error::TrySendError::Full(_))
            )
        {
            self.close(Close {
                code: close::TOO_SLOW,
                reason: "the client does not read",
            });
        }
    }

    /// Ends the connection after what is queued, or at once when nothing moves. The first reason stays.
    pub fn close(&self, close: Close) {
        self.close.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(close);
            }
            first
        });
    }
}

impl Frames {
    /// The next frame; none when the room let go of the connection.
    pub async fn next(&mut self) -> Option<Text> {
        let text = self.queue.recv().await?;
        self.waiting.fetch_sub(text.len(), Ordering::Relaxed);
        Some(text)
    }

    /// A frame that waits already.
    pub fn waiting(&mut self) -> Option<Text> {
        self.queue.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_closes_instead_of_waiting() {
        let (outbox, inlet) = pair();
        for _ in 0..QUEUE_DEPTH {
            outbox.send(None, ServerMessage::MediaRestarted);
        }
        assert_eq!(*inlet.close.borrow(), None);
        outbox.send(None, ServerMessage::MediaRestarted);
        assert_eq!(
            inlet.close.borrow().map(|close| close.code),
            Some(close::TOO_SLOW)
        );
        outbox.close(Close {
            code: 1000,
            reason: "",
        });
        assert_eq!(
            inlet.close.borrow().map(|close| close.code),
            Some(close::TOO_SLOW)
        );
    }

    #[tokio::test]
    async fn bytes_are_bounded_too_and_come_free_again() {
        let (outbox, mut inlet) = pair();
        let half = Text::from("x".repeat(QUEUE_BYTES / 2));
        for _ in 0..10 {
            outbox.send_text(half.clone());
            assert_eq!(inlet.frames.next().await.as_ref(), Some(&half));
        }
        assert_eq!(*inlet.close.borrow(), None);
        for _ in 0..3 {
            outbox.send_text(half.clone());
        }
        assert_eq!(
            inlet.close.borrow().map(|close| close.code),
            Some(close::TOO_SLOW)
        );
    }
}
