//! What a client writes on its WebSocket is a frame or refused, and a frame can be written again.
#![no_main]

use kall_shared::signalling::ClientFrame;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    // As the server reads it: a value first, for the id that a refusal carries.
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return;
    };
    if let Ok(frame) = serde_json::from_value::<ClientFrame>(value) {
        let again = serde_json::to_string(&frame).expect("values of JSON");
        serde_json::from_str::<ClientFrame>(&again).expect("own output");
    }
});
