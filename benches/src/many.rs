//! The same thing many times, visited in random order: as in a shard with a thousand subscribers, whose state is
//! not in the first-level cache when its turn comes.

/// How many of everything the benches have: one, which stays in the cache, and a shard full.
pub const COUNTS: [usize; 2] = [1, 1_000];

/// The things, and the order they are visited in.
#[derive(Debug)]
pub struct Many<T> {
    things: Vec<T>,
    order: Vec<usize>,
    turn: usize,
}

impl<T> Many<T> {
    /// `count` of what `make` gives, at least one.
    pub fn new(count: usize, make: impl FnMut(usize) -> T) -> Self {
        let count = count.max(1);
        let mut order: Vec<usize> = (0..count).collect();
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        for at in (1..count).rev() {
            // xorshift64; which one does not matter.
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            order.swap(at, seed as usize % (at + 1));
        }
        Self {
            things: (0..count).map(make).collect(),
            order,
            turn: 0,
        }
    }

    /// The next one; after the last the first again.
    pub fn turn(&mut self) -> &mut T {
        let at = self.order[self.turn];
        self.turn = (self.turn + 1) % self.order.len();
        &mut self.things[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_turn() {
        let mut many = Many::new(100, |_| 0);
        for _ in 0..200 {
            *many.turn() += 1;
        }
        assert!(many.things.iter().all(|&turns| turns == 2));
    }
}
