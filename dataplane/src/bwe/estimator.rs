//! The estimator: wires the parts, and is the only one the outside talks to.

use std::time::Duration;

use super::acked_rate::AckedRate;
use super::aimd::{Aimd, Measured, Usage};
use super::busy_rate::{Busy, BusyRate};
use super::cluster::Finding;
use super::feedback::Reader;
use super::groups::Groups;
use super::history::{Class, History};
use super::loss::Loss;
use super::probe::{Prober, Situation};
use super::queue::Queue;
use super::reports::Reports;
use super::silence::Silence;
use super::trendline::Trendline;
use super::{ESTIMATE_MAX, ESTIMATE_MIN, ESTIMATE_START, OVERHEAD_BYTES, bounded};
use crate::io::prefetch::prefetch;
use crate::time::Time;
use crate::wire::rtcp::Twcc;

/// A queue this long is one; less hurts nobody.
const STANDING: Duration = Duration::from_millis(10);

/// A queue this long may be all that the path has room for.
const FULL: Duration = Duration::from_millis(60);

/// Above this share of it, the estimate is used up.
const SATURATING: f64 = 0.85;

/// At this share of the known capacity, and with no longer queue than this, the capacity may have grown.
const GROWN: f64 = 0.97;
const NO_QUEUE: Duration = Duration::from_millis(3);

/// How long after a fall the path counts as congested, at least.
const CONGESTED: Duration = Duration::from_millis(300);

/// How long feedback speaks of now.
const FRESH: Duration = Duration::from_secs(1);

/// A fall below this share of what was usual is one to recover from.
const FALL: f64 = 0.66;

/// A fall for want of feedback to more than this part is undone when the path turns out to have been well: two
/// steps of it.
const FALL_UNDONE: u64 = 5;

/// One of so many packets may be lost on a path that is well.
const RARELY: u32 = 20;

/// Time over which an estimate becomes usual.
const USUAL_TIME: Duration = Duration::from_secs(5);

/// Packets that one feedback message usually speaks of.
const TOLD_AT_ONCE: usize = 12;

/// What a subscriber could make use of, bits per second with headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// All that it wants at its best.
    pub wanted_bps: u64,
    /// What the estimate must reach for the next improvement; `None` when there is nothing to gain, and
    /// then nothing is probed.
    pub next_step_bps: Option<u64>,
    /// The estimate allows for it, and it is made as soon as it is proven.
    pub awaited: bool,
}

/// What one feedback message told that was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Packets that came.
    pub acked: u32,
    /// Packets that are lost, finally.
    pub lost: u32,
    /// A fall for want of feedback, which began then, was undone: only the way back had failed.
    pub restored: Option<Time>,
}

/// The part that learns from delay; all of it belongs to one path.
#[derive(Debug)]
struct Delay {
    acked: AckedRate,
    busy: BusyRate,
    groups: Groups,
    trendline: Trendline,
    queue: Queue,
    aimd: Aimd,
}

impl Delay {
    fn new(now: Time, estimate: f64) -> Self {
        Self {
            acked: AckedRate::default(),
            busy: BusyRate::default(),
            groups: Groups::default(),
            trendline: Trendline::new(),
            queue: Queue::default(),
            aimd: Aimd::new(now, estimate),
        }
    }

    /// How the path is used. A growing delay without a queue is jitter, or the burst of another; a queue that
    /// is full grows no longer, for it drops what is too much.
    fn usage(&self, busy: Option<Busy>) -> Usage {
        let standing = self.queue.standing();
        let overflows = standing >= FULL && busy.is_some_and(Busy::overflows);
        match self.trendline.usage() {
            Usage::Over if standing < STANDING => Usage::Under,
            Usage::Normal if overflows => Usage::Over,
            usage => usage,
        }
    }
}

/// What was when the estimate first fell for want of feedback.
#[derive(Debug, Clone, Copy)]
struct BeforeSilence {
    at: Time,
    estimate: u64,
    /// What arrived, bits per second.
    carried: f64,
}

/// The estimate for one subscriber.
#[derive(Debug)]
pub struct Estimator {
    history: History,
    reader: Reader,
    delay: Delay,
    loss: Loss,
    reports: Reports,
    silence: Silence,
    prober: Prober,
    sent_bytes: [u64; Class::ALL.len()],
    remb: Option<f64>,
    rtt: Option<Duration>,
    estimate: u64,
    /// None while feedback comes.
    before_silence: Option<BeforeSilence>,
    usage: Usage,
    /// The last feedback that told something; none yet.
    fed: Option<Time>,
    /// The estimate as it usually was of late, and when that was last worked out.
    usual: (Time, f64),
    /// The last call with a time.
    now: Time,
}

impl Estimator {
    /// Takes all its memory here.
    #[must_use]
    pub fn new(now: Time) -> Self {
        let history = History::new();
        let start = ESTIMATE_START as f64;
        Self {
            reader: Reader::new(&history),
            history,
            delay: Delay::new(now, start),
            loss: Loss::new(now),
            reports: Reports::new(now, start),
            silence: Silence::new(),
            prober: Prober::new(now),
            sent_bytes: [0; Class::ALL.len()],
            remb: None,
            rtt: None,
            estimate: ESTIMATE_START,
            before_silence: None,
            usage: Usage::Normal,
            fed: None,
            usual: (now, start),
            now,
        }
    }

    /// The transport-wide number that the next packet must carry.
    #[must_use]
    pub fn next_sequence(&self) -> u16 {
        // What is on the wire has 16 bits.
        (self.history.next() & 0xffff) as u16
    }

    /// Notes that the packet with that number was sealed. `bytes`: UDP payload.
    pub fn on_sent(&mut self, now: Time, bytes: usize, class: Class) {
        self.now = now;
        let wire = u16::try_from(bytes.saturating_add(OVERHEAD_BYTES)).unwrap_or(u16::MAX);
        let bytes = u64::from(wire);
        self.sent_bytes[class.index()] += bytes;
        self.prober.on_sent(now, self.history.next(), bytes);
        self.history.push(now, wire, self.prober.is_sending());
        self.reports.on_sent(bytes);
        self.silence.on_sent(now, self.is_measured(), self.rtt);
    }

    /// Fetches what [`Self::on_sent`] looks at, and [`Self::poll_deadline`] after it.
    pub fn prefetch(&self) {
        prefetch(&self.history);
        prefetch(&self.reader);
        prefetch(&self.silence);
        prefetch(&self.reports);
        prefetch(&self.sent_bytes);
        prefetch(&self.fed);
        prefetch(&self.rtt);
        prefetch(&self.now);
        self.prober.prefetch();
    }

    /// Fetches what that leads to, once it is there itself.
    pub fn prefetch_linked(&self) {
        self.history.prefetch(self.history.next(), 1);
    }

    /// Fetches what feedback will speak of, once that is there itself.
    pub fn prefetch_unacknowledged(&self) {
        self.history.prefetch(self.reader.told(), TOLD_AT_ONCE);
    }

    /// Takes a feedback message that the kernel received at `received`. What it says of numbers that were
    /// not sent is ignored; one that tells nothing new changes nothing.
    pub fn on_feedback(&mut self, now: Time, received: Time, twcc: &Twcc<'_>) -> Outcome {
        self.now = now;
        let mut outcome = Outcome::default();
        let mut newest = None;
        let Self {
            history,
            reader,
            delay,
            prober,
            ..
        } = self;
        let news = reader.read(now, history, twcc, |packet| {
            outcome.acked += 1;
            newest = newest.max(Some(packet.sent_at));
            if packet.after_gap {
                delay.acked.on_gap();
                delay.busy.on_gap();
            }
            delay.acked.on_acked(packet.arrival, packet.bytes);
            delay.queue.on_acked(&packet);
            let standing = delay.queue.standing();
            delay.busy.on_acked(&packet, standing);
            if let Some(step) = delay.groups.on_acked(packet.sent_at, packet.arrival) {
                delay.trendline.on_step(step);
            }
            prober.on_acked(&packet);
        });
        if !news {
            return outcome;
        }
        if let Some(sent_at) = newest {
            self.on_rtt(received.since(sent_at));
        }
        if self.silence.on_feedback() {
            self.prober.on_return(now, self.usual.1);
            // That the estimate is low is for the silence, and no fall of the path.
            self.usual = (now, self.estimate as f64);
        }
        self.fed = Some(now);
        outcome.lost = self.settle(now);
        outcome.restored = self.undo_silence(now, newest, outcome.acked);
        self.update(now, newest);
        outcome
    }

    /// Undoes the fall for want of feedback, if what was sent since is there and no queue stands: then it was the way
    /// back that failed. Of a longer silence nobody knows what else has changed: probes will tell. When the fall
    /// began, if it is undone.
    fn undo_silence(&mut self, now: Time, newest: Option<Time>, acked: u32) -> Option<Time> {
        // What speaks of before only came late.
        let before = self.before_silence.take_if(|before| newest > Some(before.at))?;
        let arrives = acked > 0 && self.reader.missing() * RARELY <= acked;
        let well = arrives && self.delay.queue.standing() < STANDING;
        if !well || before.estimate > self.estimate * FALL_UNDONE {
            return None;
        }
        self.delay.aimd.set(now, before.estimate as f64);
        self.prober.on_restored(now, before.carried);
        Some(before.at)
    }

    fn settle(&mut self, now: Time) -> u32 {
        let mut lost = 0;
        let standing = self.delay.queue.standing();
        let loss = &mut self.loss;
        self.reader.settle(now, &mut self.history, |packet| {
            lost += u32::from(packet.lost);
            if !packet.probe {
                loss.on_settled(packet.sent_at, packet.bytes, packet.lost, standing);
            }
        });
        lost
    }

    /// Draws conclusions from feedback; `newest`: when the newest packet that it acknowledged was sent.
    fn update(&mut self, now: Time, newest: Option<Time>) {
        self.loss.update(now, self.estimate as f64);
        // What only denies is no reason to rise.
        if let Some(sent_at) = newest {
            let busy = self.delay.busy.rate();
            if let Some(busy) = busy {
                self.delay.acked.limit(busy.arrived);
            }
            // What the path itself loses was carried to where it was lost.
            let carried = |rate: f64| rate / (1.0 - self.loss.inherent());
            let measured = Measured {
                acked: self.delay.acked.rate().map(carried),
                busy: busy.map(|busy| Busy {
                    arrived: carried(busy.arrived),
                    ..busy
                }),
            };
            self.usage = match self.delay.usage(measured.busy) {
                // It is the probe's own queue, and drains.
                Usage::Over if self.prober.is_in_wake(sent_at) => Usage::Under,
                usage => usage,
            };
            self.delay.aimd.update(now, self.usage, measured, self.rtt);
            self.loss.rise(now, self.delay.aimd.estimate());
        }
        self.combine(now);
        self.probe(now);
    }

    fn on_rtt(&mut self, sample: Duration) {
        self.rtt = Some(self.rtt.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
    }

    /// Works out the estimate from the parts.
    fn combine(&mut self, now: Time) {
        let own = if self.is_measured() {
            let delay = self.delay.aimd.estimate();
            self.loss.limit().map_or(delay, |limit| limit.min(delay))
        } else {
            self.remb.unwrap_or(self.reports.estimate())
        };
        self.estimate = bounded(self.remb.map_or(own, |remb| remb.min(own)));
        if self.is_congested() {
            self.prober.on_congestion(now, self.estimate as f64);
        }
        let (since, usual) = self.usual;
        let estimate = self.estimate as f64;
        if estimate < FALL * usual {
            self.prober.on_fall(now, usual);
            self.usual = (now, estimate);
        } else {
            let share = (now.since(since).as_secs_f64() / USUAL_TIME.as_secs_f64()).min(1.0);
            self.usual = (now, usual + share * (estimate - usual));
        }
    }

    /// Whether the sender uses all it may near a known capacity: then the rate goes up by itself, and a
    /// probe would only push others aside. All of that capacity without a queue, and it may be known no more.
    fn is_saturating(&self) -> bool {
        let acked = self.delay.acked.rate().unwrap_or(0.0);
        self.is_fresh()
            && acked > SATURATING * self.estimate as f64
            && self
                .delay
                .aimd
                .of_capacity()
                .is_some_and(|share| share < GROWN || self.delay.queue.standing() > NO_QUEUE)
    }

    /// Whether feedback is recent enough to speak of now.
    fn is_fresh(&self) -> bool {
        self.fed.is_some_and(|fed| self.now.since(fed) < FRESH)
    }

    fn probe(&mut self, now: Time) {
        let situation = Situation {
            estimate: self.estimate as f64,
            congested: self.is_congested() || self.loss.is_holding(now),
            measured: self.is_measured(),
            saturating: self.is_saturating(),
            rtt: self.rtt,
            inherent: self.loss.inherent(),
            jitter: self.delay.queue.jitter(),
            told: self.reader.told(),
            next: self.history.next(),
        };
        let first = self.prober.is_first();
        if let Some(Finding::Carried { bps, saturated }) = self.prober.handle_timeout(now, &situation)
            && self.usage != Usage::Over
            // The start was a guess that the first finding may correct.
            && (bps > self.estimate as f64 || (first && saturated))
        {
            if bps > self.delay.aimd.estimate() || first {
                self.delay.aimd.set(now, bps);
            }
            self.loss.on_probe(bps);
            self.prober.on_adopted(now, bps);
            self.combine(now);
        }
    }

    /// Takes a receiver's own estimate, bits per second: a cap beside transport-wide feedback, the
    /// estimate itself for a peer without (draft-alvestrand-rmcat-remb-03).
    pub fn on_remb(&mut self, now: Time, bps: u64) {
        self.now = now;
        self.remb = Some(bps.clamp(ESTIMATE_MIN, ESTIMATE_MAX) as f64);
        if !self.is_measured() {
            self.silence.on_feedback();
        }
        self.combine(now);
    }

    /// Takes a report block of one of our streams (RFC 3550 section 6.4.1). `fraction_lost` is in units
    /// of 1/256, and steers the estimate of a peer only that has neither transport-wide feedback nor
    /// REMB.
    pub fn on_report(&mut self, now: Time, fraction_lost: u8, rtt: Option<Duration>) {
        self.now = now;
        if let Some(rtt) = rtt {
            self.on_rtt(rtt);
        }
        if self.is_measured() {
            return;
        }
        self.silence.on_feedback();
        self.reports.on_report(now, fraction_lost, self.rtt);
        self.combine(now);
    }

    /// Says what could be made use of. Call it whenever that changes.
    pub fn set_demand(&mut self, now: Time, demand: Demand) {
        self.now = now;
        self.prober.set_demand(now, demand);
    }

    /// What could be made use of, as last said.
    #[must_use]
    pub fn demand(&self) -> Demand {
        self.prober.demand()
    }

    /// Begins anew on another path: what was measured belonged to the old one, and that nothing came back from it is why
    /// it was left.
    pub fn on_path_change(&mut self, now: Time) {
        self.now = now;
        let before = self
            .before_silence
            .take()
            .map_or(self.estimate, |before| before.estimate);
        let start = before.min(ESTIMATE_START) as f64;
        self.history.forget();
        self.reader = Reader::new(&self.history);
        self.delay = Delay::new(now, start);
        self.loss = Loss::new(now);
        self.reports = Reports::new(now, start);
        self.silence = Silence::new();
        self.prober.on_path_change(now);
        self.usage = Usage::Normal;
        self.rtt = None;
        self.remb = None;
        self.usual = (now, start);
        self.estimate = bounded(start);
    }

    /// Bits per second that the path carries, with headers of IP and UDP.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        self.estimate
    }

    /// Whether any transport-wide feedback came yet.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.fed.is_some()
    }

    /// Whether the estimate is what every path begins with: no probe has ended yet, and nothing speaks against it.
    #[must_use]
    pub fn is_guess(&self) -> bool {
        self.prober.is_first() && self.remb.is_none() && !self.is_congested()
    }

    /// Whether the path is being overused or the estimate has just fallen, as of the last call with a
    /// time.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        let lately = CONGESTED.max(self.rtt.unwrap_or_default());
        let fell = |at: Time| self.now.since(at) < lately;
        (self.usage == Usage::Over && self.is_fresh())
            || self.silence.is_dead()
            || self.delay.aimd.decreased().is_some_and(fell)
            || self.loss.fallen().is_some_and(fell)
            || (!self.is_measured() && self.reports.fallen().is_some_and(fell))
    }

    /// Whether a queue stands on the path that may be all that it has room for.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_fresh() && self.delay.queue.standing() >= FULL
    }

    /// What of the estimate a probe has just shown the path to carry; all of it where probes can show nothing.
    #[must_use]
    pub fn proven(&self, now: Time) -> Option<u64> {
        let proven = self.prober.proven(now, self.estimate as f64);
        proven.map(|bps| bps as u64)
    }

    /// Whether the improvement that waits for a proof may be made.
    #[must_use]
    pub fn is_awaited_proven(&self, now: Time) -> bool {
        self.prober.is_awaited_proven(now, self.estimate as f64)
    }

    /// A time of up to half as much again: those who fell together behind one link would rise together, and fall
    /// again.
    #[must_use]
    pub fn spread(&self, time: Duration) -> Duration {
        time * (512 + self.prober.draw()) / 512
    }

    /// The round trip, smoothed.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Thousandths of the packets that were lost, over the last second of sending; probes aside.
    #[must_use]
    pub fn loss_permille(&self) -> u16 {
        self.loss.permille()
    }

    /// Share of the packets that the path loses whatever the rate is; 0 to 1.
    #[must_use]
    pub fn path_loss(&self) -> f64 {
        self.loss.inherent()
    }

    /// Bytes sent of a class, with headers.
    #[must_use]
    pub fn sent_bytes(&self, class: Class) -> u64 {
        self.sent_bytes[class.index()]
    }

    /// Runs what is due. Call it at [`Estimator::poll_deadline`].
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        if self.reader.poll_deadline() <= now {
            self.settle(now);
            self.loss.update(now, self.estimate as f64);
            self.combine(now);
        }
        if self.silence.handle_timeout(now) {
            self.before_silence.get_or_insert(BeforeSilence {
                at: now,
                estimate: self.estimate,
                carried: self.delay.acked.rate().unwrap_or(0.0),
            });
            let half = self.estimate as f64 / 2.0;
            self.delay.aimd.set(now, half);
            self.reports.halve();
            self.remb = self.remb.map(|remb| remb / 2.0);
            self.estimate = bounded(half);
        }
        self.probe(now);
    }

    /// When [`Estimator::handle_timeout`] wants to be called; never, for a session that neither sends nor
    /// could gain.
    #[must_use]
    pub fn poll_deadline(&self) -> Time {
        self.reader
            .poll_deadline()
            .min(self.silence.poll_deadline())
            .min(self.prober.poll_deadline(self.estimate as f64, self.rtt))
    }

    /// Bytes of retransmissions or padding that a running probe wants to be sent now; zero for none.
    /// Whatever is sent meanwhile counts for the probe.
    pub fn probe_bytes(&mut self, now: Time) -> usize {
        self.now = now;
        self.prober.wanted(now)
    }

    /// Bits per second of the running probe, for the pacer.
    #[must_use]
    pub fn probe_rate(&self) -> Option<u64> {
        self.prober.rate()
    }
}
