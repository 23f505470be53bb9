//! H264's constrained high profile is published only while everybody decodes it.

use kall_shared::signalling::{ClientMessage, ServerMessage};
use kall_tests::server::{Io, Server};
use kall_tests::signalling::{Client, Meeting};

/// A captured offer without constrained high; its first video line sends, its second is made a slot.
const CHROMIUM: &str = include_str!("../../controlplane/tests/data/chromium_offer.sdp");

fn offer(high: bool) -> String {
    let mut section = "";
    let mut text = String::new();
    for line in CHROMIUM.lines() {
        section = line.strip_prefix("a=mid:").unwrap_or(section);
        let line = if line == "a=sendonly" && matches!(section, "2" | "3") {
            "a=recvonly"
        } else {
            line
        };
        text.push_str(line);
        text.push_str("\r\n");
    }
    if high {
        // As Safari lists it beside constrained baseline.
        text.replace("profile-level-id=42001f", "profile-level-id=640c1f")
    } else {
        text
    }
}

async fn enter(server: &Server, meeting: &Meeting, name: &str) -> Client {
    let token = meeting.guest(server, name).await;
    let mut client = Client::connect(server, &token).await;
    client.join(&meeting.slug, None).await;
    client
}

/// The profiles that the answer asks of the publishing line, in order.
async fn negotiate(client: &mut Client, sdp: String) -> Vec<String> {
    client.send(ClientMessage::Offer { sdp, to: None }).await;
    let answer = client
        .expect("the answer", |message| match message {
            ServerMessage::Answer { sdp, from: None } => Some(sdp.clone()),
            _ => None,
        })
        .await;
    let publishing = answer
        .split("\r\nm=")
        .find(|section| section.contains("\r\na=mid:0\r\n"))
        .expect("the line is mirrored");
    let profiles = publishing
        .lines()
        .filter_map(|line| line.split("profile-level-id=").nth(1));
    profiles.map(str::to_owned).collect()
}

#[tokio::test]
async fn who_publishes_high_falls_back_when_somebody_comes_who_can_not_decode_it() {
    let server = Server::start("profiles", Io::Syscall).await;
    let meeting = Meeting::create(&server, "Profiles").await;
    let mut alice = enter(&server, &meeting, "Alice").await;
    let mut bob = enter(&server, &meeting, "Bob").await;
    let mut carol = enter(&server, &meeting, "Carol").await;
    assert_eq!(
        negotiate(&mut alice, offer(true)).await,
        ["42e01f"],
        "nobody else is known"
    );
    assert_eq!(negotiate(&mut bob, offer(true)).await, ["640c1f", "42e01f"]);
    assert_eq!(negotiate(&mut carol, offer(false)).await, ["42e01f"]);

    bob.expect("a word to offer again", |message| {
        matches!(message, ServerMessage::Renegotiate).then_some(())
    })
    .await;
    assert_eq!(negotiate(&mut bob, offer(true)).await, ["42e01f"]);

    // Alice never published it: what comes to her next is what she says herself.
    let text = "nothing before this".to_owned();
    alice.send(ClientMessage::Chat { text, to: None }).await;
    let spared = alice
        .expect("the own words", |message| match message {
            ServerMessage::Renegotiate => Some(false),
            ServerMessage::Chat { .. } => Some(true),
            _ => None,
        })
        .await;
    assert!(spared, "only who publishes the profile is asked");
    server.stop().await;
}
