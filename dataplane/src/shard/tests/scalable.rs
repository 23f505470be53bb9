//! Spatial layers of one stream, and AV1 in several: whatever the receiver wishes, everything it gets can
//! be decoded, and its pictures end where they should.

use std::collections::BTreeSet;

use kall_shared::media::Layer;

use super::simulcast::{estimating, limit, named, wish};
use super::*;
use crate::codec::dependency_descriptor::testing::{describe, l1t3, l3t3_key};
use crate::codec::dependency_descriptor::{Descriptor, Structure};
use crate::codec::vp9;
use crate::wire::rtcp;

/// Time between two pictures.
const FRAME: u64 = 33;

/// Pictures of a temporal period: layers 0, 2, 1 and 2.
const PERIOD: u32 = 4;

/// The first SSRC of the camera.
const SSRC: u32 = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// VP9, layers depend on each other in every picture.
    Vp9,
    /// VP9, layers depend on each other in key pictures.
    Vp9Key,
    /// AV1, the same.
    Av1Key,
    /// AV1 in three streams.
    Av1Simulcast,
}

/// A camera with three layers of three temporal ones, a packet a frame.
struct Camera {
    mode: Mode,
    /// Pictures so far, and since the last key picture of each stream.
    picture: u32,
    phase: [u32; 3],
    keys: [bool; 3],
    /// How many layers it sends.
    layers: u8,
    seqs: [u64; 3],
    frames: [u16; 3],
    structures: [Structure; 3],
    /// The next frame stays behind.
    loses: bool,
    /// It did.
    lost: Option<Filmed>,
}

/// A frame of the camera as it is sent.
struct Filmed {
    layer: u8,
    stream: usize,
    seq: u64,
    ts: u32,
    marker: bool,
    descriptor: Vec<u8>,
    payload: Vec<u8>,
}

/// What the end of a payload says of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Frame {
    layer: u8,
    picture: u32,
}

impl Camera {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            picture: 0,
            phase: [0; 3],
            keys: [true; 3],
            layers: 3,
            seqs: [100, 30_000, 9_000],
            frames: [65_500, 7, 40_000],
            structures: if mode == Mode::Av1Simulcast {
                [l1t3(0), l1t3(0), l1t3(62)]
            } else {
                [(); 3].map(|()| l3t3_key(50))
            },
            loses: false,
            lost: None,
        }
    }

    fn streams(&self) -> usize {
        if self.mode == Mode::Av1Simulcast { 3 } else { 1 }
    }

    fn lines(&self) -> Vec<MediaLine> {
        let rids: &[&str] = if self.mode == Mode::Av1Simulcast {
            &["q", "h", "f"]
        } else {
            &[]
        };
        vec![publishing("1", Source::Camera, "ada_cam", rids)]
    }

    fn film(&mut self, world: &mut World, ada: &mut Peer, bob: &mut Peer, millis: u64) -> Vec<Got> {
        let mut seen = Vec::new();
        for _ in 0..millis / FRAME {
            if self.picture.is_multiple_of(100) {
                // Consent, which a long call needs.
                world.check(ada);
                world.check(bob);
            }
            for stream in 0..self.streams() {
                if std::mem::take(&mut self.keys[stream]) {
                    self.phase[stream] = 0;
                }
            }
            for layer in 0..self.layers {
                self.frame(world, ada, layer);
            }
            self.picture += 1;
            for phase in &mut self.phase {
                *phase += 1;
            }
            world.pass(FRAME);
            let (_, feedback) = world.taken(ada);
            for message in feedback.iter().flat_map(|compound| rtcp::packets(compound)) {
                if let Ok(rtcp::Rtcp::Pli(pli)) = message {
                    self.keys[(pli.media_ssrc - SSRC) as usize] = true;
                }
            }
            seen.extend(world.media_of(bob));
        }
        seen
    }

    fn frame(&mut self, world: &mut World, ada: &mut Peer, layer: u8) {
        let simulcast = self.mode == Mode::Av1Simulcast;
        let stream = if simulcast { usize::from(layer) } else { 0 };
        let phase = self.phase[stream];
        let key = phase == 0;
        let mut payload = Vec::new();
        let mut descriptor = Vec::new();
        match self.mode {
            Mode::Vp9 | Mode::Vp9Key => self.vp9(layer, key, &mut payload),
            Mode::Av1Key | Mode::Av1Simulcast => {
                let (base, key_template) = if simulcast { (0, 0) } else { (layer * 5, layer * 5) };
                let template = match phase % PERIOD {
                    _ if key => key_template,
                    0 => base + 1,
                    1 => base + 3,
                    2 => base + 2,
                    _ => base + 4,
                };
                let attach = key && (simulcast || layer == 0);
                descriptor = describe(&self.structures[stream], template, self.frames[stream], attach);
                payload.extend_from_slice(&[0x10, 0x30]);
            }
        }
        self.frames[stream] = self.frames[stream].wrapping_add(1);
        payload.resize(100 + 200 * usize::from(layer), 0);
        payload.push(layer);
        payload.extend_from_slice(&self.picture.to_be_bytes());
        payload.push(u8::from(key));
        payload.push((phase % PERIOD) as u8);
        let filmed = Filmed {
            layer,
            stream,
            seq: self.seqs[stream],
            ts: self.picture * 3_000,
            marker: simulcast || layer + 1 == self.layers,
            descriptor,
            payload,
        };
        self.seqs[stream] += 1;
        if std::mem::take(&mut self.loses) {
            self.lost = Some(filmed);
        } else {
            self.send(world, ada, &filmed);
        }
    }

    fn send(&self, world: &mut World, ada: &mut Peer, filmed: &Filmed) {
        let mut extensions: Vec<(u8, &[u8])> = vec![(MID_ID, b"1")];
        if self.mode == Mode::Av1Simulcast {
            extensions.push((RID_ID, [b"q", b"h", b"f"][usize::from(filmed.layer)]));
        }
        if !filmed.descriptor.is_empty() {
            extensions.push((DESCRIPTOR_ID, &filmed.descriptor));
        }
        let media = Media {
            pt: if filmed.descriptor.is_empty() { VP9 } else { AV1 },
            ssrc: SSRC + filmed.stream as u32,
            seq: filmed.seq,
            ts: filmed.ts,
            marker: filmed.marker,
            extensions: &extensions,
            payload: &filmed.payload,
        };
        world.send(ada, media);
    }

    fn vp9(&self, layer: u8, key: bool, payload: &mut Vec<u8>) {
        let leans = key || self.mode == Mode::Vp9;
        let leaned_on = leans && layer < 2;
        let structure = key && layer == 0;
        // I, L, B and E; P; V; Z.
        payload.push(0xac | u8::from(!key) << 6 | u8::from(structure) << 1 | u8::from(!leaned_on));
        let id = (self.picture + 0x7ff0) as u16 & 0x7fff | 0x8000;
        payload.extend_from_slice(&id.to_be_bytes());
        let temporal = [0, 2, 1, 2][(self.phase[0] % PERIOD) as usize];
        payload.push(temporal << 5 | 0x10 | layer << 1 | u8::from(leans && layer > 0));
        payload.push((self.picture / PERIOD) as u8);
        if structure {
            payload.push((self.layers - 1) << 5 | 0x10);
            for layer in 0..self.layers {
                payload.extend_from_slice(&(320u16 << layer).to_be_bytes());
                payload.extend_from_slice(&(180u16 << layer).to_be_bytes());
            }
        }
    }
}

/// What a receiver knows: frames it could decode, and the structure it reads descriptors by.
struct Decoder {
    mode: Mode,
    decoded: BTreeSet<Frame>,
    last: Option<Got>,
    structure: Option<Structure>,
    /// Frame numbers that came, by the receiver's count.
    numbers: BTreeSet<u16>,
    newest_number: Option<u16>,
    /// Layers of pictures that were complete, in order.
    shown: Vec<u8>,
    current: Option<u8>,
    /// Frames of the uppermost temporal layers.
    upper: usize,
}

impl Decoder {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            decoded: BTreeSet::new(),
            last: None,
            structure: None,
            numbers: BTreeSet::new(),
            newest_number: None,
            shown: Vec::new(),
            current: None,
            upper: 0,
        }
    }

    /// Takes what came: every frame must be decodable, and every picture must end.
    fn take(&mut self, seen: Vec<Got>) {
        for got in seen {
            if let Some(last) = &self.last {
                assert_eq!(
                    got.header.sequence,
                    last.header.sequence.wrapping_add(1),
                    "no gap"
                );
                let same = got.header.timestamp == last.header.timestamp;
                assert_eq!(
                    same, !last.header.marker,
                    "a picture ends at its marker: {last:?}"
                );
            }
            self.frame(&got);
            self.last = Some(got);
        }
    }

    fn frame(&mut self, got: &Got) {
        let tail = got.payload.last_chunk::<7>().expect("a camera's payload");
        let [layer, a, b, c, d, key, phase] = *tail;
        let picture = u32::from_be_bytes([a, b, c, d]);
        let own = Frame { layer, picture };
        let mut needs = Vec::new();
        if key == 0 {
            let back = [4, 1, 2, 1][usize::from(phase)];
            needs.push(Frame {
                layer,
                picture: picture - back,
            });
        }
        let leans = self.mode == Mode::Vp9 || key == 1 && self.mode != Mode::Av1Simulcast;
        if leans && layer > 0 {
            needs.push(Frame {
                layer: layer - 1,
                picture,
            });
        }
        for need in needs {
            assert!(self.decoded.contains(&need), "{own:?} needs {need:?}");
        }
        self.decoded.insert(own);
        self.upper += usize::from(phase % 2 == 1);
        match &got.descriptor {
            Some(data) => self.descriptor(data, got.header.marker),
            None => {
                let descriptor = vp9::Descriptor::parse(&got.payload).expect("VP9");
                assert_eq!(descriptor.spatial_id(), layer);
            }
        }
        self.current = Some(layer);
        if got.header.marker {
            self.shown.extend(self.current.take());
        }
    }

    /// By the descriptor alone: the frame refers to frames that came.
    fn descriptor(&mut self, data: &[u8], ends_picture: bool) {
        let read = Descriptor::parse(data, self.structure.as_ref()).expect("readable here");
        let number = read.mandatory.frame_number;
        if let Some(newest) = self.newest_number {
            assert!(number.wrapping_sub(newest) as i16 > 0, "{number} after {newest}");
        }
        for distance in read.references.distances() {
            let reference = number.wrapping_sub(*distance);
            assert!(
                self.numbers.contains(&reference),
                "{number} refers to {reference}"
            );
        }
        self.numbers.insert(number);
        self.newest_number = Some(number);
        if let Some(new) = read.attached {
            if let Some(old) = self.structure.as_ref().filter(|old| **old != new) {
                let ids = |own: &Structure| -> BTreeSet<u8> {
                    let count = own.templates().len() as u8;
                    (0..count).map(|index| (own.offset + index) & 0x3f).collect()
                };
                assert!(ids(old).is_disjoint(&ids(&new)), "template ids are told apart");
            }
            self.structure = Some(new);
        }
        let structure = self.structure.as_ref().expect("there is one");
        if let Some(active) = read.active_targets.filter(|_| ends_picture) {
            assert_eq!(
                active,
                structure.targets_up_to(read.spatial),
                "the top that goes on"
            );
        }
    }
}

fn call(mode: Mode) -> (World, Peer, Peer, Camera, Decoder) {
    let camera = Camera::new(mode);
    let mut world = World::new();
    let ada = world.join("rm_1", 1001, camera.lines());
    let mut bob = world.join("rm_1", 1002, estimating());
    wish(&mut world, &bob, named(Layer::Low));
    limit(&mut world, &mut bob, 20_000_000);
    (world, ada, bob, camera, Decoder::new(mode))
}

/// Wishes without end: what is wished is shown, and all of it can be decoded.
fn check(mode: Mode) {
    let (mut world, mut ada, mut bob, mut camera, mut decoder) = call(mode);
    decoder.take(camera.film(&mut world, &mut ada, &mut bob, 3_000));
    assert_eq!(world.slot(&bob, "4").layer, Some(Layer::Low), "layers are known");
    let layers = [Layer::Low, Layer::Medium, Layer::High];
    let mut state = 5u32;
    for _ in 0..60 {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let rank = (state >> 16) as usize % 3;
        let max_fps = (state >> 24).is_multiple_of(4).then_some(8);
        let wanted = SlotWish {
            max_fps,
            ..named(layers[rank])
        };
        wish(&mut world, &bob, wanted);
        decoder.take(camera.film(&mut world, &mut ada, &mut bob, 1_600 + u64::from(state >> 22)));
        assert_eq!(world.slot(&bob, "4").layer, Some(layers[rank]));
        assert_eq!(decoder.shown.last().copied(), Some(rank as u8), "{mode:?}");
    }
    decoder.shown.dedup();
    assert!(decoder.shown.len() > 30, "{:?}", decoder.shown);
    assert!(decoder.upper > 100);
    assert_eq!(world.counter("bug_egress_guard"), 0);
    assert_eq!(world.counter("drop_too_long"), 0);
}

#[test]
fn vp9_layers_that_always_depend() {
    check(Mode::Vp9);
}

#[test]
fn vp9_layers_that_depend_in_key_pictures() {
    check(Mode::Vp9Key);
}

#[test]
fn av1_layers_that_depend_in_key_pictures() {
    check(Mode::Av1Key);
}

#[test]
fn av1_layers_in_streams_of_their_own() {
    check(Mode::Av1Simulcast);
}

#[test]
fn what_overtook_a_structure_is_sent_once_that_is_there() {
    let (mut world, mut ada, mut bob, mut camera, mut decoder) = call(Mode::Av1Key);
    decoder.take(camera.film(&mut world, &mut ada, &mut bob, 3_000));
    // A key picture with other templates, which bob needs none of: he shows the lowest layer already.
    camera.structures[0] = l3t3_key(10);
    camera.keys[0] = true;
    camera.loses = true;
    let key = camera.picture;
    decoder.take(camera.film(&mut world, &mut ada, &mut bob, 3 * FRAME));
    let lost = camera.lost.take().expect("the base of the key picture");
    camera.send(&mut world, &mut ada, &lost);
    decoder.take(camera.film(&mut world, &mut ada, &mut bob, 500));
    let base = |picture| Frame { layer: 0, picture };
    let missing: Vec<u32> = (key..camera.picture)
        .filter(|picture| !decoder.decoded.contains(&base(*picture)))
        .collect();
    assert!(missing.is_empty(), "{missing:?} of {key}..{}", camera.picture);
}

#[test]
fn going_down_takes_no_key_picture_where_layers_always_depend() {
    let (mut world, mut ada, mut bob, mut camera, mut decoder) = call(Mode::Vp9);
    wish(&mut world, &bob, named(Layer::High));
    decoder.take(camera.film(&mut world, &mut ada, &mut bob, 3_000));
    assert_eq!(decoder.shown.last(), Some(&2));
    let asked = world.counter("pli_sent");
    wish(&mut world, &bob, named(Layer::Low));
    decoder.take(camera.film(&mut world, &mut ada, &mut bob, 100));
    assert_eq!(decoder.shown.last(), Some(&0));
    assert_eq!(world.counter("pli_sent"), asked);
}

#[test]
fn the_publisher_is_told_of_layers_by_number() {
    for mode in [Mode::Vp9Key, Mode::Av1Key] {
        let (mut world, mut ada, mut bob, mut camera, mut decoder) = call(mode);
        decoder.take(camera.film(&mut world, &mut ada, &mut bob, 7_000));
        let told = world.events.iter().rev().find_map(|event| match event {
            Event::Dynacast { layers, .. } => Some(layers.clone()),
            _ => None,
        });
        let told: Vec<(String, bool)> = told
            .expect("nobody takes the upper layers")
            .into_iter()
            .map(|(name, wanted)| (name.to_string(), wanted))
            .collect();
        let expected = [("0", true), ("1", false), ("2", false)];
        assert_eq!(told, expected.map(|(name, wanted)| (name.to_owned(), wanted)));
        // A publisher that obeys sends one layer; asked for more, it sends three again.
        camera.layers = 1;
        camera.keys[0] = true;
        if mode == Mode::Vp9Key {
            decoder.take(camera.film(&mut world, &mut ada, &mut bob, 3_000));
            wish(&mut world, &bob, named(Layer::High));
            camera.layers = 3;
            camera.keys[0] = true;
            decoder.take(camera.film(&mut world, &mut ada, &mut bob, 3_000));
            assert_eq!(decoder.shown.last(), Some(&2));
        }
    }
}

#[test]
fn a_layer_that_is_not_sent_any_more_is_left() {
    let (mut world, mut ada, mut bob, mut camera, mut decoder) = call(Mode::Vp9Key);
    wish(&mut world, &bob, named(Layer::High));
    decoder.take(camera.film(&mut world, &mut ada, &mut bob, 5_000));
    assert_eq!(decoder.shown.last(), Some(&2));
    // The publisher's path is narrow: its encoder goes on with two layers.
    camera.layers = 2;
    camera.keys[0] = true;
    decoder.take(camera.film(&mut world, &mut ada, &mut bob, 4_000));
    assert_eq!(decoder.shown.last(), Some(&1));
    assert_eq!(world.slot(&bob, "4").layer, Some(Layer::Medium));
}
