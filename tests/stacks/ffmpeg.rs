//! The program of the Debian package `ffmpeg`. A machine without it fails these tests.

use std::path::Path;
use std::process::Command;

/// Runs it. What a decoder has to say about the first pictures is its caller's to judge by the result.
///
/// # Panics
/// When it isn't there, or fails.
pub(crate) fn run(arguments: &[&str]) {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(arguments)
        .output()
        .expect("ffmpeg starts (deploy/install-tools.sh stacks installs it)");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ffmpeg {arguments:?}: {}: {complaints}",
        output.status
    );
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
