//! RTP packets (RFC 3550 section 5.1): a view, the header's length of packets that are still
//! encrypted, and a header writer.

use std::fmt;

use super::rtp_ext::{self, Elements};
use super::{Malformed, u16_at, u32_at, writer::Writer};

/// Bytes of the header without CSRCs and extension.
pub const FIXED_HEADER_LEN: usize = 12;

const VERSION: u8 = 2;
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
const CSRC_COUNT: u8 = 0x0f;

/// A parsed RTP packet in the clear.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    data: &'a [u8],
    /// Where the payload starts and where it ends; `parse` checked both.
    payload_at: usize,
    payload_end: usize,
}

impl<'a> Packet<'a> {
    /// Checks the header, the extension's length and the padding.
    ///
    /// # Errors
    /// [`Malformed`] names the rule that is broken.
    pub fn parse(data: &'a [u8]) -> Result<Self, Malformed> {
        let first = *data.first().ok_or(Malformed::Truncated)?;
        if first >> 6 != VERSION {
            return Err(Malformed::Version);
        }
        let payload_at = header_len(data).ok_or(Malformed::Truncated)?;
        let padding = if first & PADDING_BIT == 0 {
            0
        } else {
            // RFC 3550 section 5.1: the last octet counts the padding, itself included.
            match data[payload_at..].last() {
                None | Some(0) => return Err(Malformed::Padding),
                Some(&count) => usize::from(count),
            }
        };
        let payload_end = data
            .len()
            .checked_sub(padding)
            .filter(|end| *end >= payload_at)
            .ok_or(Malformed::Padding)?;
        Ok(Self {
            data,
            payload_at,
            payload_end,
        })
    }

    /// The marker bit; for video the last packet of a frame, for audio the first of a talk spurt.
    #[must_use]
    pub fn marker(&self) -> bool {
        self.data[1] & 0x80 != 0
    }

    /// Payload type, 0 to 127.
    #[must_use]
    pub fn payload_type(&self) -> u8 {
        self.data[1] & 0x7f
    }

    /// Sequence number.
    #[must_use]
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.data[2], self.data[3]])
    }

    /// Timestamp, in ticks of the payload type's clock.
    #[must_use]
    pub fn timestamp(&self) -> u32 {
        u32_at(self.data, 4).unwrap_or_default()
    }

    /// Synchronisation source.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        u32_at(self.data, 8).unwrap_or_default()
    }

    /// Contributing sources, at most 15.
    pub fn csrcs(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        let count = usize::from(self.data[0] & CSRC_COUNT);
        self.data[FIXED_HEADER_LEN..][..count * 4]
            .as_chunks()
            .0
            .iter()
            .map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Bytes before the payload: fixed header, CSRCs and extension.
    #[must_use]
    pub fn header_len(&self) -> usize {
        self.payload_at
    }

    /// Bytes of padding after the payload, with their count.
    #[must_use]
    pub fn padding_len(&self) -> usize {
        self.data.len() - self.payload_end
    }

    /// The payload without padding.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.data[self.payload_at..self.payload_end]
    }

    /// The whole packet as it was parsed.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.data
    }

    /// Elements of the header extension as `(id, data)`.
    #[must_use]
    pub fn extensions(&self) -> Elements<'a> {
        if self.data[0] & EXTENSION_BIT == 0 {
            return Elements::empty();
        }
        let at = FIXED_HEADER_LEN + 4 * usize::from(self.data[0] & CSRC_COUNT);
        match u16_at(self.data, at) {
            Some(profile) => Elements::new(profile, &self.data[at + 4..self.payload_at]),
            None => Elements::empty(),
        }
    }

    /// The data of the first extension element with this id.
    #[must_use]
    pub fn extension(&self, id: u8) -> Option<&'a [u8]> {
        self.extensions()
            .find_map(|(found, data)| (found == id).then_some(data))
    }

    /// The header's fields by value.
    #[must_use]
    pub fn fields(&self) -> HeaderFields {
        HeaderFields {
            marker: self.marker(),
            payload_type: self.payload_type(),
            sequence: self.sequence(),
            timestamp: self.timestamp(),
            ssrc: self.ssrc(),
        }
    }
}

impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads like a line of tcpdump.
impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RTP pt {}{} seq {} ts {} ssrc {:08x} payload {} pad {}",
            self.payload_type(),
            if self.marker() { " M" } else { "" },
            self.sequence(),
            self.timestamp(),
            self.ssrc(),
            self.payload().len(),
            self.padding_len(),
        )
    }
}

/// Length of the RTP header of `data`: fixed part, CSRCs and extension. All of it is in the clear in
/// SRTP (RFC 3711 section 3.1), so this works before decryption. `None` when the packet is not
/// version 2 or ends inside its header.
#[must_use]
pub fn header_len(data: &[u8]) -> Option<usize> {
    let first = *data.first()?;
    if first >> 6 != VERSION {
        return None;
    }
    let mut len = FIXED_HEADER_LEN + 4 * usize::from(first & CSRC_COUNT);
    if first & EXTENSION_BIT != 0 {
        // RFC 3550 section 5.3.1: the length counts 32-bit words after these four bytes.
        len += 4 + 4 * usize::from(u16_at(data, len + 2)?);
    }
    (len <= data.len()).then_some(len)
}

/// What the fixed header says, but for the bits that follow from the rest of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeaderFields {
    /// Marker bit.
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp, in ticks of the payload type's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

/// Writes a header without CSRCs and without the padding bit, and gives its length. Extension ids
/// are 1 to 255; the one-byte form is used unless an element needs the two-byte form.
///
/// The bits are built fresh and never copied from a received header: a padding bit left over from
/// a packet whose padding was cut off corrupts the frame at the receiver.
pub fn write_header(buf: &mut [u8], fields: &HeaderFields, extensions: &[(u8, &[u8])]) -> Option<usize> {
    if fields.payload_type > 0x7f {
        return None;
    }
    let mut out = Writer::new(buf);
    out.u8(VERSION << 6 | if extensions.is_empty() { 0 } else { EXTENSION_BIT })?;
    out.u8(u8::from(fields.marker) << 7 | fields.payload_type)?;
    out.u16(fields.sequence)?;
    out.u32(fields.timestamp)?;
    out.u32(fields.ssrc)?;
    let extension_len = rtp_ext::write(&mut buf[FIXED_HEADER_LEN..], extensions)?;
    Some(FIXED_HEADER_LEN + extension_len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As Chromium sends VP8: MID 9, transport sequence 4, abs-send-time 2, one-byte form.
    const CHROMIUM_VP8: &[u8] = &[
        0x90, 0xe0, 0x12, 0x34, 0x00, 0x01, 0x86, 0xa0, 0xde, 0xad, 0xbe, 0xef, // fixed header
        0xbe, 0xde, 0x00, 0x03, 0x22, 0x0a, 0x0b, 0x0c, 0x41, 0x00, 0x07, 0x90, 0x30, 0x00, 0x00,
        0x00, //
        0x90, 0x80, 0x81, 0x02, 0x11, // payload
    ];

    #[test]
    fn a_packet_of_a_browser() {
        let packet = Packet::parse(CHROMIUM_VP8).expect("well-formed");
        assert_eq!(
            packet.fields(),
            HeaderFields {
                marker: true,
                payload_type: 96,
                sequence: 0x1234,
                timestamp: 100_000,
                ssrc: 0xdead_beef,
            }
        );
        assert_eq!(packet.header_len(), 28);
        assert_eq!(packet.payload(), &CHROMIUM_VP8[28..]);
        assert_eq!(packet.padding_len(), 0);
        assert_eq!(packet.extension(4), Some(&[0, 7][..]));
        assert_eq!(packet.extension(9), Some(&b"0"[..]));
        assert_eq!(packet.extension(5), None);
        assert_eq!(packet.csrcs().len(), 0);
        assert_eq!(
            packet.to_string(),
            "RTP pt 96 M seq 4660 ts 100000 ssrc deadbeef payload 5 pad 0"
        );
    }

    #[test]
    fn captured_packets() {
        // Abs-send-time was negotiated as 2, MID as 4.
        let video = include_bytes!("../../fuzz/seeds/rtp/chromium-vp8-1");
        let packet = Packet::parse(video).expect("captured");
        assert_eq!((packet.payload_type(), packet.sequence()), (96, 0x0ec9));
        assert_eq!(packet.extension(4), Some(&b"1"[..]));
        assert_eq!(packet.extension(2).map(<[u8]>::len), Some(3));
        let probe = include_bytes!("../../fuzz/seeds/rtp/chromium-vp8-rtx-1");
        let packet = Packet::parse(probe).expect("captured");
        assert_eq!(packet.payload_type(), 97);
        assert_eq!((packet.payload().len(), packet.padding_len()), (0, 255));
    }

    #[test]
    fn csrcs_padding_and_marker() {
        let mut data = vec![0xa2, 111, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        data.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 5, 0xaa, 0, 0, 3]);
        let packet = Packet::parse(&data).expect("well-formed");
        assert!(!packet.marker());
        assert_eq!(packet.csrcs().collect::<Vec<_>>(), [4, 5]);
        assert_eq!(packet.payload(), [0xaa]);
        assert_eq!(packet.padding_len(), 3);
        assert_eq!(packet.extensions().count(), 0);
    }

    #[test]
    fn padding_may_be_all_there_is() {
        let data = [0xa0, 97, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 2];
        assert!(Packet::parse(&data).expect("well-formed").payload().is_empty());
    }

    #[test]
    fn impossible_padding_is_refused() {
        let header = [0xa0, 97, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        for payload in [&[][..], &[1, 0], &[1, 3], &[1, 255]] {
            let data = [&header[..], payload].concat();
            assert_eq!(Packet::parse(&data), Err(Malformed::Padding), "{payload:?}");
        }
    }

    #[test]
    fn every_cut_of_the_header_is_refused() {
        for len in 0..28 {
            assert_eq!(
                Packet::parse(&CHROMIUM_VP8[..len]),
                Err(Malformed::Truncated),
                "{len} bytes"
            );
            assert_eq!(header_len(&CHROMIUM_VP8[..len]), None);
        }
        assert_eq!(header_len(CHROMIUM_VP8), Some(28));
    }

    #[test]
    fn another_version_is_refused() {
        let mut data = CHROMIUM_VP8.to_vec();
        data[0] = 0x50;
        assert_eq!(Packet::parse(&data), Err(Malformed::Version));
        assert_eq!(header_len(&data), None);
    }

    #[test]
    fn the_writer_refuses_what_it_can_not_write() {
        let fields = HeaderFields {
            payload_type: 128,
            ..HeaderFields::default()
        };
        assert_eq!(write_header(&mut [0; 64], &fields, &[]), None);
        let fields = HeaderFields::default();
        assert_eq!(write_header(&mut [0; 11], &fields, &[]), None);
        assert_eq!(write_header(&mut [0; 12], &fields, &[]), Some(12));
        assert_eq!(write_header(&mut [0; 19], &fields, &[(1, &[0])]), None);
        assert_eq!(write_header(&mut [0; 20], &fields, &[(1, &[0])]), Some(20));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            first in prop_oneof![128u8..192, any::<u8>()],
            rest in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            let data = [&[first][..], &rest].concat();
            if let Ok(packet) = Packet::parse(&data) {
                prop_assert_eq!(Some(packet.header_len()), header_len(&data));
                let parts = packet.header_len() + packet.payload().len() + packet.padding_len();
                prop_assert_eq!(parts, data.len());
                packet.extensions().for_each(drop);
                packet.csrcs().for_each(drop);
                let _ = packet.to_string();
            }
        }

        #[test]
        fn what_is_written_is_read(
            marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32,
            elements in proptest::collection::vec(
                (1u8..20, proptest::collection::vec(any::<u8>(), 0..20)), 0..6),
            payload in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let fields = HeaderFields { marker, payload_type, sequence, timestamp, ssrc };
            let borrowed: Vec<_> = elements.iter().map(|(id, data)| (*id, data.as_slice())).collect();
            let mut buf = [0xff; 512];
            let len = write_header(&mut buf, &fields, &borrowed).expect("fits");
            buf[len..len + payload.len()].copy_from_slice(&payload);
            let packet = Packet::parse(&buf[..len + payload.len()]).expect("own output");
            prop_assert_eq!(packet.fields(), fields);
            prop_assert_eq!(packet.payload(), &payload);
            prop_assert_eq!(packet.extensions().collect::<Vec<_>>(), borrowed);
        }
    }
}
