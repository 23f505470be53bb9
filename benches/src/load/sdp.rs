//! The offers of the load generator's clients, and what they need of an answer.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// Payload types that the clients offer.
pub const OPUS: u8 = 111;
/// See [`OPUS`].
pub const VP8: u8 = 96;
/// See [`OPUS`].
pub const RTX: u8 = 97;

/// Ids of the header extensions that the clients offer.
pub mod extension {
    /// RFC 6464.
    pub const AUDIO_LEVEL: u8 = 1;
    /// draft-holmer-rmcat-transport-wide-cc-extensions-01.
    pub const TRANSPORT: u8 = 3;
    /// RFC 8843 section 15.
    pub const MID: u8 = 4;
    /// RFC 8852 section 3.1.
    pub const RID: u8 = 10;
    /// RFC 8852 section 3.2.
    pub const REPAIRED_RID: u8 = 11;
}

/// One end's ICE credentials.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Username fragment.
    pub ufrag: String,
    /// Password.
    pub password: String,
}

/// One line of an offer.
#[derive(Debug, Clone, Copy)]
pub enum Line<'a> {
    /// A microphone.
    SendAudio {
        /// Of its stream.
        ssrc: u32,
    },
    /// A camera: with several rids in simulcast, with none as one stream of this SSRC.
    SendVideo {
        /// Of the only stream.
        ssrc: u32,
        /// In the order of the offer.
        rids: &'a [&'a str],
    },
    /// A slot for sound.
    ReceiveAudio,
    /// A slot for pictures.
    ReceiveVideo,
}

/// Writes an offer.
#[must_use]
pub fn offer(local: &Credentials, fingerprint: &str, lines: &[Line<'_>]) -> String {
    let mids: Vec<String> = (0..lines.len()).map(|mid| mid.to_string()).collect();
    let mut sdp = format!(
        "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n\
         a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n",
        mids.join(" ")
    );
    for (mid, line) in lines.iter().enumerate() {
        media(&mut sdp, local, fingerprint, mid, line);
    }
    sdp
}

fn media(sdp: &mut String, local: &Credentials, fingerprint: &str, mid: usize, line: &Line<'_>) {
    let audio = matches!(line, Line::SendAudio { .. } | Line::ReceiveAudio);
    let formats = if audio {
        format!("audio 9 UDP/TLS/RTP/SAVPF {OPUS}")
    } else {
        format!("video 9 UDP/TLS/RTP/SAVPF {VP8} {RTX}")
    };
    let Credentials { ufrag, password } = local;
    // Writing to a string does not fail, here and below.
    let _ = write!(
        sdp,
        "m={formats}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n\
         a=ice-options:trickle\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=mid:{mid}\r\n\
         a=extmap:{} http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
         a=extmap:{} urn:ietf:params:rtp-hdrext:sdes:mid\r\n",
        extension::TRANSPORT,
        extension::MID
    );
    if audio {
        let _ = write!(
            sdp,
            "a=extmap:{} urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n",
            extension::AUDIO_LEVEL
        );
    } else {
        let _ = write!(
            sdp,
            "a=extmap:{} urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
             a=extmap:{} urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n",
            extension::RID,
            extension::REPAIRED_RID
        );
    }
    let direction = match line {
        Line::SendAudio { .. } | Line::SendVideo { .. } => "sendonly",
        Line::ReceiveAudio | Line::ReceiveVideo => "recvonly",
    };
    let _ = write!(sdp, "a={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n");
    if audio {
        let _ = write!(
            sdp,
            "a=rtpmap:{OPUS} opus/48000/2\r\na=rtcp-fb:{OPUS} transport-cc\r\na=fmtp:{OPUS} minptime=10;useinbandfec=1\r\n"
        );
    } else {
        let _ = write!(sdp, "a=rtpmap:{VP8} VP8/90000\r\n");
        for feedback in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
            let _ = write!(sdp, "a=rtcp-fb:{VP8} {feedback}\r\n");
        }
        let _ = write!(sdp, "a=rtpmap:{RTX} rtx/90000\r\na=fmtp:{RTX} apt={VP8}\r\n");
    }
    match line {
        Line::SendAudio { ssrc } => {
            let _ = write!(sdp, "a=msid:load audio\r\na=ssrc:{ssrc} cname:load\r\n");
        }
        Line::SendVideo { ssrc, rids: [] } => {
            let _ = write!(sdp, "a=msid:load video\r\na=ssrc:{ssrc} cname:load\r\n");
        }
        Line::SendVideo { rids, .. } => {
            let _ = write!(sdp, "a=msid:load video\r\n");
            for rid in *rids {
                let _ = write!(sdp, "a=rid:{rid} send\r\n");
            }
            let _ = write!(sdp, "a=simulcast:send {}\r\n", rids.join(";"));
        }
        Line::ReceiveAudio | Line::ReceiveVideo => {}
    }
}

/// Answers an offer to send: takes every line of it, as the client whose `own` offer this is.
///
/// # Errors
/// What is missing in its own.
pub fn reply(offer: &str, own: &str) -> Result<String, String> {
    let mut transport = String::new();
    for name in ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:"] {
        let line = own.lines().find(|line| line.starts_with(name));
        let line = line.ok_or_else(|| format!("the offer has no {name}"))?;
        transport += &format!("{line}\r\n");
    }
    transport += "a=setup:active\r\n";
    // Addresses, extensions and names of streams are theirs alone; the transport is replaced.
    let left_out = [
        "a=candidate:",
        "a=end-of-candidates",
        "a=extmap",
        "a=fingerprint:",
        "a=ice-",
        "a=msid",
        "a=setup:",
        "a=ssrc",
    ];
    let mut answer = String::new();
    for line in offer.lines() {
        if line == "a=sendonly" {
            answer += "a=recvonly\r\n";
        } else if !left_out.iter().any(|name| line.starts_with(name)) {
            answer += &format!("{line}\r\n");
        }
        if line.starts_with("a=mid:") {
            answer += &transport;
        }
    }
    Ok(answer)
}

/// What a client needs of an answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The server's.
    pub credentials: Credentials,
    /// Where its media is.
    pub address: SocketAddr,
}

/// Reads an answer.
///
/// # Errors
/// What is missing in it.
pub fn answer(sdp: &str) -> Result<Answer, String> {
    let attribute = |name: &str| {
        sdp.lines()
            .find_map(|line| line.trim_end().strip_prefix(name))
            .ok_or_else(|| format!("the answer has no {name}"))
    };
    let credentials = Credentials {
        ufrag: attribute("a=ice-ufrag:")?.to_owned(),
        password: attribute("a=ice-pwd:")?.to_owned(),
    };
    let candidates = sdp.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
    let address = candidates
        .filter_map(candidate)
        .min_by_key(|address| (address.is_ipv6(), !address.ip().is_loopback()))
        .ok_or("the answer has no UDP candidate")?;
    Ok(Answer { credentials, address })
}

/// The address of a UDP candidate (RFC 8839 section 5.1).
fn candidate(value: &str) -> Option<SocketAddr> {
    let mut fields = value.split_whitespace();
    let transport = fields.nth(2)?;
    let address: IpAddr = fields.nth(1)?.parse().ok()?;
    let port: u16 = fields.next()?.parse().ok()?;
    transport
        .eq_ignore_ascii_case("udp")
        .then_some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Credentials {
        Credentials {
            ufrag: "abcd".to_owned(),
            password: "a password of many characters".to_owned(),
        }
    }

    #[test]
    fn an_offer_has_a_section_for_each_line() {
        let lines = [
            Line::SendAudio { ssrc: 1 },
            Line::SendVideo {
                ssrc: 2,
                rids: &["q", "h", "f"],
            },
            Line::ReceiveVideo,
        ];
        let offer = offer(&local(), "AA:BB", &lines);
        assert!(offer.contains("a=group:BUNDLE 0 1 2\r\n"));
        assert!(offer.contains("a=simulcast:send q;h;f\r\n"));
        assert_eq!(offer.matches("a=sendonly").count(), 2);
        assert_eq!(offer.matches("a=recvonly").count(), 1);
        assert!(!offer.contains("a=ssrc:2"), "rids name the streams");
    }

    #[test]
    fn an_offer_to_send_is_taken_as_it_is() {
        let own = offer(&local(), "AA:BB", &[Line::ReceiveAudio]);
        let theirs = "v=0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendonly\r\na=mid:0\r\n\
                      a=ice-ufrag:them\r\na=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:7 cname:x\r\n\
                      a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n";
        assert_eq!(
            reply(theirs, &own).unwrap(),
            "v=0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=recvonly\r\na=mid:0\r\n\
             a=ice-ufrag:abcd\r\na=ice-pwd:a password of many characters\r\na=fingerprint:sha-256 AA:BB\r\n\
             a=setup:active\r\na=rtpmap:111 opus/48000/2\r\n"
        );
    }

    #[test]
    fn an_answer_gives_the_nearest_udp_candidate() {
        let sdp = "v=0\r\na=ice-ufrag:xyz\r\na=ice-pwd:secret\r\n\
                   a=candidate:1 1 tcp 1 127.0.0.1 7881 typ host tcptype passive\r\n\
                   a=candidate:2 1 udp 2 192.0.2.1 7882 typ host\r\na=candidate:3 1 UDP 3 127.0.0.1 7882 typ host\r\n";
        let answer = answer(sdp).unwrap();
        assert_eq!(answer.address, "127.0.0.1:7882".parse().unwrap());
        assert_eq!(answer.credentials.ufrag, "xyz");
        assert!(super::answer("v=0\r\n").is_err());
    }
}
