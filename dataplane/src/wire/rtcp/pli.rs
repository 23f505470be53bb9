//! Picture loss indications (RFC 4585 section 6.3.1).

use super::super::Malformed;
use super::{TYPE_PAYLOAD_FEEDBACK, feedback_ssrcs, finish, start};

pub(super) const FORMAT: u8 = 1;

/// A parsed picture loss indication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pli {
    /// Who can't decode.
    pub sender_ssrc: u32,
    /// Whose pictures.
    pub media_ssrc: u32,
}

impl Pli {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let (sender_ssrc, media_ssrc, _) = feedback_ssrcs(body)?;
        Ok(Self {
            sender_ssrc,
            media_ssrc,
        })
    }
}

/// Writes a picture loss indication and gives its length.
pub fn write(buf: &mut [u8], sender_ssrc: u32, media_ssrc: u32) -> Option<usize> {
    let mut out = start(buf, TYPE_PAYLOAD_FEEDBACK, usize::from(FORMAT))?;
    out.u32(sender_ssrc)?;
    out.u32(media_ssrc)?;
    finish(out)
}
