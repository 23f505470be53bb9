//! Payloads of modelled encoders: descriptors and headers that a router reads are real, and in place of
//! the picture stands what it is, so that a receiver knows what it got.

pub(crate) mod av1;
pub(crate) mod h264;
pub(crate) mod label;
pub(crate) mod vp8;
pub(crate) mod vp9;

use kall_shared::media::Codec;

use crate::scenario::Video;
pub(crate) use label::{Label, Source};

/// Payload of the largest packet: with RTP header and extensions it stays within 1200 bytes.
pub(crate) const PAYLOAD_MAX: usize = 1150;

/// Bytes beside those of the picture in the largest first packet.
pub(crate) const OVERHEAD_MAX: usize = 6 + 10 + 22;

/// The same with a scalability structure (VP9), or with a dependency structure beside it (AV1).
const OVERHEAD_LAYERED: usize = 160;

/// Most spatial layers of a stream.
pub(crate) const SPATIAL_MAX: usize = 3;

/// The ids of a VP8 picture (RFC 7741 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) picture_id: u16,
    pub(crate) tl0: u8,
    pub(crate) temporal: u8,
    /// Predicted from the lowest temporal layer only.
    pub(crate) sync: bool,
    pub(crate) key_index: u8,
}

/// A frame to be sent: all of a picture, or one spatial layer of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// Its picture is one that decoding can begin with.
    pub(crate) key: bool,
    /// Counts the frames of the stream.
    pub(crate) number: u32,
    /// The frames it is predicted from: an earlier one of its own layer, and one of the layer below.
    pub(crate) before: Option<u32>,
    pub(crate) below: Option<u32>,
    /// Counts the pictures of the stream.
    pub(crate) picture: u32,
    /// How many pictures back the one of [`Self::before`] is.
    pub(crate) distance: u8,
    pub(crate) spatial: u8,
    /// How many spatial layers the picture has.
    pub(crate) layers: u8,
    /// For each spatial layer, how many frames back the last one is that it can't do without; zero for none.
    pub(crate) chains: [u8; SPATIAL_MAX],
    pub(crate) bytes: usize,
    pub(crate) ids: Ids,
    pub(crate) width: u16,
    pub(crate) height: u16,
}

impl Frame {
    /// Whether it is the last of its picture.
    pub(crate) const fn ends_picture(&self) -> bool {
        self.spatial + 1 == self.layers
    }
}

/// What the descriptors of a packet say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    Vp8(Ids),
    Vp9(vp9::Said),
    Av1(av1::Said),
}

/// What a receiver reads in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) label: Label,
    pub(crate) said: Said,
}

/// Bits of the publisher's picture ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdWidth {
    Short,
    Long,
}

/// How spatial layers of one stream depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dependence {
    /// In every picture (L3T3).
    Every,
    /// In key pictures only (L3T3_KEY).
    Key,
}

/// How one stream is coded and described.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) codec: Codec,
    pub(crate) width: IdWidth,
    /// VP9: references are named in each frame.
    pub(crate) flexible: bool,
    pub(crate) temporal: u8,
    pub(crate) dependence: Dependence,
    /// Sizes of its spatial layers, the smallest first.
    pub(crate) sizes: Vec<(u16, u16)>,
    /// AV1: what the descriptors are written by.
    pub(crate) structure: Option<kall_dataplane::codec::dependency_descriptor::Structure>,
}

impl Form {
    /// Of a stream with these sizes; `bits` chooses where browsers differ.
    pub(crate) fn new(video: &Video, width: IdWidth, sizes: Vec<(u16, u16)>, bits: u64) -> Self {
        let temporal = video.temporal.clamp(1, 3);
        let dependence = video.scalable.unwrap_or(Dependence::Every);
        let structure = || av1::structure(&sizes, temporal, dependence, (bits >> 8) as u8);
        Self {
            codec: video.codec,
            width,
            flexible: bits & 1 == 1,
            temporal,
            dependence,
            structure: (video.codec == Codec::Av1).then(structure),
            sizes,
        }
    }

    /// How many packets a frame of so many bytes needs.
    pub(crate) fn packets(&self, bytes: usize) -> usize {
        packets(bytes, self.overhead())
    }

    fn overhead(&self) -> usize {
        match self.codec {
            Codec::Vp9 | Codec::Av1 => OVERHEAD_LAYERED,
            _ => OVERHEAD_MAX,
        }
    }

    /// Writes the payload of one packet. Packets of a frame are as long as each other, as browsers make
    /// them.
    pub(crate) fn write(&self, frame: &Frame, label: &Label, out: &mut Vec<u8>) {
        let body = frame.bytes.div_ceil(usize::from(label.packets));
        match self.codec {
            Codec::H264 => h264::write(frame, label, body, out),
            Codec::Vp9 => vp9::write(self, frame, label, body, out),
            Codec::Av1 => av1::write(label, body, out),
            _ => vp8::write(self.width, frame, label, body, out),
        }
    }

    /// The dependency descriptor of a packet; empty for other codecs.
    pub(crate) fn describe(&self, frame: &Frame, label: &Label) -> Vec<u8> {
        let structure = self.structure.as_ref();
        structure.map_or_else(Vec::new, |structure| av1::describe(self, structure, frame, label))
    }
}

fn packets(bytes: usize, overhead: usize) -> usize {
    bytes.div_ceil(PAYLOAD_MAX - overhead).max(1)
}

/// Reads a payload, and for AV1 the descriptor beside it; `None` for what no encoder here wrote.
pub(crate) fn read(
    codec: Codec,
    payload: &[u8],
    descriptor: &[u8],
    structures: &mut av1::Structures,
) -> Option<Facts> {
    match codec {
        Codec::H264 => h264::read(payload),
        Codec::Vp9 => vp9::read(payload),
        Codec::Av1 => av1::read(payload, descriptor, structures),
        _ => vp8::read(payload),
    }
}

/// The label, and what passes for a picture: with the label `body` bytes.
fn write_body(label: &Label, body: usize, out: &mut Vec<u8>) {
    let start = out.len();
    label.write(out);
    let written = out.len() - start;
    out.resize(start + body.max(written), 0x55);
}

#[cfg(test)]
mod tests;
