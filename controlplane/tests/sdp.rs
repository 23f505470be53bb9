//! Real offers of browsers become typed parameters, and answers that mirror them.
//!
//! The parameters are compared with a snapshot beside the offer; `UPDATE_SNAPSHOTS=1` writes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use kall_controlplane::sdp::{
    AnswerSettings, Offer, Rules, SdpError, answer, publishes_h264_high, takes_h264_high,
};
use kall_shared::id::{Mid, TrackId};
use kall_shared::media::{
    Codec, Extension, Fingerprint, Kind, PublishParams, SessionDescription, SessionParams, SlotDescription,
    Source,
};
use proptest::prelude::*;

const CODECS: [Codec; 4] = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Opus];
const RULES: Rules<'_> = Rules {
    codecs: &CODECS,
    simulcast: true,
    subscribe: true,
    h264_high: false,
};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn offer_text(name: &str) -> String {
    fs::read_to_string(data(name)).expect("a captured offer")
}

/// Accepts everything: cameras and microphones.
fn publish(mid: &Mid, kind: Kind) -> Option<PublishParams> {
    Some(PublishParams {
        track: TrackId::new(format!("tr_{mid}")).expect("valid"),
        source: match kind {
            Kind::Audio => Source::Microphone,
            Kind::Video => Source::Camera,
        },
        rids: Vec::new(),
        ssrcs: Vec::new(),
        muted: false,
    })
}

fn negotiate(text: &str) -> Result<(Offer, SessionParams), SdpError> {
    let offer = Offer::parse(text)?;
    let params = offer.params(&RULES, &mut publish)?;
    Ok((offer, params))
}

fn describe(params: &SessionParams) -> SessionDescription {
    let slots = params
        .lines
        .iter()
        .filter(|line| line.slot)
        .zip(0u32..)
        .map(|(line, index)| SlotDescription {
            mid: line.mid.clone(),
            ssrc: 1000 + index,
            rtx_ssrc: line
                .codecs
                .iter()
                .any(|codec| codec.rtx_pt.is_some())
                .then_some(2000 + index),
        });
    SessionDescription {
        ufrag: "serverufrag".into(),
        pwd: "serverpasswordof22ormore".into(),
        fingerprint: Fingerprint { sha256: [0xab; 32] },
        udp_port: 7882,
        cname: "kall".into(),
        slots: slots.collect(),
    }
}

fn settings() -> AnswerSettings {
    AnswerSettings {
        addresses: vec!["127.0.0.1".parse().expect("ip"), "192.0.2.1".parse().expect("ip")],
        tcp_port: None,
        version: 1,
        run: 0,
        max_bitrate: 3_000_000,
        screen_share_bitrate: 5_000_000,
        audio_channels: 1,
    }
}

fn answer_to(text: &str) -> String {
    let (offer, params) = negotiate(text).expect("a usable offer");
    answer(&offer, &params, &describe(&params), &settings())
}

/// The lines of each m-section, by mid.
fn sections(sdp: &str) -> BTreeMap<String, Vec<String>> {
    let parts = sdp.split("\r\nm=").skip(1);
    parts
        .map(|part| {
            let lines: Vec<String> = format!("m={part}").lines().map(str::to_owned).collect();
            let mid = lines
                .iter()
                .find_map(|line| line.strip_prefix("a=mid:"))
                .expect("every line has a mid");
            (mid.to_owned(), lines)
        })
        .collect()
}

fn snapshot(offer: &str, file: &str) {
    let (_, params) = negotiate(&offer_text(offer)).expect("a usable offer");
    params.validate().expect("within every bound");
    let now = serde_json::to_string_pretty(&params).expect("serialises") + "\n";
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(data(file), &now).expect("written");
    }
    let kept = fs::read_to_string(data(file)).expect("a snapshot");
    assert_eq!(kept, now, "{file}; UPDATE_SNAPSHOTS=1 writes it anew");
}

#[test]
fn chromium_is_understood() {
    snapshot("chromium_offer.sdp", "chromium_offer.json");
}

#[test]
fn firefox_is_understood() {
    snapshot("firefox_offer.sdp", "firefox_offer.json");
}

#[test]
fn only_what_is_forwarded_is_accepted() {
    for name in ["chromium_offer.sdp", "firefox_offer.sdp"] {
        let text = answer_to(&offer_text(name));
        for word in [
            "red/90000",
            "ulpfec",
            "flexfec",
            "AV1",
            "G722",
            "PCMU",
            "telephone-event",
            "CN/",
        ] {
            assert!(!text.contains(word), "{name}: {word}");
        }
        assert!(
            text.contains("opus/48000/2") && text.contains("VP8/90000"),
            "{name}"
        );
    }
    let (_, params) = negotiate(&offer_text("chromium_offer.sdp")).expect("usable");
    for codec in params.lines.iter().flat_map(|line| &line.codecs) {
        match codec.codec {
            Codec::H264 => assert_eq!(codec.h264_profile.expect("a profile") >> 8, 0x42e0),
            _ => assert_eq!(codec.h264_profile, None),
        }
    }
}

/// There is no Safari here: `safari_offer.sdp` was written, not captured, from what is known of its
/// descriptions. They are libwebrtc's, with names for addresses, H264 first and in the constrained profiles
/// only, and ids of extensions up to 14.
#[test]
fn safari_gets_what_it_can_take() {
    let offer = offer_text("safari_offer.sdp").replace('\n', "\r\n");
    assert!(offer.contains("s=written, not captured\r\n"));
    let text = answer_to(&offer);
    let sections = sections(&text);
    assert_eq!(sections.len(), 4);
    for (mid, direction) in [
        ("0", "recvonly"),
        ("1", "recvonly"),
        ("2", "sendonly"),
        ("3", "sendonly"),
    ] {
        let lines = &sections[mid];
        let has = |word: &str| lines.iter().any(|line| line == word);
        assert!(has(&format!("a={direction}")), "{mid}: {lines:#?}");
        assert!(has("a=rtcp-mux") && has("a=setup:passive"), "{mid}");
        assert!(has(&format!("a=extmap:9 {}", Extension::Mid.uri())), "{mid}");
        assert!(
            has(&format!("a=extmap:4 {}", Extension::TransportCc.uri())),
            "{mid}"
        );
        let ids = lines.iter().filter_map(|line| line.strip_prefix("a=extmap:"));
        for extension in ids {
            assert!(
                offer.contains(&format!("a=extmap:{extension}")),
                "{mid}: {extension} was not offered"
            );
        }
    }
    // Layers by rid, the picture's orientation, and of H264 what every browser decodes: a description with
    // 42001f is refused as a whole.
    let camera = &sections["0"];
    assert!(camera.contains(&"a=simulcast:recv q;h;f".to_owned()));
    assert!(camera.contains(&format!("a=extmap:3 {}", Extension::VideoOrientation.uri())));
    let profiles = |mid: &str| -> Vec<&str> {
        let lines = sections[mid].iter();
        lines
            .filter_map(|line| line.split_once("profile-level-id=").map(|(_, profile)| profile))
            .collect()
    };
    assert_eq!(profiles("0"), ["42e01f"]);
    assert_eq!(profiles("3"), ["42e01f", "640c1f"]);
    for codec in ["VP8/90000", "VP9/90000", "H264/90000"] {
        for mid in ["0", "3"] {
            assert!(
                sections[mid].iter().any(|line| line.ends_with(codec)),
                "{mid} {codec}"
            );
        }
    }
    assert!(sections["1"].contains(&format!("a=extmap:14 {}", Extension::AudioLevel.uri())));
    assert!(
        !text.contains(".local"),
        "its own address is no business of the answer"
    );
}

#[test]
fn constrained_baseline_is_known_by_all_its_names() {
    for (name, taken) in [
        ("42e01f", true),
        ("42c01e", true),
        ("4d801f", true),
        ("58c01f", true),
        ("42001f", false),
        ("4d001f", false),
    ] {
        let offer = offer_text("chromium_offer.sdp");
        let offer = with_lines(&offer, |line| {
            let h264 = line.contains("profile-level-id=");
            let usual = line.contains("packetization-mode=1;profile-level-id=42e01f");
            match (h264, usual) {
                (true, false) => None,
                (true, true) => Some(line.replace("42e01f", name)),
                _ => Some(line.to_owned()),
            }
        });
        let (_, params) = negotiate(&offer).expect("usable");
        let codecs = params.lines.iter().flat_map(|line| &line.codecs);
        let profiles: Vec<u32> = codecs.filter_map(|codec| codec.h264_profile).collect();
        assert_eq!(!profiles.is_empty(), taken, "{name}");
        assert!(profiles.iter().all(|profile| profile >> 8 == 0x42e0), "{name}");
        let answered = format!("packetization-mode=1;profile-level-id={name}\r\n");
        assert_eq!(answer_to(&offer).contains(&answered), taken, "{name}");
    }
}

#[test]
fn codecs_come_in_the_operators_order() {
    let offer = Offer::parse(&offer_text("chromium_offer.sdp")).expect("parses");
    let codecs = [Codec::H264, Codec::Vp8, Codec::Opus];
    let rules = Rules {
        codecs: &codecs,
        ..RULES
    };
    let params = offer.params(&rules, &mut publish).expect("usable");
    let video = params
        .lines
        .iter()
        .find(|line| line.kind == Kind::Video)
        .expect("a video line");
    assert_eq!(video.codecs.first().map(|codec| codec.codec), Some(Codec::H264));
    assert_eq!(video.codecs.last().map(|codec| codec.codec), Some(Codec::Vp8));
}

#[test]
fn av1_comes_with_its_descriptor_where_the_operator_adds_it() {
    let rules = Rules {
        codecs: &[Codec::Av1, Codec::Vp8, Codec::Opus],
        ..RULES
    };
    for name in ["chromium_offer.sdp", "firefox_offer.sdp"] {
        let offered = offer_text(name);
        let descriptor = Extension::DependencyDescriptor.uri();
        let answer_of = |text: &str| {
            let offer = Offer::parse(text).expect("parses");
            let params = offer.params(&rules, &mut publish).expect("usable");
            params.validate().expect("within every bound");
            answer(&offer, &params, &describe(&params), &settings())
        };
        let text = answer_of(&offered);
        assert!(text.contains("a=extmap-allow-mixed"), "{name}");
        for (mid, lines) in sections(&text) {
            if !lines[0].starts_with("m=video") {
                continue;
            }
            let pt = lines.iter().find_map(|line| line.strip_suffix(" AV1/90000"));
            let pt = pt.and_then(|line| line.strip_prefix("a=rtpmap:")).expect("AV1");
            assert_eq!(
                lines[0].split(' ').nth(3),
                Some(pt),
                "{name} {mid}: it comes first"
            );
            let has = |wanted: &str| lines.iter().any(|line| line.contains(wanted));
            assert!(
                has(&format!("a=fmtp:{pt} level-idx=5;profile=0;tier=0")),
                "{name} {mid}"
            );
            assert!(has(descriptor), "{name} {mid}");
        }
        // A descriptor with its structure does not fit the one-byte form.
        let plain = with_lines(&offered, |line| {
            (line != "a=extmap-allow-mixed").then(|| line.to_owned())
        });
        assert!(!answer_of(&plain).contains(descriptor), "{name}");
        // Another profile is not what is forwarded.
        let high = with_lines(&offered, |line| {
            Some(line.replace("profile=0;tier=0", "profile=1;tier=0"))
        });
        if high != offered.replace("\r\n", "\n").replace('\n', "\r\n") {
            assert!(!answer_of(&high).contains("AV1"), "{name}");
        }
    }
    // Without AV1 nobody writes descriptors.
    assert!(!answer_to(&offer_text("chromium_offer.sdp")).contains(Extension::DependencyDescriptor.uri()));
}

#[test]
fn every_line_is_mirrored_and_the_data_channel_stays_outside_the_bundle() {
    for name in ["chromium_offer.sdp", "firefox_offer.sdp"] {
        let offer = offer_text(name).replace("\r\n", "\n").replace('\n', "\r\n");
        let text = answer_to(&offer);
        let order = |sdp: &str| -> Vec<String> {
            sdp.lines()
                .filter_map(|line| line.strip_prefix("a=mid:").map(str::to_owned))
                .collect()
        };
        assert_eq!(order(&text), order(&offer), "{name}");
        let bundle = text
            .lines()
            .find_map(|line| line.strip_prefix("a=group:BUNDLE "))
            .expect("a bundle");
        let bundled: Vec<&str> = bundle.split(' ').collect();
        for (mid, lines) in sections(&text) {
            let data_channel = lines[0].starts_with("m=application");
            assert_eq!(
                lines[0].split(' ').nth(1),
                Some(if data_channel { "0" } else { "9" }),
                "{name} {mid}"
            );
            assert_eq!(bundled.contains(&mid.as_str()), !data_channel, "{name} {mid}");
            if !data_channel {
                for needed in ["a=rtcp-mux", "a=setup:passive", "a=ice-ufrag:serverufrag"] {
                    assert!(lines.iter().any(|line| line == needed), "{name} {mid} {needed}");
                }
            }
        }
        assert!(text.contains("a=ice-lite\r\n"));
        assert_eq!(text.matches("a=end-of-candidates").count(), 1);
        assert!(text.contains("127.0.0.1 7882 typ host"));
    }
}

#[test]
fn passive_tcp_candidates_stand_behind_those_of_udp() {
    let (offer, params) = negotiate(&offer_text("chromium_offer.sdp")).expect("a usable offer");
    let with_port = |tcp_port| {
        let settings = AnswerSettings {
            tcp_port,
            ..settings()
        };
        answer(&offer, &params, &describe(&params), &settings)
    };
    assert!(!with_port(None).contains(" tcp "));
    let text = with_port(Some(7881));
    webrtc_sdp::parse_sdp(&text, true).expect("legal");
    let candidates: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("a=candidate:"))
        .map(|line| line.split(' ').collect())
        .collect();
    let ways: Vec<String> = candidates
        .iter()
        .map(|fields| [fields[2], fields[4], fields[5]].join(" "))
        .collect();
    assert_eq!(
        ways,
        [
            "udp 127.0.0.1 7882",
            "udp 192.0.2.1 7882",
            "tcp 127.0.0.1 7881",
            "tcp 192.0.2.1 7881"
        ]
    );
    assert_eq!(candidates[2][6..], ["typ", "host", "tcptype", "passive"]);
    let priority = |fields: &Vec<&str>| fields[3].parse::<u32>().expect("a number");
    assert!(
        candidates
            .windows(2)
            .all(|pair| priority(&pair[0]) > priority(&pair[1]))
    );
    let mut foundations: Vec<&str> = candidates.iter().map(|fields| fields[0]).collect();
    foundations.dedup();
    assert_eq!(foundations.len(), 4);
}

#[test]
fn every_candidate_of_a_run_stands_above_those_of_the_run_before() {
    let (offer, params) = negotiate(&offer_text("chromium_offer.sdp")).expect("a usable offer");
    let priorities = |run| -> Vec<u32> {
        let settings = AnswerSettings {
            tcp_port: Some(7881),
            run,
            ..settings()
        };
        answer(&offer, &params, &describe(&params), &settings)
            .lines()
            .filter(|line| line.starts_with("a=candidate:"))
            .map(|line| line.split(' ').nth(3).and_then(|field| field.parse().ok()))
            .map(|field| field.expect("a number"))
            .collect()
    };
    // Between a relay's (RFC 8445 section 5.1.2.2: type preference 0, browsers up to 5) and those of a browser's
    // connections: 90, of which a pair has the lower.
    let (relay, connection) = (6 << 24, 90 << 24);
    for run in [0, 1, 2, 500] {
        let (before, after) = (priorities(run), priorities(run + 1));
        assert!(before.iter().max() < after.iter().min(), "{before:?} {after:?}");
        assert!(
            before.iter().all(|own| (relay..connection).contains(own)),
            "{before:?}"
        );
    }
    assert_eq!(priorities(u32::MAX), priorities(u32::MAX - 1));
}

#[test]
fn simulcast_is_answered_with_the_same_rids() {
    for name in ["chromium_offer.sdp", "firefox_offer.sdp"] {
        let text = answer_to(&offer_text(name));
        assert!(text.contains("a=simulcast:recv q;h;f\r\n"), "{name}");
        assert!(text.contains("a=rid:q recv\r\n"), "{name}");
        let offer = Offer::parse(&offer_text(name)).expect("parses");
        let rules = Rules {
            simulcast: false,
            ..RULES
        };
        let params = offer.params(&rules, &mut publish).expect("usable");
        let description = describe(&params);
        assert!(!answer(&offer, &params, &description, &settings()).contains("simulcast"));
    }
}

/// The offer with other lines; `None` leaves one out.
fn with_lines(offer: &str, mut change: impl FnMut(&str) -> Option<String>) -> String {
    offer
        .lines()
        .filter_map(|line| change(line).map(|line| line + "\r\n"))
        .collect()
}

/// The offer of somebody who only receives.
fn receiver(offer: &str) -> String {
    with_lines(offer, |line| {
        let publishes = ["a=rid", "a=simulcast", "a=ssrc", "a=msid:"];
        if publishes.iter().any(|word| line.starts_with(word)) {
            return None;
        }
        // A captured session-level direction is not meant: each of its lines has its own.
        Some(line.replace("a=sendonly", "a=recvonly"))
    })
}

#[test]
fn simulcast_keeps_three_layers_in_order_without_the_paused_mark() {
    for (offered, answered) in [
        ("send q;~h;f", "q;h;f"),
        ("send ~q;~h;~f", "q;h;f"),
        ("send f;h;q", "f;h;q"),
        ("send q,h;f", "q;f"),
        ("send q;h;f;x", "q;h;f"),
    ] {
        let text = with_lines(&offer_text("chromium_offer.sdp"), |line| {
            Some(match line {
                "a=simulcast:send q;h;f" => format!("a=rid:x send\r\na=simulcast:{offered}"),
                line => line.to_owned(),
            })
        });
        let text = answer_to(&text);
        assert!(
            text.contains(&format!("a=simulcast:recv {answered}\r\n")),
            "{offered} in {text}"
        );
        assert!(!text.contains('~'), "{offered}");
        let rids: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("a=rid:"))
            .collect();
        let expected: Vec<String> = answered.split(';').map(|rid| format!("{rid} recv")).collect();
        assert_eq!(rids, expected, "{offered}");
    }
}

#[test]
fn transport_wide_feedback_steers_both_directions_where_it_is_offered() {
    for name in ["chromium_offer.sdp", "firefox_offer.sdp"] {
        for offer in [offer_text(name), receiver(&offer_text(name))] {
            let text = answer_to(&offer);
            assert!(!text.contains("goog-remb"), "{name}");
            assert!(!text.contains(Extension::AbsSendTime.uri()), "{name}");
            for (mid, lines) in sections(&text) {
                if lines[0].starts_with("m=application") {
                    continue;
                }
                let has = |word: &str| lines.iter().any(|line| line.ends_with(word));
                assert!(has(" transport-cc"), "{name} {mid}");
                assert!(has(Extension::TransportCc.uri()), "{name} {mid}");
            }
        }
    }
}

#[test]
fn without_transport_wide_feedback_remb_takes_its_place_with_the_extension_it_needs() {
    for name in ["chromium_offer.sdp", "firefox_offer.sdp"] {
        for offer in [offer_text(name), receiver(&offer_text(name))] {
            let text = answer_to(&with_lines(&offer, |line| {
                (!line.contains("transport-cc") && !line.contains("transport-wide-cc"))
                    .then(|| line.to_owned())
            }));
            assert!(!text.contains("transport-cc"), "{name}");
            for (mid, lines) in sections(&text) {
                if !lines[0].starts_with("m=video") {
                    continue;
                }
                let has = |word: &str| lines.iter().any(|line| line.ends_with(word));
                assert!(has(" goog-remb"), "{name} {mid}");
                assert!(has(Extension::AbsSendTime.uri()), "{name} {mid}");
            }
        }
    }
}

/// What tells the arrival of packets on each line: (mid, transport-wide, REMB).
fn masters(params: &SessionParams) -> Vec<(String, bool, bool)> {
    let lines = params.lines.iter().filter(|line| line.kind == Kind::Video);
    lines
        .map(|line| {
            let any = |has: fn(&kall_shared::media::Feedback) -> bool| {
                line.codecs.iter().any(|codec| has(&codec.feedback))
            };
            (
                line.mid.to_string(),
                any(|feedback| feedback.transport_cc),
                any(|feedback| feedback.remb),
            )
        })
        .collect()
}

#[test]
fn a_direction_never_has_two_masters() {
    // The second video line has no transport-wide feedback; the first steers the direction alone.
    let mut section = String::new();
    let mut partly = |line: &str| {
        if line.starts_with("m=") {
            section.clear();
        }
        if let Some(mid) = line.strip_prefix("a=mid:") {
            mid.clone_into(&mut section);
        }
        (section != "2" || !line.contains("transport")).then(|| line.to_owned())
    };
    let offer = with_lines(&offer_text("chromium_offer.sdp"), &mut partly);
    let (_, params) = negotiate(&offer).expect("usable");
    let lone = |mid: &str, twcc, remb| (mid.to_owned(), twcc, remb);
    assert_eq!(
        masters(&params),
        [lone("0", true, false), lone("2", false, false)]
    );

    // As a receiving line it is the only one of its direction: REMB steers that one.
    let mut other_way = String::new();
    let offer = with_lines(&offer, |line| {
        if let Some(mid) = line.strip_prefix("a=mid:") {
            mid.clone_into(&mut other_way);
        }
        Some(
            if (other_way == "2" || other_way == "3") && line == "a=sendonly" {
                "a=recvonly".to_owned()
            } else {
                line.to_owned()
            },
        )
    });
    let offer = with_lines(&offer, |line| {
        let audio_slot = line.starts_with("a=rtcp-fb:111 transport-cc");
        (!audio_slot).then(|| line.to_owned())
    });
    let (_, params) = negotiate(&offer).expect("usable");
    assert_eq!(masters(&params), [lone("0", true, false), lone("2", false, true)]);
}

#[test]
fn red_is_taken_after_opus_with_the_payload_types_of_its_blocks() {
    let text = answer_to(&offer_text("chromium_offer.sdp"));
    for (_, lines) in sections(&text) {
        if lines[0].starts_with("m=audio") {
            assert!(lines[0].ends_with(" 111 63"), "{}", lines[0]);
            for needed in ["a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111"] {
                assert!(lines.iter().any(|line| line == needed), "{needed}");
            }
        }
    }
    // Blocks of another codec, or no word of any, are not what is forwarded here.
    for fmtp in ["a=fmtp:63 111/0", "a=fmtp:63 9/9", "a=x-none"] {
        let offer = offer_text("chromium_offer.sdp").replace("a=fmtp:63 111/111", fmtp);
        assert!(!answer_to(&offer).contains("red/48000"), "{fmtp}");
    }
}

/// The video lines of an answer, by mid: `profile-level-id`s in order.
fn h264_profiles(text: &str) -> BTreeMap<String, Vec<String>> {
    let video = sections(text)
        .into_iter()
        .filter(|(_, lines)| lines[0].starts_with("m=video"));
    video
        .map(|(mid, lines)| {
            let profiles = lines
                .iter()
                .filter_map(|line| line.split("profile-level-id=").nth(1));
            (mid, profiles.map(str::to_owned).collect())
        })
        .collect()
}

#[test]
fn h264_is_published_in_the_profile_that_all_take() {
    // As Safari offers: constrained high beside constrained baseline.
    let safari =
        offer_text("chromium_offer.sdp").replace("profile-level-id=42001f", "profile-level-id=640c1f");
    let answered = |h264_high: bool| {
        let offer = Offer::parse(&safari).expect("parses");
        let rules = Rules { h264_high, ..RULES };
        let params = offer.params(&rules, &mut publish).expect("usable");
        let text = answer(&offer, &params, &describe(&params), &settings());
        (h264_profiles(&text), params)
    };
    let (profiles, params) = answered(false);
    assert_eq!(profiles["0"], ["42e01f"]);
    assert!(!publishes_h264_high(&params));
    let (profiles, params) = answered(true);
    assert_eq!(profiles["0"], ["640c1f", "42e01f"]);
    assert!(publishes_h264_high(&params));
    assert_eq!(takes_h264_high(&params), None, "it has no slots");

    // Receivers take both, the common one first, and are told apart by whether they do.
    let (_, params) = negotiate(&receiver(&safari)).expect("usable");
    assert_eq!(takes_h264_high(&params), Some(true));
    assert_eq!(
        h264_profiles(&answer_to(&receiver(&safari)))["0"],
        ["42e01f", "640c1f"]
    );
    let (_, params) = negotiate(&receiver(&offer_text("chromium_offer.sdp"))).expect("usable");
    assert_eq!(takes_h264_high(&params), Some(false));
}

#[test]
fn the_operators_bitrates_and_channels_are_said() {
    let offer = Offer::parse(&offer_text("chromium_offer.sdp")).expect("parses");
    let mut sources = |mid: &Mid, kind: Kind| {
        let source = match (kind, mid.as_str()) {
            (Kind::Video, "0") => Source::Camera,
            (Kind::Video, _) => Source::Screen,
            (Kind::Audio, _) => Source::Microphone,
        };
        publish(mid, kind).map(|params| PublishParams { source, ..params })
    };
    let params = offer.params(&RULES, &mut sources).expect("usable");
    let with_channels = |audio_channels| {
        let settings = AnswerSettings {
            audio_channels,
            ..settings()
        };
        sections(&answer(&offer, &params, &describe(&params), &settings))
    };
    let mono = with_channels(1);
    let has = |lines: &[String], word: &str| lines.iter().any(|line| line.contains(word));
    assert!(has(&mono["0"], "b=TIAS:3000000") && has(&mono["2"], "b=TIAS:5000000"));
    assert!(has(&mono["1"], "useinbandfec=1;stereo=0") && !has(&mono["1"], "b="));
    let stereo = with_channels(2);
    assert!(has(&stereo["1"], "useinbandfec=1;stereo=1;sprop-stereo=1"));
    for lines in [&mono["1"], &stereo["1"]] {
        assert!(!has(lines, "usedtx=1"), "levels must not have gaps");
    }
}

#[test]
fn a_slot_has_its_own_stream_and_nack_only_with_rtx() {
    let receiver = receiver(&offer_text("chromium_offer.sdp"));
    let (_, params) = negotiate(&receiver).expect("usable");
    assert!(
        params
            .lines
            .iter()
            .all(|line| line.slot && line.publish.is_none())
    );
    for line in &params.lines {
        for codec in &line.codecs {
            assert_eq!(codec.feedback.nack, codec.rtx_pt.is_some(), "{}", line.mid);
        }
    }
    let text = answer_to(&receiver);
    let mut streams: Vec<&str> = text.lines().filter(|line| line.starts_with("a=msid:")).collect();
    let count = streams.len();
    streams.dedup();
    assert_eq!((streams.len(), count), (params.lines.len(), params.lines.len()));
    assert!(text.contains("a=ssrc-group:FID ") && text.contains("a=sendonly"));
    // What no answer has taken, Chromium leaves out of the offer of a camera that comes later.
    for extension in [Extension::Rid, Extension::RepairedRid] {
        let taken = sections(&text)["0"]
            .iter()
            .any(|line| line.ends_with(extension.uri()));
        assert!(taken, "{extension:?}");
    }
    assert!(!text.contains("b=TIAS"), "nothing is published");
    // Without RTX there is nothing to answer a NACK with.
    let bare: String = receiver
        .lines()
        .filter(|line| !line.contains("rtx/90000") && !line.contains("apt="))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let text = answer_to(&bare);
    assert!(
        !text
            .lines()
            .any(|line| line.starts_with("a=rtcp-fb:") && line.ends_with(" nack"))
    );
    assert!(!text.contains("FID"));
}

#[test]
fn ids_beyond_the_one_byte_form_drop_their_extension() {
    let text = offer_text("chromium_offer.sdp");
    let mid = text
        .lines()
        .find(|line| line.starts_with("a=extmap:") && line.ends_with("sdes:mid"))
        .expect("a mid extension");
    let text = text.replace(mid, "a=extmap:15 urn:ietf:params:rtp-hdrext:sdes:mid");
    let (_, params) = negotiate(&text).expect("usable");
    for line in &params.lines {
        assert!(line.extensions.iter().all(|own| own.extension != Extension::Mid));
    }
}

#[test]
fn a_line_that_may_not_publish_is_inactive() {
    let offer = Offer::parse(&offer_text("chromium_offer.sdp")).expect("parses");
    let params = offer.params(&RULES, &mut |_, _| None).expect("usable");
    let text = answer(&offer, &params, &describe(&params), &settings());
    assert!(!text.contains("a=recvonly") && !text.contains("a=sendrecv"));
    assert!(text.contains("a=inactive"));
}

#[test]
fn a_line_that_rests_keeps_its_layers() {
    let text = offer_text("chromium_offer.sdp");
    let start = text.find("m=video").expect("a camera");
    let (before, camera) = text.split_at(start);
    let text = format!("{before}{}", camera.replacen("a=sendonly", "a=inactive", 1));
    let offer = Offer::parse(&text).expect("parses");
    let answered = |rules: &Rules<'_>| {
        let params = offer.params(rules, &mut |_, _| None).expect("usable");
        answer(&offer, &params, &describe(&params), &settings())
    };
    let text = answered(&RULES);
    let camera = &text[text.find("m=video").expect("a camera")..];
    assert!(camera.contains("a=inactive\r\n"));
    assert!(camera.contains("a=rid:q recv\r\na=rid:h recv\r\na=rid:f recv\r\na=simulcast:recv q;h;f\r\n"));
    assert!(
        camera.contains("rtp-stream-id"),
        "layers without their names' extension are an error in browsers"
    );
    let without = answered(&Rules {
        simulcast: false,
        ..RULES
    });
    assert!(!without.contains("a=simulcast"));
}

#[test]
fn what_can_not_be_used_is_said() {
    let good = offer_text("chromium_offer.sdp");
    let without = |word: &str| -> String {
        good.lines()
            .filter(|line| !line.starts_with(word))
            .map(|line| format!("{line}\r\n"))
            .collect()
    };
    for (text, reason) in [
        (String::new(), "v=0"),
        ("v=0\r\n".repeat(20), "o="),
        (without("a=mid:"), "mid"),
        (without("a=ice-ufrag"), "ice-ufrag"),
        (without("a=fingerprint"), "fingerprint"),
        (without("a=rtcp-mux"), "rtcp-mux"),
        (good.replace("a=setup:actpass", "a=setup:passive"), "setup"),
        (good.replace("sha-256", "sha-1"), ""),
        (without("a=rtpmap"), "codec"),
        ("a".repeat(200_000), "bytes"),
    ] {
        let error = negotiate(&text).map(|_| ()).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error} says {reason}");
    }
}

/// One line of sound, as short as an offer can be.
fn small_offer() -> String {
    let fingerprint = vec!["07"; 32].join(":");
    [
        "v=0",
        "o=- 1 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        &format!("a=fingerprint:sha-256 {fingerprint}"),
        "a=ice-ufrag:h6vY",
        "a=ice-pwd:VOkJxbRl1RmTxUk/WvJxBt",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=setup:actpass",
        "a=rtcp-mux",
        "a=sendrecv",
        "a=rtpmap:111 opus/48000/2",
        "",
    ]
    .join("\r\n")
}

/// Why an offer is refused.
fn refusal(text: &str) -> String {
    negotiate(text).map(|_| ()).expect_err("refused").to_string()
}

#[test]
fn ice_words_have_the_lengths_of_rfc_8839() {
    for (name, length, valid) in [
        ("ice-ufrag", 3, false),
        ("ice-ufrag", 4, true),
        ("ice-ufrag", 256, true),
        ("ice-ufrag", 257, false),
        ("ice-pwd", 21, false),
        ("ice-pwd", 22, true),
        ("ice-pwd", 256, true),
        ("ice-pwd", 257, false),
    ] {
        let text = with_lines(&small_offer(), |line| {
            Some(match line.strip_prefix("a=") {
                Some(own) if own.starts_with(name) => format!("a={name}:{}", "x".repeat(length)),
                _ => line.to_owned(),
            })
        });
        if valid {
            let (_, params) = negotiate(&text).expect("usable");
            params.validate().expect("within every bound");
        } else {
            assert!(refusal(&text).contains(name), "{name} of {length}");
        }
    }
}

#[test]
fn a_refused_line_does_not_share_its_mid_with_an_accepted_one() {
    let refused = "m=audio 0 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=inactive\r\n";
    let text = small_offer();
    let before = text.replace("m=audio 9", &format!("{refused}m=audio 9"));
    for text in [before, text + refused] {
        assert!(refusal(&text).contains("used twice"), "{text}");
    }
}

#[test]
fn a_payload_type_has_one_meaning_and_is_one_that_the_line_lists() {
    let text = small_offer().replace("SAVPF 111", "SAVPF 109 111 109")
        + "a=rtpmap:111 red/48000/2\r\na=fmtp:111 111/111\r\n"
        + "a=rtpmap:112 opus/48000/2\r\na=rtpmap:109 opus/48000/2\r\na=rtpmap:109 opus/48000/2\r\n";
    let (_, params) = negotiate(&text).expect("usable");
    let codecs: Vec<_> = params.lines[0]
        .codecs
        .iter()
        .map(|codec| (codec.pt, codec.codec))
        .collect();
    assert_eq!(codecs, [(109, Codec::Opus), (111, Codec::Opus)]);
}

#[test]
fn every_media_line_has_its_answer_or_the_offer_is_refused() {
    // Left out, it would leave its attributes to the line before it, and shift all answers.
    let unknown = "m=video 9 UDP/TLS/NEW 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n";
    assert!(refusal(&(small_offer() + unknown)).contains("UDP/TLS/NEW"));

    let other = "m=text 9 RTP/AVP t140 x\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n";
    let answer = answer_to(&(small_offer() + other));
    assert!(answer.contains("\r\nm=text 0 RTP/AVP t140\r\n"), "{answer}");
}

#[test]
fn what_means_nothing_here_is_not_read() {
    let noise = [
        "a=imageattr:111 send nonsense",
        "a=candidate:nonsense",
        "a=rtcp-fb:111 new kind",
        "a=x-new",
        "b=nonsense",
        "i=\u{1f3a5}",
    ];
    let text = small_offer() + &noise.join("\r\n");
    assert_eq!(answer_to(&text), answer_to(&small_offer()));
}

/// As many lines, and as long lists, as an offer can have: read in a time that grows with the text.
#[test]
fn the_longest_offers_are_read() {
    let fill = |line: &str| {
        let text = small_offer();
        let room = kall_shared::signalling::limits::SDP - text.len();
        text + &line.repeat(room / line.len())
    };
    for line in [
        "a=mid:0\n",
        "b=AS:1\n",
        "a=rtpmap:111 opus/48000\n",
        "a=rtcp-fb:* nack\n",
        "a=rid:0 send\n",
        "a=ssrc:1\n",
        "a=extmap:1 u\n",
    ] {
        negotiate(&fill(line)).expect("usable");
    }
    let images = "[x=1,y=1] ".repeat(18_000);
    negotiate(&format!("{}a=imageattr:111 send {images}", small_offer())).expect("usable");
    let long = format!("{}a=simulcast:send {}0", small_offer(), "0;".repeat(8_000));
    assert!(refusal(&long).contains("too long"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is cut, doubled or overwritten in an offer: parameters within their bounds and an
    /// answer, or an error; never a panic.
    #[test]
    fn a_mutated_offer_never_panics(
        firefox in any::<bool>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4, any::<prop::sample::Index>()), 1..12),
        noise in "[ -~]{0,24}",
    ) {
        let text = offer_text(if firefox { "firefox_offer.sdp" } else { "chromium_offer.sdp" });
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (at, how, other) in &cuts {
            let (at, other) = (at.index(lines.len()), other.index(lines.len()));
            match how {
                0 => { lines.remove(at); if lines.is_empty() { lines.push(String::new()); } }
                1 => { let line = lines[other].clone(); lines.insert(at, line); }
                2 => {
                    let key = lines[at].split([':', ' ']).next().unwrap_or_default().to_owned();
                    lines[at] = format!("{key}:{noise}");
                }
                _ => {
                    let keep = lines[at].len() / 2;
                    let keep = (0..=keep).rev().find(|cut| lines[at].is_char_boundary(*cut)).unwrap_or(0);
                    lines[at].truncate(keep);
                    lines[at].push_str(&noise);
                }
            }
        }
        if let Ok((offer, params)) = negotiate(&lines.join("\r\n")) {
            params.validate().expect("within every bound");
            let text = answer(&offer, &params, &describe(&params), &settings());
            prop_assert!(text.starts_with("v=0\r\n"));
        }
    }
}
