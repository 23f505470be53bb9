//! The packet index from a 16-bit sequence number: RFC 3711 section 3.3.1 and appendix A.

/// The index that `sequence` most likely stands for, after `highest` was the highest authenticated
/// one: the one of three rollover counters that lies nearest. `None` before the stream's first
/// packet or past the last of its 2^48.
pub(super) const fn estimate(highest: u64, sequence: u16) -> Option<u64> {
    let last = highest as u16;
    let rollovers = highest >> 16;
    let rollovers = if last < 0x8000 {
        if sequence > last && sequence - last > 0x8000 {
            match rollovers.checked_sub(1) {
                Some(previous) => previous,
                None => return None,
            }
        } else {
            rollovers
        }
    } else if last - 0x8000 > sequence {
        rollovers + 1
    } else {
        rollovers
    };
    if rollovers > u32::MAX as u64 {
        return None;
    }
    Some((rollovers << 16) | sequence as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_a_cycle() {
        assert_eq!(estimate(100, 101), Some(101));
        assert_eq!(estimate(100, 99), Some(99));
        assert_eq!(estimate(0x1_8000, 0x7fff), Some(0x1_7fff));
    }

    #[test]
    fn wraps_up_and_back() {
        assert_eq!(estimate(0xffff, 0), Some(0x1_0000));
        assert_eq!(estimate(0x1_0000, 0xffff), Some(0xffff));
        assert_eq!(estimate(0x5_fff0, 0x0010), Some(0x6_0010));
        assert_eq!(estimate(0x6_0010, 0xfff0), Some(0x5_fff0));
    }

    #[test]
    fn nothing_comes_before_the_first_cycle() {
        assert_eq!(estimate(10, 0xfff0), None);
    }

    #[test]
    fn nothing_comes_after_the_last_index() {
        assert_eq!(estimate(0xffff_ffff_ffff, 0), None);
    }

    #[test]
    fn half_a_cycle_is_the_edge() {
        // RFC 3711: SEQ - s_l > 2^15 means the previous cycle; exactly 2^15 does not.
        assert_eq!(estimate(0x1_0000, 0x8000), Some(0x1_8000));
        assert_eq!(estimate(0x1_0000, 0x8001), Some(0x0_8001));
        assert_eq!(estimate(0x1_9000, 0x1000), Some(0x1_1000));
        assert_eq!(estimate(0x1_9000, 0x0fff), Some(0x2_0fff));
    }
}
