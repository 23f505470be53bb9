//! Decides what of an offer is accepted: codecs, extensions, feedback, lines.
//!
//! Only what the data plane forwards is kept, and only feedback that it gives: a codec or a line
//! of feedback in the answer is a promise.

use kall_shared::id::Mid;
use kall_shared::media::{
    Codec, CodecParams, Extension, ExtensionParams, Feedback, Kind, MediaLine, PublishParams, SessionParams,
    limits,
};
use webrtc_sdp::attribute_type::SdpAttributeDirection;

use super::SdpError;
use super::offer::{Direction, H264, Offer, OfferLine, OfferedCodec, OfferedExtension};

/// `profile_idc` and `profile-iop` of constrained baseline, which every browser codes.
const H264_CONSTRAINED_BASELINE: u32 = 0x42e0;

/// Of constrained high; taken by receivers, asked of publishers only while every receiver takes it.
const H264_CONSTRAINED_HIGH: u32 = 0x640c;

/// Highest id of a one-byte header extension (RFC 8285 section 4.2).
const ONE_BYTE_ID_MAX: u16 = 14;

/// What the operator and the participant's role allow.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// In the answer's order.
    pub codecs: &'a [Codec],
    /// Whether several layers are taken.
    pub simulcast: bool,
    /// Whether the participant may receive.
    pub subscribe: bool,
    /// Whether all who receive decode H264's constrained high profile.
    pub h264_high: bool,
}

/// Whether transport-wide feedback steers the rate of a direction. A line without it then gets no
/// REMB either: one direction has one master.
#[derive(Debug, Clone, Copy)]
struct TransportWide {
    up: bool,
    down: bool,
}

impl Offer {
    /// The parameters of this offer. `publish` names the track of a line that wants to send, or
    /// refuses it; its rids and SSRCs are filled in here.
    ///
    /// # Errors
    /// [`SdpError`] when nothing can be accepted.
    pub fn params(
        &self,
        rules: &Rules<'_>,
        publish: &mut dyn FnMut(&Mid, Kind) -> Option<PublishParams>,
    ) -> Result<SessionParams, SdpError> {
        let media = || {
            self.lines
                .iter()
                .filter(|line| line.usable && line.kind.is_some())
        };
        let transport_wide = TransportWide {
            up: media().any(|line| line.direction.sends() && line.transport_wide(true)),
            down: media()
                .any(|line| line.direction.receives() && line.transport_wide(line.direction.sends())),
        };
        let lines: Vec<MediaLine> = self
            .lines
            .iter()
            .filter_map(|line| line.accept(rules, transport_wide, self.extmap_allow_mixed, publish))
            .collect();
        if lines.is_empty() {
            return Err(SdpError::Session("no line with a codec that is forwarded here"));
        }
        if lines.len() > limits::MEDIA_LINES {
            return Err(SdpError::Session("more than 96 media lines"));
        }
        Ok(SessionParams {
            transport: self.transport().clone(),
            lines,
        })
    }
}

impl OfferLine {
    /// Whether the line offers transport-wide feedback and the extension that it is about.
    fn transport_wide(&self, publishes: bool) -> bool {
        self.codecs.iter().any(|codec| codec.transport_cc)
            && self.extension(Extension::TransportCc, publishes).is_some()
    }

    fn accept(
        &self,
        rules: &Rules<'_>,
        transport_wide: TransportWide,
        extmap_allow_mixed: bool,
        publish: &mut dyn FnMut(&Mid, Kind) -> Option<PublishParams>,
    ) -> Option<MediaLine> {
        let kind = self.kind.filter(|_| self.usable)?;
        // Not asked before there is a codec: a refused line publishes nothing.
        if self.supported(rules, kind, false).is_empty() {
            return None;
        }
        let publish = if self.direction.sends() {
            publish(&self.mid, kind)
        } else {
            None
        };
        let publish = publish.map(|publish| PublishParams {
            rids: if rules.simulcast {
                self.rids.clone()
            } else {
                Vec::new()
            },
            ssrcs: self.ssrcs.clone(),
            ..publish
        });
        let publishes = publish.is_some();
        // A line that rests keeps the layers it offers: without them its sender has one for good (RFC 8829
        // section 5.10), though it may go on with the next offer.
        let rests = self.direction == Direction::Inactive && rules.simulcast && !self.rids.is_empty();
        let slot = self.direction.receives() && rules.subscribe;
        let own = self.transport_wide(publishes);
        let supported = self.supported(rules, kind, publishes);
        let use_of = LineUse {
            publishes,
            slot,
            layers: rests || publish.as_ref().is_some_and(|publish| !publish.rids.is_empty()),
            // One with a structure takes the two-byte form, beside packets in the one-byte form; the session says
            // for all its lines whether they may mix (RFC 8285 section 6).
            descriptors: (extmap_allow_mixed || self.extmap_allow_mixed)
                && supported.iter().any(|(codec, _)| *codec == Codec::Av1),
            transport_cc: own && (publishes || slot),
            remb: !own
                && (publishes || slot)
                && !(publishes && transport_wide.up)
                && !(slot && transport_wide.down),
        };
        let extensions = self.kept_extensions(kind, use_of);
        let codecs = supported
            .into_iter()
            .map(|(codec, offered)| self.codec_params(codec, offered, use_of))
            .take(limits::CODECS_PER_LINE)
            .collect::<Vec<_>>();
        (!codecs.is_empty()).then(|| MediaLine {
            mid: self.mid.clone(),
            kind,
            codecs,
            extensions,
            publish,
            slot,
        })
    }

    /// Codecs that are forwarded: in the operator's order, within it the offer's. RED goes where Opus
    /// goes, after it, so that it is sent only by who chooses it.
    ///
    /// A publisher's H264 is constrained baseline, for everybody can decode what it sends only if it
    /// sends the common profile; constrained high comes first where all take it. A receiver's line
    /// has both.
    fn supported(&self, rules: &Rules<'_>, kind: Kind, publishes: bool) -> Vec<(Codec, &OfferedCodec)> {
        let mut list = Vec::new();
        for codec in rules.codecs.iter().filter(|codec| codec.kind() == kind) {
            let start = list.len();
            let fitting = self.codecs.iter().filter(|own| fits(*codec, own));
            list.extend(fitting.map(|own| (*codec, own)));
            if *codec == Codec::H264 {
                let high = |own: &OfferedCodec| {
                    own.h264
                        .is_some_and(|h264| h264_profile(h264) >> 8 == H264_CONSTRAINED_HIGH)
                };
                if publishes && !rules.h264_high {
                    list.retain(|(_, own)| !high(own));
                }
                // False sorts before true.
                list[start..].sort_by_key(|(_, own)| high(own) != (publishes && rules.h264_high));
            }
            if *codec == Codec::Opus {
                let opus: Vec<u8> = list[start..].iter().map(|(_, own)| own.pt).collect();
                let of_opus = |own: &&OfferedCodec| {
                    fits(Codec::Red, own) && own.blocks.iter().all(|pt| opus.contains(pt))
                };
                let red = self.codecs.iter().filter(of_opus);
                list.extend(red.map(|own| (Codec::Red, own)));
            }
        }
        list
    }

    fn codec_params(&self, codec: Codec, offered: &OfferedCodec, use_of: LineUse) -> CodecParams {
        let repairs = |own: &&OfferedCodec| {
            own.name == "rtx" && own.apt == Some(offered.pt) && own.clock_rate == offered.clock_rate
        };
        let video = codec.kind() == Kind::Video;
        let rtx_pt = self
            .codecs
            .iter()
            .find(repairs)
            .filter(|own| video && legal_pt(own.pt))
            .map(|own| own.pt);
        // Upstream every gap is asked for; downstream an answer to a NACK is a retransmission
        // stream of its own (RFC 4588), so without one nothing is promised.
        let nack = offered.nack && (use_of.publishes || use_of.slot && rtx_pt.is_some());
        CodecParams {
            pt: offered.pt,
            rtx_pt: rtx_pt.filter(|_| nack),
            codec,
            h264_profile: offered.h264.map(h264_profile),
            feedback: Feedback {
                nack,
                pli: video && offered.pli,
                fir: video && offered.fir,
                transport_cc: offered.transport_cc && use_of.transport_cc,
                remb: video && offered.remb && use_of.remb,
            },
        }
    }

    /// An extension of the offer that the one-byte form can carry, in a direction that the line has.
    fn extension(&self, wanted: Extension, publishes: bool) -> Option<&OfferedExtension> {
        self.extensions.iter().find(|own| {
            own.uri == wanted.uri()
                && (1..=ONE_BYTE_ID_MAX).contains(&own.id)
                && match own.direction {
                    None | Some(SdpAttributeDirection::Sendrecv) => true,
                    Some(SdpAttributeDirection::Sendonly) => publishes,
                    Some(SdpAttributeDirection::Recvonly) => !publishes,
                }
        })
    }

    fn kept_extensions(&self, kind: Kind, use_of: LineUse) -> Vec<ExtensionParams> {
        let mut kept: Vec<ExtensionParams> = Vec::new();
        for extension in Extension::ALL {
            let useful = match extension {
                Extension::Mid => true,
                // On a slot they carry nothing, but a browser that joined without a camera leaves out of its later
                // offers what no answer has taken before, and then refuses its own offer of several layers.
                Extension::Rid | Extension::RepairedRid => {
                    use_of.layers || (use_of.slot && kind == Kind::Video)
                }
                Extension::AudioLevel => kind == Kind::Audio,
                Extension::TransportCc => use_of.transport_cc,
                // The arrival filter of REMB needs it; with transport-wide feedback it is dead weight.
                Extension::AbsSendTime => use_of.remb,
                Extension::VideoOrientation => kind == Kind::Video,
                Extension::DependencyDescriptor => use_of.descriptors,
            };
            if let Some(own) = self.extension(extension, use_of.publishes).filter(|_| useful) {
                // The range was checked above.
                let id = own.id as u8;
                if !kept.iter().any(|earlier| earlier.id == id) {
                    kept.push(ExtensionParams { id, extension });
                }
            }
        }
        kept
    }
}

/// What an accepted line is for, and what tells how its packets arrive.
#[derive(Debug, Clone, Copy)]
struct LineUse {
    publishes: bool,
    slot: bool,
    /// Whether it publishes several layers.
    layers: bool,
    /// Whether dependency descriptors come with one of its codecs.
    descriptors: bool,
    transport_cc: bool,
    remb: bool,
}

/// Whether every video slot takes H264's constrained high profile; none without video slots.
#[must_use]
pub fn takes_h264_high(params: &SessionParams) -> Option<bool> {
    let mut slots = params
        .lines
        .iter()
        .filter(|line| line.slot && line.kind == Kind::Video)
        .peekable();
    slots.peek()?;
    Some(slots.all(has_h264_high))
}

/// Whether the participant was told that it may publish H264's constrained high profile.
#[must_use]
pub fn publishes_h264_high(params: &SessionParams) -> bool {
    let mut publications = params.lines.iter().filter(|line| line.publish.is_some());
    publications.any(has_h264_high)
}

fn has_h264_high(line: &MediaLine) -> bool {
    let profiles = line.codecs.iter().filter_map(|codec| codec.h264_profile);
    profiles
        .map(|profile| profile >> 8)
        .any(|profile| profile == H264_CONSTRAINED_HIGH)
}

fn fits(codec: Codec, offered: &OfferedCodec) -> bool {
    let (name, format) = match codec {
        Codec::Opus => ("opus", true),
        Codec::Red => ("red", !offered.blocks.is_empty()),
        Codec::Vp8 => ("vp8", true),
        // RFC 9628 section 6.1: absent means profile 0.
        Codec::Vp9 => ("vp9", offered.vp9_profile == 0),
        Codec::Av1 => ("av1", offered.av1.profile == 0),
        Codec::H264 => (
            "h264",
            offered.h264.is_some_and(|h264| {
                h264.packetization_mode == 1
                    && matches!(
                        h264_profile(h264) >> 8,
                        H264_CONSTRAINED_BASELINE | H264_CONSTRAINED_HIGH
                    )
            }),
        ),
    };
    offered.name == name && offered.clock_rate == codec.clock_rate() && format && legal_pt(offered.pt)
}

/// `profile-level-id`, with constrained baseline in its usual form: encoders write whatever their parameter
/// sets say, and some profiles have several names (RFC 6184 section 8.1, table 5).
fn h264_profile(h264: H264) -> u32 {
    let [_, idc, iop, level] = h264.profile_level_id.to_be_bytes();
    let constrained_baseline = match idc {
        0x42 => iop & 0x4f == 0x40,
        0x4d => iop & 0x8f == 0x80,
        0x58 => iop & 0xcf == 0xc0,
        _ => false,
    };
    if constrained_baseline {
        H264_CONSTRAINED_BASELINE << 8 | u32::from(level)
    } else {
        h264.profile_level_id
    }
}

/// RFC 5761 section 4: 64 to 95 collide with RTCP packet types.
fn legal_pt(pt: u8) -> bool {
    pt < 64 || (96..128).contains(&pt)
}
