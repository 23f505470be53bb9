//! Datagrams on a stream (RFC 4571 section 2): each stands behind its length, 16 bits big-endian.
//!
//! This is all that ICE over TCP (RFC 6544 section 3) adds to what goes over UDP.

use thiserror::Error;

/// Bytes of the length.
pub const HEADER_LEN: usize = 2;

/// A frame longer than its reader takes. What follows it can't be found without it, so the stream is
/// of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a frame of {len} bytes, at most {max} are taken")]
pub struct TooLong {
    /// As the peer wrote.
    pub len: usize,
    /// The bound.
    pub max: usize,
}

/// The bytes that stand before a frame of `len` bytes; none for one that is too long for any reader.
#[must_use]
pub fn header(len: usize) -> Option<[u8; HEADER_LEN]> {
    Some(u16::try_from(len).ok()?.to_be_bytes())
}

/// Puts a stream's pieces together to frames.
///
/// Fill [`Self::spare`] from the stream and say how much by [`Self::filled`]; then take every frame
/// that is whole by [`Self::next_frame`]. After that there is room again.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    frame_max: usize,
}

impl FrameReader {
    /// Takes frames of at most `frame_max` bytes, and reads up to `capacity` bytes of the stream at a
    /// time; at least one frame always fits.
    #[must_use]
    pub fn new(frame_max: usize, capacity: usize) -> Self {
        let capacity = capacity.max(HEADER_LEN + frame_max);
        Self {
            buffer: vec![0; capacity].into_boxed_slice(),
            start: 0,
            end: 0,
            frame_max,
        }
    }

    /// Where the stream's next bytes go. Never empty once every whole frame was taken.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes of the last [`Self::spare`] were filled.
    pub fn filled(&mut self, len: usize) {
        self.end = (self.end + len).min(self.buffer.len());
    }

    /// The next whole frame; none until more of the stream has come. Empty frames are legal and mean
    /// nothing, so they are left out.
    ///
    /// # Errors
    /// [`TooLong`], and then for ever.
    pub fn next_frame(&mut self) -> Result<Option<&mut [u8]>, TooLong> {
        loop {
            let bytes = &self.buffer[self.start..self.end];
            let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
                return Ok(None);
            };
            let len = usize::from(u16::from_be_bytes(*header));
            if len > self.frame_max {
                return Err(TooLong {
                    len,
                    max: self.frame_max,
                });
            }
            if rest.len() < len {
                return Ok(None);
            }
            let from = self.start + HEADER_LEN;
            self.start = from + len;
            if len > 0 {
                return Ok(Some(&mut self.buffer[from..from + len]));
            }
        }
    }

    /// Whether the stream ends within a frame if it ends now.
    #[must_use]
    pub fn is_within_frame(&self) -> bool {
        self.start < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 300;

    fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend_from_slice(&header(frame.len()).expect("short"));
            bytes.extend_from_slice(frame);
        }
        bytes
    }

    /// Feeds `bytes` in pieces of the given lengths, over and over.
    fn read(bytes: &[u8], pieces: &[usize]) -> (Vec<Vec<u8>>, Result<(), TooLong>) {
        let mut reader = FrameReader::new(MAX, 0);
        let mut frames = Vec::new();
        let mut rest = bytes;
        for piece in pieces.iter().cycle() {
            if rest.is_empty() {
                return (frames, Ok(()));
            }
            let spare = reader.spare();
            assert!(!spare.is_empty(), "there is always room for more of a frame");
            let len = (*piece).min(spare.len()).min(rest.len());
            spare[..len].copy_from_slice(&rest[..len]);
            rest = &rest[len..];
            reader.filled(len);
            loop {
                match reader.next_frame() {
                    Ok(Some(frame)) => frames.push(frame.to_vec()),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(reader.next_frame(), Err(error), "the stream stays of no use");
                        return (frames, Err(error));
                    }
                }
            }
        }
        unreachable!("pieces are repeated");
    }

    #[test]
    fn a_frame_is_its_length_and_its_bytes() {
        let bytes = [0, 3, b'a', b'b', b'c', 0, 0, 0, 1, b'd'];
        let (frames, end) = read(&bytes, &[1]);
        assert_eq!((frames, end), (vec![b"abc".to_vec(), b"d".to_vec()], Ok(())));
        assert_eq!(header(0x0102), Some([1, 2]));
        assert_eq!(header(0x1_0000), None);
    }

    #[test]
    fn a_frame_over_the_bound_ends_the_stream() {
        let mut bytes = stream(&[vec![7; MAX]]);
        bytes.extend_from_slice(&[1, 45]);
        let (frames, end) = read(&bytes, &[64]);
        assert_eq!(frames, [vec![7; MAX]]);
        assert_eq!(end, Err(TooLong { len: 301, max: MAX }));
    }

    #[test]
    fn what_is_cut_is_seen() {
        let mut reader = FrameReader::new(MAX, 0);
        assert!(!reader.is_within_frame());
        reader.spare()[..3].copy_from_slice(&[0, 2, 9]);
        reader.filled(3);
        assert_eq!(reader.next_frame(), Ok(None));
        assert!(reader.is_within_frame());
    }

    proptest! {
        #[test]
        fn frames_come_out_whole_however_they_are_cut(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..=MAX), 0..20),
            pieces in proptest::collection::vec(1usize..700, 1..8),
        ) {
            let (got, end) = read(&stream(&frames), &pieces);
            let wanted: Vec<Vec<u8>> = frames.into_iter().filter(|frame| !frame.is_empty()).collect();
            prop_assert_eq!(got, wanted);
            prop_assert_eq!(end, Ok(()));
        }
    }
}
