//! Which of the last N indices were seen: the replay list of RFC 3711 section 3.3.2.
//!
//! A ring of bits below the highest index. What is older than the ring counts as seen, because
//! nothing is known of it any more.

/// A window of `64 * WORDS` indices.
#[derive(Debug, Clone)]
pub(super) struct Window<const WORDS: usize> {
    /// One past the highest index that was marked; zero before the first.
    end: u64,
    bits: [u64; WORDS],
}

impl<const WORDS: usize> Window<WORDS> {
    /// How many indices it remembers.
    const SIZE: u64 = 64 * WORDS as u64;

    pub(super) const fn new() -> Self {
        Self {
            end: 0,
            bits: [0; WORDS],
        }
    }

    /// The highest index that was marked.
    pub(super) fn highest(&self) -> Option<u64> {
        self.end.checked_sub(1)
    }

    /// Whether `index` is known to be new.
    pub(super) fn is_fresh(&self, index: u64) -> bool {
        if index >= self.end {
            return true;
        }
        let age = self.end - 1 - index;
        let (word, bit) = Self::place(index);
        age < Self::SIZE && self.bits[word] & bit == 0
    }

    /// Marks `index` as seen. Too old an index changes nothing: it counts as seen already.
    pub(super) fn mark(&mut self, index: u64) {
        if index >= self.end {
            self.advance(index + 1);
        } else if self.end - 1 - index >= Self::SIZE {
            return;
        }
        let (word, bit) = Self::place(index);
        self.bits[word] |= bit;
    }

    /// Moves the end up and forgets what the new indices overwrite.
    fn advance(&mut self, end: u64) {
        if end - self.end >= Self::SIZE {
            self.bits = [0; WORDS];
        } else {
            let mut index = self.end;
            while index < end {
                let (word, bit) = Self::place(index);
                if bit == 1 && end - index >= 64 {
                    self.bits[word] = 0;
                    index += 64;
                } else {
                    self.bits[word] &= !bit;
                    index += 1;
                }
            }
        }
        self.end = end;
    }

    fn place(index: u64) -> (usize, u64) {
        let position = index % Self::SIZE;
        ((position / 64) as usize, 1 << (position % 64))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fresh_once() {
        let mut window = Window::<16>::new();
        assert_eq!(window.highest(), None);
        for index in [5, 3, 4, 1028, 1027, 70_000] {
            assert!(window.is_fresh(index), "{index}");
            window.mark(index);
            assert!(!window.is_fresh(index), "{index}");
        }
        assert_eq!(window.highest(), Some(70_000));
    }

    #[test]
    fn the_oldest_index_of_the_window() {
        let mut window = Window::<16>::new();
        window.mark(2000);
        assert!(window.is_fresh(2000 - 1023));
        assert!(!window.is_fresh(2000 - 1024));
    }

    proptest! {
        /// Against a set that forgets nothing.
        #[test]
        fn agrees_with_a_full_history(steps in prop::collection::vec((any::<bool>(), 0u64..300), 1..400)) {
            let mut window = Window::<2>::new();
            let mut seen = HashSet::new();
            let mut highest = 0;
            for (forward, distance) in steps {
                let index = if forward { highest + distance } else { u64::saturating_sub(highest, distance) };
                let expected = !seen.contains(&index) && (seen.is_empty() || index + 128 > highest);
                prop_assert_eq!(window.is_fresh(index), expected);
                if expected {
                    window.mark(index);
                    seen.insert(index);
                    highest = highest.max(index);
                }
            }
        }
    }
}
