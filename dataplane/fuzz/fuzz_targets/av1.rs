//! A payload that starts a sequence says so in its first bytes.
#![no_main]

use kall_dataplane::codec::av1::starts_sequence;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    if starts_sequence(payload) == Ok(true) {
        // Z is clear, N is set.
        assert_eq!(payload[0] & 0x88, 0x08);
    }
});
