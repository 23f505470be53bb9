//! What was sent under which number on one slot, to answer a subscriber's NACK.
//!
//! Owns references into packet rings, not packets: an entry says which source packet went out and how it was
//! rewritten, so that the retransmission (RFC 4588) carries the very payload that was lost. The whole number
//! is compared on look-up, and the source's packet ring compares its own, so a stale entry finds nothing
//! rather than the wrong packet.

use std::time::Duration;

use kall_shared::media::Kind;

use crate::forward::rewriter::{Out, PictureIds, SourceId};
use crate::rtp::ext_seq::nearest_u16;
use crate::time::Time;

/// Entries of a video slot: two seconds at 250 packets/s, and what a packet ring still has.
pub const VIDEO_ENTRIES: usize = 512;

/// Entries of an audio slot: more than a second at 20 ms a packet.
pub const AUDIO_ENTRIES: usize = 64;

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
    sent_at: Time,
    resent_at: Time,
    resends: u8,
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
    entries: Vec<Option<Sent>>,
    age_max: Duration,
    highest: Option<u64>,
    /// Numbers below it are from before the newest key frame.
    floor: u64,
    /// When that was sent.
    keyed_at: Option<Time>,
    paused: bool,
}

impl NackMap {
    /// For a slot of this kind; all memory is taken here.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let (entries, age_max) = match kind {
            Kind::Audio => (AUDIO_ENTRIES, AUDIO_AGE_MAX),
            Kind::Video => (VIDEO_ENTRIES, VIDEO_AGE_MAX),
        };
        Self {
            entries: vec![None; entries],
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
        let index = self.index(out.seq);
        if self.entries[index].is_some_and(|there| there.seq > out.seq) {
            return;
        }
        self.entries[index] = Some(Sent {
            seq: out.seq,
            source,
            source_seq,
            timestamp: out.timestamp,
            marker: out.marker,
            ids: out.ids,
            sent_at: now,
            resent_at: Time::ZERO,
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
        let sent = self.entries[self.index(seq)]
            .filter(|sent| sent.seq == seq)
            .ok_or(NotResent::Unknown)?;
        if self.paused {
            return Err(NotResent::Paused);
        }
        if seq < self.floor || now.since(sent.sent_at) > self.age_max {
            return Err(NotResent::TooOld);
        }
        if sent.resends >= RESENDS_MAX {
            return Err(NotResent::TooOften);
        }
        if sent.resends > 0 && now.since(sent.resent_at) < (rtt * 2 / 3).max(RESEND_SPACING) {
            return Err(NotResent::TooSoon);
        }
        Ok(sent)
    }

    /// Notes that the packet with this (extended) number was resent.
    pub fn on_resent(&mut self, now: Time, seq: u64) {
        let index = self.index(seq);
        if let Some(sent) = self.entries[index].as_mut().filter(|sent| sent.seq == seq) {
            sent.resends += 1;
            sent.resent_at = now;
        }
    }

    /// The packet `back` numbers below the highest, if it is there: what a probe repeats.
    #[must_use]
    pub fn recent(&self, back: u64) -> Option<Sent> {
        let seq = self.highest?.checked_sub(back)?;
        self.entries[self.index(seq)].filter(|sent| sent.seq == seq)
    }

    fn index(&self, seq: u64) -> usize {
        (seq % self.entries.len() as u64) as usize
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
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
