//! Redundant audio (RFC 2198): each packet repeats earlier frames in front of the newest one.
//!
//! ```text
//! │1│ block PT │ timestamp offset (14) │ length (10) │   for each repeated frame
//! │0│ block PT │                                       for the newest one
//! repeated frames, newest frame
//! ```

use crate::wire::Malformed;

/// Most blocks of one packet: browsers repeat one or two frames, no sender has use for more than
/// eight.
pub const BLOCKS_MAX: usize = 8;

const FOLLOWS: u8 = 0x80;
const PT_MASK: u8 = 0x7f;

/// Header of a repeated frame, and of the newest one.
const REPEATED_LEN: usize = 4;
const NEWEST_LEN: usize = 1;

/// A parsed payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Red<'a> {
    payload: &'a [u8],
    /// How many repeated frames there are.
    pub repeated: usize,
    /// The newest frame.
    pub newest: &'a [u8],
}

impl<'a> Red<'a> {
    /// Parses a payload.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] when a header or a frame is not there, [`Malformed::Value`] for more than
    /// [`BLOCKS_MAX`] frames.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut repeated = 0;
        let mut frames = 0;
        loop {
            let header = payload
                .get(repeated * REPEATED_LEN..)
                .filter(|rest| !rest.is_empty())
                .ok_or(Malformed::Truncated)?;
            if header[0] & FOLLOWS == 0 {
                break;
            }
            let header = header.first_chunk::<REPEATED_LEN>().ok_or(Malformed::Truncated)?;
            frames += usize::from(u16::from_be_bytes([header[2], header[3]]) & 0x03ff);
            repeated += 1;
            if repeated >= BLOCKS_MAX {
                return Err(Malformed::Value);
            }
        }
        let newest = repeated * REPEATED_LEN + NEWEST_LEN + frames;
        Ok(Self {
            payload,
            repeated,
            newest: payload.get(newest..).ok_or(Malformed::Truncated)?,
        })
    }

    /// Copies the payload into `buf` with another payload type in every block, and gives its length;
    /// none when `buf` is shorter.
    #[must_use]
    pub fn write(&self, buf: &mut [u8], payload_type: u8) -> Option<usize> {
        let copy = buf.get_mut(..self.payload.len())?;
        copy.copy_from_slice(self.payload);
        for block in 0..=self.repeated {
            let header = copy.get_mut(block * REPEATED_LEN)?;
            *header = *header & FOLLOWS | payload_type & PT_MASK;
        }
        Some(self.payload.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two frames of three and four bytes, both of payload type 111.
    const PACKET: [u8; 12] = [0x80 | 111, 0x0f, 0x00, 0x03, 111, 1, 2, 3, 4, 5, 6, 7];

    #[test]
    fn the_newest_frame_is_the_last() {
        let red = Red::parse(&PACKET).expect("well-formed");
        assert_eq!((red.repeated, red.newest), (1, &[4, 5, 6, 7][..]));
        let alone = Red::parse(&[111, 9, 9]).expect("well-formed");
        assert_eq!((alone.repeated, alone.newest), (0, &[9, 9][..]));
    }

    #[test]
    fn every_block_gets_the_receivers_type() {
        let mut buf = [0; 64];
        let len = Red::parse(&PACKET)
            .expect("well-formed")
            .write(&mut buf, 63)
            .expect("fits");
        let mut expected = PACKET;
        expected[0] = 0x80 | 63;
        expected[4] = 63;
        assert_eq!(buf[..len], expected);
    }

    #[test]
    fn what_is_not_there_is_not_read() {
        assert_eq!(Red::parse(&[]), Err(Malformed::Truncated));
        assert_eq!(Red::parse(&PACKET[..4]), Err(Malformed::Truncated));
        assert_eq!(Red::parse(&PACKET[..7]), Err(Malformed::Truncated));
        assert_eq!(Red::parse(&[0x80; 64]), Err(Malformed::Value));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(red) = Red::parse(&bytes) {
                let mut buf = [0; 80];
                let len = red.write(&mut buf, 100).expect("as long as the packet");
                prop_assert_eq!(len, bytes.len());
                let again = Red::parse(&buf[..len]).expect("still well-formed");
                prop_assert_eq!((again.repeated, again.newest), (red.repeated, red.newest));
            }
        }
    }
}
