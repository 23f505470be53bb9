//! The messages of the reference that tell of media, in one call; `controlplane/tests/reference.rs` is the
//! table of all others. On the way: who may not send any more is not heard, whatever its client does.

use kall_shared::media::Kind;
use kall_shared::signalling::{ClientMessage, ErrorCode, Role, ServerMessage};
use kall_tests::server::{Io, Server};
use kall_tests::signalling::{Client, Meeting};

use crate::call::{How, Participant};

#[tokio::test]
async fn each_message_about_media_comes_when_it_is_due() {
    let server = Server::start("reference", Io::IoUring).await;
    let meeting = Meeting::create(&server, "Reference").await;
    let mut host = Client::connect(&server, &meeting.host_token).await;
    host.join(&meeting.slug, None).await;
    let mut bob = Participant::join(&server, &meeting, "Bob", How::SUBSCRIBER).await;
    // `answer`, `track_published` and `slot` come before these return.
    let mut alice = Participant::join(&server, &meeting, "Alice", How::PUBLISHER).await;
    let whom = alice.signalling.identity.clone();
    let track = bob.track_of(&whom, Kind::Video).await;
    let seen = bob.slot_of(&track).await;
    bob.until_more(&seen, 30).await;

    let nowhere = ClientMessage::Subscribe {
        track_id: track.clone(),
        layer: None,
        mid: Some("99".to_owned()),
        priority: None,
        max_width: None,
        max_height: None,
        max_fps: None,
    };
    bob.signalling.send(nowhere).await;
    let no_slot = |message: &ServerMessage| {
        let is = matches!(message, ServerMessage::Error { code, .. } if *code == ErrorCode::SlotNotFound);
        is.then_some(())
    };
    bob.signalling.expect("slot_not_found", no_slot).await;

    let audio = || "audio".to_owned();
    alice
        .signalling
        .send(ClientMessage::Mute { track: audio() })
        .await;
    let muted = |message: &ServerMessage| {
        matches!(message, ServerMessage::Muted { identity, .. } if *identity == whom).then_some(())
    };
    bob.signalling.expect("muted", muted).await;
    alice
        .signalling
        .send(ClientMessage::Unmute { track: audio() })
        .await;
    let unmuted = |message: &ServerMessage| {
        matches!(message, ServerMessage::Unmuted { identity, .. } if *identity == whom).then_some(())
    };
    bob.signalling.expect("unmuted", unmuted).await;

    let role = ClientMessage::Role {
        identity: whom.clone(),
        role: Role::Viewer,
    };
    host.send(role).await;
    let renegotiate = |message: &ServerMessage| matches!(message, ServerMessage::Renegotiate).then_some(());
    alice.signalling.expect("renegotiate", renegotiate).await;
    let gone = |message: &ServerMessage| {
        matches!(message, ServerMessage::TrackUnpublished { track_id, .. } if *track_id == track)
            .then_some(())
    };
    bob.signalling.expect("track_unpublished", gone).await;
    // Her client goes on. Once some of that was refused, everything sent before has arrived or is lost.
    let refused = server.counter("drop_rtp_unmapped").await;
    server.until_counter("drop_rtp_unmapped", refused + 50).await;
    let before = bob.peer.count(&seen);
    server.until_counter("drop_rtp_unmapped", refused + 200).await;
    assert_eq!(bob.peer.count(&seen), before, "nothing of a viewer is forwarded");

    server.dataplane().signal("KILL");
    let restarted = |message: &ServerMessage| matches!(message, ServerMessage::MediaRestarted).then_some(());
    bob.signalling.expect("media_restarted", restarted).await;
    bob.offer_anew(How::SUBSCRIBER).await;
    server.stop().await;
}
