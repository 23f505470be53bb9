//! Each row of the agent's behaviour, driven by real messages.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::candidate::PAIRS_MAX;
use super::*;
use crate::address::ConnectionId;
use crate::wire::stun::{
    BindingRequest, Role, TransactionId, write_binding_indication, write_binding_request,
};

const PASSWORD: &str = "server-password-of-22-chars";

fn credentials(ufrag: &str, pwd: &str) -> Credentials {
    Credentials {
        ufrag: ufrag.to_owned(),
        pwd: pwd.to_owned(),
    }
}

fn agent() -> Agent {
    Agent::new(credentials("srvr", PASSWORD), "clnt".to_owned(), Time::ZERO)
}

fn peer(port: u16) -> TransportAddress {
    SocketAddr::from(([192, 0, 2, 7], port)).into()
}

fn here() -> IpAddr {
    IpAddr::from([198, 51, 100, 1])
}

const ID: TransactionId = TransactionId([7; 12]);

/// A browser's check; tests change what they are about.
fn check() -> BindingRequest<'static> {
    BindingRequest {
        transaction_id: ID,
        username: b"srvr:clnt",
        password: PASSWORD.as_bytes(),
        priority: 1,
        role: Role::Controlling(99),
        use_candidate: false,
        nomination: None,
    }
}

fn nominating() -> BindingRequest<'static> {
    BindingRequest {
        use_candidate: true,
        ..check()
    }
}

fn send(agent: &mut Agent, seconds: u64, from: TransportAddress, request: &BindingRequest<'_>) -> Outcome {
    let mut buf = [0; 512];
    let len = write_binding_request(&mut buf, request).unwrap();
    deliver(agent, seconds, from, &buf[..len]).0
}

fn deliver(agent: &mut Agent, seconds: u64, from: TransportAddress, bytes: &[u8]) -> (Outcome, Vec<u8>) {
    let message = Message::parse(bytes).unwrap();
    let mut reply = [0; 256];
    let now = Time::from_millis(seconds * 1000);
    let outcome = agent.handle_request(now, &message, from, here(), &mut reply);
    (outcome, reply[..outcome.reply_len].to_vec())
}

fn selected(agent: &Agent) -> Option<TransportAddress> {
    agent.selected().map(|path| path.remote)
}

#[test]
fn a_valid_check_is_answered_and_validates() {
    let mut agent = agent();
    assert_eq!(agent.selected(), None);
    let mut buf = [0; 512];
    let len = write_binding_request(&mut buf, &check()).unwrap();
    let (outcome, reply) = deliver(&mut agent, 1, peer(1), &buf[..len]);

    assert!(outcome.newly_validated && outcome.path_changed);
    assert!(agent.is_validated(&peer(1)) && !agent.is_completed());
    assert_eq!(
        agent.selected(),
        Some(Path {
            remote: peer(1),
            local: here()
        })
    );

    let answer = Message::parse(&reply).unwrap();
    assert_eq!(answer.class(), Class::Success);
    assert_eq!(answer.transaction_id(), ID);
    assert_eq!(answer.mapped_address(), Some(peer(1).socket()));
    assert!(answer.verify_integrity(PASSWORD.as_bytes()) && answer.has_fingerprint());
    assert!(reply.len() <= len, "an answer never amplifies");

    let again = send(&mut agent, 2, peer(1), &check());
    assert!(!again.newly_validated && !again.path_changed);
}

#[test]
fn nomination_selects() {
    let mut agent = agent();
    send(&mut agent, 1, peer(1), &check());
    let outcome = send(&mut agent, 1, peer(2), &nominating());
    assert!(outcome.path_changed && agent.is_completed());
    assert_eq!(selected(&agent), Some(peer(2)));
}

#[test]
fn a_nat_rebinding_after_completion_moves_the_path() {
    let mut agent = agent();
    send(&mut agent, 1, peer(1), &nominating());
    let outcome = send(&mut agent, 9, peer(2), &nominating());
    assert!(outcome.newly_validated && outcome.path_changed);
    assert_eq!(selected(&agent), Some(peer(2)));

    // A check without nomination does not.
    let outcome = send(&mut agent, 10, peer(1), &check());
    assert!(!outcome.path_changed);
    assert_eq!(selected(&agent), Some(peer(2)));
}

#[test]
fn renomination_only_by_a_higher_value() {
    let mut agent = agent();
    let with = |value| BindingRequest {
        nomination: Some(value),
        ..nominating()
    };
    send(&mut agent, 1, peer(1), &with(5));
    assert_eq!(selected(&agent), Some(peer(1)));
    for stale in [4, 5] {
        assert!(!send(&mut agent, 1, peer(2), &with(stale)).path_changed);
    }
    assert!(send(&mut agent, 1, peer(2), &with(6)).path_changed);
}

#[test]
fn packets_move_the_path_before_nomination_only() {
    let mut agent = agent();
    for port in 1..=3 {
        send(&mut agent, 1, peer(port), &check());
    }
    assert!(agent.on_handshake_packet(peer(2)));
    assert!(agent.on_authenticated_packet(Time::from_millis(1100), peer(3)));
    assert_eq!(selected(&agent), Some(peer(3)));

    send(&mut agent, 2, peer(1), &nominating());
    assert!(!agent.on_handshake_packet(peer(2)));
    assert!(!agent.on_authenticated_packet(Time::from_millis(2100), peer(2)));
    assert_eq!(selected(&agent), Some(peer(1)));
}

#[test]
fn an_address_that_was_not_validated_never_moves_the_path() {
    let mut agent = agent();
    send(&mut agent, 1, peer(1), &check());
    assert!(!agent.on_handshake_packet(peer(9)));
    assert!(!agent.on_authenticated_packet(Time::from_millis(60_000), peer(9)));
    assert!(!agent.is_validated(&peer(9)));
    assert_eq!(selected(&agent), Some(peer(1)));
}

#[test]
fn a_silent_path_gives_way_to_one_that_carries_media() {
    let mut agent = agent();
    send(&mut agent, 0, peer(2), &check());
    send(&mut agent, 1, peer(1), &nominating());
    let heard = Time::from_millis(1000);
    assert!(!agent.on_authenticated_packet(heard + Duration::from_secs(4), peer(2)));
    assert!(agent.on_authenticated_packet(heard + Duration::from_millis(4001), peer(2)));
    assert_eq!(selected(&agent), Some(peer(2)));
}

#[test]
fn consent_expires_and_is_renewed() {
    let mut agent = agent();
    let at = |seconds: u64| Time::from_millis(seconds * 1000);
    assert!(!agent.consent_expired(at(29)));
    send(&mut agent, 29, peer(1), &check());
    assert_eq!(agent.poll_deadline(), at(59));
    assert!(!agent.consent_expired(at(58)));
    assert!(agent.consent_expired(at(59)));

    // Media is no consent: only a check is (RFC 7675 section 5.1).
    agent.on_authenticated_packet(at(58), peer(1));
    assert!(agent.consent_expired(at(59)));
    send(&mut agent, 60, peer(1), &check());
    assert!(!agent.consent_expired(at(60)));
}

#[test]
fn the_ninth_pair_evicts_the_oldest_that_is_not_in_use() {
    let mut agent = agent();
    send(&mut agent, 0, peer(1), &nominating());
    for port in 2..=PAIRS_MAX as u16 {
        let outcome = send(&mut agent, u64::from(port), peer(port), &check());
        assert_eq!(outcome.evicted, None);
    }
    // Pair 2 is heard again, so pair 3 is the oldest; pair 1 is older, but in use.
    send(&mut agent, 10, peer(2), &check());
    let outcome = send(&mut agent, 11, peer(100), &check());
    assert_eq!(outcome.evicted, Some(peer(3)));
    assert!(outcome.newly_validated);
    assert!(!agent.is_validated(&peer(3)) && agent.is_validated(&peer(1)));
    assert_eq!(agent.validated().count(), PAIRS_MAX);
}

#[test]
fn a_wrong_password_is_met_with_silence() {
    let mut agent = agent();
    let forged = BindingRequest {
        password: b"another-password-of-22",
        ..nominating()
    };
    let outcome = send(&mut agent, 1, peer(1), &forged);
    assert_eq!(outcome, Outcome::ignored(Ignored::Integrity));
    assert!(!agent.is_validated(&peer(1)));

    // And hurts nobody who was there before.
    send(&mut agent, 2, peer(2), &nominating());
    send(&mut agent, 3, peer(1), &forged);
    assert_eq!(selected(&agent), Some(peer(2)));
    assert_eq!(agent.poll_deadline(), Time::from_millis(32_000));
}

#[test]
fn a_wrong_user_is_met_with_silence() {
    let mut agent = agent();
    for username in [
        &b"srvr:other"[..],
        b"other:clnt",
        b"clnt:srvr",
        b"srvr",
        b"srvr:clnt:",
    ] {
        let request = BindingRequest { username, ..check() };
        let outcome = send(&mut agent, 1, peer(1), &request);
        assert_eq!(outcome, Outcome::ignored(Ignored::UnknownUser));
    }
    assert_eq!(agent.validated().count(), 0);
}

#[test]
fn a_controlled_peer_is_told_of_the_conflict() {
    let mut agent = agent();
    let request = BindingRequest {
        role: Role::Controlled(1),
        ..nominating()
    };
    let mut buf = [0; 512];
    let len = write_binding_request(&mut buf, &request).unwrap();
    let (outcome, reply) = deliver(&mut agent, 1, peer(1), &buf[..len]);
    let answer = Message::parse(&reply).unwrap();
    assert_eq!((answer.class(), answer.error_code()), (Class::Error, Some(487)));
    assert!(answer.verify_integrity(PASSWORD.as_bytes()));
    assert!(!outcome.newly_validated && agent.selected().is_none());
}

#[test]
fn an_unknown_attribute_that_must_be_understood_is_refused() {
    let mut agent = agent();
    // A check with an attribute of type 0x7fff before its integrity: written by hand, because the
    // writer knows no such thing.
    let mut buf = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    buf.extend_from_slice(&ID.0);
    buf.extend_from_slice(&[0, 6, 0, 9]);
    buf.extend_from_slice(b"srvr:clnt\0\0\0");
    buf.extend_from_slice(&[0x7f, 0xff, 0, 4, 1, 2, 3, 4]);
    let body = buf.len() - 20 + 24;
    buf[2..4].copy_from_slice(&(body as u16).to_be_bytes());
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, PASSWORD.as_bytes());
    let tag = ring::hmac::sign(&key, &buf);
    buf.extend_from_slice(&[0, 8, 0, 20]);
    buf.extend_from_slice(tag.as_ref());

    let (outcome, reply) = deliver(&mut agent, 1, peer(1), &buf);
    let answer = Message::parse(&reply).unwrap();
    assert_eq!(answer.error_code(), Some(420));
    // UNKNOWN-ATTRIBUTES (0x000a) with the one type.
    assert!(
        reply
            .windows(6)
            .any(|window| window == [0, 0x0a, 0, 2, 0x7f, 0xff])
    );
    assert!(!outcome.newly_validated);
}

#[test]
fn an_indication_keeps_alive_and_nothing_more() {
    let mut agent = agent();
    let mut buf = [0; 64];
    let len = write_binding_indication(&mut buf, ID).unwrap();
    let (outcome, _) = deliver(&mut agent, 5, peer(1), &buf[..len]);
    assert_eq!(outcome, Outcome::default());
    assert!(!agent.is_validated(&peer(1)));
    assert_eq!(agent.poll_deadline(), Time::ZERO + CONSENT_TIMEOUT);
}

#[test]
fn an_answer_is_not_expected() {
    let mut agent = agent();
    let mut buf = [0; 256];
    let len = write_binding_success(&mut buf, ID, peer(1).socket(), PASSWORD.as_bytes()).unwrap();
    let (outcome, _) = deliver(&mut agent, 1, peer(1), &buf[..len]);
    assert_eq!(outcome, Outcome::ignored(Ignored::Answer));
}

#[test]
fn a_restart_keeps_the_old_credentials_until_the_new_are_nominated() {
    let mut agent = agent();
    let renominated = |value| BindingRequest {
        nomination: Some(value),
        ..nominating()
    };
    send(&mut agent, 1, peer(1), &renominated(9));
    agent.restart(
        credentials("next", "next-password-of-22-characters"),
        "clnt2".to_owned(),
        Time::from_millis(2000),
    );
    assert_eq!(agent.ufrags().collect::<Vec<_>>(), ["next", "srvr"]);
    let next = BindingRequest {
        username: b"next:clnt2",
        password: b"next-password-of-22-characters",
        ..check()
    };

    // The old generation still renews consent, and chooses no more.
    let outcome = send(&mut agent, 3, peer(2), &nominating());
    assert!(outcome.reply_len > 0 && !outcome.path_changed);
    assert!(send(&mut agent, 3, peer(3), &next).newly_validated);
    assert_eq!(selected(&agent), Some(peer(1)));

    // Nomination values start anew with the restart.
    let nominate = BindingRequest {
        nomination: Some(1),
        use_candidate: true,
        ..next
    };
    assert!(send(&mut agent, 4, peer(3), &nominate).path_changed);
    let outcome = send(&mut agent, 5, peer(1), &check());
    assert_eq!(outcome, Outcome::ignored(Ignored::UnknownUser));
}

#[test]
fn old_credentials_expire() {
    let mut agent = agent();
    agent.restart(
        credentials("next", "next-password-of-22-characters"),
        "clnt2".to_owned(),
        Time::ZERO,
    );
    assert!(send(&mut agent, 29, peer(1), &check()).newly_validated);
    let outcome = send(&mut agent, 30, peer(1), &check());
    assert_eq!(outcome, Outcome::ignored(Ignored::UnknownUser));
}

#[test]
fn a_restart_whose_answer_was_lost_keeps_what_the_peer_uses() {
    let mut agent = agent();
    send(&mut agent, 1, peer(1), &nominating());
    let restart = |agent: &mut Agent, ufrag: &str, seconds: u64| {
        let local = credentials(ufrag, "next-password-of-22-characters");
        agent.restart(local, "clnt2".to_owned(), Time::from_millis(seconds * 1000));
    };
    restart(&mut agent, "lost", 10);
    restart(&mut agent, "last", 20);
    assert_eq!(agent.ufrags().collect::<Vec<_>>(), ["last", "srvr"]);
    assert!(send(&mut agent, 39, peer(1), &check()).reply_len > 0);
    // Its time is that of the first restart.
    let outcome = send(&mut agent, 40, peer(1), &check());
    assert_eq!(outcome, Outcome::ignored(Ignored::UnknownUser));
}

#[test]
fn a_closed_connection_gives_way_to_the_path_heard_last() {
    let mut agent = agent();
    let connection = |index| TransportAddress::Tcp(peer(9).socket(), ConnectionId { index, epoch: 0 });
    send(&mut agent, 1, peer(1), &check());
    send(&mut agent, 2, peer(2), &check());
    send(&mut agent, 3, connection(0), &nominating());
    assert_eq!(selected(&agent), Some(connection(0)));
    assert!(
        !agent.on_closed(connection(1)),
        "another connection of the same address"
    );
    assert!(agent.on_closed(connection(0)));
    assert_eq!(selected(&agent), Some(peer(2)));
    assert!(agent.on_closed(peer(2)) && agent.on_closed(peer(1)));
    assert_eq!(agent.selected(), None);
    assert!(send(&mut agent, 4, connection(1), &check()).path_changed);
}

#[test]
fn no_password_is_printed() {
    assert!(!format!("{:?}", agent()).contains(PASSWORD));
}
