//! Colour bars and a tone, encoded ahead of time for stacks without codecs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kall_tests::annex_b::access_units;
use webrtc::media::io::ogg_reader::OggReader;

use crate::ffmpeg::{self, text};
use crate::matrix::Coding;

/// Pictures a second.
pub(crate) const RATE: u64 = 30;

/// Pictures from one key frame to the next: half a second, so that nobody waits long for one.
const GROUP: u64 = 15;

/// Length in seconds; the clip is repeated.
const SECONDS: u64 = 4;

/// Encoded pictures and packets of Opus, in order.
#[derive(Debug)]
pub(crate) struct Clip {
    pub(crate) pictures: Vec<Bytes>,
    /// 20 ms each.
    pub(crate) sound: Vec<Bytes>,
}

impl Clip {
    /// Encodes it into `folder`.
    pub(crate) fn encode(coding: Coding, folder: &Path) -> Arc<Self> {
        let bars = format!("smptebars=size=320x240:rate={RATE}:duration={SECONDS}");
        let group = GROUP.to_string();
        let mut arguments = vec!["-f", "lavfi", "-i", &bars, "-pix_fmt", "yuv420p"];
        arguments.extend(["-g", &group, "-keyint_min", &group, "-b:v", "400k"]);
        let live = [
            "-deadline",
            "realtime",
            "-cpu-used",
            "8",
            "-lag-in-frames",
            "0",
            "-auto-alt-ref",
            "0",
        ];
        let video = folder.join(match coding {
            Coding::H264 => "clip.h264",
            Coding::Vp8 | Coding::Vp9 | Coding::Av1 => "clip.ivf",
        });
        match coding {
            Coding::Vp8 => {
                arguments.extend(["-c:v", "libvpx"]);
                arguments.extend(live);
            }
            Coding::Vp9 => {
                arguments.extend(["-c:v", "libvpx-vp9"]);
                arguments.extend(live);
            }
            Coding::H264 => {
                arguments.extend([
                    "-c:v",
                    "libx264",
                    "-profile:v",
                    "baseline",
                    "-preset",
                    "ultrafast",
                ]);
                // Delimiters show where a picture begins.
                arguments.extend(["-tune", "zerolatency", "-x264-params", "aud=1"]);
            }
            Coding::Av1 => {
                arguments.extend(["-c:v", "libaom-av1", "-usage", "realtime"]);
                arguments.extend(["-cpu-used", "8", "-lag-in-frames", "0"]);
            }
        }
        arguments.push(text(&video));
        ffmpeg::run(&arguments);

        let tone = format!("sine=frequency=440:sample_rate=48000:duration={SECONDS}");
        let sound = folder.join("clip.ogg");
        // Each packet on a page of its own, which is how the reader gives them.
        let mut arguments = vec![
            "-f",
            "lavfi",
            "-i",
            &tone,
            "-c:a",
            "libopus",
            "-frame_duration",
            "20",
        ];
        arguments.extend(["-page_duration", "20000", text(&sound)]);
        ffmpeg::run(&arguments);

        let bytes = fs::read(&video).expect("ffmpeg wrote it");
        let pictures = match coding {
            Coding::H264 => access_units(&bytes).map(Bytes::copy_from_slice).collect(),
            Coding::Vp8 | Coding::Vp9 | Coding::Av1 => ivf(&bytes),
        };
        assert_eq!(pictures.len() as u64, RATE * SECONDS, "every picture is coded");
        Arc::new(Self {
            pictures,
            sound: pages(&sound),
        })
    }
}

fn pages(file: &Path) -> Vec<Bytes> {
    let file = fs::File::open(file).expect("ffmpeg wrote it");
    let (mut reader, _) = OggReader::new(file, true).expect("an Ogg file");
    let mut pages = Vec::new();
    while let Ok((page, _)) = reader.parse_next_page() {
        let page = page.freeze();
        // The comments after the header (RFC 7845 section 5.2).
        if !page.starts_with(b"OpusTags") {
            pages.push(page);
        }
    }
    assert!(
        pages.len() as u64 >= SECONDS * 50,
        "{} packets of sound",
        pages.len()
    );
    pages
}

/// Pictures of an IVF file: a header of 32 bytes, then each with a header of 12 that begins with its length.
fn ivf(file: &[u8]) -> Vec<Bytes> {
    let mut rest = &file[32..];
    let mut pictures = Vec::new();
    while let Some((header, after)) = rest.split_first_chunk::<12>() {
        let [a, b, c, d, ..] = *header;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        pictures.push(Bytes::copy_from_slice(&after[..len]));
        rest = &after[len..];
    }
    pictures
}

/// An IVF file of these pictures.
pub(crate) fn to_ivf(coding: Coding, pictures: &[Bytes]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend_from_slice(b"DKIF\0\0\x20\0");
    file.extend_from_slice(match coding {
        Coding::Vp8 => b"VP80",
        Coding::Vp9 => b"VP90",
        Coding::Av1 => b"AV01",
        Coding::H264 => unreachable!("a file of its own kind"),
    });
    file.extend_from_slice(&320u16.to_le_bytes());
    file.extend_from_slice(&240u16.to_le_bytes());
    file.extend_from_slice(&(RATE as u32).to_le_bytes());
    file.extend_from_slice(&1u32.to_le_bytes());
    file.extend_from_slice(&(pictures.len() as u32).to_le_bytes());
    file.extend_from_slice(&[0; 4]);
    for (number, picture) in pictures.iter().enumerate() {
        file.extend_from_slice(&(picture.len() as u32).to_le_bytes());
        file.extend_from_slice(&(number as u64).to_le_bytes());
        file.extend_from_slice(picture);
    }
    file
}
