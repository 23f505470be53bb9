//! The layers of a track against each other: which is larger, which can be had, and what a receiver
//! with a certain wish could use of them.
//!
//! Ranks are by measured size: what rids are called, and in which order they stand in the offer, is
//! the publisher's business. Rates of layers that don't flow now, because nobody took them, are what
//! they were or a guess, so that they can be planned with.

use std::time::Duration;

use kall_shared::media::SlotWish;

use super::allocator::{Demand, Step};
use super::flow::Flow;
use crate::codec::FrameSize;
use crate::time::Time;

/// Most layers of a track: one per rid.
pub const LAYERS_MAX: usize = kall_shared::media::limits::RIDS_PER_LINE;

/// How long a layer that was asked for may take to appear: a message to the publisher, a key frame and
/// the way here. After that the publisher is taken not to send it, be it for its own path or processor.
pub const APPEARS_WITHIN: Duration = Duration::from_secs(3);

/// What a layer is planned with that never flowed, by rank, in bits per second: the usual rates of
/// 180, 360 and 720 lines.
const GUESSED_BPS: [u64; LAYERS_MAX] = [150_000, 500_000, 1_700_000];

/// A layer this much smaller than the wanted size still serves it, in percent: windows are rarely as
/// large as a layer to the pixel.
const SIZE_TOLERANCE_PERCENT: u32 = 85;

/// The most that anybody may have of a track, whatever is wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// How many of its largest layers are out of reach; the smallest never is.
    pub ranks_off: u8,
    /// Highest temporal layer.
    pub temporal: u8,
}

impl Cap {
    /// No bound.
    pub const NONE: Self = Self {
        ranks_off: 0,
        temporal: u8::MAX,
    };
}

/// What is known of one layer.
#[derive(Debug, Clone, Copy, Default)]
pub struct LayerView {
    /// How much comes.
    pub flow: Flow,
    /// Of its newest key frame, if the codec tells.
    pub size: Option<FrameSize>,
    /// Since when its publisher has been told that it is wanted; none while it is told that it isn't.
    pub wanted_since: Option<Time>,
}

impl LayerView {
    /// Whether packets come now. `newest` is when the newest packet of any layer of the track came.
    #[must_use]
    pub fn flows(&self, now: Time, newest: Option<Time>) -> bool {
        !newest.is_some_and(|newest| self.flow.fell_behind(newest)) && self.flow.flows(now)
    }

    /// Whether it can be had: it flows, or would if somebody asked for it.
    #[must_use]
    pub fn available(&self, now: Time, newest: Option<Time>) -> bool {
        self.flows(now, newest)
            || self
                .wanted_since
                .is_none_or(|since| now.since(since) < APPEARS_WITHIN)
    }
}

/// The layers in ascending order of size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranks {
    order: [u8; LAYERS_MAX],
    count: u8,
}

impl Ranks {
    /// The order of the offer, until sizes are known.
    #[must_use]
    pub fn of_offer(count: usize) -> Self {
        let count = count.min(LAYERS_MAX) as u8;
        Self {
            order: std::array::from_fn(|index| index as u8),
            count,
        }
    }

    /// By size when all sizes are known, else the order of the offer.
    #[must_use]
    pub fn measure(sizes: impl Iterator<Item = Option<FrameSize>>) -> Self {
        let mut areas = [None; LAYERS_MAX];
        let mut count = 0;
        for (area, size) in areas.iter_mut().zip(sizes) {
            *area = size.map(|size| u32::from(size.width) * u32::from(size.height));
            count += 1;
        }
        let mut ranks = Self::of_offer(count);
        if areas[..count].iter().all(Option::is_some) {
            // Stable, as insertion is: equals stay in the order of the offer.
            ranks.order[..count].sort_by_key(|layer| areas[usize::from(*layer)]);
        }
        ranks
    }

    /// How many layers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The layers, smallest first.
    #[must_use]
    pub fn ascending(&self) -> &[u8] {
        &self.order[..usize::from(self.count).min(LAYERS_MAX)]
    }

    /// The rank of a layer, 0 for the smallest.
    #[must_use]
    pub fn rank_of(&self, layer: u8) -> usize {
        self.ascending().iter().position(|own| *own == layer).unwrap_or(0)
    }
}

/// Everything a choice needs to know of a track.
#[derive(Debug, Clone, Copy)]
pub struct TrackView {
    /// Its layers, by index.
    pub layers: [LayerView; LAYERS_MAX],
    /// Their order.
    pub ranks: Ranks,
}

impl TrackView {
    /// When the newest packet of any layer came.
    #[must_use]
    pub fn newest_packet(&self) -> Option<Time> {
        self.layers[..self.ranks.len()]
            .iter()
            .filter_map(|layer| layer.flow.last_packet())
            .max()
    }

    /// What a layer costs up to a temporal layer, as far as known.
    #[must_use]
    pub fn bps(&self, now: Time, rank: usize, temporal: u8) -> u64 {
        let layer = self.ranks.ascending().get(rank).copied().unwrap_or(0);
        self.layers
            .get(usize::from(layer))
            .and_then(|view| view.flow.bps(now, temporal))
            .unwrap_or_else(|| GUESSED_BPS.get(rank).copied().unwrap_or(GUESSED_BPS[0]))
    }

    /// Lays out the steps of a receiver with this wish, as far as the cap allows. A track that has no layer to offer now
    /// keeps its lowest as the only step, so that the slot begins when something comes.
    pub fn fill(&self, now: Time, wish: &SlotWish, cap: Cap, demand: &mut Demand) {
        let newest = self.newest_packet();
        let ascending = self.ranks.ascending();
        let wished = self.highest_rank(wish);
        let reach = self.ranks.len().saturating_sub(1 + usize::from(cap.ranks_off));
        let top = wished.min(reach);
        let usable = |rank: usize| {
            ascending
                .get(rank)
                .and_then(|layer| self.layers.get(usize::from(*layer)))
                .is_some_and(|view| view.available(now, newest))
        };
        let allowed = (0..=top).any(usable);
        demand.capped = (top + 1..=wished).any(usable);
        let mut first = true;
        for (rank, layer) in ascending.iter().enumerate() {
            // A wish for layers of which none can be had falls to the next above that can.
            let in_wish = rank <= top || !allowed && first;
            if !in_wish || !usable(rank) {
                continue;
            }
            let Some(view) = self.layers.get(usize::from(*layer)) else {
                continue;
            };
            let wished = temporal_for(view, now, wish.max_fps);
            let temporal = wished.min(cap.temporal);
            demand.capped |= temporal < wished.min(view.flow.highest_temporal());
            if first {
                let temporal = temporal.min(view.flow.highest_temporal());
                // Only the lowest layer is thinned out: between layers a change of size serves
                // better than a picture that stutters.
                for lower in 0..temporal {
                    demand.push(Step {
                        layer: *layer,
                        temporal: lower,
                        bps: self.bps(now, rank, lower),
                    });
                }
            }
            demand.push(Step {
                layer: *layer,
                temporal,
                bps: self.bps(now, rank, temporal),
            });
            first = false;
        }
        if first && let Some(layer) = ascending.first() {
            demand.push(Step {
                layer: *layer,
                temporal: cap.temporal,
                bps: self.bps(now, 0, cap.temporal),
            });
        }
    }

    /// The highest rank of use to a receiver with this wish: named, or the smallest layer that covers
    /// the wanted size.
    fn highest_rank(&self, wish: &SlotWish) -> usize {
        let named = wish.layer.highest_rank().min(self.ranks.len().saturating_sub(1));
        let covers = |layer: u8| {
            let Some(size) = self.layers.get(usize::from(layer)).and_then(|view| view.size) else {
                // Unknown sizes bound nothing.
                return false;
            };
            let enough = |own: u16, wanted: Option<u16>| {
                wanted
                    .is_some_and(|wanted| u32::from(own) * 100 >= u32::from(wanted) * SIZE_TOLERANCE_PERCENT)
            };
            // Letterboxed pictures touch one side of their window only.
            enough(size.width, wish.max_width) || enough(size.height, wish.max_height)
        };
        let sized = self
            .ranks
            .ascending()
            .iter()
            .position(|layer| covers(*layer))
            .unwrap_or(usize::MAX);
        named.min(sized)
    }
}

/// The temporal layer that gives at most `max_fps`, no bound if that is no bound: how many there are may
/// not be known yet. Each temporal
/// layer doubles the rate of pictures (the structures of every browser).
fn temporal_for(view: &LayerView, now: Time, max_fps: Option<u8>) -> u8 {
    let Some(max_fps) = max_fps else { return u8::MAX };
    let mut fps = view.flow.fps(now);
    if fps <= u16::from(max_fps) {
        return u8::MAX;
    }
    let mut temporal = view.flow.highest_temporal();
    while temporal > 0 && fps > u16::from(max_fps) {
        fps /= 2;
        temporal -= 1;
    }
    temporal
}

#[cfg(test)]
mod tests {
    use super::*;
    use kall_shared::media::Layer;

    /// Every temporal layer there is.
    const ALL: u8 = u8::MAX;

    fn flowing(bytes_per_50ms: usize, until_ms: u64, temporal: bool) -> Flow {
        let mut flow = Flow::default();
        for (frame, millis) in (0..=until_ms).step_by(50).enumerate() {
            let temporal = if temporal { (frame % 2) as u8 } else { 0 };
            flow.on_packet(Time::from_millis(millis), bytes_per_50ms, temporal, true);
        }
        flow
    }

    fn size(width: u16, height: u16) -> Option<FrameSize> {
        Some(FrameSize { width, height })
    }

    fn track(sizes: [Option<FrameSize>; 3], until_ms: [u64; 3]) -> TrackView {
        let mut layers = [LayerView::default(); 3];
        for (index, layer) in layers.iter_mut().enumerate() {
            layer.flow = flowing(500 << index, until_ms[index], index == 0);
            for _ in until_ms[index]..until_ms.iter().copied().max().unwrap_or(0) {
                layer.flow.on_sibling();
            }
            layer.size = sizes[index];
            layer.wanted_since = Some(Time::ZERO);
        }
        TrackView {
            layers,
            ranks: Ranks::measure(sizes.into_iter()),
        }
    }

    fn steps(track: &TrackView, now_ms: u64, wish: SlotWish) -> Vec<(u8, u8)> {
        let (steps, capped) = capped_steps(track, now_ms, wish, Cap::NONE);
        assert!(!capped);
        steps
    }

    fn capped_steps(track: &TrackView, now_ms: u64, wish: SlotWish, cap: Cap) -> (Vec<(u8, u8)>, bool) {
        let mut demand = Demand::new(0, 1);
        track.fill(Time::from_millis(now_ms), &wish, cap, &mut demand);
        let steps = demand.steps().iter();
        (
            steps.map(|step| (step.layer, step.temporal)).collect(),
            demand.capped,
        )
    }

    const SIZES: [Option<FrameSize>; 3] = [
        Some(FrameSize {
            width: 240,
            height: 135,
        }),
        Some(FrameSize {
            width: 480,
            height: 270,
        }),
        Some(FrameSize {
            width: 960,
            height: 540,
        }),
    ];

    #[test]
    fn ranks_follow_sizes_not_names() {
        let sizes = [size(960, 540), size(240, 135), size(480, 270)];
        assert_eq!(Ranks::measure(sizes.into_iter()).ascending(), [1, 2, 0]);
        let unknown = [size(960, 540), None, size(480, 270)];
        assert_eq!(Ranks::measure(unknown.into_iter()).ascending(), [0, 1, 2]);
    }

    #[test]
    fn a_wish_without_bounds_may_have_every_layer() {
        let track = track(SIZES, [3_000; 3]);
        assert_eq!(
            steps(&track, 3_000, SlotWish::default()),
            [(0, 0), (0, ALL), (1, ALL), (2, ALL)]
        );
    }

    #[test]
    fn a_window_bounds_the_layer_and_a_name_too() {
        let track = track(SIZES, [3_000; 3]);
        let sized = |width, height| SlotWish {
            max_width: Some(width),
            max_height: Some(height),
            ..SlotWish::default()
        };
        assert_eq!(
            steps(&track, 3_000, sized(500, 280)).last(),
            Some(&(1, ALL)),
            "nearly fits"
        );
        assert_eq!(steps(&track, 3_000, sized(700, 400)).last(), Some(&(2, ALL)));
        let low = SlotWish {
            layer: Layer::Low,
            ..SlotWish::default()
        };
        assert_eq!(steps(&track, 3_000, low), [(0, 0), (0, ALL)]);
        let slow = SlotWish {
            layer: Layer::Low,
            max_fps: Some(10),
            ..SlotWish::default()
        };
        assert_eq!(steps(&track, 3_000, slow), [(0, 0)]);
    }

    #[test]
    fn a_cap_takes_pictures_first_and_then_layers_and_leaves_the_smallest() {
        let track = track(SIZES, [3_000; 3]);
        let capped = |ranks_off, temporal, layer| {
            let wish = SlotWish {
                layer,
                ..SlotWish::default()
            };
            let cap = Cap { ranks_off, temporal };
            capped_steps(&track, 3_000, wish, cap)
        };
        assert_eq!(
            capped(0, 0, Layer::Auto),
            (vec![(0, 0), (1, 0), (2, 0)], true),
            "of every layer the base"
        );
        assert_eq!(capped(1, 0, Layer::Auto), (vec![(0, 0), (1, 0)], true));
        assert_eq!(capped(u8::MAX, ALL, Layer::Auto), (vec![(0, 0), (0, ALL)], true));
        // Who wished for no more than that is not capped.
        assert_eq!(capped(u8::MAX, ALL, Layer::Low), (vec![(0, 0), (0, ALL)], false));
        assert!(!capped(1, ALL, Layer::Medium).1);
    }

    #[test]
    fn a_layer_that_stopped_beside_its_siblings_is_left_soon() {
        let track = track(SIZES, [5_000, 5_000, 4_000]);
        assert_eq!(steps(&track, 5_000, SlotWish::default()).last(), Some(&(1, ALL)));
    }

    #[test]
    fn a_layer_nobody_asked_for_can_be_planned_with() {
        let mut track = track(SIZES, [7_000, 7_000, 1_000]);
        track.layers[2].wanted_since = None;
        assert_eq!(steps(&track, 5_000, SlotWish::default()).last(), Some(&(2, ALL)));
        // Asked for, it has some time to appear.
        track.layers[2].wanted_since = Some(Time::from_millis(4_000));
        assert_eq!(steps(&track, 5_000, SlotWish::default()).last(), Some(&(2, ALL)));
        assert_eq!(
            steps(&track, 7_001, SlotWish::default()).last(),
            Some(&(1, ALL)),
            "not for ever"
        );
    }

    #[test]
    fn a_wish_that_can_not_be_met_falls_to_what_there_is() {
        let mut track = track(SIZES, [5_000; 3]);
        track.layers[0].flow = flowing(500, 500, false);
        let low = SlotWish {
            layer: Layer::Low,
            ..SlotWish::default()
        };
        assert_eq!(steps(&track, 5_000, low), [(1, ALL)]);
        for layer in &mut track.layers {
            layer.flow = Flow::default();
        }
        assert_eq!(steps(&track, 5_000, low), [(0, ALL)]);
    }
}
