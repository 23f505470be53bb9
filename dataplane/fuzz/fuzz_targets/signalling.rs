//! What a client writes on its WebSocket is a frame or refused, and a frame can be written again.
#![no_main]

use kall_shared::signalling::ClientFrame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(frame) = serde_json::from_str::<ClientFrame>(text) {
        let again = serde_json::to_string(&frame).expect("values of JSON");
        serde_json::from_str::<ClientFrame>(&again).expect("own output");
    }
});
