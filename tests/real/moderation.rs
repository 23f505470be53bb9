//! A moderator silences somebody whose client does not care: nothing of it leaves the server any more.

use kall_shared::media::Kind;
use kall_shared::signalling::{ClientMessage, ServerMessage};
use kall_tests::server::{Io, Server};
use kall_tests::signalling::{Client, Meeting};
use kall_tests::wait::until;

use crate::call::{How, Participant};

/// Waits until the server has taken so many more packets of tracks that are muted.
async fn until_dropped(server: &Server, more: u64) {
    let before = server.counter("drop_muted").await;
    server.until_counter("drop_muted", before + more).await;
}

async fn expect_mute(client: &mut Client, whom: &str, muted: bool) -> String {
    client
        .expect("muted or unmuted", |message| match message {
            ServerMessage::Muted { identity, track, by } if muted && identity == whom && track == "audio" => {
                Some(by.clone())
            }
            ServerMessage::Unmuted { identity, track, by }
                if !muted && identity == whom && track == "audio" =>
            {
                Some(by.clone())
            }
            _ => None,
        })
        .await
}

#[tokio::test]
async fn a_moderators_mute_holds_against_a_client_that_goes_on() {
    let server = Server::start("moderation", Io::IoUring).await;
    let meeting = Meeting::create(&server, "Moderated").await;
    let mut bob = Participant::join(&server, &meeting, "Bob", How::SUBSCRIBER).await;
    let mut carol = Participant::join(&server, &meeting, "Carol", How::SUBSCRIBER).await;
    let mut alice = Participant::join(&server, &meeting, "Alice", How::PUBLISHER).await;
    let whom = alice.signalling.identity.clone();
    let mut host = Client::connect(&server, &meeting.host_token).await;
    host.join(&meeting.slug, None).await;
    let (heard_by_bob, seen_by_bob) = bob.slots_of(&whom).await;
    let track = carol.track_of(&whom, Kind::Audio).await;
    let heard_by_carol = carol.slot_of(&track).await;
    bob.until_more(&heard_by_bob, 50).await;
    carol.until_more(&heard_by_carol, 50).await;

    let mute = ClientMessage::MuteParticipant {
        identity: whom.clone(),
        track: "audio".to_owned(),
    };
    // A guest may not.
    bob.signalling.send(mute.clone()).await;
    bob.signalling
        .expect("permission_denied", |message| match message {
            ServerMessage::Error { code, .. } => {
                (*code == kall_shared::signalling::ErrorCode::PermissionDenied).then_some(())
            }
            _ => None,
        })
        .await;
    host.send(mute).await;
    let by = expect_mute(&mut alice.signalling, &whom, true).await;
    assert_eq!(by, host.identity, "she is told who did it");

    // Her client goes on. Once some of that was refused, everything sent before has arrived or is lost.
    until_dropped(&server, 25).await;
    bob.until_more(&seen_by_bob, 30).await;
    let before = (bob.peer.count(&heard_by_bob), carol.peer.count(&heard_by_carol));
    until_dropped(&server, 100).await;
    bob.until_more(&seen_by_bob, 30).await;
    let after = (bob.peer.count(&heard_by_bob), carol.peer.count(&heard_by_carol));
    assert_eq!(after, before, "no packet of hers is sealed for anybody");

    // Neither does a new connection of hers help.
    alice.offer_anew(How::PUBLISHER).await;
    until_dropped(&server, 100).await;
    let again = (bob.peer.count(&heard_by_bob), carol.peer.count(&heard_by_carol));
    assert_eq!(again, before);

    // Her own word does.
    let unmute = ClientMessage::Unmute {
        track: "audio".to_owned(),
    };
    alice.signalling.send(unmute).await;
    assert_eq!(expect_mute(&mut bob.signalling, &whom, false).await, whom);
    let heard = until("bob to hear her again", async || {
        let slots = bob.peer.received.lock().expect("no reader panicked");
        let audio = slots
            .iter()
            .filter(|(mid, _)| ["0", "1", "2"].contains(&mid.as_str()));
        let packets: usize = audio.map(|(_, packets)| packets.len()).sum();
        (packets > before.0).then_some(packets)
    })
    .await;
    assert!(heard > before.0);
    server.stop().await;
}
