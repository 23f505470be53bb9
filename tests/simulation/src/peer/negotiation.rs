//! What a peer's offer and the server's answer come to: lines, formats, and the session's parameters.

use kall_shared::id::{Mid, Rid, TrackId};
use kall_shared::media::{
    Codec, CodecParams, Extension, ExtensionParams, Feedback, Fingerprint, Kind, MediaLine, PublishParams,
    RemoteTransport, SessionParams, Source,
};

/// Payload types and extension ids, as Chromium gives them.
pub(crate) const OPUS: u8 = 111;
pub(crate) const VP8: u8 = 96;
pub(crate) const VP8_RTX: u8 = 97;
pub(crate) const VP9: u8 = 98;
pub(crate) const VP9_RTX: u8 = 99;
pub(crate) const H264: u8 = 106;
pub(crate) const H264_RTX: u8 = 107;
pub(crate) const AV1: u8 = 45;
pub(crate) const AV1_RTX: u8 = 46;
pub(crate) const EXT_LEVEL: u8 = 1;
pub(crate) const EXT_TRANSPORT: u8 = 3;
pub(crate) const EXT_MID: u8 = 4;
pub(crate) const EXT_RID: u8 = 10;
pub(crate) const EXT_REPAIRED_RID: u8 = 11;
pub(crate) const EXT_DEPENDENCIES: u8 = 13;

/// Constrained baseline, level 3.1.
const H264_PROFILE: u32 = 0x42_e01f;

/// Lines of what a peer sends.
pub(crate) const MICROPHONE: &str = "m";
pub(crate) const CAMERA: &str = "c";

/// The password of every peer's ICE; nobody checks it with a lite agent.
const PASSWORD: &str = "the-password-of-this-peer";

/// What one peer wants to send and receive.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Tracks for microphone and camera, if they are published.
    pub(crate) microphone: Option<TrackId>,
    pub(crate) camera: Option<(TrackId, Codec, Vec<String>)>,
    pub(crate) audio_slots: usize,
    pub(crate) video_slots: usize,
}

pub(crate) fn mid(text: &str) -> Mid {
    Mid::new(text).expect("short and plain")
}

pub(crate) fn track(name: &str) -> TrackId {
    TrackId::new(name).expect("short and plain")
}

/// The line of an audio slot, or of a video slot.
pub(crate) fn slot_mid(kind: Kind, index: usize) -> String {
    match kind {
        Kind::Audio => format!("a{index}"),
        Kind::Video => format!("v{index}"),
    }
}

/// Which slot a line is.
pub(crate) fn slot_of(mid: &str) -> Option<(Kind, usize)> {
    let kind = match mid.get(..1)? {
        "a" => Kind::Audio,
        "v" => Kind::Video,
        _ => return None,
    };
    Some((kind, mid.get(1..)?.parse().ok()?))
}

pub(crate) fn params(ufrag: &str, wanted: &Wanted) -> SessionParams {
    let mut lines = Vec::new();
    if let Some(track) = &wanted.microphone {
        lines.push(publishing(
            MICROPHONE,
            Source::Microphone,
            track,
            &[],
            vec![opus()],
        ));
    }
    if let Some((track, codec, rids)) = &wanted.camera {
        // A single encoding has no rid.
        let rids = if rids.len() > 1 { &rids[..] } else { &[] };
        lines.push(publishing(
            CAMERA,
            Source::Camera,
            track,
            rids,
            vec![video(*codec)],
        ));
    }
    let all = || {
        [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1]
            .map(video)
            .to_vec()
    };
    lines.extend((0..wanted.audio_slots).map(|index| slot(Kind::Audio, index, vec![opus()])));
    lines.extend((0..wanted.video_slots).map(|index| slot(Kind::Video, index, all())));
    SessionParams {
        transport: RemoteTransport {
            ufrag: ufrag.to_owned(),
            pwd: PASSWORD.to_owned(),
            fingerprints: vec![Fingerprint { sha256: [7; 32] }],
        },
        lines,
    }
}

fn publishing(
    name: &str,
    source: Source,
    track: &TrackId,
    rids: &[String],
    codecs: Vec<CodecParams>,
) -> MediaLine {
    MediaLine {
        publish: Some(PublishParams {
            track: track.clone(),
            source,
            rids: rids
                .iter()
                .map(|rid| Rid::new(rid.as_str()).expect("a legal rid"))
                .collect(),
            ssrcs: Vec::new(),
            muted: false,
        }),
        ..line(name, source.kind(), codecs)
    }
}

fn slot(kind: Kind, index: usize, codecs: Vec<CodecParams>) -> MediaLine {
    MediaLine {
        slot: true,
        ..line(&slot_mid(kind, index), kind, codecs)
    }
}

fn line(name: &str, kind: Kind, codecs: Vec<CodecParams>) -> MediaLine {
    let extension = |id, extension| ExtensionParams { id, extension };
    let mut extensions = vec![
        extension(EXT_MID, Extension::Mid),
        extension(EXT_TRANSPORT, Extension::TransportCc),
    ];
    match kind {
        Kind::Audio => extensions.push(extension(EXT_LEVEL, Extension::AudioLevel)),
        Kind::Video => extensions.extend([
            extension(EXT_RID, Extension::Rid),
            extension(EXT_REPAIRED_RID, Extension::RepairedRid),
            extension(EXT_DEPENDENCIES, Extension::DependencyDescriptor),
        ]),
    }
    MediaLine {
        mid: mid(name),
        kind,
        codecs,
        extensions,
        publish: None,
        slot: false,
    }
}

fn opus() -> CodecParams {
    CodecParams {
        pt: OPUS,
        rtx_pt: None,
        codec: Codec::Opus,
        h264_profile: None,
        feedback: Feedback {
            transport_cc: true,
            ..Feedback::default()
        },
    }
}

fn video(codec: Codec) -> CodecParams {
    let h264 = codec == Codec::H264;
    CodecParams {
        pt: payload_type(codec),
        rtx_pt: Some(payload_type(codec) + 1),
        codec,
        h264_profile: h264.then_some(H264_PROFILE),
        feedback: Feedback {
            nack: true,
            pli: true,
            fir: false,
            transport_cc: true,
            remb: false,
        },
    }
}

pub(crate) const fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::H264 => H264,
        Codec::Opus | Codec::Red => OPUS,
        Codec::Vp8 => VP8,
        Codec::Vp9 => VP9,
        Codec::Av1 => AV1,
    }
}
