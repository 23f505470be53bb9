//! Frames on a stream: the first byte says in which pieces the rest comes. However it is cut, the
//! same frames come out, none over the bound, and there is always room for what follows.
#![no_main]

use kall_dataplane::wire::framing::{FrameReader, TooLong};
use libfuzzer_sys::fuzz_target;

const FRAME_MAX: usize = 200;

fn read(mut stream: &[u8], piece: usize, capacity: usize) -> (Vec<Vec<u8>>, Option<TooLong>) {
    let mut reader = FrameReader::new(FRAME_MAX, capacity);
    let mut frames = Vec::new();
    while !stream.is_empty() {
        let spare = reader.spare();
        let len = piece.min(spare.len()).min(stream.len());
        assert!(len > 0, "a full reader would wait for ever");
        spare[..len].copy_from_slice(&stream[..len]);
        stream = &stream[len..];
        reader.filled(len);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    assert!((1..=FRAME_MAX).contains(&frame.len()));
                    frames.push(frame.to_vec());
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(error.len > FRAME_MAX);
                    return (frames, Some(error));
                }
            }
        }
    }
    (frames, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((piece, stream)) = data.split_first() else {
        return;
    };
    let whole = read(stream, usize::MAX, stream.len());
    assert_eq!(read(stream, usize::from(*piece).max(1), 0), whole);
});
