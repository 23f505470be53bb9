//! Literal messages, and that what is written is read whatever was lost or came late.

use super::super::{HEADER_LEN, Rtcp, packets};
use super::*;
use proptest::prelude::*;

const FEEDBACK: Feedback = Feedback {
    sender_ssrc: 1,
    media_ssrc: 2,
    base_sequence: 3,
    feedback_count: 4,
};

fn parse(message: &[u8]) -> Result<Twcc<'_>, Malformed> {
    match packets(message).next() {
        Some(Ok(Rtcp::Twcc(twcc))) => Ok(twcc),
        Some(Err(malformed)) => Err(malformed),
        other => panic!("not a feedback message: {other:?}"),
    }
}

/// Header and fixed part with this status count, then the rest.
fn message(status_count: u16, rest: &[u8]) -> Vec<u8> {
    let mut message = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 3];
    message.extend_from_slice(&status_count.to_be_bytes());
    message.extend_from_slice(&[0, 0, 5, 4]);
    message.extend_from_slice(rest);
    message.resize(message.len().next_multiple_of(4), 0);
    let words = u16::try_from(message.len() / 4 - 1).expect("short");
    message[2..4].copy_from_slice(&words.to_be_bytes());
    message
}

fn written(arrivals: &[Option<u64>]) -> Vec<u8> {
    let mut buf = [0xff; 1200];
    let written = write(&mut buf, &FEEDBACK, arrivals).expect("fits");
    assert_eq!(written.statuses, arrivals.len());
    buf[..written.len].to_vec()
}

#[test]
fn all_three_chunks_are_read() {
    // A run of 2 small, a narrow vector lost-small in its first two of 14, a wide one with a large.
    let rest = [
        0x20, 0x02, 0x90, 0x00, 0xc8, 0x00, 10, 20, 30, 0xff, 0xfe, //
    ];
    let data = message(23, &rest);
    let twcc = parse(&data).expect("well-formed");
    assert_eq!((twcc.sender_ssrc(), twcc.media_ssrc()), (1, 2));
    assert_eq!((twcc.base_sequence(), twcc.status_count()), (3, 23));
    assert_eq!((twcc.reference_time(), twcc.feedback_count()), (5, 4));
    let mut expected = vec![None; 23];
    expected[0] = Some(10);
    expected[1] = Some(20);
    expected[3] = Some(30);
    expected[16] = None;
    expected[17] = Some(-2);
    // The wide vector 0b11_00_10_00...: lost, then large.
    let statuses: Vec<_> = twcc.statuses().collect();
    assert_eq!(statuses.len(), 23);
    assert_eq!(statuses[0].0, 3);
    assert_eq!(
        statuses.iter().map(|(_, delta)| *delta).collect::<Vec<_>>(),
        expected
    );
    let arrivals: Vec<_> = twcc.arrivals().filter_map(|(_, arrival)| arrival).collect();
    assert_eq!(arrivals, [1290, 1310, 1340, 1338]);
}

#[test]
fn iteration_stops_at_the_status_count_within_a_chunk() {
    let data = message(3, &[0x3f, 0xff, 1, 2, 3, 4]);
    let twcc = parse(&data).expect("well-formed");
    assert_eq!(
        twcc.statuses().collect::<Vec<_>>(),
        [(3, Some(1)), (4, Some(2)), (5, Some(3))]
    );
}

#[test]
fn the_reference_time_is_signed() {
    let mut data = message(1, &[0x20, 0x01, 0]);
    data[16..19].copy_from_slice(&[0xff, 0xff, 0xfe]);
    let twcc = parse(&data).expect("well-formed");
    assert_eq!(twcc.reference_time(), -2);
    assert_eq!(twcc.arrivals().next(), Some((3, Some(-512))));
}

#[test]
fn impossible_messages_are_refused() {
    // No statuses; more than can be told apart.
    assert_eq!(parse(&message(0, &[0x20, 1])), Err(Malformed::Value));
    assert_eq!(
        parse(&message(0x8001, &[0x1f, 0xff].repeat(8))),
        Err(Malformed::Value)
    );
    // The reserved symbol, in a run and in a vector.
    assert_eq!(parse(&message(1, &[0x60, 1, 0, 0])), Err(Malformed::Value));
    assert_eq!(parse(&message(1, &[0xf0, 0, 0, 0])), Err(Malformed::Value));
    // Chunks or deltas that end too early.
    assert_eq!(parse(&message(9, &[0x00, 4, 0x00, 4])), Err(Malformed::Truncated));
    assert_eq!(parse(&message(3, &[0x20, 3, 1, 2])), Err(Malformed::Truncated));
    // A run of nothing takes nothing: the chunks run out.
    assert_eq!(parse(&message(1, &[0, 0, 0, 0])), Err(Malformed::Truncated));
    let whole = message(3, &[0x20, 3, 1, 2, 3]);
    for words in 0..whole.len() / 4 - 1 {
        let mut cut = whole[..4 * (words + 1)].to_vec();
        cut[3] = u8::try_from(words).expect("short");
        assert_eq!(parse(&cut), Err(Malformed::Truncated));
    }
}

#[test]
fn the_first_delta_counts_from_the_reference_time() {
    let data = written(&[Some(5 * 256 + 7), Some(5 * 256 + 8)]);
    assert_eq!(data, message(2, &[0x20, 2, 7, 1]));
}

#[test]
fn a_steady_stream_is_one_run() {
    let arrivals: Vec<_> = (0..400).map(|index| Some(1000 + 4 * index)).collect();
    let data = written(&arrivals);
    assert_eq!(
        data.len(),
        HEADER_LEN + 16 + 2 + 402_usize.next_multiple_of(4) - 2
    );
}

#[test]
fn scattered_loss_takes_a_bit_each() {
    let arrivals: Vec<_> = (0..28).map(|index| (index % 3 != 1).then_some(1000)).collect();
    // Two narrow vectors and a byte for each that came.
    let came = arrivals.iter().flatten().count();
    assert_eq!(
        written(&arrivals).len(),
        (HEADER_LEN + 16 + 4 + came).next_multiple_of(4)
    );
}

#[test]
fn a_delta_over_16_bits_starts_a_new_message() {
    let mut buf = [0; 1200];
    let arrivals = [Some(100), None, Some(100 + 32_768), Some(200 + 32_768)];
    let first = write(&mut buf, &FEEDBACK, &arrivals).expect("fits");
    assert_eq!(first.statuses, 2);
    let second = write(&mut buf, &FEEDBACK, &arrivals[2..]).expect("fits");
    assert_eq!(second.statuses, 2);
    let twcc = parse(&buf[..second.len]).expect("own output");
    let read: Vec<_> = twcc.arrivals().filter_map(|(_, arrival)| arrival).collect();
    assert_eq!(read, [32_868, 32_968]);
}

#[test]
fn nothing_to_tell_is_nothing_written() {
    let mut buf = [0; 1200];
    assert_eq!(write(&mut buf, &FEEDBACK, &[]), None);
    assert_eq!(write(&mut buf, &FEEDBACK, &[None; 9]), None);
    for room in 0..24 {
        assert_eq!(
            write(&mut buf[..room], &FEEDBACK, &[Some(1)]),
            None,
            "{room} bytes"
        );
    }
    assert!(write(&mut buf[..24], &FEEDBACK, &[Some(1)]).is_some());
}

/// Arrivals as a path with loss, jitter and reordering gives them; `jump` starts a pause sometimes.
fn arrivals() -> impl Strategy<Value = Vec<Option<u64>>> {
    let arrival = (0u64..600, -400i64..400, 0u32..100, 0u32..1000);
    (
        0u64..1 << 40,
        0u32..60,
        prop_oneof![Just(4u64), 1u64..600],
        proptest::collection::vec(arrival, 1..700),
    )
        .prop_map(|(start, loss, gap, steps)| {
            let mut clock = start + 1_000;
            steps
                .into_iter()
                .map(|(step, jitter, lost, jump)| {
                    clock += step % gap + u64::from(jump == 0) * 50_000;
                    (lost >= loss).then(|| clock.saturating_add_signed(jitter))
                })
                .collect()
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        arrivals in arrivals(), base: u16, room in 60usize..1200,
    ) {
        let mut buf = vec![0xff; room];
        let mut rest = &arrivals[..];
        let mut read = Vec::new();
        while rest.iter().any(Option::is_some) {
            let feedback = Feedback {
                base_sequence: base.wrapping_add((arrivals.len() - rest.len()) as u16),
                ..FEEDBACK
            };
            let Some(written) = write(&mut buf, &feedback, rest) else {
                // Only losses fit: say the next one without them.
                let lost = rest.iter().take_while(|arrival| arrival.is_none()).count();
                prop_assert!(lost > 7, "a message has room for some");
                read.extend(std::iter::repeat_n(None, lost));
                rest = &rest[lost..];
                continue;
            };
            prop_assert!(written.len <= room && written.len % 4 == 0 && written.statuses > 0);
            let twcc = parse(&buf[..written.len]).expect("own output");
            prop_assert_eq!(usize::from(twcc.status_count()), written.statuses);
            for (index, (sequence, arrival)) in twcc.arrivals().enumerate() {
                let expected = feedback.base_sequence.wrapping_add(index as u16);
                prop_assert_eq!(sequence, expected);
                read.push(arrival);
            }
            rest = &rest[written.statuses..];
        }
        // The reference time keeps 24 of its bits.
        let wire = |arrival: u64| arrival & 0xffff_ffff;
        let read: Vec<_> = read
            .into_iter()
            .map(|arrival| arrival.map(|ticks| wire(ticks as u64)))
            .collect();
        let mut expected: Vec<_> = arrivals.iter().map(|arrival| arrival.map(wire)).collect();
        expected.truncate(read.len());
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn arbitrary_bodies_never_panic(
        count: u16, rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let data = message(count, &rest);
        if let Ok(twcc) = parse(&data) {
            prop_assert_eq!(twcc.statuses().count(), usize::from(count));
            twcc.arrivals().for_each(drop);
        }
    }
}
