//! Whatever a peer without the right certificate sends, in datagrams of any kind: keys are never handed
//! out, every datagram of ours fits, the server does not wake without end, and once it is over it is over.
//!
//! The input is a list of datagrams, each after its length in two bytes.
#![no_main]

use std::sync::{Arc, LazyLock};

use kall_dataplane::dtls::{Dtls, DtlsEvent, Fingerprint, Identity};
use kall_dataplane::time::Time;
use libfuzzer_sys::fuzz_target;

static IDENTITY: LazyLock<Arc<Identity>> =
    LazyLock::new(|| Arc::new(Identity::generate().expect("a certificate")));

/// Sends of one flight for one datagram or one timer: the flight is five datagrams long.
const TRANSMITS_MAX: usize = 32;

/// Timers of one handshake: it doubles its waiting and is given up.
const TIMERS_MAX: usize = 64;

/// Takes out all that the server has to say, the end at most once.
fn drain(dtls: &mut Dtls, over: &mut bool) {
    let mut buf = [0; 2048];
    for sends in 0.. {
        assert!(
            sends <= TRANSMITS_MAX,
            "a datagram is answered by a flight at most"
        );
        if dtls.poll_transmit(&mut buf).is_none() {
            break;
        }
    }
    while let Some(event) = dtls.poll_event() {
        assert!(!*over, "after the end: {event:?}");
        assert!(
            !matches!(event, DtlsEvent::Connected(_)),
            "keys for a peer without the certificate"
        );
        *over = true;
    }
}

fuzz_target!(|input: &[u8]| {
    let mut now = Time::ZERO;
    let expected = vec![Fingerprint { sha256: [7; 32] }];
    let mut dtls = Dtls::new(&IDENTITY, expected, now);
    let mut over = false;
    drain(&mut dtls, &mut over);
    let mut rest = input;
    while let Some((len, after)) = rest.split_first_chunk() {
        let (datagram, after) = after.split_at(usize::from(u16::from_be_bytes(*len)).min(after.len()));
        rest = after;
        dtls.handle_datagram(now, datagram);
        drain(&mut dtls, &mut over);
    }
    for timers in 0.. {
        let deadline = dtls.poll_deadline();
        if deadline == Time::FAR_FUTURE {
            break;
        }
        assert!(timers < TIMERS_MAX, "a deadline at {deadline:?}");
        now = now.max(deadline);
        dtls.handle_timeout(now);
        drain(&mut dtls, &mut over);
    }
    assert!(!dtls.is_connected());
});
