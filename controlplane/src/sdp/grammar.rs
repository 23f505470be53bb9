//! An offer's text, line by line: which lines are read, and to which section they belong.
//!
//! What one line means is `webrtc-sdp`'s business. Its walk over a whole description is not used:
//! its time grows with the square of the lines, a media line of a protocol it does not know falls
//! away and leaves its attributes to the line before, and it reads attributes that mean nothing
//! here, some of them slowly. RFC 8866 section 5 has a reader ignore what it does not understand,
//! so the time spent here grows with the text alone.

use webrtc_sdp::error::SdpParserError;
use webrtc_sdp::media_type::SdpMedia;
use webrtc_sdp::{SdpSession, SdpType, parse_sdp_line};

use super::SdpError;

/// Media lines of an offer that are looked at, rejected ones and data channels included.
const MEDIA_LINES_MAX: usize = 2 * kall_shared::media::limits::MEDIA_LINES;

/// Longest line that is read, in bytes: the group of as many lines with the longest mids fits twice.
const LINE_MAX: usize = 8 << 10;

/// Attributes that mean something here.
const ATTRIBUTES: [&str; 21] = [
    "bundle-only",
    "extmap",
    "extmap-allow-mixed",
    "fingerprint",
    "fmtp",
    "group",
    "ice-pwd",
    "ice-ufrag",
    "inactive",
    "mid",
    "recvonly",
    "rid",
    "rtcp-fb",
    "rtcp-mux",
    "rtpmap",
    "sendonly",
    "sendrecv",
    "setup",
    "simulcast",
    "ssrc",
    "ssrc-group",
];

/// Reads the lines that matter.
///
/// # Errors
/// A line that is not SDP, or not where it belongs.
pub(super) fn parse(text: &str) -> Result<SdpSession, SdpError> {
    let mut lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let mut next = || lines.next().map(|(index, line)| read(index, line)).transpose();
    let Some(Some(SdpType::Version(version))) = next()? else {
        return Err(SdpError::Session("the first line must be v=0"));
    };
    let Some(Some(SdpType::Origin(origin))) = next()? else {
        return Err(SdpError::Session("the second line must be o="));
    };
    let mut session = SdpSession::new(version, origin, String::new());
    for (index, line) in lines {
        let added = match read(index, line)? {
            Some(SdpType::Media(media)) => {
                if session.media.len() == MEDIA_LINES_MAX {
                    return Err(SdpError::Session("too many media lines"));
                }
                session.media.push(SdpMedia::new(media));
                Ok(())
            }
            Some(SdpType::Attribute(attribute)) => match session.media.last_mut() {
                Some(media) => media.add_attribute(attribute),
                None => session.add_attribute(attribute),
            },
            Some(_) => return Err(SdpError::Session("v= and o= come first, and once")),
            None => Ok(()),
        };
        added.map_err(|error| SdpError::Grammar(error.to_string()))?;
    }
    Ok(session)
}

/// The meaning of a line, if it has one here.
fn read(index: usize, line: &str) -> Result<Option<SdpType>, SdpError> {
    let grammar = |reason: &str| SdpError::Grammar(format!("line {}: {reason}", index + 1));
    let (kind, value) = line
        .split_once('=')
        .ok_or_else(|| grammar("not of the form x=..."))?;
    match kind {
        "a" => {
            let name = value.split(':').next().unwrap_or_default().trim();
            if !ATTRIBUTES.contains(&name.to_ascii_lowercase().as_str()) {
                return Ok(None);
            }
        }
        "v" | "o" | "m" => {}
        // RFC 8866 section 5 knows no other.
        "s" | "i" | "u" | "e" | "p" | "c" | "b" | "t" | "r" | "z" | "k" => return Ok(None),
        _ => return Err(grammar("of no known type")),
    }
    if line.len() > LINE_MAX {
        return Err(grammar("too long"));
    }
    match parse_sdp_line(line, index) {
        Ok(line) => Ok(Some(line.sdp_type)),
        // An attribute's value that the library does not know. A media line can't be left out: the
        // answer must mirror it.
        Err(SdpParserError::Unsupported { .. }) if kind == "a" => Ok(None),
        Err(SdpParserError::Unsupported { error, .. } | SdpParserError::Line { error, .. }) => {
            Err(grammar(&error.to_string()))
        }
        Err(SdpParserError::Sequence { message, .. }) => Err(grammar(&message)),
    }
}
