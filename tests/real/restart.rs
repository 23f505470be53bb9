//! Either plane dies and comes back. Without its control plane media never stops and clients resume;
//! a lost data plane is replaced and clients are told to offer anew.

use kall_shared::signalling::{ClientMessage, ServerMessage};
use kall_tests::server::{Io, Options, Server};
use kall_tests::signalling::{Client, Meeting};

use crate::call::{How, Participant};

async fn media_survives_the_control_plane(io: Io) {
    let mut server = Server::start("restart", io).await;
    let meeting = Meeting::create(&server, "Survivors").await;
    let mut bob = Participant::join(&server, &meeting, "Bob", How::SUBSCRIBER).await;
    let mut alice = Participant::join(&server, &meeting, "Alice", How::PUBLISHER).await;
    let (audio, video) = bob.slots_of(&alice.signalling.identity).await;
    bob.until_more(&video, 30).await;
    let dataplane = server.dataplane();

    server.kill_kall();
    bob.until_more(&video, 100).await;
    bob.until_more(&audio, 50).await;
    assert!(dataplane.is_alive(), "the data plane outlives kall");

    server.run_kall().await;
    assert_eq!(
        server.dataplane(),
        dataplane,
        "the new kall took the running data plane over"
    );
    assert_eq!(server.sessions().await, 2, "no session was lost or made anew");
    for participant in [&mut alice, &mut bob] {
        let (token, resume) = (participant.token.clone(), participant.signalling.resume.clone());
        let identity = participant.signalling.identity.clone();
        participant.signalling = Client::connect(&server, &token).await;
        let joined = participant.signalling.join(&meeting.slug, Some(&resume)).await;
        let ServerMessage::Joined {
            resumed,
            identity: again,
            ..
        } = joined
        else {
            unreachable!("join() gives nothing else");
        };
        assert!(resumed, "the media session still lives");
        assert_eq!(again, identity);
        assert!(participant.peer.is_connected());
    }
    // Every slot's state is told again after a resume.
    let again = bob.signalling.expect("slot", occupied_slot).await;
    assert!(
        again == audio || again == video,
        "slot {again} is {audio} or {video}"
    );

    let text = "still here";
    alice
        .signalling
        .send(ClientMessage::Chat {
            text: text.to_owned(),
            to: None,
        })
        .await;
    let from = bob
        .signalling
        .expect("chat", |message| match message {
            ServerMessage::Chat { from, text: got, .. } if got == text => Some(from.clone()),
            _ => None,
        })
        .await;
    assert_eq!(from, alice.signalling.identity);
    bob.until_more(&video, 30).await;

    // A clean stop of the kall that took over takes the data plane down.
    server.stop().await;
}

fn occupied_slot(message: &ServerMessage) -> Option<String> {
    match message {
        ServerMessage::Slot {
            mid,
            track_id: Some(_),
            ..
        } => Some(mid.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn a_killed_kall_interrupts_nothing_through_io_uring() {
    media_survives_the_control_plane(Io::IoUring).await;
}

#[tokio::test]
async fn a_killed_kall_interrupts_nothing_through_plain_system_calls() {
    media_survives_the_control_plane(Io::Syscall).await;
}

#[tokio::test]
async fn a_killed_data_plane_is_replaced_and_clients_offer_anew() {
    let server = Server::start("dataplane-killed", Io::Syscall).await;
    let meeting = Meeting::create(&server, "Again").await;
    let mut bob = Participant::join(&server, &meeting, "Bob", How::SUBSCRIBER).await;
    let mut alice = Participant::join(&server, &meeting, "Alice", How::PUBLISHER).await;
    let (_, video) = bob.slots_of(&alice.signalling.identity).await;
    bob.until_more(&video, 30).await;
    let first = server.dataplane();

    first.signal("KILL");
    for (participant, how) in [(&mut alice, How::PUBLISHER), (&mut bob, How::SUBSCRIBER)] {
        participant
            .signalling
            .expect("media_restarted", |message| {
                matches!(message, ServerMessage::MediaRestarted).then_some(())
            })
            .await;
        participant.offer_anew(how).await;
    }
    assert_ne!(server.dataplane(), first, "another process took its place");
    let identity = alice.signalling.identity.clone();
    let (_, video) = bob.slots_of(&identity).await;
    bob.until_more(&video, 60).await;
    server.stop().await;
}

#[tokio::test]
async fn a_data_plane_that_kall_did_not_spawn_outlives_a_clean_stop() {
    let options = Options {
        own_dataplane: true,
        ..Io::Syscall.into()
    };
    let mut server = Server::start("own-dataplane", options).await;
    let meeting = Meeting::create(&server, "Two units").await;
    let mut bob = Participant::join(&server, &meeting, "Bob", How::SUBSCRIBER).await;
    let alice = Participant::join(&server, &meeting, "Alice", How::PUBLISHER).await;
    let (_, video) = bob.slots_of(&alice.signalling.identity).await;
    bob.until_more(&video, 30).await;
    let dataplane = server.dataplane();

    server.terminate_kall().await;
    bob.until_more(&video, 60).await;
    assert!(dataplane.is_alive());
    server.run_kall().await;
    assert_eq!(server.dataplane(), dataplane);
    bob.until_more(&video, 30).await;
}
