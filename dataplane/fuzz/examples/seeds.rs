//! Writes the seeds that are made here: vectors of RFCs, and packets in the shape browsers send them.
//! Run it from `dataplane/fuzz` with `cargo run --example seeds` after changing this list, and commit
//! the files; captured packets lie beside them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use kall_dataplane::time::Ntp;
use kall_dataplane::wire::rtcp::{ReportBlock, bye, fir, nack, pli, remb, rr, sdes, sr, twcc};
use kall_dataplane::wire::rtp::{HeaderFields, write_header};
use kall_dataplane::wire::stun::{
    BindingRequest, Role, TransactionId, write_binding_error, write_binding_indication,
    write_binding_request, write_binding_success,
};
use kall_shared::frame::encode;
use kall_shared::id::{RoomId, SessionId};
use kall_shared::link::{Event, Refusal, RefusalCode, Request, Response, ToControl, ToData};
use kall_shared::media::{
    Codec, CodecParams, Extension, ExtensionParams, Feedback, Fingerprint, Kind, MediaLine, RemoteTransport,
    SessionParams,
};

const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

/// RFC 5769 sections 2.1 to 2.3.
const RFC_5769: [(&str, &str); 3] = [
    (
        "rfc5769-request",
        "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff\
         80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249\
         c1b571a280280004e57a3bcf",
    ),
    (
        "rfc5769-response-ipv4",
        "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643\
         000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96",
    ),
    (
        "rfc5769-response-ipv6",
        "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9fa\
         a5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c",
    ),
];

/// A 640x360 key frame's first bytes under Chromium's descriptor; an inter frame of layer 1; a 7-bit
/// picture id with a key index.
const VP8: [&[u8]; 3] = [
    &[
        0x90, 0xe0, 0x93, 0x88, 0x2a, 0x00, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 0x39,
    ],
    &[0xb0, 0xe0, 0x93, 0x89, 0x2a, 0x40, 0x31, 0x04, 0x00],
    &[0x90, 0xb0, 0x05, 0x3f, 0x31, 0x00],
];

/// A sequence header and the frame after it, each with its length; a fragment.
const AV1: [&[u8]; 2] = [
    &[
        0x28, 0x0a, 0x08, 0x00, 0x00, 0x00, 0x24, 0xc4, 0xff, 0xdf, 0x00, 0x68, 0x30, 0x10,
    ],
    &[0x98, 0x55, 0xaa],
];

/// Descriptors: a key frame of L1T3; one of L3T3_KEY that goes on with two spatial layers; a frame of the first
/// that differs from its template; one that does not.
const DESCRIPTORS: [&[u8]; 4] = [
    &[
        0x80, 0x00, 0x01, 0x80, 0x02, 0x14, 0xea, 0xa8, 0x60, 0x41, 0x4d, 0x14, 0x10, 0x20, 0x84, 0x27, 0x02,
        0x7f, 0x01, 0x67,
    ],
    &[
        0x87, 0x00, 0x05, 0xc0, 0xe8, 0x14, 0x85, 0x21, 0x4e, 0xaa, 0xaa, 0xa8, 0x00, 0x06, 0x00, 0x00, 0x40,
        0x00, 0x10, 0x00, 0x02, 0xaa, 0x80, 0xa8, 0x00, 0x06, 0x00, 0x00, 0x40, 0x00, 0x10, 0x00, 0x02, 0xa0,
        0x00, 0xa8, 0x00, 0x06, 0x00, 0x00, 0x40, 0x00, 0x16, 0xd5, 0x49, 0x24, 0x1b, 0x55, 0x24, 0x90, 0x6d,
        0x54, 0x92, 0x31, 0x57, 0xe0, 0x01, 0x97, 0x4c, 0xa8, 0x64, 0x33, 0x0e, 0x22, 0x23, 0x96, 0xec, 0xa8,
        0x65, 0x53, 0x04, 0x22, 0x43, 0x90, 0xec, 0xa8, 0x77, 0x53, 0x01, 0x3f, 0x00, 0xb3, 0x02, 0x7f, 0x01,
        0x67, 0x04, 0xff, 0x02, 0xcf, 0x1f, 0x80,
    ],
    &[0x82, 0x00, 0x09, 0x73, 0x1d, 0x30],
    &[0x83, 0x00, 0x07],
];

/// A key frame with its structure, a frame of the flexible mode with references, an upper layer.
const VP9: [&[u8]; 3] = [
    &[
        0xae, 0x92, 0x34, 0x00, 0x07, 0x18, 0x02, 0x80, 0x01, 0x68, 0x01, 0x04, 0x01, 0x82, 0x49,
    ],
    &[0xf8, 0x05, 0x53, 0x03, 0x04, 0xff],
    &[0x28, 0x02, 0x00, 0xff],
];

/// STAP-A of both parameter sets, the first fragment of an IDR slice, a later one, a single slice.
const H264: [&[u8]; 4] = [
    &[0x78, 0x00, 0x04, 0x67, 0x42, 0xe0, 0x1f, 0x00, 0x02, 0x68, 0xce],
    &[0x7c, 0x85, 0x88, 0x84],
    &[0x7c, 0x05, 0x88, 0x84],
    &[0x41, 0x9a, 0x02],
];

/// RFC 2198: one earlier frame and the newest, two of them, and the newest alone.
const RED: [&[u8]; 3] = [
    &[0xef, 0x0f, 0x00, 0x03, 0x6f, 1, 2, 3, 4, 5, 6, 7],
    &[
        0xef, 0x1e, 0x00, 0x01, 0xef, 0x0f, 0x00, 0x02, 0x6f, 1, 2, 3, 4, 5,
    ],
    &[0x6f, 9, 9],
];

/// 20 ms of full band, DTX, two frames, a frame count.
const OPUS: [&[u8]; 4] = [&[0xf8, 1, 2, 3], &[0xf8, 0xff], &[0xf9, 1, 2], &[0xfb, 6, 1, 2]];

const CLIENT_FRAMES: [&str; 6] = [
    r#"{"type":"join","room":"team","name":"Ann","auto_subscribe":true,"id":1}"#,
    r#"{"type":"publish","mid":"0","source":"camera"}"#,
    r#"{"type":"offer","sdp":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n","id":"a"}"#,
    r#"{"type":"candidate","candidate":{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","sdpMid":"0"}}"#,
    r#"{"type":"subscribe","track_id":"tr_1","layer":"high","mid":"3","priority":2,"max_width":640}"#,
    r#"{"type":"chat","text":"\u00e4\ud83d\ude00","to":"bob"}"#,
];

fn save(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder).expect("seeds/ can be written");
    fs::write(folder.join(name), bytes).expect("seeds/ can be written");
}

/// What `write` puts into a buffer.
fn written(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut buf = vec![0; 2048];
    let len = write(&mut buf).expect("fits");
    buf.truncate(len);
    buf
}

/// The size of the pieces, then frames behind their lengths.
fn framing() {
    let check = hex::decode(RFC_5769[0].1).expect("hex");
    let seeds: [(&str, u8, &[&[u8]]); 3] = [
        ("two-in-small-pieces", 5, &[b"abc", b"d"]),
        ("check-and-empty", 64, &[&check, b"", b"x"]),
        ("over-the-bound", 16, &[b"abc", &[7; 201]]),
    ];
    for (name, piece, frames) in seeds {
        let mut bytes = vec![piece];
        for frame in frames {
            bytes.extend_from_slice(&(frame.len() as u16).to_be_bytes());
            bytes.extend_from_slice(frame);
        }
        save("framing", name, &bytes);
    }
}

fn stun() {
    for (name, text) in RFC_5769 {
        save("stun", name, &hex::decode(text).expect("hex"));
    }
    let transaction_id = TransactionId(*b"kall fuzz id");
    for (name, from) in [
        ("success-ipv4", "192.0.2.1:9"),
        ("success-ipv6", "[2001:db8::1]:9"),
    ] {
        let from: SocketAddr = from.parse().expect("address");
        save(
            "stun",
            name,
            &written(|buf| write_binding_success(buf, transaction_id, from, PASSWORD)),
        );
    }
    let request = BindingRequest {
        transaction_id,
        username: b"server:client",
        password: PASSWORD,
        priority: 0x6e7f_1eff,
        role: Role::Controlling(7),
        use_candidate: true,
        nomination: Some(1),
    };
    save(
        "stun",
        "nomination",
        &written(|buf| write_binding_request(buf, &request)),
    );
    save(
        "stun",
        "indication",
        &written(|buf| write_binding_indication(buf, transaction_id)),
    );
    save(
        "stun",
        "error-420",
        &written(|buf| write_binding_error(buf, transaction_id, 420, Some(PASSWORD), &[0x7777])),
    );
}

fn rtp() {
    let fields = HeaderFields {
        marker: true,
        payload_type: 96,
        sequence: 0x1234,
        timestamp: 100_000,
        ssrc: 0xdead_beef,
    };
    let packet = |extensions: &[(u8, &[u8])], payload: &[u8]| {
        let mut packet = written(|buf| write_header(buf, &fields, extensions));
        packet.extend_from_slice(payload);
        packet
    };
    // Chromium's ids: abs-send-time 2, transport sequence 4, mid 9, rid 10, audio level 12.
    let video = packet(&[(2, &[10, 11, 12]), (4, &[0, 7]), (9, b"0"), (10, b"q")], VP8[0]);
    let audio = packet(&[(12, &[0xa3]), (4, &[0, 8]), (9, b"1")], OPUS[0]);
    let two_byte = packet(&[(13, &[0x80; 20]), (4, &[0, 9])], VP8[1]);
    let mut padding = packet(&[(4, &[0, 10])], &[0, 0, 0, 4]);
    padding[0] |= 0x20;
    for (name, data) in [
        ("video", &video),
        ("audio", &audio),
        ("two-byte", &two_byte),
        ("padding", &padding),
    ] {
        save("rtp", name, data);
        save("rtp_ext", name, &[&data[12..14], &data[16..]].concat());
        for profile in 0..3 {
            save(
                "srtp",
                &format!("{name}-{profile}"),
                &[&[profile][..], data].concat(),
            );
        }
    }
    // One class only: the fuzzer has to find the others.
    save("demux", "rtp", &video);
}

fn rtcp() {
    let block = ReportBlock {
        ssrc: 0xdead_beef,
        fraction_lost: 5,
        cumulative_lost: -2,
        highest_sequence: 0x0001_1234,
        jitter: 100,
        last_sr: 0x1234_5678,
        delay_since_last_sr: 0x0001_0000,
    };
    let info = sr::SenderInfo {
        ssrc: 1,
        ntp: Ntp(0xe8f2_0000_8000_0000),
        rtp_timestamp: 100_000,
        packet_count: 10,
        octet_count: 10_000,
    };
    let report = [
        written(|buf| sr::write(buf, &info, &[block])),
        written(|buf| sdes::write(buf, 1, b"kall fuzz")),
    ]
    .concat();
    let losses = [
        written(|buf| rr::write(buf, 1, &[block])),
        written(|buf| nack::write(buf, 1, 0xdead_beef, &[65_534, 65_535, 3, 40])),
        written(|buf| pli::write(buf, 1, 0xdead_beef)),
        written(|buf| {
            fir::write(
                buf,
                1,
                fir::Entry {
                    ssrc: 0xdead_beef,
                    sequence: 1,
                },
            )
        }),
    ]
    .concat();
    let estimate = written(|buf| remb::write(buf, 1, 2_500_000, &[0xdead_beef]));
    let goodbye = written(|buf| bye::write(buf, &[1, 2]));
    let feedback = twcc::Feedback {
        sender_ssrc: 1,
        media_ssrc: 0xdead_beef,
        base_sequence: 65_530,
        feedback_count: 3,
    };
    // All chunk forms: a run, losses of a bit each, a late packet that needs two bytes.
    let arrivals: Vec<_> = (0..60)
        .map(|index| match index {
            0..20 => Some(1_000 + 4 * index),
            20..40 => (index % 3 > 0).then_some(1_000 + 4 * index),
            45 => Some(900),
            _ => Some(2_000 + 300 * index),
        })
        .collect();
    let transport = written(|buf| twcc::write(buf, &feedback, &arrivals).map(|written| written.len));
    for (name, data) in [
        ("report", &report),
        ("losses", &losses),
        ("estimate", &estimate),
        ("goodbye", &goodbye),
        ("transport", &transport),
    ] {
        save("rtcp", name, data);
    }
    save("srtp", "rtcp", &[&[0][..], &report].concat());
}

/// Events as the target reads them: what was sent, and what a receiver makes of it.
fn bwe_feedback() {
    // Eight bytes of demand: 4 Mbit/s in all, 2 Mbit/s for the next step.
    let mut call = vec![6, 0, 0x0f, 0xa0, 0x07, 0xd0];
    for round in 0..12u8 {
        // A hundred packets of 1104 bytes, and all but one in twenty of them came.
        call.extend_from_slice(&[1 | 23 << 3, 100]);
        call.extend_from_slice(&[2 | (round & 0x1f) << 3, 100, 100]);
        call.extend((0..100).map(|index| if index % 20 == 7 { 0 } else { 4 + round / 6 }));
    }
    save("bwe_feedback", "call", &call);
    let transport = written(|buf| {
        let feedback = twcc::Feedback {
            sender_ssrc: 1,
            media_ssrc: 2,
            base_sequence: 0,
            feedback_count: 0,
        };
        let arrivals: Vec<_> = (0..40)
            .map(|index| (index % 5 > 0).then_some(900 + 9 * index))
            .collect();
        twcc::write(buf, &feedback, &arrivals).map(|written| written.len)
    });
    let estimate = written(|buf| remb::write(buf, 1, 400_000, &[2]));
    // Fifty packets, feedback as it is on the wire, a pause, a report, another path.
    let mut raw = vec![23 << 3, 50, 4, transport.len() as u8];
    raw.extend_from_slice(&transport);
    raw.extend_from_slice(&[
        5,
        0,
        3,
        0xe8,
        23 << 3,
        50,
        7 | 6 << 3,
        80,
        4,
        estimate.len() as u8,
    ]);
    raw.extend_from_slice(&estimate);
    raw.extend_from_slice(&[7, 0, 23 << 3, 50]);
    save("bwe_feedback", "raw", &raw);
}

fn link() {
    let params = SessionParams {
        transport: RemoteTransport {
            ufrag: "h6vY".into(),
            pwd: "VOkJxbRl1RmTxUk/WvJxBt".into(),
            fingerprints: vec![Fingerprint { sha256: [7; 32] }],
        },
        lines: vec![MediaLine {
            mid: serde_json::from_str("\"0\"").expect("a mid"),
            kind: Kind::Video,
            codecs: vec![CodecParams {
                pt: 96,
                rtx_pt: Some(97),
                codec: Codec::Vp8,
                h264_profile: None,
                feedback: Feedback {
                    nack: true,
                    pli: true,
                    ..Feedback::default()
                },
            }],
            extensions: vec![ExtensionParams {
                id: 4,
                extension: Extension::TransportCc,
            }],
            publish: None,
            slot: true,
        }],
    };
    let session: SessionId = serde_json::from_str("1").expect("a session id");
    let requests = [
        (
            "hello",
            Request::Hello {
                version_min: 2,
                version_max: 1,
                build: "0.1.0".into(),
            },
        ),
        ("snapshot", Request::Snapshot { after: Some(session) }),
        (
            "create",
            Request::CreateSession {
                room: RoomId::new("rm_1").expect("a room"),
                label: b"label".to_vec(),
                params,
                returns: false,
            },
        ),
        ("close", Request::CloseSession { session }),
    ];
    for (name, request) in requests {
        let mut bytes = Vec::new();
        encode(&ToData { id: 7, request }, &mut bytes).expect("short");
        save("link", name, &bytes);
    }
    let refusal = Refusal::new(RefusalCode::NotFound, "no such session");
    let answers = [
        (
            "done",
            ToControl::Answer {
                id: 7,
                result: Ok(Response::Done),
            },
        ),
        (
            "refusal",
            ToControl::Answer {
                id: 7,
                result: Err(refusal),
            },
        ),
        ("overflow", ToControl::Event(Event::Overflow { lost: 3 })),
    ];
    for (name, answer) in answers {
        let mut bytes = Vec::new();
        encode(&answer, &mut bytes).expect("short");
        save("link", name, &bytes);
    }
}

/// A shift, a number of targets, and two descriptors that follow each other, the first behind its length.
fn dependency_descriptor() {
    for (index, second) in DESCRIPTORS.iter().enumerate() {
        let first = DESCRIPTORS[0];
        let mut bytes = vec![0x43, 3, first.len() as u8];
        bytes.extend_from_slice(first);
        bytes.extend_from_slice(second);
        save("dependency_descriptor", &format!("frame-{index}"), &bytes);
    }
}

fn main() {
    framing();
    dependency_descriptor();
    stun();
    rtp();
    rtcp();
    bwe_feedback();
    link();
    for (target, payloads) in [
        ("vp8", &VP8[..]),
        ("vp9", &VP9),
        ("av1", &AV1),
        ("h264", &H264),
        ("opus", &OPUS),
        ("red", &RED),
    ] {
        for (index, payload) in payloads.iter().enumerate() {
            save(target, &format!("payload-{index}"), payload);
        }
    }
    for (index, frame) in CLIENT_FRAMES.iter().enumerate() {
        save("signalling", &format!("frame-{index}"), frame.as_bytes());
    }
}
