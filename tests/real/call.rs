//! Participants of a call: a signalling connection and a peer each, put together as the product's
//! own client does it.

use std::net::SocketAddr;

use kall_shared::media::{Kind, Source};
use kall_shared::signalling::{ClientMessage, ServerMessage};
use kall_tests::server::Server;
use kall_tests::signalling::{Client, Meeting};
use kall_tests::wait::until;
use webrtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use crate::pattern::behind_descriptor;
use crate::peer::Peer;
use crate::relay::Relay;

/// The profiles of a browser, in Chromium's order.
pub(crate) const ALL_PROFILES: [SrtpProtectionProfile; 3] = [
    SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
    SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
    SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
];

/// How a participant takes part.
pub(crate) struct How<'a> {
    pub(crate) publishes: bool,
    pub(crate) relayed: bool,
    pub(crate) srtp: &'a [SrtpProtectionProfile],
}

impl How<'_> {
    pub(crate) const PUBLISHER: How<'static> = How {
        publishes: true,
        relayed: false,
        srtp: &ALL_PROFILES,
    };
    pub(crate) const SUBSCRIBER: How<'static> = How {
        publishes: false,
        relayed: false,
        srtp: &ALL_PROFILES,
    };
    pub(crate) const RELAYED_PUBLISHER: How<'static> = How {
        publishes: true,
        relayed: true,
        srtp: &ALL_PROFILES,
    };
}

/// One participant.
pub(crate) struct Participant {
    pub(crate) token: String,
    pub(crate) signalling: Client,
    pub(crate) peer: Peer,
    /// The offer as the peer wrote it.
    pub(crate) offer: String,
    /// The answer as the server wrote it.
    pub(crate) answer: String,
    pub(crate) relay: Option<Relay>,
}

impl Participant {
    /// Joins as a guest, negotiates, connects, and lets its media flow.
    pub(crate) async fn join(server: &Server, meeting: &Meeting, name: &str, how: How<'_>) -> Self {
        let token = meeting.guest(server, name).await;
        let mut signalling = Client::connect(server, &token).await;
        signalling.join(&meeting.slug, None).await;
        let (peer, offer, answer, relay) = negotiate(&mut signalling, how).await;
        Self {
            token,
            signalling,
            peer,
            offer,
            answer,
            relay,
        }
    }

    /// Builds a new peer connection, as a client does after the data plane was lost.
    pub(crate) async fn offer_anew(&mut self, how: How<'_>) {
        (self.peer, self.offer, self.answer, self.relay) = negotiate(&mut self.signalling, how).await;
    }

    /// Waits for the track of `kind` that `from` publishes.
    pub(crate) async fn track_of(&mut self, from: &str, kind: Kind) -> String {
        self.signalling
            .expect("track_published", |message| match message {
                ServerMessage::TrackPublished {
                    track_id,
                    kind: its,
                    from: who,
                    ..
                } if who == from && *its == kind => Some(track_id.clone()),
                _ => None,
            })
            .await
    }

    /// Waits for the slot that `track` was put in, and gives its line.
    pub(crate) async fn slot_of(&mut self, track: &str) -> String {
        self.signalling
            .expect("slot", |message| match message {
                ServerMessage::Slot {
                    mid,
                    track_id: Some(id),
                    ..
                } if id == track => Some(mid.clone()),
                _ => None,
            })
            .await
    }

    /// The lines of the slots that get microphone and camera of `from`.
    pub(crate) async fn slots_of(&mut self, from: &str) -> (String, String) {
        let audio = self.track_of(from, Kind::Audio).await;
        let video = self.track_of(from, Kind::Video).await;
        (self.slot_of(&audio).await, self.slot_of(&video).await)
    }

    /// Waits until `more` further packets came in a slot.
    pub(crate) async fn until_more(&self, mid: &str, more: usize) {
        let before = self.peer.count(mid);
        let what = format!("{more} more packets in slot {mid} after {before}");
        until(&what, async || {
            (self.peer.count(mid) >= before + more).then_some(())
        })
        .await;
    }
}

async fn negotiate(signalling: &mut Client, how: How<'_>) -> (Peer, String, String, Option<Relay>) {
    let mut peer = Peer::new(how.publishes, how.srtp).await;
    let offer = peer.offer().await;
    if how.publishes {
        for (mid, source) in [("0", Source::Microphone), ("1", Source::Camera)] {
            let mid = mid.to_owned();
            signalling.send(ClientMessage::Publish { mid, source }).await;
        }
    }
    signalling
        .send(ClientMessage::Offer {
            sdp: offer.clone(),
            to: None,
        })
        .await;
    let answer = signalling
        .expect("the answer", |message| match message {
            ServerMessage::Answer { sdp, from: None } => Some(sdp.clone()),
            _ => None,
        })
        .await;
    let relay = if how.relayed {
        Some(Relay::start(candidate(&answer)).await)
    } else {
        None
    };
    match &relay {
        Some(relay) => peer.accept(&with_candidate(&answer, relay.address)).await,
        None => peer.accept(&answer).await,
    }
    peer.connected().await;
    peer.start_media();
    (peer, offer, answer, relay)
}

/// Asserts that what came in `mid` is a gapless run of what `publisher` sent, byte for byte, with
/// continuous sequence numbers on one SSRC. Gives the number of packets compared.
pub(crate) fn assert_delivered(publisher: &Peer, subscriber: &Peer, mid: &str, kind: Kind) -> usize {
    let mut received = subscriber.slot(mid);
    // The network may reorder, and retransmissions come late; the numbers tell the order.
    let first = received.first().expect("something came").sequence;
    received.sort_by_key(|packet| packet.sequence.wrapping_sub(first) as i16);
    let sent = publisher.sent.lock().expect("no sender panicked");
    let sent = match kind {
        Kind::Audio => &sent.audio,
        Kind::Video => &sent.video,
    };
    let media = |payload: &[u8]| match kind {
        Kind::Audio => payload.to_vec(),
        Kind::Video => behind_descriptor(payload).expect("a whole descriptor").to_vec(),
    };
    let start = media(&received[0].payload);
    let start = sent
        .iter()
        .position(|payload| *payload == start)
        .expect("the first payload was sent");
    for (index, packet) in received.iter().enumerate() {
        assert_eq!(packet.ssrc, received[0].ssrc, "a slot keeps its SSRC");
        assert_eq!(
            packet.sequence,
            received[0].sequence.wrapping_add(index as u16),
            "packet {index} of {mid}: sequence numbers have neither gaps nor repetitions"
        );
        assert!(
            media(&packet.payload) == sent[start + index],
            "packet {index} of {mid} is byte for byte what was sent"
        );
    }
    received.len()
}

/// The candidate in an answer.
pub(crate) fn candidate(answer: &str) -> SocketAddr {
    let line = answer
        .lines()
        .find(|line| line.starts_with("a=candidate:"))
        .unwrap_or_else(|| panic!("the answer has a candidate:\n{answer}"));
    let fields: Vec<&str> = line.split_whitespace().collect();
    format!("{}:{}", fields[4], fields[5])
        .parse()
        .expect("address and port")
}

fn with_candidate(answer: &str, address: SocketAddr) -> String {
    answer
        .lines()
        .map(|line| {
            if !line.starts_with("a=candidate:") {
                return format!("{line}\r\n");
            }
            let mut fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            fields[4] = address.ip().to_string();
            fields[5] = address.port().to_string();
            format!("{}\r\n", fields.join(" "))
        })
        .collect()
}

/// One `a=` value of an answer, such as the ufrag.
pub(crate) fn attribute<'a>(answer: &'a str, name: &str) -> &'a str {
    let prefix = format!("a={name}:");
    answer
        .lines()
        .find_map(|line| line.strip_prefix(prefix.as_str()))
        .unwrap_or_else(|| panic!("the answer has a={name}:\n{answer}"))
}
