//! What one session calls things: its extension ids, and its payload types line by line.

use kall_shared::media::{Codec, CodecParams, Extension, MediaLine};

/// Extension ids of a session. An id means the same on every line of a bundle (RFC 8843 section 9.1),
/// so one table serves all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    ids: [u8; Extension::ALL.len()],
}

impl ExtensionIds {
    /// The union over all lines; the first line that names an extension wins.
    #[must_use]
    pub fn of_lines(lines: &[MediaLine]) -> Self {
        let mut table = Self::default();
        for params in lines.iter().flat_map(|line| &line.extensions) {
            let id = &mut table.ids[params.extension as usize];
            if *id == 0 {
                *id = params.id;
            }
        }
        table
    }

    /// The ids of one line, for writing: a receiver may lack an extension on one of its lines.
    #[must_use]
    pub fn of_line(line: &MediaLine) -> Self {
        Self::of_lines(std::slice::from_ref(line))
    }

    /// The id an extension has here, if any.
    #[must_use]
    pub fn id(&self, extension: Extension) -> Option<u8> {
        let id = self.ids[extension as usize];
        (id != 0).then_some(id)
    }

    /// The extension an id means here, if it is one we read.
    #[must_use]
    pub fn extension(&self, id: u8) -> Option<Extension> {
        Extension::ALL
            .into_iter()
            .find(|extension| id != 0 && self.ids[*extension as usize] == id)
    }
}

/// What a payload type means on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Media.
    Primary(CodecParams),
    /// Retransmissions of that media (RFC 4588).
    Rtx(CodecParams),
}

/// The meaning of `payload_type` on `line`.
#[must_use]
pub fn format_of(line: &MediaLine, payload_type: u8) -> Option<Format> {
    line.codecs.iter().find_map(|codec| {
        if codec.pt == payload_type {
            Some(Format::Primary(*codec))
        } else if codec.rtx_pt == Some(payload_type) {
            Some(Format::Rtx(*codec))
        } else {
            None
        }
    })
}

/// The payload type plain Opus has on a line, for the blocks of redundant audio.
#[must_use]
pub fn opus_pt(line: &MediaLine) -> Option<u8> {
    line.codecs
        .iter()
        .find(|codec| codec.codec == Codec::Opus)
        .map(|codec| codec.pt)
}

/// The receiver's codec that can take what a publisher sends as `published`. H264 must match in
/// profile and constraints; levels may differ (level-asymmetry-allowed, RFC 6184 section 8.1). Redundant
/// audio is taken apart for a receiver that knows plain Opus only.
#[must_use]
pub fn receiver_codec(line: &MediaLine, published: &CodecParams) -> Option<CodecParams> {
    let profile = |codec: &CodecParams| codec.h264_profile.map(|profile| profile >> 8);
    line.codecs
        .iter()
        .find(|codec| {
            codec.codec == published.codec
                && (codec.codec != Codec::H264 || profile(codec) == profile(published))
        })
        .or_else(|| {
            line.codecs
                .iter()
                .find(|codec| published.codec == Codec::Red && codec.codec == Codec::Opus)
        })
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kall_shared::id::Mid;
    use kall_shared::media::{ExtensionParams, Kind};

    fn codec(pt: u8, codec: Codec, h264_profile: Option<u32>) -> CodecParams {
        CodecParams {
            pt,
            rtx_pt: Some(pt + 1),
            codec,
            h264_profile,
            feedback: Default::default(),
        }
    }

    fn line(codecs: Vec<CodecParams>, extensions: Vec<ExtensionParams>) -> MediaLine {
        let mid = Mid::new("0").expect("a valid mid");
        MediaLine {
            mid,
            kind: Kind::Video,
            codecs,
            extensions,
            publish: None,
            slot: true,
        }
    }

    #[test]
    fn h264_matches_by_profile_not_by_level() {
        let receiver = line(
            vec![
                codec(102, Codec::H264, Some(0x64_0c1f)),
                codec(108, Codec::H264, Some(0x42_e01f)),
            ],
            vec![],
        );
        let published = codec(96, Codec::H264, Some(0x42_e034));
        assert_eq!(
            receiver_codec(&receiver, &published).map(|codec| codec.pt),
            Some(108)
        );
        assert_eq!(receiver_codec(&receiver, &codec(96, Codec::Vp8, None)), None);
    }

    #[test]
    fn ids_and_extensions_are_each_others_inverse() {
        let ids = ExtensionIds::of_line(&line(
            vec![],
            vec![
                ExtensionParams {
                    id: 9,
                    extension: Extension::Mid,
                },
                ExtensionParams {
                    id: 4,
                    extension: Extension::TransportCc,
                },
            ],
        ));
        assert_eq!(ids.id(Extension::Mid), Some(9));
        assert_eq!(ids.extension(4), Some(Extension::TransportCc));
        assert_eq!((ids.id(Extension::Rid), ids.extension(0)), (None, None));
    }
}
