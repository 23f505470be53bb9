//! A publisher's packet becomes one of the slot, or is withheld: which source it follows, which spatial and temporal layers
//! of it go on, and under which numbers.

use std::time::Duration;

use kall_shared::media::Codec;

use super::{Aim, Slot, Spatial};
use crate::forward::layer_stream::LayerStream;
use crate::forward::rewriter::{Out, Relation, SourceId, Withheld};
use crate::forward::spatial::SpatialLayers;
use crate::forward::turns::Turns;
use crate::rtp::packet_ring::{PacketMeta, UNREAD};
use crate::shard::slab::Key;
use crate::time::Time;

/// How long pictures may be late after a slot began: at twice the pace of the path, a key frame and what
/// piled up behind it are gone by then.
const PATIENCE: Duration = Duration::from_secs(2);

impl Slot {
    /// Numbers for a packet of the occupant's `layer`.
    ///
    /// # Errors
    /// The packet is not to be sent, and why.
    pub fn rewrite(
        &mut self,
        now: Time,
        publication: Key,
        layer: u8,
        stream: &LayerStream,
        meta: &PacketMeta,
    ) -> Result<Out, Withheld> {
        let source = stream.source;
        let Some(aim) = self.aim else {
            return Err(Withheld::OtherSource);
        };
        if layer == aim.layer || stream.scalable {
            let same = self.fed_by == Some(publication);
            let relation = if same {
                Relation::SameTrack
            } else {
                Relation::OtherTrack
            };
            self.rewriter.switch(source, relation);
        } else if self.rewriter.awaited() == Some(source) {
            // Aimed at once, and no more: what follows its key frame has not been kept.
            return Err(Withheld::OtherSource);
        }
        if meta.payload_len == 0 && self.rewriter.discard(source, meta) {
            // A publisher's padding is for the publisher's path; here it would only be a gap.
            return Err(Withheld::Dropped);
        }
        let told = |frame| stream.dependencies.of(frame).is_some();
        if stream.scalable
            && meta.codec == Codec::Av1
            && meta.spatial != UNREAD
            && !meta.picture_id.is_some_and(told)
        {
            // It waited while two key frames came: nobody can say any more which targets it is of.
            return Err(Withheld::TooOld);
        }
        let mut turned = false;
        let mut marked = *meta;
        if stream.scalable && meta.payload_len > 0 {
            // Above what lacks nothing, what comes can't be decoded.
            let held = stream.dependencies.highest_held(aim.layer);
            turned = self.follow_spatial(Aim { layer: held, ..aim }, source, meta);
            let shows = self.shows(source);
            let own = self.spatial_of(source).filter(|_| shows || !meta.keyframe_start);
            // Were this the key picture it waits for.
            let own = own.unwrap_or_else(|| SpatialLayers::begin(meta, aim.layer));
            marked.marker |= own.ends_picture(meta);
            if !own.includes(meta) {
                if shows {
                    self.is_thinned_out(aim, own.layer(), meta);
                    self.rewriter.leave_out(source, meta);
                } else if self.rewriter.awaited() == Some(source) {
                    return Err(Withheld::AwaitsEntry);
                }
                return Err(Withheld::Dropped);
            }
        }
        let meta = &marked;
        let shown = if stream.scalable { self.layer } else { layer };
        if self.shows(source)
            && self.is_thinned_out(aim, shown, meta)
            // Beside a loss it may be the rest of a picture that is being sent, so it leaves with its
            // number; unless it depends on pictures that were left out.
            && (self.rewriter.discard(source, meta) || !meta.layer_sync || meta.codec == Codec::Av1)
        {
            return Err(Withheld::Dropped);
        }
        // Its time is that of its arrival: how long it waited for the path is no part of its stream.
        let sr = stream.recv.sr_pair();
        if meta.keyframe_start
            && self.rewriter.awaited() == Some(source)
            && let Some((newest, _)) = stream.ring.highest().and_then(|seq| stream.ring.get(seq))
        {
            self.rewriter.awaited_is_at(newest);
        }
        let mut out = self.rewriter.rewrite(meta.arrival, source, meta, sr)?;
        if out.switched {
            self.enter_spatial(source, stream.scalable, meta, aim);
            let layer = self.spatial.map_or(layer, |own| own.layers.layer());
            self.counts.layer_changes += u64::from(self.fed_by == Some(publication) && layer != self.layer);
            self.fed_by = Some(publication);
            self.layer = layer;
            // Every picture after a key frame depends on nothing before it.
            self.temporal = aim.temporal;
            self.thinned = Turns::begin(aim.temporal);
            self.newest = (meta.seq, meta.ts);
            self.patient_until = now + PATIENCE;
        }
        out.switched |= turned;
        if meta.codec == Codec::Av1 {
            self.describe(stream, meta, &mut out);
        }
        Ok(out)
    }

    /// The spatial layers of a source that is shown or was before.
    fn spatial_of(&self, source: SourceId) -> Option<SpatialLayers> {
        let mut known = [self.spatial, self.spatial_before].into_iter().flatten();
        known
            .find(|known| known.source == source)
            .map(|known| known.layers)
    }

    /// Begins with the key picture of a source.
    fn enter_spatial(&mut self, source: SourceId, scalable: bool, meta: &PacketMeta, aim: Aim) {
        let before = self.spatial.take();
        let same = before.filter(|before| before.source == source);
        self.spatial = scalable.then(|| Spatial {
            source,
            layers: match same {
                Some(same) => same.layers.resume(meta, aim.layer),
                None => SpatialLayers::begin(meta, aim.layer),
            },
        });
        if same.is_none() {
            self.spatial_before = before;
        }
    }

    /// Follows the aim through the spatial layers of the current source. True when another is shown from this packet on.
    fn follow_spatial(&mut self, aim: Aim, source: SourceId, meta: &PacketMeta) -> bool {
        if !self.shows(source) {
            return false;
        }
        let shown = self.layer;
        // A stream that had a single spatial layer so far goes on with its lowest.
        let own = self.spatial.get_or_insert_with(|| Spatial {
            source,
            layers: SpatialLayers::found(meta, shown),
        });
        let turned = own.layers.follow(meta, aim.layer);
        self.layer = own.layers.layer();
        if turned {
            self.counts.layer_changes += 1;
            self.untold = true;
        }
        if turned && meta.keyframe_start {
            self.temporal = aim.temporal;
        }
        turned
    }

    /// What the dependency descriptor of a packet is to say in the slot's terms.
    fn describe(&mut self, stream: &LayerStream, meta: &PacketMeta, out: &mut Out) {
        let structure = meta.picture_id.and_then(|frame| stream.dependencies.of(frame));
        if let Some(structure) = structure {
            if meta.keyframe_start {
                self.templates.on_structure(stream.source, structure);
            }
            let own = self.spatial_of(stream.source);
            let shown = own.map_or(self.layer, |own| own.layer_at(meta.seq));
            // Of layers that depend in key pictures only, the first packet of others is of a layer that is left out.
            let says = meta.start_of_frame || self.untold;
            if stream.scalable && shown + 1 < structure.spatial_layers() && says {
                out.ids.top_layer = Some(shown);
            }
            // What comes late tells of its own time.
            self.untold &= shown != self.layer;
        }
        out.ids.template_shift = self.templates.shift(stream.source);
    }

    /// Follows the aim through the temporal layers of the current source, and tells whether a packet is
    /// of one that is left out. Down at any picture; up one layer at a time, at a picture that depends
    /// on nothing of the layers left out (RFC 7741 section 4.2, Y; RFC 9628 section 4.2, U). AV1 says it of the picture
    /// before: with one that is a switch to all of time, all of it is there.
    fn is_thinned_out(&mut self, aim: Aim, layer: u8, meta: &PacketMeta) -> bool {
        let (seq, ts) = self.newest;
        // A late one changes nothing: what follows it was left out or sent already.
        if meta.seq > seq && meta.start_of_frame && layer == aim.layer {
            if self.temporal > aim.temporal {
                self.temporal = aim.temporal;
            } else if meta.codec == Codec::Av1 {
                if meta.layer_sync && meta.temporal <= self.temporal {
                    self.temporal = aim.temporal;
                }
            } else if meta.temporal == self.temporal.saturating_add(1)
                && meta.temporal <= aim.temporal
                && meta.layer_sync
            {
                self.temporal = meta.temporal;
            }
        }
        if meta.seq > seq {
            // A picture goes on as it began.
            if meta.ts != ts {
                self.thinned.turn(meta.seq, self.temporal);
            }
            self.newest = (meta.seq, meta.ts);
        }
        meta.temporal > self.thinned.at(meta.seq)
    }
}
