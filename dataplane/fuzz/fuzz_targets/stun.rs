//! Any message is parsed or refused, with and without a fingerprint that fits: random bytes never
//! carry the right checksum by themselves.
#![no_main]

use kall_dataplane::wire::stun::{Message, write_binding_error, write_binding_success};
use libfuzzer_sys::fuzz_target;

const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

fn check(data: &[u8]) {
    let Ok(message) = Message::parse(data) else {
        return;
    };
    let _ = (message.class(), message.username(), message.ufrags());
    let _ = (message.priority(), message.nomination(), message.error_code());
    let _ = (message.ice_controlled(), message.ice_controlling());
    let verified = message.verify_integrity(PASSWORD);
    assert!(!verified || message.has_integrity());

    let mut buf = [0; 256];
    if let Some(mapped) = message.mapped_address() {
        let len = write_binding_success(&mut buf, message.transaction_id(), mapped, PASSWORD);
        let answer = Message::parse(&buf[..len.expect("fits")]).expect("own output");
        assert!(answer.verify_integrity(PASSWORD));
        let seen = answer.mapped_address().map(|seen| (seen.ip(), seen.port()));
        assert_eq!(seen, Some((mapped.ip().to_canonical(), mapped.port())));
    }
    let unknown = message.unknown_attributes().as_slice();
    let len = write_binding_error(&mut buf, message.transaction_id(), 420, None, unknown);
    let answer = Message::parse(&buf[..len.expect("fits")]).expect("own output");
    assert_eq!(answer.error_code(), Some(420));
}

fuzz_target!(|data: &[u8]| {
    check(data);
    // The same attributes without the trailing fingerprint, under the length that then holds.
    if let Some(at) = data.len().checked_sub(8).filter(|at| *at >= 20) {
        let mut cut = data[..at].to_vec();
        let len = u16::try_from(at - 20).unwrap_or(u16::MAX);
        cut[2..4].copy_from_slice(&len.to_be_bytes());
        check(&cut);
    }
});
