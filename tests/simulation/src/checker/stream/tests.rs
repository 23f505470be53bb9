//! Every rule of the checker by a stream that breaks it, and one that breaks none.

use super::*;
use crate::codec::Facts;

/// Packets of each frame here.
const PACKETS: u8 = 2;

/// A stream as a faultless server sends it: layer 0, then layer 1 from its key frame on.
struct Stream {
    truth: Truth,
    packets: Vec<Emitted>,
}

fn source(layer: u8) -> Source {
    Source { peer: 3, layer }
}

impl Stream {
    fn good() -> Self {
        let mut stream = Self {
            truth: Truth::default(),
            packets: Vec::new(),
        };
        for number in 0..10 {
            stream.frame(source(0), number, number == 0);
        }
        for number in 40..50 {
            stream.frame(source(1), number, number == 40);
        }
        stream
    }

    fn frame(&mut self, source: Source, number: u32, key: bool) {
        let at = Time::from_millis(u64::from(self.packets.len() as u32) * 10);
        let last = self.packets.last();
        let ids = last.map_or(
            Ids {
                picture_id: 0x7ffa,
                tl0: 250,
                temporal: 0,
                sync: false,
                key_index: 30,
            },
            |last| {
                let ids = last.facts.ids.expect("video");
                Ids {
                    picture_id: (ids.picture_id + 1) & 0x7fff,
                    tl0: ids.tl0.wrapping_add(1),
                    key_index: (ids.key_index + u8::from(key)) & 0x1f,
                    ..ids
                }
            },
        );
        let seq = last.map_or(65_530, |last| last.seq + 1);
        let timestamp = last.map_or(u32::MAX - 10_000, |last| last.timestamp.wrapping_add(900));
        for packet in 0..PACKETS {
            let label = Label {
                source,
                key,
                frame: number,
                packet,
                packets: PACKETS,
                reference: if key { number } else { number - 1 },
                captured: u64::from(number) * 10_000_000,
            };
            self.truth.on_sent(&label);
            self.truth.on_arrived(at, &label);
            self.packets.push(Emitted {
                at,
                seq: seq + u64::from(packet),
                timestamp,
                marker: label.ends(),
                again: false,
                facts: Facts {
                    label,
                    ids: Some(ids),
                },
            });
        }
    }

    fn found(self) -> Vec<String> {
        let log = SlotLog {
            packets: self.packets,
            ..SlotLog::default()
        };
        let found = check(&log, &self.truth, Time::from_millis(100_000));
        found.into_iter().map(|violation| violation.what).collect()
    }

    #[track_caller]
    fn breaks(self, rule: &str) {
        let found = self.found();
        assert!(found.iter().any(|what| what.contains(rule)), "{rule}: {found:?}");
    }
}

#[test]
fn a_faultless_stream_breaks_no_rule() {
    assert_eq!(Stream::good().found(), [""; 0]);
}

#[test]
fn what_the_way_to_the_server_lost_is_not_held_against_it() {
    let mut stream = Stream::good();
    // Frame 5 came never, and leaves its hole.
    stream.truth = Truth::default();
    for packet in &stream.packets {
        let label = packet.facts.label;
        stream.truth.on_sent(&label);
        if label.frame != 5 {
            stream.truth.on_arrived(Time::ZERO, &label);
        }
    }
    stream.packets.retain(|packet| packet.facts.label.frame != 5);
    assert_eq!(stream.found(), [""; 0]);
}

#[test]
fn a_frame_that_was_there_and_not_sent() {
    let mut stream = Stream::good();
    stream.packets.retain(|packet| packet.facts.label.frame != 5);
    stream.breaks("predicted from frame 5");
}

#[test]
fn a_frame_that_came_when_nobody_needed_it_any_more() {
    let mut stream = Stream::good();
    stream.packets.retain(|packet| packet.facts.label.frame != 8);
    let switched = stream
        .packets
        .iter()
        .find(|packet| packet.facts.label.frame == 40);
    let switched = switched.expect("it is there").at;
    let last = stream.packets.iter().rfind(|packet| packet.at < switched);
    let last = last.expect("it is there").at;
    let late = |at: Time| {
        let mut truth = Truth::default();
        for packet in &Stream::good().packets {
            let label = packet.facts.label;
            truth.on_sent(&label);
            truth.on_arrived(if label.frame == 8 { at } else { Time::ZERO }, &label);
        }
        let packets = stream.packets.clone();
        Stream { truth, packets }
    };
    assert_eq!(late(switched).found(), [""; 0]);
    // Nothing of that source was sent any more.
    assert_eq!(late(last).found(), [""; 0]);
    late(Time::from_millis(last.as_millis() - 1)).breaks("predicted from frame 8");
}

#[test]
fn a_frame_dropped_so_that_nobody_can_see_it() {
    let mut stream = Stream::good();
    stream.packets.retain(|packet| packet.facts.label.frame != 5);
    for packet in &mut stream.packets {
        if packet.facts.label.frame > 5 {
            packet.seq -= u64::from(PACKETS);
        }
    }
    stream.breaks("picture ids go from");
}

#[test]
fn a_switch_without_a_key_frame() {
    let mut stream = Stream::good();
    stream.packets.retain(|packet| packet.facts.label.frame != 40);
    stream.breaks("no key frame");
}

#[test]
fn a_switch_in_the_middle_of_a_frame() {
    let mut stream = Stream::good();
    let cut = usize::from(PACKETS) * 10 - 1;
    stream.packets.remove(cut);
    let mut closed = Stream {
        truth: stream.truth,
        packets: stream.packets.clone(),
    };
    for packet in &mut closed.packets[cut..] {
        packet.seq -= 1;
    }
    closed.breaks("the frame before is cut");
    // With a number left out the cut can be seen.
    let open = Stream {
        truth: Stream::good().truth,
        packets: stream.packets,
    };
    assert_eq!(open.found(), [""; 0]);
}

#[test]
fn a_frame_without_its_beginning() {
    let mut stream = Stream::good();
    stream.packets.remove(6);
    for packet in &mut stream.packets[6..] {
        packet.seq -= 1;
    }
    stream.breaks("without its beginning");
}

#[test]
fn numbers_times_and_markers() {
    let mut twice = Stream::good();
    twice.packets[8].seq = twice.packets[2].seq;
    twice.breaks("used before");

    let mut back = Stream::good();
    for packet in &mut back.packets[20..] {
        packet.timestamp = packet.timestamp.wrapping_sub(3000);
    }
    back.breaks("time goes back");

    let mut drift = Stream::good();
    for packet in &mut drift.packets[8..] {
        packet.timestamp = packet.timestamp.wrapping_add(50);
    }
    drift.breaks("time moves");

    let mut same = Stream::good();
    let time = same.packets[4].timestamp;
    for packet in &mut same.packets[6..8] {
        packet.timestamp = time;
    }
    same.breaks("two frames of one time");

    let mut marker = Stream::good();
    marker.packets[4].marker = true;
    marker.breaks("a marker");

    let mut resent = Stream::good();
    let mut copy = resent.packets[4];
    copy.again = true;
    copy.timestamp += 1;
    resent.packets.push(copy);
    resent.breaks("not what was sent");
}

#[test]
fn ids_of_pictures() {
    let change = |change: fn(&mut Ids), rule: &str| {
        let mut stream = Stream::good();
        for packet in &mut stream.packets[8..] {
            change(packet.facts.ids.as_mut().expect("video"));
        }
        stream.breaks(rule);
    };
    change(
        |ids| ids.picture_id = (ids.picture_id + 1) & 0x7fff,
        "picture ids",
    );
    change(
        |ids| ids.picture_id = ids.picture_id.wrapping_sub(1) & 0x7fff,
        "picture ids",
    );
    change(|ids| ids.tl0 = ids.tl0.wrapping_add(1), "TL0PICIDX");
    change(|ids| ids.key_index = (ids.key_index + 1) & 0x1f, "KEYIDX");
}
