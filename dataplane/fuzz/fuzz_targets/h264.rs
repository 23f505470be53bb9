//! Any payload is inspected or refused, and what is refused starts nothing.
#![no_main]

use kall_dataplane::codec::h264;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let facts = h264::inspect(payload);
    let starts = facts.is_ok_and(|facts| facts.is_keyframe_start());
    assert_eq!(h264::is_keyframe_start(payload), starts);
});
