//! Nothing forged is opened or remembered, and what is sealed is opened to the same bytes. The first
//! byte of the input chooses the profile, the rest is the packet.
#![no_main]

use kall_dataplane::srtp::{EgressGuard, Inbound, MasterKey, Outbound, Profile, Refused};
use kall_dataplane::wire::demux::{Class, classify};
use kall_dataplane::wire::rtp::header_len;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, packet)) = input.split_first() else {
        return;
    };
    let profile = Profile::ALL[usize::from(choice) % Profile::ALL.len()];
    let (key, salt) = ([1; 32], [2; 14]);
    let key =
        MasterKey::new(profile, &key[..profile.key_len()], &salt[..profile.salt_len()]).expect("lengths");
    let mut inbound = Inbound::new(&key);

    // A tag of 80 bits or more is not guessed.
    assert!(inbound.unprotect_rtp(&mut packet.to_vec()).is_err());
    assert!(inbound.unprotect_rtcp(&mut packet.to_vec()).is_err());
    assert_eq!(inbound.streams(), 0);

    let mut outbound = Outbound::new(&key);
    let mut buf = packet.to_vec();
    buf.resize(
        packet.len() + outbound.rtp_overhead().max(outbound.rtcp_overhead()),
        0,
    );
    match (classify(packet), header_len(packet)) {
        (Class::Rtp, Some(header_len)) => {
            let mut guard = EgressGuard::new();
            let index = u64::from(u16::from_be_bytes([packet[2], packet[3]]));
            let len = outbound
                .seal_rtp(&mut guard, &mut buf, header_len, packet.len(), index)
                .expect("a fresh index");
            let sealed = buf[..len].to_vec();
            let opened = inbound.unprotect_rtp(&mut buf[..len]).expect("own output");
            assert_eq!((opened.index, opened.header_len), (index, header_len));
            assert_eq!(&buf[..opened.len], packet);
            assert_eq!(inbound.unprotect_rtp(&mut sealed.clone()), Err(Refused::Replay));
        }
        (Class::Rtcp, _) => {
            let len = outbound.seal_rtcp(&mut buf, packet.len()).expect("room");
            let opened = inbound.unprotect_rtcp(&mut buf[..len]).expect("own output");
            assert_eq!(&buf[..opened], packet);
        }
        _ => {}
    }
});
