//! Redundant audio is taken apart or refused, and rewritten it is as long and as deep as before.
#![no_main]

use kall_dataplane::codec::red::{BLOCKS_MAX, Red};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let Ok(red) = Red::parse(payload) else { return };
    assert!(red.repeated < BLOCKS_MAX && red.newest.len() < payload.len());
    let mut buf = [0; 4096];
    let Some(len) = red.write(&mut buf, 111) else {
        assert!(payload.len() > buf.len());
        return;
    };
    let again = Red::parse(&buf[..len]).expect("still well-formed");
    assert_eq!((again.repeated, again.newest), (red.repeated, red.newest));
    assert_eq!(buf[0] & 0x7f, 111);
});
