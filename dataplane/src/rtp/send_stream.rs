//! Sending state of one outbound SSRC: what our sender reports say, and what the receiver reported.
//!
//! Owns counts and the newest reception report about us. Where a report's RTP time comes from is
//! the caller's business: it must be capture time ([`crate::rtp::CaptureClock`]), not the time of
//! the last packet.

use std::time::Duration;

use crate::time::{Ntp, Time, WallClock};
use crate::wire::rtcp::ReportBlock;
use crate::wire::rtcp::sr::SenderInfo;

/// A stream that sent nothing for this long has nothing to report: a receiver would take the report's
/// RTP time for the position of a picture that isn't there.
const SILENT_AFTER: Duration = Duration::from_secs(2);

/// Round trips above this are a forged or mangled LSR.
const RTT_MAX: Duration = Duration::from_secs(10);

/// One outbound SSRC.
#[derive(Debug, Clone)]
pub struct SendStream {
    ssrc: u32,
    packets: u64,
    octets: u64,
    last_sent: Option<Time>,
    fraction_lost: u8,
    cumulative_lost: i32,
    jitter: u32,
    rtt: Option<Duration>,
}

impl SendStream {
    /// A stream that has sent nothing.
    #[must_use]
    pub fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            packets: 0,
            octets: 0,
            last_sent: None,
            fraction_lost: 0,
            cumulative_lost: 0,
            jitter: 0,
            rtt: None,
        }
    }

    /// Notes a sent packet with this many bytes of payload. True for the first, and for the first after a
    /// silence: a sender report should follow at once.
    pub fn on_sent(&mut self, now: Time, payload_len: usize) -> bool {
        let begins = !self.is_active(now);
        self.packets += 1;
        self.octets += payload_len as u64;
        self.last_sent = Some(now);
        begins
    }

    /// The sender report of now, if the stream is active. `rtp` is the RTP time of the media that is
    /// captured at `now`.
    #[must_use]
    pub fn sender_info(&self, now: Time, wall: &WallClock, rtp: u32) -> Option<SenderInfo> {
        self.is_active(now).then(|| SenderInfo {
            ssrc: self.ssrc,
            ntp: wall.ntp(now),
            rtp_timestamp: rtp,
            packet_count: self.packets as u32,
            octet_count: self.octets as u32,
        })
    }

    /// Takes in what the receiver reports about this stream.
    pub fn on_report_block(&mut self, now: Time, wall: &WallClock, report: &ReportBlock) {
        self.fraction_lost = report.fraction_lost;
        self.cumulative_lost = report.cumulative_lost;
        self.jitter = report.jitter;
        if let Some(rtt) = round_trip(wall.ntp(now), report.last_sr, report.delay_since_last_sr) {
            self.rtt = Some(rtt);
        }
    }

    /// Whether something was sent in the last two seconds.
    #[must_use]
    pub fn is_active(&self, now: Time) -> bool {
        self.last_sent.is_some_and(|at| now.since(at) < SILENT_AFTER)
    }

    /// The SSRC.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Round trip to the receiver, from its newest report.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Fraction lost in 1/256, from the newest report.
    #[must_use]
    pub fn fraction_lost(&self) -> u8 {
        self.fraction_lost
    }

    /// Packets the receiver has lost since the start, as it says.
    #[must_use]
    pub fn cumulative_lost(&self) -> i32 {
        self.cumulative_lost
    }

    /// Jitter at the receiver in RTP ticks.
    #[must_use]
    pub fn jitter(&self) -> u32 {
        self.jitter
    }

    /// Packets and payload bytes sent.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.packets, self.octets)
    }
}

/// RFC 3550 section 6.4.1: now - LSR - DLSR in 1/65536 s. None without an LSR, when it is negative or absurd.
#[must_use]
pub fn round_trip(now: Ntp, last_sr: u32, delay: u32) -> Option<Duration> {
    if last_sr == 0 {
        return None;
    }
    let units = now.compact().wrapping_sub(last_sr).wrapping_sub(delay) as i32;
    let nanos = (u64::try_from(units).ok()? * 1_000_000_000) >> 16;
    let rtt = Duration::from_nanos(nanos);
    (rtt <= RTT_MAX).then_some(rtt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_round_trip_of_the_rfc() {
        // RFC 3550 section 6.4.1, figure 2.
        let rtt = round_trip(Ntp(0xb710_8000 << 16), 0xb705_2000, 0x0005_4000).unwrap();
        assert_eq!(rtt, Duration::from_millis(6125));
    }

    #[test]
    fn nonsense_gives_no_round_trip() {
        assert_eq!(round_trip(Ntp(0xb710_8000 << 16), 0, 5), None);
        assert_eq!(round_trip(Ntp(0xb710_8000 << 16), 0xb710_8001, 0), None);
        assert_eq!(round_trip(Ntp(0xb710_8000 << 16), 0x1234_5678, 0), None);
    }

    #[test]
    fn reports_only_while_it_sends() {
        let wall = WallClock::new(Duration::from_secs(1_800_000_000));
        let mut stream = SendStream::new(1);
        assert!(stream.sender_info(Time::ZERO, &wall, 0).is_none());
        assert!(stream.on_sent(Time::ZERO, 100));
        assert!(!stream.on_sent(Time::from_millis(1000), 50));
        let info = stream.sender_info(Time::from_millis(1000), &wall, 99).unwrap();
        assert_eq!(
            (info.packet_count, info.octet_count, info.rtp_timestamp),
            (2, 150, 99)
        );
        assert!(stream.sender_info(Time::from_millis(3000), &wall, 99).is_none());
        assert!(stream.on_sent(Time::from_millis(4000), 1));
    }
}
