//! The encoders of layers in one stream: ffmpeg's have no such setting, so these are small programs in C around libvpx
//! and libaom, which make in one go what browsers make with them in a call.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use kall_shared::media::Codec;

use crate::clip::Leaning;

/// Source and library of a codec's encoder.
fn of(codec: Codec) -> (&'static str, &'static str) {
    match codec {
        Codec::Vp9 => ("vp9.c", "vpx"),
        Codec::Av1 => ("av1.c", "aom"),
        other => panic!("{other:?} has no layers in one stream"),
    }
}

/// Compiles the encoder beside `file`, and lets it encode there what ffmpeg calls `source`. Every frame of a layer is one
/// of the file; `group` pictures lie between two key pictures.
///
/// # Panics
/// When compiler, library or ffmpeg is missing or fails.
pub(crate) fn encode(
    codec: Codec,
    leaning: Leaning,
    source: &str,
    (width, height): (u16, u16),
    kbps: [u32; 3],
    group: usize,
    file: &Path,
) {
    let (code, library) = of(codec);
    let code = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("decode/encoders")
        .join(code);
    let program = file.with_extension("encoder");
    let flags = Command::new("pkg-config")
        .args(["--cflags", "--libs", library])
        .output()
        .expect("pkg-config starts (deploy/install-tools.sh media installs it)");
    assert!(flags.status.success(), "no library {library}");
    let flags = String::from_utf8(flags.stdout).expect("text");
    let compiled = Command::new("cc")
        .args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg(code)
        .args(flags.split_whitespace())
        .status();
    assert!(compiled.expect("a C compiler").success(), "{library}");

    let mut pictures = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-xerror", "-f", "lavfi", "-i", source])
        .args(["-pix_fmt", "yuv420p", "-f", "rawvideo", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg starts");
    let raw = pictures.stdout.take().expect("it was asked for");
    let leaning = match leaning {
        Leaning::Always => "full",
        Leaning::KeyPictures => "key",
    };
    let encoded = Command::new(program)
        .args([width, height].map(|side| side.to_string()))
        .args([&group.to_string(), leaning])
        .args(kbps.map(|kbps| kbps.to_string()))
        .stdin(raw)
        .stdout(File::create(file).expect("the folder is ours"))
        .status();
    assert!(
        encoded.expect("what was just compiled starts").success(),
        "{codec:?}"
    );
    assert!(pictures.wait().expect("it was started").success(), "ffmpeg");
}
