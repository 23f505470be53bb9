//! RTCP compounds (RFC 3550 section 6.1, reduced-size RFC 5506): an iterator over the packets of
//! a datagram, and one file per message with its view and its writer.
//!
//! A router ends RTCP at each hop, so these are all the messages it believes or sends; other types
//! are passed over by their length.

pub mod bye;
pub mod fir;
pub mod nack;
pub mod pli;
pub mod remb;
mod report_block;
pub mod rr;
pub mod sdes;
pub mod sr;
pub mod twcc;

pub use bye::Bye;
pub use fir::Fir;
pub use nack::Nack;
pub use pli::Pli;
pub use remb::Remb;
pub use report_block::{ReportBlock, ReportBlocks};
pub use rr::ReceiverReport;
pub use sdes::Sdes;
pub use sr::SenderReport;
pub use twcc::Twcc;

use super::{Malformed, u16_at, u32_at, writer::Writer};

/// Bytes of the header that every packet of a compound has.
pub const HEADER_LEN: usize = 4;

const VERSION: u8 = 2;
const PADDING_BIT: u8 = 0x20;
/// The five bits after version and padding: a count, or the format of a feedback message.
const COUNT_MAX: usize = 31;

// Packet types: RFC 3550 section 12.1, RFC 4585 section 6.1.
const TYPE_SR: u8 = 200;
const TYPE_RR: u8 = 201;
const TYPE_SDES: u8 = 202;
const TYPE_BYE: u8 = 203;
const TYPE_TRANSPORT_FEEDBACK: u8 = 205;
const TYPE_PAYLOAD_FEEDBACK: u8 = 206;

/// One packet of a compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rtcp<'a> {
    /// RFC 3550 section 6.4.1.
    SenderReport(SenderReport<'a>),
    /// RFC 3550 section 6.4.2.
    ReceiverReport(ReceiverReport<'a>),
    /// RFC 3550 section 6.5.
    Sdes(Sdes<'a>),
    /// RFC 3550 section 6.6.
    Bye(Bye<'a>),
    /// RFC 4585 section 6.2.1.
    Nack(Nack<'a>),
    /// RFC 4585 section 6.3.1.
    Pli(Pli),
    /// RFC 5104 section 4.3.1.
    Fir(Fir<'a>),
    /// draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1.
    Twcc(Twcc<'a>),
    /// draft-alvestrand-rmcat-remb-03.
    Remb(Remb<'a>),
    /// Something else, passed over.
    Unknown {
        /// Its packet type.
        packet_type: u8,
        /// Its count or feedback format.
        format: u8,
    },
}

/// The packets of a compound, in wire order.
///
/// A packet that is malformed inside its own length is reported and the next one is read; when the
/// length itself can't be, that is reported and the iteration ends.
#[must_use]
pub fn packets(data: &[u8]) -> Packets<'_> {
    Packets { rest: data }
}

/// See [`packets`].
#[derive(Debug, Clone)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Rtcp<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match split_packet(self.rest) {
            Ok((packet, rest)) => {
                self.rest = rest;
                Some(parse_packet(packet))
            }
            Err(malformed) => {
                self.rest = &[];
                Some(Err(malformed))
            }
        }
    }
}

/// Cuts the first packet off by its length field, which counts 32-bit words less one.
fn split_packet(data: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let first = *data.first().ok_or(Malformed::Truncated)?;
    if first >> 6 != VERSION {
        return Err(Malformed::Version);
    }
    let words = u16_at(data, 2).ok_or(Malformed::Truncated)?;
    data.split_at_checked(4 * (usize::from(words) + 1))
        .ok_or(Malformed::Truncated)
}

fn parse_packet(packet: &[u8]) -> Result<Rtcp<'_>, Malformed> {
    let (first, packet_type) = (packet[0], packet[1]);
    let format = first & 0x1f;
    let mut body = &packet[HEADER_LEN..];
    if first & PADDING_BIT != 0 {
        // RFC 3550 section 6.4.1: the last octet counts the padding, itself included.
        let padding = usize::from(*body.last().ok_or(Malformed::Padding)?);
        if padding == 0 || padding > body.len() {
            return Err(Malformed::Padding);
        }
        body = &body[..body.len() - padding];
    }
    Ok(match (packet_type, format) {
        (TYPE_SR, count) => Rtcp::SenderReport(SenderReport::parse(count, body)?),
        (TYPE_RR, count) => Rtcp::ReceiverReport(ReceiverReport::parse(count, body)?),
        (TYPE_SDES, count) => Rtcp::Sdes(Sdes::parse(count, body)?),
        (TYPE_BYE, count) => Rtcp::Bye(Bye::parse(count, body)?),
        (TYPE_TRANSPORT_FEEDBACK, nack::FORMAT) => Rtcp::Nack(Nack::parse(body)?),
        (TYPE_TRANSPORT_FEEDBACK, twcc::FORMAT) => Rtcp::Twcc(Twcc::parse(body)?),
        (TYPE_PAYLOAD_FEEDBACK, pli::FORMAT) => Rtcp::Pli(Pli::parse(body)?),
        (TYPE_PAYLOAD_FEEDBACK, fir::FORMAT) => Rtcp::Fir(Fir::parse(body)?),
        (TYPE_PAYLOAD_FEEDBACK, remb::FORMAT) if remb::is_remb(body) => Rtcp::Remb(Remb::parse(body)?),
        _ => Rtcp::Unknown { packet_type, format },
    })
}

/// Sender and media SSRC, the start of every feedback message (RFC 4585 section 6.1).
fn feedback_ssrcs(body: &[u8]) -> Result<(u32, u32, &[u8]), Malformed> {
    match (u32_at(body, 0), u32_at(body, 4)) {
        (Some(sender), Some(media)) => Ok((sender, media, &body[8..])),
        _ => Err(Malformed::Truncated),
    }
}

/// Starts a packet; [`finish`] fills in its length.
fn start(buf: &mut [u8], packet_type: u8, count: usize) -> Option<Writer<'_>> {
    if count > COUNT_MAX {
        return None;
    }
    let mut out = Writer::new(buf);
    // At most 31.
    out.u8(VERSION << 6 | count as u8)?;
    out.u8(packet_type)?;
    out.u16(0)?;
    Some(out)
}

/// Pads with zeros to a whole word, writes the length field and gives the length in bytes.
fn finish(mut out: Writer<'_>) -> Option<usize> {
    out.align4()?;
    let words = u16::try_from(out.len() / 4 - 1).ok()?;
    out.patch_u16(2, words)?;
    Some(out.len())
}

#[cfg(test)]
mod tests;
