//! The programs of the Debian package `ffmpeg`. A machine without them fails these tests.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;

/// A decoded picture: its size in bytes, and a hash of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Picture {
    pub(crate) bytes: u64,
    pub(crate) hash: String,
}

/// Runs it, and gives back what it wrote.
///
/// # Panics
/// When it isn't there, fails, or has anything to complain about.
pub(crate) fn run(arguments: &[&str]) -> String {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-xerror"])
        .args(arguments)
        .output()
        .expect("ffmpeg starts (deploy/install-tools.sh media installs it)");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "ffmpeg {arguments:?}: {}: {complaints}",
        output.status
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Every picture of a file, in its own size; `decoder` names one and its settings, ahead of ffmpeg's own choice.
pub(crate) fn decode(file: &Path, decoder: &[&str]) -> Vec<Picture> {
    let file = file.to_str().expect("a path in UTF-8");
    let output = [
        "-i",
        file,
        "-autoscale",
        "0",
        "-fps_mode",
        "passthrough",
        "-f",
        "framemd5",
        "-",
    ];
    let text = run(&[decoder, &output].concat());
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            // Stream, times, duration, bytes, hash.
            let mut fields = line.rsplit(',').map(str::trim);
            let hash = fields.next().expect("a hash").to_owned();
            let bytes = fields.next().expect("a size").parse().expect("a number");
            Picture { bytes, hash }
        })
        .collect()
}

/// A file that ffmpeg reads: frames with their times, of which there are `ticks` in a second.
pub(crate) fn ivf(
    codec: [u8; 4],
    (width, height): (u16, u16),
    ticks: u32,
    frames: &[(u64, Bytes)],
) -> Vec<u8> {
    let mut bytes = Vec::from(*b"DKIF\0\0\x20\0");
    bytes.extend(codec);
    bytes.extend([width, height].map(u16::to_le_bytes).concat());
    bytes.extend([ticks, 1, frames.len() as u32, 0].map(u32::to_le_bytes).concat());
    for (time, frame) in frames {
        bytes.extend((frame.len() as u32).to_le_bytes());
        bytes.extend(time.to_le_bytes());
        bytes.extend_from_slice(frame);
    }
    bytes
}
