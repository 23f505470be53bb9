//! A subscriber in a simulated call: the estimator and the pacer as the sender has them, media that
//! follows the estimate, a link, and the project's own receiver, whose feedback goes over a way back.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::{Class, Demand, Estimator, OVERHEAD_BYTES, Pacer};
use super::link::{Link, Path, Random};
use crate::rtp::TwccRecorder;
use crate::time::Time;
use crate::wire::rtcp::{Rtcp, packets};

/// Payload of a full media packet.
const PACKET: usize = 1100;
/// Payload of padding and of sound.
const PADDING: usize = 250;
const SOUND: usize = 100;
const SOUND_EACH: u64 = 20;
/// Bits per second of sound with headers.
const SOUND_RATE: u64 = (SOUND + OVERHEAD_BYTES) as u64 * 8 * (1000 / SOUND_EACH);
/// How long media waits for the pacer before the rest of a frame is dropped.
const BACKLOG: Duration = Duration::from_millis(250);

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Media {
    /// As much as the estimate allows, up to this; with headers and sound.
    Elastic(u64),
    /// The best layer that fits; layers go up when the estimate leaves some room.
    Layers(&'static [u64]),
    /// Sound only.
    Sound,
    /// Nothing.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
struct Wire {
    sequence: u16,
    bytes: usize,
}

/// What was seen at one moment; rates in bits per second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) at: Time,
    pub(super) estimate: u64,
    /// Media as it was meant to be.
    pub(super) media: u64,
}

/// One subscriber.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) estimator: Estimator,
    pub(super) media: Media,
    /// Share of feedback messages that are lost.
    pub(super) feedback_loss: f64,
    pub(super) feedback_delay: Duration,
    pub(super) samples: Vec<Sample>,
    /// Waits of each packet that arrived.
    pub(super) waits: Vec<(Time, Duration)>,
    pub(super) wakes: u64,
    /// Falls for want of feedback that were undone.
    pub(super) restored: u32,
    pacer: Pacer,
    receiver: TwccRecorder,
    feedback: VecDeque<(Time, Vec<u8>)>,
    random: Random,
    /// Media packets that wait for the pacer.
    backlog: VecDeque<(Time, usize)>,
    layer: usize,
    layer_changed: Time,
}

impl Call {
    pub(super) fn new(media: Media, seed: u64) -> Self {
        Self {
            estimator: Estimator::new(Time::ZERO),
            media,
            feedback_loss: 0.0,
            feedback_delay: Duration::from_millis(25),
            samples: Vec::new(),
            waits: Vec::new(),
            wakes: 0,
            restored: 0,
            pacer: Pacer::new(Time::ZERO),
            receiver: TwccRecorder::new(Time::ZERO),
            feedback: VecDeque::new(),
            random: Random::new(seed + 100),
            backlog: VecDeque::new(),
            layer: 0,
            layer_changed: Time::ZERO,
        }
    }

    /// Bits per second of picture, without headers of sound.
    fn rate(&self) -> u64 {
        match self.media {
            Media::Elastic(most) => self.estimator.estimate().min(most).saturating_sub(SOUND_RATE),
            Media::Layers(layers) => layers[..self.layer].last().copied().unwrap_or(0),
            Media::Sound | Media::Nothing => 0,
        }
    }

    fn step(&mut self, now: Time) {
        self.hear(now);
        if self.estimator.poll_deadline() <= now {
            self.wakes += 1;
            self.estimator.handle_timeout(now);
        }
        if now.as_millis().is_multiple_of(50) {
            self.allocate(now);
        }
        self.produce(now);
        let (estimate, probe) = (self.estimator.estimate(), self.estimator.probe_rate());
        let full = self.estimator.is_full();
        self.pacer.set_rate(now, estimate, probe, full);
    }

    fn hear(&mut self, now: Time) {
        let mut buf = [0; 1200];
        while let Some(len) = self.receiver.poll(now, &mut buf, 1, 2) {
            if self.random.share() >= self.feedback_loss {
                let arrival = now + self.feedback_delay;
                self.feedback.push_back((arrival, buf[..len].to_vec()));
            }
        }
        while let Some((_, message)) = self.feedback.pop_front_if(|(at, _)| *at <= now) {
            for packet in packets(&message) {
                let Ok(Rtcp::Twcc(twcc)) = packet else {
                    panic!("{packet:?}");
                };
                let outcome = self.estimator.on_feedback(now, now, &twcc);
                self.restored += u32::from(outcome.restored.is_some());
            }
        }
    }

    fn allocate(&mut self, now: Time) {
        let estimate = self.estimator.estimate();
        let with_room = |rate: u64| (rate + SOUND_RATE) * 115 / 100;
        let demand = match self.media {
            Media::Elastic(most) => Demand {
                wanted_bps: most,
                next_step_bps: (estimate < most).then_some(estimate * 6 / 5),
                awaited: false,
            },
            Media::Layers(layers) => {
                let fits = |layer: &u64| layer + SOUND_RATE <= estimate;
                let fitting = layers.iter().take_while(|layer| fits(layer)).count();
                let mut awaited = false;
                if fitting < self.layer {
                    self.layer = fitting;
                    self.layer_changed = now;
                } else if let Some(&next) = layers.get(self.layer)
                    && with_room(next) <= estimate
                    && !self.estimator.is_congested()
                    && now.since(self.layer_changed) >= Duration::from_secs(1)
                {
                    awaited = self.estimator.proven(now) < Some(with_room(next));
                    if !awaited {
                        self.layer += 1;
                        self.layer_changed = now;
                    }
                }
                Demand {
                    wanted_bps: layers.last().map_or(0, |best| best + SOUND_RATE),
                    next_step_bps: layers.get(self.layer).map(|next| with_room(*next)),
                    awaited,
                }
            }
            Media::Sound | Media::Nothing => Demand::default(),
        };
        if demand != self.estimator.demand() {
            self.estimator.set_demand(now, demand);
        }
    }

    /// A frame each 33 ms, of varying size.
    fn produce(&mut self, now: Time) {
        if now.as_millis().is_multiple_of(33) {
            let payload_share = PACKET as f64 / (PACKET + OVERHEAD_BYTES) as f64;
            let bits = self.rate() as f64 * 0.033 * payload_share * (0.8 + 0.4 * self.random.share());
            let mut bytes = (bits / 8.0) as usize;
            while bytes > 0 {
                let packet = bytes.min(PACKET);
                self.backlog.push_back((now, packet));
                bytes -= packet;
            }
            while self
                .backlog
                .pop_front_if(|(at, _)| now.since(*at) > BACKLOG)
                .is_some()
            {}
        }
    }

    fn emit(&mut self, now: Time, link: &mut Link<Crossing>, index: usize) {
        if now.as_millis().is_multiple_of(SOUND_EACH) && !matches!(self.media, Media::Nothing) {
            self.transmit(now, link, index, SOUND, Class::Audio);
        }
        while !self.backlog.is_empty() && self.pacer.may_send(now) {
            if let Some((_, bytes)) = self.backlog.pop_front() {
                self.transmit(now, link, index, bytes, Class::Video);
            }
        }
        let mut wanted = self.estimator.probe_bytes(now);
        while wanted > 0 {
            self.transmit(now, link, index, PADDING, Class::Padding);
            wanted = wanted.saturating_sub(PADDING);
        }
    }

    fn transmit(&mut self, now: Time, link: &mut Link<Crossing>, index: usize, bytes: usize, class: Class) {
        let wire = Wire {
            sequence: self.estimator.next_sequence(),
            bytes,
        };
        self.estimator.on_sent(now, bytes, class);
        self.pacer.on_sent(now, bytes);
        link.send(now, (bytes + OVERHEAD_BYTES) as u64, Crossing { index, wire });
    }

    fn receive(&mut self, at: Time, waited: Duration, wire: Wire) {
        self.waits.push((at, waited));
        self.receiver.on_packet(at, wire.sequence, wire.bytes);
    }

    fn sample(&mut self, now: Time) {
        self.samples.push(Sample {
            at: now,
            estimate: self.estimator.estimate(),
            media: self.rate(),
        });
    }

    /// The samples from second `from` to second `to`.
    pub(super) fn between(&self, from: u64, to: u64) -> &[Sample] {
        let at = |seconds: u64| {
            let time = Time::from_millis(seconds * 1000);
            self.samples.partition_point(|sample| sample.at <= time)
        };
        &self.samples[at(from)..at(to)]
    }

    /// The mean estimate from second `from` to second `to`, in bits per second.
    pub(super) fn mean(&self, from: u64, to: u64) -> u64 {
        let samples = self.between(from, to);
        samples.iter().map(|sample| sample.estimate).sum::<u64>() / samples.len() as u64
    }

    /// The least estimate from second `from` to second `to`.
    pub(super) fn least(&self, from: u64, to: u64) -> u64 {
        let estimates = self.between(from, to).iter().map(|sample| sample.estimate);
        estimates.min().unwrap()
    }

    /// The first time from second `from` on at which the estimate is in the range, in milliseconds since then.
    pub(super) fn reaches(&self, from: u64, range: impl std::ops::RangeBounds<u64>) -> u64 {
        let samples = self.between(from, u64::from(u32::MAX));
        let first = samples.iter().find(|sample| range.contains(&sample.estimate));
        first.map_or(u64::MAX, |sample| sample.at.as_millis() - from * 1000)
    }

    /// The 95th of a hundred waits from second `from` to second `to`, in milliseconds.
    pub(super) fn p95_wait(&self, from: u64, to: u64) -> u128 {
        let range = Time::from_millis(from * 1000)..Time::from_millis(to * 1000);
        let mut waits: Vec<_> = self
            .waits
            .iter()
            .filter(|(at, _)| range.contains(at))
            .map(|(_, wait)| wait.as_millis())
            .collect();
        waits.sort_unstable();
        waits[waits.len() * 95 / 100]
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Crossing {
    index: usize,
    wire: Wire,
}

/// Calls that share a link.
#[derive(Debug)]
pub(super) struct World {
    pub(super) calls: Vec<Call>,
    pub(super) link: Link<Crossing>,
    millis: u64,
}

impl World {
    /// One call.
    pub(super) fn new(path: Path, media: Media, seed: u64) -> Self {
        Self::shared(path, &[media], seed)
    }

    /// Several.
    pub(super) fn shared(path: Path, media: &[Media], seed: u64) -> Self {
        Self {
            calls: media
                .iter()
                .zip(seed..)
                .map(|(media, seed)| {
                    let mut call = Call::new(*media, seed);
                    call.feedback_delay = path.delay;
                    call
                })
                .collect(),
            link: Link::new(path, seed),
            millis: 0,
        }
    }

    pub(super) fn call(&mut self) -> &mut Call {
        &mut self.calls[0]
    }

    /// Goes on to second `to`.
    pub(super) fn run(&mut self, to: u64) {
        while self.millis < to * 1000 {
            self.millis += 1;
            let now = Time::from_millis(self.millis);
            while let Some(arrived) = self.link.poll(now) {
                let Crossing { index, wire } = arrived.item;
                self.calls[index].receive(arrived.at, arrived.waited, wire);
            }
            for (index, call) in self.calls.iter_mut().enumerate() {
                call.step(now);
                call.emit(now, &mut self.link, index);
                if self.millis.is_multiple_of(50) {
                    call.sample(now);
                }
            }
        }
    }
}
