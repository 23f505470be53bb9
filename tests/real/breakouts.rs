//! Into a breakout room and back on one peer connection: no new offer, and each hears and sees those of
//! its own room alone.

use std::collections::HashSet;

use kall_shared::signalling::{BreakoutAssign, ClientMessage, ServerMessage};
use kall_tests::server::{Io, Server};
use kall_tests::signalling::{Client, Meeting};
use kall_tests::wait::until;

use crate::call::{How, Participant};
use crate::pattern::behind_descriptor;

/// Everything somebody has sent so far: sound, and pictures without their descriptors.
fn sent_by(participant: &Participant) -> HashSet<Vec<u8>> {
    let sent = participant.peer.sent.lock().expect("no sender panicked");
    sent.audio.iter().chain(&sent.video).cloned().collect()
}

/// What somebody has got so far, by line.
fn got_by(participant: &Participant) -> Vec<(String, usize)> {
    let received = participant.peer.received.lock().expect("no reader panicked");
    received
        .iter()
        .map(|(mid, packets)| (mid.clone(), packets.len()))
        .collect()
}

fn total(participant: &Participant) -> usize {
    got_by(participant).iter().map(|(_, count)| count).sum()
}

/// How many packets somebody got since `before`, and how many of those these others had sent.
fn from_others(to: &Participant, before: &[(String, usize)], others: &[&Participant]) -> (usize, usize) {
    let sent: HashSet<Vec<u8>> = others.iter().flat_map(|other| sent_by(other)).collect();
    let received = to.peer.received.lock().expect("no reader panicked");
    let (mut all, mut theirs) = (0, 0);
    for (mid, packets) in received.iter() {
        let known = before
            .iter()
            .find(|(own, _)| own == mid)
            .map_or(0, |(_, count)| *count);
        for packet in &packets[known..] {
            all += 1;
            let picture = behind_descriptor(&packet.payload);
            let known =
                sent.contains(&packet.payload) || picture.is_some_and(|picture| sent.contains(picture));
            theirs += usize::from(known);
        }
    }
    (all, theirs)
}

async fn moved(participant: &mut Participant) -> Option<String> {
    participant
        .signalling
        .expect("room_moved", |message| match message {
            ServerMessage::RoomMoved { breakout, .. } => Some(breakout.clone()),
            _ => None,
        })
        .await
}

async fn go(participant: &mut Participant, room: Option<String>) {
    let message = ClientMessage::BreakoutJoin { room: room.clone() };
    participant.signalling.send(message).await;
    assert_eq!(moved(participant).await, room);
}

/// Waits until somebody gets packets of each of these others.
async fn hears(to: &Participant, others: &[&Participant]) {
    for other in others {
        let before = got_by(to);
        until("packets of somebody in the same room", async || {
            (from_others(to, &before, &[other]).1 >= 30).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn three_move_out_and_back_on_the_connections_they_have() {
    let server = Server::start("breakouts", Io::IoUring).await;
    let meeting = Meeting::create(&server, "Class").await;
    let mut host = Client::connect(&server, &meeting.host_token).await;
    host.join(&meeting.slug, None).await;
    let mut alice = Participant::join(&server, &meeting, "Alice", How::PUBLISHER).await;
    let mut bob = Participant::join(&server, &meeting, "Bob", How::PUBLISHER).await;
    let mut carol = Participant::join(&server, &meeting, "Carol", How::PUBLISHER).await;
    for (one, others) in [
        (&alice, [&bob, &carol]),
        (&bob, [&alice, &carol]),
        (&carol, [&alice, &bob]),
    ] {
        hears(one, &others).await;
    }

    host.send(ClientMessage::BreakoutsCreate {
        count: 2,
        names: None,
        assign: Some(BreakoutAssign::Choice),
    })
    .await;
    host.send(ClientMessage::BreakoutsOpen {
        duration_seconds: None,
    })
    .await;
    let rooms = host
        .expect("open breakout rooms", |message| match message {
            ServerMessage::Breakouts {
                breakouts: Some(breakouts),
            } if breakouts.open => Some(breakouts.rooms.clone()),
            _ => None,
        })
        .await;
    let (red, blue) = (rooms[0].id.clone(), rooms[1].id.clone());
    go(&mut alice, Some(red.clone())).await;
    go(&mut bob, Some(red)).await;
    go(&mut carol, Some(blue)).await;

    // Once the two hear each other, what was on its way before has arrived or is lost.
    hears(&alice, &[&bob]).await;
    hears(&bob, &[&alice]).await;
    let marks = [got_by(&alice), got_by(&bob), got_by(&carol)];
    let alone = total(&carol);
    hears(&alice, &[&bob]).await;
    hears(&bob, &[&alice]).await;
    let (all, theirs) = from_others(&alice, &marks[0], &[&bob]);
    assert_eq!(all, theirs, "Alice gets Bob alone");
    let (all, theirs) = from_others(&bob, &marks[1], &[&alice]);
    assert_eq!(all, theirs, "Bob gets Alice alone");
    assert_eq!(total(&carol), alone, "nobody is with Carol");

    // One comes by itself, two are brought back.
    go(&mut carol, None).await;
    host.send(ClientMessage::BreakoutsClose).await;
    assert_eq!(moved(&mut alice).await, None);
    assert_eq!(moved(&mut bob).await, None);
    for (one, others) in [
        (&alice, [&bob, &carol]),
        (&bob, [&alice, &carol]),
        (&carol, [&alice, &bob]),
    ] {
        hears(one, &others).await;
        assert!(one.peer.is_connected());
        let received = one.peer.received.lock().expect("no reader panicked");
        for (mid, packets) in received.iter() {
            let ssrc = packets[0].ssrc;
            assert!(
                packets.iter().all(|packet| packet.ssrc == ssrc),
                "slot {mid} keeps its SSRC"
            );
        }
    }
    assert_eq!(server.sessions().await, 3, "no session was made anew");
    server.stop().await;
}

#[tokio::test]
async fn a_restart_of_kall_leaves_everybody_in_the_room_they_are_in() {
    let mut server = Server::start("breakouts-restart", Io::Syscall).await;
    let meeting = Meeting::create(&server, "Class").await;
    let mut host = Client::connect(&server, &meeting.host_token).await;
    host.join(&meeting.slug, None).await;
    let mut alice = Participant::join(&server, &meeting, "Alice", How::PUBLISHER).await;
    let mut bob = Participant::join(&server, &meeting, "Bob", How::SUBSCRIBER).await;
    let carol = Participant::join(&server, &meeting, "Carol", How::SUBSCRIBER).await;
    host.send(ClientMessage::BreakoutsCreate {
        count: 1,
        names: None,
        assign: None,
    })
    .await;
    let room = host
        .expect("breakout rooms", |message| match message {
            ServerMessage::Breakouts {
                breakouts: Some(breakouts),
            } => Some(breakouts.rooms[0].id.clone()),
            _ => None,
        })
        .await;
    for participant in [&alice, &bob] {
        host.send(ClientMessage::BreakoutAssign {
            identity: participant.signalling.identity.clone(),
            room: Some(room.clone()),
        })
        .await;
    }
    host.send(ClientMessage::BreakoutsOpen {
        duration_seconds: Some(3600),
    })
    .await;
    for participant in [&mut alice, &mut bob] {
        assert_eq!(moved(participant).await, Some(room.clone()));
    }
    hears(&bob, &[&alice]).await;
    let alone = total(&carol);

    server.kill_kall();
    hears(&bob, &[&alice]).await;
    server.run_kall().await;
    assert_eq!(server.sessions().await, 3);
    for participant in [&mut alice, &mut bob] {
        let (token, resume) = (participant.token.clone(), participant.signalling.resume.clone());
        participant.signalling = Client::connect(&server, &token).await;
        let joined = participant.signalling.join(&meeting.slug, Some(&resume)).await;
        let ServerMessage::Joined {
            resumed,
            breakout,
            participants,
            ..
        } = joined
        else {
            unreachable!("join() gives nothing else");
        };
        assert!(resumed);
        assert_eq!(breakout, Some(room.clone()));
        assert_eq!(participants.len(), 1, "the other one of the breakout room");
    }
    hears(&bob, &[&alice]).await;
    assert_eq!(total(&carol), alone);

    // The new kall brings them back, too.
    let mut host = Client::connect(&server, &meeting.host_token).await;
    host.join(&meeting.slug, None).await;
    host.send(ClientMessage::BreakoutsClose).await;
    assert_eq!(moved(&mut bob).await, None);
    hears(&carol, &[&alice]).await;
    server.stop().await;
}
