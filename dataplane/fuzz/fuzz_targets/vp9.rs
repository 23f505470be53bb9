//! A descriptor lies inside its payload and keeps its shape when its ids are patched.
#![no_main]

use kall_dataplane::codec::PictureId;
use kall_dataplane::codec::vp9::Descriptor;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let Ok(descriptor) = Descriptor::parse(payload) else {
        return;
    };
    assert!(descriptor.header_len < payload.len());
    let _ = (
        descriptor.is_keyframe(),
        descriptor.frame_size(),
        descriptor.temporal_id(),
    );

    // The same ids change nothing; others change nothing but the ids.
    let mut patched = payload.to_vec();
    let id = descriptor.picture_id.map_or(0, PictureId::value);
    let tl0 = descriptor
        .layers
        .and_then(|layers| layers.tl0_picture_index)
        .unwrap_or(0);
    descriptor.patch_ids(&mut patched, id, tl0);
    assert_eq!(patched, payload);
    descriptor.patch_ids(&mut patched, !id & 0x7fff, !tl0);
    let again = Descriptor::parse(&patched).expect("same shape");
    assert_eq!(again.header_len, descriptor.header_len);
    assert_eq!(again.structure, descriptor.structure);
    assert_eq!(again.is_keyframe(), descriptor.is_keyframe());
});
