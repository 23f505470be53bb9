//! Hostile input: nothing panics, and nothing unauthenticated undoes a finished handshake.

use std::time::Duration;

use super::DtlsEvent;
use super::testing::{Pair, Random, Weather};
use crate::time::Time;

const LIMIT: Duration = Duration::from_secs(30);

fn noise(random: &mut Random) -> Vec<u8> {
    let len = random.below(200) as usize;
    let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
    // Mostly something that gets past the first look at a record.
    if random.below(4) != 0 && len >= 25 {
        bytes[0] = 20 + random.below(7) as u8;
        bytes[1..3].copy_from_slice(&[0xfe, 0xfd]);
        bytes[3..5].copy_from_slice(&[0, random.below(3) as u8]);
        bytes[11..13].copy_from_slice(&(len as u16 - 13).to_be_bytes());
        bytes[13] = random.below(25) as u8;
    }
    bytes
}

/// A datagram the client sent, with some bytes changed or its end cut off.
fn mutation(recorded: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = recorded[random.below(recorded.len() as u64) as usize].clone();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] = random.next() as u8;
    }
    if random.below(4) == 0 {
        bytes.truncate(random.below(bytes.len() as u64) as usize);
    }
    bytes
}

#[test]
fn garbage_before_the_handshake() {
    for seed in 0..50 {
        let mut pair = Pair::new(seed, Weather::FINE, false);
        let mut random = Random(seed);
        for _ in 0..50 {
            pair.server.handle_datagram(Time::ZERO, &noise(&mut random));
        }
        pair.server.handle_datagram(Time::ZERO, &[22; 60_000]);
        pair.server.handle_datagram(Time::ZERO, &[]);
        pair.exchange();
        assert!(pair.server_keys().is_none());
    }
}

#[test]
fn a_damaged_handshake() {
    // A whole handshake's datagrams, each damaged in many ways, at a server that takes part in
    // another: it may fail, it must not panic, and it never hands out keys.
    let mut source = Pair::new(1, Weather::FINE, false);
    assert!(source.run(LIMIT, Pair::both_connected));
    for seed in 0..200 {
        let mut pair = Pair::new(seed, Weather::FINE, true);
        let mut random = Random(seed);
        for _ in 0..20 {
            let datagram = if random.below(2) == 0 {
                source.recorded[random.below(source.recorded.len() as u64) as usize].clone()
            } else {
                mutation(&source.recorded, &mut random)
            };
            pair.server.handle_datagram(pair.now, &datagram);
            pair.now += Duration::from_millis(random.below(200));
            pair.server.handle_timeout(pair.now);
        }
        pair.exchange();
        assert!(pair.server_keys().is_none());
    }
}

#[test]
fn nothing_undoes_a_finished_handshake() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed, Weather::FINE, false);
        assert!(pair.run(LIMIT, Pair::both_connected));
        let mut random = Random(seed);
        for _ in 0..300 {
            let datagram = match random.below(3) {
                0 => noise(&mut random),
                1 => mutation(&pair.recorded, &mut random),
                _ => pair.recorded[random.below(pair.recorded.len() as u64) as usize].clone(),
            };
            pair.server.handle_datagram(pair.now, &datagram);
            pair.now += Duration::from_millis(random.below(50));
            pair.server.handle_timeout(pair.now);
        }
        // An alert in the clear, fatal.
        let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2, 2, 40];
        pair.server.handle_datagram(pair.now, &alert);
        pair.exchange();
        assert!(pair.server.is_connected(), "seed {seed}");
        assert!(
            matches!(pair.events[..], [DtlsEvent::Connected(_)]),
            "seed {seed}"
        );
        // And the goodbye still works, so the library is still there.
        pair.client.close();
        assert!(pair.run(LIMIT, |pair| pair.events.len() == 2), "seed {seed}");
    }
}
