//! Which spatial layers of a stream a slot shows, where one stream carries several (SVC).
//!
//! Owns the choice and its history, nothing of numbers. Packets say by bit which layers need them
//! ([`PacketMeta::needed_by`]); what the shown layer doesn't need is left out. Up goes at a key picture only, the
//! first of all layers. Down goes there too, and at any picture where nothing of the lower layer was
//! left out since: where layers depend on each other in every picture that is always so, where they
//! do in key pictures only (the modes named `_KEY`) hardly ever.

use crate::forward::turns::Turns;
use crate::rtp::packet_ring::PacketMeta;

/// Every layer.
const ALL: u8 = u8::MAX;

/// The spatial layers of one slot.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpatialLayers {
    turns: Turns,
    /// Highest number seen.
    newest: u64,
    /// Layers of which nothing was left out since the last key picture, by bit.
    whole: u8,
    /// What is lost may be of a lower layer that would have been left out: so it is where layers depend on each other
    /// in key pictures only, and until another picture has shown how they do.
    apart: bool,
}

impl SpatialLayers {
    /// A source begins with the key picture that starts with this packet; `aim` is the highest layer wanted.
    #[must_use]
    pub fn begin(meta: &PacketMeta, aim: u8) -> Self {
        Self {
            turns: Turns::begin(best(meta, aim)),
            newest: meta.seq,
            whole: ALL,
            apart: true,
        }
    }

    /// The source goes on with another key picture after a pause: what was sent before it is of before.
    #[must_use]
    pub fn resume(self, meta: &PacketMeta, aim: u8) -> Self {
        let mut turns = self.turns;
        turns.turn(meta.seq, best(meta, aim));
        Self {
            turns,
            ..Self::begin(meta, aim)
        }
    }

    /// A source that is shown already turns out to have several layers: it goes on with the one shown.
    #[must_use]
    pub fn found(meta: &PacketMeta, shown: u8) -> Self {
        Self {
            turns: Turns::begin(shown),
            newest: meta.seq.saturating_sub(1),
            whole: ALL,
            apart: true,
        }
    }

    /// Follows the aim at a packet of the source. True when the shown layer changed.
    pub fn follow(&mut self, meta: &PacketMeta, aim: u8) -> bool {
        if meta.payload_len == 0 {
            return false;
        }
        if meta.seq <= self.newest {
            // A late one changes nothing but what is missing.
            self.note_left_out(meta);
            return false;
        }
        let before = self.layer();
        if meta.seq > self.newest + 1 && self.apart {
            self.whole &= ALL.checked_shl(before.into()).unwrap_or(0);
        }
        self.newest = meta.seq;
        if meta.start_of_frame && !meta.keyframe_start {
            self.apart = !needs(meta, before);
        }
        if meta.keyframe_start {
            self.whole = ALL;
            self.turns.turn(meta.seq, best(meta, aim));
        } else if meta.start_of_frame && self.can_fall(aim) {
            self.turns.turn(meta.seq, aim);
        }
        self.note_left_out(meta);
        self.apart |= self.layer() > before;
        self.layer() != before
    }

    fn note_left_out(&mut self, meta: &PacketMeta) {
        if !self.includes(meta) {
            self.whole &= !meta.needed_by;
        }
    }

    /// Whether it may go down to `layer` without a key picture.
    #[must_use]
    pub fn can_fall(&self, layer: u8) -> bool {
        layer < self.layer()
            && self
                .whole
                .checked_shr(layer.into())
                .is_some_and(|bits| bits & 1 == 1)
    }

    /// The layer shown now.
    #[must_use]
    pub fn layer(&self) -> u8 {
        self.turns.layer()
    }

    /// Whether a packet is part of what was shown when it was sent.
    #[must_use]
    pub fn includes(&self, meta: &PacketMeta) -> bool {
        needs(meta, self.layer_at(meta.seq))
    }

    /// Whether a packet is the last of its picture here.
    #[must_use]
    pub fn ends_picture(&self, meta: &PacketMeta) -> bool {
        meta.end_of_frame && meta.spatial == self.layer_at(meta.seq)
    }

    /// The layer that was shown when packet `seq` was sent.
    #[must_use]
    pub fn layer_at(&self, seq: u64) -> u8 {
        self.turns.at(seq)
    }
}

/// The highest layer up to `aim` that a key picture has: one that is not sent can't be waited for, while nothing else
/// is shown.
fn best(meta: &PacketMeta, aim: u8) -> u8 {
    (0..=aim).rev().find(|layer| needs(meta, *layer)).unwrap_or(aim)
}

fn needs(meta: &PacketMeta, layer: u8) -> bool {
    meta.needed_by
        .checked_shr(layer.into())
        .is_some_and(|bits| bits & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One packet a frame, three frames a picture.
    struct Encoder {
        seq: u64,
        /// Layers depend on each other in every picture.
        full: bool,
    }

    impl Encoder {
        fn picture(&mut self, key: bool) -> [PacketMeta; 3] {
            [0u8, 1, 2].map(|spatial| {
                self.seq += 1;
                let upwards = 0b111 << spatial & 0b111;
                PacketMeta {
                    seq: self.seq,
                    payload_len: 100,
                    spatial,
                    needed_by: if key || self.full { upwards } else { 1 << spatial },
                    keyframe_start: key && spatial == 0,
                    start_of_frame: spatial == 0,
                    end_of_frame: true,
                    marker: spatial == 2,
                    ..PacketMeta::default()
                }
            })
        }
    }

    /// The layers of a picture that are shown, and which of them ends it.
    fn shown(layers: &mut SpatialLayers, picture: [PacketMeta; 3], aim: u8) -> (Vec<u8>, Vec<u8>) {
        let mut shown = Vec::new();
        let mut ends = Vec::new();
        for meta in picture {
            layers.follow(&meta, aim);
            if layers.includes(&meta) {
                shown.push(meta.spatial);
                if layers.ends_picture(&meta) {
                    ends.push(meta.spatial);
                }
            }
        }
        (shown, ends)
    }

    #[test]
    fn layers_that_depend_in_key_pictures_only_change_there() {
        let mut encoder = Encoder { seq: 10, full: false };
        let mut layers = SpatialLayers::begin(
            &PacketMeta {
                seq: 11,
                ..PacketMeta::default()
            },
            2,
        );
        assert_eq!(
            shown(&mut layers, encoder.picture(true), 2),
            (vec![0, 1, 2], vec![2])
        );
        assert_eq!(shown(&mut layers, encoder.picture(false), 2), (vec![2], vec![2]));
        assert_eq!(
            shown(&mut layers, encoder.picture(false), 0),
            (vec![2], vec![2]),
            "waits"
        );
        assert!(!layers.can_fall(0));
        assert_eq!(shown(&mut layers, encoder.picture(true), 0), (vec![0], vec![0]));
        assert_eq!(
            shown(&mut layers, encoder.picture(false), 1),
            (vec![0], vec![0]),
            "waits"
        );
        assert_eq!(
            shown(&mut layers, encoder.picture(true), 1),
            (vec![0, 1], vec![1])
        );
    }

    #[test]
    fn layers_that_always_depend_fall_at_any_picture_and_rise_at_a_key_picture() {
        let mut encoder = Encoder { seq: 10, full: true };
        let mut layers = SpatialLayers::begin(
            &PacketMeta {
                seq: 11,
                ..PacketMeta::default()
            },
            2,
        );
        shown(&mut layers, encoder.picture(true), 2);
        assert_eq!(
            shown(&mut layers, encoder.picture(false), 2),
            (vec![0, 1, 2], vec![2])
        );
        assert_eq!(
            shown(&mut layers, encoder.picture(false), 1),
            (vec![0, 1], vec![1])
        );
        assert_eq!(
            shown(&mut layers, encoder.picture(false), 2),
            (vec![0, 1], vec![1]),
            "waits"
        );
        assert_eq!(shown(&mut layers, encoder.picture(false), 0), (vec![0], vec![0]));
        assert_eq!(
            shown(&mut layers, encoder.picture(true), 2),
            (vec![0, 1, 2], vec![2])
        );
    }

    #[test]
    fn a_layer_that_a_key_picture_lacks_is_not_waited_for() {
        let mut encoder = Encoder { seq: 10, full: false };
        let two = |picture: [PacketMeta; 3]| {
            let [mut first, mut second, _] = picture;
            first.needed_by &= 0b011;
            second.needed_by &= 0b011;
            second.marker = true;
            [first, second]
        };
        let picture = two(encoder.picture(true));
        let mut layers = SpatialLayers::begin(&picture[0], 2);
        assert_eq!(layers.layer(), 1);
        let picture = two(encoder.picture(true));
        layers.follow(&picture[0], 2);
        assert_eq!(layers.layer(), 1);
        assert_eq!(
            shown(&mut layers, encoder.picture(true), 2),
            (vec![0, 1, 2], vec![2]),
            "it is there again"
        );
    }

    #[test]
    fn a_late_packet_belongs_to_what_was_shown_when_it_was_sent() {
        let mut encoder = Encoder { seq: 10, full: true };
        let mut layers = SpatialLayers::begin(
            &PacketMeta {
                seq: 11,
                ..PacketMeta::default()
            },
            2,
        );
        shown(&mut layers, encoder.picture(true), 2);
        // It shows that layers depend on each other everywhere.
        shown(&mut layers, encoder.picture(false), 2);
        let late = encoder.picture(false);
        shown(&mut layers, encoder.picture(false), 0);
        assert_eq!(layers.layer(), 0);
        assert!(!layers.follow(&late[2], 0));
        assert!(layers.includes(&late[2]) && layers.ends_picture(&late[2]));
    }

    #[test]
    fn a_pause_forgets_nothing_of_before() {
        let mut encoder = Encoder { seq: 10, full: false };
        let first = encoder.picture(true);
        let mut layers = SpatialLayers::begin(&first[0], 2);
        shown(&mut layers, first, 2);
        let late = encoder.picture(false);
        let key = encoder.picture(true);
        let layers = layers.resume(&key[0], 0);
        assert_eq!(layers.layer(), 0);
        assert!(layers.includes(&key[0]) && layers.ends_picture(&key[0]));
        assert!(!layers.includes(&late[0]) && layers.includes(&late[2]));
    }

    #[test]
    fn the_start_of_a_picture_inside_which_the_aim_changes_is_not_the_place_to_change() {
        let mut encoder = Encoder { seq: 10, full: true };
        let mut layers = SpatialLayers::begin(
            &PacketMeta {
                seq: 11,
                ..PacketMeta::default()
            },
            2,
        );
        shown(&mut layers, encoder.picture(true), 2);
        let [first, second, third] = encoder.picture(false);
        assert!(!layers.follow(&first, 2));
        assert!(!layers.follow(&second, 0) && !layers.follow(&third, 0));
        assert!(layers.includes(&third));
    }
}
