//! A class promises the length its parser starts with, and follows from two bytes and that length.
#![no_main]

use kall_dataplane::wire::demux::{self, Class, classify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let min_len = match classify(datagram) {
        Class::Stun => demux::STUN_MIN_LEN,
        Class::Dtls => demux::DTLS_MIN_LEN,
        Class::Rtp => demux::RTP_MIN_LEN,
        Class::Rtcp => demux::RTCP_MIN_LEN,
        Class::Other => return,
    };
    assert!(datagram.len() >= min_len);
    let mut blank = vec![0; datagram.len()];
    blank[..2].copy_from_slice(&datagram[..2]);
    assert_eq!(classify(&blank), classify(datagram));
});
