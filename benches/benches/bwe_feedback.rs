//! Bandwidth estimation for each subscriber: noting a packet, and taking the feedback of 50 ms of a stream of
//! 1.5 Mbit/s.
//!
//! The clock of a thread's CPU time takes longer to read than a packet to note, so everybody gets their packets
//! and their feedback in one go.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kall_benches::cpu_time::{ThreadCpuTime, config, thread_cpu_time};
use kall_dataplane::bwe::{Class, Estimator};
use kall_dataplane::rtp::TwccRecorder;
use kall_dataplane::time::Time;
use kall_dataplane::wire::rtcp::{self, Rtcp};

/// Subscribers whose state stays in the cache, and a shard full.
const SUBSCRIBERS: [usize; 2] = [16, 1_000];

/// Bytes of a packet, and how many come before the next feedback.
const PACKET: usize = 1_100;
const PACKETS: u64 = 9;
const INTERVAL: Duration = Duration::from_millis(50);

/// One way.
const DELAY: Duration = Duration::from_millis(20);

struct Subscriber {
    estimator: Estimator,
    peer: TwccRecorder,
    message: Vec<u8>,
}

struct Shard {
    subscribers: Vec<Subscriber>,
    now: Time,
}

impl Shard {
    fn new(count: usize) -> Self {
        let subscriber = |_| Subscriber {
            estimator: Estimator::new(Time::ZERO),
            peer: TwccRecorder::new(Time::ZERO),
            message: vec![0; 1_500],
        };
        let mut shard = Self {
            subscribers: (0..count).map(subscriber).collect(),
            now: Time::ZERO,
        };
        // The first seconds are for finding out.
        for _ in 0..100 {
            shard.turn();
        }
        shard
    }

    /// Everybody gets the packets of one interval and says so. Gives the CPU time of noting and of taking feedback.
    fn turn(&mut self) -> (Duration, Duration) {
        let sent_at = self.now;
        let (mut noting, mut lens) = (Duration::ZERO, Vec::with_capacity(self.subscribers.len()));
        for packet in 0..PACKETS {
            let at = sent_at + INTERVAL / PACKETS as u32 * packet as u32;
            for subscriber in &mut self.subscribers {
                let sequence = subscriber.estimator.next_sequence();
                subscriber.peer.on_packet(at + DELAY, sequence, PACKET);
            }
            let start = thread_cpu_time();
            for subscriber in &mut self.subscribers {
                subscriber.estimator.on_sent(at, PACKET, Class::Video);
            }
            noting += thread_cpu_time().saturating_sub(start);
        }
        self.now = sent_at + INTERVAL;
        let said = self.now + DELAY;
        for subscriber in &mut self.subscribers {
            // Deadlines differ by what a peer makes of its rate; everybody shall have said something.
            let due = subscriber.peer.poll_deadline().max(said);
            lens.push(subscriber.peer.poll(due, &mut subscriber.message, 1, 2));
            // It ends with being told that there is no more.
            let more = subscriber.peer.poll(due, &mut [0; 1_500], 1, 2);
            assert!(more.is_none(), "one message has room for all");
        }
        let heard = said + DELAY;
        let start = thread_cpu_time();
        for (subscriber, len) in self.subscribers.iter_mut().zip(lens) {
            let message = &subscriber.message[..len.unwrap_or(0)];
            if let Some(Ok(Rtcp::Twcc(twcc))) = rtcp::packets(message).next() {
                subscriber.estimator.on_feedback(heard, heard, &twcc);
            }
        }
        let taking = thread_cpu_time().saturating_sub(start);
        // What a shard does now and then; without it probes never end.
        for subscriber in &mut self.subscribers {
            if subscriber.estimator.poll_deadline() <= heard {
                subscriber.estimator.handle_timeout(heard);
            }
        }
        (noting, taking)
    }

    /// CPU time of `count` of what `pick` chooses; a turn has `each` of it.
    fn measure(&mut self, count: u64, each: u64, pick: fn((Duration, Duration)) -> Duration) -> Duration {
        let turns = count.div_ceil(each);
        let taken: Duration = (0..turns).map(|_| pick(self.turn())).sum();
        taken.mul_f64(count as f64 / (turns * each) as f64)
    }
}

fn bench(criterion: &mut Criterion<ThreadCpuTime>) {
    let mut group = criterion.benchmark_group("bwe_feedback");
    for count in SUBSCRIBERS {
        let mut shard = Shard::new(count);
        let each = count as u64;
        group.bench_function(BenchmarkId::new("note a packet", count), |b| {
            b.iter_custom(|packets| shard.measure(packets, each * PACKETS, |(noting, _)| noting));
        });
        group.bench_function(
            BenchmarkId::new(format!("feedback on {PACKETS} packets"), count),
            |b| {
                b.iter_custom(|messages| shard.measure(messages, each, |(_, taking)| taking));
            },
        );
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = config();
    targets = bench
}
criterion_main!(benches);
