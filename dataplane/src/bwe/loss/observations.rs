//! What was sent and what of it was lost, a quarter of a second at a time; and whether the losses grew with
//! the rate.

use std::time::Duration;

use crate::time::Time;

/// Observations remembered: some five seconds.
const OBSERVATIONS: usize = 16;

/// Time of sending in one observation, and packets it needs before it is closed.
const TIME: Duration = Duration::from_millis(250);
const PACKETS: u32 = 10;

/// A sender's pause longer than this ends an observation unfinished.
const PAUSE: Duration = Duration::from_secs(1);

/// The last observations that speak of now: a second.
const RECENT: usize = 4;

/// Share of the rate at the onset of loss from which an earlier observation without it contradicts any
/// cause: the path changed in between.
const SAME_RATE: f64 = 0.93;

/// Loss of a path that is thought to lose nothing: stray packets get lost everywhere.
const STRAY: f64 = 0.005;

/// What was sent within some time, and what became of it.
#[derive(Debug, Clone, Copy, Default)]
struct Observation {
    began: Time,
    /// Bits per second.
    rate: f64,
    packets: u32,
    lost: u32,
    /// The longest queue.
    standing: Duration,
}

impl Observation {
    fn loss(&self) -> f64 {
        ratio(self.lost, self.packets)
    }

    /// Log-likelihood of what was seen, if each packet is lost with this probability.
    fn likelihood(&self, probability: f64) -> f64 {
        let probability = probability.clamp(0.002, 0.998);
        f64::from(self.lost) * probability.ln()
            + f64::from(self.packets.saturating_sub(self.lost)) * (1.0 - probability).ln()
    }
}

fn ratio(lost: u32, packets: u32) -> f64 {
    f64::from(lost) / f64::from(packets.max(1))
}

/// The observation that is being made.
#[derive(Debug, Clone, Copy)]
struct Open {
    began: Time,
    last: Time,
    bytes: u64,
    packets: u32,
    lost: u32,
    standing: Duration,
}

/// Several observations together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Summary {
    /// Packets sent and, of these, lost.
    pub(super) packets: u32,
    pub(super) lost: u32,
    /// Bits per second, sent.
    pub(super) rate: f64,
    /// The queue while packets were lost.
    pub(super) standing: Duration,
}

impl Summary {
    /// Share of the packets that were lost.
    pub(super) fn loss(&self) -> f64 {
        ratio(self.lost, self.packets)
    }

    /// Whether more is lost than `expected`, beyond what chance explains.
    pub(super) fn exceeds(&self, expected: f64) -> bool {
        let count = f64::from(self.packets);
        let deviation = (count * expected * (1.0 - expected)).sqrt();
        f64::from(self.lost) > count * expected + 2.5 * deviation + 1.0
    }
}

/// The last seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observations {
    /// The oldest first.
    closed: [Observation; OBSERVATIONS],
    len: usize,
    open: Option<Open>,
}

impl Observations {
    /// Nothing observed.
    pub(super) fn new() -> Self {
        Self {
            closed: [Observation::default(); OBSERVATIONS],
            len: 0,
            open: None,
        }
    }

    /// Takes a packet whose fate is final, in the order of sending; true when that closed an observation.
    pub(super) fn on_settled(&mut self, sent_at: Time, bytes: u64, lost: bool, standing: Duration) -> bool {
        let mut closed = false;
        if let Some(open) = self.open {
            if sent_at.since(open.last) > PAUSE {
                self.open = None;
            } else if sent_at.since(open.began) >= TIME && open.packets >= PACKETS {
                self.close(&open, sent_at);
                self.open = None;
                closed = true;
            }
        }
        let open = self.open.get_or_insert(Open {
            began: sent_at,
            last: sent_at,
            bytes: 0,
            packets: 0,
            lost: 0,
            standing,
        });
        open.last = open.last.max(sent_at);
        open.bytes = open.bytes.saturating_add(bytes);
        open.packets += 1;
        open.lost += u32::from(lost);
        open.standing = open.standing.max(standing);
        closed
    }

    fn close(&mut self, open: &Open, end: Time) {
        if self.len == OBSERVATIONS {
            self.closed.copy_within(1.., 0);
            self.len -= 1;
        }
        // At least the time of an observation, so this divides by no zero.
        let seconds = end.since(open.began).max(TIME).as_secs_f64();
        self.closed[self.len] = Observation {
            began: open.began,
            rate: open.bytes as f64 * 8.0 / seconds,
            packets: open.packets,
            lost: open.lost,
            standing: open.standing,
        };
        self.len += 1;
    }

    fn all(&self) -> impl Iterator<Item = &Observation> {
        self.closed.iter().take(self.len)
    }

    /// The last second of sending, as far as it began after `from`; `None` if none of it did.
    pub(super) fn recent(&self, from: Option<Time>) -> Option<Summary> {
        let recent = || {
            let skipped = self.len.saturating_sub(RECENT);
            let after = move |observation: &&Observation| Some(observation.began) >= from;
            self.all().skip(skipped).filter(after)
        };
        let count = f64::from(u32::try_from(recent().count()).unwrap_or(u32::MAX));
        let lossy = || recent().filter(|observation| observation.lost > 0);
        let standing: Duration = lossy().map(|observation| observation.standing).sum();
        let lossy = u32::try_from(lossy().count()).unwrap_or(u32::MAX);
        (count > 0.0).then(|| Summary {
            packets: recent().map(|observation| observation.packets).sum(),
            lost: recent().map(|observation| observation.lost).sum(),
            rate: recent().map(|observation| observation.rate).sum::<f64>() / count,
            standing: standing / lossy.max(1),
        })
    }

    /// Drops what was seen before loss began, just now, at about the same rate.
    pub(super) fn begin(&mut self) {
        let Some(newest) = self.all().last().copied() else {
            return;
        };
        let mut kept = 0;
        for index in 0..self.len {
            let observation = self.closed[index];
            if observation.rate < newest.rate * SAME_RATE || observation.loss() >= newest.loss() / 2.0 {
                self.closed[kept] = observation;
                kept += 1;
            }
        }
        self.len = kept;
    }

    /// By how much, as a difference of log-likelihoods, the overflow of some bandwidth explains the losses
    /// better than chance that doesn't care for the rate. `inherent`: share that is lost anyway.
    pub(super) fn overflow(&self, inherent: f64) -> f64 {
        let (packets, lost) = self.all().fold((0, 0), |(packets, lost), observation| {
            (packets + observation.packets, lost + observation.lost)
        });
        let pooled = ratio(lost, packets);
        let chance: f64 = self.all().map(|observation| observation.likelihood(pooled)).sum();
        let inherent = inherent.max(STRAY);
        let explained = |bandwidth: f64| -> f64 {
            self.all()
                .map(|observation| {
                    let carried = (bandwidth / observation.rate.max(1.0)).min(1.0);
                    observation.likelihood(1.0 - (1.0 - inherent) * carried)
                })
                .sum()
        };
        self.all()
            .filter(|observation| observation.loss() > inherent)
            .map(|observation| observation.rate * (1.0 - observation.loss()) / (1.0 - inherent))
            .map(explained)
            .reduce(f64::max)
            .map_or(0.0, |overflow| overflow - chance)
    }
}
