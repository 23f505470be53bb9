//! Source descriptions (RFC 3550 section 6.5). A router writes CNAME, which ties the streams of one
//! publisher together, and reads nothing it must believe.

use super::super::{Malformed, u32_at};
use super::{TYPE_SDES, finish, start};

const ITEM_END: u8 = 0;
/// Canonical end-point identifier (section 6.5.1).
pub const ITEM_CNAME: u8 = 1;

/// A parsed source description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sdes<'a> {
    chunks: usize,
    body: &'a [u8],
}

/// One item of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    /// The source.
    pub ssrc: u32,
    /// What is told, such as [`ITEM_CNAME`].
    pub kind: u8,
    /// The text, unchecked bytes.
    pub text: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let sdes = Self {
            chunks: usize::from(count),
            body,
        };
        let mut items = sdes.items();
        items.by_ref().for_each(drop);
        // The walk ends early only when a chunk is cut.
        if items.chunks_left == 0 && !items.in_chunk {
            Ok(sdes)
        } else {
            Err(Malformed::Truncated)
        }
    }

    /// All items of all sources.
    #[must_use]
    pub fn items(&self) -> Items<'a> {
        Items {
            chunks_left: self.chunks,
            in_chunk: false,
            ssrc: 0,
            body: self.body,
            at: 0,
        }
    }

    /// The CNAME of a source.
    #[must_use]
    pub fn cname(&self, ssrc: u32) -> Option<&'a [u8]> {
        self.items()
            .find_map(|item| (item.ssrc == ssrc && item.kind == ITEM_CNAME).then_some(item.text))
    }
}

/// Iterates the items of a source description.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    chunks_left: usize,
    in_chunk: bool,
    ssrc: u32,
    body: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        loop {
            if !self.in_chunk {
                if self.chunks_left == 0 {
                    return None;
                }
                self.ssrc = u32_at(self.body, self.at)?;
                self.chunks_left -= 1;
                self.in_chunk = true;
                self.at += 4;
            }
            let kind = *self.body.get(self.at)?;
            if kind == ITEM_END {
                // The list of items ends with at least one zero, up to the next word.
                self.at = (self.at + 1).next_multiple_of(4);
                self.in_chunk = false;
                continue;
            }
            let len = usize::from(*self.body.get(self.at + 1)?);
            let text = self.body.get(self.at + 2..self.at + 2 + len)?;
            self.at += 2 + len;
            return Some(Item {
                ssrc: self.ssrc,
                kind,
                text,
            });
        }
    }
}

/// Writes one source's CNAME, at most 255 bytes, and gives the length.
pub fn write(buf: &mut [u8], ssrc: u32, cname: &[u8]) -> Option<usize> {
    let mut out = start(buf, TYPE_SDES, 1)?;
    out.u32(ssrc)?;
    out.u8(ITEM_CNAME)?;
    out.u8(u8::try_from(cname.len()).ok()?)?;
    out.bytes(cname)?;
    out.u8(ITEM_END)?;
    finish(out)
}
