//! The `webrtc` crate: its packetizers and depacketizers, its ICE, DTLS, SRTP and SDP, and ffmpeg's codecs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kall_tests::av1::{self, Obus};
use kall_tests::server::Server;
use kall_tests::wait::DEADLINE;
use kall_tests::whip::{self, Session};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use webrtc::api::APIBuilder;
use webrtc::api::interceptor_registry::register_default_interceptors;
use webrtc::api::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use webrtc::api::setting_engine::SettingEngine;
use webrtc::ice::mdns::MulticastDnsMode;
use webrtc::ice::network_type::NetworkType;
use webrtc::interceptor::registry::Registry;
use webrtc::media::Sample;
use webrtc::media::io::sample_builder::SampleBuilder;
use webrtc::peer_connection::RTCPeerConnection;
use webrtc::peer_connection::configuration::RTCConfiguration;
use webrtc::peer_connection::sdp::session_description::RTCSessionDescription;
use webrtc::rtp::codecs::h264::H264Packet;
use webrtc::rtp::codecs::vp8::Vp8Packet;
use webrtc::rtp::codecs::vp9::Vp9Packet;
use webrtc::rtp::packet::Packet;
use webrtc::rtp::packetizer::Depacketizer;
use webrtc::rtp_transceiver::RTCRtpTransceiverInit;
use webrtc::rtp_transceiver::rtp_codec::{RTCRtpCodecCapability, RTPCodecType};
use webrtc::rtp_transceiver::rtp_transceiver_direction::RTCRtpTransceiverDirection;
use webrtc::track::track_local::TrackLocal;
use webrtc::track::track_local::track_local_static_sample::TrackLocalStaticSample;

use crate::clip::{Clip, RATE};
use crate::decoded::Decoded;
use crate::film::Film;
use crate::matrix::Coding;

/// Packets a sample may be late: more than a picture has.
const LATE: u16 = 200;

/// A peer connection of the crate behind a WHIP or WHEP session.
pub(crate) struct Peer {
    connection: Arc<RTCPeerConnection>,
    tasks: Vec<JoinHandle<()>>,
    session: Option<Session>,
}

impl Peer {
    async fn new() -> Self {
        // The workspace has two providers; the peers' DTLS wants one named. An earlier peer may have.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut media = MediaEngine::default();
        media
            .register_default_codecs()
            .expect("the default codecs are consistent");
        let registry = register_default_interceptors(Registry::new(), &mut media);
        let mut settings = SettingEngine::default();
        settings.set_network_types(vec![NetworkType::Udp4]);
        settings.set_include_loopback_candidate(true);
        settings.set_ip_filter(Box::new(|address| address.is_loopback()));
        settings.set_ice_multicast_dns_mode(MulticastDnsMode::Disabled);
        let api = APIBuilder::new()
            .with_media_engine(media)
            .with_interceptor_registry(registry.expect("the default interceptors fit"))
            .with_setting_engine(settings)
            .build();
        let connection = api.new_peer_connection(RTCConfiguration::default()).await;
        Self {
            connection: Arc::new(connection.expect("a peer connection")),
            tasks: Vec::new(),
            session: None,
        }
    }

    /// # Errors
    /// What the server said instead of 201.
    async fn negotiate(&mut self, server: &Server, path: &str, token: &str) -> Result<(), String> {
        let offer = self.connection.create_offer(None).await.expect("an offer");
        let mut gathered = self.connection.gathering_complete_promise().await;
        let set = self.connection.set_local_description(offer).await;
        set.expect("the own offer is accepted");
        let _ = gathered.recv().await;
        let offer = self.connection.local_description().await.expect("it was set").sdp;
        let session = whip::post(server, path, Some(token), offer).await;
        let session = session.map_err(|(status, body)| format!("{status} {body}"))?;
        let answer =
            RTCSessionDescription::answer(session.answer.clone()).map_err(|error| error.to_string())?;
        self.session = Some(session);
        let set = self.connection.set_remote_description(answer).await;
        set.map_err(|error| error.to_string())
    }

    async fn add_track(
        &mut self,
        capability: RTCRtpCodecCapability,
        samples: Vec<Bytes>,
        duration: Duration,
    ) {
        let track = TrackLocalStaticSample::new(capability, "track".to_owned(), "stream".to_owned());
        let track = Arc::new(track);
        let local: Arc<dyn TrackLocal + Send + Sync> = Arc::clone(&track) as _;
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Sendonly,
            send_encodings: Vec::new(),
        };
        let transceiver = self
            .connection
            .add_transceiver_from_track(local, Some(init))
            .await;
        let sender = transceiver.expect("a track can be added").sender().await;
        self.tasks.push(tokio::spawn(async move {
            // Interceptors see reports only while somebody reads them.
            while sender.read_rtcp().await.is_ok() {}
        }));
        self.tasks.push(tokio::spawn(async move {
            let mut pace = tokio::time::interval(duration);
            for data in samples.iter().cycle() {
                pace.tick().await;
                let sample = Sample {
                    data: data.clone(),
                    duration,
                    ..Default::default()
                };
                if track.write_sample(&sample).await.is_err() {
                    return;
                }
            }
        }));
    }

    /// Ends the session and the connection.
    ///
    /// # Errors
    /// When the session was not there any more.
    pub(crate) async fn stop(mut self) -> Result<(), String> {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        if let Some(session) = &self.session {
            let status = session.delete().await;
            if !status.is_success() {
                return Err(format!("DELETE: {status}"));
            }
        }
        self.connection.close().await.map_err(|error| error.to_string())
    }
}

impl Coding {
    fn capability(self) -> RTCRtpCodecCapability {
        RTCRtpCodecCapability {
            mime_type: format!("video/{}", self.name().to_uppercase()),
            clock_rate: 90_000,
            sdp_fmtp_line: match self {
                Self::Vp8 => "",
                Self::Vp9 | Self::Av1 => "profile-id=0",
                Self::H264 => "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            }
            .to_owned(),
            ..Default::default()
        }
    }
}

/// Sends a clip, again and again.
///
/// # Errors
/// What the server said.
pub(crate) async fn publish(
    server: &Server,
    path: &str,
    token: &str,
    coding: Coding,
    clip: &Clip,
) -> Result<Peer, String> {
    let mut peer = Peer::new().await;
    let opus = RTCRtpCodecCapability {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        ..Default::default()
    };
    let picture = Duration::from_nanos(1_000_000_000 / RATE);
    peer.add_track(coding.capability(), clip.pictures.clone(), picture)
        .await;
    peer.add_track(opus, clip.sound.clone(), Duration::from_millis(20))
        .await;
    peer.negotiate(server, path, token).await?;
    Ok(peer)
}

/// Plays until there is enough, and lets ffmpeg decode it.
///
/// # Errors
/// How far it came.
pub(crate) async fn play(
    server: &Server,
    path: &str,
    token: &str,
    coding: Coding,
    folder: &Path,
) -> Result<Decoded, String> {
    let mut peer = Peer::new().await;
    for kind in [RTPCodecType::Video, RTPCodecType::Audio] {
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Recvonly,
            send_encodings: Vec::new(),
        };
        let added = peer.connection.add_transceiver_from_kind(kind, Some(init)).await;
        added.expect("a line can be added");
    }
    let (packets_in, mut packets) = mpsc::unbounded_channel();
    peer.connection.on_track(Box::new(move |track, _, _| {
        let packets_in = packets_in.clone();
        tokio::spawn(async move {
            while let Ok((packet, _)) = track.read_rtp().await {
                if !packet.payload.is_empty() && packets_in.send((track.kind(), packet)).is_err() {
                    return;
                }
            }
        });
        Box::pin(async {})
    }));
    peer.negotiate(server, path, token).await?;

    let mut film = Film::new(coding);
    let mut pictures = Pictures::new(coding);
    let collected = tokio::time::timeout(DEADLINE, async {
        while !film.is_enough() {
            let Some((kind, packet)) = packets.recv().await else {
                return;
            };
            if kind == RTPCodecType::Video {
                film.pictures.extend(pictures.add(packet));
            } else {
                film.sound.push((packet.header.timestamp, packet.payload));
            }
        }
    });
    let collected = collected.await;
    peer.stop().await?;
    if collected.is_err() || !film.is_enough() {
        return Err(film.shortfall());
    }
    Ok(film.decode(folder))
}

/// Pictures put together from their packets.
enum Pictures {
    Vp8(SampleBuilder<Vp8Packet>),
    Vp9(SampleBuilder<Vp9Packet>),
    H264(SampleBuilder<H264Packet>),
    Av1(SampleBuilder<Av1Packet>),
}

impl Pictures {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Vp8 => Self::Vp8(SampleBuilder::new(LATE, Vp8Packet::default(), 90_000)),
            Coding::Vp9 => Self::Vp9(SampleBuilder::new(LATE, Vp9Packet::default(), 90_000)),
            Coding::H264 => Self::H264(SampleBuilder::new(LATE, H264Packet::default(), 90_000)),
            Coding::Av1 => Self::Av1(SampleBuilder::new(LATE, Av1Packet::default(), 90_000)),
        }
    }

    fn add(&mut self, packet: Packet) -> Vec<Bytes> {
        fn all<T: Depacketizer>(builder: &mut SampleBuilder<T>, packet: Packet) -> Vec<Bytes> {
            builder.push(packet);
            std::iter::from_fn(|| builder.pop())
                .map(|sample| sample.data)
                .collect()
        }
        match self {
            Self::Vp8(builder) => all(builder, packet),
            Self::Vp9(builder) => all(builder, packet),
            Self::H264(builder) => all(builder, packet),
            Self::Av1(builder) => all(builder, packet),
        }
    }
}

/// What the crate has for the other codecs: it makes payloads of AV1, and takes none apart.
#[derive(Default)]
struct Av1Packet {
    obus: Obus,
}

impl Depacketizer for Av1Packet {
    fn depacketize(&mut self, payload: &Bytes) -> Result<Bytes, rtp::Error> {
        let ended = self.obus.add(payload).ok_or(rtp::Error::ErrShortPacket)?;
        Ok(ended.into())
    }

    fn is_partition_head(&self, payload: &Bytes) -> bool {
        payload
            .first()
            .is_some_and(|aggregation| !av1::continues(*aggregation))
    }

    fn is_partition_tail(&self, marker: bool, _: &Bytes) -> bool {
        marker
    }
}
