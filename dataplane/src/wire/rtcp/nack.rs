//! Generic negative acknowledgements (RFC 4585 section 6.2.1).

use super::super::Malformed;
use super::{TYPE_TRANSPORT_FEEDBACK, feedback_ssrcs, finish, start};

pub(super) const FORMAT: u8 = 1;

/// Packets after the first that one entry's bitmask covers.
const MASK_BITS: u16 = 16;

/// A parsed NACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nack<'a> {
    sender_ssrc: u32,
    media_ssrc: u32,
    entries: &'a [[u8; 4]],
}

impl<'a> Nack<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let (sender_ssrc, media_ssrc, rest) = feedback_ssrcs(body)?;
        match rest.as_chunks() {
            ([], _) => Err(Malformed::Truncated),
            (entries, []) => Ok(Self {
                sender_ssrc,
                media_ssrc,
                entries,
            }),
            _ => Err(Malformed::Length),
        }
    }

    /// Who misses packets.
    #[must_use]
    pub fn sender_ssrc(&self) -> u32 {
        self.sender_ssrc
    }

    /// Whose packets are missed.
    #[must_use]
    pub fn media_ssrc(&self) -> u32 {
        self.media_ssrc
    }

    /// The lost sequence numbers in wire order, at most 17 per entry; a hostile peer may repeat
    /// some.
    pub fn lost(&self) -> impl Iterator<Item = u16> + 'a {
        self.entries.iter().flat_map(|&[p, q, b, l]| {
            let (first, mask) = (u16::from_be_bytes([p, q]), u16::from_be_bytes([b, l]));
            let others = (0..MASK_BITS)
                .filter(move |bit| mask >> bit & 1 == 1)
                .map(move |bit| first.wrapping_add(bit + 1));
            std::iter::once(first).chain(others)
        })
    }
}

/// Writes a NACK of `lost`, which is not empty and in sequence order, wraps included, so that
/// neighbours share an entry. Gives the length.
pub fn write(buf: &mut [u8], sender_ssrc: u32, media_ssrc: u32, lost: &[u16]) -> Option<usize> {
    let mut out = start(buf, TYPE_TRANSPORT_FEEDBACK, usize::from(FORMAT))?;
    out.u32(sender_ssrc)?;
    out.u32(media_ssrc)?;
    let mut rest = lost;
    while let [first, others @ ..] = rest {
        let mut mask = 0u16;
        let mut taken = 0;
        for other in others {
            let distance = other.wrapping_sub(*first);
            if distance > MASK_BITS {
                break;
            }
            // Distance 0 repeats the first.
            if distance > 0 {
                mask |= 1 << (distance - 1);
            }
            taken += 1;
        }
        out.u16(*first)?;
        out.u16(mask)?;
        rest = &others[taken..];
    }
    if lost.is_empty() { None } else { finish(out) }
}
