//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1): which
//! packets of a transport came, and when.
//!
//! ```text
//! sender SSRC │ media SSRC │ base sequence │ status count │ reference time │ feedback count
//! status chunks of 16 bits │ arrival deltas of 8 or 16 bits │ zero padding
//! ```

mod chunk;
mod write;

use super::super::{Malformed, u16_at};
use super::feedback_ssrcs;
use chunk::{Chunk, Symbol};
pub use write::{Feedback, Written, write};

pub(super) const FORMAT: u8 = 15;

/// Unit of arrival deltas, in microseconds.
pub const TICK_MICROS: u64 = 250;

/// Ticks in one unit of the reference time (64 ms).
pub const REFERENCE_TICKS: i64 = 256;

/// Most statuses of one message. Beyond half the number space a sequence number can't be told from
/// its neighbour a wrap away; the bound also ends what eight bytes of run-lengths could cost.
pub const STATUSES_MAX: usize = 1 << 15;

/// Base sequence, status count, reference time, feedback count.
const FIXED_LEN: usize = 8;

/// A parsed feedback message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twcc<'a> {
    sender_ssrc: u32,
    media_ssrc: u32,
    base_sequence: u16,
    status_count: u16,
    reference_time: i32,
    feedback_count: u8,
    /// Exactly the chunks that the status count needs, and the deltas they promise.
    chunks: &'a [[u8; 2]],
    deltas: &'a [u8],
}

impl<'a> Twcc<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let (sender_ssrc, media_ssrc, rest) = feedback_ssrcs(body)?;
        let (fixed, rest) = rest
            .split_first_chunk::<FIXED_LEN>()
            .ok_or(Malformed::Truncated)?;
        let &[b0, b1, c0, c1, r0, r1, r2, feedback_count] = fixed;
        let status_count = u16::from_be_bytes([c0, c1]);
        if status_count == 0 || usize::from(status_count) > STATUSES_MAX {
            return Err(Malformed::Value);
        }
        let (chunk_count, delta_len) = measure(status_count, rest)?;
        let (chunks, deltas) = rest.split_at(2 * chunk_count);
        Ok(Self {
            sender_ssrc,
            media_ssrc,
            base_sequence: u16::from_be_bytes([b0, b1]),
            status_count,
            // Signed 24 bits: up and down again by 8 carries the sign.
            reference_time: i32::from_be_bytes([r0, r1, r2, 0]) >> 8,
            feedback_count,
            chunks: chunks.as_chunks().0,
            deltas: deltas.get(..delta_len).ok_or(Malformed::Truncated)?,
        })
    }

    /// Who received.
    #[must_use]
    pub fn sender_ssrc(&self) -> u32 {
        self.sender_ssrc
    }

    /// One of the streams of the transport; says nothing more.
    #[must_use]
    pub fn media_ssrc(&self) -> u32 {
        self.media_ssrc
    }

    /// Transport sequence number of the first status.
    #[must_use]
    pub fn base_sequence(&self) -> u16 {
        self.base_sequence
    }

    /// How many statuses follow, 1 to [`STATUSES_MAX`].
    #[must_use]
    pub fn status_count(&self) -> u16 {
        self.status_count
    }

    /// Start of the first delta, in units of 64 ms of the receiver's clock; wraps at 24 bits.
    #[must_use]
    pub fn reference_time(&self) -> i32 {
        self.reference_time
    }

    /// Rises by one with each message; a gap means that feedback was lost.
    #[must_use]
    pub fn feedback_count(&self) -> u8 {
        self.feedback_count
    }

    /// Sequence number and arrival delta of every status, in sequence order. The delta is in ticks
    /// of 250 µs, against the received packet before it, the first against the reference time;
    /// `None` is a packet that did not come.
    #[must_use]
    pub fn statuses(&self) -> Statuses<'a> {
        Statuses {
            sequence: self.base_sequence,
            left: self.status_count,
            chunks: self.chunks,
            in_chunk: 0,
            deltas: self.deltas,
        }
    }

    /// The same with arrivals as ticks of the receiver's clock, counted from zero of the reference
    /// time. The reference wraps every 12 days; whoever keeps history unwraps it.
    pub fn arrivals(&self) -> impl Iterator<Item = (u16, Option<i64>)> + 'a {
        let mut clock = i64::from(self.reference_time) * REFERENCE_TICKS;
        self.statuses().map(move |(sequence, delta)| {
            let arrival = delta.map(|delta| {
                clock += i64::from(delta);
                clock
            });
            (sequence, arrival)
        })
    }
}

/// Walks the chunks up to `status_count`: how many there are, and the bytes of delta they promise.
fn measure(status_count: u16, bytes: &[u8]) -> Result<(usize, usize), Malformed> {
    let mut left = usize::from(status_count);
    let (mut chunk_count, mut delta_len) = (0, 0);
    while left > 0 {
        let chunk = Chunk(u16_at(bytes, 2 * chunk_count).ok_or(Malformed::Truncated)?);
        let len = chunk.len().min(left);
        delta_len += chunk.delta_len(len).ok_or(Malformed::Value)?;
        left -= len;
        chunk_count += 1;
    }
    Ok((chunk_count, delta_len))
}

/// See [`Twcc::statuses`].
#[derive(Debug, Clone)]
pub struct Statuses<'a> {
    sequence: u16,
    left: u16,
    chunks: &'a [[u8; 2]],
    /// Statuses already taken from the first chunk.
    in_chunk: usize,
    deltas: &'a [u8],
}

impl Iterator for Statuses<'_> {
    type Item = (u16, Option<i16>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let chunk = loop {
            let (first, rest) = self.chunks.split_first()?;
            let chunk = Chunk(u16::from_be_bytes(*first));
            if self.in_chunk < chunk.len() {
                break chunk;
            }
            self.chunks = rest;
            self.in_chunk = 0;
        };
        let delta = match chunk.symbol(self.in_chunk)? {
            Symbol::Lost => None,
            Symbol::Small => {
                let (&delta, rest) = self.deltas.split_first()?;
                self.deltas = rest;
                Some(i16::from(delta))
            }
            Symbol::Large => {
                let (&delta, rest) = self.deltas.split_first_chunk()?;
                self.deltas = rest;
                Some(i16::from_be_bytes(delta))
            }
        };
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.left -= 1;
        self.in_chunk += 1;
        Some((sequence, delta))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::from(self.left);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Statuses<'_> {}

#[cfg(test)]
mod tests;
