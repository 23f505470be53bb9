//! Whether the chains of an AV1 stream hold (dependency descriptor, appendix A.4): a chain is the frames that the
//! decode targets it protects can't do without, each of which says how far back the one before is.
//!
//! Owns the newest frames of one incoming stream, and which of them came whole. A link that is missing may be
//! repaired; for so long the chain is waited for. A chain that is broken stays so until the link comes or a key frame
//! begins another.

use std::time::Duration;

use super::layers::LAYERS_MAX;
use crate::time::Time;

/// Frames remembered: three layers at 30 a second make as many in almost three seconds, longer than a repair is
/// tried.
const FRAMES: usize = 256;

/// How long a link may be missing: several round trips of a repair. A receiver that gets nothing it can decode
/// asks for a key frame by itself, but later, and knows of no lower layer.
const PATIENCE: Duration = Duration::from_millis(500);

/// For each spatial layer how far back the last link of its chain is; zero where it begins with the frame, none
/// where nothing protects it.
pub type Links = [Option<u8>; LAYERS_MAX];

/// A packet, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Number of its frame, extended.
    pub frame: i64,
    /// Its own number.
    pub seq: u64,
    /// It is the first of its frame.
    pub starts: bool,
    /// It is the last.
    pub ends: bool,
    /// Decoding can begin with its frame.
    pub key: bool,
    /// The chains at its frame.
    pub links: Links,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    number: i64,
    first: Option<u64>,
    last: Option<u64>,
    packets: u64,
    links: Links,
}

impl Frame {
    fn is_whole(&self) -> bool {
        let all = self.first.zip(self.last);
        all.is_some_and(|(first, last)| last.wrapping_sub(first).wrapping_add(1) == self.packets)
    }
}

/// The chains of one stream.
#[derive(Debug, Default)]
pub struct Chains {
    /// By number; empty until the first frame comes.
    frames: Vec<Option<Frame>>,
    newest: Option<i64>,
    /// The newest frame that decoding can begin with.
    root: Option<i64>,
    /// The newest link of each chain that holds up to it.
    held: [Option<i64>; LAYERS_MAX],
    /// Since when a link is missing.
    missing: [Option<Time>; LAYERS_MAX],
    /// Layers whose chain is given up, by bit.
    broken: u8,
}

impl Chains {
    /// Takes in a packet, once. Gives the layers whose chain it shows to be broken, by bit, when that is news.
    pub fn take(&mut self, now: Time, part: &Part) -> u8 {
        if self.frames.is_empty() {
            self.frames.resize(FRAMES, None);
        }
        let place = part.frame.rem_euclid(FRAMES as i64) as usize;
        let own = &mut self.frames[place];
        if own.is_some_and(|own| own.number > part.frame) {
            return 0;
        }
        let own = match own {
            Some(own) if own.number == part.frame => own,
            other => other.insert(Frame {
                number: part.frame,
                first: None,
                last: None,
                packets: 0,
                links: part.links,
            }),
        };
        own.packets += 1;
        own.first = own.first.or(part.starts.then_some(part.seq));
        own.last = own.last.or(part.ends.then_some(part.seq));
        if part.key && self.root.is_none_or(|root| part.frame > root) {
            self.root = Some(part.frame);
            self.held = [None; LAYERS_MAX];
            self.missing = [None; LAYERS_MAX];
            self.broken = 0;
        }
        if self.newest.is_some_and(|newest| part.frame <= newest) {
            return 0;
        }
        self.newest = Some(part.frame);
        self.look(now, part)
    }

    /// Follows the chains from a frame that has only begun.
    fn look(&mut self, now: Time, part: &Part) -> u8 {
        let before = self.broken;
        for (layer, link) in part.links.iter().enumerate() {
            let Some(distance) = link.filter(|distance| *distance > 0) else {
                continue;
            };
            let last = part.frame - i64::from(distance);
            if self.holds(layer, last) {
                self.held[layer] = Some(last);
                self.missing[layer] = None;
                self.broken &= !(1 << layer);
            } else if now.since(*self.missing[layer].get_or_insert(now)) >= PATIENCE {
                self.broken |= 1 << layer;
            }
        }
        self.broken & !before
    }

    /// Whether a link and all before it came whole.
    fn holds(&self, layer: usize, link: i64) -> bool {
        let mut link = link;
        for _ in 0..FRAMES {
            if self.held[layer] == Some(link) {
                return true;
            }
            let place = link.rem_euclid(FRAMES as i64) as usize;
            let Some(frame) = self.frames[place].filter(|frame| frame.number == link && frame.is_whole())
            else {
                return false;
            };
            match frame.links[layer] {
                Some(distance) if distance > 0 && self.root != Some(link) => link -= i64::from(distance),
                _ => return true,
            }
        }
        false
    }

    /// The highest layer up to `layer` whose chain is not given up; `layer` itself if none holds.
    #[must_use]
    pub fn highest_held(&self, layer: u8) -> u8 {
        let holds = |layer: &u8| self.broken.checked_shr((*layer).into()).unwrap_or(0) & 1 == 0;
        (0..=layer).rev().find(holds).unwrap_or(layer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three layers that depend on each other in every picture, a packet a frame, 30 pictures a second.
    struct Stream {
        chains: Chains,
        frame: i64,
        at: Time,
    }

    impl Stream {
        fn new() -> Self {
            Self {
                chains: Chains::default(),
                frame: 0,
                at: Time::ZERO,
            }
        }

        fn part(frame: i64, key: bool) -> Part {
            let spatial = frame.rem_euclid(3) as u8;
            let links = match (key, spatial) {
                (true, 0) => [0; 3],
                // The base is three frames back, the top is the frame before.
                (_, 0) => [3, 2, 1],
                (_, 1) => [1, 1, 1],
                _ => [2, 1, 1],
            };
            Part {
                frame,
                seq: frame as u64 + 1000,
                starts: true,
                ends: true,
                key: key && spatial == 0,
                links: links.map(Some),
            }
        }

        /// The next picture, without some of its layers. Gives what is newly broken.
        fn picture(&mut self, key: bool, lost: &[u8]) -> u8 {
            let mut broken = 0;
            for spatial in 0..3u8 {
                let part = Self::part(self.frame, key);
                self.frame += 1;
                if !lost.contains(&spatial) {
                    broken |= self.chains.take(self.at, &part);
                }
            }
            self.at += Duration::from_millis(33);
            broken
        }
    }

    #[test]
    fn a_chain_that_lost_nothing_holds() {
        let mut stream = Stream::new();
        for number in 0..400 {
            assert_eq!(stream.picture(number == 0, &[]), 0);
        }
        assert_eq!(stream.chains.highest_held(2), 2);
    }

    #[test]
    fn a_lost_link_breaks_the_chains_it_is_of_until_a_key_frame() {
        let mut stream = Stream::new();
        stream.picture(true, &[]);
        stream.picture(false, &[1]);
        let broken: Vec<u8> = (0..20).map(|_| stream.picture(false, &[])).collect();
        assert_eq!(
            broken.iter().filter(|broken| **broken > 0).count(),
            1,
            "said once"
        );
        assert_eq!(
            broken.iter().position(|broken| *broken == 0b110),
            Some(15),
            "{broken:?}"
        );
        assert_eq!(stream.chains.highest_held(2), 0);
        stream.picture(true, &[]);
        assert_eq!(stream.chains.highest_held(2), 2);
    }

    #[test]
    fn a_link_that_is_repaired_in_time_breaks_nothing() {
        let mut stream = Stream::new();
        stream.picture(true, &[]);
        stream.picture(false, &[2]);
        for _ in 0..10 {
            assert_eq!(stream.picture(false, &[]), 0);
        }
        assert_eq!(stream.chains.take(stream.at, &Stream::part(5, false)), 0);
        for _ in 0..30 {
            assert_eq!(stream.picture(false, &[]), 0);
        }
    }

    #[test]
    fn a_repair_mends_a_chain_that_was_given_up() {
        let mut stream = Stream::new();
        stream.picture(true, &[]);
        stream.picture(false, &[2]);
        for _ in 0..20 {
            stream.picture(false, &[]);
        }
        assert_eq!(stream.chains.highest_held(2), 1);
        stream.chains.take(stream.at, &Stream::part(5, false));
        stream.picture(false, &[]);
        assert_eq!(stream.chains.highest_held(2), 2);
    }

    #[test]
    fn a_frame_is_whole_with_all_its_packets() {
        let mut chains = Chains::default();
        let part = |seq, starts, ends| Part {
            seq,
            starts,
            ends,
            ..Stream::part(0, true)
        };
        for own in [part(10, true, false), part(12, false, true)] {
            chains.take(Time::ZERO, &own);
        }
        assert!(!chains.holds(0, 0));
        chains.take(Time::ZERO, &part(11, false, false));
        assert!(chains.holds(0, 0));
    }
}
