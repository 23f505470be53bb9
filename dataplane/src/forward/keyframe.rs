//! When a publisher layer is asked for a key frame (PLI, RFC 4585 section 6.3.1).
//!
//! Owns one layer's request: those of many subscribers merge into one, requests are spaced, and one that
//! was lost is repeated while anybody waits. A key frame costs as much as many other frames, so a
//! hundred people who join at once must cause one or two.

use std::time::Duration;

use crate::time::Time;

/// Spacing of requests to a low or only layer.
pub const SPACING_LOW: Duration = Duration::from_millis(500);

/// Spacing of requests to a middle or high layer, whose key frames are large.
pub const SPACING_HIGH: Duration = Duration::from_secs(1);

/// What those who need a key frame see until it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meanwhile {
    /// Nothing: they have waited since they came, and are served at the spacing of a low layer.
    Nothing,
    /// Another picture, or an older one.
    Something,
}

/// A request unanswered for two round trips is repeated, within these bounds.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// How long a key frame may wait for its turn to a subscriber.
const ON_ITS_WAY: Duration = Duration::from_millis(300);

/// The gate before one publisher layer.
#[derive(Debug, Clone, Copy)]
pub struct KeyframeGate {
    spacing: Duration,
    /// When the request is to be (re)sent, while somebody waits.
    due: Option<Time>,
    last_sent: Option<Time>,
    /// When the newest key frame began.
    began: Option<Time>,
    retry: Duration,
}

impl KeyframeGate {
    /// Nobody waits yet.
    #[must_use]
    pub const fn new(spacing: Duration) -> Self {
        Self {
            spacing,
            due: None,
            last_sent: None,
            began: None,
            retry: RETRY_MAX,
        }
    }

    /// Somebody needs a key frame. `rtt` is the round trip to the publisher, if known.
    pub fn request(&mut self, now: Time, rtt: Option<Duration>, meanwhile: Meanwhile) {
        let spacing = match meanwhile {
            Meanwhile::Nothing => self.spacing.min(SPACING_LOW),
            Meanwhile::Something => self.spacing,
        };
        let retry = rtt
            .map_or(RETRY_MAX, |rtt| (rtt * 2).clamp(RETRY_MIN, RETRY_MAX))
            .max(spacing);
        let earliest = match (self.due, self.last_sent) {
            // The request is on its way; it is repeated when it is lost.
            (Some(due), Some(sent)) => due.min(sent + retry),
            (Some(due), None) => due,
            (None, sent) => {
                self.retry = RETRY_MAX;
                sent.map_or(now, |sent| sent + spacing)
            }
        };
        self.retry = self.retry.min(retry);
        self.due = Some(earliest.max(now));
    }

    /// A key frame begins: whoever waited has it.
    pub fn on_keyframe(&mut self, now: Time) {
        self.due = None;
        self.began = Some(now);
    }

    /// Whether a key frame has begun that may still be on its way to a subscriber behind a narrow path.
    #[must_use]
    pub fn is_answered(&self, now: Time) -> bool {
        self.began.is_some_and(|began| now.since(began) < ON_ITS_WAY)
    }

    /// Nobody waits any more.
    pub fn cancel(&mut self) {
        self.due = None;
    }

    /// Whether to send a request now. It stays pending until a key frame comes.
    pub fn poll(&mut self, now: Time) -> bool {
        let due = self.due.is_some_and(|due| now >= due);
        if due {
            self.last_sent = Some(now);
            self.due = Some(now + self.retry);
        }
        due
    }

    /// Requests of a layer of this size are spaced like this from now on.
    pub fn space(&mut self, spacing: Duration) {
        self.spacing = spacing;
    }

    /// When [`Self::poll`] has something to send.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        self.due.unwrap_or(Time::FAR_FUTURE)
    }

    /// Whether somebody waits.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.due.is_some()
    }
}

/// Least time between two key frame requests of one subscriber that are listened to.
const SUBSCRIBER_SPACING: Duration = Duration::from_millis(200);

/// Time that one request of a subscriber counts for in the long run: one bad receiver must not lower
/// everybody's picture.
const SUBSCRIBER_INTERVAL: Duration = Duration::from_secs(2);

/// Requests that may come faster than that, after a time without any: where pictures are lost, so are the key
/// frames that repair them.
const SUBSCRIBER_BURST: u32 = 3;

/// Bounds what one subscriber may ask for on one slot.
#[derive(Debug, Clone, Copy)]
pub struct SubscriberLimit {
    last: Option<Time>,
    /// When all that was heard has been counted for.
    even: Time,
}

impl SubscriberLimit {
    /// Nothing asked yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            last: None,
            even: Time::ZERO,
        }
    }

    /// Whether a PLI or FIR that came now is listened to.
    pub fn admit(&mut self, now: Time) -> bool {
        let even = self.even.max(now) + SUBSCRIBER_INTERVAL;
        if self.last.is_some_and(|at| now.since(at) < SUBSCRIBER_SPACING)
            || even.since(now) > SUBSCRIBER_INTERVAL * SUBSCRIBER_BURST
        {
            return false;
        }
        self.last = Some(now);
        self.even = even;
        true
    }
}

impl Default for SubscriberLimit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Option<Duration> = Some(Duration::from_millis(50));

    #[test]
    fn a_crowd_causes_one_request() {
        let mut gate = KeyframeGate::new(SPACING_LOW);
        let mut sent = 0;
        for millis in 0..100 {
            gate.request(Time::from_millis(millis), RTT, Meanwhile::Nothing);
            sent += u32::from(gate.poll(Time::from_millis(millis)));
        }
        gate.on_keyframe(Time::from_millis(100));
        // One of them came after the key frame had begun: it waits for the spacing.
        gate.request(Time::from_millis(110), RTT, Meanwhile::Nothing);
        assert_eq!(gate.poll_deadline(), Time::from_millis(500));
        assert!(!gate.poll(Time::from_millis(499)));
        assert!(gate.poll(Time::from_millis(500)));
        assert_eq!(sent, 1);
    }

    #[test]
    fn who_sees_nothing_waits_less() {
        let mut gate = KeyframeGate::new(SPACING_HIGH);
        gate.request(Time::ZERO, RTT, Meanwhile::Something);
        assert!(gate.poll(Time::ZERO));
        gate.on_keyframe(Time::from_millis(100));
        gate.request(Time::from_millis(200), RTT, Meanwhile::Something);
        assert_eq!(gate.poll_deadline(), Time::from_millis(1_000));
        gate.request(Time::from_millis(300), RTT, Meanwhile::Nothing);
        assert_eq!(gate.poll_deadline(), Time::from_millis(500));
        // Whoever is less in a hurry doesn't make others wait.
        gate.request(Time::from_millis(400), RTT, Meanwhile::Something);
        assert_eq!(gate.poll_deadline(), Time::from_millis(500));
    }

    #[test]
    fn a_lost_request_is_repeated_until_the_key_frame_comes() {
        let mut gate = KeyframeGate::new(SPACING_LOW);
        gate.request(Time::ZERO, Some(Duration::from_millis(400)), Meanwhile::Something);
        let mut sent = Vec::new();
        while sent.len() < 3 {
            let now = gate.poll_deadline();
            assert!(gate.poll(now));
            sent.push(now.as_millis());
        }
        assert_eq!(sent, [0, 800, 1600]);
        assert!(!gate.is_answered(Time::from_millis(1_700)));
        gate.on_keyframe(Time::from_millis(1_700));
        assert_eq!(gate.poll_deadline(), Time::FAR_FUTURE);
        assert!(gate.is_answered(Time::from_millis(1_800)));
    }

    #[test]
    fn one_subscriber_is_heard_three_times_and_then_every_two_seconds() {
        let mut limit = SubscriberLimit::new();
        let heard: Vec<u64> = (0..9_000)
            .step_by(100)
            .filter(|&millis| limit.admit(Time::from_millis(millis)))
            .collect();
        assert_eq!(heard, [0, 200, 400, 2_000, 4_000, 6_000, 8_000]);
    }
}
