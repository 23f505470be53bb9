//! Reception state of one inbound SSRC: what receiver reports say, and what sender reports said.
//!
//! Owns counts, loss and jitter (RFC 3550 appendix A.3 and A.8) and the newest sender report. It counts
//! the primary stream only: a retransmission neither repairs the loss it reports nor disturbs the
//! jitter, because the publisher's rate control reads both as the state of the path.

use std::time::Duration;

use crate::rtp::capture_clock::{SrPair, ticks_between};
use crate::rtp::ext_seq::{SeqUnwrapper, TsUnwrapper};
use crate::time::{Ntp, Time};
use crate::wire::rtcp::ReportBlock;

/// Cumulative loss is a signed 24-bit field (RFC 3550 section 6.4.1).
const LOST_MAX: i64 = 0x7f_ffff;
const LOST_MIN: i64 = -0x80_0000;

/// Sender reports refused in a row before the newest is believed: reports don't overtake each other
/// for seconds, so a clock that stays behind was set anew.
const REFUSED_MAX: u8 = 3;

/// What became of a sender report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SrOutcome {
    /// It is the stream's new mapping.
    Taken,
    /// The mapping jumped: the source was replaced or its clock set; the old mapping is void.
    Reset,
    /// Older than the one known, or its clock runs backwards.
    Ignored,
}

/// A mapping that moves by more than this between two reports did not drift, it jumped.
const JUMP: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
struct LastPacket {
    arrival: Time,
    ts: i64,
}

/// What came of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Packets of the primary stream.
    pub packets: u64,
    /// Payload, retransmissions included.
    pub bytes: u64,
    /// Packets that did not come on the primary stream.
    pub lost: u64,
    /// Packets that came as retransmissions.
    pub recovered: u64,
    /// Jitter in RTP ticks.
    pub jitter: u32,
}

/// One inbound SSRC.
#[derive(Debug, Clone)]
pub struct RecvStream {
    ssrc: u32,
    clock_rate: u32,
    seq: SeqUnwrapper,
    ts: TsUnwrapper,
    first_seq: u64,
    packets: u64,
    bytes: u64,
    recovered: u64,
    expected_prior: u64,
    packets_prior: u64,
    /// Losses that [`Self::take_lost`] has told.
    lost_told: u64,
    /// RFC 3550 A.8: sixteen times the jitter, in ticks.
    jitter_16: u64,
    last: Option<LastPacket>,
    sr: Option<SrPair>,
    /// LSR and its arrival: the newest report, believed or not.
    last_sr: Option<(u32, Time)>,
    refused: u8,
}

impl RecvStream {
    /// A stream whose first packet is about to be noted.
    #[must_use]
    pub fn new(ssrc: u32, clock_rate: u32) -> Self {
        Self {
            ssrc,
            clock_rate,
            seq: SeqUnwrapper::new(),
            ts: TsUnwrapper::new(),
            first_seq: 0,
            packets: 0,
            bytes: 0,
            recovered: 0,
            expected_prior: 0,
            packets_prior: 0,
            lost_told: 0,
            jitter_16: 0,
            last: None,
            sr: None,
            last_sr: None,
            refused: 0,
        }
    }

    /// Notes an authenticated packet of the primary stream and gives back its extended sequence number
    /// and timestamp. `len` is the packet's payload in bytes.
    pub fn on_packet(&mut self, arrival: Time, seq: u16, ts: u32, len: usize) -> (u64, i64) {
        let highest = self.seq.highest();
        let seq = self.seq.unwrap(seq);
        let ts = self.ts.unwrap(ts);
        if highest.is_none() || seq < self.first_seq {
            self.first_seq = seq;
        }
        self.packets += 1;
        self.bytes += len as u64;
        if highest.is_none_or(|highest| seq > highest) {
            self.update_jitter(arrival, ts);
        }
        (seq, ts)
    }

    /// Notes a packet that came as a retransmission (RFC 4588), by its original numbers, and extends
    /// them like [`Self::on_packet`]. Loss and jitter don't change.
    pub fn on_recovered(&mut self, seq: u16, ts: u32, len: usize) -> (u64, i64) {
        self.recovered += 1;
        self.bytes += len as u64;
        (self.seq.nearest(seq), self.ts.nearest(ts))
    }

    /// RFC 3550 A.8, in order and once per timestamp: the packets of one frame are sent in a burst
    /// and would count the pacing of the sender as jitter of the path.
    fn update_jitter(&mut self, arrival: Time, ts: i64) {
        if let Some(last) = self.last
            && last.ts != ts
        {
            let elapsed = i128::from(arrival.as_nanos()) - i128::from(last.arrival.as_nanos());
            let ticks = elapsed * i128::from(self.clock_rate) / 1_000_000_000;
            let deviation = (ticks - i128::from(ts) + i128::from(last.ts)).unsigned_abs();
            // A timestamp jump is a new timeline, not jitter; a second of deviation is the bound.
            if deviation < u128::from(self.clock_rate) {
                self.jitter_16 = self.jitter_16 + deviation as u64 - ((self.jitter_16 + 8) >> 4);
            }
        }
        if self.last.is_none_or(|last| last.ts != ts) {
            self.last = Some(LastPacket { arrival, ts });
        }
    }

    /// Notes a sender report of this SSRC.
    pub fn on_sender_report(&mut self, now: Time, ntp: Ntp, rtp: u32) -> SrOutcome {
        let ts = self.ts.nearest(rtp);
        let pair = SrPair {
            ntp,
            ts,
            received: now,
        };
        let outcome = match self.sr {
            None => SrOutcome::Taken,
            Some(old) => {
                let elapsed = ticks_between(ntp, old.ntp, self.clock_rate);
                let advanced = ts - old.ts;
                let jump = (u128::from(self.clock_rate) * JUMP.as_millis() / 1000) as i64;
                if elapsed <= 0 || advanced < 0 {
                    self.refused += 1;
                    if self.refused < REFUSED_MAX {
                        SrOutcome::Ignored
                    } else {
                        SrOutcome::Reset
                    }
                } else if (advanced - elapsed).abs() > jump {
                    SrOutcome::Reset
                } else {
                    SrOutcome::Taken
                }
            }
        };
        if outcome != SrOutcome::Ignored {
            self.sr = Some(pair);
            self.refused = 0;
        }
        self.last_sr = Some((ntp.compact(), now));
        outcome
    }

    /// The report on this stream; starts a new interval for the fraction lost. None before the
    /// first packet.
    pub fn report_block(&mut self, now: Time) -> Option<ReportBlock> {
        let highest = self.seq.highest()?;
        let expected = highest - self.first_seq + 1;
        let lost = expected as i64 - self.packets as i64;
        let expected_now = expected - self.expected_prior.min(expected);
        let packets_now = self.packets - self.packets_prior;
        self.expected_prior = expected;
        self.packets_prior = self.packets;
        let lost_now = expected_now.saturating_sub(packets_now);
        let (last_sr, delay) = self.last_sr.map_or((0, 0), |(lsr, at)| {
            let delay = (now.since(at).as_nanos() << 16) / 1_000_000_000;
            (lsr, u32::try_from(delay).unwrap_or(u32::MAX))
        });
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8,
            cumulative_lost: lost.clamp(LOST_MIN, LOST_MAX) as i32,
            highest_sequence: (highest - SeqUnwrapper::START) as u32,
            jitter: (self.jitter_16 >> 4) as u32,
            last_sr,
            delay_since_last_sr: delay,
        })
    }

    /// What came since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let expected = self
            .seq
            .highest()
            .map_or(0, |highest| highest - self.first_seq + 1);
        Totals {
            packets: self.packets,
            bytes: self.bytes,
            lost: expected.saturating_sub(self.packets),
            recovered: self.recovered,
            jitter: (self.jitter_16 >> 4) as u32,
        }
    }

    /// Packets found missing since the last call, for a receive-side estimate.
    pub fn take_lost(&mut self) -> u32 {
        let Some(highest) = self.seq.highest() else {
            return 0;
        };
        let lost = (highest - self.first_seq + 1).saturating_sub(self.packets);
        let news = lost.saturating_sub(self.lost_told);
        self.lost_told = lost;
        u32::try_from(news).unwrap_or(u32::MAX)
    }

    /// The newest believed sender report.
    #[must_use]
    pub fn sr_pair(&self) -> Option<&SrPair> {
        self.sr.as_ref()
    }

    /// Takes over what another core found out of a sender report.
    pub fn relay_sr_pair(&mut self, pair: Option<SrPair>) {
        self.sr = pair;
    }

    /// The SSRC.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Ticks per second of its timestamps.
    #[must_use]
    pub fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// Extends a sequence number of this stream without noting it.
    #[must_use]
    pub fn extend_seq(&self, seq: u16) -> u64 {
        self.seq.nearest(seq)
    }

    /// Highest extended sequence number so far.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.seq.highest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> RecvStream {
        RecvStream::new(7, 90_000)
    }

    #[test]
    fn counts_loss_by_interval_and_in_total() {
        let mut stream = stream();
        for seq in (0..100u16).filter(|seq| seq % 4 != 3) {
            stream.on_packet(
                Time::from_millis(u64::from(seq)),
                seq.wrapping_sub(50),
                u32::from(seq) * 90,
                100,
            );
        }
        let report = stream.report_block(Time::from_millis(100)).unwrap();
        // 0..=98 expected: the last lost one isn't known yet.
        assert_eq!(report.cumulative_lost, 24);
        assert_eq!(report.fraction_lost, (24 * 256 / 99) as u8);
        // From 65486 through the wrap to 48 in the second cycle.
        assert_eq!(report.highest_sequence, 65_536 + 48);
        let report = stream.report_block(Time::from_millis(200)).unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, 24));
    }

    #[test]
    fn a_recovered_packet_stays_lost_in_reports() {
        let mut stream = stream();
        stream.on_packet(Time::ZERO, 10, 0, 100);
        stream.on_packet(Time::ZERO, 12, 0, 100);
        assert_eq!(stream.on_recovered(11, 0, 100).0, stream.extend_seq(11));
        assert_eq!(stream.report_block(Time::ZERO).unwrap().cumulative_lost, 1);
    }

    #[test]
    fn duplicates_make_negative_loss() {
        let mut stream = stream();
        for _ in 0..3 {
            stream.on_packet(Time::ZERO, 10, 0, 100);
        }
        let report = stream.report_block(Time::ZERO).unwrap();
        assert_eq!((report.cumulative_lost, report.fraction_lost), (-2, 0));
    }

    #[test]
    fn jitter_follows_the_appendix() {
        let mut stream = stream();
        // Every other packet 4 ms (360 ticks) late: |D| = 360 each time, so J tends to 360.
        for index in 0..200u32 {
            let at = u64::from(index) * 20 + if index % 2 == 0 { 0 } else { 4 };
            stream.on_packet(Time::from_millis(at), index as u16, index * 1800, 100);
        }
        let jitter = stream.report_block(Time::ZERO).unwrap().jitter;
        assert!((355..=360).contains(&jitter), "{jitter}");
    }

    #[test]
    fn reports_the_delay_since_the_sender_report() {
        let mut stream = stream();
        stream.on_packet(Time::ZERO, 1, 0, 1);
        stream.on_sender_report(Time::from_millis(100), Ntp(0x1_2345_6789_0000), 0);
        let report = stream.report_block(Time::from_millis(600)).unwrap();
        assert_eq!(report.last_sr, 0x2345_6789);
        assert_eq!(report.delay_since_last_sr, 32_768);
    }

    #[test]
    fn sender_reports_that_run_backwards_are_ignored_until_they_insist() {
        let mut stream = stream();
        let second = |seconds: u64| Ntp(seconds << 32);
        stream.on_packet(Time::ZERO, 1, 1_000_000, 1);
        assert_eq!(
            stream.on_sender_report(Time::ZERO, second(100), 1_000_000),
            SrOutcome::Taken
        );
        assert_eq!(
            stream.on_sender_report(Time::ZERO, second(101), 1_090_000),
            SrOutcome::Taken
        );
        assert_eq!(
            stream.on_sender_report(Time::ZERO, second(100), 1_000_000),
            SrOutcome::Ignored
        );
        assert_eq!(stream.sr_pair().unwrap().ts, (1 << 32) + 1_090_000);
        assert_eq!(
            stream.on_sender_report(Time::ZERO, second(102), 900_000),
            SrOutcome::Ignored
        );
        assert_eq!(
            stream.on_sender_report(Time::ZERO, second(103), 990_000),
            SrOutcome::Reset
        );
        // A jump forward is a replaced track.
        assert_eq!(
            stream.on_sender_report(Time::ZERO, second(104), 9_000_000),
            SrOutcome::Reset
        );
        assert_eq!(
            stream.on_sender_report(Time::ZERO, second(105), 9_090_000),
            SrOutcome::Taken
        );
    }
}
