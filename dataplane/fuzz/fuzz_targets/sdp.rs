//! Offers that browsers wrote, or somebody else: refused, or accepted with parameters within every
//! bound and answered with a description that can be read and mirrors the offer's lines. The same text as a
//! fragment of trickle ICE: refused, or with credentials that a fragment of our own can carry.
#![no_main]

use kall_shared::id::TrackId;
use kall_shared::media::{
    Codec, Fingerprint, Kind, PublishParams, SessionDescription, SlotDescription, Source,
};
use libfuzzer_sys::fuzz_target;
use sdp::{AnswerSettings, Fragment, Offer, Rules, restart_fragment};

#[path = "../../../controlplane/src/sdp/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "only the path from offer to answer is used here"
)]
mod sdp;

const RULES: Rules<'_> = Rules {
    codecs: &[Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264],
    simulcast: true,
    subscribe: true,
    h264_high: true,
};

fn track(kind: Kind) -> PublishParams {
    PublishParams {
        track: TrackId::new("tr_1").expect("a track"),
        source: match kind {
            Kind::Audio => Source::Microphone,
            Kind::Video => Source::Camera,
        },
        rids: Vec::new(),
        ssrcs: Vec::new(),
        muted: false,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(Fragment {
        ufrag: Some(ufrag),
        pwd: Some(pwd),
        ..
    }) = Fragment::parse(text)
    {
        let own = restart_fragment(&ufrag, &pwd, &["192.0.2.1".parse().expect("an address")], 7882);
        let own = Fragment::parse(&own).expect("own output");
        assert_eq!((own.ufrag, own.pwd), (Some(ufrag), Some(pwd)));
    }
    let Ok(offer) = Offer::parse(text) else {
        return;
    };
    let Ok(params) = offer.params(&RULES, &mut |_, kind| Some(track(kind))) else {
        return;
    };
    // What the control plane sends, the data plane accepts.
    params.validate().expect("parameters within every bound");

    let slots = params.lines.iter().filter(|line| line.slot);
    let description = SessionDescription {
        ufrag: "h6vY".into(),
        pwd: "VOkJxbRl1RmTxUk/WvJxBt".into(),
        fingerprint: Fingerprint { sha256: [7; 32] },
        udp_port: 7882,
        cname: "cname".into(),
        slots: slots
            .map(|line| SlotDescription {
                mid: line.mid.clone(),
                ssrc: 1,
                rtx_ssrc: (line.kind == Kind::Video).then_some(2),
            })
            .collect(),
    };
    let settings = AnswerSettings {
        addresses: vec!["192.0.2.1".parse().expect("an address")],
        version: 1,
        max_bitrate: 2_500_000,
        screen_share_bitrate: 4_000_000,
        audio_channels: 1,
    };
    let answer = sdp::answer(&offer, &params, &description, &settings);
    let answer = webrtc_sdp::parse_sdp(&answer, false).expect("own output");
    let offered = webrtc_sdp::parse_sdp(text, false).expect("parsed before");
    assert_eq!(answer.media.len(), offered.media.len());
});
