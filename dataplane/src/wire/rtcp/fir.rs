//! Full intra requests (RFC 5104 section 4.3.1).

use super::super::Malformed;
use super::{TYPE_PAYLOAD_FEEDBACK, feedback_ssrcs, finish, start};

pub(super) const FORMAT: u8 = 4;

/// A parsed full intra request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fir<'a> {
    sender_ssrc: u32,
    entries: &'a [[u8; 8]],
}

/// One sender that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Who shall send a key frame.
    pub ssrc: u32,
    /// Rises with each new request; an equal number is a repetition.
    pub sequence: u8,
}

impl<'a> Fir<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        // The media SSRC of the header is unused (section 4.3.1.2).
        let (sender_ssrc, _, rest) = feedback_ssrcs(body)?;
        match rest.as_chunks() {
            ([], _) => Err(Malformed::Truncated),
            (entries, []) => Ok(Self { sender_ssrc, entries }),
            _ => Err(Malformed::Length),
        }
    }

    /// Who asks.
    #[must_use]
    pub fn sender_ssrc(&self) -> u32 {
        self.sender_ssrc
    }

    /// Who is asked.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry> + 'a {
        self.entries.iter().map(|&[a, b, c, d, sequence, ..]| Entry {
            ssrc: u32::from_be_bytes([a, b, c, d]),
            sequence,
        })
    }
}

/// Writes a request to one sender and gives its length.
pub fn write(buf: &mut [u8], sender_ssrc: u32, entry: Entry) -> Option<usize> {
    let mut out = start(buf, TYPE_PAYLOAD_FEEDBACK, usize::from(FORMAT))?;
    out.u32(sender_ssrc)?;
    out.u32(0)?;
    out.u32(entry.ssrc)?;
    out.u8(entry.sequence)?;
    out.u24(0)?;
    finish(out)
}
