//! Other ways than datagrams over IPv4, and a change of the way in mid-call.

use kall_shared::media::Kind;
use kall_tests::server::{Io, Options, Server};
use kall_tests::signalling::Meeting;
use kall_tests::wait::until;

use crate::call::{How, Participant, Way, assert_delivered, attribute, candidate};

async fn ice_restarts(io: Io) {
    let server = Server::start("ice-restart", io).await;
    let meeting = Meeting::create(&server, "Restart").await;
    let mut bob = Participant::join(&server, &meeting, "Bob", How::SUBSCRIBER).await;
    let mut alice = Participant::join(&server, &meeting, "Alice", How::PUBLISHER).await;
    let (audio, video) = bob.slots_of(&alice.signalling.identity).await;
    bob.until_more(&audio, 30).await;
    let before = bob.peer.slot(&audio);

    for participant in [&mut alice, &mut bob] {
        let (offer, answer) = (participant.offer.clone(), participant.answer.clone());
        participant.restart_ice().await;
        let changed = |name| attribute(&participant.answer, name) != attribute(&answer, name);
        assert!(changed("ice-ufrag") && changed("ice-pwd"));
        assert!(!changed("fingerprint"));
        assert_ne!(
            attribute(&participant.offer, "ice-ufrag"),
            attribute(&offer, "ice-ufrag")
        );
    }
    bob.until_more(&audio, 60).await;
    bob.until_more(&video, 60).await;
    // The slot is the same stream, and goes on with what is sent now.
    let received = bob.peer.slot(&audio);
    let (last, newest) = (&before[before.len() - 1], &received[received.len() - 1]);
    assert_eq!(newest.ssrc, last.ssrc);
    let steps = usize::from(newest.sequence.wrapping_sub(last.sequence));
    assert!(
        steps >= 60 && steps < alice.peer.sent.lock().expect("no sender panicked").audio.len(),
        "numbers run on: {steps}"
    );

    let count = async |name| server.counter(name).await;
    assert_eq!(count("ice_restarts").await, 2);
    assert_eq!(count("sessions_opened").await, 2);
    assert_eq!(count("drop_srtp_auth").await, 0);
    assert_eq!(count("drop_dtls").await, 0);
    // The peers came by new sockets, and were nominated there.
    server.until_counter("path_changes", 2).await;
    server.stop().await;
}

#[tokio::test]
async fn ice_restarts_in_mid_call_through_io_uring() {
    ice_restarts(Io::IoUring).await;
}

#[tokio::test]
async fn ice_restarts_in_mid_call_through_plain_system_calls() {
    ice_restarts(Io::Syscall).await;
}

async fn tcp_call(io: Io) {
    let options = Options {
        tcp: true,
        ..io.into()
    };
    let server = Server::start("tcp-call", options).await;
    let meeting = Meeting::create(&server, "No UDP").await;
    let mut bob = Participant::join_by(&server, &meeting, "Bob", How::SUBSCRIBER, Way::Tcp).await;
    let mut alice = Participant::join_by(&server, &meeting, "Alice", How::PUBLISHER, Way::Tcp).await;
    let (audio, video) = bob.slots_of(&alice.signalling.identity).await;
    bob.until_more(&audio, 100).await;
    bob.until_more(&video, 200).await;
    assert_delivered(&alice.peer, &bob.peer, &audio, Kind::Audio);
    assert_delivered(&alice.peer, &bob.peer, &video, Kind::Video);

    let stats = server.get("/stats").await;
    let count = |name| kall_tests::server::counter(&stats, name);
    assert_eq!(count("tcp_opened"), 2);
    assert_eq!((count("tcp_gate_accepted"), count("tcp_gate_refused")), (2, 0));
    assert_eq!(count("rx_packets"), count("tcp_frames_in"), "no datagram came");
    assert_eq!(count("tx_packets"), count("tcp_frames_out"), "and none left");
    assert_eq!(count("tcp_stuck"), 0);

    alice.peer.close().await;
    until("both connections or alice's to be closed", async || {
        (server.counter("tcp_closed").await >= 1).then_some(())
    })
    .await;
    assert_eq!(
        server.sessions().await,
        1,
        "a close_notify ends a session at once"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_call_without_udp_through_io_uring() {
    tcp_call(Io::IoUring).await;
}

#[tokio::test]
async fn a_call_without_udp_through_plain_system_calls() {
    tcp_call(Io::Syscall).await;
}

async fn ipv6_call(io: Io) {
    let options = Options {
        bind: "::",
        ..io.into()
    };
    let server = Server::start("ipv6-call", options).await;
    let meeting = Meeting::create(&server, "Both families").await;
    // One over each family, on the same socket.
    let mut bob = Participant::join_by(&server, &meeting, "Bob", How::SUBSCRIBER, Way::Udp6).await;
    let mut alice = Participant::join_by(&server, &meeting, "Alice", How::PUBLISHER, Way::Udp4).await;
    let addresses = [&bob.answer, &alice.answer].map(|answer| {
        let loopback = answer.contains(" ::1 ");
        (loopback, candidate(answer).ip())
    });
    for (has_v6, first) in addresses {
        assert!(has_v6, "a client on loopback is told of both");
        assert!(first.is_loopback());
    }
    let (audio, video) = bob.slots_of(&alice.signalling.identity).await;
    bob.until_more(&audio, 60).await;
    bob.until_more(&video, 60).await;
    assert_delivered(&alice.peer, &bob.peer, &audio, Kind::Audio);
    let mut carol = Participant::join_by(&server, &meeting, "Carol", How::PUBLISHER, Way::Udp6).await;
    let (audio, _) = bob.slots_of(&carol.signalling.identity).await;
    bob.until_more(&audio, 60).await;
    assert_delivered(&carol.peer, &bob.peer, &audio, Kind::Audio);
    carol.peer.close().await;
    alice.peer.close().await;
    server.stop().await;
}

#[tokio::test]
async fn a_call_over_ipv6_and_ipv4_through_io_uring() {
    ipv6_call(Io::IoUring).await;
}

#[tokio::test]
async fn a_call_over_ipv6_and_ipv4_through_plain_system_calls() {
    ipv6_call(Io::Syscall).await;
}
