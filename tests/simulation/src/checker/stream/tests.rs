//! Every rule of the checker by a stream that breaks it, and one that breaks none.

use super::*;
use crate::codec::{Facts, Ids, Label, Said, vp9};

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
                let Said::Vp8(ids) = last.facts.said else {
                    panic!("VP8");
                };
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
                before: (!key).then(|| number - 1),
                below: None,
                captured: u64::from(number) * 10_000_000,
                picture: number,
                lowest: number,
                spatial: 0,
                layers: 1,
                temporal: 0,
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
                    said: Said::Vp8(ids),
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
            let Said::Vp8(ids) = &mut packet.facts.said else {
                panic!("VP8");
            };
            change(ids);
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

/// VP9 in two layers of one stream that depend on each other in every picture, a packet each.
struct Layered {
    truth: Truth,
    packets: Vec<Emitted>,
}

impl Layered {
    /// Ten pictures of which the first `low` after the key picture come without their upper layer.
    fn good(low: u32) -> Self {
        let mut layered = Self {
            truth: Truth::default(),
            packets: Vec::new(),
        };
        for picture in 0..10 {
            let top = u8::from(picture == 0 || picture > low);
            for spatial in 0..2 {
                layered.frame(picture, spatial, top);
            }
        }
        layered
    }

    fn frame(&mut self, picture: u32, spatial: u8, top: u8) {
        let at = Time::from_millis(u64::from(picture) * 10);
        let key = picture == 0;
        let frame = picture * 2 + u32::from(spatial);
        let label = Label {
            source: source(0),
            key,
            frame,
            packet: 0,
            packets: 1,
            before: (!key).then(|| frame - 2),
            below: (spatial > 0).then(|| frame - 1),
            captured: u64::from(picture) * 10_000_000,
            picture,
            lowest: picture,
            spatial,
            layers: 2,
            temporal: 0,
        };
        self.truth.on_sent(&label);
        self.truth.on_arrived(at, &label);
        if spatial > top {
            return;
        }
        let said = vp9::Said {
            picture_id: 0x7ffa_u16.wrapping_add(picture as u16) & 0x7fff,
            tl0: Some(250_u8.wrapping_add(picture as u8)),
            temporal: 0,
            sync: false,
            spatial,
            before: !key,
            below: spatial > 0,
            distance: None,
            starts: true,
            ends: true,
        };
        self.packets.push(Emitted {
            at,
            seq: self.packets.last().map_or(65_530, |last| last.seq + 1),
            timestamp: picture * 900,
            marker: spatial == top,
            again: false,
            facts: Facts {
                label,
                said: Said::Vp9(said),
            },
        });
    }

    fn found(self) -> Vec<String> {
        Stream {
            truth: self.truth,
            packets: self.packets,
        }
        .found()
    }

    #[track_caller]
    fn breaks(self, rule: &str) {
        let found = self.found();
        assert!(found.iter().any(|what| what.contains(rule)), "{rule}: {found:?}");
    }

    fn said(&mut self, packet: usize) -> &mut vp9::Said {
        match &mut self.packets[packet].facts.said {
            Said::Vp9(said) => said,
            _ => panic!("VP9"),
        }
    }
}

#[test]
fn layers_that_are_left_out_to_the_end_break_no_rule() {
    assert_eq!(Layered::good(0).found(), [""; 0]);
    assert_eq!(Layered::good(10).found(), [""; 0]);
}

#[test]
fn a_layer_that_comes_back_without_a_key_picture() {
    Layered::good(4).breaks("predicted from frame 9, which was not sent");
}

#[test]
fn a_picture_that_does_not_end_where_it_says() {
    let mut early = Layered::good(0);
    early.packets[4].marker = true;
    early.breaks("a marker");
    let mut never = Layered::good(0);
    never.packets[5].marker = false;
    never.breaks("the frame before is cut");
}

#[test]
fn descriptors_of_layers() {
    let mut layer = Layered::good(0);
    layer.said(5).spatial = 0;
    layer.breaks("tells what is not so");
    let mut apart = Layered::good(0);
    apart.said(5).picture_id += 1;
    apart.breaks("frames of a picture differ");
    let mut jump = Layered::good(0);
    for packet in 6..20 {
        let said = jump.said(packet);
        said.picture_id = (said.picture_id + 1) & 0x7fff;
    }
    jump.breaks("ids move by 2 instead of 1");
    let mut lowest = Layered::good(0);
    for packet in 6..20 {
        let said = lowest.said(packet);
        said.tl0 = said.tl0.map(|tl0| tl0.wrapping_add(1));
    }
    lowest.breaks("TL0PICIDX moves by 2 instead of 1");
}
