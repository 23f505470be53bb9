//! Goodbyes (RFC 3550 section 6.6).

use super::super::Malformed;
use super::{TYPE_BYE, finish, start};

/// A parsed goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bye<'a> {
    ssrcs: &'a [u8],
    reason: &'a [u8],
}

impl<'a> Bye<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let (ssrcs, rest) = body
            .split_at_checked(4 * usize::from(count))
            .ok_or(Malformed::Truncated)?;
        let reason = match rest.split_first() {
            None => &[][..],
            Some((&len, text)) => text.get(..usize::from(len)).ok_or(Malformed::Truncated)?,
        };
        Ok(Self { ssrcs, reason })
    }

    /// The sources that leave.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.ssrcs
            .as_chunks()
            .0
            .iter()
            .map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Why, in unchecked bytes; often empty.
    #[must_use]
    pub fn reason(&self) -> &'a [u8] {
        self.reason
    }
}

/// Writes a goodbye of at most 31 sources, without a reason, and gives its length.
pub fn write(buf: &mut [u8], ssrcs: &[u32]) -> Option<usize> {
    let mut out = start(buf, TYPE_BYE, ssrcs.len())?;
    for ssrc in ssrcs {
        out.u32(*ssrc)?;
    }
    finish(out)
}
