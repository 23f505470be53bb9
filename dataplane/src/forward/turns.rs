//! Which layer was chosen when: late packets belong to what was chosen when they were sent.

/// Changes remembered: more than the time in which a packet may be late has.
const TURNS: usize = 4;

/// A layer, and the packet it is chosen from.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    since: u64,
    layer: u8,
}

/// The newest choices, the last one first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turns {
    turns: [Turn; TURNS],
}

impl Turns {
    /// This one, for all packets so far, too.
    #[must_use]
    pub fn begin(layer: u8) -> Self {
        Self {
            turns: [Turn { since: 0, layer }; TURNS],
        }
    }

    /// Another one from packet `seq` on.
    pub fn turn(&mut self, seq: u64, layer: u8) {
        if layer != self.layer() {
            self.turns.rotate_right(1);
            self.turns[0] = Turn { since: seq, layer };
        }
    }

    /// The newest.
    #[must_use]
    pub fn layer(&self) -> u8 {
        self.turns[0].layer
    }

    /// The one that packet `seq` belongs to.
    #[must_use]
    pub fn at(&self, seq: u64) -> u8 {
        let turn = self.turns.iter().find(|turn| turn.since <= seq);
        turn.unwrap_or(&self.turns[TURNS - 1]).layer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_packet_belongs_to_its_time() {
        let mut turns = Turns::begin(2);
        turns.turn(100, 0);
        turns.turn(100, 0);
        turns.turn(200, 1);
        let at = [50, 99, 100, 199, 200, 300].map(|seq| turns.at(seq));
        assert_eq!(at, [2, 2, 0, 0, 1, 1]);
        for seq in 3..8 {
            turns.turn(seq * 100, (seq % 2) as u8);
        }
        assert_eq!(turns.at(1), turns.at(400), "the oldest that is remembered");
    }
}
