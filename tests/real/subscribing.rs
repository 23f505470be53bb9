//! What a client asks of a picture: kept by the data plane with the slot, changed without disturbing it, and
//! still known when `kall` has died and come back.

use kall_shared::media::{Kind, Layer, SlotWish};
use kall_shared::signalling::{ClientMessage, ErrorCode, ServerMessage};
use kall_tests::server::{Io, Server};
use kall_tests::signalling::{Client, Meeting};
use kall_tests::wait::until;
use serde_json::{Value, json};

use crate::call::{How, Participant};

/// What is wanted in a slot of somebody, as `/stats?room=` tells it.
async fn wish(server: &Server, meeting: &Meeting, identity: &str, mid: &str) -> Option<Value> {
    let figures = server.get(&format!("/stats?room={}", meeting.slug)).await;
    let sessions = figures["sessions"]
        .as_array()
        .expect("a list of sessions")
        .clone();
    let own = sessions
        .into_iter()
        .find(|session| session["identity"] == identity)?;
    let slots = own["slots"].as_array().expect("a list of slots").clone();
    let slot = slots.into_iter().find(|slot| slot["mid"] == mid)?;
    Some(slot["wish"].clone())
}

async fn until_wish(server: &Server, meeting: &Meeting, identity: &str, mid: &str, wanted: &Value) {
    until(&format!("slot {mid} to have the wish {wanted}"), async || {
        let now = wish(server, meeting, identity, mid).await;
        (now.as_ref() == Some(wanted)).then_some(())
    })
    .await;
}

fn subscribe(track: &str) -> ClientMessage {
    ClientMessage::Subscribe {
        track_id: track.to_owned(),
        layer: None,
        mid: None,
        priority: None,
        max_width: None,
        max_height: None,
        max_fps: None,
    }
}

#[tokio::test]
async fn a_wish_changes_alone_and_outlives_kall() {
    let mut server = Server::start("subscribing", Io::IoUring).await;
    let meeting = Meeting::create(&server, "Wishes").await;
    let mut bob = Participant::join(&server, &meeting, "Bob", How::SUBSCRIBER).await;
    let alice = Participant::join(&server, &meeting, "Alice", How::PUBLISHER).await;
    let identity = bob.signalling.identity.clone();
    let track = bob.track_of(&alice.signalling.identity, Kind::Video).await;
    let mid = bob.slot_of(&track).await;
    bob.until_more(&mid, 30).await;
    let default = json!(SlotWish::default());
    until_wish(&server, &meeting, &identity, &mid, &default).await;

    let mut small = subscribe(&track);
    if let ClientMessage::Subscribe {
        layer,
        priority,
        max_width,
        max_height,
        max_fps,
        ..
    } = &mut small
    {
        *layer = Some(Layer::Medium);
        *priority = Some(7);
        (*max_width, *max_height, *max_fps) = (Some(320), Some(180), Some(70_000));
    }
    bob.signalling.send(small).await;
    let wanted =
        json!({"layer": "medium", "max_width": 320, "max_height": 180, "max_fps": null, "priority": 7});
    until_wish(&server, &meeting, &identity, &mid, &wanted).await;
    // Nonsense changes nothing and is answered.
    let mut nothing = subscribe(&track);
    if let ClientMessage::Subscribe { max_width, .. } = &mut nothing {
        *max_width = Some(0);
    }
    bob.signalling.send(nothing).await;
    let words = bob
        .signalling
        .expect("an error", |message| match message {
            ServerMessage::Error { code, message } if *code == ErrorCode::BadMessage => Some(message.clone()),
            _ => None,
        })
        .await;
    assert!(words.starts_with("max_width"), "{words}");
    assert_eq!(
        wish(&server, &meeting, &identity, &mid).await,
        Some(wanted.clone())
    );
    bob.until_more(&mid, 30).await;

    server.kill_kall();
    bob.until_more(&mid, 30).await;
    server.run_kall().await;
    until_wish(&server, &meeting, &identity, &mid, &wanted).await;
    let (token, resume) = (bob.token.clone(), bob.signalling.resume.clone());
    bob.signalling = Client::connect(&server, &token).await;
    bob.signalling.join(&meeting.slug, Some(&resume)).await;
    assert_eq!(bob.slot_of(&track).await, mid, "the slot has the same occupant");
    assert_eq!(wish(&server, &meeting, &identity, &mid).await, Some(wanted));

    // Each message is the whole wish: what it does not name has its default again.
    bob.signalling.send(subscribe(&track)).await;
    until_wish(&server, &meeting, &identity, &mid, &default).await;
    bob.until_more(&mid, 30).await;
    server.stop().await;
}
