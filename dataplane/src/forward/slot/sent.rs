//! What was sent on a slot, and what the receiver says of it: repairs, key frames it asks for, reports.

use std::time::Duration;

use super::Slot;
use crate::forward::layer_stream::LayerStream;
use crate::forward::rewriter::Out;
use crate::rtp::nack_map::{NotResent, Sent};
use crate::rtp::packet_ring::PacketMeta;
use crate::rtp::{CaptureClock, SendStream};
use crate::time::{Time, WallClock};
use crate::wire::rtcp::ReportBlock;
use crate::wire::rtcp::sr::SenderInfo;

/// How long a key frame takes to arrive, beside the round trip: it is as long as many pictures, and where it is needed
/// most the path is narrow. What is asked for meanwhile it answers; what is lost of it is sent again.
const KEYFRAME_ARRIVES: Duration = Duration::from_millis(150);

/// Most that a request may be taken for one that crossed the key frame.
const CROSSING_MAX: Duration = Duration::from_millis(500);

impl Slot {
    /// Remembers a packet that was sealed. True when a sender report should follow at once.
    /// `len` is what left for it.
    pub fn on_sent(
        &mut self,
        now: Time,
        len: usize,
        stream: &LayerStream,
        meta: &PacketMeta,
        out: &Out,
    ) -> bool {
        self.nacks
            .on_sent(now, stream.source, meta.seq, out, meta.keyframe_start);
        self.sent.add(now, len);
        self.send.on_sent(now, usize::from(meta.payload_len)) || out.switched
    }

    /// RTP timestamp of the newest packet sent.
    #[must_use]
    pub fn newest_sent(&self) -> Option<u32> {
        self.nacks.recent(0).map(|sent| sent.timestamp)
    }

    /// A packet of the last ones sent, for a probe to repeat; none when nothing was sent lately.
    #[must_use]
    pub fn recent(&self, back: u64) -> Option<Sent> {
        self.nacks.recent(back)
    }

    /// What to send again for a number the receiver misses.
    ///
    /// # Errors
    /// It is not to be sent again, and why.
    pub fn on_nack(&self, now: Time, out_seq: u16, rtt: Duration) -> Result<Sent, NotResent> {
        self.nacks.on_nack(now, out_seq, rtt)
    }

    /// Remembers a retransmission that was sealed.
    pub fn on_resent(&mut self, now: Time, seq: u64) {
        self.counts.rtx_packets += 1;
        self.nacks.on_resent(now, seq);
    }

    /// The receiver can't decode until the next key frame. False when it asks too often to be
    /// listened to, or could not know yet what it was just sent. `rtt` is the round trip to it.
    pub fn on_keyframe_request(&mut self, now: Time, rtt: Duration) -> bool {
        let crossing = (rtt + KEYFRAME_ARRIVES).min(CROSSING_MAX);
        if self.nacks.keyed_at().is_some_and(|at| now.since(at) < crossing) {
            return false;
        }
        // A receiver repeats itself until the key frame is there; that is one request.
        let admitted = self.nacks.is_paused() || self.requests.admit(now);
        if admitted {
            self.nacks.pause_until_keyframe();
        }
        admitted
    }

    /// What was sent and what the receiver said of it.
    #[must_use]
    pub fn send_stream(&self) -> &SendStream {
        &self.send
    }

    /// What the receiver reports about the slot.
    pub fn on_report_block(&mut self, now: Time, wall: &WallClock, block: &ReportBlock) {
        if block.ssrc == self.ssrc {
            self.send.on_report_block(now, wall, block);
        }
    }

    /// Round trip to the receiver, once it is known.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.send.rtt()
    }

    /// The sender report of now, on the publisher's capture clock.
    #[must_use]
    pub fn sender_info(
        &self,
        now: Time,
        wall: &WallClock,
        stream: &LayerStream,
        clock: &CaptureClock,
    ) -> Option<SenderInfo> {
        let captured = clock.ts_at(now, stream.recv.sr_pair()?, stream.recv.clock_rate())?;
        let rtp = self.rewriter.timestamp(stream.source, captured)?;
        self.send.sender_info(now, wall, rtp)
    }
}
