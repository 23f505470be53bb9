//! Sender reports (RFC 3550 section 6.4.1).

use super::super::{Malformed, u32_at, u64_at};
use super::{ReportBlock, ReportBlocks, TYPE_SR, finish, report_block, start};
use crate::time::Ntp;

/// SSRC, NTP time, RTP time, two counts.
const SENDER_INFO_LEN: usize = 24;

/// The part about the sender itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderInfo {
    /// The sender.
    pub ssrc: u32,
    /// Wall-clock time of the report.
    pub ntp: Ntp,
    /// The same instant on the stream's media clock.
    pub rtp_timestamp: u32,
    /// RTP packets sent since the start.
    pub packet_count: u32,
    /// Payload bytes sent since the start.
    pub octet_count: u32,
}

/// A parsed sender report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport<'a> {
    info: SenderInfo,
    blocks: &'a [u8],
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let word = |at| u32_at(body, at).ok_or(Malformed::Truncated);
        let info = SenderInfo {
            ssrc: word(0)?,
            ntp: Ntp(u64_at(body, 4).ok_or(Malformed::Truncated)?),
            rtp_timestamp: word(12)?,
            packet_count: word(16)?,
            octet_count: word(20)?,
        };
        let end = SENDER_INFO_LEN + usize::from(count) * report_block::LEN;
        // What follows the blocks is a profile's extension, which none of ours has.
        let blocks = body.get(SENDER_INFO_LEN..end).ok_or(Malformed::Truncated)?;
        Ok(Self { info, blocks })
    }

    /// The part about the sender itself.
    #[must_use]
    pub fn info(&self) -> SenderInfo {
        self.info
    }

    /// What the sender receives of others.
    #[must_use]
    pub fn reports(&self) -> ReportBlocks<'a> {
        ReportBlocks::new(self.blocks)
    }
}

/// Writes a report with at most 31 blocks and gives its length.
pub fn write(buf: &mut [u8], info: &SenderInfo, reports: &[ReportBlock]) -> Option<usize> {
    let mut out = start(buf, TYPE_SR, reports.len())?;
    out.u32(info.ssrc)?;
    out.u64(info.ntp.0)?;
    out.u32(info.rtp_timestamp)?;
    out.u32(info.packet_count)?;
    out.u32(info.octet_count)?;
    for report in reports {
        report.write(&mut out)?;
    }
    finish(out)
}
