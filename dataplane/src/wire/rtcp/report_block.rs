//! Report blocks, common to sender and receiver reports (RFC 3550 section 6.4.1).

use super::super::writer::Writer;

/// Bytes of one block.
pub(super) const LEN: usize = 24;

/// What a receiver says of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: u32,
    /// Loss since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Loss since the start; negative when duplicates outnumber it. Clamped to 24 bits on the wire.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with the count of its wraps in the upper half.
    pub highest_sequence: u32,
    /// Interarrival jitter in timestamp ticks.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report, 0 when there was none.
    pub last_sr: u32,
    /// Time since that report came, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// `cumulative_lost` is a signed 24-bit number.
const LOST_MAX: i32 = (1 << 23) - 1;
const LOST_MIN: i32 = -(1 << 23);

impl ReportBlock {
    fn read(bytes: &[u8; LEN]) -> Self {
        let word = |index: usize| {
            let at = 4 * index;
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            ssrc: word(0),
            fraction_lost: bytes[4],
            // Up and down again by 8 bits carries the sign of the 24-bit number.
            cumulative_lost: (word(1) << 8).cast_signed() >> 8,
            highest_sequence: word(2),
            jitter: word(3),
            last_sr: word(4),
            delay_since_last_sr: word(5),
        }
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        out.u32(self.ssrc)?;
        out.u8(self.fraction_lost)?;
        out.u24(self.cumulative_lost.clamp(LOST_MIN, LOST_MAX).cast_unsigned())?;
        out.u32(self.highest_sequence)?;
        out.u32(self.jitter)?;
        out.u32(self.last_sr)?;
        out.u32(self.delay_since_last_sr)
    }
}

/// Iterates the blocks of a report.
#[derive(Debug, Clone)]
pub struct ReportBlocks<'a> {
    blocks: std::slice::Iter<'a, [u8; LEN]>,
}

impl<'a> ReportBlocks<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            blocks: bytes.as_chunks().0.iter(),
        }
    }
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        self.blocks.next().map(ReportBlock::read)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.blocks.size_hint()
    }
}

impl ExactSizeIterator for ReportBlocks<'_> {}
