//! The test vectors of RFC 5769, and what a hostile peer may try.

use super::*;
use proptest::prelude::*;

const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
const TRANSACTION: TransactionId = TransactionId([
    0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
]);

/// RFC 5769 section 2.1.
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae\
    802200105354554e207465737420636c69656e74\
    002400046e0001ff80290008932ff9b151263b36\
    000600096576746a3a68367659202020\
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2\
    80280004e57a3bcf";

/// RFC 5769 section 2.2.
const RESPONSE_V4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220\
    002000080001a147e112a643\
    000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7\
    80280004c07d4c96";

/// RFC 5769 section 2.3.
const RESPONSE_V6: &str = "010100482112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220\
    002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9\
    00080014a382954e4be67bf11784c97c8292c275bfe3ed41\
    80280004c8fb0b4c";

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).expect("hex in the test")
}

/// Gives the message the length field and the fingerprint of what it has become.
fn seal(mut message: Vec<u8>) -> Vec<u8> {
    let len = u16::try_from(message.len() + 8 - HEADER_LEN).expect("short");
    message[2..4].copy_from_slice(&len.to_be_bytes());
    let fingerprint = crc32::checksum(&message) ^ FINGERPRINT_XOR;
    message.extend_from_slice(&[0x80, 0x28, 0, 4]);
    message.extend_from_slice(&fingerprint.to_be_bytes());
    message
}

fn request(password: &[u8]) -> Vec<u8> {
    let mut buf = [0; 256];
    let request = BindingRequest {
        transaction_id: TRANSACTION,
        username: b"server:client",
        password,
        priority: 0x6e7f_1eff,
        role: Role::Controlling(7),
        use_candidate: true,
        nomination: Some(3),
    };
    let len = write_binding_request(&mut buf, &request).expect("fits");
    buf[..len].to_vec()
}

#[test]
fn rfc_5769_request() {
    let data = bytes(REQUEST);
    assert_eq!(data.len(), 108);
    let message = Message::parse(&data).expect("the RFC's own vector");
    assert_eq!(message.class(), Class::Request);
    assert_eq!(message.transaction_id(), TRANSACTION);
    assert_eq!(message.username(), Some(&b"evtj:h6vY"[..]));
    assert_eq!(message.ufrags(), Some((&b"evtj"[..], &b"h6vY"[..])));
    assert_eq!(message.priority(), Some(0x6e00_01ff));
    assert_eq!(message.ice_controlled(), Some(0x932f_f9b1_5126_3b36));
    assert_eq!(message.ice_controlling(), None);
    assert!(!message.use_candidate());
    assert!(message.has_fingerprint());
    assert!(message.unknown_attributes().is_empty());
    assert!(message.verify_integrity(PASSWORD));
    assert!(!message.verify_integrity(b"VOkJxbRl1RmTxUk/WvJxBu"));
    assert!(!message.verify_integrity(b""));
}

#[test]
fn rfc_5769_responses() {
    for (text, address) in [
        (RESPONSE_V4, "192.0.2.1:32853"),
        (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        let data = bytes(text);
        let message = Message::parse(&data).expect("the RFC's own vector");
        assert_eq!(message.class(), Class::Success);
        assert_eq!(message.mapped_address(), Some(address.parse().expect("address")));
        assert!(message.has_fingerprint());
        assert!(message.verify_integrity(PASSWORD));
    }
}

#[test]
fn a_captured_nominating_check() {
    let data = include_bytes!("../../../fuzz/seeds/stun/chromium-0001-nominating");
    let message = Message::parse(data).expect("captured");
    assert_eq!(message.class(), Class::Request);
    assert!(message.use_candidate() && message.has_integrity() && message.has_fingerprint());
    assert!(message.ufrags().is_some() && message.ice_controlling().is_some());
    assert!(message.unknown_attributes().is_empty());
    assert!(!message.verify_integrity(PASSWORD), "it is another's password");
}

#[test]
fn own_request_is_read_back() {
    let data = request(PASSWORD);
    let message = Message::parse(&data).expect("own output");
    assert_eq!(message.ufrags(), Some((&b"server"[..], &b"client"[..])));
    assert_eq!(message.priority(), Some(0x6e7f_1eff));
    assert_eq!(message.ice_controlling(), Some(7));
    assert_eq!(message.nomination(), Some(3));
    assert!(message.use_candidate());
    assert!(message.verify_integrity(PASSWORD));
}

#[test]
fn own_success_is_read_back_for_both_families() {
    for (from, seen) in [
        ("198.51.100.7:50000", "198.51.100.7:50000"),
        ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        // What a dual-stack socket reports is told to the peer as it knows itself.
        ("[::ffff:198.51.100.7]:50000", "198.51.100.7:50000"),
    ] {
        let mut buf = [0; 128];
        let from = from.parse().expect("address");
        let len = write_binding_success(&mut buf, TRANSACTION, from, PASSWORD).expect("fits");
        let message = Message::parse(&buf[..len]).expect("own output");
        assert_eq!(message.class(), Class::Success);
        assert_eq!(message.transaction_id(), TRANSACTION);
        assert_eq!(message.mapped_address(), Some(seen.parse().expect("address")));
        assert!(message.verify_integrity(PASSWORD));
        for short in 0..len {
            assert_eq!(
                write_binding_success(&mut buf[..short], TRANSACTION, from, PASSWORD),
                None
            );
        }
    }
}

#[test]
fn own_errors_are_read_back() {
    let mut buf = [0; 128];
    let len =
        write_binding_error(&mut buf, TRANSACTION, 420, Some(PASSWORD), &[0x0077, 0x7fff, 1]).expect("fits");
    let message = Message::parse(&buf[..len]).expect("own output");
    assert_eq!((message.class(), message.error_code()), (Class::Error, Some(420)));
    assert!(message.verify_integrity(PASSWORD));
    let listed = [0, 0x0a, 0, 6, 0x00, 0x77, 0x7f, 0xff, 0, 1, 0, 0];
    assert!(buf[..len].windows(listed.len()).any(|window| window == listed));

    let len = write_binding_error(&mut buf, TRANSACTION, 401, None, &[]).expect("fits");
    let message = Message::parse(&buf[..len]).expect("own output");
    assert_eq!(message.error_code(), Some(401));
    assert!(!message.has_integrity() && !message.verify_integrity(PASSWORD));

    assert_eq!(write_binding_error(&mut buf, TRANSACTION, 299, None, &[]), None);
    assert_eq!(write_binding_error(&mut buf, TRANSACTION, 700, None, &[]), None);
}

#[test]
fn an_indication_is_a_keepalive_without_credentials() {
    let mut buf = [0; 64];
    let len = write_binding_indication(&mut buf, TRANSACTION).expect("fits");
    let message = Message::parse(&buf[..len]).expect("own output");
    assert_eq!(message.class(), Class::Indication);
    assert!(message.has_fingerprint() && !message.has_integrity());
}

#[test]
fn any_changed_byte_is_noticed() {
    let data = request(PASSWORD);
    // All but the type and length of FINGERPRINT itself: without those there is none to check.
    let fingerprint_at = data.len() - 8;
    for at in (0..fingerprint_at).chain(fingerprint_at + 4..data.len()) {
        let mut changed = data.clone();
        changed[at] ^= 1;
        assert!(
            Message::parse(&changed).is_err(),
            "byte {at} is covered by the fingerprint"
        );
    }
}

#[test]
fn a_resealed_forgery_fails_the_integrity_check() {
    let data = request(PASSWORD);
    let unsealed = &data[..data.len() - 8];
    for at in HEADER_LEN + 4..unsealed.len() {
        let mut changed = unsealed.to_vec();
        changed[at] ^= 1;
        if let Ok(message) = Message::parse(&seal(changed)) {
            assert!(!message.verify_integrity(PASSWORD), "byte {at}");
        }
    }
}

#[test]
fn what_follows_the_integrity_is_ignored_and_the_fingerprint_is_last() {
    let data = request(PASSWORD);
    let mut appended = data[..data.len() - 8].to_vec();
    appended.extend_from_slice(&[0, 0x77, 0, 0]);
    appended.extend_from_slice(&[0xc0, 0x01, 0, 4, 0, 0, 0, 99]);
    let sealed = seal(appended);
    let message = Message::parse(&sealed).expect("well-formed");
    assert!(message.verify_integrity(PASSWORD));
    assert_eq!(message.nomination(), Some(3));
    assert!(message.unknown_attributes().is_empty());

    let mut after = data.clone();
    after.extend_from_slice(&[0xc0, 0x57, 0, 0]);
    let len = u16::try_from(after.len() - HEADER_LEN).expect("short");
    after[2..4].copy_from_slice(&len.to_be_bytes());
    assert!(Message::parse(&after).is_err());
}

#[test]
fn unknown_attributes_are_listed_up_to_a_bound_when_they_must_be_understood() {
    let mut data = bytes(REQUEST)[..HEADER_LEN].to_vec();
    for kind in 0x7700u16..0x7710 {
        data.extend_from_slice(&kind.to_be_bytes());
        data.extend_from_slice(&[0, 1, 0xff, 0, 0, 0]);
    }
    data.extend_from_slice(&[0xc0, 0x57, 0, 4, 0, 0, 0, 10]);
    let sealed = seal(data);
    let message = Message::parse(&sealed).expect("well-formed");
    let expected: Vec<u16> = (0x7700..0x7708).collect();
    assert_eq!(message.unknown_attributes().as_slice(), expected);
}

#[test]
fn the_first_of_two_equal_attributes_counts() {
    let mut data = bytes(REQUEST)[..HEADER_LEN].to_vec();
    for priority in [1, 2] {
        data.extend_from_slice(&[0, 0x24, 0, 4, 0, 0, 0, priority]);
    }
    let sealed = seal(data);
    assert_eq!(Message::parse(&sealed).expect("well-formed").priority(), Some(1));
}

#[test]
fn broken_headers_and_lengths_are_refused() {
    let good = bytes(REQUEST);
    for len in 0..good.len() {
        assert!(Message::parse(&good[..len]).is_err(), "{len} bytes");
    }
    let with = |at: usize, byte: u8| {
        let mut data = good.clone();
        data[at] = byte;
        data
    };
    assert_eq!(Message::parse(&with(0, 0x40)), Err(Malformed::Version));
    assert_eq!(Message::parse(&with(4, 0)), Err(Malformed::Version));
    assert_eq!(Message::parse(&with(3, 0x57)), Err(Malformed::Length));
    assert_eq!(Message::parse(&with(3, 0x5c)), Err(Malformed::Length));
    // Allocate, a TURN method.
    assert_eq!(Message::parse(&with(1, 0x03)), Err(Malformed::Value));
    // An attribute that runs over the end.
    assert_eq!(
        Message::parse(&with(HEADER_LEN + 2, 0x10)),
        Err(Malformed::Truncated)
    );
    assert_eq!(
        Message::parse(&with(good.len() - 1, 0)),
        Err(Malformed::Fingerprint)
    );
}

#[test]
fn attributes_of_fixed_size_must_have_it() {
    for attribute in [
        &[0x00, 0x24, 0, 2, 1, 2, 0, 0][..],
        &[0x80, 0x29, 0, 4, 1, 2, 3, 4],
        &[0x00, 0x08, 0, 4, 1, 2, 3, 4],
        &[0x00, 0x20, 0, 4, 0, 1, 0, 0],
        &[0x00, 0x09, 0, 0],
    ] {
        let mut data = bytes(REQUEST)[..HEADER_LEN].to_vec();
        data.extend_from_slice(attribute);
        assert_eq!(
            Message::parse(&seal(data)),
            Err(Malformed::Length),
            "{attribute:?}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_attributes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..256)) {
        let mut data = bytes(REQUEST)[..HEADER_LEN].to_vec();
        data.extend_from_slice(&body);
        let mut sealed = seal(data);
        for message in [sealed.clone(), { sealed.truncate(sealed.len() - 8); sealed }] {
            if let Ok(message) = Message::parse(&message) {
                let _ = message.verify_integrity(PASSWORD);
                let _ = message.ufrags();
            }
        }
    }

    #[test]
    fn addresses_survive(ip: std::net::Ipv6Addr, port: u16, id: [u8; 12]) {
        let mut buf = [0; 128];
        let address = SocketAddr::new(ip.into(), port);
        let len = write_binding_success(&mut buf, TransactionId(id), address, PASSWORD).expect("fits");
        let seen = Message::parse(&buf[..len]).expect("own output").mapped_address();
        prop_assert_eq!(seen, Some(SocketAddr::new(address.ip().to_canonical(), port)));
    }
}
