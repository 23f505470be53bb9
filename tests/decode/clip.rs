//! A test picture in three layers, as an encoder with simulcast would send it.
//!
//! ffmpeg encodes ahead of time, so the clip can't react to a request for a key frame by itself. It is
//! coded in groups of pictures that each begin with a key frame; whoever plays it answers a request by
//! going on with the next group, which is what a live encoder's answer looks like from outside.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kall_tests::annex_b::access_units;
use rtp::codecs::av1::Av1Payloader;
use rtp::codecs::h264::H264Payloader;
use rtp::codecs::vp8::Vp8Payloader;
use rtp::packetizer::Payloader;

use crate::depacketize;
use crate::ffmpeg::{self, Picture};

/// Pictures a second.
pub(crate) const RATE: u64 = 30;

/// Length of a group of pictures: two seconds, and a multiple of the temporal period.
const GROUP: usize = 60;

/// Groups in a clip. Even, so that H264's `idr_pic_id` alternates when the clip repeats.
const GROUPS: usize = 8;

/// Payload of a packet at most: header, extensions and SRTP come on top.
const PAYLOAD_MAX: usize = 1100;

/// Sizes, and bitrates in kbit/s: even the largest is within what a path is trusted with from the
/// start, so that wishes decide which layer is shown.
const LAYERS: [(u16, u16, u32); 3] = [(240, 136, 100), (480, 272, 250), (960, 544, 600)];

/// How the pictures are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// VP8 in a single temporal layer.
    Vp8,
    /// VP8 in three temporal layers.
    Vp8Temporal,
    /// H264, constrained baseline.
    H264,
    /// VP9, profile 0.
    Vp9,
    /// AV1, profile 0, with dependency descriptors.
    Av1,
}

impl Coding {
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Vp8 | Self::Vp8Temporal | Self::Vp9 | Self::Av1 => "ivf",
            Self::H264 => "h264",
        }
    }

    /// Temporal layer of a picture of a group, and whether it leans on nothing but the lowest layer.
    fn temporal(self, index: usize) -> Temporal {
        if self != Self::Vp8Temporal {
            return Temporal {
                layer: 0,
                sync: false,
            };
        }
        // The pattern of `ts_layering_mode=3`: the last picture of a period leans on the one before the
        // middle layer's, all others on the lowest layer.
        match index % 4 {
            0 => Temporal {
                layer: 0,
                sync: false,
            },
            1 => Temporal { layer: 2, sync: true },
            2 => Temporal { layer: 1, sync: true },
            _ => Temporal {
                layer: 2,
                sync: false,
            },
        }
    }

    fn encode(self, layer: (u16, u16, u32), file: &Path) {
        let (width, height, kbps) = layer;
        let seconds = (GROUP * GROUPS) as u64 / RATE;
        let source = format!("testsrc2=size=960x544:rate={RATE}:duration={seconds}");
        let scale = format!("scale={width}:{height}");
        let rate = format!("{kbps}k");
        let group = GROUP.to_string();
        let file = file.to_str().expect("a path in UTF-8");
        let temporal = format!(
            "ts_number_layers=3:ts_target_bitrate={},{},{kbps}:ts_rate_decimator=4,2,1:\
             ts_periodicity=4:ts_layer_id=0,2,1,2:ts_layering_mode=3",
            kbps * 4 / 10,
            kbps * 6 / 10
        );
        let mut arguments = vec!["-f", "lavfi", "-i", &source, "-vf", &scale, "-pix_fmt", "yuv420p"];
        // The same stream on every machine: one thread, and a negative speed, as a positive one would
        // follow the processor's.
        arguments.extend(["-threads", "1"]);
        arguments.extend(["-g", &group, "-keyint_min", &group]);
        arguments.extend(["-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate]);
        match self {
            Self::Vp8 | Self::Vp8Temporal => {
                arguments.extend(["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "-8"]);
                arguments.extend(["-minrate", &rate, "-lag-in-frames", "0", "-auto-alt-ref", "0"]);
                arguments.extend(["-error-resilient", "default"]);
                if self == Self::Vp8Temporal {
                    arguments.extend(["-ts-parameters", &temporal]);
                }
                arguments.extend(["-f", "ivf", file]);
            }
            Self::Vp9 => {
                arguments.extend(["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"]);
                arguments.extend(["-minrate", &rate, "-lag-in-frames", "0", "-auto-alt-ref", "0"]);
                arguments.extend(["-f", "ivf", file]);
            }
            Self::Av1 => {
                arguments.extend(["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8"]);
                arguments.extend(["-minrate", &rate, "-lag-in-frames", "0", "-f", "ivf", file]);
            }
            Self::H264 => {
                arguments.extend(["-c:v", "libx264", "-profile:v", "baseline", "-preset", "veryfast"]);
                // Delimiters show where a picture begins; they are not sent.
                arguments.extend([
                    "-tune",
                    "zerolatency",
                    "-sc_threshold",
                    "0",
                    "-x264-params",
                    "aud=1",
                ]);
                arguments.extend(["-f", "h264", file]);
            }
        }
        ffmpeg::run(&arguments);
    }
}

/// Where a picture stands in the temporal layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Temporal {
    pub(crate) layer: u8,
    pub(crate) sync: bool,
}

/// A coded picture.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Payloads as the `rtp` crate makes them; VP8's with a descriptor of one byte, VP9's without any.
    pub(crate) payloads: Vec<Bytes>,
    pub(crate) temporal: Temporal,
    pub(crate) is_key: bool,
    /// Width and height.
    pub(crate) size: (u16, u16),
    /// What it decodes to.
    pub(crate) picture: Picture,
}

/// Three layers of the same pictures, the smallest first.
#[derive(Debug)]
pub(crate) struct Clip {
    pub(crate) coding: Coding,
    layers: [Vec<Frame>; 3],
    /// Layer and number of a picture by its coded bytes.
    known: HashMap<Bytes, (usize, usize)>,
}

impl Clip {
    /// Encodes it into `folder`.
    pub(crate) fn encode(coding: Coding, folder: &Path) -> Arc<Self> {
        let mut known = HashMap::new();
        let layers = [0, 1, 2].map(|layer| {
            let file = folder.join(format!("layer-{layer}.{}", coding.extension()));
            coding.encode(LAYERS[layer], &file);
            let (width, height, _) = LAYERS[layer];
            let frames = read(coding, (width, height), &file);
            for (number, frame) in frames.iter().enumerate() {
                let bytes = if coding == Coding::Vp9 {
                    frame.payloads.concat().into()
                } else {
                    depacketize::frame(coding, &frame.payloads).expect("what was just packetised")
                };
                known.insert(bytes, (layer, number));
            }
            frames
        });
        Arc::new(Self {
            coding,
            layers,
            known,
        })
    }

    /// A picture of a layer, by group and place in the group; groups repeat.
    pub(crate) fn frame(&self, layer: usize, group: usize, index: usize) -> Option<&Frame> {
        (index < GROUP).then(|| &self.layers[layer][group % GROUPS * GROUP + index])
    }

    /// The layer of a picture, and the picture, by its coded bytes.
    pub(crate) fn find(&self, bytes: &Bytes) -> Option<(usize, &Frame)> {
        let (layer, number) = *self.known.get(bytes)?;
        Some((layer, &self.layers[layer][number]))
    }
}

fn read(coding: Coding, size: (u16, u16), file: &Path) -> Vec<Frame> {
    let pictures = ffmpeg::decode(file);
    let bytes = fs::read(file).expect("ffmpeg wrote it");
    let coded = match coding {
        Coding::Vp8 | Coding::Vp8Temporal | Coding::Vp9 | Coding::Av1 => ivf(&bytes),
        Coding::H264 => access_units(&bytes).map(Bytes::copy_from_slice).collect(),
    };
    assert_eq!(
        coded.len(),
        GROUP * GROUPS,
        "every picture of the source is coded"
    );
    assert_eq!(pictures.len(), coded.len(), "every picture is shown");
    let frames: Vec<Frame> = coded
        .into_iter()
        .zip(pictures)
        .enumerate()
        .map(|(number, (bytes, picture))| Frame {
            payloads: match coding {
                Coding::Vp8 | Coding::Vp8Temporal => Vp8Payloader::default().payload(even(&bytes), &bytes),
                Coding::H264 => H264Payloader::default().payload(PAYLOAD_MAX, &bytes),
                // The descriptor is the publisher's.
                Coding::Vp9 => Ok(bytes
                    .chunks(PAYLOAD_MAX - 8)
                    .map(Bytes::copy_from_slice)
                    .collect()),
                Coding::Av1 => Av1Payloader::default().payload(PAYLOAD_MAX, &bytes),
            }
            .expect("a picture can be packetised"),
            temporal: coding.temporal(number % GROUP),
            is_key: is_key(coding, &bytes),
            size,
            picture,
        })
        .collect();
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(frame.is_key, number % GROUP == 0, "picture {number}");
    }
    frames
}

/// Payload that cuts a VP8 picture into parts of about the same size, as browsers do; each has a
/// descriptor of one byte.
fn even(frame: &[u8]) -> usize {
    let parts = frame.len().div_ceil(PAYLOAD_MAX - 1);
    frame.len().div_ceil(parts) + 1
}

fn is_key(coding: Coding, frame: &[u8]) -> bool {
    match coding {
        // RFC 6386 section 9.1.
        Coding::Vp8 | Coding::Vp8Temporal => frame[0] & 1 == 0,
        Coding::H264 => nal_units(frame).any(|unit| unit[0] & 0x1f == 5),
        // VP9 section 6.2: two bits of marker, two of profile; no repeated picture; the type.
        Coding::Vp9 => frame[0] & 0x04 == 0,
        // After a temporal delimiter, a sequence header stands before key frames only.
        Coding::Av1 => frame[2] >> 3 & 0x0f == 1,
    }
}

/// Pictures of an IVF file: a header of 32 bytes, then each with a header of 12 that begins with its length.
fn ivf(file: &[u8]) -> Vec<Bytes> {
    let mut rest = &file[32..];
    let mut frames = Vec::new();
    while let Some((header, after)) = rest.split_first_chunk::<12>() {
        let [a, b, c, d, ..] = *header;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        frames.push(Bytes::copy_from_slice(&after[..len]));
        rest = &after[len..];
    }
    frames
}

/// NAL units of an Annex B stream, without their start codes.
fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts: Vec<usize> = (0..stream.len().saturating_sub(3))
        .filter(|at| stream[*at..].starts_with(&[0, 0, 1]))
        .map(|at| at + 3)
        .collect();
    let ends: Vec<usize> = starts
        .iter()
        .skip(1)
        .map(|next| next - 3)
        .chain([stream.len()])
        .collect();
    starts
        .into_iter()
        .zip(ends)
        .map(move |(start, end)| &stream[start..end])
}
