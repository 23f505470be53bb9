//! ClientHellos as browsers send them: in two datagrams, with a post-quantum key share, and each
//! with its own order of SRTP profiles. What we choose is read from our ServerHello.

use std::sync::Arc;

use super::testing::{record, records};
use super::{Dtls, Identity};
use crate::time::Time;

/// Bytes of the two datagrams of a browser's hello.
const DATAGRAMS: [usize; 2] = [1175, 238];

/// Record and handshake header of a fragment.
const HEADERS: usize = 13 + 12;

const CHROMIUM: &[u16] = &[0x0001, 0x0008, 0x0007];
const FIREFOX: &[u16] = &[0x0007, 0x0008, 0x0001];

fn extension(out: &mut Vec<u8>, kind: u16, data: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
}

fn list(values: &[u16]) -> Vec<u8> {
    let mut out = (values.len() as u16 * 2).to_be_bytes().to_vec();
    for value in values {
        out.extend_from_slice(&value.to_be_bytes());
    }
    out
}

/// The body of a ClientHello that offers DTLS 1.2 and 1.3, `len` bytes long.
fn client_hello(profiles: &[u16], len: usize) -> Vec<u8> {
    let mut extensions = Vec::new();
    extension(&mut extensions, 0x0017, &[]); // extended_master_secret
    extension(&mut extensions, 0xff01, &[0]); // renegotiation_info
    extension(&mut extensions, 0x000a, &list(&[0x11ec, 0x001d, 0x0017, 0x0018]));
    extension(&mut extensions, 0x000b, &[1, 0]); // uncompressed points
    extension(&mut extensions, 0x0023, &[]); // session_ticket
    extension(&mut extensions, 0x000d, &list(&[0x0403, 0x0804, 0x0401, 0x0503]));
    let mut use_srtp = list(profiles);
    use_srtp.push(0); // no MKI
    extension(&mut extensions, 0x000e, &use_srtp);

    let mut body = vec![0xfe, 0xfd];
    body.extend_from_slice(&[0x5a; 32]); // random
    body.extend_from_slice(&[0, 0]); // no session id, no cookie
    body.extend_from_slice(&list(&[0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xcca9, 0xc00a]));
    body.extend_from_slice(&[1, 0]); // no compression

    // The rest is the key share of X25519MLKEM768, and supported_versions behind it, so that the
    // version is known only with the last fragment.
    let versions = [4, 0xfe, 0xfc, 0xfe, 0xfd];
    let used = body.len() + 2 + extensions.len() + (4 + versions.len()) + 4;
    let mut share = vec![0; len - used];
    let share_len = share.len();
    share[..2].copy_from_slice(&(share_len as u16 - 2).to_be_bytes());
    share[2..4].copy_from_slice(&[0x11, 0xec]);
    share[4..6].copy_from_slice(&(share_len as u16 - 6).to_be_bytes());
    extension(&mut extensions, 0x0033, &share);
    extension(&mut extensions, 0x002b, &versions);

    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(&extensions);
    assert_eq!(body.len(), len);
    body
}

/// The hello in two datagrams of the given sizes.
fn datagrams(profiles: &[u16]) -> [Vec<u8>; 2] {
    let sizes = DATAGRAMS.map(|size| size - HEADERS);
    let body = client_hello(profiles, sizes[0] + sizes[1]);
    let fragment = |sequence: u64, offset: usize, len: usize| {
        let mut message = vec![1];
        message.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
        message.extend_from_slice(&[0, 0]);
        message.extend_from_slice(&(offset as u32).to_be_bytes()[1..]);
        message.extend_from_slice(&(len as u32).to_be_bytes()[1..]);
        message.extend_from_slice(&body[offset..offset + len]);
        record(&[22, 0xfe, 0xfd, 0, 0], sequence, &message)
    };
    let both = [fragment(0, 0, sizes[0]), fragment(1, sizes[0], sizes[1])];
    assert_eq!([both[0].len(), both[1].len()], DATAGRAMS);
    both
}

fn server() -> Dtls {
    let identity = Arc::new(Identity::generate().unwrap());
    Dtls::new(&identity, Vec::new(), Time::ZERO)
}

/// The profile in our ServerHello, if we answered at all.
fn chosen(dtls: &mut Dtls) -> Option<Option<u16>> {
    let mut buf = [0; 2048];
    let len = dtls.poll_transmit(&mut buf)?;
    let (_, message) = records(&buf[..len])[0];
    assert_eq!(message[0], 2, "a ServerHello comes first");
    let hello = &message[12..];
    // Version, random, session id, suite, compression, extensions.
    let mut rest = &hello[2 + 32 + 1 + usize::from(hello[34]) + 3 + 2..];
    while rest.len() >= 4 {
        let kind = u16::from_be_bytes([rest[0], rest[1]]);
        let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if kind == 0x000e {
            return Some(Some(u16::from_be_bytes([rest[6], rest[7]])));
        }
        rest = &rest[4 + len..];
    }
    Some(None)
}

#[test]
fn an_aead_profile_wins_whatever_the_order() {
    for profiles in [CHROMIUM, FIREFOX] {
        let mut dtls = server();
        for datagram in datagrams(profiles) {
            assert_eq!(chosen(&mut dtls), None, "the hello is not complete yet");
            dtls.handle_datagram(Time::ZERO, &datagram);
        }
        let profile = chosen(&mut dtls).unwrap().unwrap();
        assert!([0x0007, 0x0008].contains(&profile), "{profile:#06x}");
    }
}

#[test]
fn a_client_with_nothing_else_gets_sha1() {
    let mut dtls = server();
    for datagram in datagrams(&[0x0001]) {
        dtls.handle_datagram(Time::ZERO, &datagram);
    }
    assert_eq!(chosen(&mut dtls), Some(Some(0x0001)));
}

#[test]
fn the_short_tag_is_not_spoken() {
    let mut dtls = server();
    for datagram in datagrams(&[0x0002]) {
        dtls.handle_datagram(Time::ZERO, &datagram);
    }
    assert_eq!(chosen(&mut dtls), Some(None));
}

#[test]
fn fragments_in_any_order_and_twice() {
    let [first, second] = datagrams(CHROMIUM);
    for order in [
        vec![&second, &first],
        vec![&second, &second, &first],
        vec![&first, &first, &second],
    ] {
        let mut dtls = server();
        for datagram in order {
            dtls.handle_datagram(Time::ZERO, datagram);
        }
        assert_eq!(chosen(&mut dtls), Some(Some(0x0008)));
    }
}

#[test]
fn a_lost_fragment_is_made_up_for() {
    let [first, second] = datagrams(FIREFOX);
    let mut dtls = server();
    dtls.handle_datagram(Time::ZERO, &second);
    assert_eq!(chosen(&mut dtls), None);
    // The browser repeats the whole flight.
    dtls.handle_datagram(Time::from_millis(50), &first);
    dtls.handle_datagram(Time::from_millis(50), &second);
    assert!(chosen(&mut dtls).unwrap().is_some());
}
