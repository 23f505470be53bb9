//! A core's way to the control thread: bounded, and never waited for.
//!
//! Answers, ends of sessions and the core's load always arrive, late if need be: the control thread accounts by them.
//! They are bounded by requests, sessions and time. All other events are dropped when there is no room, and
//! the control thread is told how many, so that the control plane takes a new snapshot.

use std::collections::VecDeque;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use kall_shared::link::{Event, ToControl};

use super::limits::CORE_MESSAGE_RETRY;

/// What a core tells the control thread.
#[derive(Debug)]
pub enum CoreMessage {
    /// An answer or an event of the shard.
    Control {
        /// Which core.
        core: u8,
        /// What it says.
        message: ToControl,
    },
    /// Events were lost on the way.
    Lost {
        /// How many.
        count: u64,
    },
    /// The core has ended its loop.
    Stopped {
        /// Which core.
        core: u8,
    },
}

/// The sending side, owned by the core.
#[derive(Debug)]
pub struct Outbox {
    core: u8,
    sender: Sender<CoreMessage>,
    /// What must arrive and had no room, in order.
    backlog: VecDeque<ToControl>,
    /// Events dropped and not yet told.
    untold: u64,
    /// Events dropped and not yet counted.
    uncounted: u64,
}

impl Outbox {
    /// The way from `core`.
    #[must_use]
    pub fn new(core: u8, sender: Sender<CoreMessage>) -> Self {
        Self {
            core,
            sender,
            backlog: VecDeque::new(),
            untold: 0,
            uncounted: 0,
        }
    }

    /// Sends, keeps or drops `message`.
    pub fn push(&mut self, message: ToControl) {
        let droppable = matches!(
            &message,
            ToControl::Event(event) if !matches!(event, Event::SessionClosed { .. } | Event::CoreLoad { .. })
        );
        // Nothing overtakes the backlog: an event never comes before the answer it follows.
        if !self.backlog.is_empty() {
            return self.keep_or_drop(message, droppable);
        }
        let message = CoreMessage::Control {
            core: self.core,
            message,
        };
        if let Err(TrySendError::Full(CoreMessage::Control { message, .. })) = self.sender.try_send(message) {
            self.keep_or_drop(message, droppable);
        }
    }

    /// Tries again what had no room; answers how many events were dropped since the last time.
    pub fn flush(&mut self) -> u64 {
        while let Some(message) = self.backlog.pop_front() {
            let message = CoreMessage::Control {
                core: self.core,
                message,
            };
            if let Err(TrySendError::Full(CoreMessage::Control { message, .. })) =
                self.sender.try_send(message)
            {
                self.backlog.push_front(message);
                break;
            }
        }
        if self.untold > 0 {
            let told = self.sender.try_send(CoreMessage::Lost { count: self.untold });
            if !matches!(told, Err(TrySendError::Full(_))) {
                self.untold = 0;
            }
        }
        std::mem::take(&mut self.uncounted)
    }

    /// When [`Self::flush`] is wanted, if at all.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        (!self.backlog.is_empty() || self.untold > 0).then_some(CORE_MESSAGE_RETRY)
    }

    fn keep_or_drop(&mut self, message: ToControl, droppable: bool) {
        if droppable {
            self.untold += 1;
            self.uncounted += 1;
        } else {
            self.backlog.push_back(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;
    use kall_shared::id::{SessionId, TrackId};
    use kall_shared::link::{CloseReason, Response};

    fn event() -> ToControl {
        ToControl::Event(Event::TrackStarted {
            session: SessionId(1),
            track: TrackId::new("tr_a").expect("valid"),
        })
    }

    fn answer(id: u64) -> ToControl {
        ToControl::Answer {
            id,
            result: Ok(Response::Done),
        }
    }

    #[test]
    fn answers_and_ends_survive_a_full_channel_in_order_and_events_are_counted() {
        let (sender, receiver) = bounded(1);
        let mut outbox = Outbox::new(3, sender);
        outbox.push(answer(1));
        outbox.push(event());
        outbox.push(answer(2));
        outbox.push(event());
        outbox.push(ToControl::Event(Event::SessionClosed {
            session: SessionId(1),
            reason: CloseReason::Requested,
        }));
        assert!(outbox.retry_after().is_some());
        let mut seen = Vec::new();
        let mut counted = 0;
        while outbox.retry_after().is_some() || !receiver.is_empty() {
            seen.extend(receiver.try_iter());
            counted += outbox.flush();
        }
        assert_eq!(counted, 2);
        let [
            CoreMessage::Control {
                message: first,
                core: 3,
            },
            CoreMessage::Control { message: second, .. },
            CoreMessage::Control { message: third, .. },
            CoreMessage::Lost { count: 2 },
        ] = &seen[..]
        else {
            panic!("{seen:?}");
        };
        assert_eq!(*first, answer(1));
        assert_eq!(*second, answer(2));
        assert!(matches!(third, ToControl::Event(Event::SessionClosed { .. })));
    }

    #[test]
    fn a_control_thread_that_is_gone_is_no_reason_to_keep_anything() {
        let (sender, receiver) = bounded(1);
        drop(receiver);
        let mut outbox = Outbox::new(0, sender);
        outbox.push(answer(1));
        outbox.push(event());
        assert_eq!(outbox.retry_after(), None);
    }
}
