//! Authenticated peers that send anything at all, while slots, mutes, offers and sessions change.
//!
//! Nothing panics, no number is sealed twice (peers open everything they get, and a repeat would be
//! a replay to them), timers come to rest, and what is gone is not referred to any more.

use super::*;
use crate::wire::rtcp;

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

    fn bytes(&mut self, longest: u64) -> Vec<u8> {
        (0..self.below(longest + 1)).map(|_| self.next() as u8).collect()
    }
}

/// A packet on one of few streams, near where the stream is, with a payload that is well-formed,
/// cut, or noise.
fn media(random: &mut Random, peer: &mut Peer, at: &mut HashMap<u32, u64>) -> Option<Vec<u8>> {
    let ssrc = 1 + random.below(6) as u32;
    let newest = at.entry(ssrc).or_insert(u64::from(ssrc) * 5_000);
    let seq = match random.below(40) {
        0 => *newest + random.below(20_000),
        1..=6 => newest.saturating_sub(random.below(60)),
        _ => *newest + 1 + random.below(3),
    };
    *newest = seq.max(*newest);
    // Mostly what fits the stream, or little would ever be forwarded.
    let usual = [(OPUS, b'0'), (VP8, b'1'), (VP8_RTX, b'1'), (H264, b'1')];
    let (pt, mid) = match usual.get(ssrc as usize - 1) {
        Some(&fits) if random.below(8) != 0 => fits,
        _ => {
            let any = [OPUS, VP8, VP8_RTX, H264, 50];
            (any[random.below(5) as usize], b'0' + random.below(3) as u8)
        }
    };
    let mut payload = match random.below(5) {
        0 => random.bytes(30),
        1 => vec![24, 0, 2, 0x67, 1, 0, 2, 0x65, 1],
        key => vp8_payload(key == 2, random.below(40_000) as u16),
    };
    if pt == VP8_RTX {
        let original = (*newest as u16).wrapping_sub(random.below(100) as u16);
        payload.splice(0..0, original.to_be_bytes());
    }
    let (mid, number) = ([mid], (seq as u16).to_be_bytes());
    let extensions: [(u8, &[u8]); 3] = [(MID_ID, &mid), (TWCC_ID, &number), (LEVEL_ID, &number[..1])];
    let fields = HeaderFields {
        marker: random.below(2) == 0,
        payload_type: pt,
        sequence: seq as u16,
        timestamp: (seq as u32).wrapping_mul(3000),
        ssrc,
    };
    let mut buf = vec![0; 1500];
    let header = write_header(&mut buf, &fields, &extensions[random.below(2) as usize..])?;
    let plain = header + payload.len();
    buf[header..plain].copy_from_slice(&payload);
    let guard = peer.guards.entry(ssrc).or_default();
    let sealed = peer.outbound.seal_rtp(guard, &mut buf, header, plain, seq).ok()?;
    buf.truncate(sealed);
    Some(buf)
}

/// Feedback about the peer's slots, right or made up.
fn feedback(random: &mut Random, peer: &Peer, buf: &mut [u8]) -> usize {
    let slots = peer.description.slots.iter();
    let known: Vec<u32> = slots
        .flat_map(|slot| [slot.ssrc, slot.rtx_ssrc.unwrap_or(7)])
        .chain([3])
        .collect();
    let ssrc = known[random.below(known.len() as u64) as usize];
    let written = match random.below(5) {
        0 => rtcp::pli::write(buf, 1, ssrc),
        1 => {
            let lost: Vec<u16> = (0..1 + random.below(60)).map(|_| random.next() as u16).collect();
            rtcp::nack::write(buf, 1, ssrc, &lost)
        }
        2 => {
            let info = rtcp::sr::SenderInfo {
                ssrc: 1 + random.below(6) as u32,
                ntp: crate::time::Ntp(random.next()),
                rtp_timestamp: random.next() as u32,
                packet_count: 0,
                octet_count: 0,
            };
            rtcp::sr::write(buf, &info, &[])
        }
        3 => {
            let block = rtcp::ReportBlock {
                ssrc,
                last_sr: random.next() as u32,
                delay_since_last_sr: random.next() as u32,
                ..rtcp::ReportBlock::default()
            };
            rtcp::rr::write(buf, 1, &[block])
        }
        _ => None,
    };
    written.unwrap_or_else(|| {
        let noise = random.bytes(80);
        buf[..8].copy_from_slice(&[0x80, 200, 0, 1, 0, 0, 0, 1]);
        buf[8..8 + noise.len()].copy_from_slice(&noise);
        8 + noise.len()
    })
}

fn lines(random: &mut Random, name: usize) -> Vec<MediaLine> {
    let mut lines = person(&format!("p{name}"));
    for line in &mut lines {
        if random.below(5) == 0 {
            line.publish = None;
            line.slot = false;
        }
    }
    lines
}

fn act(world: &mut World, random: &mut Random, peers: &mut [Peer], at: &mut [HashMap<u32, u64>]) {
    let who = random.below(peers.len() as u64) as usize;
    let other = random.below(peers.len() as u64) as usize;
    let kind = ["mic", "cam"][random.below(2) as usize];
    let track = |of: usize| TrackId::new(format!("p{of}_{kind}")).expect("valid");
    let session = peers[who].id;
    // Any of these may be refused; what matters is what it leaves behind.
    let _ = match random.below(100) {
        0..=1 => {
            world.taken(&mut peers[who]);
            let _ = world.ask(Request::CloseSession { session });
            peers[who] = world.join("rm_1", 1000 + who as u16, lines(random, who));
            at[who].clear();
            return;
        }
        2..=3 => world.ask(Request::UpdateSession {
            session,
            label: None,
            params: params(lines(random, who)),
        }),
        // Now and then to another room and back.
        4 => world.ask(Request::MoveSession {
            session,
            room: RoomId::new(["rm_1", "rm_1_part"][random.below(2) as usize]).expect("valid"),
        }),
        5..=7 => world.ask(Request::SetMuted {
            session,
            track: track(who),
            muted: random.below(2) == 0,
        }),
        8..=13 => world.ask(Request::SetSlot {
            session,
            mid: Mid::new((2 + random.below(4)).to_string()).expect("valid"),
            track: (random.below(4) != 0).then(|| track(other)),
            wish: SlotWish::default(),
        }),
        14..=24 => {
            let mut buf = [0; 1500];
            let len = feedback(random, &peers[who], &mut buf);
            let sealed = peers[who].outbound.seal_rtcp(&mut buf, len).expect("sealed");
            return world.receive(peers[who].address, &mut buf[..sealed]);
        }
        25..=34 => {
            world.pass(random.below(80));
            world.check(&peers[who]);
            for peer in peers {
                world.taken(peer);
            }
            return;
        }
        _ => {
            if let Some(mut sealed) = media(random, &mut peers[who], &mut at[who]) {
                world.receive(peers[who].address, &mut sealed);
            }
            return;
        }
    };
}

#[test]
fn whatever_authenticated_peers_do_the_shard_stays_whole() {
    for seed in 0..12 {
        let mut random = Random(seed);
        let mut world = World::new();
        let mut peers: Vec<Peer> = (0..4)
            .map(|index| world.join("rm_1", 1000 + index, person(&format!("p{index}"))))
            .collect();
        let mut at = vec![HashMap::new(); peers.len()];
        for _ in 0..1500 {
            act(&mut world, &mut random, &mut peers, &mut at);
        }
        for peer in &mut peers {
            world.taken(peer);
        }
        assert_eq!(world.counter("bug_egress_guard"), 0, "seed {seed}");
        assert!(world.counter("rtp_out") > 20, "seed {seed}");
        let shard = &world.shard;
        assert_eq!(shard.sessions.len(), peers.len());
        for (key, publication) in shard.publications.iter() {
            let owner = shard
                .sessions
                .get(publication.own_session().expect("of this core"))
                .expect("alive");
            assert!(
                owner
                    .published
                    .iter()
                    .any(|published| published.publication == key)
            );
            for subscriber in &publication.subscribers {
                let session = shard.sessions.get(subscriber.session).expect("alive");
                let slot = &session.slots[usize::from(subscriber.slot)];
                assert_eq!(slot.occupant(), Some(key), "seed {seed}");
            }
        }
        for (_, session) in shard.sessions.iter() {
            for occupant in session.slots.iter().filter_map(Slot::occupant) {
                assert!(shard.publications.get(occupant).is_some(), "seed {seed}");
            }
        }
        for peer in &peers {
            let _ = world.ask(Request::CloseSession { session: peer.id });
        }
        let shard = &world.shard;
        let left = (shard.rooms.len(), shard.publications.len(), shard.flows.len());
        assert_eq!(left, (0, 0, 0), "seed {seed}");
    }
}
