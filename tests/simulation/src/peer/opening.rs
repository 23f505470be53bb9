//! What the server sent to a peer, opened and read where it leaves the server.
//!
//! A path can only delay a packet or lose it, so it is opened once, before the path, and what travels is
//! what it says. That is faster, and shows the server's side of the story to the checker whether the
//! packet arrives or not.

use kall_dataplane::wire::demux::{Class, classify};
use kall_dataplane::wire::rtp::Packet;
use kall_dataplane::wire::rtp_ext::read_transport_sequence;
use kall_shared::media::Codec;

use super::Peer;
use super::microphone::{self, Spoken};
use super::negotiation::{
    AV1, AV1_RTX, EXT_DEPENDENCIES, EXT_TRANSPORT, H264, H264_RTX, VP8, VP8_RTX, VP9, VP9_RTX,
};
use crate::codec::{self, Facts};

/// Something on its way to a peer.
#[derive(Debug, Clone)]
pub(crate) enum Delivery {
    /// The answer to a connectivity check.
    Checked,
    Media(Media),
    /// An RTCP compound.
    Control(Vec<u8>),
}

/// A packet of a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Media {
    /// Index among the slots of its kind.
    pub(crate) slot: u8,
    /// It is sent again (RFC 4588).
    pub(crate) again: bool,
    /// Its number; the original one if it is sent again.
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) transport: Option<u16>,
    /// Bytes of the datagram.
    pub(crate) len: u16,
    pub(crate) content: Content,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content {
    Audio(Spoken),
    Video(Facts),
    /// Nothing: it measures the path.
    Padding,
}

impl Peer {
    /// Opens a datagram of the server.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn open(&mut self, datagram: &mut [u8]) -> Result<Delivery, &'static str> {
        match classify(datagram) {
            Class::Stun => Ok(Delivery::Checked),
            Class::Rtp => self.open_media(datagram).map(Delivery::Media),
            Class::Rtcp => {
                let inbound = self.inbound.as_mut().ok_or("RTCP before the keys")?;
                let len = inbound
                    .unprotect_rtcp(datagram)
                    .map_err(|_| "RTCP that does not open")?;
                Ok(Delivery::Control(datagram[..len].to_vec()))
            }
            Class::Dtls | Class::Other => Err("a datagram of no class that the server sends"),
        }
    }

    fn open_media(&mut self, datagram: &mut [u8]) -> Result<Media, &'static str> {
        let inbound = self.inbound.as_mut().ok_or("RTP before the keys")?;
        let sealed = u16::try_from(datagram.len()).map_err(|_| "a giant")?;
        let opened = inbound
            .unprotect_rtp(datagram)
            .map_err(|_| "RTP that does not open")?;
        let packet = Packet::parse(&datagram[..opened.len]).map_err(|_| "RTP that is malformed")?;
        let transport = packet.extension(EXT_TRANSPORT).and_then(read_transport_sequence);
        let (slot, again, content, sequence) = self.content(&packet)?;
        Ok(Media {
            slot: u8::try_from(slot).map_err(|_| "a slot of no peer")?,
            again,
            sequence,
            timestamp: packet.timestamp(),
            marker: packet.marker(),
            transport,
            len: sealed,
            content,
        })
    }

    fn content(&mut self, packet: &Packet<'_>) -> Result<(usize, bool, Content, u16), &'static str> {
        let ssrc = packet.ssrc();
        let payload = packet.payload();
        let descriptor = packet.extension(EXT_DEPENDENCIES).unwrap_or_default();
        if let Some(slot) = self.video.iter().position(|(slot, _)| slot.ssrc == ssrc) {
            let content = self.picture(slot, packet.payload_type(), descriptor, payload)?;
            return Ok((slot, false, content, packet.sequence()));
        }
        if let Some(slot) = self.video.iter().position(|(slot, _)| slot.rtx_ssrc == ssrc) {
            let codec = match packet.payload_type() {
                VP8_RTX => VP8,
                VP9_RTX => VP9,
                AV1_RTX => AV1,
                H264_RTX => H264,
                _ => return Err("a retransmission of no codec"),
            };
            let Some((original, payload)) = payload.split_first_chunk::<2>() else {
                return Ok((slot, true, Content::Padding, 0));
            };
            let content = self.picture(slot, codec, descriptor, payload)?;
            return Ok((slot, true, content, u16::from_be_bytes(*original)));
        }
        let slot = self.audio.iter().position(|(slot, _)| slot.ssrc == ssrc);
        let slot = slot.ok_or("an SSRC that the answer does not name")?;
        let spoken = microphone::read(payload).ok_or("sound that nobody made")?;
        Ok((slot, false, Content::Audio(spoken), packet.sequence()))
    }

    fn picture(
        &mut self,
        slot: usize,
        payload_type: u8,
        descriptor: &[u8],
        payload: &[u8],
    ) -> Result<Content, &'static str> {
        if payload.is_empty() {
            return Ok(Content::Padding);
        }
        let codec = match payload_type {
            VP8 => Codec::Vp8,
            VP9 => Codec::Vp9,
            H264 => Codec::H264,
            AV1 => Codec::Av1,
            _ => return Err("a payload type that the offer does not name"),
        };
        let structures = &mut self.video[slot].0.structures;
        codec::read(codec, payload, descriptor, structures)
            .map(Content::Video)
            .ok_or("a picture that no encoder made")
    }
}
