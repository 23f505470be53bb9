//! A receiver of one audio slot: it plays in order what comes in time.

use kall_dataplane::time::Time;

use super::microphone::Spoken;

#[derive(Debug)]
pub(crate) struct AudioSlot {
    pub(crate) ssrc: u32,
    highest: Option<u64>,
    /// When the first packet came.
    pub(crate) first: Option<Time>,
    /// Packets that came after all before them had come or were given up.
    pub(crate) in_order: u64,
    /// Packets that came twice, or after a later one.
    pub(crate) late: u64,
    /// Packets of one publisher that came out of their order though their numbers rose.
    pub(crate) disordered: u64,
    last: Option<Spoken>,
}

impl AudioSlot {
    pub(crate) const fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            highest: None,
            first: None,
            in_order: 0,
            late: 0,
            disordered: 0,
            last: None,
        }
    }

    pub(crate) const fn highest(&self) -> Option<u64> {
        self.highest
    }

    pub(crate) fn on_packet(&mut self, now: Time, sequence: u16, spoken: Spoken) {
        self.first.get_or_insert(now);
        let highest = self.highest.unwrap_or((1 << 16) + u64::from(sequence) - 1);
        let step = sequence.wrapping_sub(highest as u16) as i16;
        let seq = highest.wrapping_add_signed(i64::from(step));
        if seq <= highest {
            self.late += 1;
            return;
        }
        self.highest = Some(seq);
        self.in_order += 1;
        if let Some(last) = self.last
            && last.peer == spoken.peer
            && last.number >= spoken.number
        {
            self.disordered += 1;
        }
        self.last = Some(spoken);
    }
}
