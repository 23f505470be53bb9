//! What is kept of an offer, line by line. Nothing is decided here but what can't be understood.

use std::collections::BTreeSet;

use kall_shared::id::{Mid, Rid};
use kall_shared::media::{Fingerprint, Kind, RemoteTransport, SsrcParams, limits};
use webrtc_sdp::SdpSession;
use webrtc_sdp::attribute_type::{
    RtxFmtpParameters, SdpAttribute, SdpAttributeDirection, SdpAttributeExtmap, SdpAttributeFingerprint,
    SdpAttributeFingerprintHashType, SdpAttributeFmtp, SdpAttributeFmtpParameters, SdpAttributeGroupSemantic,
    SdpAttributePayloadType, SdpAttributeRtcpFb, SdpAttributeRtpmap, SdpAttributeSetup, SdpAttributeType,
    SdpSingleDirection, SdpSsrcGroupSemantic,
};
use webrtc_sdp::media_type::{SdpFormatList, SdpMedia, SdpMediaValue};

use super::{SdpError, grammar};

/// Blocks of a RED packet that are looked at: browsers offer two, and repeat at most nine.
const RED_BLOCKS_MAX: usize = 10;

/// Where media flows, from the offerer's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `a=sendrecv`, and no direction at all.
    SendRecv,
    /// `a=sendonly`
    SendOnly,
    /// `a=recvonly`
    RecvOnly,
    /// `a=inactive`
    Inactive,
}

impl Direction {
    pub(super) fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    pub(super) fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// One m-line.
#[derive(Debug, Clone)]
pub struct OfferLine {
    pub(super) mid: Mid,
    /// None: nothing this product carries.
    pub(super) kind: Option<Kind>,
    /// `m=` words, for mirroring a line that is refused.
    pub(super) media: String,
    pub(super) proto: String,
    pub(super) first_format: String,
    pub(super) direction: Direction,
    /// Not refused by the offerer, and part of the bundle.
    pub(super) usable: bool,
    pub(super) codecs: Vec<OfferedCodec>,
    pub(super) extensions: Vec<OfferedExtension>,
    pub(super) rids: Vec<Rid>,
    pub(super) ssrcs: Vec<SsrcParams>,
    pub(super) extmap_allow_mixed: bool,
}

/// One payload type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OfferedCodec {
    pub(super) pt: u8,
    /// In small letters.
    pub(super) name: String,
    pub(super) clock_rate: u32,
    pub(super) h264: Option<H264>,
    pub(super) vp9_profile: u8,
    pub(super) av1: Av1,
    /// RTX: the payload type it repairs.
    pub(super) apt: Option<u8>,
    /// RED: the payload types of its blocks (RFC 2198 section 5), newest first.
    pub(super) blocks: Vec<u8>,
    pub(super) nack: bool,
    pub(super) pli: bool,
    pub(super) fir: bool,
    pub(super) transport_cc: bool,
    pub(super) remb: bool,
}

/// RFC 6184 section 8.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct H264 {
    pub(super) packetization_mode: u32,
    pub(super) profile_level_id: u32,
}

/// RTP Payload Format for AV1 section 7.2: what is absent is the smallest that makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Av1 {
    pub(super) profile: u8,
    pub(super) level_idx: u8,
    pub(super) tier: u8,
}

impl Default for Av1 {
    fn default() -> Self {
        Self {
            profile: 0,
            level_idx: 5,
            tier: 0,
        }
    }
}

/// One `a=extmap`.
#[derive(Debug, Clone)]
pub(super) struct OfferedExtension {
    pub(super) id: u16,
    pub(super) uri: String,
    pub(super) direction: Option<SdpAttributeDirection>,
}

/// A checked offer.
#[derive(Debug, Clone)]
pub struct Offer {
    session_id: u64,
    transport: RemoteTransport,
    pub(super) extmap_allow_mixed: bool,
    pub(super) lines: Vec<OfferLine>,
}

impl Offer {
    /// Reads and checks the text.
    ///
    /// # Errors
    /// [`SdpError`] with the line and the reason.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        if text.len() > kall_shared::signalling::limits::SDP {
            return Err(SdpError::TooLong);
        }
        let session = grammar::parse(text)?;
        let bundle = bundle(&session);
        let mut lines = Vec::with_capacity(session.media.len());
        let mut transport = None;
        for (index, media) in session.media.iter().enumerate() {
            let line = line(&session, media, index, bundle)?;
            // RFC 5888 section 4. A refused line keeps its mid, and is told from an accepted one by it.
            if lines.iter().any(|earlier: &OfferLine| earlier.mid == line.mid) {
                return Err(fault(&line.mid, "its mid is used twice"));
            }
            if line.usable && line.kind.is_some() && transport.is_none() {
                transport = Some(remote_transport(&session, media, &line.mid)?);
            }
            lines.push(line);
        }
        let transport = transport.ok_or(SdpError::Session("no audio or video line that can be used"))?;
        Ok(Self {
            session_id: session.get_origin().session_id,
            transport,
            extmap_allow_mixed: session
                .get_attribute(SdpAttributeType::ExtmapAllowMixed)
                .is_some(),
            lines,
        })
    }

    /// The session id of the `o=` line: one per peer connection (RFC 8829 section 5.2.1).
    #[must_use]
    pub fn session_id(&self) -> u64 {
        self.session_id
    }

    /// How to reach and to trust the peer.
    #[must_use]
    pub fn transport(&self) -> &RemoteTransport {
        &self.transport
    }
}

/// Mids of the BUNDLE group (RFC 9143), if there is one.
fn bundle(session: &SdpSession) -> Option<&[String]> {
    session.attribute.iter().find_map(|attribute| match attribute {
        SdpAttribute::Group(group) if matches!(group.semantics, SdpAttributeGroupSemantic::Bundle) => {
            Some(group.tags.as_slice())
        }
        _ => None,
    })
}

fn line(
    session: &SdpSession,
    media: &SdpMedia,
    index: usize,
    bundle: Option<&[String]>,
) -> Result<OfferLine, SdpError> {
    let mid = match media.get_attribute(SdpAttributeType::Mid) {
        Some(SdpAttribute::Mid(mid)) => {
            Mid::new(mid.as_str()).map_err(|_| fault(mid, "a mid is 1 to 16 token characters"))?
        }
        _ => return Err(fault(&index, "no mid")),
    };
    let kind = match media.get_type() {
        SdpMediaValue::Audio => Some(Kind::Audio),
        SdpMediaValue::Video => Some(Kind::Video),
        SdpMediaValue::Application | SdpMediaValue::Unknown(_) => None,
    };
    let has = |kind: SdpAttributeType| media.get_attribute(kind).is_some();
    let bundled = match bundle {
        Some(mids) => mids.iter().any(|tag| tag == mid.as_str()),
        // Without a group there is one transport per line, and one is all there is here.
        None => index == 0,
    };
    // Port 0 refuses a line, unless it is there only for the bundle (RFC 9143 section 7.1.3).
    let offered = media.get_port() != 0 || has(SdpAttributeType::BundleOnly);
    if offered && bundled && kind.is_some() && !has(SdpAttributeType::RtcpMux) {
        return Err(fault(&mid, "no rtcp-mux, RTP and RTCP share one port here"));
    }
    let mut line = OfferLine {
        kind,
        media: media.get_type().to_string(),
        proto: media.get_proto().to_string(),
        first_format: first_format(media.get_formats()),
        direction: direction(session, media),
        usable: offered && bundled,
        codecs: Vec::new(),
        extensions: Vec::new(),
        rids: Vec::new(),
        ssrcs: Vec::new(),
        extmap_allow_mixed: has(SdpAttributeType::ExtmapAllowMixed),
        mid,
    };
    if kind.is_some() {
        line.read_attributes(media);
        line.read_layers(media);
    }
    Ok(line)
}

impl OfferLine {
    fn read_attributes(&mut self, media: &SdpMedia) {
        let listed: &[u32] = match media.get_formats() {
            SdpFormatList::Integers(list) => list,
            SdpFormatList::Strings(_) | SdpFormatList::Unknown(_) => &[],
        };
        let mut feedback = Vec::new();
        let mut formats = Vec::new();
        for attribute in media.get_attributes() {
            match attribute {
                SdpAttribute::Rtpmap(map) => self.add_codec(map),
                SdpAttribute::Fmtp(fmtp) => formats.push(fmtp),
                SdpAttribute::Rtcpfb(line) => feedback.push(line),
                SdpAttribute::Extmap(map) => self.add_extension(map),
                SdpAttribute::Ssrc(ssrc) => self.add_ssrc(ssrc.id),
                _ => {}
            }
        }
        // RFC 8866 section 5.14: what the m= line does not list is not offered, and its order is
        // the offerer's preference.
        let place = |codec: &OfferedCodec| listed.iter().position(|pt| *pt == u32::from(codec.pt));
        self.codecs.retain(|codec| place(codec).is_some());
        self.codecs.sort_by_key(place);
        for fmtp in formats {
            self.add_format(fmtp);
        }
        for line in feedback {
            self.add_feedback(line);
        }
        for attribute in media.get_attributes() {
            if let SdpAttribute::SsrcGroup(SdpSsrcGroupSemantic::FlowIdentification, pair) = attribute
                && let [primary, repair, ..] = pair.as_slice()
            {
                self.pair_ssrcs(primary.id, repair.id);
            }
        }
        self.ssrcs.truncate(limits::SSRCS_PER_LINE);
    }

    /// A payload type has one meaning: the first that is given.
    fn add_codec(&mut self, map: &SdpAttributeRtpmap) {
        if self.codecs.iter().any(|codec| codec.pt == map.payload_type) {
            return;
        }
        self.codecs.push(OfferedCodec {
            pt: map.payload_type,
            name: map.codec_name.to_ascii_lowercase(),
            clock_rate: map.frequency,
            h264: None,
            vp9_profile: 0,
            av1: Av1::default(),
            apt: None,
            blocks: Vec::new(),
            nack: false,
            pli: false,
            fir: false,
            transport_cc: false,
            remb: false,
        });
    }

    fn add_format(&mut self, fmtp: &SdpAttributeFmtp) {
        let SdpAttributeFmtpParameters {
            packetization_mode,
            profile_level_id,
            profile,
            level_idx,
            tier,
            rtx,
            encodings,
            unknown_tokens,
            ..
        } = &fmtp.parameters;
        let codec = self.codecs.iter_mut().find(|codec| codec.pt == fmtp.payload_type);
        if let Some(codec) = codec {
            match codec.name.as_str() {
                "rtx" => codec.apt = rtx.as_ref().map(|RtxFmtpParameters { apt, .. }| *apt),
                "red" => codec.blocks = encodings.iter().copied().take(RED_BLOCKS_MAX).collect(),
                "h264" => {
                    codec.h264 = Some(H264 {
                        packetization_mode: *packetization_mode,
                        profile_level_id: *profile_level_id,
                    });
                }
                "av1" => {
                    let default = Av1::default();
                    codec.av1 = Av1 {
                        profile: profile.unwrap_or(default.profile),
                        level_idx: level_idx.unwrap_or(default.level_idx),
                        tier: tier.unwrap_or(default.tier),
                    };
                }
                "vp9" => {
                    let profile = unknown_tokens
                        .iter()
                        .flat_map(|token| token.split(';'))
                        .find_map(|token| token.trim().strip_prefix("profile-id="));
                    // What can't be read is no profile 0.
                    codec.vp9_profile = profile.map_or(0, |text| text.parse().unwrap_or(u8::MAX));
                }
                _ => {}
            }
        }
    }

    fn add_feedback(&mut self, line: &SdpAttributeRtcpFb) {
        use webrtc_sdp::attribute_type::SdpAttributeRtcpFbType as Type;
        for codec in &mut self.codecs {
            let meant = match line.payload_type {
                SdpAttributePayloadType::PayloadType(pt) => pt == codec.pt,
                SdpAttributePayloadType::Wildcard => true,
            };
            if meant {
                match (&line.feedback_type, line.parameter.as_str()) {
                    (Type::Nack, "") => codec.nack = true,
                    (Type::Nack, "pli") => codec.pli = true,
                    (Type::Ccm, "fir") => codec.fir = true,
                    (Type::TransCc, _) => codec.transport_cc = true,
                    (Type::Remb, _) => codec.remb = true,
                    _ => {}
                }
            }
        }
    }

    fn add_extension(&mut self, map: &SdpAttributeExtmap) {
        self.extensions.push(OfferedExtension {
            id: map.id,
            uri: map.url.clone(),
            direction: map.direction.clone(),
        });
    }

    fn add_ssrc(&mut self, ssrc: u32) {
        let known = self.ssrcs.iter().any(|own| own.ssrc == ssrc);
        // Twice the bound: repair streams are folded into their primaries afterwards.
        if !known && self.ssrcs.len() < 2 * limits::SSRCS_PER_LINE {
            self.ssrcs.push(SsrcParams { ssrc, rtx: None });
        }
    }

    fn pair_ssrcs(&mut self, primary: u32, repair: u32) {
        if let Some(own) = self.ssrcs.iter_mut().find(|own| own.ssrc == primary) {
            own.rtx = Some(repair);
            self.ssrcs.retain(|own| own.ssrc != repair);
        }
    }

    /// Simulcast layers in the order of the offer (RFC 8853): of alternatives the first, a leading
    /// `~` (paused) makes no difference, and only what `a=rid` declares.
    fn read_layers(&mut self, media: &SdpMedia) {
        let declared: BTreeSet<&str> = media
            .get_attributes()
            .iter()
            .filter_map(|attribute| match attribute {
                SdpAttribute::Rid(rid) if matches!(rid.direction, SdpSingleDirection::Send) => {
                    Some(rid.id.as_str())
                }
                _ => None,
            })
            .collect();
        let Some(SdpAttribute::Simulcast(simulcast)) = media.get_attribute(SdpAttributeType::Simulcast)
        else {
            return;
        };
        let layers = simulcast.send.iter().filter_map(|version| version.ids.first());
        for layer in layers.filter(|layer| declared.contains(layer.id.as_str())) {
            if let Ok(rid) = Rid::new(layer.id.as_str())
                && !self.rids.contains(&rid)
                && self.rids.len() < limits::RIDS_PER_LINE
            {
                self.rids.push(rid);
            }
        }
    }
}

/// A media line's own direction, else the session's, else both ways (RFC 8866 section 6.7).
fn direction(session: &SdpSession, media: &SdpMedia) -> Direction {
    let read = |attribute: &SdpAttribute| match attribute {
        SdpAttribute::Sendrecv => Some(Direction::SendRecv),
        SdpAttribute::Sendonly => Some(Direction::SendOnly),
        SdpAttribute::Recvonly => Some(Direction::RecvOnly),
        SdpAttribute::Inactive => Some(Direction::Inactive),
        _ => None,
    };
    let own = media.get_attributes().iter().find_map(read);
    own.or_else(|| session.attribute.iter().find_map(read))
        .unwrap_or(Direction::SendRecv)
}

fn first_format(formats: &SdpFormatList) -> String {
    match formats {
        SdpFormatList::Integers(list) => list.first().map(u32::to_string),
        SdpFormatList::Strings(list) => list.first().cloned(),
        SdpFormatList::Unknown(text) => text.split_whitespace().next().map(str::to_owned),
    }
    .unwrap_or_else(|| "0".to_owned())
}

/// The transport of the first line of the bundle, its attributes being those of all lines.
fn remote_transport(session: &SdpSession, media: &SdpMedia, mid: &Mid) -> Result<RemoteTransport, SdpError> {
    let find = |kind: SdpAttributeType| {
        let own = media.get_attribute(kind.clone());
        own.or_else(|| session.get_attribute(kind))
    };
    let Some(SdpAttribute::IceUfrag(ufrag)) = find(SdpAttributeType::IceUfrag) else {
        return Err(fault(mid, "no ice-ufrag"));
    };
    let Some(SdpAttribute::IcePwd(pwd)) = find(SdpAttributeType::IcePwd) else {
        return Err(fault(mid, "no ice-pwd"));
    };
    if !(limits::ICE_UFRAG_MIN..=limits::ICE_TEXT).contains(&ufrag.len()) {
        return Err(fault(mid, "ice-ufrag must have 4 to 256 characters"));
    }
    if !(limits::ICE_PWD_MIN..=limits::ICE_TEXT).contains(&pwd.len()) {
        return Err(fault(mid, "ice-pwd must have 22 to 256 characters"));
    }
    if let Some(SdpAttribute::Setup(SdpAttributeSetup::Passive | SdpAttributeSetup::Holdconn)) =
        find(SdpAttributeType::Setup)
    {
        return Err(fault(
            mid,
            "setup must be actpass or active, the server is the DTLS server",
        ));
    }
    let own: Vec<_> = fingerprints(media.get_attributes());
    let fingerprints = if own.is_empty() {
        fingerprints(&session.attribute)
    } else {
        own
    };
    if fingerprints.is_empty() {
        return Err(fault(mid, "no sha-256 fingerprint"));
    }
    Ok(RemoteTransport {
        ufrag: ufrag.clone(),
        pwd: pwd.clone(),
        fingerprints,
    })
}

fn fingerprints(attributes: &[SdpAttribute]) -> Vec<Fingerprint> {
    attributes
        .iter()
        .filter_map(|attribute| match attribute {
            SdpAttribute::Fingerprint(SdpAttributeFingerprint {
                hash_algorithm: SdpAttributeFingerprintHashType::Sha256,
                fingerprint,
            }) => Some(Fingerprint {
                sha256: fingerprint.as_slice().try_into().ok()?,
            }),
            _ => None,
        })
        .take(limits::FINGERPRINTS)
        .collect()
}

fn fault(line: &impl ToString, reason: &'static str) -> SdpError {
    SdpError::Line {
        line: line.to_string(),
        reason,
    }
}
