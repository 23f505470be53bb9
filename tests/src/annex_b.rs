//! Streams of H.264 as encoders write them into files (ITU-T H.264 annex B).

/// Between pictures: a start code and an access unit delimiter.
const DELIMITER: [u8; 5] = [0, 0, 0, 1, 9];

/// The pictures of a stream, each with its start codes; all begin with a delimiter.
pub fn access_units(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts: Vec<usize> = (0..file.len())
        .filter(|at| file[*at..].starts_with(&DELIMITER))
        .collect();
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([file.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &file[start..end])
}
