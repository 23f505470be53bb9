//! Each message of a compound reads the same after it was written from what was read. The match
//! names every message, so a new one can't be left out.
#![no_main]

use kall_dataplane::wire::rtcp::{Rtcp, bye, fir, nack, packets, pli, remb, rr, sdes, sr, twcc};
use libfuzzer_sys::fuzz_target;

/// The one message in `buf[..len]`.
fn one(buf: &[u8], len: Option<usize>) -> Rtcp<'_> {
    let mut all = packets(&buf[..len.expect("fits")]);
    let message = all.next().expect("one message").expect("own output");
    assert!(all.next().is_none());
    message
}

fn feedback(twcc: &twcc::Twcc<'_>, buf: &mut [u8]) {
    // A negative clock is a peer's; the writer's own starts at zero.
    let Some(arrivals) = twcc
        .arrivals()
        .map(|(_, arrival)| arrival.map(|ticks| u64::try_from(ticks).ok()))
        .map(|arrival| match arrival {
            Some(None) => None,
            Some(Some(ticks)) => Some(Some(ticks)),
            None => Some(None),
        })
        .collect::<Option<Vec<_>>>()
    else {
        return;
    };
    assert_eq!(arrivals.len(), usize::from(twcc.status_count()));
    let header = twcc::Feedback {
        sender_ssrc: twcc.sender_ssrc(),
        media_ssrc: twcc.media_ssrc(),
        base_sequence: twcc.base_sequence(),
        feedback_count: twcc.feedback_count(),
    };
    let Some(written) = twcc::write(buf, &header, &arrivals) else {
        assert!(arrivals.iter().all(Option::is_none));
        return;
    };
    let Rtcp::Twcc(again) = one(buf, Some(written.len)) else {
        panic!("not feedback");
    };
    assert_eq!(usize::from(again.status_count()), written.statuses);
    let read = again.arrivals().zip(twcc.arrivals());
    for ((sequence, arrival), (expected_sequence, expected)) in read {
        assert_eq!(sequence, expected_sequence);
        // The reference wraps at 24 bits of 64 ms.
        let wire = |ticks: i64| ticks & 0xffff_ffff;
        assert_eq!(arrival.map(wire), expected.map(wire));
    }
}

fuzz_target!(|data: &[u8]| {
    let mut buf = vec![0; 2 * data.len() + 128];
    for message in packets(data).flatten() {
        match message {
            Rtcp::SenderReport(report) => {
                let blocks: Vec<_> = report.reports().collect();
                let len = sr::write(&mut buf, &report.info(), &blocks);
                let Rtcp::SenderReport(again) = one(&buf, len) else {
                    panic!("not a sender report");
                };
                assert_eq!(again.info(), report.info());
                assert!(again.reports().eq(blocks));
            }
            Rtcp::ReceiverReport(report) => {
                let blocks: Vec<_> = report.reports().collect();
                let len = rr::write(&mut buf, report.ssrc(), &blocks);
                let Rtcp::ReceiverReport(again) = one(&buf, len) else {
                    panic!("not a receiver report");
                };
                assert!(again.reports().eq(blocks));
            }
            Rtcp::Sdes(description) => {
                for item in description.items() {
                    let len = sdes::write(&mut buf, item.ssrc, item.text);
                    let Rtcp::Sdes(again) = one(&buf, len) else {
                        panic!("not a source description");
                    };
                    assert_eq!(again.cname(item.ssrc), Some(item.text));
                }
            }
            Rtcp::Bye(goodbye) => {
                let ssrcs: Vec<_> = goodbye.ssrcs().collect();
                let len = bye::write(&mut buf, &ssrcs);
                let Rtcp::Bye(again) = one(&buf, len) else {
                    panic!("not a goodbye");
                };
                assert!(again.ssrcs().eq(ssrcs));
                let _ = goodbye.reason();
            }
            Rtcp::Nack(request) => {
                let mut lost: Vec<_> = request.lost().collect();
                lost.sort_unstable();
                lost.dedup();
                let len = nack::write(&mut buf, request.sender_ssrc(), request.media_ssrc(), &lost);
                let Rtcp::Nack(again) = one(&buf, len) else {
                    panic!("not a NACK");
                };
                assert!(again.lost().eq(lost));
            }
            Rtcp::Pli(request) => {
                let len = pli::write(&mut buf, request.sender_ssrc, request.media_ssrc);
                assert_eq!(one(&buf, len), message);
            }
            Rtcp::Fir(request) => {
                for entry in request.entries() {
                    let len = fir::write(&mut buf, request.sender_ssrc(), entry);
                    let Rtcp::Fir(again) = one(&buf, len) else {
                        panic!("not an intra request");
                    };
                    assert!(again.entries().eq([entry]));
                }
            }
            Rtcp::Twcc(twcc) => feedback(&twcc, &mut buf),
            Rtcp::Remb(estimate) => {
                let ssrcs: Vec<_> = estimate.ssrcs().collect();
                let len = remb::write(&mut buf, estimate.sender_ssrc(), estimate.bitrate(), &ssrcs);
                let Rtcp::Remb(again) = one(&buf, len) else {
                    panic!("not an estimate");
                };
                assert_eq!(again.bitrate(), estimate.bitrate());
                assert!(again.ssrcs().eq(ssrcs));
            }
            Rtcp::Unknown { .. } => {}
        }
    }
});
