//! A test picture in three layers, as an encoder would send it: each in a stream of its own (simulcast), or all in one,
//! where they lean on each other (SVC).
//!
//! It is encoded ahead of time, so the clip can't react to a request for a key frame by itself. It is
//! coded in groups of pictures that each begin with a key frame; whoever plays it answers a request by
//! going on with the next group, which is what a live encoder's answer looks like from outside.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kall_shared::media::Codec;
use kall_tests::annex_b::access_units;
use rtp::codecs::av1::Av1Payloader;
use rtp::codecs::h264::H264Payloader;
use rtp::codecs::vp8::Vp8Payloader;
use rtp::packetizer::Payloader;

use crate::depacketize;
use crate::encoder;
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

/// The same for layers of one stream, each without those below.
const SVC_KBPS: [u32; 3] = [70, 150, 380];

/// Pictures of a period of three temporal layers.
pub(crate) const PERIOD: usize = 4;

/// How the pictures are coded: VP9 and AV1 in profile 0, H264 in constrained baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Coding {
    pub(crate) codec: Codec,
    pub(crate) layers: Layering,
}

/// Which layers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layering {
    /// Three streams.
    Simulcast,
    /// Three streams, each in three temporal layers.
    Temporal,
    /// One stream in three spatial and three temporal layers: L3T3, or L3T3_KEY.
    Svc(Leaning),
}

/// When the layers of a stream lean on those below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaning {
    /// In every picture.
    Always,
    /// In key pictures.
    KeyPictures,
}

impl Coding {
    pub(crate) fn simulcast(codec: Codec) -> Self {
        let layers = Layering::Simulcast;
        Self { codec, layers }
    }

    pub(crate) fn svc(codec: Codec, leaning: Leaning) -> Self {
        let layers = Layering::Svc(leaning);
        Self { codec, layers }
    }

    pub(crate) fn extension(self) -> &'static str {
        if self.codec == Codec::H264 { "h264" } else { "ivf" }
    }

    pub(crate) fn leaning(self) -> Option<Leaning> {
        match self.layers {
            Layering::Svc(leaning) => Some(leaning),
            Layering::Simulcast | Layering::Temporal => None,
        }
    }

    pub(crate) fn is_temporal(self) -> bool {
        self.layers != Layering::Simulcast
    }

    /// Where a frame stands: of spatial layer `spatial`, in picture `index` of a group.
    pub(crate) fn place(self, spatial: u8, index: usize) -> Place {
        let above = spatial > 0;
        let below = above && (index == 0 || self.leaning() == Some(Leaning::Always));
        let (temporal, sync, earlier) = if !self.is_temporal() {
            (0, false, 1)
        } else {
            // The pattern of browsers, and of libvpx's `ts_layering_mode=3`: the last picture of a period leans on the
            // middle layer's, all others on the lowest one's.
            [
                (0, false, PERIOD as u16),
                (2, true, 1),
                (1, true, 2),
                (2, false, 1),
            ][index % PERIOD]
        };
        Place {
            spatial,
            temporal,
            sync,
            earlier: (index > 0).then_some(earlier),
            below,
            index,
        }
    }

    fn encode(self, layer: (u16, u16, u32), file: &Path) {
        let (width, height, kbps) = layer;
        let source = source((GROUP * GROUPS) as u64);
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
        match self.codec {
            Codec::Vp8 => {
                arguments.extend(["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "-8"]);
                arguments.extend(["-minrate", &rate, "-lag-in-frames", "0", "-auto-alt-ref", "0"]);
                arguments.extend(["-error-resilient", "default"]);
                if self.is_temporal() {
                    arguments.extend(["-ts-parameters", &temporal]);
                }
                arguments.extend(["-f", "ivf", file]);
            }
            Codec::Vp9 => {
                arguments.extend(["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"]);
                arguments.extend(["-minrate", &rate, "-lag-in-frames", "0", "-auto-alt-ref", "0"]);
                arguments.extend(["-f", "ivf", file]);
            }
            Codec::Av1 => {
                arguments.extend(["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8"]);
                arguments.extend(["-minrate", &rate, "-lag-in-frames", "0", "-f", "ivf", file]);
            }
            Codec::H264 => {
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
            other => panic!("{other:?} is no picture"),
        }
        ffmpeg::run(&arguments);
    }
}

/// Where a frame stands among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) spatial: u8,
    pub(crate) temporal: u8,
    /// Whether it leans on nothing but the lowest temporal layer.
    pub(crate) sync: bool,
    /// The picture that it leans on, by how many pictures earlier that is.
    pub(crate) earlier: Option<u16>,
    /// Whether it leans on the spatial layer below.
    pub(crate) below: bool,
    /// Number of its picture in the group.
    pub(crate) index: usize,
}

impl Place {
    /// Whether its picture is a key picture.
    pub(crate) fn is_key(&self) -> bool {
        self.index == 0
    }
}

/// A coded frame: a picture, or a spatial layer of one.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Payloads as the `rtp` crate makes them; VP8's with a descriptor of one byte, VP9's without any.
    pub(crate) payloads: Vec<Bytes>,
    pub(crate) place: Place,
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
    /// Layer and number of a picture by its coded bytes: those of all frames that it takes to show it.
    known: HashMap<Bytes, (usize, usize)>,
}

impl Clip {
    /// Encodes it into `folder`.
    pub(crate) fn encode(coding: Coding, folder: &Path) -> Arc<Self> {
        let layers = match coding.leaning() {
            Some(leaning) => {
                let file = folder.join("layers.ivf");
                let sizes = LAYERS.map(|(width, height, _)| (width, height));
                let source = source((GROUP * GROUPS) as u64);
                encoder::encode(coding.codec, leaning, &source, sizes[2], SVC_KBPS, GROUP, &file);
                read_layers(coding, sizes, &file)
            }
            None => [0, 1, 2].map(|layer| {
                let file = folder.join(format!("layer-{layer}.{}", coding.extension()));
                coding.encode(LAYERS[layer], &file);
                let (width, height, _) = LAYERS[layer];
                read(coding, (width, height), &file)
            }),
        };
        let mut known = HashMap::new();
        for (layer, number) in (0..3).flat_map(|layer| (0..GROUP * GROUPS).map(move |number| (layer, number)))
        {
            let shown: Vec<Bytes> = (0..=layer)
                .filter(|below| match coding.leaning() {
                    None => *below == layer,
                    Some(leaning) => {
                        *below == layer || leaning == Leaning::Always || layers[0][number].place.is_key()
                    }
                })
                .flat_map(|below| layers[below][number].payloads.clone())
                .collect();
            let bytes = if coding.codec == Codec::Vp9 {
                shown.concat().into()
            } else {
                depacketize::frame(coding, &shown).expect("what was just packetised")
            };
            known.insert(bytes, (layer, number));
        }
        Arc::new(Self {
            coding,
            layers,
            known,
        })
    }

    /// Sizes of the layers, the smallest first.
    pub(crate) fn sizes(&self) -> Vec<(u16, u16)> {
        self.layers.iter().map(|frames| frames[0].size).collect()
    }

    /// A frame of a layer, by group and place in the group; groups repeat.
    pub(crate) fn frame(&self, layer: usize, group: usize, index: usize) -> Option<&Frame> {
        (index < GROUP).then(|| &self.layers[layer][group % GROUPS * GROUP + index])
    }

    /// The layer that is shown by these coded bytes, and its frame.
    pub(crate) fn find(&self, bytes: &Bytes) -> Option<(usize, &Frame)> {
        let (layer, number) = *self.known.get(bytes)?;
        Some((layer, &self.layers[layer][number]))
    }
}

/// What is encoded, in ffmpeg's words.
fn source(pictures: u64) -> String {
    let (width, height, _) = LAYERS[2];
    format!(
        "testsrc2=size={width}x{height}:rate={RATE}:duration={}",
        pictures / RATE
    )
}

fn read(coding: Coding, size: (u16, u16), file: &Path) -> Vec<Frame> {
    let pictures = ffmpeg::decode(file, &[]);
    let bytes = fs::read(file).expect("ffmpeg wrote it");
    let coded = if coding.codec == Codec::H264 {
        access_units(&bytes).map(Bytes::copy_from_slice).collect()
    } else {
        ivf(&bytes)
    };
    assert_eq!(
        coded.len(),
        GROUP * GROUPS,
        "every picture of the source is coded"
    );
    assert_eq!(pictures.len(), coded.len(), "every picture is shown");
    coded
        .into_iter()
        .zip(pictures)
        .enumerate()
        .map(|(number, (bytes, picture))| {
            let place = coding.place(0, number % GROUP);
            assert_eq!(is_key(coding.codec, &bytes), place.is_key(), "picture {number}");
            packetised(coding.codec, place, size, &bytes, picture)
        })
        .collect()
}

/// The layers of one stream. What each frame decodes to is asked of a decoder that is given all of them and shows all of
/// them, so that a layer that a receiver lacks and needs is missed.
fn read_layers(coding: Coding, sizes: [(u16, u16); 3], file: &Path) -> [Vec<Frame>; 3] {
    let bytes = fs::read(file).expect("the encoder wrote it");
    let coded = ivf(&bytes);
    assert_eq!(coded.len(), 3 * GROUP * GROUPS, "every layer of every picture");
    let pictures = if coding.codec == Codec::Av1 {
        // The layers of a picture are one temporal unit.
        let whole = file.with_extension("whole.ivf");
        let units: Vec<(u64, Bytes)> = coded
            .chunks(3)
            .zip(0..)
            .map(|(layers, time)| (time, layers.concat().into()))
            .collect();
        fs::write(&whole, ffmpeg::ivf(*b"AV01", sizes[2], RATE as u32, &units)).expect("the folder is ours");
        ffmpeg::decode(&whole, &["-c:v", "libdav1d", "-alllayers", "1"])
    } else {
        ffmpeg::decode(file, &["-c:v", "vp9"])
    };
    assert_eq!(
        pictures.len(),
        coded.len(),
        "every layer of every picture is shown"
    );
    let mut layers = [const { Vec::new() }; 3];
    for (count, (bytes, picture)) in coded.into_iter().zip(pictures).enumerate() {
        let (number, layer) = (count / 3, count % 3);
        let place = coding.place(layer as u8, number % GROUP);
        assert_eq!(
            is_key(coding.codec, &bytes),
            place.is_key() && layer == 0,
            "picture {number}, layer {layer}"
        );
        layers[layer].push(packetised(coding.codec, place, sizes[layer], &bytes, picture));
    }
    layers
}

fn packetised(codec: Codec, place: Place, size: (u16, u16), bytes: &Bytes, picture: Picture) -> Frame {
    Frame {
        payloads: match codec {
            Codec::Vp8 => Vp8Payloader::default().payload(even(bytes), bytes),
            Codec::H264 => H264Payloader::default().payload(PAYLOAD_MAX, bytes),
            // The descriptor is the publisher's.
            Codec::Vp9 => Ok(bytes
                .chunks(PAYLOAD_MAX - 40)
                .map(Bytes::copy_from_slice)
                .collect()),
            Codec::Av1 => Av1Payloader::default().payload(PAYLOAD_MAX, bytes),
            other => panic!("{other:?} is no picture"),
        }
        .expect("a picture can be packetised"),
        place,
        size,
        picture,
    }
}

/// Payload that cuts a VP8 picture into parts of about the same size, as browsers do; each has a
/// descriptor of one byte.
fn even(frame: &[u8]) -> usize {
    let parts = frame.len().div_ceil(PAYLOAD_MAX - 1);
    frame.len().div_ceil(parts) + 1
}

fn is_key(codec: Codec, frame: &[u8]) -> bool {
    match codec {
        // RFC 6386 section 9.1.
        Codec::Vp8 => frame[0] & 1 == 0,
        Codec::H264 => nal_units(frame).any(|unit| unit[0] & 0x1f == 5),
        // VP9 section 6.2: two bits of marker, two of profile; no repeated picture; the type.
        Codec::Vp9 => frame[0] & 0x04 == 0,
        // After a temporal delimiter, a sequence header stands before key frames only.
        Codec::Av1 => frame[0] >> 3 & 0x0f == 2 && frame[2] >> 3 & 0x0f == 1,
        other => panic!("{other:?} is no picture"),
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
