//! Layers: which one a receiver sees, and which ones its publisher is told to send.

use kall_shared::media::Layer;

use super::*;
use crate::time::Ntp;
use crate::wire::rtcp;

const ABS_TIME_ID: u8 = 7;
const RED: u8 = 63;

/// Time between two pictures.
const FRAME: u64 = 33;

/// A camera with three layers of one packet a picture, 240 to 960 pixels wide.
pub(super) struct Camera {
    pictures: u64,
    /// Layers whose next picture is a key frame.
    keys: [bool; 3],
    on: [bool; 3],
    temporal_layers: bool,
    /// Requests for key frames are not heard.
    deaf: bool,
    seqs: [u64; 3],
}

impl Camera {
    pub(super) fn new() -> Self {
        Self {
            pictures: 0,
            keys: [true; 3],
            on: [true; 3],
            temporal_layers: true,
            deaf: false,
            seqs: [100, 2_000, 30_000],
        }
    }

    /// Films for some time; every layer answers requests for key frames, and bob takes what comes.
    pub(super) fn film(
        &mut self,
        world: &mut World,
        ada: &mut Peer,
        bob: &mut Peer,
        millis: u64,
    ) -> Vec<Got> {
        let mut seen = Vec::new();
        for _ in 0..millis / FRAME {
            for layer in 0..3 {
                if self.on[layer] {
                    self.picture(world, ada, layer);
                }
            }
            if self.pictures.is_multiple_of(30) {
                self.report(world, ada);
            }
            self.pictures += 1;
            world.pass(FRAME);
            let (_, feedback) = world.taken(ada);
            self.obey(&feedback);
            seen.extend(world.media_of(bob));
        }
        seen
    }

    /// Sender reports of all layers, on one clock.
    fn report(&self, world: &mut World, ada: &mut Peer) {
        let ntp = Ntp::from_unix(Duration::from_millis(
            1_700_000_000_000 + self.pictures * 1000 / 30,
        ));
        for layer in (0..3).filter(|layer| self.on[*layer]) {
            let info = rtcp::sr::SenderInfo {
                ssrc: 30 + layer as u32,
                ntp,
                rtp_timestamp: (self.pictures * 3_000) as u32,
                packet_count: 1,
                octet_count: 1,
            };
            world.send_rtcp(ada, |buf| rtcp::sr::write(buf, &info, &[]));
        }
    }

    fn obey(&mut self, feedback: &[Vec<u8>]) {
        for compound in feedback {
            for message in rtcp::packets(compound) {
                if let Ok(rtcp::Rtcp::Pli(pli)) = message
                    && let Some(layer) = (pli.media_ssrc as usize).checked_sub(30)
                {
                    self.keys[layer] |= !self.deaf;
                }
            }
        }
    }

    fn picture(&mut self, world: &mut World, ada: &mut Peer, layer: usize) {
        let key = std::mem::take(&mut self.keys[layer]);
        let temporal = if key || !self.temporal_layers {
            0
        } else {
            (self.pictures % 2) as u8
        };
        let [high, low] = (self.pictures as u16).to_be_bytes();
        // X, S; I, L and T; 15 bits of picture id; TL0PICIDX; TID and Y.
        let mut payload = vec![
            0x90,
            0xe0,
            0x80 | high,
            low,
            (self.pictures / 2) as u8,
            temporal << 6 | 0x20,
        ];
        let (width, height) = (240u16 << layer, 135u16 << layer);
        if key {
            payload.extend_from_slice(&[0x10, 2, 0, 0x9d, 1, 0x2a]);
            payload.extend_from_slice(&width.to_le_bytes());
            payload.extend_from_slice(&height.to_le_bytes());
        } else {
            payload.extend_from_slice(&[0x11, 2, 0]);
        }
        payload.resize([400, 800, 1_200][layer], layer as u8);
        let rid = [b"q", b"h", b"f"][layer];
        let extensions: &[(u8, &[u8])] = &[(MID_ID, b"1"), (RID_ID, rid)];
        let media = Media {
            pt: VP8,
            ssrc: 30 + layer as u32,
            seq: self.seqs[layer],
            ts: (self.pictures * 3_000) as u32,
            marker: true,
            extensions,
            payload: &payload,
        };
        self.seqs[layer] += 1;
        world.send(ada, media);
    }
}

pub(super) fn simulcast() -> Vec<MediaLine> {
    vec![publishing("1", Source::Camera, "ada_cam", &["q", "h", "f"])]
}

/// A receiver that estimates its path by itself.
pub(super) fn estimating() -> Vec<MediaLine> {
    let mut line = slot("4", Kind::Video);
    for codec in &mut line.codecs {
        codec.feedback.transport_cc = false;
        codec.feedback.remb = true;
    }
    line.extensions.push(ExtensionParams {
        id: ABS_TIME_ID,
        extension: Extension::AbsSendTime,
    });
    vec![line]
}

pub(super) fn wish(world: &mut World, bob: &Peer, wish: SlotWish) {
    let request = Request::SetSlot {
        session: bob.id,
        mid: Mid::new("4").expect("valid"),
        track: Some(TrackId::new("ada_cam").expect("valid")),
        wish,
    };
    world.ask(request).expect("accepted");
}

pub(super) fn named(layer: Layer) -> SlotWish {
    SlotWish {
        layer,
        ..SlotWish::default()
    }
}

/// The layers packets came of; the filler names it.
fn layers(seen: &[Got]) -> Vec<u8> {
    let mut layers: Vec<u8> = seen
        .iter()
        .filter_map(|got| got.payload.last().copied())
        .collect();
    layers.dedup();
    layers
}

pub(super) fn limit(world: &mut World, bob: &mut Peer, bps: u64) {
    world.send_rtcp(bob, |buf| rtcp::remb::write(buf, 1, bps, &[1]));
}

fn dynacast(world: &mut World) -> Vec<Vec<bool>> {
    std::mem::take(&mut world.events)
        .into_iter()
        .filter_map(|event| match event {
            Event::Dynacast { layers, .. } => Some(layers.into_iter().map(|(_, wanted)| wanted).collect()),
            _ => None,
        })
        .collect()
}

fn call(lines: Vec<MediaLine>) -> (World, Peer, Peer, Camera) {
    let mut world = World::new();
    let ada = world.join("rm_1", 1001, simulcast());
    let bob = world.join("rm_1", 1002, lines);
    (world, ada, bob, Camera::new())
}

#[test]
fn a_receiver_sees_the_layer_it_asks_for_in_one_unbroken_stream() {
    let (mut world, mut ada, mut bob, mut camera) = call(estimating());
    wish(&mut world, &bob, named(Layer::Low));
    limit(&mut world, &mut bob, 20_000_000);
    let mut seen = camera.film(&mut world, &mut ada, &mut bob, 3_000);
    for (layer, index) in [(Layer::High, 2), (Layer::Medium, 1), (Layer::Low, 0)] {
        wish(&mut world, &bob, named(layer));
        let after = camera.film(&mut world, &mut ada, &mut bob, 3_000);
        assert_eq!(layers(&after).last(), Some(&index), "{layer:?}");
        assert_eq!(world.slot(&bob, "4").layer, Some(layer));
        seen.extend(after);
    }
    assert_eq!(layers(&seen), [0, 2, 1, 0]);
    let numbers: Vec<u16> = seen.iter().map(|got| got.header.sequence).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    assert!(
        seen.windows(2)
            .all(|pair| (pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp) as i32) > 0)
    );
}

#[test]
fn a_path_too_narrow_shows_less_then_nothing_and_says_so() {
    let (mut world, mut ada, mut bob, mut camera) = call(estimating());
    wish(&mut world, &bob, SlotWish::default());
    limit(&mut world, &mut bob, 20_000_000);
    camera.film(&mut world, &mut ada, &mut bob, 4_000);
    assert_eq!(world.slot(&bob, "4").layer, Some(Layer::High));
    // Between the low layer's 100 and the middle one's 200 kbit/s.
    limit(&mut world, &mut bob, 150_000);
    camera.film(&mut world, &mut ada, &mut bob, 1_500);
    assert_eq!(world.slot(&bob, "4").layer, Some(Layer::Low));
    limit(&mut world, &mut bob, 35_000);
    camera.film(&mut world, &mut ada, &mut bob, 500);
    let slot = world.slot(&bob, "4");
    assert!(slot.paused && slot.track.is_some(), "{slot:?}");
    let nothing = camera.film(&mut world, &mut ada, &mut bob, 1_000);
    assert_eq!(nothing, []);
    world.events.clear();
    limit(&mut world, &mut bob, 20_000_000);
    camera.film(&mut world, &mut ada, &mut bob, 12_000);
    let slot = world.slot(&bob, "4");
    assert_eq!((slot.paused, slot.layer), (false, Some(Layer::High)));
    let told = world.events.iter().any(
        |event| matches!(event, Event::SlotChanged { slot, .. } if !slot.paused && slot.layer.is_some()),
    );
    assert!(told);
    assert_eq!(world.counter("slot_pauses"), 1);
}

#[test]
fn a_path_that_fails_is_relieved_before_the_smaller_layer_is_there() {
    for temporal_layers in [false, true] {
        let (mut world, mut ada, mut bob, mut camera) = call(estimating());
        camera.temporal_layers = temporal_layers;
        wish(&mut world, &bob, SlotWish::default());
        limit(&mut world, &mut bob, 20_000_000);
        camera.film(&mut world, &mut ada, &mut bob, 4_000);
        assert_eq!(world.slot(&bob, "4").layer, Some(Layer::High));
        // The key frame of the small layer is long in coming.
        camera.deaf = true;
        limit(&mut world, &mut bob, 150_000);
        let seen = camera.film(&mut world, &mut ada, &mut bob, 1_000);
        // Nothing, or every other picture.
        let most = if temporal_layers { 17 } else { 2 };
        assert!(seen.len() <= most, "{} pictures of 30", seen.len());
        camera.deaf = false;
        let seen = camera.film(&mut world, &mut ada, &mut bob, 2_000);
        assert_eq!(layers(&seen).last(), Some(&0));
    }
}

#[test]
fn a_layer_that_stops_is_left_for_the_next_one_within_a_second() {
    let (mut world, mut ada, mut bob, mut camera) = call(estimating());
    wish(&mut world, &bob, SlotWish::default());
    limit(&mut world, &mut bob, 20_000_000);
    camera.film(&mut world, &mut ada, &mut bob, 4_000);
    camera.on[2] = false;
    let seen = camera.film(&mut world, &mut ada, &mut bob, 1_000);
    assert_eq!(layers(&seen), [1]);
}

#[test]
fn a_publisher_is_told_at_once_what_is_wanted_and_late_what_is_not() {
    let (mut world, mut ada, mut bob, mut camera) = call(estimating());
    limit(&mut world, &mut bob, 20_000_000);
    wish(&mut world, &bob, named(Layer::Low));
    camera.film(&mut world, &mut ada, &mut bob, 4_500);
    assert_eq!(dynacast(&mut world), [[false; 0]; 0]);
    camera.film(&mut world, &mut ada, &mut bob, 1_500);
    assert_eq!(dynacast(&mut world), [[true, false, false]]);
    camera.on = [true, false, false];
    camera.film(&mut world, &mut ada, &mut bob, 10_000);
    wish(&mut world, &bob, named(Layer::High));
    assert_eq!(dynacast(&mut world), [[true, false, true]]);
    // What was seen goes on until the other begins.
    let seen = camera.film(&mut world, &mut ada, &mut bob, 300);
    assert_eq!(layers(&seen), [0]);
    camera.on[2] = true;
    camera.keys[2] = true;
    let seen = camera.film(&mut world, &mut ada, &mut bob, 300);
    assert_eq!(layers(&seen).last(), Some(&2));
    // And a layer that never comes is given up.
    camera.on[2] = false;
    camera.film(&mut world, &mut ada, &mut bob, 6_000);
    assert_eq!(world.slot(&bob, "4").layer, Some(Layer::Low));
    world.show(&bob, "4", None);
    camera.film(&mut world, &mut ada, &mut bob, 6_000);
    // What was told and never came stays told.
    assert_eq!(dynacast(&mut world).last(), Some(&vec![false, true, true]));
}

#[test]
fn fewer_pictures_a_second_leave_no_gap() {
    let (mut world, mut ada, mut bob, mut camera) = call(estimating());
    limit(&mut world, &mut bob, 20_000_000);
    let slow = SlotWish {
        max_fps: Some(15),
        ..named(Layer::Low)
    };
    wish(&mut world, &bob, slow);
    camera.film(&mut world, &mut ada, &mut bob, 4_000);
    let seen = camera.film(&mut world, &mut ada, &mut bob, 2_000);
    assert!((28..=32).contains(&seen.len()), "{} of 60", seen.len());
    let pairs = || seen.windows(2).map(|pair| (&pair[0], &pair[1]));
    assert!(pairs().all(|(a, b)| b.header.sequence == a.header.sequence.wrapping_add(1)));
    let id = |got: &Got| u16::from_be_bytes([got.payload[2] & 0x7f, got.payload[3]]);
    assert!(
        pairs().all(|(a, b)| id(b) == id(a) + 1),
        "pictures are counted anew"
    );
    wish(&mut world, &bob, named(Layer::Low));
    let seen = camera.film(&mut world, &mut ada, &mut bob, 2_000);
    assert!(seen.len() >= 55, "{} of 60", seen.len());
}

#[test]
fn everything_sent_over_one_path_is_numbered_in_one_row() {
    let (mut world, mut ada, mut bob) = two();
    world.show(&bob, "4", Some("ada_cam"));
    for seq in 1..40 {
        world.send(&mut ada, opus(seq, MIC, b"x"));
        film(&mut world, &mut ada, seq, seq == 1);
        world.pass(20);
    }
    let mut numbers = Vec::new();
    for (to, mut datagram) in std::mem::take(&mut world.sent) {
        if to == bob.address && classify(&datagram) == Class::Rtp {
            let opened = bob.inbound.unprotect_rtp(&mut datagram).expect("authentic");
            let packet = Packet::parse(&datagram[..opened.len]).expect("well-formed");
            let number = packet.extension(TWCC_ID).expect("a number");
            numbers.push(u16::from_be_bytes([number[0], number[1]]));
        }
    }
    assert!(numbers.len() >= 78, "{}", numbers.len());
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
}

#[test]
fn statistics_name_what_flows() {
    let (mut world, mut ada, mut bob, mut camera) = call(estimating());
    wish(&mut world, &bob, named(Layer::Medium));
    limit(&mut world, &mut bob, 20_000_000);
    camera.film(&mut world, &mut ada, &mut bob, 4_000);
    let mut page = |room: &str| {
        let request = Request::SessionStats {
            room: Some(RoomId::new(room).expect("valid")),
            after: None,
        };
        match world.ask(request).expect("answered") {
            Response::SessionStats { sessions, more } => (sessions, more),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(page("rm_2"), (Vec::new(), false));
    let (sessions, more) = page("rm_1");
    assert!(!more && sessions.len() == 2);
    let layers = &sessions[0].tracks[0].layers;
    assert_eq!((layers[1].width, layers[1].height), (480, 270));
    assert!((28..=32).contains(&layers[1].fps), "{layers:?}");
    // 800 bytes 30 times a second.
    assert!((150_000..230_000).contains(&layers[1].bitrate_bps), "{layers:?}");
    let slot = &sessions[1].slots[0];
    assert_eq!((slot.layer, slot.paused), (Some(Layer::Medium), false));
    assert!(slot.packets > 90 && slot.bitrate_bps > 150_000, "{slot:?}");
    assert!(sessions[1].send_bps >= slot.bitrate_bps);
    assert!(sessions[0].receive_bps > 500_000);
}

fn with_red(mut line: MediaLine) -> MediaLine {
    let red = CodecParams {
        pt: RED,
        codec: Codec::Red,
        ..line.codecs[0]
    };
    line.codecs.push(red);
    line
}

#[test]
fn redundant_sound_is_taken_apart_for_who_does_not_know_it() {
    let mut world = World::new();
    let mic = with_red(publishing("0", Source::Microphone, "ada_mic", &[]));
    let mut ada = world.join("rm_1", 1001, vec![mic]);
    let mut plain = world.join("rm_1", 1002, vec![slot("2", Kind::Audio)]);
    let mut knowing = with_red(slot("2", Kind::Audio));
    knowing.codecs[0].pt = 100;
    let mut knowing = world.join("rm_1", 1003, vec![knowing]);
    // One earlier frame of three bytes, then the newest.
    let payload = [0x80 | OPUS, 0x0f, 0x00, 0x03, OPUS, 1, 2, 3, 4, 5];
    for seq in 1..4 {
        let media = Media {
            pt: RED,
            ..opus(seq, MIC, &payload)
        };
        world.send(&mut ada, media);
    }
    let seen = world.media_of(&mut plain);
    assert_eq!(seen.len(), 3);
    assert_eq!(
        (seen[0].header.payload_type, &seen[0].payload[..]),
        (OPUS, &[4, 5][..])
    );
    let seen = world.media_of(&mut knowing);
    assert_eq!(seen[0].header.payload_type, RED);
    assert_eq!(
        seen[0].payload,
        [0x80 | 100, 0x0f, 0x00, 0x03, 100, 1, 2, 3, 4, 5]
    );
}

#[test]
fn who_joins_at_a_key_frame_without_parameter_sets_gets_the_known_ones() {
    let (mut world, mut ada, mut bob) = two();
    let send = |world: &mut World, ada: &mut Peer, seq: u64, payload: &[u8]| {
        let media = Media {
            pt: H264,
            ..frame(seq, payload, CAM)
        };
        world.send(ada, media);
    };
    let sets = [24, 0, 4, 0x67, 0x42, 0xe0, 0x1f, 0, 2, 0x68, 0xce];
    send(&mut world, &mut ada, 1, &sets);
    send(&mut world, &mut ada, 2, &[0x41, 1, 2]);
    world.show(&bob, "4", Some("ada_cam"));
    send(&mut world, &mut ada, 3, &[0x41, 1, 2]);
    assert_eq!(world.media_of(&mut bob), []);
    // A picture of its own, for the one before it was another.
    send(&mut world, &mut ada, 4, &[0x65, 1, 2]);
    let seen = world.media_of(&mut bob);
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].payload[3..7], sets[3..7]);
    assert_eq!(seen[1].payload, [0x65, 1, 2]);
    assert_eq!(seen[0].header.timestamp, seen[1].header.timestamp);
    assert_eq!(seen[1].header.sequence, seen[0].header.sequence.wrapping_add(1));
    assert!(!seen[0].header.marker);
}
