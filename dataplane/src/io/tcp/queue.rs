//! What waits to be written to one connection: whole frames in order, of which the first may be half
//! gone.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::io::limits::CONNECTION_QUEUE_MAX;
use crate::limits::CONNECTION_WINDOW;
use crate::wire::framing;

/// Frames as bytes of the stream.
#[derive(Debug, Default)]
pub(super) struct SendQueue(VecDeque<u8>);

impl SendQueue {
    /// Adds a frame; false when the bound is reached. The shard holds pictures back long before.
    #[must_use]
    pub(super) fn push(&mut self, frame: &[u8]) -> bool {
        let Some(header) = framing::header(frame.len()) else {
            return false;
        };
        if self.0.len() + header.len() + frame.len() > CONNECTION_QUEUE_MAX {
            return false;
        }
        self.0.extend(&header);
        self.0.extend(frame);
        true
    }

    /// What is to be written next.
    pub(super) fn unsent(&self) -> [IoSlice<'_>; 2] {
        let (front, back) = self.0.as_slices();
        [IoSlice::new(front), IoSlice::new(back)]
    }

    /// So many bytes of it were written.
    pub(super) fn sent(&mut self, len: usize) {
        self.0.drain(..len.min(self.0.len()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that may be added before pictures have to wait.
    pub(super) fn room(&self) -> usize {
        CONNECTION_WINDOW.saturating_sub(self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(queue: &SendQueue) -> Vec<u8> {
        queue.unsent().iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn frames_leave_in_order_and_a_half_written_one_is_completed() {
        let mut queue = SendQueue::default();
        assert!(queue.push(b"abc") && queue.push(b"d"));
        assert_eq!(bytes(&queue), b"\0\x03abc\0\x01d");
        queue.sent(3);
        assert!(queue.push(b"e"));
        assert_eq!(bytes(&queue), b"bc\0\x01d\0\x01e");
        queue.sent(8);
        assert!(queue.is_empty());
    }

    #[test]
    fn room_ends_before_the_bound_does() {
        let mut queue = SendQueue::default();
        let frame = [0; 1198];
        let mut frames = 0;
        while queue.room() > 0 {
            assert!(queue.push(&frame));
            frames += 1;
        }
        assert_eq!(frames, CONNECTION_WINDOW.div_ceil(1200));
        while queue.push(&frame) {
            frames += 1;
        }
        assert_eq!(frames, CONNECTION_QUEUE_MAX / 1200);
        queue.sent(usize::MAX);
        assert_eq!(queue.room(), CONNECTION_WINDOW);
    }
}
