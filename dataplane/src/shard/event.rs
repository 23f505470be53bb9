//! What a shard has to say: answers and events, in order, to be taken by the driver every turn.

use std::collections::VecDeque;

use kall_shared::link::{Event, Refusal, Response, ToControl};

/// Answers and events not taken yet.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: VecDeque<ToControl>,
}

impl Outgoing {
    /// How many wait; the place of an answer that is known later.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The one answer to request `id`, ahead of everything that came after `place`.
    pub(super) fn answer_at(&mut self, place: usize, id: u64, result: Result<Response, Refusal>) {
        let place = place.min(self.queue.len());
        self.queue.insert(place, ToControl::Answer { id, result });
    }

    /// Something happened.
    pub(super) fn event(&mut self, event: Event) {
        self.queue.push_back(ToControl::Event(event));
    }

    /// The oldest one.
    pub(super) fn pop(&mut self) -> Option<ToControl> {
        self.queue.pop_front()
    }
}
