//! What a stack without codecs received, decoded by ffmpeg.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use kall_tests::av1;
use webrtc::media::io::Writer;
use webrtc::media::io::ogg_writer::OggWriter;
use webrtc::rtp::header::Header;
use webrtc::rtp::packet::Packet;

use crate::clip::to_ivf;
use crate::decoded::{Decoded, PICTURES, SAMPLE_RATE};
use crate::ffmpeg::{self, text};
use crate::matrix::Coding;

/// Coded pictures and sound, as they were put together from packets.
#[derive(Debug)]
pub(crate) struct Film {
    coding: Coding,
    /// Those of AV1 without the delimiter that a file has, since it is not sent.
    pub(crate) pictures: Vec<Bytes>,
    /// Packets of Opus with their RTP timestamps.
    pub(crate) sound: Vec<(u32, Bytes)>,
}

impl Film {
    pub(crate) fn new(coding: Coding) -> Self {
        Self {
            coding,
            pictures: Vec::new(),
            sound: Vec::new(),
        }
    }

    /// Somewhat more than has to be decoded: a decoder begins at the first key frame.
    pub(crate) fn is_enough(&self) -> bool {
        self.pictures.len() >= PICTURES + 20 && self.sound.len() >= 75
    }

    /// How far it came, in words.
    pub(crate) fn shortfall(&self) -> String {
        let (pictures, sound) = (self.pictures.len(), self.sound.len());
        format!("only {pictures} pictures, {sound} packets of sound")
    }

    /// Decodes it in `folder`.
    pub(crate) fn decode(&self, folder: &Path) -> Decoded {
        let video = folder.join(match self.coding {
            Coding::H264 => "got.h264",
            Coding::Vp8 | Coding::Vp9 | Coding::Av1 => "got.ivf",
        });
        let bytes = match self.coding {
            Coding::H264 => self.pictures.concat(),
            Coding::Vp8 | Coding::Vp9 => to_ivf(self.coding, &self.pictures),
            Coding::Av1 => {
                let unit = |obus: &Bytes| Bytes::from([&av1::DELIMITER, &obus[..]].concat());
                to_ivf(self.coding, &self.pictures.iter().map(unit).collect::<Vec<_>>())
            }
        };
        fs::write(&video, bytes).expect("the folder is there");
        let raw = folder.join("got.i420");
        // Of the two decoders of AV1 the one that is not the encoder's own library.
        let mut arguments = match self.coding {
            Coding::Av1 => vec!["-c:v", "libdav1d"],
            Coding::Vp8 | Coding::H264 | Coding::Vp9 => Vec::new(),
        };
        arguments.extend(["-i", text(&video), "-fps_mode", "passthrough"]);
        arguments.extend(["-f", "rawvideo", "-pix_fmt", "yuv420p", text(&raw)]);
        ffmpeg::run(&arguments);
        let raw = fs::read(&raw).expect("ffmpeg wrote it");
        let sound = self.decode_sound(folder);

        // The size is the clip's own; another one gives another number of pictures, and no bars.
        let (width, height) = (320, 240);
        let size = width * height * 3 / 2;
        Decoded {
            pictures: raw.len() / size,
            width,
            height,
            picture: raw.rchunks_exact(size).next().unwrap_or_default().to_vec(),
            sound: sound[sound.len().saturating_sub(SAMPLE_RATE)..].to_vec(),
        }
    }

    fn decode_sound(&self, folder: &Path) -> Vec<i16> {
        let ogg = folder.join("got.ogg");
        let file = fs::File::create(&ogg).expect("the folder is there");
        let mut writer = OggWriter::new(file, SAMPLE_RATE as u32, 2).expect("a header can be written");
        for (timestamp, payload) in &self.sound {
            let packet = Packet {
                header: Header {
                    timestamp: *timestamp,
                    ..Default::default()
                },
                payload: payload.clone(),
            };
            writer.write_rtp(&packet).expect("a packet can be written");
        }
        writer.close().expect("a file can be closed");
        let pcm = folder.join("got.s16");
        ffmpeg::run(&[
            "-i",
            text(&ogg),
            "-ac",
            "1",
            "-ar",
            "48000",
            "-f",
            "s16le",
            text(&pcm),
        ]);
        let pcm = fs::read(&pcm).expect("ffmpeg wrote it");
        pcm.as_chunks::<2>()
            .0
            .iter()
            .map(|pair| i16::from_le_bytes(*pair))
            .collect()
    }
}
