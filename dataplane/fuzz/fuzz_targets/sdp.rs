//! Offers that browsers wrote, or somebody else: refused, or accepted with parameters within every
//! bound and answered with a description that can be read and mirrors the offer's lines. The same text as a
//! fragment of trickle ICE: refused, or with credentials that a fragment of our own can carry.
#![no_main]

use std::collections::BTreeSet;

use kall_shared::id::TrackId;
use kall_shared::media::{
    Codec, Fingerprint, Kind, PublishParams, SessionDescription, SlotDescription, Source,
};
use libfuzzer_sys::fuzz_target;
use sdp::{AnswerSettings, Fragment, Offer, Rules, restart_fragment};
use webrtc_sdp::media_type::SdpFormatList;

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
        let addresses = ["192.0.2.1".parse().expect("an address")];
        let own = restart_fragment(&ufrag, &pwd, &addresses, 7882, Some(7881), u32::MAX);
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
        tcp_port: Some(7881),
        version: 1,
        run: u32::MAX,
        max_bitrate: 2_500_000,
        screen_share_bitrate: 4_000_000,
        audio_channels: 1,
    };
    let answer = sdp::answer(&offer, &params, &description, &settings);
    let answer = webrtc_sdp::parse_sdp(&answer, true).expect("own output");
    let offered: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(answer.media.len(), offered.len(), "every line has its answer");
    for (line, offered) in answer.media.iter().zip(offered) {
        let SdpFormatList::Integers(formats) = line.get_formats() else {
            assert_eq!(line.get_port(), 0, "only sound and pictures are accepted");
            continue;
        };
        let known = |pt: &&u32| {
            offered
                .split_whitespace()
                .skip(3)
                .any(|word| word.parse() == Ok(**pt))
        };
        assert!(
            formats.iter().all(|pt| known(&pt)),
            "no payload type but those offered"
        );
        let distinct = formats.iter().collect::<BTreeSet<_>>().len();
        assert_eq!(distinct, formats.len(), "a payload type has one meaning");
    }
});
