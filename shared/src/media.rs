//! What an offer and an answer agree on, as typed parameters.
//!
//! The control plane reads SDP into these and writes SDP from them; the data plane gets nothing
//! else. Lists are bounded by [`limits`]; [`SessionParams::validate`] checks every bound, so the
//! data plane can index without fear of what a peer wrote.

use serde::{Deserialize, Serialize};

use crate::error::InvalidValue;
use crate::id::{Mid, Rid, TrackId};

/// Bounds of one negotiation.
pub mod limits {
    /// Media lines of one peer connection: 25 audio and 49 video slots, and its own tracks.
    pub const MEDIA_LINES: usize = 96;
    /// Codecs kept for one line; Chromium offers 16 for video, of which few are supported.
    pub const CODECS_PER_LINE: usize = 16;
    /// Header extensions of one line; ids run to 14 in the one-byte form.
    pub const EXTENSIONS_PER_LINE: usize = 16;
    /// Simulcast layers of a track.
    pub const RIDS_PER_LINE: usize = 3;
    /// Declared SSRCs of a line: a primary and an RTX for each layer.
    pub const SSRCS_PER_LINE: usize = 6;
    /// Fingerprints a peer may offer.
    pub const FINGERPRINTS: usize = 4;
    /// ICE ufrag and password at most, RFC 8839 section 5.4.
    pub const ICE_TEXT: usize = 256;
    /// Shortest ICE ufrag: 24 random bits.
    pub const ICE_UFRAG_MIN: usize = 4;
    /// Shortest ICE password: 128 random bits.
    pub const ICE_PWD_MIN: usize = 22;
}

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

/// What a published line shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A person's camera.
    Camera,
    /// A person's microphone.
    Microphone,
    /// A shared screen or window.
    Screen,
    /// The sound that comes with a shared screen; never part of the speaker contest.
    ScreenAudio,
}

impl Source {
    /// The kind of media the source gives.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Camera | Self::Screen => Kind::Video,
            Self::Microphone | Self::ScreenAudio => Kind::Audio,
        }
    }
}

/// A codec this product forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// RFC 2198 with Opus in every block: each packet repeats the frames before it.
    Red,
    /// RFC 7741.
    Vp8,
    /// RFC 9628, profile 0.
    Vp9,
    /// RFC 6184, packetization mode 1.
    H264,
    /// RTP Payload Format for AV1, profile 0.
    Av1,
}

impl Codec {
    /// The kind of media it codes.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Opus | Self::Red => Kind::Audio,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => Kind::Video,
        }
    }

    /// RTP clock rate in Hz.
    #[must_use]
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Opus | Self::Red => 48_000,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => 90_000,
        }
    }
}

/// Feedback both sides agreed on for one payload type (RFC 4585, RFC 5104).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Feedback {
    /// Generic NACK.
    pub nack: bool,
    /// Picture loss indication.
    pub pli: bool,
    /// Full intra request.
    pub fir: bool,
    /// Transport-wide congestion control.
    pub transport_cc: bool,
    /// Receiver estimated maximum bitrate, only where transport-wide feedback is absent.
    pub remb: bool,
}

/// One codec of a line under the peer's payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodecParams {
    /// Payload type of the codec in this session.
    pub pt: u8,
    /// Payload type of its retransmissions (RFC 4588), if negotiated.
    #[serde(default)]
    pub rtx_pt: Option<u8>,
    /// Which codec.
    pub codec: Codec,
    /// H264's `profile-level-id` (24 bits); a receiver's must match in profile, not in level.
    #[serde(default)]
    pub h264_profile: Option<u32>,
    /// Agreed feedback.
    #[serde(default)]
    pub feedback: Feedback,
}

/// A header extension this product reads or writes (RFC 8285).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extension {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid`
    Mid,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id`
    Rid,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id`
    RepairedRid,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464)
    AudioLevel,
    /// Transport-wide sequence number, draft-holmer-rmcat-transport-wide-cc-extensions-01
    TransportCc,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`
    AbsSendTime,
    /// `urn:3gpp:video-orientation`
    VideoOrientation,
    /// Dependency descriptor (RTP Payload Format for AV1, appendix A)
    DependencyDescriptor,
}

impl Extension {
    /// Every extension, in a fixed order.
    pub const ALL: [Self; 8] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::AudioLevel,
        Self::TransportCc,
        Self::AbsSendTime,
        Self::VideoOrientation,
        Self::DependencyDescriptor,
    ];

    /// The URI that names it in `a=extmap`.
    #[must_use]
    pub fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::TransportCc => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::VideoOrientation => "urn:3gpp:video-orientation",
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
        }
    }

    /// The extension a URI names, if it is one of ours.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.uri() == uri)
    }
}

/// The id an extension has in this session; ids are per session, never global.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionParams {
    /// 1 to 14: the answer keeps to ids the one-byte form can carry.
    pub id: u8,
    /// What it means.
    pub extension: Extension,
}

/// An SSRC the peer declared for a line (`a=ssrc`, `a=ssrc-group:FID`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SsrcParams {
    /// The primary stream.
    pub ssrc: u32,
    /// Its retransmission stream, if paired.
    #[serde(default)]
    pub rtx: Option<u32>,
}

/// The publishing half of a line: what the peer sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishParams {
    /// The track's id for everybody.
    pub track: TrackId,
    /// What it shows.
    pub source: Source,
    /// Simulcast layers, in the order of the offer; empty for a single encoding.
    #[serde(default)]
    pub rids: Vec<Rid>,
    /// Declared SSRCs, in the order of the offer; may be empty.
    #[serde(default)]
    pub ssrcs: Vec<SsrcParams>,
    /// Whether the publisher says it is muted; a muted track is not forwarded.
    #[serde(default)]
    pub muted: bool,
}

/// One accepted media line. It may publish, be a slot that receives, or both (`sendrecv`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaLine {
    /// The line's id, the key of everything said about it later.
    pub mid: Mid,
    /// Audio or video.
    pub kind: Kind,
    /// Codecs in the answer's order, under the peer's payload types.
    pub codecs: Vec<CodecParams>,
    /// Extensions in the answer.
    pub extensions: Vec<ExtensionParams>,
    /// What the peer publishes on it.
    #[serde(default)]
    pub publish: Option<PublishParams>,
    /// Whether it is a slot: the server may send a track on it.
    #[serde(default)]
    pub slot: bool,
}

/// What a receiver wants to see of a track in one of its video slots. The default is the best that
/// the path carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotWish {
    /// The highest layer wanted; [`Layer::Auto`] sets no bound.
    pub layer: Layer,
    /// Widest useful picture in pixels, if it matters.
    #[serde(default)]
    pub max_width: Option<u16>,
    /// Highest useful picture in pixels, if it matters.
    #[serde(default)]
    pub max_height: Option<u16>,
    /// Most useful frames per second, if it matters.
    #[serde(default)]
    pub max_fps: Option<u8>,
    /// Who comes first when the path is short: higher before lower. People's pictures have
    /// [`SlotWish::PRIORITY`], a shared screen [`SlotWish::PRIORITY_SCREEN`].
    pub priority: u8,
}

impl SlotWish {
    /// An ordinary picture.
    pub const PRIORITY: u8 = 100;
    /// A shared screen: its text is why people look.
    pub const PRIORITY_SCREEN: u8 = 255;
}

impl Default for SlotWish {
    fn default() -> Self {
        Self {
            layer: Layer::Auto,
            max_width: None,
            max_height: None,
            max_fps: None,
            priority: Self::PRIORITY,
        }
    }
}

/// A layer of a track, by ascending measured resolution. With fewer than three layers a wish for a
/// missing one means the nearest lower, else the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(export))]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The smallest.
    Low,
    /// The middle one.
    Medium,
    /// The largest.
    High,
    /// Whatever bandwidth and window allow.
    Auto,
}

impl Layer {
    /// The name of the layer at `rank`, counted from the smallest.
    #[must_use]
    pub fn of_rank(rank: usize) -> Self {
        match rank {
            0 => Self::Low,
            1 => Self::Medium,
            _ => Self::High,
        }
    }

    /// The highest rank the wish allows.
    #[must_use]
    pub fn highest_rank(self) -> usize {
        match self {
            Self::Low => 0,
            Self::Medium => 1,
            Self::High | Self::Auto => usize::MAX,
        }
    }
}

/// A certificate's hash as in `a=fingerprint` (RFC 8122).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Only SHA-256 is used: every WebRTC endpoint must offer it (RFC 8827 section 5).
    pub sha256: [u8; 32],
}

/// The peer's half of the transport, shared by all lines (BUNDLE).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteTransport {
    /// The peer's ICE user fragment.
    pub ufrag: String,
    /// The peer's ICE password; a lite agent checks with its own, so this is kept for restarts.
    pub pwd: String,
    /// Certificates the peer may present.
    pub fingerprints: Vec<Fingerprint>,
}

/// Everything the data plane needs to know about one peer connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionParams {
    /// How to reach and to trust the peer.
    pub transport: RemoteTransport,
    /// Accepted lines in the order of the offer; refused ones are left out.
    pub lines: Vec<MediaLine>,
}

impl SessionParams {
    /// Checks every bound and every reference between the parts.
    ///
    /// # Errors
    /// The first field that is out of bounds, with what is allowed.
    pub fn validate(&self) -> Result<(), InvalidValue> {
        let transport = &self.transport;
        if !(limits::ICE_UFRAG_MIN..=limits::ICE_TEXT).contains(&transport.ufrag.len()) {
            return Err(InvalidValue::new(
                "transport.ufrag",
                "4 to 256 characters (RFC 8839 section 5.4)",
            ));
        }
        if !(limits::ICE_PWD_MIN..=limits::ICE_TEXT).contains(&transport.pwd.len()) {
            return Err(InvalidValue::new(
                "transport.pwd",
                "22 to 256 characters (RFC 8839 section 5.4)",
            ));
        }
        at_most(
            "transport.fingerprints",
            transport.fingerprints.len(),
            limits::FINGERPRINTS,
        )?;
        if transport.fingerprints.is_empty() {
            return Err(InvalidValue::new(
                "transport.fingerprints",
                "at least one sha-256 fingerprint",
            ));
        }
        at_most("lines", self.lines.len(), limits::MEDIA_LINES)?;
        for (index, line) in self.lines.iter().enumerate() {
            line.validate()?;
            if self.lines[..index].iter().any(|earlier| earlier.mid == line.mid) {
                return Err(InvalidValue::new(
                    "lines.mid",
                    format!("'{}' is used twice", line.mid),
                ));
            }
        }
        Ok(())
    }
}

impl MediaLine {
    fn validate(&self) -> Result<(), InvalidValue> {
        at_most("lines.codecs", self.codecs.len(), limits::CODECS_PER_LINE)?;
        at_most(
            "lines.extensions",
            self.extensions.len(),
            limits::EXTENSIONS_PER_LINE,
        )?;
        if self.codecs.is_empty() {
            return Err(InvalidValue::new("lines.codecs", "at least one codec"));
        }
        for codec in &self.codecs {
            // RFC 5761 section 4: 64 to 95 collide with RTCP packet types.
            let legal = |pt: u8| pt < 64 || (96..128).contains(&pt);
            if !legal(codec.pt) || codec.rtx_pt.is_some_and(|pt| !legal(pt)) {
                return Err(InvalidValue::new("lines.codecs.pt", "0 to 63 or 96 to 127"));
            }
            if codec.codec.kind() != self.kind {
                return Err(InvalidValue::new("lines.codecs", "codecs of the line's own kind"));
            }
        }
        if self
            .extensions
            .iter()
            .any(|extension| !(1..=14).contains(&extension.id))
        {
            return Err(InvalidValue::new("lines.extensions.id", "1 to 14"));
        }
        if let Some(publish) = &self.publish {
            at_most("lines.publish.rids", publish.rids.len(), limits::RIDS_PER_LINE)?;
            at_most("lines.publish.ssrcs", publish.ssrcs.len(), limits::SSRCS_PER_LINE)?;
            if publish.source.kind() != self.kind {
                return Err(InvalidValue::new(
                    "lines.publish.source",
                    "a source of the line's own kind",
                ));
            }
        }
        Ok(())
    }
}

fn at_most(field: &'static str, len: usize, max: usize) -> Result<(), InvalidValue> {
    if len > max {
        return Err(InvalidValue::new(field, format!("at most {max} entries")));
    }
    Ok(())
}

/// The server's half of a slot, fixed for the life of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotDescription {
    /// Which line.
    pub mid: Mid,
    /// The SSRC the server sends on.
    pub ssrc: u32,
    /// The SSRC of its retransmissions; video with RTX only.
    #[serde(default)]
    pub rtx_ssrc: Option<u32>,
}

/// The server's half of the session: what the answer is written from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDescription {
    /// ICE user fragment of the server for this session.
    pub ufrag: String,
    /// ICE password of the server for this session.
    pub pwd: String,
    /// The server's certificate.
    pub fingerprint: Fingerprint,
    /// UDP port of the core that owns the session.
    pub udp_port: u16,
    /// CNAME of everything the server sends (RFC 8834 section 4.9).
    pub cname: String,
    /// Slots in the order of the lines.
    pub slots: Vec<SlotDescription>,
}
