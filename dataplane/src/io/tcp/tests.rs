//! Gate, set and drivers over loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use kall_shared::id::SessionId;
use kall_shared::link::CoreStats;

use std::os::fd::AsRawFd;

use super::Accepted;
use super::gate::{Door, Gate, GateCounters, listen};
use super::set::{ConnectionSet, Event};
use crate::address::{ConnectionId, TransportAddress};
use crate::io::counters::IoCounters;
use crate::io::driver::Driver;
use crate::io::limits::{CONNECTION_QUEUE_MAX, DATAGRAM_MAX, FIRST_FRAME_TIMEOUT, GATE_WAITING_MAX};
use crate::io::syscall::SyscallDriver;
use crate::io::udp::UdpSocket;
use crate::io::uring::UringDriver;
use crate::io::wake::WakeFd;
use crate::shard::TransmitBatch;
use crate::shard::transmit::ANY_SOURCE;
use crate::shard::ufrag;
use crate::time::Time;
use crate::wire::framing::FrameReader;
use crate::wire::stun::{BindingRequest, Role, TransactionId, write_binding_request};

/// Every wait in these tests ends here; a healthy run never comes near.
const DEADLINE: Duration = Duration::from_secs(20);

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn framed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(frame.len()).expect("short").to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    bytes
}

fn check_for(session: SessionId) -> Vec<u8> {
    let username = format!("{}:peer", ufrag::of_session(session, "abcdefgh"));
    let mut buf = [0; 300];
    let request = BindingRequest {
        transaction_id: TransactionId([1; 12]),
        username: username.as_bytes(),
        password: b"of no interest to the gate",
        priority: 1,
        role: Role::Controlling(1),
        use_candidate: false,
        nomination: None,
    };
    let len = write_binding_request(&mut buf, &request).expect("fits");
    buf[..len].to_vec()
}

/// What a set told, by value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Frame(TransportAddress, Vec<u8>),
    Room(usize),
    Closed(TransportAddress),
}

fn note(told: &mut Vec<Told>) -> impl FnMut(Event<'_>) {
    |event| {
        told.push(match event {
            Event::Frame { from, to, data } => {
                assert!(to.is_loopback());
                Told::Frame(from, data.to_vec())
            }
            Event::Room(_, room) => Told::Room(room),
            Event::Closed(address) => Told::Closed(address),
        });
    }
}

/// A set with one connection, and the peer's end of it.
struct Pair {
    set: ConnectionSet,
    counters: IoCounters,
    told: Vec<Told>,
    peer: TcpStream,
    address: TransportAddress,
    _arrivals: Sender<Accepted>,
}

impl Pair {
    fn new(first: &[u8]) -> Self {
        let listener = TcpListener::bind(loopback()).expect("a free port");
        let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        peer.set_read_timeout(Some(DEADLINE)).expect("valid");
        let (stream, from) = listener.accept().expect("accepts");
        stream.set_nonblocking(true).expect("valid");
        let (arrivals, lane) = bounded(4);
        let accepted = Accepted {
            local: stream.local_addr().expect("connected").ip(),
            stream,
            peer: from,
            first: first.to_vec(),
            reader: FrameReader::new(DATAGRAM_MAX, 0),
        };
        arrivals.send(accepted).expect("room");
        let mut set = ConnectionSet::new(lane).expect("descriptors");
        let (mut counters, mut told) = (IoCounters::default(), Vec::new());
        set.adopt(Time::ZERO, &mut counters, &mut note(&mut told));
        let id = ConnectionId { index: 0, epoch: 0 };
        Self {
            set,
            counters,
            told,
            address: TransportAddress::Tcp(from, id),
            peer,
            _arrivals: arrivals,
        }
    }

    /// Turns until `done`.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(Instant::now() < end, "{what}: {:?}", self.counters);
            self.set
                .turn(256, &mut self.counters, &mut note(&mut self.told))
                .expect("epoll");
        }
    }

    fn send(&mut self, frames: &[Vec<u8>]) {
        let mut batch = TransmitBatch::new();
        for frame in frames {
            if !batch.has_room() {
                self.send_batch(&batch);
                batch.clear();
            }
            batch.spare()[..frame.len()].copy_from_slice(frame);
            batch.commit(frame.len(), self.address, ANY_SOURCE);
        }
        self.send_batch(&batch);
    }

    fn send_batch(&mut self, batch: &TransmitBatch) {
        self.set
            .send(batch, &mut self.counters, &mut note(&mut self.told));
    }

    fn read_frame(&mut self) -> Vec<u8> {
        let mut header = [0; 2];
        self.peer.read_exact(&mut header).expect("a length");
        let mut frame = vec![0; usize::from(u16::from_be_bytes(header))];
        self.peer.read_exact(&mut frame).expect("a frame");
        frame
    }
}

#[test]
fn frames_go_both_ways_as_the_datagrams_they_are() {
    let mut pair = Pair::new(b"first");
    let address = pair.address;
    assert_eq!(pair.told, [Told::Frame(address, b"first".to_vec())]);
    pair.told.clear();

    let mut stream = framed(b"second");
    stream.extend(framed(&[7; 1300]));
    let (one, two) = stream.split_at(100);
    pair.peer.write_all(one).expect("leaves");
    pair.until("the second", |pair| !pair.told.is_empty());
    pair.peer.write_all(two).expect("leaves");
    pair.until("the third", |pair| pair.told.len() == 2);
    assert_eq!(
        pair.told,
        [
            Told::Frame(address, b"second".to_vec()),
            Told::Frame(address, vec![7; 1300])
        ]
    );

    // A run of equal ones with a shorter last, then another.
    let frames: Vec<Vec<u8>> = [1200, 1200, 300, 77]
        .iter()
        .enumerate()
        .map(|(index, len)| vec![index as u8; *len])
        .collect();
    pair.send(&frames);
    for frame in &frames {
        assert_eq!(pair.read_frame(), *frame);
    }
    assert_eq!(
        (pair.counters.tcp_frames_in, pair.counters.tcp_frames_out),
        (3, 4)
    );
    assert_eq!((pair.counters.tx_packets, pair.counters.tx_bytes), (4, 2777));
}

#[test]
fn a_peer_that_does_not_read_takes_the_room_away_and_gives_it_back() {
    let mut pair = Pair::new(b"first");
    pair.told.clear();
    let mut sent = Vec::new();
    // The kernel takes what its buffers on both sides hold; the rest waits here.
    while pair.told.last() != Some(&Told::Room(0)) {
        let frame = vec![sent.len() as u8; 1000 + sent.len() % 200];
        sent.push(frame.clone());
        pair.send(&[frame]);
        assert!(sent.len() < 100_000, "there is an end to every buffer");
    }
    assert_eq!(pair.counters.tcp_stuck, 0);
    for (index, frame) in sent.iter().enumerate() {
        if index % 16 == 0 {
            let (set, counters, told) = (&mut pair.set, &mut pair.counters, &mut pair.told);
            set.turn(256, counters, &mut note(told)).expect("epoll");
        }
        assert_eq!(pair.read_frame(), *frame, "frame {index}");
    }
    assert!(matches!(pair.told.last(), Some(Told::Room(room)) if *room > 0));
}

#[test]
fn a_connection_that_takes_nothing_at_all_is_closed() {
    let mut pair = Pair::new(b"first");
    let address = pair.address;
    for _ in 0..1_000_000 / (CONNECTION_QUEUE_MAX / 1000) {
        pair.send(&vec![vec![1; 1000]; CONNECTION_QUEUE_MAX / 1000]);
        if pair.set.is_empty() {
            break;
        }
    }
    assert_eq!(pair.told.last(), Some(&Told::Closed(address)));
    assert_eq!((pair.counters.tcp_stuck, pair.counters.tcp_closed), (1, 1));
    // Frames to a connection that is gone are lost and counted, and nothing else.
    let errors = pair.counters.tx_errors;
    pair.set.adopt(Time::ZERO, &mut pair.counters, &mut |_| {});
    pair.send(&[vec![1; 10]]);
    assert_eq!(pair.counters.tx_errors, errors + 1);
}

#[test]
fn an_end_and_a_frame_over_the_bound_close() {
    for bytes in [&[][..], &[8, 1, 0, 0]] {
        let mut pair = Pair::new(b"first");
        let address = pair.address;
        pair.peer.write_all(bytes).expect("leaves");
        if bytes.is_empty() {
            pair.peer.shutdown(std::net::Shutdown::Both).expect("ends");
        }
        pair.until("the end", |pair| pair.told.contains(&Told::Closed(address)));
        assert!(pair.set.is_empty());
    }
}

#[test]
fn what_the_shard_does_not_know_in_time_is_closed() {
    for known in [true, false] {
        let mut pair = Pair::new(b"first");
        let due = pair.set.poll_deadline();
        assert_eq!(due, Time::ZERO + FIRST_FRAME_TIMEOUT);
        let address = pair.address;
        let early = due - Duration::from_nanos(1);
        pair.set.expire(early, &mut pair.counters, |_| false);
        assert_eq!(pair.set.len(), 1);
        pair.set.expire(due, &mut pair.counters, |asked| {
            assert_eq!(*asked, address);
            known
        });
        assert_eq!(pair.set.len(), usize::from(known));
        assert_eq!(pair.counters.tcp_refused, u64::from(!known));
        assert_eq!(pair.set.poll_deadline(), Time::FAR_FUTURE);
    }
}

#[test]
fn a_hang_up_lets_the_last_frame_leave() {
    let mut pair = Pair::new(b"first");
    pair.send(&[b"goodbye".to_vec()]);
    let id = pair.address.connection().expect("one");
    pair.set.hang_up(id, &mut pair.counters);
    assert_eq!(pair.read_frame(), b"goodbye");
    assert_eq!(pair.peer.read(&mut [0; 1]).expect("an end"), 0);
}

/// A gate before two cores.
struct Entrance {
    gate: Gate,
    counters: Arc<GateCounters>,
    address: SocketAddr,
    lanes: Vec<Receiver<Accepted>>,
}

impl Entrance {
    fn new() -> Self {
        let listener = listen(loopback()).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let wake = WakeFd::new().expect("descriptors");
        let (doors, lanes) = (0..2)
            .map(|_| {
                let (lane, arrivals) = bounded(4);
                let waker = wake.waker();
                (Door { lane, waker }, arrivals)
            })
            .unzip();
        let counters = Arc::<GateCounters>::default();
        let gate = Gate::new(listener, doors, Arc::clone(&counters)).expect("descriptors");
        Self {
            gate,
            counters,
            address,
            lanes,
        }
    }

    fn connect(&self) -> TcpStream {
        let peer = TcpStream::connect(self.address).expect("connects");
        peer.set_read_timeout(Some(DEADLINE)).expect("valid");
        peer
    }

    fn counts(&self) -> (u64, u64) {
        let mut stats = CoreStats::default();
        self.counters.report(&mut stats);
        let count = |name| stats.counters[name];
        (count("tcp_gate_accepted"), count("tcp_gate_refused"))
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(Instant::now() < end, "{what}: {:?}", self.counts());
            self.gate
                .turn(Some(Duration::from_millis(10)))
                .expect("a working gate");
        }
    }
}

#[test]
fn the_first_check_finds_the_core() {
    let mut entrance = Entrance::new();
    let check = check_for(SessionId::pack(1, 5, 0));
    let mut peer = entrance.connect();
    let stream = framed(&check);
    // In two pieces, and something behind it.
    peer.write_all(&stream[..20]).expect("leaves");
    entrance.until("the first piece", |entrance| entrance.counts() == (1, 0));
    peer.write_all(&stream[20..]).expect("leaves");
    peer.write_all(&framed(b"more")).expect("leaves");
    entrance.until("the core's lane", |entrance| !entrance.lanes[1].is_empty());
    let accepted = entrance.lanes[1].recv().expect("there");
    assert_eq!(accepted.first, check);
    assert_eq!(accepted.peer, peer.local_addr().expect("connected"));
    assert!(accepted.local.is_loopback());
    assert!(entrance.lanes[0].is_empty());

    // It is the core's alone now: what comes later finds its way there.
    let (lane, arrivals) = bounded(1);
    lane.send(accepted).expect("room");
    let mut set = ConnectionSet::new(arrivals).expect("descriptors");
    let (mut counters, mut told) = (IoCounters::default(), Vec::new());
    set.adopt(Time::ZERO, &mut counters, &mut note(&mut told));
    let end = Instant::now() + DEADLINE;
    while told.len() < 2 {
        assert!(Instant::now() < end);
        set.turn(256, &mut counters, &mut note(&mut told)).expect("epoll");
    }
    assert!(matches!(&told[1], Told::Frame(_, data) if data == b"more"));
}

#[test]
fn whoever_does_not_begin_with_a_check_of_ours_is_refused() {
    let mut entrance = Entrance::new();
    let mut wrong_core = framed(&check_for(SessionId::pack(2, 5, 0)));
    wrong_core.extend(framed(b"x"));
    let firsts = [
        framed(b"GET / HTTP/1.1\r\n\r\n"),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        wrong_core,
        framed(&[0x16, 0xfe, 0xfd, 0, 0]),
        vec![8, 1],
    ];
    for (index, first) in firsts.iter().enumerate() {
        let mut peer = entrance.connect();
        peer.write_all(first).expect("leaves");
        entrance.until("a refusal", |entrance| entrance.counts().1 == index as u64 + 1);
        // Closed: an end, or a reset where something was left unread.
        assert!(!matches!(peer.read(&mut [0; 1]), Ok(1..)));
    }
    assert!(entrance.lanes.iter().all(Receiver::is_empty));
}

#[test]
fn idle_connections_keep_nobody_out() {
    let mut entrance = Entrance::new();
    let mut idle = Vec::new();
    for _ in 0..=GATE_WAITING_MAX {
        idle.push(entrance.connect());
        let count = idle.len() as u64;
        entrance.until("it to be accepted", |entrance| entrance.counts().0 == count);
    }
    assert_eq!(entrance.counts().1, 1, "the oldest made room");
    assert_eq!(idle[0].read(&mut [0; 1]).expect("an end"), 0);
    let check = check_for(SessionId::pack(0, 5, 0));
    idle[GATE_WAITING_MAX].write_all(&framed(&check)).expect("leaves");
    entrance.until("the last one's core", |entrance| !entrance.lanes[0].is_empty());
}

#[test]
fn frames_end_the_sleep_of_both_drivers_until_they_are_taken() {
    let drivers: [fn(UdpSocket) -> Driver; 2] = [
        |socket| Driver::Syscall(SyscallDriver::new(socket).expect("descriptors")),
        |socket| Driver::Uring(UringDriver::new(socket).expect("this kernel has io_uring")),
    ];
    for make in drivers {
        let mut pair = Pair::new(b"first");
        pair.told.clear();
        let mut driver = make(UdpSocket::bind(loopback()).expect("a free port"));
        driver
            .watch_connections(pair.set.as_raw_fd())
            .expect("descriptors");
        for round in 0..20_u8 {
            pair.peer.write_all(&framed(&[round; 10])).expect("leaves");
            // Looked at twice before it is taken: it must be told again.
            for _ in 0..2 {
                let end = Instant::now() + DEADLINE;
                while !driver.take_connections_ready() {
                    let left = end.saturating_duration_since(Instant::now());
                    assert!(!left.is_zero(), "round {round}");
                    driver.wait(Some(left)).expect("waits");
                }
            }
            pair.until("the frame", |pair| !pair.told.is_empty());
            assert_eq!(pair.told, [Told::Frame(pair.address, vec![round; 10])]);
            pair.told.clear();
        }
    }
}
