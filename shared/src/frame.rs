//! Frames of the control link: a length, then one message.
//!
//! ```text
//! u32 LE length of the body │ body: MessagePack with field names
//! ```
//!
//! Field names are on the wire, so a version may add optional fields without breaking its
//! neighbour. Nothing is allocated for a body before its length has been checked.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// Bytes of the length prefix.
pub const HEADER_LEN: usize = 4;

/// Longest body. A snapshot page of 64 sessions with full negotiations stays far below.
pub const MAX_BODY_LEN: usize = 4 << 20;

/// A frame that can't be read or written.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The length prefix promises more than [`MAX_BODY_LEN`]; the stream can't be trusted further.
    #[error("frame of {0} bytes, at most {MAX_BODY_LEN} are allowed")]
    TooLong(usize),
    /// The body is not a message of this version.
    #[error("malformed message: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// The message can't be written, which only a bug in its type can cause.
    #[error("message can't be encoded: {0}")]
    Unencodable(#[from] rmp_serde::encode::Error),
}

/// Appends one frame with `message` to `out`.
///
/// # Errors
/// [`FrameError::TooLong`] when the message does not fit a frame; `out` is then as it was.
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_LEN]);
    let written = rmp_serde::encode::write_named(out, message);
    let body_len = out.len() - start - HEADER_LEN;
    if written.is_err() || body_len > MAX_BODY_LEN {
        out.truncate(start);
        written?;
        return Err(FrameError::TooLong(body_len));
    }
    // The bound above keeps the length within 32 bits.
    out[start..start + HEADER_LEN].copy_from_slice(&(body_len as u32).to_le_bytes());
    Ok(())
}

/// Takes one message from the front of `bytes`: the message and how many bytes it used, or `None`
/// when the frame is not complete yet.
///
/// # Errors
/// [`FrameError::TooLong`] ends the stream; [`FrameError::Malformed`] names a body that is no message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<(T, usize)>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let body_len = u32::from_le_bytes(*header) as usize;
    if body_len > MAX_BODY_LEN {
        return Err(FrameError::TooLong(body_len));
    }
    let Some(body) = rest.get(..body_len) else {
        return Ok(None);
    };
    let message = rmp_serde::from_slice(body)?;
    Ok(Some((message, HEADER_LEN + body_len)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{ToControl, ToData};
    use proptest::prelude::*;

    #[test]
    fn a_frame_is_taken_only_when_complete() {
        let mut bytes = Vec::new();
        encode(&"hello", &mut bytes).expect("a short string fits a frame");
        for cut in 0..bytes.len() {
            assert!(
                decode::<String>(&bytes[..cut])
                    .expect("a cut frame is not an error")
                    .is_none()
            );
        }
        let (text, used) = decode::<String>(&bytes).expect("valid").expect("complete");
        assert_eq!((text.as_str(), used), ("hello", bytes.len()));
    }

    #[test]
    fn a_length_over_the_bound_is_refused_before_any_body() {
        let bytes = ((MAX_BODY_LEN + 1) as u32).to_le_bytes();
        assert!(matches!(decode::<String>(&bytes), Err(FrameError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let mut framed = (bytes.len() as u32).to_le_bytes().to_vec();
            framed.extend_from_slice(&bytes);
            let _ = decode::<ToData>(&framed);
            let _ = decode::<ToControl>(&framed);
        }
    }
}
