//! What one peer sends, another receives, byte for byte.

use kall_shared::media::Kind;
use kall_tests::server::{Io, Server};
use kall_tests::signalling::Meeting;
use webrtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use crate::call::{How, Participant, assert_delivered};
use crate::pattern::{PACKETS_PER_FRAME, picture_id};

/// Packets of video and of audio a test waits for.
const ENOUGH: (usize, usize) = (200, 100);

async fn a_call_delivers_every_byte(name: &str, io: Io, srtp: &[SrtpProtectionProfile]) {
    let server = Server::start(name, io).await;
    let meeting = Meeting::create(&server, "Bytes").await;
    let mut alice = Participant::join(
        &server,
        &meeting,
        "Alice",
        How {
            srtp,
            ..How::PUBLISHER
        },
    )
    .await;
    let mut bob = Participant::join(
        &server,
        &meeting,
        "Bob",
        How {
            srtp,
            ..How::SUBSCRIBER
        },
    )
    .await;

    let (audio, video) = slots(&mut alice, &mut bob).await;
    bob.until_more(&video, ENOUGH.0).await;
    bob.until_more(&audio, ENOUGH.1).await;
    assert!(assert_delivered(&alice.peer, &bob.peer, &video, Kind::Video) >= ENOUGH.0);
    assert!(assert_delivered(&alice.peer, &bob.peer, &audio, Kind::Audio) >= ENOUGH.1);
    assert_frames_are_continuous(&bob, &video);
    assert_eq!(server.kall().udp_sockets(), 0, "kall has no part in media");

    alice.peer.close().await;
    bob.peer.close().await;
    server.stop().await;
}

/// The slots that get Alice's media, whether her tracks started before or after Bob came.
async fn slots(alice: &mut Participant, bob: &mut Participant) -> (String, String) {
    let identity = alice.signalling.identity.clone();
    // The publisher is told of its own tracks too.
    let audio = alice.track_of(&identity, Kind::Audio).await;
    let video = alice.track_of(&identity, Kind::Video).await;
    (bob.slot_of(&audio).await, bob.slot_of(&video).await)
}

fn assert_frames_are_continuous(subscriber: &Participant, mid: &str) {
    let received = subscriber.peer.slot(mid);
    let frames: Vec<_> = received
        .iter()
        .map(|packet| {
            (
                packet.timestamp,
                picture_id(&packet.payload).expect("a 15-bit picture id"),
            )
        })
        .collect();
    for pair in frames
        .chunks_exact(PACKETS_PER_FRAME)
        .collect::<Vec<_>>()
        .windows(2)
    {
        let (before, after) = (pair[0][0], pair[1][0]);
        assert!(
            pair[0].iter().all(|packet| *packet == before),
            "one timestamp and picture id a frame"
        );
        assert_eq!(
            after.0.wrapping_sub(before.0),
            2_970,
            "timestamps keep the publisher's pace"
        );
        assert_eq!(after.1, (before.1 + 1) & 0x7fff, "picture ids have no gaps");
    }
}

#[tokio::test]
async fn every_byte_arrives_through_io_uring() {
    a_call_delivers_every_byte("bytes", Io::IoUring, &crate::call::ALL_PROFILES).await;
}

#[tokio::test]
async fn every_byte_arrives_through_plain_system_calls() {
    a_call_delivers_every_byte("bytes", Io::Syscall, &crate::call::ALL_PROFILES).await;
}

#[tokio::test]
async fn every_byte_arrives_under_aead_aes_128_gcm_alone() {
    let only = [SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm];
    a_call_delivers_every_byte("bytes-gcm128", Io::Syscall, &only).await;
}

#[tokio::test]
async fn every_byte_arrives_from_a_peer_without_aead() {
    let only = [SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80];
    a_call_delivers_every_byte("bytes-cm", Io::IoUring, &only).await;
}
