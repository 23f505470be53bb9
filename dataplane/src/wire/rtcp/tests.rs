//! Literal compounds, and that what is written is read.

use super::*;
use crate::time::Ntp;
use proptest::prelude::*;

/// As Chromium sends it: a receiver report with one block, then NACK, PLI and REMB.
const COMPOUND: &str = "81c90007 00000001 deadbeef 05fffffe 00011234 00000064 12345678 00010000\
    81cd0003 00000001 deadbeef 123480 01\
    81ce0002 00000001 deadbeef\
    8fce0005 00000001 00000000 52454d42 010bd090 deadbeef";

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).expect("hex in the test")
}

fn one(data: &[u8]) -> Rtcp<'_> {
    let mut all = packets(data);
    let first = all.next().expect("a packet").expect("well-formed");
    assert!(all.next().is_none());
    first
}

fn malformed(text: &str) -> Option<Malformed> {
    packets(&bytes(text)).find_map(Result::err)
}

#[test]
fn a_compound_is_read_in_order() {
    let data = bytes(COMPOUND);
    let all: Vec<_> = packets(&data)
        .map(|packet| packet.expect("well-formed"))
        .collect();
    let [
        Rtcp::ReceiverReport(report),
        Rtcp::Nack(nack),
        Rtcp::Pli(pli),
        Rtcp::Remb(remb),
    ] = all[..]
    else {
        panic!("{all:?}");
    };
    assert_eq!(report.ssrc(), 1);
    let block = report.reports().next().expect("one block");
    assert_eq!(
        block,
        ReportBlock {
            ssrc: 0xdead_beef,
            fraction_lost: 5,
            cumulative_lost: -2,
            highest_sequence: 0x0001_1234,
            jitter: 100,
            last_sr: 0x1234_5678,
            delay_since_last_sr: 0x0001_0000,
        }
    );
    assert_eq!((nack.sender_ssrc(), nack.media_ssrc()), (1, 0xdead_beef));
    assert_eq!(nack.lost().collect::<Vec<_>>(), [0x1234, 0x1235, 0x1244]);
    assert_eq!(
        pli,
        Pli {
            sender_ssrc: 1,
            media_ssrc: 0xdead_beef
        }
    );
    assert_eq!(remb.sender_ssrc(), 1);
    assert_eq!(remb.bitrate(), 0x3d090 << 2);
    assert_eq!(remb.ssrcs().collect::<Vec<_>>(), [0xdead_beef]);
}

#[test]
fn a_captured_compound() {
    let data = include_bytes!("../../../fuzz/seeds/rtcp/chromium-200.0-202.1-206.15");
    let all: Vec<_> = packets(data).map(|packet| packet.expect("well-formed")).collect();
    let [
        Rtcp::SenderReport(report),
        Rtcp::Sdes(description),
        Rtcp::Remb(estimate),
    ] = all[..]
    else {
        panic!("{all:?}");
    };
    let ssrc = report.info().ssrc;
    assert_eq!(description.cname(ssrc).map(<[u8]>::len), Some(16));
    assert_eq!(estimate.sender_ssrc(), ssrc);
    assert!(estimate.bitrate() > 100_000);
}

#[test]
fn unknown_types_are_passed_over() {
    // An extended report, a feedback message of format 11, an application layer message.
    let data = bytes(
        "80cf0001 00000001 8bcd0002 00000001 00000002 8fce0003 00000001 00000002 4142434481ce0002 00000001 deadbeef",
    );
    let all: Vec<_> = packets(&data)
        .map(|packet| packet.expect("well-formed"))
        .collect();
    assert_eq!(
        all[..3],
        [(207, 0), (205, 11), (206, 15)].map(|(packet_type, format)| Rtcp::Unknown { packet_type, format })
    );
    assert!(matches!(all[3], Rtcp::Pli(_)));
}

#[test]
fn a_bad_packet_does_not_hide_the_next() {
    // A receiver report that promises a block it has no room for.
    let data = bytes("81c90001 00000001 81ce0002 00000001 deadbeef");
    let all: Vec<_> = packets(&data).collect();
    assert_eq!(all[0], Err(Malformed::Truncated));
    assert!(matches!(all[1], Ok(Rtcp::Pli(_))));
    assert_eq!(all.len(), 2);
}

#[test]
fn a_length_that_can_not_be_true_ends_the_compound() {
    let data = bytes("80c90005 00000001 81ce0002 00000001 deadbeef");
    let all: Vec<_> = packets(&data[..12]).collect();
    assert_eq!(all, [Err(Malformed::Truncated)]);
    assert_eq!(malformed("40c90001 00000001"), Some(Malformed::Version));
    assert_eq!(malformed("80c9"), Some(Malformed::Truncated));
    assert_eq!(packets(&[]).count(), 0);
}

#[test]
fn padding_is_taken_off_and_checked() {
    let data = bytes("a1ce0003 00000001 deadbeef 00000004");
    assert!(matches!(one(&data), Rtcp::Pli(_)));
    assert_eq!(
        malformed("a1ce0003 00000001 deadbeef 00000000"),
        Some(Malformed::Padding)
    );
    assert_eq!(
        malformed("a1ce0003 00000001 deadbeef 0000000d"),
        Some(Malformed::Padding)
    );
    assert_eq!(malformed("a0cb0000"), Some(Malformed::Padding));
}

#[test]
fn cut_bodies_are_refused() {
    for text in [
        "81c90000",
        "80c80005 00000001 00000000 00000000 00000000 00000000",
        "81cb0000",
        "81cb0002 00000001 05616263",
        "81cd0002 00000001 00000002",
        "81ce0001 00000001",
        "84ce0002 00000001 00000002",
        "84ce0003 00000001 00000002 00000003",
        "8fce0003 00000001 00000000 52454d42",
        "8fce0004 00000001 00000000 52454d42 01000000",
        "81ca0001 00000001",
        "81ca0002 00000001 0105aabb",
        "82ca0002 00000001 00000000",
    ] {
        assert!(malformed(text).is_some(), "{text}");
    }
    // An exponent that shifts the mantissa out of 64 bits.
    assert_eq!(
        malformed("8fce0004 00000001 00000000 52454d42 00fc0002"),
        Some(Malformed::Value)
    );
}

#[test]
fn sdes_and_bye() {
    let mut buf = [0xff; 64];
    let len = sdes::write(&mut buf, 7, b"abc").expect("fits");
    assert_eq!(buf[..len], bytes("81ca0003 00000007 01036162 63000000"));
    let Rtcp::Sdes(sdes) = one(&buf[..len]) else {
        panic!("not a source description");
    };
    assert_eq!(sdes.cname(7), Some(&b"abc"[..]));
    assert_eq!(sdes.cname(8), None);

    let two = bytes("82ca0006 00000001 01026162 00000000 00000002 02017801 01790000");
    let Rtcp::Sdes(sdes) = one(&two) else {
        panic!("not a source description");
    };
    let items: Vec<_> = sdes
        .items()
        .map(|item| (item.ssrc, item.kind, item.text))
        .collect();
    assert_eq!(items, [(1, 1, &b"ab"[..]), (2, 2, b"x"), (2, 1, b"y")]);

    let len = bye::write(&mut buf, &[7, 8]).expect("fits");
    let Rtcp::Bye(bye) = one(&buf[..len]) else {
        panic!("not a goodbye");
    };
    assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [7, 8]);
    assert!(bye.reason().is_empty());
    let data = bytes("81cb0002 00000001 03616263");
    let Rtcp::Bye(bye) = one(&data) else {
        panic!("not a goodbye");
    };
    assert_eq!(bye.reason(), b"abc");
    assert_eq!(bye::write(&mut buf, &[0; 32]), None);
}

#[test]
fn nack_entries_are_shared_by_neighbours() {
    let mut buf = [0; 64];
    let mut entries = |lost: &[u16]| {
        let len = nack::write(&mut buf, 1, 2, lost).expect("fits");
        hex::encode(&buf[12..len])
    };
    assert_eq!(entries(&[10]), "000a0000");
    assert_eq!(entries(&[10, 11, 26]), "000a8001");
    assert_eq!(entries(&[10, 27]), "000a0000001b0000");
    assert_eq!(entries(&[65_535, 0, 15]), "ffff8001");
    assert_eq!(entries(&[10, 10]), "000a0000");
    assert_eq!(nack::write(&mut buf, 1, 2, &[]), None);
    assert_eq!(nack::write(&mut buf[..15], 1, 2, &[10]), None);
}

#[test]
fn pli_and_fir() {
    let mut buf = [0xff; 64];
    let len = pli::write(&mut buf, 1, 0xdead_beef).expect("fits");
    assert_eq!(buf[..len], bytes("81ce0002 00000001 deadbeef"));
    let entry = fir::Entry {
        ssrc: 9,
        sequence: 200,
    };
    let len = fir::write(&mut buf, 1, entry).expect("fits");
    assert_eq!(buf[..len], bytes("84ce0004 00000001 00000000 00000009 c8000000"));
    let Rtcp::Fir(fir) = one(&buf[..len]) else {
        panic!("not an intra request");
    };
    assert_eq!((fir.sender_ssrc(), fir.entries().collect()), (1, vec![entry]));
}

fn report_block() -> impl Strategy<Value = ReportBlock> {
    (any::<[u32; 5]>(), any::<u8>(), -(1 << 23)..1 << 23).prop_map(
        |([ssrc, highest_sequence, jitter, last_sr, delay], fraction_lost, cumulative_lost)| ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost,
            highest_sequence,
            jitter,
            last_sr,
            delay_since_last_sr: delay,
        },
    )
}

#[test]
fn cumulative_loss_is_clamped() {
    let mut buf = [0; 64];
    for (lost, told) in [(i32::MAX, 0x007f_ffff), (i32::MIN, -0x0080_0000)] {
        let block = ReportBlock {
            cumulative_lost: lost,
            ..ReportBlock::default()
        };
        let len = rr::write(&mut buf, 1, &[block]).expect("fits");
        let Rtcp::ReceiverReport(report) = one(&buf[..len]) else {
            panic!("not a receiver report");
        };
        assert_eq!(report.reports().next().expect("one").cumulative_lost, told);
    }
}

proptest! {
    #[test]
    fn reports_survive(
        words in any::<[u32; 4]>(), ntp: u64,
        blocks in proptest::collection::vec(report_block(), 0..=31),
    ) {
        let mut buf = [0; 1024];
        let [ssrc, rtp_timestamp, packet_count, octet_count] = words;
        let info = sr::SenderInfo { ssrc, ntp: Ntp(ntp), rtp_timestamp, packet_count, octet_count };
        let len = sr::write(&mut buf, &info, &blocks).expect("fits");
        let Rtcp::SenderReport(report) = one(&buf[..len]) else {
            panic!("not a sender report");
        };
        prop_assert_eq!(report.info(), info);
        prop_assert_eq!(report.reports().collect::<Vec<_>>(), blocks.clone());

        let len = rr::write(&mut buf, ssrc, &blocks).expect("fits");
        let Rtcp::ReceiverReport(report) = one(&buf[..len]) else {
            panic!("not a receiver report");
        };
        prop_assert_eq!(report.ssrc(), ssrc);
        prop_assert_eq!(report.reports().collect::<Vec<_>>(), blocks);
    }

    #[test]
    fn lost_numbers_survive(first: u16, steps in proptest::collection::vec(1u16..40, 0..100)) {
        let mut lost = vec![first];
        lost.extend(steps.iter().scan(first, |last, step| {
            *last = last.wrapping_add(*step);
            Some(*last)
        }));
        let mut buf = [0; 1024];
        let len = nack::write(&mut buf, 1, 2, &lost).expect("fits");
        let Rtcp::Nack(nack) = one(&buf[..len]) else {
            panic!("not a NACK");
        };
        prop_assert_eq!(nack.lost().collect::<Vec<_>>(), lost);
    }

    #[test]
    fn an_estimate_keeps_its_18_highest_bits(bitrate: u64, ssrcs: Vec<u32>) {
        let mut buf = [0; 1200];
        let len = remb::write(&mut buf, 1, bitrate, &ssrcs).expect("fits");
        let Rtcp::Remb(remb) = one(&buf[..len]) else {
            panic!("not an estimate");
        };
        prop_assert_eq!(remb.ssrcs().collect::<Vec<_>>(), ssrcs);
        prop_assert!(remb.bitrate() <= bitrate);
        prop_assert!(bitrate - remb.bitrate() <= bitrate >> 17);
    }

    #[test]
    fn a_name_survives(ssrc: u32, cname in proptest::collection::vec(any::<u8>(), 0..=255)) {
        let mut buf = [0xff; 300];
        let len = sdes::write(&mut buf, ssrc, &cname).expect("fits");
        let Rtcp::Sdes(sdes) = one(&buf[..len]) else {
            panic!("not a source description");
        };
        prop_assert_eq!(sdes.cname(ssrc), Some(&cname[..]));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        packet in proptest::collection::vec(
            (0u8..64, 200u8..208, proptest::collection::vec(any::<u8>(), 0..80)), 1..4),
    ) {
        let mut data = Vec::new();
        for (first, packet_type, mut body) in packet {
            body.resize(body.len() / 4 * 4, 0);
            data.extend_from_slice(&[0x80 | first, packet_type, 0, (body.len() / 4) as u8]);
            data.extend_from_slice(&body);
        }
        for packet in packets(&data).flatten() {
            match packet {
                Rtcp::SenderReport(report) => report.reports().for_each(drop),
                Rtcp::ReceiverReport(report) => report.reports().for_each(drop),
                Rtcp::Sdes(sdes) => sdes.items().for_each(drop),
                Rtcp::Bye(bye) => bye.ssrcs().for_each(drop),
                Rtcp::Nack(nack) => nack.lost().for_each(drop),
                Rtcp::Fir(fir) => fir.entries().for_each(drop),
                Rtcp::Twcc(twcc) => twcc.arrivals().for_each(drop),
                Rtcp::Remb(remb) => remb.ssrcs().for_each(drop),
                Rtcp::Pli(_) | Rtcp::Unknown { .. } => {}
            }
        }
    }
}
