//! What a packet of video is, in place of the picture: no rule of a codec is needed to read it.

/// Where a picture comes from: a stream of one publisher in one of its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Source {
    /// Index of the publishing session.
    pub(crate) peer: u16,
    /// Index of the layer; where one stream has several, the stream's is zero.
    pub(crate) layer: u8,
}

/// What a packet of video is, beside everything that the server may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) source: Source,
    /// Of a picture that decoding can begin with.
    pub(crate) key: bool,
    /// Counts the frames of the source: each spatial layer of a picture is one.
    pub(crate) frame: u32,
    /// Which packet of the frame, and how many it has.
    pub(crate) packet: u8,
    pub(crate) packets: u8,
    /// The frames it is predicted from: an earlier one of its layer, and one of the layer below in the same picture.
    pub(crate) before: Option<u32>,
    pub(crate) below: Option<u32>,
    /// When it was captured, in nanoseconds of the simulation.
    pub(crate) captured: u64,
    /// Counts the pictures of the source, and those of its lowest temporal layer.
    pub(crate) picture: u32,
    pub(crate) lowest: u32,
    /// Spatial layer of the frame, and how many the picture has.
    pub(crate) spatial: u8,
    pub(crate) layers: u8,
    pub(crate) temporal: u8,
}

/// No reference.
const NONE: u32 = u32::MAX;

impl Label {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.source.peer.to_be_bytes());
        out.extend_from_slice(&[self.source.layer, u8::from(self.key)]);
        out.extend_from_slice(&self.frame.to_be_bytes());
        out.extend_from_slice(&[self.packet, self.packets]);
        for number in [self.before.unwrap_or(NONE), self.below.unwrap_or(NONE)] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.captured.to_be_bytes());
        out.extend_from_slice(&self.picture.to_be_bytes());
        out.extend_from_slice(&self.lowest.to_be_bytes());
        out.extend_from_slice(&[self.spatial, self.layers, self.temporal]);
    }

    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let (peer, rest) = body.split_first_chunk()?;
        let ([layer, key], rest) = rest.split_first_chunk()?;
        let (frame, rest) = rest.split_first_chunk()?;
        let ([packet, packets], rest) = rest.split_first_chunk()?;
        let (before, rest) = rest.split_first_chunk()?;
        let (below, rest) = rest.split_first_chunk()?;
        let (captured, rest) = rest.split_first_chunk()?;
        let (picture, rest) = rest.split_first_chunk()?;
        let (lowest, rest) = rest.split_first_chunk()?;
        let ([spatial, layers, temporal], _) = rest.split_first_chunk()?;
        let reference = |bytes| Some(u32::from_be_bytes(bytes)).filter(|number| *number != NONE);
        Some(Self {
            source: Source {
                peer: u16::from_be_bytes(*peer),
                layer: *layer,
            },
            key: *key != 0,
            frame: u32::from_be_bytes(*frame),
            packet: *packet,
            packets: *packets,
            before: reference(*before),
            below: reference(*below),
            captured: u64::from_be_bytes(*captured),
            picture: u32::from_be_bytes(*picture),
            lowest: u32::from_be_bytes(*lowest),
            spatial: *spatial,
            layers: *layers,
            temporal: *temporal,
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

    /// Whether decoding can begin with its frame.
    pub(crate) const fn enters(&self) -> bool {
        self.key && self.spatial == 0
    }

    /// What it is predicted from.
    pub(crate) fn references(&self) -> impl Iterator<Item = u32> {
        self.before.into_iter().chain(self.below)
    }

    /// The stream and the layer that a viewer sees whose pictures end with this frame.
    pub(crate) fn shows(&self) -> Source {
        Source {
            layer: self.source.layer.max(self.spatial),
            ..self.source
        }
    }
}
