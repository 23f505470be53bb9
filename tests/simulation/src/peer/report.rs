//! What a receiver reports of one stream (RFC 3550 section 6.4.1).

use kall_dataplane::time::{Ntp, Time};
use kall_dataplane::wire::rtcp::ReportBlock;

/// Extended numbers start one cycle up here; on the wire cycles count from zero.
const FIRST_CYCLE: u64 = 1 << 16;

#[derive(Debug, Default)]
pub(crate) struct Reception {
    first: Option<u64>,
    received: u64,
    /// Expected and received packets at the last report.
    before: (u64, u64),
    last_sr: Option<(Ntp, Time)>,
}

impl Reception {
    pub(crate) fn on_packet(&mut self, sequence: u16) {
        self.received += 1;
        self.first.get_or_insert(FIRST_CYCLE + u64::from(sequence));
    }

    pub(crate) fn on_sender_report(&mut self, now: Time, ntp: Ntp) {
        self.last_sr = Some((ntp, now));
    }

    /// The block of now, if anything came.
    pub(crate) fn block(&mut self, now: Time, ssrc: u32, highest: u64) -> Option<ReportBlock> {
        let expected = (highest + 1).saturating_sub(self.first?);
        let (expected_before, received_before) = self.before;
        self.before = (expected, self.received);
        let interval = expected.saturating_sub(expected_before);
        let lost = interval.saturating_sub(self.received.saturating_sub(received_before));
        let fraction = (lost * 256).checked_div(interval).unwrap_or(0);
        let (last_sr, delay) = self.last_sr.map_or((0, 0), |(ntp, at)| {
            (
                ntp.compact(),
                (now.since(at).as_micros() * 65_536 / 1_000_000) as u32,
            )
        });
        Some(ReportBlock {
            ssrc,
            fraction_lost: fraction.min(255) as u8,
            cumulative_lost: expected.saturating_sub(self.received) as i32,
            highest_sequence: (highest - FIRST_CYCLE) as u32,
            jitter: 0,
            last_sr,
            delay_since_last_sr: delay,
        })
    }
}
