//! A slot's map and the rings behind it against everything that ever happened: packets that come in
//! any order and go out under any number, sources that begin anew with the numbers they had before,
//! and requests for whatever a receiver may name. What is found is what was sent under that number,
//! to the byte, or it is nothing; and it is nothing only for a reason.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::rtp::PacketRing;
use crate::rtp::packet_ring::{NotKept, PacketMeta};

/// Sources that take turns on the slot.
const SOURCES: usize = 3;

/// Packets a ring keeps: fewer than the map refers to, so that either forgets first.
const RING: u64 = 256;

const RTT: Duration = Duration::from_millis(60);

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// Packets come from a source, and go out. Numbers are left out before each, at the source and on the slot.
    Send {
        source: usize,
        count: u64,
        lost: u64,
        left_out: u64,
        key: bool,
    },
    /// A packet comes late and goes out under a number that was left for it.
    Late {
        source: usize,
        back: u64,
        place: prop::sample::Index,
    },
    /// The stream of a source begins anew with a number like the one it began with.
    Restart { source: usize, first: u64 },
    /// The receiver asks for a number.
    Nack { back: u16 },
    /// A probe repeats a packet.
    Probe { back: u64 },
    /// The receiver asks for a key frame.
    Pause,
    /// Milliseconds pass.
    Wait { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let first = prop_oneof![0..4u64, 65_400..65_540u64];
    prop_oneof![
        6 => (0..SOURCES, 1..80u64, 0..3u64, 0..3u64, prop::bool::weighted(0.1)).prop_map(
            |(source, count, lost, left_out, key)| Step::Send { source, count, lost, left_out, key }
        ),
        4 => (0..SOURCES, 0..2 * RING, any::<prop::sample::Index>())
            .prop_map(|(source, back, place)| Step::Late { source, back, place }),
        1 => (0..SOURCES, first).prop_map(|(source, first)| Step::Restart { source, first }),
        6 => prop_oneof![0..40u16, 0..700u16, any::<u16>()].prop_map(|back| Step::Nack { back }),
        1 => (0..700u64).prop_map(|back| Step::Probe { back }),
        1 => Just(Step::Pause),
        2 => (0..900u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// A source as it is now.
struct Source {
    id: SourceId,
    ring: PacketRing,
    next: u64,
    /// All that its ring ever took, by number.
    taken: BTreeMap<u64, Vec<u8>>,
}

impl Source {
    fn new(id: u32, first: u64) -> Self {
        Self {
            id: SourceId(id),
            ring: PacketRing::with_capacity(RING as usize),
            next: first,
            taken: BTreeMap::new(),
        }
    }

    /// Whether the ring took the packet. It refuses what it had, and what is older than its window.
    fn take(&mut self, seq: u64, payload: &[u8]) -> bool {
        let meta = PacketMeta {
            seq,
            ..PacketMeta::default()
        };
        let newest = self.taken.last_key_value().map(|(seq, _)| *seq);
        let outside = newest.is_some_and(|newest| seq + RING <= newest);
        match self.ring.insert(meta, payload) {
            Ok(()) => {
                assert!(!outside, "{seq} is older than the window");
                let before = self.taken.insert(seq, payload.to_vec());
                assert!(before.is_none(), "{seq} was taken twice");
                true
            }
            Err(NotKept::Duplicate) => {
                assert!(self.taken.contains_key(&seq), "{seq} never came");
                false
            }
            Err(refusal) => {
                assert!(outside, "{seq}: {refusal:?}");
                false
            }
        }
    }

    /// What the history says of a number: there until a newer packet needs its place.
    fn kept(&self, seq: u64) -> Option<&[u8]> {
        let replaced = self
            .taken
            .range(seq + 1..)
            .any(|(newer, _)| newer % RING == seq % RING);
        self.taken.get(&seq).filter(|_| !replaced).map(Vec::as_slice)
    }
}

/// A packet that went out.
#[derive(Debug, Clone)]
struct Went {
    source: SourceId,
    source_seq: u64,
    out: Out,
    payload: Vec<u8>,
    at: Time,
    resends: Vec<Time>,
    /// It was not too late to be remembered: what is older than all places would take that of a newer one.
    noted: bool,
}

struct Model {
    map: NackMap,
    entries: u64,
    age_max: Duration,
    now: Time,
    sources: Vec<Source>,
    /// Sources there ever were, each with a name of its own.
    named: u32,
    next_out: u64,
    /// Numbers left out on the slot, still free.
    free: Vec<u64>,
    went: BTreeMap<u64, Went>,
    newest_key: u64,
    paused: bool,
    found: usize,
}

impl Model {
    fn new(kind: Kind, first_out: u64) -> Self {
        let (entries, age_max) = match kind {
            Kind::Audio => (AUDIO_ENTRIES, AUDIO_AGE_MAX),
            Kind::Video => (VIDEO_ENTRIES, VIDEO_AGE_MAX),
        };
        Self {
            map: NackMap::new(kind),
            entries: entries as u64,
            age_max,
            now: Time::from_millis(1),
            sources: (0..SOURCES as u32).map(|id| Source::new(id, 65_500)).collect(),
            named: SOURCES as u32,
            next_out: first_out,
            free: Vec::new(),
            went: BTreeMap::new(),
            newest_key: 0,
            paused: false,
            found: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send {
                source,
                count,
                lost,
                left_out,
                key,
            } => {
                for index in 0..count {
                    self.free.extend(self.next_out..self.next_out + left_out);
                    let out_seq = self.next_out + left_out;
                    self.next_out = out_seq + 1;
                    let seq = self.sources[source].next + lost;
                    self.send(source, seq, out_seq, key && index == 0);
                }
            }
            Step::Late {
                source,
                back,
                ref place,
            } => {
                if let (Some(seq), false) = (
                    self.sources[source].next.checked_sub(back + 1),
                    self.free.is_empty(),
                ) {
                    let out_seq = self.free.swap_remove(place.index(self.free.len()));
                    self.send(source, seq, out_seq, false);
                }
            }
            Step::Restart { source, first } => {
                self.sources[source] = Source::new(self.named, first);
                self.named += 1;
            }
            Step::Nack { back } => self.nack((self.next_out as u16).wrapping_sub(back)),
            Step::Probe { back } => self.probe(back),
            Step::Pause => {
                self.map.pause_until_keyframe();
                self.paused = true;
            }
            Step::Wait { millis } => self.now += Duration::from_millis(millis),
        }
    }

    /// A packet that the ring takes goes out at once.
    fn send(&mut self, source: usize, seq: u64, out_seq: u64, key: bool) {
        // No two packets are alike.
        let payload = (self.went.len() as u64).to_be_bytes().to_vec();
        let source = &mut self.sources[source];
        source.next = source.next.max(seq + 1);
        if !source.take(seq, &payload) {
            return;
        }
        let out = Out {
            seq: out_seq,
            timestamp: (out_seq as u32).wrapping_mul(90),
            marker: out_seq.is_multiple_of(3),
            ids: PictureIds {
                picture_id: Some(seq as u16 & 0x7fff),
                ..PictureIds::default()
            },
            switched: false,
            parameter_sets: None,
        };
        self.map.on_sent(self.now, source.id, seq, &out, key);
        if key {
            self.newest_key = self.newest_key.max(out_seq);
            self.paused = false;
        }
        let newest = self.went.last_key_value().map(|(newest, _)| *newest);
        let went = Went {
            noted: newest.is_none_or(|newest| out_seq + self.entries > newest),
            source: source.id,
            source_seq: seq,
            out,
            payload,
            at: self.now,
            resends: Vec::new(),
        };
        self.went.insert(out_seq, went);
    }

    /// The packet of that number, unless a newer one needed its place.
    fn remembered(&self, seq: u64) -> Option<&Went> {
        let replaced = self
            .went
            .range(seq + 1..)
            .any(|(newer, went)| went.noted && newer % self.entries == seq % self.entries);
        self.went.get(&seq).filter(|went| went.noted && !replaced)
    }

    /// What the history answers to a request.
    fn expected(&self, asked: u16) -> Result<u64, NotResent> {
        let newest = self.went.keys().rev().find(|seq| **seq as u16 == asked);
        let (seq, went) = newest
            .and_then(|seq| Some((*seq, self.remembered(*seq)?)))
            .ok_or(NotResent::Unknown)?;
        let last = went.resends.last().copied();
        if self.paused {
            Err(NotResent::Paused)
        } else if seq < self.newest_key || self.now.since(went.at) > self.age_max {
            Err(NotResent::TooOld)
        } else if went.resends.len() >= usize::from(RESENDS_MAX) {
            Err(NotResent::TooOften)
        } else if last.is_some_and(|last| self.now.since(last) < Duration::from_millis(40)) {
            Err(NotResent::TooSoon)
        } else {
            Ok(seq)
        }
    }

    /// Whether the packet is too old to be of use: it may be forgotten before its place is needed.
    fn is_expired(&self, seq: u64) -> bool {
        self.went
            .get(&seq)
            .is_some_and(|went| self.now.since(went.at) > self.age_max)
    }

    fn nack(&mut self, asked: u16) {
        let mut expected = self.expected(asked);
        let answer = self.map.on_nack(self.now, asked, RTT);
        let named = self.went.keys().rev().find(|seq| **seq as u16 == asked);
        if answer == Err(NotResent::Unknown) && named.is_some_and(|seq| self.is_expired(*seq)) {
            expected = Err(NotResent::Unknown);
        }
        assert_eq!(answer.map(|sent| sent.seq), expected, "number {asked}");
        if let Ok(sent) = answer {
            self.check(&sent);
            self.map.on_resent(self.now, sent.seq);
            self.went.get_mut(&sent.seq).expect("sent").resends.push(self.now);
        }
    }

    fn probe(&mut self, back: u64) {
        let newest = self.went.last_key_value().map(|(seq, _)| *seq);
        let asked = newest.and_then(|newest| newest.checked_sub(back));
        let expected = asked
            .and_then(|seq| self.remembered(seq))
            .map(|went| went.out.seq);
        let answer = self.map.recent(back);
        let expected = expected.filter(|seq| answer.is_some() || !self.is_expired(*seq));
        assert_eq!(answer.map(|sent| sent.seq), expected, "{back} back");
        if let Some(sent) = answer {
            self.check(&sent);
        }
    }

    /// The entry is the packet that went out, and leads to its bytes or to none.
    fn check(&mut self, sent: &Sent) {
        let went = &self.went[&sent.seq];
        assert_eq!((sent.source, sent.source_seq), (went.source, went.source_seq));
        assert_eq!(
            (sent.timestamp, sent.marker, sent.ids),
            (went.out.timestamp, went.out.marker, went.out.ids)
        );
        // A source that began anew has another name, and its old packets are gone with it.
        let Some(source) = self.sources.iter().find(|source| source.id == sent.source) else {
            return;
        };
        let found = source.ring.get(sent.source_seq);
        assert_eq!(found.map(|(_, payload)| payload), source.kept(sent.source_seq));
        if let Some((meta, payload)) = found {
            assert_eq!((meta.seq, payload), (went.source_seq, went.payload.as_slice()));
            self.found += 1;
        }
    }
}

fn run(kind: Kind, first_out: u64, steps: &[Step]) -> Model {
    let mut model = Model::new(kind, first_out);
    for step in steps {
        model.step(step);
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_found_is_what_was_sent(
        video: bool,
        first_out in prop_oneof![0..3u64, 65_000..65_536u64, (1u64 << 32) - 300..1 << 32],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        run(if video { Kind::Video } else { Kind::Audio }, first_out, &steps);
    }
}

/// The model asks for what is there, or it would show nothing.
#[test]
fn requests_of_the_model_are_answered() {
    let send = Step::Send {
        source: 0,
        count: 40,
        lost: 1,
        left_out: 1,
        key: false,
    };
    let nacks = (1..60).map(|back| Step::Nack { back });
    let steps: Vec<Step> = std::iter::once(send).chain(nacks).collect();
    assert_eq!(run(Kind::Video, 65_500, &steps).found, 30);
}
