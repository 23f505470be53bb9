//! Both drivers over loopback, each test for each of them.

use std::net::{IpAddr, SocketAddr, UdpSocket as Client};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::driver::Driver;
use super::limits::{DATAGRAM_MAX, TRAIN_MAX};
use super::receive::unprepared;
use super::syscall::SyscallDriver;
use super::udp::UdpSocket;
use super::uring::UringDriver;
use crate::shard::TransmitBatch;
use crate::shard::transmit::ANY_SOURCE;

/// Every wait in these tests ends here; a healthy run never comes near.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Syscall,
    Uring,
}

const KINDS: [Kind; 2] = [Kind::Syscall, Kind::Uring];

impl Kind {
    fn bind(self, address: &str, slot_len: usize) -> (Driver, SocketAddr) {
        let socket = UdpSocket::bind(address.parse().expect("literal")).expect("a free port");
        let local = socket.local();
        let driver = match self {
            Self::Syscall => {
                Driver::Syscall(SyscallDriver::with_slot_len(socket, slot_len).expect("descriptors"))
            }
            Self::Uring => {
                Driver::Uring(UringDriver::with_slot_len(socket, slot_len).expect("this kernel has io_uring"))
            }
        };
        (driver, local)
    }
}

/// What a driver handed over, copied out of its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    from: SocketAddr,
    to: IpAddr,
    data: Vec<u8>,
}

fn receive(driver: &mut Driver, count: usize) -> Vec<Got> {
    let end = Instant::now() + DEADLINE;
    let mut got = Vec::new();
    while got.len() < count {
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{} of {count} datagrams came", got.len());
        driver.wait(Some(left)).expect("waits");
        let mut take = unprepared(|incoming| {
            got.push(Got {
                from: incoming.from,
                to: incoming.to,
                data: incoming.data.to_vec(),
            });
        });
        driver.receive(256, &mut take);
    }
    got
}

/// Turns the driver until `counter` reaches `value`; datagrams are thrown away.
fn until(driver: &mut Driver, value: u64, counter: impl Fn(&mut Driver) -> u64) {
    let end = Instant::now() + DEADLINE;
    while counter(driver) < value {
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{} of {value}", counter(driver));
        driver.wait(Some(left)).expect("waits");
        driver.receive(256, &mut unprepared(|_| {}));
    }
}

fn client(address: &str) -> Client {
    let client = Client::bind(address).expect("a free port");
    client.set_read_timeout(Some(DEADLINE)).expect("valid");
    client
}

fn push(batch: &mut TransmitBatch, data: &[u8], to: SocketAddr, from: IpAddr) {
    batch.spare()[..data.len()].copy_from_slice(data);
    batch.commit(data.len(), to, from);
}

fn patterned(index: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (index * 31 + at) as u8).collect()
}

#[test]
fn runs_arrive_as_the_datagrams_they_were_made_of() {
    for kind in KINDS {
        for (bind, peer) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:0", "[::1]:0"),
            ("[::]:0", "127.0.0.1:0"),
            ("0.0.0.0:0", "127.0.0.1:0"),
        ] {
            let (mut driver, _) = kind.bind(bind, TRAIN_MAX);
            let client = client(peer);
            let to = client.local_addr().expect("bound");
            // What a default receive buffer holds. Equal ones; a shorter last; one alone; a run of another size; more than one chunk of sends.
            let lens: Vec<usize> = [1200; 5]
                .into_iter()
                .chain([1200, 1200, 300])
                .chain([77])
                .chain([90; 40])
                .chain((0..70).map(|step| 100 + step))
                .collect();
            let mut batch = TransmitBatch::new();
            for (index, len) in lens.iter().enumerate() {
                push(&mut batch, &patterned(index, *len), to, ANY_SOURCE);
            }
            driver.send(&batch);
            let mut buffer = [0; 2048];
            for (index, len) in lens.iter().enumerate() {
                let got = client.recv(&mut buffer).expect("arrives");
                assert_eq!(buffer[..got], patterned(index, *len), "{kind:?} {bind} {index}");
            }
            let counters = *driver.counters();
            assert_eq!(counters.tx_packets, lens.len() as u64, "{kind:?}");
            assert_eq!(counters.tx_bytes, lens.iter().sum::<usize>() as u64);
            assert_eq!(counters.tx_runs, batch.runs().len() as u64);
            assert_eq!(
                (counters.tx_errors, counters.tx_eagain, counters.tx_gso_refused),
                (0, 0, 0)
            );
        }
    }
}

#[test]
fn trains_are_split_where_they_were_joined() {
    for kind in KINDS {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let (mut sender, source) = kind.bind(bind, TRAIN_MAX);
            let (mut receiver, to) = kind.bind(bind, TRAIN_MAX);
            let lens: Vec<usize> = [1100; 20]
                .into_iter()
                .chain([1100, 1100, 1])
                .chain([500, 499])
                .chain([33])
                .collect();
            let mut batch = TransmitBatch::new();
            for (index, len) in lens.iter().enumerate() {
                push(&mut batch, &patterned(index, *len), to, ANY_SOURCE);
            }
            sender.send(&batch);
            let got = receive(&mut receiver, lens.len());
            for (index, (got, len)) in got.iter().zip(&lens).enumerate() {
                assert_eq!(got.data, patterned(index, *len), "{kind:?} {bind} {index}");
                assert_eq!((got.from, got.to), (source, to.ip()));
            }
            assert_eq!(got.len(), lens.len());
            let counters = *receiver.counters();
            assert_eq!(counters.rx_packets, lens.len() as u64);
            assert_eq!(counters.rx_bytes, lens.iter().sum::<usize>() as u64);
            // Else this test has not seen a train at all.
            assert!(counters.rx_messages < lens.len() as u64, "{counters:?}");
        }
    }
}

#[test]
fn a_wildcard_answers_from_the_address_it_was_asked_at() {
    for kind in KINDS {
        for (bind, asked, peer) in [
            ("0.0.0.0:0", "127.0.0.2", "127.0.0.1:0"),
            ("[::]:0", "127.0.0.2", "127.0.0.1:0"),
            ("[::]:0", "::1", "[::1]:0"),
        ] {
            let (mut driver, local) = kind.bind(bind, TRAIN_MAX);
            let asked: IpAddr = asked.parse().expect("literal");
            let client = client(peer);
            // A connected socket takes datagrams from this one address only.
            client.connect((asked, local.port())).expect("local");
            client.send(b"question").expect("leaves");
            let got = receive(&mut driver, 1).remove(0);
            assert_eq!(got.to, asked, "{kind:?} {bind}");
            assert_eq!(got.from, client.local_addr().expect("bound"));
            let mut batch = TransmitBatch::new();
            for _ in 0..3 {
                push(&mut batch, b"answer", got.from, got.to);
            }
            driver.send(&batch);
            let mut buffer = [0; 64];
            for _ in 0..3 {
                let len = client.recv(&mut buffer).expect("arrives");
                assert_eq!(&buffer[..len], b"answer");
            }
        }
    }
}

#[test]
fn what_is_too_long_is_counted_and_what_follows_is_taken() {
    for kind in KINDS {
        // Over a datagram's bound, in a slot that holds it.
        let (mut driver, to) = kind.bind("127.0.0.1:0", TRAIN_MAX);
        let client = client("127.0.0.1:0");
        client.send_to(&vec![1; DATAGRAM_MAX + 1], to).expect("leaves");
        client.send_to(&vec![2; DATAGRAM_MAX], to).expect("leaves");
        let got = receive(&mut driver, 1);
        assert_eq!(got[0].data, vec![2; DATAGRAM_MAX], "{kind:?}");
        assert_eq!(driver.counters().drop_truncated, 1);

        // Over the slot: the kernel cuts it, and says so.
        let (mut driver, to) = kind.bind("127.0.0.1:0", 256);
        client.send_to(&[3; 1500], to).expect("leaves");
        client.send_to(&[4; 100], to).expect("leaves");
        let got = receive(&mut driver, 1);
        assert_eq!(got[0].data, [4; 100], "{kind:?}");
        assert_eq!(driver.counters().drop_truncated, 1);
        assert_eq!(driver.counters().rx_packets, 1);
    }
}

#[test]
fn an_empty_datagram_harms_nothing() {
    for kind in KINDS {
        let (mut driver, to) = kind.bind("127.0.0.1:0", TRAIN_MAX);
        let client = client("127.0.0.1:0");
        client.send_to(&[], to).expect("leaves");
        client.send_to(b"x", to).expect("leaves");
        assert_eq!(receive(&mut driver, 1)[0].data, b"x", "{kind:?}");
    }
}

#[test]
fn a_send_that_fails_takes_nothing_with_it() {
    for kind in KINDS {
        let (mut driver, _) = kind.bind("0.0.0.0:0", TRAIN_MAX);
        let client = client("127.0.0.1:0");
        let good = client.local_addr().expect("bound");
        let broadcast: SocketAddr = "255.255.255.255:9".parse().expect("literal");
        let no_source: IpAddr = "192.0.2.77".parse().expect("literal");
        let mut batch = TransmitBatch::new();
        push(&mut batch, b"one", good, ANY_SOURCE);
        // EACCES: not asked for broadcast.
        push(&mut batch, b"lost", broadcast, ANY_SOURCE);
        push(&mut batch, b"two", good, ANY_SOURCE);
        // EINVAL: not an address of this host; as a run, which must not end segmentation.
        push(&mut batch, b"lost", good, no_source);
        push(&mut batch, b"lost", good, no_source);
        push(&mut batch, b"three", good, ANY_SOURCE);
        push(&mut batch, b"four!", good, ANY_SOURCE);
        driver.send(&batch);
        let mut buffer = [0; 64];
        for expected in ["one", "two", "three", "four!"] {
            let len = client.recv(&mut buffer).expect("arrives");
            assert_eq!(&buffer[..len], expected.as_bytes(), "{kind:?}");
        }
        let counters = *driver.counters();
        assert_eq!((counters.tx_packets, counters.tx_errors), (4, 3), "{kind:?}");
        // "three" and "four!" are a run of their own still.
        batch.clear();
        push(&mut batch, b"5", good, ANY_SOURCE);
        push(&mut batch, b"6", good, ANY_SOURCE);
        let before = driver.counters().tx_runs;
        driver.send(&batch);
        assert_eq!(driver.counters().tx_runs, before + 1, "{kind:?}");
    }
}

#[test]
fn a_flood_loses_nothing_that_the_socket_held() {
    for kind in KINDS {
        let (mut driver, to) = kind.bind("127.0.0.1:0", TRAIN_MAX);
        let client = client("127.0.0.1:0");
        // More than every queue between socket and sink has places, in portions the socket surely holds.
        for round in 0..20 {
            for index in 0..100_u32 {
                client
                    .send_to(&(round * 100 + index).to_be_bytes(), to)
                    .expect("leaves");
            }
            let got = receive(&mut driver, 100);
            for (index, got) in (0..).zip(&got) {
                assert_eq!(got.data, u32::to_be_bytes(round * 100 + index), "{kind:?}");
            }
        }
    }
}

#[test]
fn a_turn_takes_no_more_than_its_share() {
    for kind in KINDS {
        let (mut driver, to) = kind.bind("127.0.0.1:0", TRAIN_MAX);
        let client = client("127.0.0.1:0");
        for _ in 0..300 {
            client.send_to(b"x", to).expect("leaves");
        }
        driver.wait(Some(DEADLINE)).expect("waits");
        let mut seen = 0;
        let taken = driver.receive(64, &mut unprepared(|_| seen += 1));
        assert_eq!(taken, seen);
        assert!((1..=128).contains(&taken), "{kind:?} {taken}");
        until(&mut driver, 300, |driver| driver.counters().rx_packets);
    }
}

#[test]
fn arrival_times_come_from_the_kernel() {
    for kind in KINDS {
        let (mut driver, to) = kind.bind("127.0.0.1:0", TRAIN_MAX);
        let client = client("127.0.0.1:0");
        client.send_to(b"x", to).expect("leaves");
        driver.wait(Some(DEADLINE)).expect("waits");
        let mut stamp = None;
        driver.receive(256, &mut unprepared(|incoming| stamp = incoming.timestamp));
        assert!(stamp.is_some(), "{kind:?}");
    }
}

/// Every wake ends one sleep, none is lost, and nothing else ends a sleep: as many turns as wakes.
#[test]
fn a_wake_ends_exactly_one_sleep() {
    for kind in KINDS {
        let (ready, started) = bounded(1);
        let (turn, turns) = bounded(1000);
        let sleeper = thread::spawn(move || {
            let (mut driver, _) = kind.bind("127.0.0.1:0", TRAIN_MAX);
            ready.send(driver.waker()).expect("the test waits");
            for count in 0..50 {
                driver.wait(None).expect("waits");
                let taken = driver.receive(256, &mut unprepared(|_| {}));
                assert_eq!(taken, 0);
                turn.send(count).expect("the test waits");
            }
        });
        let waker = started.recv_timeout(DEADLINE).expect("starts");
        for count in 0..50 {
            assert!(turns.is_empty(), "{kind:?}: a turn nobody asked for");
            waker.wake();
            assert_eq!(turns.recv_timeout(DEADLINE), Ok(count), "{kind:?}");
        }
        sleeper.join().expect("no panic");
    }
}

#[test]
fn a_wake_before_the_sleep_counts_and_a_timeout_ends_it_too() {
    for kind in KINDS {
        let (mut driver, _) = kind.bind("127.0.0.1:0", TRAIN_MAX);
        driver.waker().wake();
        driver.wait(None).expect("waits");
        driver.wait(Some(Duration::from_micros(1500))).expect("waits");
        driver.wait(Some(Duration::ZERO)).expect("waits");
    }
}
