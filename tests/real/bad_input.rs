//! Hostile datagrams beside a live call: each is dropped and counted, nothing panics, no state is
//! made, and the call goes on undisturbed.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use kall_shared::media::Kind;
use kall_tests::process::Process;
use kall_tests::server::{Io, Server, counter};
use kall_tests::signalling::Meeting;
use kall_tests::wait::{DEADLINE, until_value};
use serde_json::Value;
use webrtc::stun::agent::TransactionId;
use webrtc::stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use webrtc::stun::fingerprint::FINGERPRINT;
use webrtc::stun::integrity::MessageIntegrity;
use webrtc::stun::message::{BINDING_REQUEST, Message, Setter};

use crate::call::{How, Participant, assert_delivered, attribute, candidate};
use crate::pattern::Noise;

/// Random datagrams a data plane must have dropped.
const RANDOM_DATAGRAMS: u64 = 1_000_000;

/// Datagrams on their way at once. Below what a socket buffer holds: more would push the call's own
/// packets out of it, which the kernel does before the data plane can see them.
const IN_FLIGHT: u64 = 400;

/// A call with an attacker beside it who knows the port and can write on the publisher's path.
struct Scene {
    server: Server,
    alice: Participant,
    bob: Participant,
    audio: String,
    video: String,
    target: SocketAddr,
    dataplane: Process,
    attacker: UdpSocket,
}

impl Scene {
    async fn set(name: &str, io: Io) -> Self {
        let server = Server::start(name, io).await;
        let meeting = Meeting::create(&server, "Besieged").await;
        let mut bob = Participant::join(&server, &meeting, "Bob", How::SUBSCRIBER).await;
        let alice = Participant::join(&server, &meeting, "Alice", How::RELAYED_PUBLISHER).await;
        let (audio, video) = bob.slots_of(&alice.signalling.identity).await;
        bob.until_more(&video, 30).await;
        Self {
            target: candidate(&alice.answer),
            dataplane: server.dataplane(),
            attacker: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket on loopback"),
            server,
            alice,
            bob,
            audio,
            video,
        }
    }

    fn send(&self, datagram: &[u8]) {
        self.attacker
            .send_to(datagram, self.target)
            .expect("a datagram can be sent on loopback");
    }

    async fn inject(&self, datagram: &[u8]) {
        self.alice
            .relay
            .as_ref()
            .expect("Alice is relayed")
            .inject(datagram)
            .await;
    }

    /// Waits until the drop counters together are `more` above `before`.
    async fn until_dropped(&self, before: u64, more: u64) {
        let what = format!("{more} more drops than {before}");
        until_value(
            &what,
            async || drops(&self.server.get("/stats").await),
            |now| *now >= before + more,
        )
        .await;
    }

    /// The call goes on: same process, same sessions, media that is still byte for byte right.
    async fn assert_undisturbed(&mut self) {
        self.bob.until_more(&self.video, 60).await;
        self.bob.until_more(&self.audio, 30).await;
        assert_delivered(&self.alice.peer, &self.bob.peer, &self.video, Kind::Video);
        assert_delivered(&self.alice.peer, &self.bob.peer, &self.audio, Kind::Audio);
        assert_eq!(
            self.server.dataplane(),
            self.dataplane,
            "the data plane did not restart"
        );
        assert_eq!(
            self.server.sessions().await,
            2,
            "nothing but the call has a session"
        );
        let stats = self.server.get("/stats").await;
        for bug in bug_counters(&stats) {
            assert_eq!(counter(&stats, &bug), 0, "{bug}");
        }
    }

    async fn end(self) {
        self.server.stop().await;
    }
}

fn counters(stats: &Value, prefix: &str) -> Vec<String> {
    let cores = stats["dataplane"]["cores"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let names = cores
        .iter()
        .filter_map(|core| core["counters"].as_object())
        .flat_map(|all| all.keys());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).cloned().collect();
    names.sort();
    names.dedup();
    names
}

fn bug_counters(stats: &Value) -> Vec<String> {
    counters(stats, "bug_")
}

fn drops(stats: &Value) -> u64 {
    counters(stats, "drop_")
        .iter()
        .map(|name| counter(stats, name))
        .sum()
}

/// A binding request as a peer's ICE agent writes it.
fn binding_request(username: &str, password: &str) -> Vec<u8> {
    let mut message = Message::new();
    let setters: [Box<dyn Setter>; 3] = [
        Box::new(BINDING_REQUEST),
        Box::<TransactionId>::default(),
        Box::new(webrtc::stun::textattrs::TextAttribute::new(
            ATTR_USERNAME,
            username.to_owned(),
        )),
    ];
    message.build(&setters).expect("a request can be built");
    message.add(ATTR_PRIORITY, &1_845_501_695u32.to_be_bytes());
    message.add(ATTR_ICE_CONTROLLING, &7u64.to_be_bytes());
    message.add(ATTR_USE_CANDIDATE, &[]);
    MessageIntegrity::new_short_term_integrity(password.to_owned())
        .add_to(&mut message)
        .expect("integrity can be added");
    FINGERPRINT
        .add_to(&mut message)
        .expect("a fingerprint can be added");
    message.raw
}

async fn forged_stun_changes_nothing(io: Io) {
    let mut scene = Scene::set("forged-stun", io).await;
    let ufrag = attribute(&scene.alice.answer, "ice-ufrag").to_owned();
    let password = attribute(&scene.alice.answer, "ice-pwd").to_owned();
    let known = format!("{ufrag}:{}", attribute(&scene.alice.offer, "ice-ufrag"));
    let stats = scene.server.get("/stats").await;
    let (integrity, unknown, malformed) = (
        counter(&stats, "drop_stun_integrity"),
        counter(&stats, "drop_stun_unknown_user"),
        counter(&stats, "drop_stun_malformed"),
    );
    for _ in 0..50 {
        // The right names with a wrong password; a name of nobody; lengths that lie.
        scene.send(&binding_request(&known, "not the password, only as long as one"));
        scene.send(&binding_request("nobody:them", &password));
        let mut lying = binding_request(&known, &password);
        lying[3] ^= 0x04;
        scene.send(&lying);
    }
    scene
        .server
        .until_counter("drop_stun_integrity", integrity + 50)
        .await;
    scene
        .server
        .until_counter("drop_stun_unknown_user", unknown + 50)
        .await;
    scene
        .server
        .until_counter("drop_stun_malformed", malformed + 50)
        .await;
    scene.assert_undisturbed().await;
    scene.end().await;
}

async fn dtls_from_an_unknown_address_is_dropped(io: Io) {
    let mut scene = Scene::set("unknown-dtls", io).await;
    let hello = scene
        .alice
        .relay
        .as_ref()
        .expect("Alice is relayed")
        .client_hello();
    let before = drops(&scene.server.get("/stats").await);
    for _ in 0..50 {
        scene.send(&hello);
    }
    scene.until_dropped(before, 50).await;
    // No answer either: an unvalidated address must not be worth a reflector's while.
    scene.attacker.set_nonblocking(true).expect("a socket option");
    let answered = scene.attacker.recv_from(&mut [0; 2048]);
    assert!(answered.is_err(), "an unknown address got {answered:?}");
    scene.assert_undisturbed().await;
    scene.end().await;
}

async fn forged_and_replayed_srtp_is_dropped(io: Io) {
    let mut scene = Scene::set("forged-srtp", io).await;
    let relay = scene.alice.relay.as_ref().expect("Alice is relayed");
    let before = scene.server.counter("drop_srtp_auth").await;
    relay.corrupt_next(100);
    scene.server.until_counter("drop_srtp_auth", before + 100).await;
    assert_eq!(relay.corrupt_left(), 0);

    let before = scene.server.counter("drop_srtp_replay").await;
    let recorded = relay.recent_rtp();
    for datagram in &recorded {
        scene.inject(datagram).await;
    }
    scene
        .server
        .until_counter("drop_srtp_replay", before + recorded.len() as u64)
        .await;

    // The same packets from an address that was never validated.
    let before = drops(&scene.server.get("/stats").await);
    for datagram in &recorded {
        scene.send(datagram);
    }
    scene.until_dropped(before, recorded.len() as u64).await;
    scene.assert_undisturbed().await;
    scene.end().await;
}

async fn truncated_and_oversized_datagrams_are_dropped(io: Io) {
    let mut scene = Scene::set("cut-and-long", io).await;
    let relay = scene.alice.relay.as_ref().expect("Alice is relayed");
    let rtp = relay.recent_rtp().pop().expect("media flows");
    let hello = relay.client_hello();
    let stun = binding_request("nobody:them", "a password of enough characters");
    let before = drops(&scene.server.get("/stats").await);
    let mut count = 0;
    for whole in [&rtp, &stun, &hello] {
        for len in 1..whole.len() {
            scene.send(&whole[..len]);
            // On the validated path only SRTP: a cut ClientHello is what a lossy path gives anyway.
            if whole == &rtp {
                scene.inject(&whole[..len]).await;
            }
            count += if whole == &rtp { 2 } else { 1 };
            if count % IN_FLIGHT < 2 {
                scene.until_dropped(before, count).await;
            }
        }
    }
    scene.until_dropped(before, count).await;

    let before = drops(&scene.server.get("/stats").await);
    for len in [1_501, 2_049, 9_000, 65_507] {
        let mut long = rtp.clone();
        long.resize(len, 0x5a);
        scene.send(&long);
        scene.inject(&long).await;
    }
    scene.until_dropped(before, 8).await;
    scene.assert_undisturbed().await;
    scene.end().await;
}

async fn a_million_random_datagrams_are_dropped(io: Io) {
    let mut scene = Scene::set("random", io).await;
    let mut noise = Noise::new(20_260_721);
    let before = drops(&scene.server.get("/stats").await);
    let mut sent = 0;
    let mut lost = 0;
    let mut datagram = [0u8; 1_400];
    loop {
        for _ in 0..IN_FLIGHT {
            let len = random_datagram(&mut noise, &mut datagram);
            // Every eighth on the path that the server has validated.
            if noise.below(8) == 0 {
                scene.inject(&datagram[..len]).await;
            } else {
                scene.send(&datagram[..len]);
            }
        }
        sent += IN_FLIGHT;
        let dropped = all_counted(&scene, before, sent - lost).await;
        if dropped >= RANDOM_DATAGRAMS {
            break;
        }
        // What the kernel dropped for want of buffer never comes: it is not waited for twice.
        lost = sent - dropped.min(sent);
        assert!(
            lost < RANDOM_DATAGRAMS / 10,
            "{lost} of {sent} datagrams were neither forwarded nor counted"
        );
    }
    scene.assert_undisturbed().await;
    scene.end().await;
}

/// Drops since `before`, once they are `expected` or have stopped rising.
async fn all_counted(scene: &Scene, before: u64, expected: u64) -> u64 {
    let end = Instant::now() + DEADLINE;
    let mut last = 0;
    let mut same = 0;
    loop {
        let now = drops(&scene.server.get("/stats").await) - before;
        same = if now == last { same + 1 } else { 0 };
        if now >= expected || same == 20 {
            return now;
        }
        assert!(
            Instant::now() < end,
            "the data plane does not keep up: {now} of {expected}"
        );
        last = now;
    }
}

/// Random bytes of a random length, half of them with the first bytes of a protocol, so that the
/// parsers behind the demultiplexer get their share.
fn random_datagram(noise: &mut Noise, into: &mut [u8; 1_400]) -> usize {
    // Mostly short: the interesting mistakes are near the headers.
    let longest = if noise.below(16) == 0 { 1_400 } else { 120 };
    let len = 1 + noise.below(longest) as usize;
    for chunk in into[..len].chunks_mut(4) {
        let bytes = (noise.next() as u32).to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
    match noise.below(8) {
        // STUN with its cookie and a plausible length.
        0 if len >= 20 => {
            into[0] &= 0x03;
            into[2..4].copy_from_slice(&((len - 20) as u16).to_be_bytes());
            into[4..8].copy_from_slice(&0x2112_a442u32.to_be_bytes());
        }
        // RTP and RTCP.
        1 => into[0] = 0x80 | (into[0] & 0x3f),
        2 if len >= 2 => {
            into[0] = 0x80 | (into[0] & 0x3f);
            into[1] = 192 + (into[1] & 0x1f);
        }
        // DTLS: a record type and version, else random.
        3 if len >= 13 => {
            into[0] = 20 + (into[0] & 0x07);
            into[1..3].copy_from_slice(&[0xfe, 0xfd]);
        }
        _ => {}
    }
    len
}

macro_rules! on_both_drivers {
    ($($behaviour:ident => $ring:ident, $plain:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $ring() {
            $behaviour(Io::IoUring).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $plain() {
            $behaviour(Io::Syscall).await;
        }
    )*};
}

on_both_drivers! {
    forged_stun_changes_nothing => forged_stun_io_uring, forged_stun_syscall;
    dtls_from_an_unknown_address_is_dropped => unknown_dtls_io_uring, unknown_dtls_syscall;
    forged_and_replayed_srtp_is_dropped => forged_srtp_io_uring, forged_srtp_syscall;
    truncated_and_oversized_datagrams_are_dropped => cut_and_long_io_uring, cut_and_long_syscall;
    a_million_random_datagrams_are_dropped => random_io_uring, random_syscall;
}
