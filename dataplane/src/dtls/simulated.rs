//! Whole handshakes over a bad network, in virtual time.

use std::time::Duration;

use super::testing::{Pair, Weather};
use super::{DtlsEvent, Failure};
use crate::srtp::{EgressGuard, Inbound, MasterKey, Outbound};
use crate::time::Time;

const LIMIT: Duration = Duration::from_secs(30);

/// What one key seals, the other opens.
fn assert_same(sealing: &MasterKey, opening: &MasterKey) {
    let mut packet = vec![0x80, 96, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 42, 43];
    packet.resize(14 + sealing.profile().rtp_overhead(), 0);
    Outbound::new(sealing)
        .seal_rtp(&mut EgressGuard::new(), &mut packet, 12, 14, 5)
        .unwrap();
    assert_eq!(
        Inbound::new(opening)
            .unprotect_rtp(&mut packet)
            .map(|opened| opened.len),
        Ok(14)
    );
}

fn assert_connected(pair: &Pair) {
    let ours = pair.server_keys().unwrap();
    let theirs = pair.client.keys.as_ref().unwrap();
    assert_same(&theirs.client, &ours.client);
    assert_same(&ours.server, &theirs.server);
    assert_eq!(pair.events.len(), 1, "{:?}", pair.events);
}

#[test]
fn a_clean_network() {
    let mut pair = Pair::new(1, Weather::FINE, false);
    assert!(pair.run(LIMIT, Pair::both_connected));
    assert_connected(&pair);
    // Two round trips of 10 ms: no cookie, nothing repeated.
    assert_eq!(pair.now, Time::from_millis(20));
}

#[test]
fn loss_reorder_duplicates_and_fragments() {
    for seed in 1..=20 {
        let weather = Weather {
            loss: 15,
            duplicates: 5,
            jitter_ms: 80,
            piece: Some(200 + 40 * seed as usize),
        };
        let mut pair = Pair::new(seed, weather, false);
        assert!(
            pair.run(LIMIT, Pair::both_connected),
            "seed {seed}: {:?}, client {:?}",
            pair.events,
            pair.client.error
        );
        assert_connected(&pair);
    }
}

#[test]
fn a_stranger_is_refused() {
    let mut pair = Pair::new(2, Weather::FINE, true);
    let refused = |pair: &Pair| pair.client.error.is_some();
    assert!(pair.run(LIMIT, refused), "the alert ends the client's wait");
    assert!(pair.client.keys.is_none());
    assert!(matches!(
        pair.events[..],
        [DtlsEvent::Failed(Failure::Fingerprint)]
    ));
    assert_eq!(pair.server.poll_deadline(), Time::FAR_FUTURE);
}

#[test]
fn a_peer_that_goes_silent() {
    let mut pair = Pair::new(3, Weather::FINE, false);
    assert_eq!(pair.server.poll_deadline(), Time::FAR_FUTURE, "nobody came yet");
    assert!(pair.run(LIMIT, |pair| !pair.recorded.is_empty() && pair.now > Time::ZERO));
    let first = pair.now;
    pair.weather.loss = 100;
    let mut sent = 0;
    let mut buf = [0; 2048];
    while pair.events.is_empty() {
        pair.now = pair.server.poll_deadline();
        assert!(pair.now < Time::FAR_FUTURE);
        pair.server.handle_timeout(pair.now);
        while pair.server.poll_transmit(&mut buf).is_some() {
            sent += 1;
        }
        pair.events.extend(pair.server.poll_event());
    }
    assert!(matches!(pair.events[..], [DtlsEvent::Failed(Failure::TimedOut)]));
    assert_eq!(pair.now, first + Duration::from_secs(30));
    // Doubling from 100 ms: nine repetitions of a flight of one or two datagrams.
    assert!((5..=30).contains(&sent), "{sent}");
    assert_eq!(pair.server.poll_deadline(), Time::FAR_FUTURE);
}

#[test]
fn the_last_flight_is_repeated_for_a_client_that_missed_it() {
    let mut pair = Pair::new(5, Weather::FINE, false);
    assert!(pair.run(LIMIT, |pair| pair.recorded.len() > 1));
    // Our answer is lost; the client repeats its own flight and must get another.
    pair.weather.loss = 100;
    pair.run(Duration::from_millis(100), |_| false);
    assert!(pair.server.is_connected() && pair.client.keys.is_none());
    pair.weather = Weather::FINE;
    assert!(pair.run(LIMIT, Pair::both_connected));
    assert_connected(&pair);
}

#[test]
fn we_say_goodbye() {
    let mut pair = Pair::new(6, Weather::FINE, false);
    assert!(pair.run(LIMIT, Pair::both_connected));
    pair.server.close(pair.now);
    assert!(pair.run(LIMIT, |pair| pair.client.closed));
    assert!(!pair.server.is_connected());
    assert_connected(&pair);
    pair.server.close(pair.now);
    assert_eq!(pair.server.poll_transmit(&mut [0; 2048]), None, "once");
}

#[test]
fn the_peer_says_goodbye() {
    let mut pair = Pair::new(7, Weather::FINE, false);
    assert!(pair.run(LIMIT, Pair::both_connected));
    pair.client.close();
    assert!(pair.run(LIMIT, |pair| pair.events.len() == 2));
    assert!(matches!(pair.events[1], DtlsEvent::PeerClosed));
    assert!(!pair.server.is_connected());
}
