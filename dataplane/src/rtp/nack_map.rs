//! What was sent under which number on one slot, to answer a subscriber's NACK.
//!
//! Owns references into packet rings, not packets: an entry says which source packet went out and how it was
//! rewritten, so that the retransmission (RFC 4588) carries the very payload that was lost. The whole number
//! is compared on look-up, and the source's packet ring compares its own, so a stale entry finds nothing
//! rather than the wrong packet. There is one such memory for each stream of each subscriber, so an entry is packed into
//! half a cache line, and there are as many as the rate makes useful.

use std::time::Duration;

use kall_shared::media::Kind;

use crate::forward::rewriter::{Out, PictureIds, SourceId};
use crate::io::prefetch::prefetch;
use crate::rtp::ext_seq::nearest_u16;
use crate::time::Time;

/// Most entries of a video slot: two seconds at 250 packets/s, and what a packet ring still has. A power of two, as
/// all sizes here.
pub const VIDEO_ENTRIES: usize = 512;

/// Most entries of an audio slot: more than a second at 20 ms a packet.
pub const AUDIO_ENTRIES: usize = 64;

/// Entries to begin with.
const ENTRIES_MIN: usize = 16;

/// Resends of one packet; a receiver that lost it six times has a path that needs fewer packets.
pub const RESENDS_MAX: u8 = 5;

/// Least time between two resends of one packet; two thirds of the round trip if that is longer. Until
/// then the receiver can't know whether the last one came; and no later, for it asks after its own idea
/// of the round trip, and a request refused costs it another one.
pub const RESEND_SPACING: Duration = Duration::from_millis(20);

/// Oldest audio packet worth resending: it has been concealed by then.
const AUDIO_AGE_MAX: Duration = Duration::from_secs(1);

/// Oldest video packet worth resending: a decoder has asked for a key frame by then.
const VIDEO_AGE_MAX: Duration = Duration::from_secs(2);

/// One packet that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Number it went out under.
    pub seq: u64,
    /// Where it came from.
    pub source: SourceId,
    /// Its number there.
    pub source_seq: u64,
    /// RTP timestamp it went out with.
    pub timestamp: u32,
    /// Marker it went out with.
    pub marker: bool,
    /// Picture ids it went out with.
    pub ids: PictureIds,
    /// Milliseconds; wraps.
    sent_at: u32,
    /// Milliseconds after that, if it was resent.
    resent_after: u16,
    resends: u8,
}

/// A [`Sent`] as it is kept.
#[derive(Debug, Clone, Copy, Default)]
struct Packed {
    source_seq: u64,
    /// Low bits of the number: who looks it up knows the others.
    seq: u32,
    source: u32,
    timestamp: u32,
    sent_at: u32,
    resent_after: u16,
    picture_id: u16,
    tl0picidx: u8,
    /// KEYIDX has five bits; above them the three of the top layer.
    keyidx_and_layer: u8,
    /// Six bits, [`USED`] and [`MARKER`].
    template_shift: u8,
    /// Which ids there are, and above them how often it was resent.
    present: u8,
}

const _: () = assert!(size_of::<Packed>() == 32);

/// The entry is in use.
const USED: u8 = 1 << 6;
const MARKER: u8 = 1 << 7;
const PICTURE_ID: u8 = 1;
const TL0PICIDX: u8 = 1 << 1;
const KEYIDX: u8 = 1 << 2;
const TOP_LAYER: u8 = 1 << 3;
const RESENDS_SHIFT: u8 = 4;

impl Packed {
    fn new(sent: &Sent) -> Self {
        let PictureIds {
            picture_id,
            tl0picidx,
            keyidx,
            template_shift,
            top_layer,
        } = sent.ids;
        let has = |bit, there| if there { bit } else { 0 };
        Self {
            source_seq: sent.source_seq,
            seq: sent.seq as u32,
            source: sent.source.0,
            timestamp: sent.timestamp,
            sent_at: sent.sent_at,
            resent_after: sent.resent_after,
            picture_id: picture_id.unwrap_or(0),
            tl0picidx: tl0picidx.unwrap_or(0),
            keyidx_and_layer: keyidx.unwrap_or(0) & 0x1f | top_layer.unwrap_or(0) << 5,
            template_shift: template_shift & 0x3f | USED | has(MARKER, sent.marker),
            present: has(PICTURE_ID, picture_id.is_some())
                | has(TL0PICIDX, tl0picidx.is_some())
                | has(KEYIDX, keyidx.is_some())
                | has(TOP_LAYER, top_layer.is_some())
                | sent.resends << RESENDS_SHIFT,
        }
    }

    fn is_used(&self) -> bool {
        self.template_shift & USED != 0
    }

    /// What it says, if it is of this number.
    fn of(&self, seq: u64) -> Option<Sent> {
        if !self.is_used() || self.seq != seq as u32 {
            return None;
        }
        let has = |bit| self.present & bit != 0;
        Some(Sent {
            seq,
            source: SourceId(self.source),
            source_seq: self.source_seq,
            timestamp: self.timestamp,
            marker: self.template_shift & MARKER != 0,
            ids: PictureIds {
                picture_id: has(PICTURE_ID).then_some(self.picture_id),
                tl0picidx: has(TL0PICIDX).then_some(self.tl0picidx),
                keyidx: has(KEYIDX).then_some(self.keyidx_and_layer & 0x1f),
                template_shift: self.template_shift & 0x3f,
                top_layer: has(TOP_LAYER).then_some(self.keyidx_and_layer >> 5),
            },
            sent_at: self.sent_at,
            resent_after: self.resent_after,
            resends: self.present >> RESENDS_SHIFT,
        })
    }
}

fn millis(now: Time) -> u32 {
    (now.as_nanos() / 1_000_000) as u32
}

fn since(now: Time, then: u32) -> Duration {
    Duration::from_millis(u64::from(millis(now).wrapping_sub(then)))
}

/// Why a requested packet is not resent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotResent {
    /// No such number was sent, or it is forgotten.
    Unknown,
    /// Too old to be of use, or a key frame made it useless.
    TooOld,
    /// It was resent a moment ago.
    TooSoon,
    /// It was resent often enough.
    TooOften,
    /// The receiver waits for a key frame.
    Paused,
}

/// The newest packets sent on one slot.
#[derive(Debug)]
pub struct NackMap {
    entries: Vec<Packed>,
    entries_max: usize,
    age_max: Duration,
    highest: Option<u64>,
    /// Numbers below it are from before the newest key frame.
    floor: u64,
    /// When that was sent.
    keyed_at: Option<Time>,
    paused: bool,
}

impl NackMap {
    /// For a slot of this kind.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let (entries_max, age_max) = match kind {
            Kind::Audio => (AUDIO_ENTRIES, AUDIO_AGE_MAX),
            Kind::Video => (VIDEO_ENTRIES, VIDEO_AGE_MAX),
        };
        Self {
            entries: vec![Packed::default(); ENTRIES_MIN],
            entries_max,
            age_max,
            highest: None,
            floor: 0,
            keyed_at: None,
            paused: false,
        }
    }

    /// Notes a packet that was sent for the first time. `keyframe_start`: a decoder can start with it,
    /// so that nothing before it needs repair.
    pub fn on_sent(&mut self, now: Time, source: SourceId, source_seq: u64, out: &Out, keyframe_start: bool) {
        // A late one never takes the place of a newer one.
        while let Some(highest) = self.highest
            && out.seq + self.entries.len() as u64 <= highest
        {
            if self.entries.len() == self.entries_max {
                return;
            }
            self.grow();
        }
        self.make_room(now, out.seq);
        let index = self.index(out.seq);
        self.entries[index] = Packed::new(&Sent {
            seq: out.seq,
            source,
            source_seq,
            timestamp: out.timestamp,
            marker: out.marker,
            ids: out.ids,
            sent_at: millis(now),
            resent_after: 0,
            resends: 0,
        });
        self.highest = Some(self.highest.map_or(out.seq, |highest| highest.max(out.seq)));
        if keyframe_start {
            self.floor = self.floor.max(out.seq);
            self.keyed_at = Some(now);
            self.paused = false;
        }
    }

    /// When the newest key frame was sent.
    #[must_use]
    pub fn keyed_at(&self) -> Option<Time> {
        self.keyed_at
    }

    /// The receiver asked for a key frame: until one is sent, resending what it can't decode is waste.
    pub fn pause_until_keyframe(&mut self) {
        self.paused = true;
    }

    /// Whether the receiver's request for a key frame is not answered yet.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// What to resend for a number the receiver misses. The caller also asks the
    /// [`crate::rtp::RtxBudget`] and tells [`Self::on_resent`] when it did resend.
    ///
    /// # Errors
    /// It was never sent, or one of the bounds of this file forbids it.
    pub fn on_nack(&self, now: Time, seq: u16, rtt: Duration) -> Result<Sent, NotResent> {
        let highest = self.highest.ok_or(NotResent::Unknown)?;
        let seq = nearest_u16(highest, seq);
        let sent = self.get(seq).ok_or(NotResent::Unknown)?;
        if self.paused {
            return Err(NotResent::Paused);
        }
        let age = since(now, sent.sent_at);
        if seq < self.floor || age > self.age_max {
            return Err(NotResent::TooOld);
        }
        if sent.resends >= RESENDS_MAX {
            return Err(NotResent::TooOften);
        }
        let resent = Duration::from_millis(sent.resent_after.into());
        if sent.resends > 0 && age.saturating_sub(resent) < (rtt * 2 / 3).max(RESEND_SPACING) {
            return Err(NotResent::TooSoon);
        }
        Ok(sent)
    }

    /// Notes that the packet with this (extended) number was resent.
    pub fn on_resent(&mut self, now: Time, seq: u64) {
        let Some(sent) = self.get(seq) else { return };
        let index = self.index(seq);
        self.entries[index] = Packed::new(&Sent {
            resends: sent.resends + 1,
            resent_after: u16::try_from(since(now, sent.sent_at).as_millis()).unwrap_or(u16::MAX),
            ..sent
        });
    }

    /// The packet `back` numbers below the highest, if it is there: what a probe repeats.
    #[must_use]
    pub fn recent(&self, back: u64) -> Option<Sent> {
        let seq = self.highest?.checked_sub(back)?;
        self.get(seq)
    }

    /// Fetches the place of the next packet.
    pub fn prefetch(&self) {
        let next = self.highest.map_or(0, |highest| highest + 1);
        prefetch(&self.entries[self.index(next)]);
    }

    fn get(&self, seq: u64) -> Option<Sent> {
        self.entries[self.index(seq)].of(seq)
    }

    /// Grows, if `seq` would take the place of a packet that may still be asked for.
    fn make_room(&mut self, now: Time, seq: u64) {
        while self.entries.len() < self.entries_max {
            let there = self.entries[self.index(seq)];
            if !there.is_used() || there.seq == seq as u32 || since(now, there.sent_at) > self.age_max {
                return;
            }
            self.grow();
        }
    }

    fn grow(&mut self) {
        let size = self.entries.len() * 2;
        let mut entries = vec![Packed::default(); size];
        for entry in self.entries.iter().filter(|entry| entry.is_used()) {
            entries[entry.seq as usize & (size - 1)] = *entry;
        }
        self.entries = entries;
    }

    fn index(&self, seq: u64) -> usize {
        // The size is a power of two.
        seq as usize & (self.entries.len() - 1)
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    fn send(map: &mut NackMap, at: u64, seq: u64, key: bool) {
        let out = Out {
            seq,
            timestamp: seq as u32 * 10,
            marker: false,
            ids: PictureIds::default(),
            switched: false,
            parameter_sets: None,
        };
        map.on_sent(Time::from_millis(at), SourceId(1), seq + 1000, &out, key);
    }

    #[test]
    fn finds_exactly_the_packet_over_the_wrap() {
        let mut map = NackMap::new(Kind::Video);
        for seq in 65_500..65_600 {
            send(&mut map, 0, seq, false);
        }
        assert_eq!(map.on_nack(Time::ZERO, 65_530, RTT).unwrap().source_seq, 66_530);
        assert_eq!(map.on_nack(Time::ZERO, 10, RTT).unwrap().source_seq, 66_546);
        assert_eq!(map.on_nack(Time::ZERO, 64, RTT), Err(NotResent::Unknown));
    }

    #[test]
    fn overwritten_entries_are_unknown() {
        let mut map = NackMap::new(Kind::Audio);
        for seq in 0..=AUDIO_ENTRIES as u64 {
            send(&mut map, 0, seq, false);
        }
        assert_eq!(map.on_nack(Time::ZERO, 0, RTT), Err(NotResent::Unknown));
        assert!(map.on_nack(Time::ZERO, 1, RTT).is_ok());
        // A late packet never takes the place of a newer one.
        send(&mut map, 0, 0, false);
        assert!(map.on_nack(Time::ZERO, AUDIO_ENTRIES as u16, RTT).is_ok());
    }

    #[test]
    fn there_are_as_many_entries_as_the_rate_makes_useful() {
        let mut map = NackMap::new(Kind::Video);
        for seq in 0..1000 {
            send(&mut map, seq * 100, seq, false);
        }
        assert_eq!(map.entries.len(), 32);
        for seq in 1000..3000 {
            send(&mut map, 100_000 + seq * 10, seq, false);
        }
        assert_eq!(map.entries.len(), 256);
        let now = Time::from_millis(129_990);
        let known = (2_700..3_000).filter(|seq| map.on_nack(now, *seq, RTT).is_ok());
        assert_eq!(known.count(), 201);
    }

    proptest! {
        #[test]
        fn an_entry_says_what_was_sent(
            seq in any::<u64>(),
            numbers in any::<(u32, u64, u32, u32, u16)>(),
            marker in any::<bool>(),
            picture_id in any::<Option<u16>>(),
            tl0picidx in any::<Option<u8>>(),
            keyidx in proptest::option::of(0u8..32),
            template_shift in 0u8..64,
            top_layer in proptest::option::of(0u8..8),
            resends in 0..=RESENDS_MAX,
        ) {
            let (source, source_seq, timestamp, sent_at, resent_after) = numbers;
            let sent = Sent {
                seq,
                source: SourceId(source),
                source_seq,
                timestamp,
                marker,
                ids: PictureIds { picture_id, tl0picidx, keyidx, template_shift, top_layer },
                sent_at,
                resent_after,
                resends,
            };
            prop_assert_eq!(Packed::new(&sent).of(seq), Some(sent));
            prop_assert_eq!(Packed::new(&sent).of(seq.wrapping_add(1)), None);
        }
    }

    #[test]
    fn resends_are_spaced_and_few() {
        let mut map = NackMap::new(Kind::Video);
        send(&mut map, 0, 5, false);
        let mut resent = Vec::new();
        for millis in 0..1000 {
            if map.on_nack(Time::from_millis(millis), 5, RTT).is_ok() {
                map.on_resent(Time::from_millis(millis), 5);
                resent.push(millis);
            }
        }
        assert_eq!(resent, [0, 34, 68, 102, 136]);
        assert_eq!(
            map.on_nack(Time::from_millis(1000), 5, RTT),
            Err(NotResent::TooOften)
        );
    }

    #[test]
    fn age_and_key_frames_end_the_use() {
        let mut map = NackMap::new(Kind::Video);
        send(&mut map, 0, 5, false);
        send(&mut map, 0, 6, true);
        assert_eq!(map.on_nack(Time::ZERO, 5, RTT), Err(NotResent::TooOld));
        assert!(map.on_nack(Time::from_millis(2000), 6, RTT).is_ok());
        assert_eq!(
            map.on_nack(Time::from_millis(2001), 6, RTT),
            Err(NotResent::TooOld)
        );
    }

    #[test]
    fn a_receiver_that_waits_for_a_key_frame_gets_no_repair() {
        let mut map = NackMap::new(Kind::Video);
        send(&mut map, 0, 5, false);
        map.pause_until_keyframe();
        assert_eq!(map.on_nack(Time::ZERO, 5, RTT), Err(NotResent::Paused));
        send(&mut map, 10, 6, true);
        assert!(map.on_nack(Time::from_millis(10), 6, RTT).is_ok());
    }
}
