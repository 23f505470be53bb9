//! One RTP stream of a publisher, as it is received: one encoding of a track.

use kall_shared::media::{CodecParams, Kind};

use crate::codec::h264;
use crate::forward::dependencies::Dependencies;
use crate::forward::rewriter::SourceId;
use crate::rtp::packet_ring::UNREAD;
use crate::rtp::{NackGenerator, PacketRing, PictureIdUnwrapper, RecvStream};
use crate::time::Time;

/// What one layer has once its first packet came.
#[derive(Debug)]
pub struct LayerStream {
    /// Its name for rewriters: a stream that began anew has another.
    pub source: SourceId,
    /// Reports and the unwrapping of numbers.
    pub recv: RecvStream,
    /// What is missing.
    pub nack: NackGenerator,
    /// The newest packets.
    pub ring: PacketRing,
    /// Picture ids or frame numbers, extended.
    pub(super) picture: PictureIdUnwrapper,
    /// Packets below this number were sent while the track was muted, and stay where they are.
    pub forward_from: u64,
    /// Its codec as the publisher sends it.
    pub codec: CodecParams,
    /// The newest parameter sets, of a codec that has them.
    pub parameter_sets: Option<Box<h264::ParameterSets>>,
    /// What its dependency descriptors are read by (AV1).
    pub dependencies: Dependencies,
    /// Whether the layers of its track are spatial layers of this one stream.
    pub scalable: bool,
}

impl LayerStream {
    /// A stream whose first packet comes now.
    #[must_use]
    pub fn new(source: SourceId, ssrc: u32, kind: Kind, codec: CodecParams) -> Self {
        Self {
            source,
            recv: RecvStream::new(ssrc, codec.codec.clock_rate()),
            nack: NackGenerator::new(kind),
            ring: PacketRing::new(kind),
            picture: PictureIdUnwrapper::new(),
            forward_from: 0,
            codec,
            parameter_sets: None,
            dependencies: Dependencies::default(),
            scalable: false,
        }
    }

    /// Reads descriptors again that came before the structure they are of: packet `seq`, which was lost or is
    /// late, brought it. Spatial layers that turn out to lack something, by bit.
    ///
    /// Some could be read by the structure before, if it is the same, but not by what its sender went on with then: a
    /// layer that begins again with this key picture would be nobody's.
    pub(super) fn describe_again(&mut self, now: Time, seq: u64) -> u8 {
        let end = self.ring.highest().unwrap_or(seq);
        let mut broken = 0;
        for later in seq + 1..=end {
            let Some(mut meta) = self.ring.get(later).map(|(meta, _)| *meta) else {
                continue;
            };
            if let Some(frame) = meta.picture_id {
                let descriptor = self.ring.descriptor(later);
                if meta.spatial == UNREAD {
                    broken |= self.dependencies.take(now, frame, descriptor, &mut meta).broken;
                } else {
                    // The chains know of it.
                    self.dependencies.read(frame, descriptor, &mut meta);
                }
                self.ring.redescribe(meta);
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use kall_shared::media::Codec;

    use super::*;
    use crate::codec::dependency_descriptor::Patch;
    use crate::codec::dependency_descriptor::testing::{describe, l3t3_key};
    use crate::rtp::PacketMeta;

    #[test]
    fn what_overtook_its_structure_is_read_once_that_is_there() {
        let codec = CodecParams {
            pt: 45,
            codec: Codec::Av1,
            rtx_pt: None,
            h264_profile: None,
            feedback: kall_shared::media::Feedback::default(),
        };
        let mut stream = LayerStream::new(SourceId(1), 7, Kind::Video, codec);
        let structure = l3t3_key(0);
        let put = |stream: &mut LayerStream, seq: u64, descriptor: &[u8]| {
            let mut meta = PacketMeta {
                seq,
                codec: Codec::Av1,
                picture_id: Some(seq as i64),
                descriptor_len: descriptor.len() as u8,
                ..PacketMeta::default()
            };
            stream
                .dependencies
                .take(Time::ZERO, seq as i64, descriptor, &mut meta);
            stream
                .ring
                .insert_described(meta, descriptor, b"picture")
                .expect("kept");
        };
        let take = |stream: &mut LayerStream, seq: u64, template: u8, with_structure: bool| {
            let descriptor = describe(&structure, template, seq as u16, with_structure);
            put(stream, seq, &descriptor);
        };
        take(&mut stream, 101, 5, false);
        take(&mut stream, 102, 10, false);
        take(&mut stream, 100, 0, true);
        let facts = |stream: &LayerStream, seq: u64| {
            let (meta, payload) = stream.ring.get(seq).expect("there");
            assert_eq!(payload, b"picture");
            (meta.spatial, meta.needed_by)
        };
        assert_eq!(facts(&stream, 101), (UNREAD, 0));
        stream.describe_again(Time::ZERO, 100);
        assert_eq!(facts(&stream, 101), (1, 0b110));
        assert_eq!(facts(&stream, 102), (2, 0b100));

        // The sender stops the upper layers, and begins them again with the same structure.
        let stop = Patch {
            frame_number: 103,
            active_targets: Some(structure.targets_up_to(0)),
            target_count: structure.targets().len() as u8,
            ..Patch::default()
        };
        let mut buf = [0; 64];
        let len = stop
            .apply(&describe(&structure, 1, 103, false), &mut buf)
            .expect("room");
        put(&mut stream, 103, &buf[..len]);
        take(&mut stream, 105, 5, false);
        assert_eq!(facts(&stream, 105), (1, 0));
        take(&mut stream, 104, 0, true);
        stream.describe_again(Time::ZERO, 104);
        assert_eq!(facts(&stream, 105), (1, 0b110));
    }
}
