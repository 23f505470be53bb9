//! A receiver of one video slot: it repairs what was lost, assembles frames, decodes those it can, and asks
//! for a key frame when it can't go on.

use std::time::Duration;

use kall_dataplane::time::Time;
use kall_dataplane::wire::rtcp::{nack, pli};

use super::transmitter::Transmitter;
use crate::codec::av1::Structures;
use crate::codec::{Facts, Label, Said, Source};

/// Packets remembered.
const MEMORY: u64 = 2048;

/// Most packets missed at once; beyond that repair has failed.
const MISSING_MAX: usize = 500;

/// A packet that is late by less than this may only have been overtaken.
const REORDER: Duration = Duration::from_millis(5);

/// Requests for one packet.
const TRIES: u8 = 10;

/// Interval of looking at what is missing.
const REPAIR_TICK: Duration = Duration::from_millis(10);

/// How long packets come before the first key frame is asked for, and between two requests.
const KEY_WAIT: Duration = Duration::from_millis(300);

/// How long nothing could be decoded, though packets come, before a key frame is asked for.
const STUCK: Duration = Duration::from_secs(1);

/// Packets that came within this time show that the slot is fed.
const FED: Duration = Duration::from_millis(500);

/// Frames that later ones may be predicted from: four pictures of three layers, and room for loss.
const REFERENCES: usize = 32;

/// A packet as it came.
#[derive(Debug, Clone, Copy)]
struct Held {
    seq: u64,
    timestamp: u32,
    marker: bool,
    facts: Facts,
}

/// A packet that is missed.
#[derive(Debug, Clone, Copy)]
struct Missing {
    seq: u64,
    due: Time,
    tries: u8,
}

/// A picture that was decoded, by the frame of its highest layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decoded {
    pub(crate) at: Time,
    pub(crate) label: Label,
}

#[derive(Debug)]
pub(crate) struct VideoSlot {
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: u32,
    highest: Option<u64>,
    packets: Vec<Option<Held>>,
    missing: Vec<Missing>,
    /// The first number after the last frame that was decoded.
    next: Option<u64>,
    /// Starts of frames after it that may be decoded without all that lies between.
    entries: Vec<u64>,
    /// TL0PICIDX of the last frame that was decoded.
    lowest: Option<u8>,
    /// Frames that later ones may be predicted from, of this source.
    references: (Option<Source>, Vec<u32>),
    /// What dependency descriptors are read by, where they leave the server.
    pub(crate) structures: Structures,
    last_packet: Time,
    stuck_since: Option<Time>,
    key_due: Time,
    gave_up: bool,
    /// Everything that was decoded.
    pub(crate) decoded: Vec<Decoded>,
    /// Frames that looked whole and were not what they were predicted from.
    pub(crate) corrupted: u64,
    /// When key frames were asked for.
    pub(crate) key_requests: Vec<Time>,
    pub(crate) received: u64,
}

/// TL0PICIDX of a packet, and where in the temporal layers it is.
struct Lowest {
    tl0: u8,
    temporal: u8,
    sync: bool,
}

fn lowest(facts: &Facts) -> Option<Lowest> {
    match facts.said {
        Said::Vp8(ids) => Some(Lowest {
            tl0: ids.tl0,
            temporal: ids.temporal,
            sync: ids.sync,
        }),
        Said::Vp9(_) | Said::Av1(_) | Said::Nothing => None,
    }
}

/// Whether a receiver finds what a frame is predicted from by ids of its own.
fn names_references(facts: &Facts) -> bool {
    match facts.said {
        // By distances, or by the pattern of the group of pictures beside TL0PICIDX.
        Said::Vp9(said) => said.distance.is_some() || said.tl0.is_some(),
        Said::Av1(_) => true,
        Said::Vp8(_) | Said::Nothing => false,
    }
}

/// Whether a frame may be decoded without all that comes before it, as far as it alone can tell. A frame that needs the
/// layer below is no beginning of a picture.
fn may_enter(facts: &Facts) -> bool {
    let lowest = lowest(facts).is_some_and(|own| own.temporal == 0 || own.sync);
    facts.label.enters() || facts.label.below.is_none() && (names_references(facts) || lowest)
}

impl VideoSlot {
    pub(crate) fn new(ssrc: u32, rtx_ssrc: u32) -> Self {
        Self {
            ssrc,
            rtx_ssrc,
            highest: None,
            packets: vec![None; MEMORY as usize],
            missing: Vec::new(),
            next: None,
            entries: Vec::new(),
            lowest: None,
            references: (None, Vec::new()),
            structures: Structures::default(),
            last_packet: Time::ZERO,
            stuck_since: None,
            key_due: Time::FAR_FUTURE,
            gave_up: false,
            decoded: Vec::new(),
            corrupted: 0,
            key_requests: Vec::new(),
            received: 0,
        }
    }

    /// The highest extended number that came.
    pub(crate) const fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// When [`Self::poll`] is wanted.
    pub(crate) fn poll_deadline(&self) -> Time {
        let repair = self.missing.iter().map(|missing| missing.due).min();
        let key = if self.stuck_since.is_some() {
            self.key_due
        } else {
            Time::FAR_FUTURE
        };
        repair.unwrap_or(Time::FAR_FUTURE).min(key)
    }

    /// Takes a packet of the primary stream, or one that was sent again.
    pub(crate) fn on_packet(&mut self, now: Time, sequence: u16, timestamp: u32, marker: bool, facts: Facts) {
        self.last_packet = now;
        self.received += 1;
        let Some(seq) = self.place(now, sequence) else {
            return;
        };
        let index = (seq % MEMORY) as usize;
        if self.packets[index].is_some_and(|there| there.seq >= seq) {
            return;
        }
        if let Ok(found) = self.missing.binary_search_by_key(&seq, |missing| missing.seq) {
            self.missing.remove(found);
        }
        self.packets[index] = Some(Held {
            seq,
            timestamp,
            marker,
            facts,
        });
        if self.next.is_some_and(|next| seq < next) {
            return;
        }
        if facts.label.starts() && may_enter(&facts) {
            let place = self.entries.partition_point(|start| *start < seq);
            self.entries.insert(place, seq);
        }
        let fills = self.highest.is_some_and(|highest| seq < highest);
        if marker || fills {
            self.decode(now);
        }
        if self.stuck_since.is_none() {
            self.stuck_since = Some(now);
            self.key_due = now + if self.next.is_none() { KEY_WAIT } else { STUCK };
        }
    }

    /// The extended number; what lies between it and the highest is missed from now on.
    fn place(&mut self, now: Time, sequence: u16) -> Option<u64> {
        let Some(highest) = self.highest else {
            let seq = (1 << 16) + u64::from(sequence);
            self.highest = Some(seq);
            return Some(seq);
        };
        let step = sequence.wrapping_sub(highest as u16) as i16;
        let seq = highest.wrapping_add_signed(i64::from(step));
        if seq + MEMORY <= highest {
            return None;
        }
        for missing in highest + 1..seq {
            self.missing.push(Missing {
                seq: missing,
                due: now + REORDER,
                tries: 0,
            });
        }
        if self.missing.len() > MISSING_MAX {
            self.missing.clear();
            self.gave_up = true;
        }
        self.highest = Some(highest.max(seq));
        Some(seq)
    }

    fn held(&self, seq: u64) -> Option<&Held> {
        self.packets[(seq % MEMORY) as usize]
            .as_ref()
            .filter(|held| held.seq == seq)
    }

    /// The last number of the frame that starts at `first`, if all of it is there.
    fn whole(&self, first: u64) -> Option<u64> {
        let start = self.held(first).filter(|held| held.facts.label.starts())?;
        let mut last = first;
        loop {
            let held = self.held(last).filter(|held| held.timestamp == start.timestamp)?;
            if held.marker {
                return Some(last);
            }
            last += 1;
        }
    }

    /// Whether a picture needs nothing that lies between it and the last one that was decoded: a key picture, one
    /// whose references are named and were decoded, or in temporal layers the next one that depends on the lowest only
    /// (RFC 7741 section 4.2).
    fn enters(&self, first: u64) -> bool {
        let Some(facts) = self.held(first).map(|held| held.facts) else {
            return false;
        };
        if facts.label.enters() {
            return true;
        }
        if names_references(&facts) {
            return self.source() == Some(facts.label.source)
                && facts.label.references().all(|reference| self.has(reference));
        }
        lowest(&facts).zip(self.lowest).is_some_and(|(own, lowest)| {
            let steps = own.tl0.wrapping_sub(lowest);
            if own.temporal == 0 {
                steps == 1
            } else {
                own.sync && steps == 0
            }
        })
    }

    fn source(&self) -> Option<Source> {
        self.references.0
    }

    fn has(&self, frame: u32) -> bool {
        self.references.1.contains(&frame)
    }

    /// Decodes what can be, in order; what can be decoded without them makes earlier packets needless.
    fn decode(&mut self, now: Time) {
        loop {
            let next = self.next.filter(|next| self.whole(*next).is_some());
            let entry = || {
                let entries = self.entries.iter().copied();
                entries
                    .clone()
                    .find(|start| self.enters(*start) && self.whole(*start).is_some())
            };
            let Some(first) = next.or_else(entry) else { return };
            let (Some(last), Some(held)) = (self.whole(first), self.held(first)) else {
                return;
            };
            let facts = held.facts;
            for seq in first..=last {
                let label = self.held(seq).map(|held| held.facts.label);
                if let Some(label) = label.filter(Label::starts) {
                    self.take_in(&label);
                }
            }
            let shown = self.held(last).map_or(facts.label, |held| held.facts.label);
            self.decoded.push(Decoded {
                at: now,
                label: shown,
            });
            self.lowest = lowest(&facts).map(|own| own.tl0);
            self.next = Some(last + 1);
            self.entries.retain(|start| *start > last);
            // Where references are named, nothing before a picture that was decoded is waited for.
            if facts.label.key || names_references(&facts) {
                self.missing.retain(|missing| missing.seq > first);
                self.gave_up = false;
            }
            self.stuck_since = None;
        }
    }

    /// A decoder gets a frame.
    fn take_in(&mut self, label: &Label) {
        if label.enters() {
            self.references = (Some(label.source), Vec::new());
        } else if self.source() != Some(label.source)
            || !label.references().all(|reference| self.has(reference))
        {
            self.corrupted += 1;
        }
        let frames = &mut self.references.1;
        frames.push(label.frame);
        if frames.len() > REFERENCES {
            frames.remove(0);
        }
    }

    /// Sends the requests that are due. `rtt` is the round trip as this peer knows it.
    pub(crate) fn poll(&mut self, now: Time, own_ssrc: u32, rtt: Duration, out: &mut Transmitter) {
        self.poll_nack(now, own_ssrc, rtt, out);
        let fed = now.since(self.last_packet) < FED;
        if self.gave_up && self.stuck_since.is_some() {
            // It waits for nothing any more.
            let asked = self.key_requests.last();
            self.key_due = asked.map_or(now, |asked| now.max(*asked + KEY_WAIT));
        }
        if self.stuck_since.is_none() || now < self.key_due {
            return;
        }
        if !fed {
            self.stuck_since = None;
        } else {
            self.gave_up = false;
            self.key_due = now + KEY_WAIT.max(rtt * 2);
            self.key_requests.push(now);
            out.send_rtcp(|buf| pli::write(buf, own_ssrc, self.ssrc));
        }
    }

    fn poll_nack(&mut self, now: Time, own_ssrc: u32, rtt: Duration, out: &mut Transmitter) {
        let mut lost = Vec::new();
        for missing in &mut self.missing {
            if missing.due <= now {
                missing.tries += 1;
                missing.due = now + rtt.max(REPAIR_TICK);
                lost.push(missing.seq as u16);
            }
        }
        if lost.is_empty() {
            return;
        }
        let before = self.missing.len();
        self.missing.retain(|missing| missing.tries <= TRIES);
        self.gave_up |= self.missing.len() < before;
        // A message takes what fits.
        for chunk in lost.chunks(64) {
            out.send_rtcp(|buf| nack::write(buf, own_ssrc, self.ssrc, chunk));
        }
    }
}
