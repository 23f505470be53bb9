//! Participants of a call: a signalling connection and a peer each, put together as the product's
//! own client does it.

use std::net::SocketAddr;

use kall_shared::media::{Kind, Source};
use kall_shared::signalling::{ClientMessage, ServerMessage};
use kall_tests::server::Server;
use kall_tests::signalling::{Client, Meeting};
use kall_tests::wait::until;
use webrtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use webrtc::ice::network_type::NetworkType;

use crate::pattern::behind_descriptor;
use crate::peer::Peer;
use crate::relay::Relay;
use crate::tunnel::Tunnel;

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
    /// Lives as long as the participant.
    pub(crate) tunnel: Option<Tunnel>,
}

/// By which way a participant reaches the data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Datagrams over IPv4.
    Udp4,
    /// Datagrams over IPv6.
    Udp6,
    /// Its datagrams as frames on a TCP connection.
    Tcp,
}

/// What stands between a peer and the data plane.
enum Between {
    Relay(Relay),
    Tunnel(Tunnel),
}

impl Between {
    fn split(self) -> (Option<Relay>, Option<Tunnel>) {
        match self {
            Self::Relay(relay) => (Some(relay), None),
            Self::Tunnel(tunnel) => (None, Some(tunnel)),
        }
    }
}

impl Participant {
    /// Joins as a guest, negotiates, connects, and lets its media flow.
    pub(crate) async fn join(server: &Server, meeting: &Meeting, name: &str, how: How<'_>) -> Self {
        Self::join_by(server, meeting, name, how, Way::Udp4).await
    }

    /// The same by another way than datagrams over IPv4.
    pub(crate) async fn join_by(
        server: &Server,
        meeting: &Meeting,
        name: &str,
        how: How<'_>,
        way: Way,
    ) -> Self {
        let token = meeting.guest(server, name).await;
        let mut signalling = Client::connect(server, &token).await;
        signalling.join(&meeting.slug, None).await;
        let (peer, offer, answer, between) = negotiate(&mut signalling, how, way).await;
        let (relay, tunnel) = between.map_or((None, None), Between::split);
        Self {
            token,
            signalling,
            peer,
            offer,
            answer,
            relay,
            tunnel,
        }
    }

    /// Restarts ICE on the connection it has, as a client does whose network changed.
    pub(crate) async fn restart_ice(&mut self) {
        self.offer = self.peer.restarting_offer().await;
        self.answer = exchange(&mut self.signalling, &self.offer).await;
        self.peer.accept(&self.answer).await;
    }

    /// Builds a new peer connection, as a client does after the data plane was lost.
    pub(crate) async fn offer_anew(&mut self, how: How<'_>) {
        let (peer, offer, answer, between) = negotiate(&mut self.signalling, how, Way::Udp4).await;
        (self.peer, self.offer, self.answer) = (peer, offer, answer);
        (self.relay, self.tunnel) = between.map_or((None, None), Between::split);
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

async fn negotiate(
    signalling: &mut Client,
    how: How<'_>,
    way: Way,
) -> (Peer, String, String, Option<Between>) {
    let network = match way {
        Way::Udp4 | Way::Tcp => NetworkType::Udp4,
        Way::Udp6 => NetworkType::Udp6,
    };
    let mut peer = Peer::new(how.publishes, how.srtp, network).await;
    let offer = peer.offer().await;
    if how.publishes {
        for (mid, source) in [("0", Source::Microphone), ("1", Source::Camera)] {
            let mid = mid.to_owned();
            signalling.send(ClientMessage::Publish { mid, source }).await;
        }
    }
    let answer = exchange(signalling, &offer).await;
    let (between, address) = if way == Way::Tcp {
        let tunnel = Tunnel::start(tcp_candidate(&answer)).await;
        let address = tunnel.address;
        (Some(Between::Tunnel(tunnel)), Some(address))
    } else if how.relayed {
        let relay = Relay::start(candidate(&answer)).await;
        let address = relay.address;
        (Some(Between::Relay(relay)), Some(address))
    } else {
        (None, None)
    };
    match address {
        Some(address) => peer.accept(&with_candidate(&answer, address)).await,
        None => peer.accept(&answer).await,
    }
    peer.connected().await;
    peer.start_media();
    (peer, offer, answer, between)
}

/// Sends an offer and waits for its answer.
async fn exchange(signalling: &mut Client, offer: &str) -> String {
    signalling
        .send(ClientMessage::Offer {
            sdp: offer.to_owned(),
            to: None,
        })
        .await;
    signalling
        .expect("the answer", |message| match message {
            ServerMessage::Answer { sdp, from: None } => Some(sdp.clone()),
            _ => None,
        })
        .await
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

/// The first candidate in an answer, which is one of UDP.
pub(crate) fn candidate(answer: &str) -> SocketAddr {
    candidate_of(answer, |line| line.contains(" udp "))
}

/// The first candidate of ICE over TCP.
fn tcp_candidate(answer: &str) -> SocketAddr {
    candidate_of(answer, |line| {
        line.contains(" tcp ") && line.ends_with(" tcptype passive")
    })
}

fn candidate_of(answer: &str, wanted: fn(&str) -> bool) -> SocketAddr {
    let line = answer
        .lines()
        .find(|line| line.starts_with("a=candidate:") && wanted(line))
        .unwrap_or_else(|| panic!("the answer has such a candidate:\n{answer}"));
    let fields: Vec<&str> = line.split_whitespace().collect();
    format!("{}:{}", fields[4], fields[5])
        .parse()
        .expect("address and port")
}

/// The answer with one candidate instead of its own.
fn with_candidate(answer: &str, address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    let candidate = format!("a=candidate:1 1 udp 2130706431 {ip} {port} typ host\r\n");
    answer
        .lines()
        .filter(|line| !line.starts_with("a=candidate:"))
        .map(|line| {
            if line == "a=end-of-candidates" {
                format!("{candidate}{line}\r\n")
            } else {
                format!("{line}\r\n")
            }
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
