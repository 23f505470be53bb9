//! Writes the answer: every line of the offer mirrored, from the accepted parameters and the data
//! plane's half. RFC 8829 section 5.3, RFC 9143 for the bundle, RFC 8839 for ICE lite.

use std::fmt::Write as _;
use std::net::IpAddr;

use kall_shared::media::{
    Codec, CodecParams, Extension, ExtensionParams, MediaLine, SessionDescription, SessionParams,
    SlotDescription, Source,
};
use webrtc_sdp::attribute_type::SdpAttributeDirection;

use super::candidates::CANDIDATES_MAX;
use super::offer::{Av1, Offer, OfferLine};

/// What the answer says beyond the negotiated parameters.
#[derive(Debug, Clone)]
pub struct AnswerSettings {
    /// Candidates, best first.
    pub addresses: Vec<IpAddr>,
    /// Port of ICE over TCP at the same addresses, if the data plane has one.
    pub tcp_port: Option<u16>,
    /// Version of the `o=` line: rises with each answer.
    pub version: u32,
    /// Runs of ICE that the session had before this one.
    pub run: u32,
    /// For cameras, in bit/s.
    pub max_bitrate: u32,
    /// For screens, in bit/s.
    pub screen_share_bitrate: u32,
    /// 2 asks publishers for stereo.
    pub audio_channels: u8,
}

/// The answer's text.
#[must_use]
pub fn answer(
    offer: &Offer,
    params: &SessionParams,
    description: &SessionDescription,
    settings: &AnswerSettings,
) -> String {
    let mut writer = Writer {
        text: String::with_capacity(1024 + offer.lines.len() * 768),
        params,
        description,
        settings,
        candidates_written: false,
    };
    writer.session(offer);
    for line in &offer.lines {
        match params
            .lines
            .iter()
            .find(|accepted| accepted.mid == line.mid && line.kind == Some(accepted.kind))
        {
            Some(accepted) => writer.line(line, accepted),
            None => writer.refused(line),
        }
    }
    writer.text
}

struct Writer<'a> {
    text: String,
    params: &'a SessionParams,
    description: &'a SessionDescription,
    settings: &'a AnswerSettings,
    candidates_written: bool,
}

/// One line with its end. Writing to a string can't fail.
macro_rules! put {
    ($writer:expr, $($format:tt)*) => {{
        let _ = write!($writer.text, $($format)*);
        $writer.text.push_str("\r\n");
    }};
}

impl Writer<'_> {
    fn session(&mut self, offer: &Offer) {
        put!(self, "v=0");
        put!(
            self,
            "o=- {} {} IN IP4 127.0.0.1",
            offer.session_id(),
            self.settings.version
        );
        put!(self, "s=-");
        put!(self, "t=0 0");
        let mids: Vec<&str> = self.params.lines.iter().map(|line| line.mid.as_str()).collect();
        put!(self, "a=group:BUNDLE {}", mids.join(" "));
        put!(self, "a=ice-lite");
        if offer.extmap_allow_mixed {
            put!(self, "a=extmap-allow-mixed");
        }
        put!(self, "a=msid-semantic: WMS *");
    }

    /// RFC 8829 section 5.3.1: a refused line keeps its place with port 0, outside the bundle.
    fn refused(&mut self, line: &OfferLine) {
        put!(self, "m={} 0 {} {}", line.media, line.proto, line.first_format);
        put!(self, "c=IN IP4 0.0.0.0");
        put!(self, "a=mid:{}", line.mid);
        put!(self, "a=inactive");
    }

    fn line(&mut self, offered: &OfferLine, line: &MediaLine) {
        let mut formats = Vec::new();
        for codec in &line.codecs {
            formats.push(codec.pt.to_string());
            formats.extend(codec.rtx_pt.map(|pt| pt.to_string()));
        }
        put!(
            self,
            "m={} 9 {} {}",
            offered.media,
            offered.proto,
            formats.join(" ")
        );
        put!(self, "c=IN IP4 0.0.0.0");
        self.bandwidth(line);
        put!(self, "a=mid:{}", line.mid);
        let slot = self
            .description
            .slots
            .iter()
            .find(|slot| slot.mid == line.mid && line.slot);
        put!(
            self,
            "a={}",
            match (line.publish.is_some(), slot.is_some()) {
                (true, true) => "sendrecv",
                (true, false) => "recvonly",
                (false, true) => "sendonly",
                (false, false) => "inactive",
            }
        );
        put!(self, "a=rtcp-mux");
        put!(self, "a=rtcp-rsize");
        self.transport();
        if offered.extmap_allow_mixed {
            put!(self, "a=extmap-allow-mixed");
        }
        for extension in &line.extensions {
            put!(
                self,
                "a=extmap:{}{} {}",
                extension.id,
                mirrored(offered, extension),
                extension.extension.uri()
            );
        }
        for codec in &line.codecs {
            self.codec(offered, codec);
        }
        self.layers(offered, line);
        if let Some(slot) = slot {
            self.slot(slot);
        }
    }

    /// RFC 3890: what a publisher may send, transport overhead left out.
    fn bandwidth(&mut self, line: &MediaLine) {
        match line.publish.as_ref().map(|publish| publish.source) {
            Some(Source::Camera) => put!(self, "b=TIAS:{}", self.settings.max_bitrate),
            Some(Source::Screen) => put!(self, "b=TIAS:{}", self.settings.screen_share_bitrate),
            _ => {}
        }
    }

    fn transport(&mut self) {
        let description = self.description;
        put!(self, "a=ice-ufrag:{}", description.ufrag);
        put!(self, "a=ice-pwd:{}", description.pwd);
        let hex: Vec<String> = description
            .fingerprint
            .sha256
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        put!(self, "a=fingerprint:sha-256 {}", hex.join(":"));
        put!(self, "a=setup:passive");
        // The bundle has one transport: its candidates belong to its first line.
        if !self.candidates_written {
            self.candidates_written = true;
            self.candidates();
        }
    }

    fn candidates(&mut self) {
        let settings = self.settings;
        for line in candidate_lines(
            &settings.addresses,
            self.description.udp_port,
            settings.tcp_port,
            settings.run,
        ) {
            put!(self, "{line}");
        }
        put!(self, "a=end-of-candidates");
    }

    fn codec(&mut self, offered: &OfferLine, codec: &CodecParams) {
        let pt = codec.pt;
        match codec.codec {
            Codec::Opus => {
                put!(self, "a=rtpmap:{pt} opus/48000/2");
                // RFC 7587 section 7.1: what we would like to receive. Discontinuous transmission is
                // not asked for: only the loudest are forwarded, so it would save little, and its
                // gaps take away the levels that the choice among speakers rests on.
                let stereo = if self.settings.audio_channels == 2 {
                    "stereo=1;sprop-stereo=1;maxaveragebitrate=128000"
                } else {
                    "stereo=0"
                };
                put!(self, "a=fmtp:{pt} minptime=10;useinbandfec=1;{stereo}");
            }
            Codec::Red => {
                put!(self, "a=rtpmap:{pt} red/48000/2");
                // RFC 2198 section 5: the payload types of the blocks, as offered.
                let blocks = offered.codecs.iter().find(|own| own.pt == pt);
                let blocks: Vec<String> = blocks
                    .iter()
                    .flat_map(|own| &own.blocks)
                    .map(u8::to_string)
                    .collect();
                put!(self, "a=fmtp:{pt} {}", blocks.join("/"));
            }
            Codec::Vp8 => put!(self, "a=rtpmap:{pt} VP8/90000"),
            Codec::Vp9 => {
                put!(self, "a=rtpmap:{pt} VP9/90000");
                put!(self, "a=fmtp:{pt} profile-id=0");
            }
            Codec::Av1 => {
                put!(self, "a=rtpmap:{pt} AV1/90000");
                // The peer's own level: a receiver of ours is another browser.
                let own = offered.codecs.iter().find(|own| own.pt == pt).map(|own| own.av1);
                let Av1 {
                    profile,
                    level_idx,
                    tier,
                } = own.unwrap_or_default();
                put!(
                    self,
                    "a=fmtp:{pt} level-idx={level_idx};profile={profile};tier={tier}"
                );
            }
            Codec::H264 => {
                put!(self, "a=rtpmap:{pt} H264/90000");
                // The profile by the name the client has for it.
                let own = offered.codecs.iter().find(|own| own.pt == pt);
                let profile = own.and_then(|own| own.h264).map(|h264| h264.profile_level_id);
                let profile = profile.or(codec.h264_profile).unwrap_or(0x42_e01f);
                put!(
                    self,
                    "a=fmtp:{pt} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile:06x}"
                );
            }
        }
        let feedback = codec.feedback;
        for (given, words) in [
            (feedback.transport_cc, "transport-cc"),
            (feedback.remb, "goog-remb"),
            (feedback.fir, "ccm fir"),
            (feedback.nack, "nack"),
            (feedback.pli, "nack pli"),
        ] {
            if given {
                put!(self, "a=rtcp-fb:{pt} {words}");
            }
        }
        if let Some(rtx) = codec.rtx_pt {
            put!(self, "a=rtpmap:{rtx} rtx/90000");
            put!(self, "a=fmtp:{rtx} apt={pt}");
        }
    }

    /// RFC 8853 section 5.3: the same rids, received.
    fn layers(&mut self, offered: &OfferLine, line: &MediaLine) {
        let rids = match &line.publish {
            Some(publish) => &publish.rids,
            None if line.extensions.iter().any(|own| own.extension == Extension::Rid) => &offered.rids,
            None => return,
        };
        if rids.is_empty() {
            return;
        }
        for rid in rids {
            put!(self, "a=rid:{rid} recv");
        }
        let rids: Vec<&str> = rids.iter().map(kall_shared::id::Rid::as_str).collect();
        put!(self, "a=simulcast:recv {}", rids.join(";"));
    }

    /// A slot has a stream of its own: its occupant changes, its SSRCs do not.
    fn slot(&mut self, slot: &SlotDescription) {
        let cname = &self.description.cname;
        put!(self, "a=msid:slot-{0} slot-{0}", slot.mid);
        if let Some(rtx) = slot.rtx_ssrc {
            put!(self, "a=ssrc-group:FID {} {rtx}", slot.ssrc);
        }
        put!(self, "a=ssrc:{} cname:{cname}", slot.ssrc);
        if let Some(rtx) = slot.rtx_ssrc {
            put!(self, "a=ssrc:{rtx} cname:{cname}");
        }
    }
}

/// Type preference of the candidates, all of which are host candidates (RFC 8445 section 5.1.2.1): below those of a
/// peer's addresses, so that a pair's priority is ours (section 6.1.2.3), and above those of its relays, which so keep
/// their place behind every direct way.
const TYPE_PREFERENCE: u32 = 64;

/// Most runs of ICE that are told apart by their priorities. Later ones are as good as the last of them.
const RUNS_MAX: u32 = 1 << 10;

/// Priority of the candidate with this index in run number `run`.
///
/// Any candidate of a run stands above all of the run before, as nobody restarts what works: libwebrtc moves to the pair
/// with the highest priority that answers, and from one that fell silent to a lower one only after 3.5 s.
fn priority(run: u32, udp: bool, index: usize) -> u32 {
    const { assert!(CANDIDATES_MAX <= 1 << 5) };
    // RFC 6544 section 4.2: those of TCP below every one of UDP; then our order.
    let local =
        run.min(RUNS_MAX - 1) << 6 | u32::from(udp) << 5 | (CANDIDATES_MAX - 1).saturating_sub(index) as u32;
    (TYPE_PREFERENCE << 24) + (local << 8) + 255
}

/// Host candidates, the best first.
pub(super) fn candidate_lines(
    addresses: &[IpAddr],
    udp_port: u16,
    tcp_port: Option<u16>,
    run: u32,
) -> Vec<String> {
    let udp = addresses.iter().enumerate().map(|(index, address)| {
        let priority = priority(run, true, index);
        format!("1 udp {priority} {address} {udp_port} typ host")
    });
    let tcp = addresses.iter().enumerate().filter_map(|(index, address)| {
        let priority = priority(run, false, index);
        Some(format!(
            "1 tcp {priority} {address} {} typ host tcptype passive",
            tcp_port?
        ))
    });
    udp.chain(tcp)
        .enumerate()
        .map(|(index, rest)| format!("a=candidate:{} {rest}", index + 1))
        .collect()
}

/// The direction of an extension as the answerer says it (RFC 8285 section 6).
fn mirrored(offered: &OfferLine, kept: &ExtensionParams) -> &'static str {
    let own = offered
        .extensions
        .iter()
        .find(|own| own.id == u16::from(kept.id) && own.uri == kept.extension.uri());
    match own.and_then(|own| own.direction.as_ref()) {
        Some(SdpAttributeDirection::Sendonly) => "/recvonly",
        Some(SdpAttributeDirection::Recvonly) => "/sendonly",
        Some(SdpAttributeDirection::Sendrecv) | None => "",
    }
}
