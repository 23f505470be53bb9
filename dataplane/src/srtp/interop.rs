//! Against an independent implementation: it opens what we seal, and we open what it seals, while
//! packets are lost and reordered and the sequence number wraps.

use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

use super::{EgressGuard, Inbound, MasterKey, Outbound, Profile, Refused};

/// Where each stream starts: the rollover counter turns within the first packets.
const FIRST_INDEX: u64 = 65_000;

/// Packets of a stream.
const PACKETS: usize = 4000;

/// After so many packets the index jumps, as it does when a stream pauses in a long outage.
const BLOCK: usize = 500;

/// How far it jumps: the sequence number wraps about every third time.
const JUMP: u64 = 20_000;

/// How far a packet is delayed, in packets: within the replay window, and never over a jump.
const REORDER: u64 = 60;

const SEEDS: [u64; 3] = [1, 0x5eed, 0xfeed_face];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// The same keys for both implementations.
fn keys(profile: Profile, random: &mut Random) -> (MasterKey, Context) {
    let theirs = match profile {
        Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Profile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        Profile::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    let key = random.bytes(profile.key_len());
    let salt = random.bytes(profile.salt_len());
    (
        MasterKey::new(profile, &key, &salt).unwrap(),
        Context::new(&key, &salt, theirs, None, None).unwrap(),
    )
}

/// A plain RTP packet, some with CSRCs and some with an extension, and its header's length.
fn rtp(index: u64, ssrc: u32, random: &mut Random) -> (Vec<u8>, usize) {
    let csrcs = random.below(3) as u8;
    let extension = random.below(2) == 1;
    let mut packet = vec![0x80 | (u8::from(extension) << 4) | csrcs, 96];
    packet.extend_from_slice(&(index as u16).to_be_bytes());
    packet.extend_from_slice(&random.bytes(4));
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&random.bytes(4 * usize::from(csrcs)));
    if extension {
        packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x12, 7, 8, 9]);
    }
    let header_len = packet.len();
    let payload_len = random.below(1200) as usize;
    packet.extend_from_slice(&random.bytes(payload_len));
    (packet, header_len)
}

fn indices(random: &mut Random) -> Vec<u64> {
    let mut index = FIRST_INDEX;
    (1..=PACKETS)
        .map(|count| {
            let this = index;
            index += 1 + random.below(3);
            if count % BLOCK == 0 {
                index += JUMP;
            }
            this
        })
        .collect()
}

/// Loses some of what was sent and delays some of the rest. The first packet stays first: it is
/// what a receiver without signalled rollover counter starts from.
fn disturb<T>(sent: Vec<T>, random: &mut Random) -> Vec<T> {
    let mut arriving: Vec<(u64, T)> = sent
        .into_iter()
        .enumerate()
        .filter(|(at, _)| *at == 0 || random.below(100) >= 7)
        .map(|(at, packet)| (at as u64, packet))
        .collect();
    for (at, _) in arriving.iter_mut().skip(1) {
        if random.below(5) == 0 {
            let block_end = (*at / BLOCK as u64 + 1) * BLOCK as u64 - 1;
            *at = (*at + random.below(REORDER)).min(block_end);
        }
    }
    arriving.sort_by_key(|(at, _)| *at);
    arriving.into_iter().map(|(_, packet)| packet).collect()
}

#[test]
fn they_open_our_rtp() {
    for profile in Profile::ALL {
        for seed in SEEDS {
            let mut random = Random(seed);
            let (ours, mut theirs) = keys(profile, &mut random);
            let outbound = Outbound::new(&ours);
            let mut guard = EgressGuard::new();
            let sent = indices(&mut random)
                .into_iter()
                .map(|index| {
                    let (plain, header_len) = rtp(index, 77, &mut random);
                    let mut buf = plain.clone();
                    buf.resize(plain.len() + profile.rtp_overhead(), 0);
                    let len = outbound
                        .seal_rtp(&mut guard, &mut buf, header_len, plain.len(), index)
                        .unwrap();
                    assert_eq!(len, buf.len());
                    (plain, buf)
                })
                .collect();
            for (plain, sealed) in disturb(sent, &mut random) {
                assert_eq!(theirs.decrypt_rtp(&sealed).unwrap(), plain, "{profile} {seed}");
            }
        }
    }
}

#[test]
fn we_open_their_rtp() {
    for profile in Profile::ALL {
        for seed in SEEDS {
            let mut random = Random(seed);
            let (ours, mut theirs) = keys(profile, &mut random);
            let mut inbound = Inbound::new(&ours);
            let sent = indices(&mut random)
                .into_iter()
                .map(|index| {
                    let (plain, header_len) = rtp(index, 78, &mut random);
                    let sealed = theirs.encrypt_rtp(&plain).unwrap();
                    (index, header_len, plain, sealed)
                })
                .collect();
            for (index, header_len, plain, sealed) in disturb(sent, &mut random) {
                // A forgery first, to show that it changes nothing.
                let mut forged = sealed.to_vec();
                let at = random.below(forged.len() as u64) as usize;
                forged[at] ^= 1 << random.below(8);
                assert!(inbound.unprotect_rtp(&mut forged).is_err(), "{profile} {seed}");

                let mut packet = sealed.to_vec();
                let opened = inbound.unprotect_rtp(&mut packet).unwrap();
                assert_eq!(&packet[..opened.len], plain, "{profile} {seed}");
                assert_eq!((opened.index, opened.header_len), (index, header_len));

                let again = inbound.unprotect_rtp(&mut sealed.to_vec());
                assert_eq!(again, Err(Refused::Replay), "{profile} {seed}");
            }
            assert_eq!(inbound.streams(), 1);
        }
    }
}

/// A receiver report with nothing but a random rest.
fn rtcp(ssrc: u32, random: &mut Random) -> Vec<u8> {
    let words = random.below(100) as usize;
    let mut packet = vec![0x80, 201];
    packet.extend_from_slice(&(words as u16 + 1).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&random.bytes(4 * words));
    packet
}

#[test]
fn they_open_our_rtcp() {
    for profile in Profile::ALL {
        let mut random = Random(3);
        let (ours, mut theirs) = keys(profile, &mut random);
        let mut outbound = Outbound::new(&ours);
        for turn in 0..500 {
            let plain = rtcp(turn % 4, &mut random);
            let mut buf = plain.clone();
            buf.resize(plain.len() + profile.rtcp_overhead(), 0);
            let len = outbound.seal_rtcp(&mut buf, plain.len()).unwrap();
            assert_eq!(theirs.decrypt_rtcp(&buf[..len]).unwrap(), plain, "{profile}");
        }
    }
}

#[test]
fn we_open_their_rtcp() {
    for profile in Profile::ALL {
        let mut random = Random(4);
        let (ours, mut theirs) = keys(profile, &mut random);
        let mut inbound = Inbound::new(&ours);
        for turn in 0..500 {
            let plain = rtcp(turn % 4, &mut random);
            let sealed = theirs.encrypt_rtcp(&plain).unwrap();

            let mut forged = sealed.to_vec();
            let at = random.below(forged.len() as u64) as usize;
            forged[at] ^= 1 << random.below(8);
            assert!(inbound.unprotect_rtcp(&mut forged).is_err(), "{profile}");

            let mut packet = sealed.to_vec();
            let len = inbound.unprotect_rtcp(&mut packet).unwrap();
            assert_eq!(&packet[..len], plain, "{profile}");

            let again = inbound.unprotect_rtcp(&mut sealed.to_vec());
            assert_eq!(again, Err(Refused::Replay), "{profile}");
        }
    }
}
