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
use super::offer::{Offer, OfferLine, OfferedCodec};

/// `profile_idc` and `profile-iop` of constrained baseline, which every browser codes.
const H264_CONSTRAINED_BASELINE: u32 = 0x42e0;

/// Of constrained high; taken by receivers, never asked of publishers.
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
        let lines: Vec<MediaLine> = self
            .lines
            .iter()
            .filter_map(|line| line.accept(rules, publish))
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
    fn accept(
        &self,
        rules: &Rules<'_>,
        publish: &mut dyn FnMut(&Mid, Kind) -> Option<PublishParams>,
    ) -> Option<MediaLine> {
        let kind = self.kind.filter(|_| self.usable)?;
        // Not asked before there is a codec: a refused line publishes nothing.
        let offered = self.supported(rules, kind);
        if offered.is_empty() {
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
        let slot = self.direction.receives() && rules.subscribe;
        let extensions = self.kept_extensions(kind, publishes, publish.as_ref());
        let twcc = extensions
            .iter()
            .any(|own| own.extension == Extension::TransportCc);
        let codecs = offered
            .into_iter()
            .filter(|(_, codec)| {
                // Everybody can decode what a publisher sends only if it sends the common profile.
                !publishes
                    || codec
                        .h264
                        .is_none_or(|h264| h264.profile_level_id >> 8 == H264_CONSTRAINED_BASELINE)
            })
            .map(|(codec, offered)| self.codec_params(codec, offered, publishes, slot, twcc))
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

    /// Codecs that are forwarded: in the operator's order, within it the offer's, for H264
    /// constrained baseline first.
    fn supported(&self, rules: &Rules<'_>, kind: Kind) -> Vec<(Codec, &OfferedCodec)> {
        let mut list = Vec::new();
        for codec in rules.codecs.iter().filter(|codec| codec.kind() == kind) {
            let start = list.len();
            list.extend(
                self.codecs
                    .iter()
                    .filter(|own| fits(*codec, own))
                    .map(|own| (*codec, own)),
            );
            list[start..].sort_by_key(|(_, own)| {
                own.h264
                    .is_some_and(|h264| h264.profile_level_id >> 8 != H264_CONSTRAINED_BASELINE)
            });
        }
        list
    }

    fn codec_params(
        &self,
        codec: Codec,
        offered: &OfferedCodec,
        publishes: bool,
        slot: bool,
        twcc: bool,
    ) -> CodecParams {
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
        let nack = offered.nack && (publishes || slot && rtx_pt.is_some());
        let transport_cc = publishes && offered.transport_cc && twcc;
        CodecParams {
            pt: offered.pt,
            rtx_pt: rtx_pt.filter(|_| nack),
            codec,
            h264_profile: offered.h264.map(|h264| h264.profile_level_id),
            feedback: Feedback {
                nack,
                pli: video && offered.pli,
                fir: video && offered.fir,
                transport_cc,
                remb: video && publishes && offered.remb && !transport_cc,
            },
        }
    }

    fn kept_extensions(
        &self,
        kind: Kind,
        publishes: bool,
        publish: Option<&PublishParams>,
    ) -> Vec<ExtensionParams> {
        let layers = publish.is_some_and(|publish| !publish.rids.is_empty());
        let offered = |wanted: Extension| {
            self.extensions.iter().find(|own| {
                own.uri == wanted.uri()
                    && (1..=ONE_BYTE_ID_MAX).contains(&own.id)
                    // An extension offered one way is of use on a line that goes that way.
                    && match own.direction {
                        None | Some(SdpAttributeDirection::Sendrecv) => true,
                        Some(SdpAttributeDirection::Sendonly) => publishes,
                        Some(SdpAttributeDirection::Recvonly) => !publishes,
                    }
            })
        };
        let twcc = offered(Extension::TransportCc).is_some();
        let mut kept: Vec<ExtensionParams> = Vec::new();
        for extension in Extension::ALL {
            let useful = match extension {
                Extension::Mid => true,
                Extension::Rid | Extension::RepairedRid => layers,
                Extension::AudioLevel => kind == Kind::Audio,
                Extension::TransportCc => publishes,
                // The arrival filter of REMB needs it; with transport-wide feedback it is dead weight.
                Extension::AbsSendTime => publishes && !twcc,
                Extension::VideoOrientation => kind == Kind::Video,
            };
            if let Some(own) = offered(extension).filter(|_| useful) {
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

fn fits(codec: Codec, offered: &OfferedCodec) -> bool {
    let (name, format) = match codec {
        Codec::Opus => ("opus", true),
        Codec::Red => ("red", true),
        Codec::Vp8 => ("vp8", true),
        // RFC 9628 section 6.1: absent means profile 0.
        Codec::Vp9 => ("vp9", offered.vp9_profile == 0),
        Codec::H264 => (
            "h264",
            offered.h264.is_some_and(|h264| {
                h264.packetization_mode == 1
                    && matches!(
                        h264.profile_level_id >> 8,
                        H264_CONSTRAINED_BASELINE | H264_CONSTRAINED_HIGH
                    )
            }),
        ),
    };
    offered.name == name && offered.clock_rate == codec.clock_rate() && format && legal_pt(offered.pt)
}

/// RFC 5761 section 4: 64 to 95 collide with RTCP packet types.
fn legal_pt(pt: u8) -> bool {
    pt < 64 || (96..128).contains(&pt)
}
