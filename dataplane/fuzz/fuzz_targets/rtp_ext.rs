//! Elements of any profile lie inside the extension, and their values are read or refused. The first
//! two bytes of the input are the profile.
#![no_main]

use kall_dataplane::wire::rtp_ext::{
    AudioLevel, Elements, read_abs_send_time, read_text, read_transport_sequence, write,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((profile, data)) = input.split_first_chunk() else {
        return;
    };
    let elements: Vec<_> = Elements::new(u16::from_be_bytes(*profile), data).collect();
    for (_, value) in &elements {
        assert!(data.as_ptr_range().contains(&value.as_ptr()) || value.is_empty());
        if let Some(level) = AudioLevel::read(value) {
            assert_eq!(AudioLevel::read(&level.to_bytes()), Some(level));
        }
        assert!(read_abs_send_time(value).is_none_or(|time| time < 1 << 24));
        let _ = (read_transport_sequence(value), read_text(value));
    }
    let mut buf = vec![0; data.len() + 2 * elements.len() + 8];
    let len = write(&mut buf, &elements).expect("room for both forms");
    if let Some((header, rest)) = buf[..len].split_first_chunk::<4>() {
        let profile = u16::from_be_bytes([header[0], header[1]]);
        assert!(Elements::new(profile, rest).eq(elements));
    }
});
