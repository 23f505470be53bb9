//! The parts of a packet are the packet, and a header written from what was read reads the same.
#![no_main]

use kall_dataplane::wire::rtp::{Packet, header_len, write_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let encrypted = header_len(data);
    let Ok(packet) = Packet::parse(data) else {
        return;
    };
    assert_eq!(Some(packet.header_len()), encrypted);
    assert_eq!(
        packet.header_len() + packet.payload().len() + packet.padding_len(),
        data.len()
    );
    let _ = (packet.csrcs().count(), packet.to_string());

    let elements: Vec<_> = packet.extensions().collect();
    let mut buf = vec![0xff; data.len() + 2 * elements.len() + 16];
    let len = write_header(&mut buf, &packet.fields(), &elements).expect("room for both forms");
    buf.truncate(len);
    let again = Packet::parse(&buf).expect("own output");
    assert_eq!(again.fields(), packet.fields());
    assert!(again.extensions().eq(elements));
});
