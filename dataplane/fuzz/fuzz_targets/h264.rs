//! Any payload is inspected or refused, what is refused starts nothing, and parameter sets that were
//! kept come back as they were.
#![no_main]

use kall_dataplane::codec::h264;
use kall_dataplane::codec::h264::parameter_sets::WRITTEN_MAX;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let facts = h264::inspect(payload);
    let starts = facts.is_ok_and(|facts| facts.is_keyframe_start());
    assert_eq!(h264::is_keyframe_start(payload), starts);
    // As a whole unit, and as what a packet carries.
    let _ = h264::sps::frame_size(payload);
    let mut sets = h264::ParameterSets::default();
    if let Some(sequence) = sets.on_payload(payload) {
        let _ = h264::sps::frame_size(sequence);
    }
    let mut first = [0; WRITTEN_MAX];
    if let Some(len) = sets.write(&mut first) {
        let mut again = h264::ParameterSets::default();
        again.on_payload(&first[..len]);
        let mut second = [0; WRITTEN_MAX];
        assert_eq!(again.write(&mut second), Some(len));
        assert_eq!(first, second);
    }
});
