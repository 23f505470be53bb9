//! A descriptor, alone or after the structure of an earlier one, reads the same when it is written again, and
//! says the same in another stream's numbers.
#![no_main]

use kall_dataplane::codec::dependency_descriptor::{Descriptor, LEN_MAX, Patch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [shift, target_count, first_len, descriptors @ ..] = input else {
        return;
    };
    let (template_shift, target_count) = (shift & 0x3f, *target_count);
    let active_targets = (shift & 0x40 != 0).then_some(0b011);
    let (first, second) = descriptors.split_at(usize::from(*first_len).min(descriptors.len()));
    let known = Descriptor::parse(first, None)
        .ok()
        .and_then(|first| first.attached);
    let known = known.as_ref();
    let patch = Patch {
        frame_number: 7,
        template_shift,
        active_targets,
        target_count,
    };
    let mut buf = [0; LEN_MAX];
    let patched = patch.apply(second, &mut buf).map(|len| buf[..len].to_vec());
    let Ok(read) = Descriptor::parse(second, known) else {
        return;
    };
    if let Some(len) = read.write(known, &mut buf) {
        assert_eq!(Descriptor::parse(&buf[..len], known).as_ref(), Ok(&read));
    }
    // Read by a structure of its own, it needs no other to be read again.
    if let (Some(patched), Some(own)) = (patched, &read.attached) {
        let again = Descriptor::parse(&patched, None).expect("well-formed");
        let structure = again.attached.as_ref().expect("attached");
        assert_eq!(again.mandatory.frame_number, 7);
        assert_eq!(structure.targets(), own.targets());
        assert_eq!(again.references, read.references);
        assert_eq!(again.indications, read.indications);
    }
});
