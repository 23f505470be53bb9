//! A descriptor written with the ids that were read says what the received one said.
#![no_main]

use kall_dataplane::codec::PictureId;
use kall_dataplane::codec::vp8::{DESCRIPTOR_GROWTH_MAX, DESCRIPTOR_MAX_LEN, Descriptor, MappedIds};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let Ok(descriptor) = Descriptor::parse(payload) else {
        return;
    };
    let frame = &payload[descriptor.header_len..];
    let ids = MappedIds {
        picture_id: descriptor.picture_id.map_or(0, PictureId::value),
        tl0_picture_index: descriptor.tl0_picture_index.unwrap_or(0),
        key_index: descriptor.key_index.unwrap_or(0),
    };
    let mut written = vec![0xff; DESCRIPTOR_MAX_LEN];
    let len = descriptor.write(&mut written, &ids).expect("fits");
    assert!(len <= descriptor.header_len + DESCRIPTOR_GROWTH_MAX);
    written.truncate(len);
    written.extend_from_slice(frame);

    let again = Descriptor::parse(&written).expect("own output");
    assert_eq!(
        again.picture_id.map(PictureId::value),
        descriptor.picture_id.map(PictureId::value)
    );
    let mut expected = descriptor;
    expected.picture_id = again.picture_id;
    expected.header_len = len;
    assert_eq!(again, expected);
});
