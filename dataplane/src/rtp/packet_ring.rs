//! The last packets of one publisher layer, as they came: what forwarding and retransmission read.
//!
//! Owns plaintext payloads and 64 bytes of facts about each packet, parsed once. All memory is taken when the ring
//! is made. Entries never move: a packet lives at its number modulo the size, and the whole number is
//! compared on every look-up, so a stale reference finds nothing instead of the wrong packet.

use kall_shared::media::{Codec, Kind};

use crate::time::Time;

/// Largest payload kept: nothing larger fits an Ethernet frame, so nothing larger is media we forward.
pub const PAYLOAD_MAX: usize = 1500;

/// Video packets kept per layer: a second at 8 Mbit/s, and more than the 512 that a NACK map refers to.
pub const VIDEO_PACKETS: usize = 1024;

/// Audio packets kept: 2.5 s at 20 ms each, more than the second in which a lost one may be asked for.
pub const AUDIO_PACKETS: usize = 128;

/// In place of a spatial layer: the packet's dependency descriptor can't be read, as the structure it is of has not come.
pub const UNREAD: u8 = u8::MAX;

/// What is known about a packet after it was authenticated and parsed; written once, read per subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketMeta {
    /// Extended sequence number of the layer's primary stream; a retransmission has its original's.
    pub seq: u64,
    /// Extended RTP timestamp.
    pub ts: i64,
    /// When it arrived here.
    pub arrival: Time,
    /// Extended VP8 or VP9 picture id, or AV1 frame number.
    pub picture_id: Option<i64>,
    /// Bytes of payload, padding removed; zero for a padding-only packet.
    pub payload_len: u16,
    /// The publisher's payload type of the primary stream.
    pub pt: u8,
    /// Bytes of the codec's payload descriptor at the start of the payload (VP8, VP9), or of the dependency
    /// descriptor kept beside it (AV1), else zero.
    pub descriptor_len: u8,
    /// TL0PICIDX as it is on the wire.
    pub tl0picidx: Option<u8>,
    /// KEYIDX as it is on the wire (VP8).
    pub keyidx: Option<u8>,
    /// Temporal layer; zero where the codec tells none.
    pub temporal: u8,
    /// The packet may be the first forwarded of a higher temporal layer (VP8 Y, VP9 U); for AV1, all that
    /// follows in time depends on nothing of higher temporal layers before it.
    pub layer_sync: bool,
    /// RTP marker: last packet of a frame (video), first after a silence (audio).
    pub marker: bool,
    /// First packet of a key frame: a decoder can start here.
    pub keyframe_start: bool,
    /// First packet of a picture.
    pub start_of_frame: bool,
    /// What the payload is.
    pub codec: Codec,
    /// Spatial layer, where the stream carries several; else zero. [`UNREAD`] until it can be read.
    pub spatial: u8,
    /// Spatial layers that are decoded with it, by bit.
    pub needed_by: u8,
    /// Last packet of its spatial layer's frame, where the stream carries several.
    pub end_of_frame: bool,
    /// A key frame that begins without the parameter sets it needs, which are known from before (H264).
    pub lacks_parameter_sets: bool,
    /// It came as a retransmission.
    pub recovered: bool,
    /// RFC 6464 level, 0 (loud) to 127 (silent) in -dBov.
    pub audio_level: Option<u8>,
    /// RFC 6464 voice flag.
    pub voice: bool,
    /// Video orientation byte (3GPP TS 26.114 section 7.4.5), present where the publisher sent it.
    pub orientation: Option<u8>,
}

// The facts of a packet are one cache line.
const _: () = assert!(size_of::<PacketMeta>() <= 64);

impl Default for PacketMeta {
    fn default() -> Self {
        Self {
            seq: 0,
            ts: 0,
            arrival: Time::ZERO,
            picture_id: None,
            payload_len: 0,
            pt: 0,
            descriptor_len: 0,
            tl0picidx: None,
            keyidx: None,
            temporal: 0,
            layer_sync: false,
            marker: false,
            keyframe_start: false,
            start_of_frame: false,
            codec: Codec::Vp8,
            spatial: 0,
            needed_by: u8::MAX,
            end_of_frame: false,
            lacks_parameter_sets: false,
            recovered: false,
            audio_level: None,
            voice: false,
            orientation: None,
        }
    }
}

/// Why a packet was not kept; it must not be forwarded either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotKept {
    /// The same number is already there.
    Duplicate,
    /// Its place has been taken by a newer one.
    TooOld,
    /// Longer than [`PAYLOAD_MAX`].
    TooLong,
}

/// Fixed store of the newest packets of one publisher layer.
#[derive(Debug)]
pub struct PacketRing {
    metas: Vec<Option<PacketMeta>>,
    payloads: Vec<u8>,
    highest: Option<u64>,
    keyframe: Option<u64>,
}

impl PacketRing {
    /// A ring for one layer of this kind of media.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self::with_capacity(match kind {
            Kind::Audio => AUDIO_PACKETS,
            Kind::Video => VIDEO_PACKETS,
        })
    }

    /// A ring of `packets`, at least one.
    #[must_use]
    pub fn with_capacity(packets: usize) -> Self {
        let packets = packets.max(1);
        Self {
            metas: vec![None; packets],
            payloads: vec![0; packets * PAYLOAD_MAX],
            highest: None,
            keyframe: None,
        }
    }

    /// Keeps a packet under `meta.seq`; `meta.payload_len` is set from the payload.
    ///
    /// # Errors
    /// It is a duplicate, too old or too long; the ring is unchanged.
    pub fn insert(&mut self, meta: PacketMeta, payload: &[u8]) -> Result<(), NotKept> {
        self.insert_described(meta, &[], payload)
    }

    /// The same with the dependency descriptor of an AV1 packet, whose length is `meta.descriptor_len`.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub fn insert_described(
        &mut self,
        mut meta: PacketMeta,
        descriptor: &[u8],
        payload: &[u8],
    ) -> Result<(), NotKept> {
        if descriptor.len() + payload.len() > PAYLOAD_MAX {
            return Err(NotKept::TooLong);
        }
        let index = self.index(meta.seq);
        match &self.metas[index] {
            Some(there) if there.seq == meta.seq => return Err(NotKept::Duplicate),
            Some(there) if there.seq > meta.seq => return Err(NotKept::TooOld),
            _ => {}
        }
        // A slot left empty by loss must not take a packet of the cycle before.
        if self
            .highest
            .is_some_and(|highest| meta.seq + self.metas.len() as u64 <= highest)
        {
            return Err(NotKept::TooOld);
        }
        meta.payload_len = payload.len() as u16;
        let (head, rest) = self.payloads[index * PAYLOAD_MAX..].split_at_mut(descriptor.len());
        head.copy_from_slice(descriptor);
        rest[..payload.len()].copy_from_slice(payload);
        self.metas[index] = Some(meta);
        self.highest = Some(self.highest.map_or(meta.seq, |highest| highest.max(meta.seq)));
        if meta.keyframe_start {
            self.keyframe = Some(self.keyframe.map_or(meta.seq, |latest| latest.max(meta.seq)));
        }
        Ok(())
    }

    /// Writes what is known of a packet by now, if it is still there: what describes it came after it.
    pub fn redescribe(&mut self, meta: PacketMeta) {
        let index = self.index(meta.seq);
        let there = self.metas[index].as_mut();
        if let Some(there) = there.filter(|there| there.seq == meta.seq) {
            *there = meta;
        }
    }

    /// The packet with this number, if it came and is still there.
    #[must_use]
    pub fn get(&self, seq: u64) -> Option<(&PacketMeta, &[u8])> {
        let index = self.index(seq);
        let meta = self.metas[index].as_ref().filter(|meta| meta.seq == seq)?;
        let start = index * PAYLOAD_MAX + descriptor_len(meta);
        Some((meta, &self.payloads[start..][..usize::from(meta.payload_len)]))
    }

    /// The dependency descriptor of the packet with this number; empty where there is none.
    #[must_use]
    pub fn descriptor(&self, seq: u64) -> &[u8] {
        let index = self.index(seq);
        let meta = self.metas[index].as_ref().filter(|meta| meta.seq == seq);
        let len = meta.map_or(0, descriptor_len);
        &self.payloads[index * PAYLOAD_MAX..][..len]
    }

    /// Packets that are there with numbers from `first` to the highest, in order.
    ///
    /// When a key frame's first packet arrives late, those after it were refused by slots that
    /// waited for it: this is how they are sent after all.
    pub fn from(&self, first: u64) -> impl Iterator<Item = (&PacketMeta, &[u8])> {
        let end = self.highest.map_or(0, |highest| highest + 1);
        let first = first.max(end.saturating_sub(self.metas.len() as u64));
        (first..end).filter_map(|seq| self.get(seq))
    }

    /// The highest number kept so far.
    #[must_use]
    pub const fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// First packet of the newest key frame, while it is there.
    #[must_use]
    pub fn latest_keyframe(&self) -> Option<u64> {
        self.keyframe.filter(|&seq| self.get(seq).is_some())
    }

    /// Forgets everything: the stream began anew.
    pub fn clear(&mut self) {
        self.metas.fill(None);
        self.highest = None;
        self.keyframe = None;
    }

    fn index(&self, seq: u64) -> usize {
        (seq % self.metas.len() as u64) as usize
    }
}

/// Bytes that stand before the payload in the ring.
fn descriptor_len(meta: &PacketMeta) -> usize {
    if meta.codec == Codec::Av1 {
        usize::from(meta.descriptor_len)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(seq: u64) -> PacketMeta {
        PacketMeta {
            seq,
            ..PacketMeta::default()
        }
    }

    #[test]
    fn stale_numbers_find_nothing() {
        let mut ring = PacketRing::with_capacity(4);
        for seq in 10..16 {
            ring.insert(meta(seq), &[seq as u8]).unwrap();
        }
        assert!(ring.get(11).is_none());
        assert_eq!(ring.get(12).unwrap().1, [12]);
        assert_eq!(ring.get(15).unwrap().1, [15]);
        assert!(ring.get(16).is_none());
    }

    #[test]
    fn duplicates_and_the_past_are_refused() {
        let mut ring = PacketRing::with_capacity(4);
        ring.insert(meta(10), b"a").unwrap();
        assert_eq!(ring.insert(meta(10), b"b"), Err(NotKept::Duplicate));
        ring.insert(meta(13), b"c").unwrap();
        ring.insert(meta(11), b"d").unwrap();
        ring.insert(meta(15), b"e").unwrap();
        assert_eq!(ring.insert(meta(11), b"x"), Err(NotKept::TooOld));
        assert_eq!(ring.insert(meta(9), b"x"), Err(NotKept::TooOld));
        assert_eq!(
            ring.insert(meta(16), &[0; PAYLOAD_MAX + 1]),
            Err(NotKept::TooLong)
        );
        assert_eq!(ring.get(10).unwrap().1, b"a");
        // 20 leaves places of lost packets behind; they don't take what came before the window.
        ring.insert(meta(20), b"f").unwrap();
        assert_eq!(ring.insert(meta(12), b"x"), Err(NotKept::TooOld));
    }

    #[test]
    fn walks_from_a_number_over_holes() {
        let mut ring = PacketRing::with_capacity(8);
        for seq in [100, 101, 103, 104] {
            ring.insert(meta(seq), &[]).unwrap();
        }
        let seen: Vec<u64> = ring.from(101).map(|(meta, _)| meta.seq).collect();
        assert_eq!(seen, [101, 103, 104]);
        assert_eq!(ring.from(0).count(), 4);
        assert_eq!(ring.from(105).count(), 0);
    }

    #[test]
    fn the_newest_key_frame_is_known_while_it_is_there() {
        let mut ring = PacketRing::with_capacity(4);
        let key = PacketMeta {
            keyframe_start: true,
            ..meta(7)
        };
        ring.insert(key, &[]).unwrap();
        assert_eq!(ring.latest_keyframe(), Some(7));
        for seq in 8..12 {
            ring.insert(meta(seq), &[]).unwrap();
        }
        assert_eq!(ring.latest_keyframe(), None);
    }
}
