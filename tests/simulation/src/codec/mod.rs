//! Payloads of modelled encoders: descriptors and headers that a router reads are real, and in place of
//! the picture stands what it is, so that a receiver knows what it got.

pub(crate) mod h264;
pub(crate) mod vp8;

use kall_shared::media::Codec;

/// Payload of the largest packet: with RTP header and extensions it stays within 1200 bytes.
pub(crate) const PAYLOAD_MAX: usize = 1150;

/// Bytes before the picture in the largest first packet: descriptor, key frame header and label.
pub(crate) const OVERHEAD_MAX: usize = 6 + 10 + LABEL_LEN;

/// Bytes of a label on the wire.
const LABEL_LEN: usize = 2 + 1 + 1 + 4 + 1 + 1 + 4 + 8;

/// Where a picture comes from: a layer of one publisher in one of its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Source {
    /// Index of the publishing session.
    pub(crate) peer: u16,
    /// Index of the layer.
    pub(crate) layer: u8,
}

/// What a packet of video is, beside everything that the server may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) source: Source,
    pub(crate) key: bool,
    /// Counts the frames of the source.
    pub(crate) frame: u32,
    /// Which packet of the frame, and how many it has.
    pub(crate) packet: u8,
    pub(crate) packets: u8,
    /// The frame it is predicted from; itself for a key frame.
    pub(crate) reference: u32,
    /// When it was captured, in nanoseconds of the simulation.
    pub(crate) captured: u64,
}

impl Label {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.source.peer.to_be_bytes());
        out.extend_from_slice(&[self.source.layer, u8::from(self.key)]);
        out.extend_from_slice(&self.frame.to_be_bytes());
        out.extend_from_slice(&[self.packet, self.packets]);
        out.extend_from_slice(&self.reference.to_be_bytes());
        out.extend_from_slice(&self.captured.to_be_bytes());
    }

    fn read(body: &[u8]) -> Option<Self> {
        let (peer, rest) = body.split_first_chunk()?;
        let ([layer, key], rest) = rest.split_first_chunk()?;
        let (frame, rest) = rest.split_first_chunk()?;
        let ([packet, packets], rest) = rest.split_first_chunk()?;
        let (reference, rest) = rest.split_first_chunk()?;
        let (captured, _) = rest.split_first_chunk()?;
        Some(Self {
            source: Source {
                peer: u16::from_be_bytes(*peer),
                layer: *layer,
            },
            key: *key != 0,
            frame: u32::from_be_bytes(*frame),
            packet: *packet,
            packets: *packets,
            reference: u32::from_be_bytes(*reference),
            captured: u64::from_be_bytes(*captured),
        })
    }

    /// Whether it is the first packet of its frame.
    pub(crate) const fn starts(&self) -> bool {
        self.packet == 0
    }

    /// Whether it is the last packet of its frame.
    pub(crate) const fn ends(&self) -> bool {
        self.packet + 1 == self.packets
    }
}

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

/// A frame to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) key: bool,
    pub(crate) number: u32,
    pub(crate) reference: u32,
    pub(crate) bytes: usize,
    pub(crate) ids: Ids,
    pub(crate) width: u16,
    pub(crate) height: u16,
}

/// What a receiver reads in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) label: Label,
    /// VP8 only.
    pub(crate) ids: Option<Ids>,
}

/// Bits of the publisher's picture ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdWidth {
    Short,
    Long,
}

/// How many packets a frame of so many bytes needs.
pub(crate) fn packets(bytes: usize) -> usize {
    bytes.div_ceil(PAYLOAD_MAX - OVERHEAD_MAX).max(1)
}

/// Writes the payload of one packet. Packets of a frame are as long as each other, as browsers make
/// them.
pub(crate) fn write(codec: Codec, width: IdWidth, frame: &Frame, label: &Label, out: &mut Vec<u8>) {
    let body = frame.bytes.div_ceil(usize::from(label.packets));
    match codec {
        Codec::H264 => h264::write(frame, label, body, out),
        _ => vp8::write(width, frame, label, body, out),
    }
}

/// Reads a payload; `None` for what no encoder here wrote.
pub(crate) fn read(codec: Codec, payload: &[u8]) -> Option<Facts> {
    match codec {
        Codec::H264 => h264::read(payload),
        _ => vp8::read(payload),
    }
}

/// The label, and what passes for a picture: with the label `body` bytes.
fn write_body(label: &Label, body: usize, out: &mut Vec<u8>) {
    let start = out.len();
    label.write(out);
    out.resize(start + body.max(LABEL_LEN), 0x55);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let ids = Ids {
            picture_id: 0x1234,
            tl0: 200,
            temporal: 2,
            sync: true,
            key_index: 17,
        };
        for codec in [Codec::Vp8, Codec::H264] {
            for (key, packets) in [(true, 3), (false, 3), (false, 1)] {
                let frame = Frame {
                    key,
                    number: 70_000,
                    reference: 69_998,
                    bytes: 2500,
                    ids,
                    width: 640,
                    height: 360,
                };
                for packet in 0..packets {
                    let label = Label {
                        source: Source { peer: 300, layer: 2 },
                        key,
                        frame: frame.number,
                        packet,
                        packets,
                        reference: frame.reference,
                        captured: 1 << 40,
                    };
                    let mut payload = Vec::new();
                    write(codec, IdWidth::Long, &frame, &label, &mut payload);
                    let facts = read(codec, &payload).expect("our own");
                    assert_eq!(facts.label, label);
                    assert_eq!(facts.ids, (codec == Codec::Vp8).then_some(ids));
                }
            }
        }
    }

    #[test]
    fn the_largest_packet_fits() {
        for bytes in [1, 1000, 5000, 60_000] {
            let count = packets(bytes);
            assert!(bytes.div_ceil(count) + OVERHEAD_MAX <= PAYLOAD_MAX);
        }
    }
}
