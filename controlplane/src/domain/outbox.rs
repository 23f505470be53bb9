//! The bounded way from a room to one WebSocket. A client that does not read is dropped, never
//! waited for: one slow reader must not hold up a room.
//!
//! State that changes often (a slot's layer, the layers of an own track) is sent by topic: what waits
//! of the same topic is replaced, so a slow client gets the newest state and not its history.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kall_shared::id::{Mid, TrackId};
use kall_shared::signalling::{ServerFrame, ServerMessage, close};
use serde_json::Value;
use tokio::sync::{Notify, watch};

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

/// What a message is the whole state of: a newer one makes an unsent older one worthless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// One of the client's slots.
    Slot(Mid),
    /// Which layers of an own track are wanted.
    Dynacast(TrackId),
    /// Who speaks.
    ActiveSpeaker,
    /// How many are there.
    Presence,
}

/// The room's end.
#[derive(Debug, Clone)]
pub struct Outbox {
    id: u64,
    sender: Arc<Sender>,
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
    way: Arc<Way>,
}

/// All clones of an outbox; tells the other end when the last one is gone.
#[derive(Debug)]
struct Sender {
    way: Arc<Way>,
}

#[derive(Debug, Default)]
struct Way {
    queue: Mutex<Queue>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<(Option<Topic>, Text)>,
    bytes: usize,
    ended: bool,
}

impl Way {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every critical section leaves the queue whole, so a panic elsewhere spoils nothing.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// False when there is no room.
    fn push(&mut self, topic: Option<Topic>, text: Text) -> bool {
        if let Some(topic) = &topic
            && let Some(at) = self
                .frames
                .iter()
                .position(|(waiting, _)| waiting.as_ref() == Some(topic))
            && let Some((_, older)) = self.frames.remove(at)
        {
            self.bytes -= older.len();
        }
        if self.frames.len() >= QUEUE_DEPTH || self.bytes + text.len() > QUEUE_BYTES {
            return false;
        }
        self.bytes += text.len();
        self.frames.push_back((topic, text));
        true
    }

    fn pop(&mut self) -> Option<Text> {
        let (_, text) = self.frames.pop_front()?;
        self.bytes -= text.len();
        Some(text)
    }
}

/// A new pair with an id that no other connection of this process has.
#[must_use]
pub fn pair() -> (Outbox, Inlet) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let (close_in, close_out) = watch::channel(None);
    let way = Arc::new(Way::default());
    let outbox = Outbox {
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        sender: Arc::new(Sender {
            way: Arc::clone(&way),
        }),
        close: close_in,
    };
    let inlet = Inlet {
        frames: Frames { way },
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
        self.queue(None, text);
    }

    /// Sends the state of a topic. What still waits of it is dropped; the newer message goes to the
    /// end, so that it never overtakes what it speaks of.
    pub fn send_latest(&self, topic: Topic, message: ServerMessage) {
        self.send_latest_text(topic, encode(None, message));
    }

    /// The same of an encoded frame.
    pub fn send_latest_text(&self, topic: Topic, text: Text) {
        self.queue(Some(topic), text);
    }

    fn queue(&self, topic: Option<Topic>, text: Text) {
        let way = &self.sender.way;
        if way.lock().push(topic, text) {
            way.ready.notify_one();
        } else {
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

impl Drop for Sender {
    fn drop(&mut self) {
        self.way.lock().ended = true;
        self.way.ready.notify_one();
    }
}

impl Frames {
    /// The next frame; none when the room let go of the connection.
    pub async fn next(&mut self) -> Option<Text> {
        loop {
            {
                let mut queue = self.way.lock();
                if let Some(text) = queue.pop() {
                    return Some(text);
                }
                if queue.ended {
                    return None;
                }
            }
            // A frame queued since then left a permit behind.
            self.way.ready.notified().await;
        }
    }

    /// A frame that waits already.
    pub fn waiting(&mut self) -> Option<Text> {
        self.way.lock().pop()
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

    fn slot(mid: &str, epoch: u32) -> (Topic, ServerMessage) {
        let message = ServerMessage::Slot {
            mid: mid.to_owned(),
            epoch,
            track_id: None,
            from: None,
            layer: None,
            paused: false,
            reason: None,
        };
        (Topic::Slot(Mid::new(mid).expect("a mid")), message)
    }

    #[tokio::test]
    async fn a_slow_client_gets_the_newest_state_and_not_its_history() {
        let (outbox, mut inlet) = pair();
        outbox.send(None, ServerMessage::MediaRestarted);
        for epoch in 0..10_000 {
            for mid in ["1", "2"] {
                let (topic, message) = slot(mid, epoch);
                outbox.send_latest(topic, message);
            }
            if epoch == 5_000 {
                outbox.send(None, ServerMessage::RoomClosed);
            }
        }
        assert_eq!(*inlet.close.borrow(), None, "coalesced state fills no queue");
        let mut read = Vec::new();
        while let Some(text) = inlet.frames.waiting() {
            let value: Value = serde_json::from_str(&text).expect("JSON");
            read.push((
                value["type"].clone(),
                value["mid"].clone(),
                value["epoch"].clone(),
            ));
        }
        // The state comes after what was said before it.
        let expected = [
            (Value::from("media_restarted"), Value::Null, Value::Null),
            (Value::from("room_closed"), Value::Null, Value::Null),
            (Value::from("slot"), Value::from("1"), Value::from(9_999)),
            (Value::from("slot"), Value::from("2"), Value::from(9_999)),
        ];
        assert_eq!(read, expected);
        // Once read, the next change is a frame of its own.
        let (topic, message) = slot("1", 10_000);
        outbox.send_latest(topic, message);
        assert!(
            inlet
                .frames
                .next()
                .await
                .is_some_and(|text| text.contains("10000"))
        );
        drop(outbox);
        assert_eq!(inlet.frames.next().await, None);
    }
}
