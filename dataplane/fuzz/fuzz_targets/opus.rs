//! A packet lasts between 2.5 and 120 ms or is refused.
#![no_main]

use kall_dataplane::codec::opus::Packet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    if let Ok(packet) = Packet::parse(payload) {
        assert!((120..=5760).contains(&packet.ticks));
        assert!(packet.duration().as_micros() >= 2_500);
        assert!(packet.frames > 0);
    }
});
