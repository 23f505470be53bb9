//! The way to one peer: what it carries, how fast it may be filled, and what it has been filled with.

use std::time::Duration;

use kall_shared::media::{Extension, MediaLine, SessionParams};

use crate::bwe::{Class, Estimator, Pacer};
use crate::io::prefetch::prefetch;
use crate::rtp::RateMeter;
use crate::time::Time;

/// How the peer lets its path be measured. Agreed once for all lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// It tells when each packet came.
    Transport,
    /// It estimates by itself and tells a limit.
    Remb,
    /// Not at all: it gets what it asks for.
    None,
}

impl Feedback {
    /// What the peer agreed to on the lines it receives on.
    #[must_use]
    pub fn of(params: &SessionParams) -> Self {
        let agreed = |wanted: fn(&MediaLine) -> bool| {
            params
                .lines
                .iter()
                .filter(|line| line.slot && line.publish.is_none())
                .any(wanted)
        };
        let has = |line: &MediaLine, extension| line.extensions.iter().any(|own| own.extension == extension);
        if agreed(|line| {
            line.codecs.iter().any(|codec| codec.feedback.transport_cc)
                && line
                    .extensions
                    .iter()
                    .any(|own| own.extension == Extension::TransportCc)
        }) {
            Self::Transport
        } else if params
            .lines
            .iter()
            .any(|line| line.slot && has(line, Extension::AbsSendTime))
            && agreed(|line| line.codecs.iter().any(|codec| codec.feedback.remb))
        {
            Self::Remb
        } else {
            Self::None
        }
    }
}

/// The sending half of a session.
#[derive(Debug)]
pub struct Downstream {
    /// How the path is measured.
    pub feedback: Feedback,
    /// What it carries.
    pub estimator: Estimator,
    /// How fast it is filled.
    pub pacer: Pacer,
    /// When slots are given their shares again.
    pub allocate_at: Time,
    /// When they were last.
    pub allocated_at: Time,
    /// The estimate they were given by.
    pub allocated_by: u64,
    /// What the shares cost then.
    pub used_bps: u64,
    /// When a slot last rose.
    pub risen_at: Time,
    /// Everything sent, with headers.
    pub sent: RateMeter,
    /// Packets sent again.
    pub rtx_packets: u64,
    /// Packets sent to measure the path.
    pub padding_packets: u64,
    /// Which of the recent packets the next probe repeats.
    pub probe_back: u64,
}

/// Slots are given their shares again so often even when nothing happened: rates of layers wander.
pub const ALLOCATE_INTERVAL: Duration = Duration::from_secs(1);

/// Shares follow an estimate that moves by so many percent.
const ESTIMATE_MOVED_PERCENT: u64 = 15;

/// At most so often, except when the path carries less than is being sent.
const ALLOCATE_SPACING: Duration = Duration::from_millis(200);

impl Downstream {
    /// A path nothing is known of.
    #[must_use]
    pub fn new(now: Time, feedback: Feedback) -> Self {
        let mut downstream = Self {
            feedback,
            estimator: Estimator::new(now),
            pacer: Pacer::new(now),
            allocate_at: Time::FAR_FUTURE,
            allocated_at: Time::ZERO,
            allocated_by: 0,
            used_bps: 0,
            risen_at: Time::ZERO,
            sent: RateMeter::default(),
            rtx_packets: 0,
            padding_packets: 0,
            probe_back: 0,
        };
        downstream.follow_estimate(now);
        downstream
    }

    /// What the path carries in bits per second; none where the peer gives no way to know.
    #[must_use]
    pub fn budget(&self) -> Option<u64> {
        (self.feedback != Feedback::None).then(|| self.estimator.estimate())
    }

    /// What the path has just been seen to carry, in bits per second, where there is a way to see that.
    #[must_use]
    pub fn proven(&self, now: Time) -> u64 {
        if self.feedback == Feedback::Transport {
            self.estimator.proven(now).unwrap_or(0)
        } else {
            u64::MAX
        }
    }

    /// Whether anything is known of the path.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.feedback != Feedback::Transport || self.estimator.is_measured()
    }

    /// Whether what the path carries is a guess so far, and a probe will tell in a moment.
    #[must_use]
    pub fn is_guessed(&self) -> bool {
        self.feedback == Feedback::Transport && self.estimator.is_guess()
    }

    /// Whether a packet of video may leave now.
    pub fn may_send(&mut self, now: Time) -> bool {
        self.feedback == Feedback::None || self.pacer.may_send(now)
    }

    /// Whether what is sent waits for its turn.
    #[must_use]
    pub fn is_paced(&self) -> bool {
        self.feedback != Feedback::None
    }

    /// Fetches what the next packet looks at.
    pub fn prefetch(&self) {
        prefetch(&self.feedback);
        prefetch(&self.pacer);
        prefetch(&self.allocate_at);
        prefetch(&self.sent);
        self.estimator.prefetch();
    }

    /// Fetches what feedback looks at.
    pub fn prefetch_incoming(&self) {
        prefetch(&self.feedback);
        prefetch(&self.pacer);
        prefetch(&self.allocate_at);
        prefetch(&self.estimator);
    }

    /// Notes a sealed packet. `numbered`: it carries the next number of the path.
    pub fn on_sent(&mut self, now: Time, bytes: usize, class: Class, numbered: bool) {
        self.sent.add(now, bytes);
        match class {
            Class::Rtx => self.rtx_packets += 1,
            Class::Padding => self.padding_packets += 1,
            Class::Audio | Class::Video => {}
        }
        if numbered {
            self.estimator.on_sent(now, bytes, class);
        }
        if self.is_paced() {
            self.pacer.on_sent(now, bytes);
        }
    }

    /// After anything that may have moved the estimate: the pacer follows at once, shares are given
    /// anew when it moved far enough.
    pub fn follow_estimate(&mut self, now: Time) {
        let estimate = self.estimator.estimate();
        let (probe, full) = (self.estimator.probe_rate(), self.estimator.is_full());
        self.pacer.set_rate(now, estimate, probe, full);
        if !self.is_paced() || self.allocated_by == 0 {
            return;
        }
        let moved = estimate.abs_diff(self.allocated_by) * 100 > self.allocated_by * ESTIMATE_MOVED_PERCENT;
        if estimate < self.used_bps && estimate < self.allocated_by {
            self.allocate_at = self.allocate_at.min(now);
        } else if moved || self.estimator.is_awaited_proven(now) {
            let earliest = self.allocated_at + ALLOCATE_SPACING;
            self.allocate_at = self.allocate_at.min(earliest.max(now));
        }
    }

    /// When something of this is due. `queued`: whether packets wait for their turn.
    #[must_use]
    pub fn poll_deadline(&self, now: Time, queued: bool) -> Time {
        let mut deadline = self.allocate_at;
        if self.feedback == Feedback::Transport {
            deadline = deadline.min(self.estimator.poll_deadline());
        }
        if queued && self.is_paced() {
            deadline = deadline.min(self.pacer.poll_deadline(now));
        }
        deadline
    }
}
