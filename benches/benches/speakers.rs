//! Who is heard: one packet of one microphone, in rooms of any size. Three talk, the others are silent, and listeners
//! have three slots.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kall_benches::cpu_time::{ThreadCpuTime, config};
use kall_dataplane::shard::slab::{Key, Slab};
use kall_dataplane::speakers::Contest;
use kall_dataplane::time::Time;
use kall_shared::id::SessionId;

/// Microphones of the room.
const TALKERS: [usize; 3] = [3, 50, 1_000];

const SLOTS: usize = 3;

/// Between two packets of a microphone.
const SPACING: Duration = Duration::from_millis(20);

/// Volumes in a word, between words, and of an empty room.
const WORD: u8 = 100;
const PAUSE: u8 = 40;
const SILENCE: u8 = 20;

/// Packets of a word and of the pause after it.
const WORD_PACKETS: u64 = 25;
const PAUSE_PACKETS: u64 = 10;

/// A room at one packet after the other.
struct Room {
    contest: Contest,
    talkers: Vec<Key>,
    packets: u64,
}

impl Room {
    fn new(count: usize) -> Self {
        let mut contest = Contest::new(count);
        let mut keys = Slab::new(count + 1);
        let mut key = || keys.insert_with(|key| key).expect("there is room");
        contest.add_listener(Time::ZERO, SLOTS);
        let talkers = (0..count as u32)
            .map(|index| {
                let publication = key();
                let inserted = contest.insert(
                    Time::ZERO,
                    publication,
                    SessionId::pack(0, index, 0),
                    false,
                    false,
                );
                inserted.expect("there is room").0
            })
            .collect();
        let mut room = Self {
            contest,
            talkers,
            packets: 0,
        };
        for _ in 0..200 * count {
            room.packet();
        }
        room
    }

    fn packet(&mut self) {
        let count = self.talkers.len() as u64;
        let (turn, talker) = (self.packets / count, (self.packets % count) as usize);
        let since = Duration::from_nanos(SPACING.as_nanos() as u64 * (self.packets % count) / count);
        let now = Time::ZERO + SPACING * u32::try_from(turn).unwrap_or(u32::MAX) + since;
        // The three don't breathe at the same time.
        let of_word = (turn + 12 * talker as u64) % (WORD_PACKETS + PAUSE_PACKETS) < WORD_PACKETS;
        let volume = match talker {
            0..SLOTS if of_word => WORD,
            0..SLOTS => PAUSE,
            _ => SILENCE,
        };
        self.packets += 1;
        black_box(self.contest.on_packet(now, self.talkers[talker], Some(volume)));
    }
}

fn bench(criterion: &mut Criterion<ThreadCpuTime>) {
    let mut group = criterion.benchmark_group("speakers");
    for count in TALKERS {
        let mut room = Room::new(count);
        group.bench_function(BenchmarkId::new("a packet, of microphones", count), |b| {
            b.iter(|| room.packet());
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = config();
    targets = bench
}
criterion_main!(benches);
