//! Which of the newest out-numbers of a slot were used.

/// Numbers remembered: more than a receiver would still wait for, at any rate it can take.
const NUMBERS: u64 = 1024;

/// A bitmap over the newest [`NUMBERS`] out-numbers.
#[derive(Debug, Clone)]
pub(super) struct SentWindow {
    bits: [u64; (NUMBERS / 64) as usize],
    /// One above the highest number used.
    end: u64,
}

impl SentWindow {
    pub(super) const fn new() -> Self {
        Self {
            bits: [0; (NUMBERS / 64) as usize],
            end: 0,
        }
    }

    /// Marks `seq` used; false if it was, or may have been.
    pub(super) fn insert(&mut self, seq: u64) -> bool {
        if seq >= self.end {
            if seq - self.end >= NUMBERS {
                self.bits = [0; (NUMBERS / 64) as usize];
            } else {
                for skipped in self.end..seq {
                    *self.word(skipped) &= !bit(skipped);
                }
            }
            self.end = seq + 1;
        } else if self.end - seq > NUMBERS || *self.word(seq) & bit(seq) != 0 {
            return false;
        }
        *self.word(seq) |= bit(seq);
        true
    }

    fn word(&mut self, seq: u64) -> &mut u64 {
        &mut self.bits[(seq % NUMBERS / 64) as usize]
    }
}

const fn bit(seq: u64) -> u64 {
    1 << (seq % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a set of everything: never says yes twice, and says no only to repeats and to the old.
        #[test]
        fn agrees_with_a_full_history(steps in prop::collection::vec(-1200i64..1200, 1..400)) {
            let mut window = SentWindow::new();
            let mut history = BTreeSet::new();
            let mut highest = 5000i64;
            for step in steps {
                let seq = (highest + step / 8).max(0) as u64;
                highest = highest.max(seq as i64);
                let old = window.end.saturating_sub(seq) > NUMBERS;
                prop_assert_eq!(window.insert(seq), !old && history.insert(seq));
            }
        }
    }
}
