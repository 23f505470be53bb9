//! Receiver reports (RFC 3550 section 6.4.2).

use super::super::{Malformed, u32_at};
use super::{ReportBlock, ReportBlocks, TYPE_RR, finish, report_block, start};

/// A parsed receiver report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverReport<'a> {
    ssrc: u32,
    blocks: &'a [u8],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let ssrc = u32_at(body, 0).ok_or(Malformed::Truncated)?;
        let end = 4 + usize::from(count) * report_block::LEN;
        let blocks = body.get(4..end).ok_or(Malformed::Truncated)?;
        Ok(Self { ssrc, blocks })
    }

    /// Who reports.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// What it receives of others.
    #[must_use]
    pub fn reports(&self) -> ReportBlocks<'a> {
        ReportBlocks::new(self.blocks)
    }
}

/// Writes a report with at most 31 blocks and gives its length. Without blocks it only opens
/// a compound.
pub fn write(buf: &mut [u8], ssrc: u32, reports: &[ReportBlock]) -> Option<usize> {
    let mut out = start(buf, TYPE_RR, reports.len())?;
    out.u32(ssrc)?;
    for report in reports {
        report.write(&mut out)?;
    }
    finish(out)
}
