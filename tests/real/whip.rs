//! WHIP and WHEP with the two real programs: media byte for byte, what others see of those who come without
//! a WebSocket, and the life of their sessions.

use kall_shared::media::Kind;
use kall_shared::signalling::{ClientMessage, ServerMessage};
use kall_tests::server::{Io, Server};
use kall_tests::signalling::{Client, Meeting};
use kall_tests::wait::until;
use kall_tests::whip::{self, Session};
use reqwest::StatusCode;
use webrtc::ice::network_type::NetworkType;

use crate::call::{ALL_PROFILES, How, Participant, assert_delivered, attribute};
use crate::pattern::behind_descriptor;
use crate::peer::{Peer, Received};

/// A peer connection that a WHIP or WHEP session stands behind.
struct Caller {
    peer: Peer,
    session: Session,
}

impl Caller {
    async fn publish(server: &Server, room: &str, token: Option<&str>) -> Self {
        let peer = Peer::with_slots(true, (0, 0), &ALL_PROFILES, NetworkType::Udp4).await;
        Self::connect(server, &format!("/whip/{room}"), token, peer).await
    }

    async fn play(server: &Server, room: &str, query: &str, token: Option<&str>) -> Self {
        let peer = Peer::with_slots(false, (1, 1), &ALL_PROFILES, NetworkType::Udp4).await;
        Self::connect(server, &format!("/whep/{room}{query}"), token, peer).await
    }

    async fn connect(server: &Server, path: &str, token: Option<&str>, mut peer: Peer) -> Self {
        let session = whip::post(server, path, token, peer.offer().await).await;
        let session = session.unwrap_or_else(|(status, body)| panic!("POST {path}: {status} {body}"));
        peer.accept(&session.answer).await;
        peer.connected().await;
        peer.start_media();
        Self { peer, session }
    }

    async fn until_packets(&self, mid: &str, more: usize) {
        let before = self.peer.count(mid);
        let what = format!("{more} more packets in line {mid} after {before}");
        until(&what, async || {
            (self.peer.count(mid) >= before + more).then_some(())
        })
        .await;
    }
}

async fn until_left(client: &mut Client) -> String {
    let left = |message: &ServerMessage| match message {
        ServerMessage::ParticipantLeft { identity } => Some(identity.clone()),
        _ => None,
    };
    client.expect("participant_left", left).await
}

async fn until_joined(client: &mut Client) -> (String, String) {
    let joined = |message: &ServerMessage| match message {
        ServerMessage::ParticipantJoined { identity, name, .. } => Some((identity.clone(), name.clone())),
        _ => None,
    };
    client.expect("participant_joined", joined).await
}

const CANDIDATE: &str = "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n";

fn credentials(ufrag: &str, pwd: &str) -> String {
    format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n")
}

#[tokio::test]
async fn a_whip_publisher_is_a_participant_like_any_other() {
    let server = Server::start("whip", Io::IoUring).await;
    let meeting = Meeting::create(&server, "Studio").await;
    let mut bob = Participant::join(&server, &meeting, "Bob", How::SUBSCRIBER).await;
    let token = meeting.guest(&server, "Camera one").await;
    let caller = Caller::publish(&server, &meeting.slug, Some(&token)).await;
    let (identity, name) = until_joined(&mut bob.signalling).await;
    assert_eq!(name, "Camera one");
    let (audio, video) = bob.slots_of(&identity).await;
    bob.until_more(&video, 90).await;
    bob.until_more(&audio, 50).await;
    assert!(assert_delivered(&caller.peer, &bob.peer, &video, Kind::Video) > 90);
    assert!(assert_delivered(&caller.peer, &bob.peer, &audio, Kind::Audio) > 50);

    // Candidates of the present run of ICE are taken, those of another and restarts are not.
    let session = &caller.session;
    let tag = session.tag.as_str();
    let status = async |tag, fragment: &str| session.patch(tag, fragment).await.0;
    assert_eq!(status(Some(tag), CANDIDATE).await, StatusCode::NO_CONTENT);
    assert_eq!(status(Some("*"), CANDIDATE).await, StatusCode::NO_CONTENT);
    assert_eq!(status(None, CANDIDATE).await, StatusCode::PRECONDITION_REQUIRED);
    assert_eq!(
        status(Some("\"old\""), CANDIDATE).await,
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(status(Some(tag), "nonsense").await, StatusCode::BAD_REQUEST);
    // Somebody else's token opens nothing, nor does the name alone.
    let stranger = meeting.guest(&server, "Stranger").await;
    let foreign = reqwest::Client::new().delete(&session.url);
    let answer = foreign.bearer_auth(stranger).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let answer = reqwest::Client::new()
        .delete(&session.url)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let elsewhere = session.url.replace("/whip/", "/whep/");
    let answer = reqwest::Client::new()
        .delete(elsewhere)
        .bearer_auth(&token)
        .send()
        .await;
    assert_eq!(answer.expect("an answer").status(), StatusCode::NOT_FOUND);
    bob.until_more(&video, 30).await;

    assert_eq!(session.delete().await, StatusCode::OK);
    assert_eq!(until_left(&mut bob.signalling).await, identity);
    assert_eq!(session.delete().await, StatusCode::NOT_FOUND);
    assert_eq!(server.sessions().await, 1, "only bob's is left");
    assert_eq!(server.counter("bug_egress_guard").await, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_publisher_whose_media_ends_is_gone_and_one_that_comes_again_replaces_itself() {
    let server = Server::start("whip-end", Io::Syscall).await;
    let meeting = Meeting::create(&server, "Studio").await;
    let mut bob = Participant::join(&server, &meeting, "Bob", How::SUBSCRIBER).await;
    let token = meeting.guest(&server, "Camera").await;
    let first = Caller::publish(&server, &meeting.slug, Some(&token)).await;
    let (identity, _) = until_joined(&mut bob.signalling).await;
    bob.slots_of(&identity).await;

    let mut second = Caller::publish(&server, &meeting.slug, Some(&token)).await;
    assert_eq!(until_left(&mut bob.signalling).await, identity);
    assert_eq!(until_joined(&mut bob.signalling).await.0, identity);
    assert_eq!(first.session.delete().await, StatusCode::NOT_FOUND);
    let (_, video) = bob.slots_of(&identity).await;
    bob.until_more(&video, 30).await;
    assert_eq!(server.sessions().await, 2);

    // A close_notify, and no DELETE.
    second.peer.close().await;
    assert_eq!(until_left(&mut bob.signalling).await, identity);
    assert_eq!(second.session.delete().await, StatusCode::NOT_FOUND);
    server.stop().await;
}

#[tokio::test]
async fn a_player_gets_the_participant_it_names_and_nobody_else() {
    let server = Server::start("whep", Io::Syscall).await;
    let meeting = Meeting::create(&server, "Studio").await;
    let mut carol = Participant::join(&server, &meeting, "Carol", How::PUBLISHER).await;
    let track = carol
        .track_of(&carol.signalling.identity.clone(), Kind::Video)
        .await;
    let alice = Participant::join(&server, &meeting, "Alice", How::PUBLISHER).await;
    let (_, video) = carol.slots_of(&alice.signalling.identity).await;
    carol.until_more(&video, 30).await;

    let token = meeting.guest(&server, "Player").await;
    let query = format!("?participant={}", alice.signalling.identity);
    let player = Caller::play(&server, &meeting.slug, &query, Some(&token)).await;
    assert!(player.session.answer.contains("a=sendonly"));
    player.until_packets("1", 90).await;
    player.until_packets("0", 50).await;
    assert_delivered(&alice.peer, &player.peer, "1", Kind::Video);
    assert_delivered(&alice.peer, &player.peer, "0", Kind::Audio);

    // One track alone: the other line stays silent.
    let token = meeting.guest(&server, "Picture only").await;
    let query = format!("?track={track}");
    let picture = Caller::play(&server, &meeting.slug, &query, Some(&token)).await;
    picture.until_packets("1", 90).await;
    assert_delivered(&carol.peer, &picture.peer, "1", Kind::Video);
    assert_eq!(picture.peer.count("0"), 0, "the line of the other kind");

    // Whoever names nothing gets what the room shows first, and everybody's sound.
    let token = meeting.guest(&server, "Stage").await;
    let stage = Caller::play(&server, &meeting.slug, "", Some(&token)).await;
    stage.until_packets("1", 90).await;
    stage.until_packets("0", 50).await;
    assert_delivered(&carol.peer, &stage.peer, "1", Kind::Video);

    // And sees whoever speaks.
    alice.peer.speak();
    until("the speaker's picture on the stage", async || {
        let shown = stage.peer.slot("1");
        let last = behind_descriptor(&shown.last()?.payload)?.to_vec();
        let sent = alice.peer.sent.lock().expect("no sender panicked");
        sent.video.contains(&last).then_some(())
    })
    .await;
    let before = carol.peer.sent.lock().expect("no sender panicked").video.len();
    stage.until_packets("1", 90).await;
    let shown = stage.peer.slot("1");
    let carols = carol.peer.sent.lock().expect("no sender panicked").video[before..].to_vec();
    let strangers = |packet: &&Received| {
        carols
            .iter()
            .any(|media| behind_descriptor(&packet.payload) == Some(media))
    };
    assert_eq!(
        shown.iter().filter(strangers).count(),
        0,
        "the other camera is not shown any more"
    );

    assert_eq!(player.session.delete().await, StatusCode::OK);
    until_left(&mut carol.signalling).await;
    assert_eq!(server.counter("bug_egress_guard").await, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_guest_of_an_open_server_needs_no_token_but_its_url() {
    let server = Server::start("whip-guest", Io::Syscall).await;
    let caller = Caller::publish(&server, "front-door", None).await;
    let player = Caller::play(&server, "front-door", "", None).await;
    player.until_packets("1", 60).await;
    assert_delivered(&caller.peer, &player.peer, "1", Kind::Video);
    let (bare, _) = caller
        .session
        .url
        .split_once('?')
        .expect("the URL has the guest's token");
    let answer = reqwest::Client::new()
        .delete(bare)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(caller.session.delete().await, StatusCode::OK);
    assert_eq!(player.session.delete().await, StatusCode::OK);
    assert_eq!(server.sessions().await, 0);
    server.stop().await;
}

#[tokio::test]
async fn sessions_outlive_the_control_plane() {
    let mut server = Server::start("whip-restart", Io::IoUring).await;
    let meeting = Meeting::create(&server, "Studio").await;
    let camera = meeting.guest(&server, "Camera").await;
    let screen = meeting.guest(&server, "Wall").await;
    let caller = Caller::publish(&server, &meeting.slug, Some(&camera)).await;
    let player = Caller::play(&server, &meeting.slug, "", Some(&screen)).await;
    player.until_packets("1", 30).await;

    server.kill_kall();
    player.until_packets("1", 100).await;
    server.run_kall().await;
    assert_eq!(server.sessions().await, 2, "no session was lost or made anew");
    player.until_packets("1", 30).await;
    let roster = server.get(&format!("/rooms/{}/participants", meeting.slug)).await;
    assert_eq!(
        roster["participants"].as_array().map(Vec::len),
        Some(2),
        "{roster}"
    );

    // The same URLs, tags and tokens still do.
    let tag = caller.session.tag.as_str();
    assert_eq!(
        caller.session.patch(Some(tag), CANDIDATE).await.0,
        StatusCode::NO_CONTENT
    );
    let mut bob = Participant::join(&server, &meeting, "Bob", How::SUBSCRIBER).await;
    assert_eq!(caller.session.delete().await, StatusCode::OK);
    let gone = until_left(&mut bob.signalling).await;
    assert_eq!(player.session.delete().await, StatusCode::OK);
    assert_ne!(until_left(&mut bob.signalling).await, gone);
    bob.signalling.send(ClientMessage::Leave).await;
    server.stop().await;
}

#[tokio::test]
async fn other_credentials_restart_and_the_present_ones_do_not() {
    let server = Server::start("whip-ice", Io::Syscall).await;
    let meeting = Meeting::create(&server, "Studio").await;
    let token = meeting.guest(&server, "Camera").await;
    let peer = Peer::with_slots(true, (0, 0), &ALL_PROFILES, NetworkType::Udp4).await;
    let offer = peer.offer().await;
    let (ufrag, pwd) = (attribute(&offer, "ice-ufrag"), attribute(&offer, "ice-pwd"));
    let same = credentials(ufrag, pwd) + CANDIDATE;
    let path = format!("/whip/{}", meeting.slug);
    let session = whip::post(&server, &path, Some(&token), offer.clone())
        .await
        .expect("let in");
    assert_eq!(
        session.patch(Some(&session.tag), &same).await.0,
        StatusCode::NO_CONTENT
    );
    // A new run has a tag of its own, and what is meant for the old one fails.
    let other = credentials("anotherUfrag", "anotherPasswordOf22OrMore");
    let (status, body) = session.patch(Some("*"), &other).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(body.contains("a=ice-ufrag:"), "{body}");
    // Whoever has both paths in view takes the new one.
    let priority = |text: &str| -> u32 {
        let line = text.lines().find(|line| line.starts_with("a=candidate:"));
        let field = line.and_then(|line| line.split(' ').nth(3));
        field.and_then(|field| field.parse().ok()).expect("a candidate")
    };
    assert!(priority(&body) > priority(&session.answer), "{body}");
    assert_eq!(
        session.patch(Some(&session.tag), &same).await.0,
        StatusCode::PRECONDITION_FAILED
    );
    server.stop().await;
}
