//! Which line, layer and role an incoming SSRC has.
//!
//! A stream is named by what its packets carry (mid with rid or repaired-rid, RFC 8852), by what the
//! offer declared (`a=ssrc`, FID groups), or by a payload type that only one publishing line uses
//! (RFC 8843 section 9.2). Browsers stop sending the names once a report has come, so a mapping is
//! kept for the life of the session. Only authenticated packets get here.

use kall_shared::id::{Mid, Rid};
use kall_shared::media::{CodecParams, Extension, MediaLine};

use crate::limits;
use crate::session::formats::{ExtensionIds, Format, format_of};
use crate::wire::rtp::Packet;
use crate::wire::rtp_ext::read_text;

/// A stream's place in the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// The stream.
    pub ssrc: u32,
    /// Index of its line.
    pub line: u8,
    /// Index of its layer: its rid's place in the offer, 0 without rids.
    pub layer: u8,
    /// Whether it carries retransmissions.
    pub rtx: bool,
}

impl Stream {
    /// What only one stream of a session is at a time: its line, its layer, and whether it repairs.
    fn role(&self) -> (u8, u8, bool) {
        (self.line, self.layer, self.rtx)
    }
}

/// The streams a session has shown so far.
#[derive(Debug, Default)]
pub struct IncomingStreams {
    streams: Vec<Stream>,
    /// By index of the line: what its streams are named by.
    named_by: Vec<Option<(Mid, Vec<Rid>)>>,
}

/// Why a packet belongs to no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmapped {
    /// Nothing names it yet: browsers probe like this before media flows.
    Unknown,
    /// The session has named as many streams as it may.
    TooMany,
}

impl IncomingStreams {
    /// The stream of a packet, and what its payload type means on the stream's line.
    ///
    /// # Errors
    /// [`Unmapped`] when nothing names the stream or its payload type.
    pub fn resolve(
        &mut self,
        packet: &Packet<'_>,
        lines: &[MediaLine],
        ids: &ExtensionIds,
    ) -> Result<(Stream, Format), Unmapped> {
        let known = self
            .streams
            .iter()
            .find(|stream| stream.ssrc == packet.ssrc())
            .copied();
        let stream = match known {
            Some(stream) => stream,
            None => {
                let stream = name(packet, lines, ids).ok_or(Unmapped::Unknown)?;
                if self.streams.len() == limits::INBOUND_STREAMS {
                    return Err(Unmapped::TooMany);
                }
                self.streams.push(stream);
                stream
            }
        };
        if !self.is_newest(stream) {
            return Err(Unmapped::Unknown);
        }
        let line = lines.get(usize::from(stream.line)).ok_or(Unmapped::Unknown)?;
        let format = format_of(line, packet.payload_type()).ok_or(Unmapped::Unknown)?;
        if matches!(format, Format::Rtx(_)) != stream.rtx {
            return Err(Unmapped::Unknown);
        }
        Ok((stream, format))
    }

    /// Whether no later SSRC took the stream's place. A replaced one never comes back: everything
    /// known of a layer goes with its SSRC, and two that took turns would make each packet a new
    /// beginning.
    fn is_newest(&self, stream: Stream) -> bool {
        stream.rtx
            || self
                .streams
                .iter()
                .rfind(|other| other.role() == stream.role())
                .is_none_or(|newest| newest.ssrc == stream.ssrc)
    }

    /// Says what the lines are now. Streams of a line that publishes other layers than before are forgotten; those
    /// of one that rests are kept: when it goes on, browsers don't repeat the names. Replaced ones go, so that who
    /// takes new streams each time does not run out of them.
    pub fn set_lines(&mut self, lines: &[MediaLine]) {
        let before = std::mem::take(&mut self.streams);
        let replaced = |index: usize| {
            before[index + 1..]
                .iter()
                .any(|later| later.role() == before[index].role())
        };
        self.streams = (0..before.len())
            .filter(|index| !replaced(*index))
            .map(|index| before[index])
            .collect();
        self.named_by.resize(self.named_by.len().max(lines.len()), None);
        for (index, line) in lines.iter().enumerate() {
            let Some(publish) = &line.publish else { continue };
            let now = (line.mid.clone(), publish.rids.clone());
            let before = self.named_by[index].replace(now);
            if before.is_some() && before != self.named_by[index] {
                self.streams.retain(|stream| usize::from(stream.line) != index);
            }
        }
    }
}

fn name(packet: &Packet<'_>, lines: &[MediaLine], ids: &ExtensionIds) -> Option<Stream> {
    let (mut mid, mut rid, mut repaired) = (None, None, None);
    for (id, data) in packet.extensions() {
        match ids.extension(id) {
            Some(Extension::Mid) => mid = read_text(data),
            Some(Extension::Rid) => rid = read_text(data),
            Some(Extension::RepairedRid) => repaired = read_text(data),
            _ => {}
        }
    }
    let ssrc = packet.ssrc();
    if let Some(mid) = mid {
        let (line, params) = lines
            .iter()
            .enumerate()
            .find(|(_, line)| line.mid.as_str() == mid)?;
        return named_on(packet, line, params, rid, repaired);
    }
    for (line, params) in lines.iter().enumerate() {
        let Some(publish) = &params.publish else { continue };
        for (layer, declared) in publish.ssrcs.iter().enumerate() {
            if declared.ssrc == ssrc || declared.rtx == Some(ssrc) {
                return Some(Stream {
                    ssrc,
                    line: line as u8,
                    layer: layer as u8,
                    rtx: declared.rtx == Some(ssrc),
                });
            }
        }
    }
    let mut candidates = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.publish.is_some() && format_of(line, packet.payload_type()).is_some());
    let (line, params) = candidates.next()?;
    if candidates.next().is_some() {
        return None;
    }
    named_on(packet, line, params, rid, repaired)
}

fn named_on(
    packet: &Packet<'_>,
    line: usize,
    params: &MediaLine,
    rid: Option<&str>,
    repaired: Option<&str>,
) -> Option<Stream> {
    let publish = params.publish.as_ref()?;
    let rtx = matches!(format_of(params, packet.payload_type())?, Format::Rtx(_));
    let layer = match if rtx { repaired.or(rid) } else { rid } {
        Some(rid) => publish.rids.iter().position(|known| known.as_str() == rid)?,
        // Without a rid only a single encoding is unambiguous, unless the offer declared the SSRC.
        None if publish.rids.is_empty() => 0,
        None => publish
            .ssrcs
            .iter()
            .position(|declared| declared.ssrc == packet.ssrc() || declared.rtx == Some(packet.ssrc()))?,
    };
    // An unannounced primary beside a known one must not take over an RTX stream's place.
    Some(Stream {
        ssrc: packet.ssrc(),
        line: line as u8,
        layer: layer as u8,
        rtx,
    })
}

/// The layers a line can have: one per rid, at least one.
#[must_use]
pub fn layer_count(line: &MediaLine) -> usize {
    line.publish
        .as_ref()
        .map_or(0, |publish| publish.rids.len().max(1))
}

/// The codec of a format, whichever role it has.
#[must_use]
pub fn codec_of(format: Format) -> CodecParams {
    match format {
        Format::Primary(codec) | Format::Rtx(codec) => codec,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtp::{HeaderFields, write_header};
    use kall_shared::id::TrackId;
    use kall_shared::media::{Codec, ExtensionParams, Kind, PublishParams, Source, SsrcParams};

    fn camera(rids: &[&str], ssrcs: Vec<SsrcParams>) -> MediaLine {
        MediaLine {
            mid: Mid::new("0").expect("valid"),
            kind: Kind::Video,
            codecs: vec![CodecParams {
                pt: 96,
                rtx_pt: Some(97),
                codec: Codec::Vp8,
                h264_profile: None,
                feedback: Default::default(),
            }],
            extensions: vec![
                ExtensionParams {
                    id: 9,
                    extension: Extension::Mid,
                },
                ExtensionParams {
                    id: 10,
                    extension: Extension::Rid,
                },
                ExtensionParams {
                    id: 11,
                    extension: Extension::RepairedRid,
                },
            ],
            publish: Some(PublishParams {
                track: TrackId::new("tr_1").expect("valid"),
                source: Source::Camera,
                rids: rids.iter().map(|rid| Rid::new(*rid).expect("valid")).collect(),
                ssrcs,
                muted: false,
            }),
            slot: false,
        }
    }

    fn packet(buf: &mut [u8], payload_type: u8, ssrc: u32, extensions: &[(u8, &[u8])]) -> usize {
        let fields = HeaderFields {
            marker: false,
            payload_type,
            sequence: 1,
            timestamp: 1,
            ssrc,
        };
        let len = write_header(buf, &fields, extensions).expect("fits");
        buf[len] = 0;
        len + 1
    }

    fn resolve(
        streams: &mut IncomingStreams,
        lines: &[MediaLine],
        payload_type: u8,
        ssrc: u32,
        extensions: &[(u8, &[u8])],
    ) -> Result<Stream, Unmapped> {
        let mut buf = [0; 128];
        let len = packet(&mut buf, payload_type, ssrc, extensions);
        let packet = Packet::parse(&buf[..len]).expect("valid");
        streams
            .resolve(&packet, lines, &ExtensionIds::of_lines(lines))
            .map(|(stream, _)| stream)
    }

    #[test]
    fn rid_and_repaired_rid_name_a_layer_for_good() {
        let lines = [camera(&["q", "h", "f"], vec![])];
        let mut streams = IncomingStreams::default();
        let named = resolve(&mut streams, &lines, 96, 1, &[(9, b"0"), (10, b"h")]);
        assert_eq!(
            named,
            Ok(Stream {
                ssrc: 1,
                line: 0,
                layer: 1,
                rtx: false
            })
        );
        let repair = resolve(&mut streams, &lines, 97, 2, &[(9, b"0"), (11, b"h")]);
        assert_eq!(
            repair,
            Ok(Stream {
                ssrc: 2,
                line: 0,
                layer: 1,
                rtx: true
            })
        );
        assert_eq!(
            resolve(&mut streams, &lines, 96, 1, &[]),
            named,
            "names are not repeated for ever"
        );
        assert_eq!(
            resolve(&mut streams, &lines, 97, 1, &[]),
            Err(Unmapped::Unknown),
            "roles do not change"
        );
    }

    #[test]
    fn a_line_that_rests_keeps_its_names_and_one_of_other_layers_does_not() {
        let mut lines = [camera(&["q", "f"], vec![])];
        let mut streams = IncomingStreams::default();
        streams.set_lines(&lines);
        let named = resolve(&mut streams, &lines, 96, 1, &[(9, b"0"), (10, b"f")]);
        assert!(named.is_ok());
        let publish = lines[0].publish.take();
        streams.set_lines(&lines);
        lines[0].publish = publish;
        streams.set_lines(&lines);
        assert_eq!(resolve(&mut streams, &lines, 96, 1, &[]), named);
        for other in [
            camera(&["f", "q"], vec![]),
            MediaLine {
                mid: Mid::new("7").expect("valid"),
                ..camera(&["q", "f"], vec![])
            },
        ] {
            let mut streams = IncomingStreams::default();
            streams.set_lines(&lines);
            assert_eq!(
                resolve(&mut streams, &lines, 96, 1, &[(9, b"0"), (10, b"f")]),
                named
            );
            let others = [other];
            streams.set_lines(&others);
            assert_eq!(resolve(&mut streams, &others, 96, 1, &[]), Err(Unmapped::Unknown));
        }
    }

    #[test]
    fn new_streams_for_every_share_are_no_end_of_them() {
        let lines = [camera(&["q", "f"], vec![])];
        let mut streams = IncomingStreams::default();
        for share in 0..limits::INBOUND_STREAMS as u32 {
            streams.set_lines(&lines);
            for (ssrc, payload_type, name) in [(0, 96, 10), (1, 97, 11), (2, 96, 10), (3, 97, 11)] {
                let rid: &[u8] = if ssrc < 2 { b"q" } else { b"f" };
                let named = resolve(
                    &mut streams,
                    &lines,
                    payload_type,
                    share * 4 + ssrc,
                    &[(9, b"0"), (name, rid)],
                );
                assert!(named.is_ok(), "share {share}");
            }
        }
    }

    #[test]
    fn declared_ssrcs_name_layers_in_the_order_of_the_offer() {
        let declared = vec![
            SsrcParams {
                ssrc: 10,
                rtx: Some(11),
            },
            SsrcParams {
                ssrc: 20,
                rtx: Some(21),
            },
        ];
        let lines = [camera(&["q", "h"], declared)];
        let mut streams = IncomingStreams::default();
        assert_eq!(
            resolve(&mut streams, &lines, 97, 21, &[]),
            Ok(Stream {
                ssrc: 21,
                line: 0,
                layer: 1,
                rtx: true
            })
        );
    }

    #[test]
    fn a_payload_type_names_a_line_only_when_no_other_uses_it() {
        let one = [camera(&[], vec![])];
        let mut streams = IncomingStreams::default();
        assert!(resolve(&mut streams, &one, 96, 5, &[]).is_ok());
        let mut second = camera(&[], vec![]);
        second.mid = Mid::new("1").expect("valid");
        let two = [camera(&[], vec![]), second];
        assert_eq!(
            resolve(&mut IncomingStreams::default(), &two, 96, 5, &[]),
            Err(Unmapped::Unknown)
        );
    }

    #[test]
    fn an_unknown_rid_or_payload_type_is_no_stream() {
        let lines = [camera(&["q"], vec![])];
        let mut streams = IncomingStreams::default();
        assert_eq!(
            resolve(&mut streams, &lines, 96, 1, &[(9, b"0"), (10, b"x")]),
            Err(Unmapped::Unknown)
        );
        assert_eq!(
            resolve(&mut streams, &lines, 50, 1, &[(9, b"0"), (10, b"q")]),
            Err(Unmapped::Unknown)
        );
    }

    #[test]
    fn streams_are_bounded() {
        let lines = [camera(&[], vec![])];
        let mut streams = IncomingStreams::default();
        for ssrc in 0..limits::INBOUND_STREAMS as u32 {
            assert!(resolve(&mut streams, &lines, 96, ssrc, &[]).is_ok());
        }
        assert_eq!(
            resolve(&mut streams, &lines, 96, u32::MAX, &[]),
            Err(Unmapped::TooMany)
        );
    }
}
