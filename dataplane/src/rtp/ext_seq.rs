//! Wire counters extended to 64 bits: sequence numbers, timestamps, picture ids.
//!
//! RFC 3550 appendix A.1: the value meant is the one nearest to what was seen before. Whether a packet
//! is believable is decided elsewhere (SRTP authenticates it); these only remember.

/// Extends 16-bit sequence numbers, relative to the highest one seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct SeqUnwrapper {
    highest: Option<u64>,
}

impl SeqUnwrapper {
    /// The first number is placed one cycle up, so that packets from before it don't underflow.
    pub const START: u64 = 1 << 16;

    /// Nothing seen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { highest: None }
    }

    /// The extended form of `seq`; remembers it if it is the highest so far.
    pub fn unwrap(&mut self, seq: u16) -> u64 {
        let extended = self.nearest(seq);
        if self.highest.is_none_or(|highest| extended > highest) {
            self.highest = Some(extended);
        }
        extended
    }

    /// The extended form of `seq` without remembering it, as for numbers quoted in feedback.
    #[must_use]
    pub fn nearest(&self, seq: u16) -> u64 {
        match self.highest {
            None => Self::START + u64::from(seq),
            Some(highest) => nearest_u16(highest, seq),
        }
    }

    /// The highest number so far.
    #[must_use]
    pub const fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// The number nearest to `reference` whose low 16 bits are `seq`; never below zero.
#[must_use]
pub fn nearest_u16(reference: u64, seq: u16) -> u64 {
    let distance = seq.wrapping_sub(reference as u16) as i16;
    let extended = reference.wrapping_add_signed(i64::from(distance));
    // Below the first cycle there is nothing: the number can only be from the cycle above.
    if distance < 0 && extended > reference {
        extended.wrapping_add(1 << 16)
    } else {
        extended
    }
}

/// Extends 32-bit RTP timestamps, relative to the last one seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct TsUnwrapper {
    last: Option<i64>,
}

impl TsUnwrapper {
    /// Nothing seen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// The extended form of `ts`; remembers it.
    pub fn unwrap(&mut self, ts: u32) -> i64 {
        let extended = self.nearest(ts);
        self.last = Some(extended);
        extended
    }

    /// The extended form of `ts` without remembering it, as for a sender report's timestamp.
    #[must_use]
    pub fn nearest(&self, ts: u32) -> i64 {
        match self.last {
            None => (1 << 32) + i64::from(ts),
            Some(last) => last + i64::from(ts.wrapping_sub(last as u32) as i32),
        }
    }
}

/// Extends picture ids of VP8 and VP9 with 7 or 15 bits (RFC 7741 section 4.2, RFC 9628 section 4.2), and
/// frame numbers of dependency descriptors with 16.
#[derive(Debug, Clone, Copy, Default)]
pub struct PictureIdUnwrapper {
    last: Option<LastPicture>,
}

#[derive(Debug, Clone, Copy)]
struct LastPicture {
    extended: i64,
    raw: u16,
    bits: u32,
}

impl PictureIdUnwrapper {
    /// Nothing seen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// The extended form of an id that had so many bits on the wire, at most 16.
    ///
    /// A sender may go from 7 to 15 bits in mid-stream: the step between two ids of different width
    /// is only known modulo the narrower one.
    pub fn unwrap(&mut self, id: u16, bits: u32) -> i64 {
        let extended = match self.last {
            // One cycle up, so that earlier pictures stay positive.
            None => (1 << 16) + i64::from(id),
            Some(last) => {
                let unused = 32 - bits.min(last.bits);
                let step = (u32::from(id).wrapping_sub(u32::from(last.raw)) << unused) as i32 >> unused;
                last.extended + i64::from(step)
            }
        };
        self.last = Some(LastPicture {
            extended,
            raw: id,
            bits,
        });
        extended
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn earlier_than_the_first_does_not_underflow() {
        let mut unwrapper = SeqUnwrapper::new();
        let first = unwrapper.unwrap(2);
        assert_eq!(unwrapper.unwrap(65_530), first - 8);
        assert_eq!(unwrapper.highest(), Some(first));
    }

    #[test]
    fn below_zero_is_the_next_cycle() {
        assert_eq!(nearest_u16(3, 65_530), 65_530);
        assert_eq!(nearest_u16(65_530, 3), 65_539);
    }

    #[test]
    fn picture_ids_keep_counting_when_the_field_widens() {
        let mut unwrapper = PictureIdUnwrapper::new();
        let first = unwrapper.unwrap(120, 7);
        // 120 .. 127, 0 .. 44: wrapped once in seven bits.
        for step in 1..=52 {
            assert_eq!(unwrapper.unwrap((120 + step) & 0x7f, 7), first + i64::from(step));
        }
        assert_eq!(unwrapper.unwrap(45, 15), first + 53);
        assert_eq!(unwrapper.unwrap(46, 15), first + 54);
    }

    #[test]
    fn picture_ids_wrap_at_fifteen_bits() {
        let mut unwrapper = PictureIdUnwrapper::new();
        let first = unwrapper.unwrap(0x7fff, 15);
        assert_eq!(unwrapper.unwrap(0, 15), first + 1);
        assert_eq!(unwrapper.unwrap(0x7ffe, 15), first - 1);
    }

    proptest! {
        /// Any walk with steps below half a cycle is followed exactly.
        #[test]
        fn follows_any_walk(start: u16, steps in prop::collection::vec(-3000i64..3000, 1..200)) {
            let mut unwrapper = SeqUnwrapper::new();
            let mut truth = unwrapper.unwrap(start) as i64;
            let mut highest = truth;
            for step in steps {
                // Relative to the highest, so that the distance stays below 2^15.
                truth = (highest + step).max(0);
                highest = highest.max(truth);
                prop_assert_eq!(unwrapper.unwrap(truth as u16) as i64, truth);
            }
        }

        #[test]
        fn timestamps_follow_any_walk(start: u32, steps in prop::collection::vec(-90_000i64..900_000_000, 1..200)) {
            let mut unwrapper = TsUnwrapper::new();
            let mut truth = unwrapper.unwrap(start);
            for step in steps {
                truth += step;
                prop_assert_eq!(unwrapper.unwrap(truth as u32), truth);
            }
        }
    }
}
