//! A media peer built on the `webrtc` crate, which shares no code with the data plane: its ICE,
//! DTLS, SRTP, RTP and SDP are the second opinion on ours.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use webrtc::api::APIBuilder;
use webrtc::api::interceptor_registry::{configure_nack, configure_rtcp_reports, configure_twcc_sender_only};
use webrtc::api::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_VP8, MediaEngine};
use webrtc::api::setting_engine::SettingEngine;
use webrtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use webrtc::ice::mdns::MulticastDnsMode;
use webrtc::ice::network_type::NetworkType;
use webrtc::interceptor::registry::Registry;
use webrtc::peer_connection::RTCPeerConnection;
use webrtc::peer_connection::configuration::RTCConfiguration;
use webrtc::peer_connection::offer_answer_options::RTCOfferOptions;
use webrtc::peer_connection::peer_connection_state::RTCPeerConnectionState;
use webrtc::peer_connection::sdp::session_description::RTCSessionDescription;
use webrtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use webrtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use webrtc::rtp::extension::HeaderExtension;
use webrtc::rtp::extension::audio_level_extension::AudioLevelExtension;
use webrtc::rtp::header::Header;
use webrtc::rtp::packet::Packet;
use webrtc::rtp_transceiver::RTCRtpTransceiverInit;
use webrtc::rtp_transceiver::rtp_codec::{
    RTCRtpCodecCapability, RTCRtpHeaderExtensionCapability, RTPCodecType,
};
use webrtc::rtp_transceiver::rtp_sender::RTCRtpSender;
use webrtc::rtp_transceiver::rtp_transceiver_direction::RTCRtpTransceiverDirection;
use webrtc::track::track_local::TrackLocalWriter;
use webrtc::track::track_local::track_local_static_rtp::TrackLocalStaticRTP;

use crate::pattern::{Vp8Frames, first_number, opus_payload};

/// Slots a peer offers unless a test says otherwise, as the product's clients do.
pub(crate) const AUDIO_SLOTS: usize = 3;
/// See [`AUDIO_SLOTS`].
pub(crate) const VIDEO_SLOTS: usize = 9;

/// What was sent, in order. Video without the descriptor, which a forwarder may rewrite.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) audio: Vec<Vec<u8>>,
    pub(crate) video: Vec<Vec<u8>>,
}

/// A received RTP packet as far as tests look at it.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) payload: Vec<u8>,
}

/// By the slot's line.
pub(crate) type ReceivedByMid = Arc<Mutex<HashMap<String, Vec<Received>>>>;

/// One peer connection, and media flowing from it once [`Peer::start_media`] was called.
pub(crate) struct Peer {
    connection: Arc<RTCPeerConnection>,
    state: watch::Receiver<RTCPeerConnectionState>,
    audio: Option<Arc<TrackLocalStaticRTP>>,
    video: Option<Arc<TrackLocalStaticRTP>>,
    video_sender: Option<Arc<RTCRtpSender>>,
    /// What came, by slot.
    pub(crate) received: ReceivedByMid,
    /// What went out.
    pub(crate) sent: Arc<Mutex<Sent>>,
    key_frame_wanted: Arc<AtomicBool>,
    speaks: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Peer {
    /// A peer that publishes a microphone and a camera if `publishes`, and offers slots. It lists
    /// `srtp` in its ClientHello, and uses loopback addresses of `network` alone.
    pub(crate) async fn new(publishes: bool, srtp: &[SrtpProtectionProfile], network: NetworkType) -> Self {
        Self::with_slots(publishes, (AUDIO_SLOTS, VIDEO_SLOTS), srtp, network).await
    }

    /// The same with as many audio and video slots as are asked for.
    pub(crate) async fn with_slots(
        publishes: bool,
        (audio_slots, video_slots): (usize, usize),
        srtp: &[SrtpProtectionProfile],
        network: NetworkType,
    ) -> Self {
        // The workspace has two providers; the peers' DTLS wants one named. An earlier peer may have.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut media = MediaEngine::default();
        media
            .register_default_codecs()
            .expect("the default codecs are consistent");
        for kind in [RTPCodecType::Audio, RTPCodecType::Video] {
            let uri = "urn:ietf:params:rtp-hdrext:sdes:mid".to_owned();
            media
                .register_header_extension(RTCRtpHeaderExtensionCapability { uri }, kind, None)
                .expect("one more header extension");
        }
        let uri = "urn:ietf:params:rtp-hdrext:ssrc-audio-level".to_owned();
        media
            .register_header_extension(RTCRtpHeaderExtensionCapability { uri }, RTPCodecType::Audio, None)
            .expect("one more header extension");
        let registry = configure_nack(Registry::new(), &mut media);
        let registry = configure_rtcp_reports(registry);
        // Without feedback of its own: whoever tells how its path does is sent less when its machine is
        // busy, and these peers count every packet.
        let registry =
            configure_twcc_sender_only(registry, &mut media).expect("transport-cc can be registered");

        let mut settings = SettingEngine::default();
        settings.set_network_types(vec![network]);
        settings.set_include_loopback_candidate(true);
        settings.set_ip_filter(Box::new(|address| address.is_loopback()));
        settings.set_ice_multicast_dns_mode(MulticastDnsMode::Disabled);
        settings.set_srtp_protection_profiles(srtp.to_vec());

        let api = APIBuilder::new()
            .with_media_engine(media)
            .with_interceptor_registry(registry)
            .with_setting_engine(settings)
            .build();
        let connection = api
            .new_peer_connection(RTCConfiguration::default())
            .await
            .expect("a peer connection");
        let connection = Arc::new(connection);

        let (state_in, state) = watch::channel(RTCPeerConnectionState::New);
        connection.on_peer_connection_state_change(Box::new(move |now| {
            let _ = state_in.send(now);
            Box::pin(async {})
        }));
        let received = ReceivedByMid::default();
        collect(&connection, &received);

        let mut peer = Self {
            connection,
            state,
            audio: None,
            video: None,
            video_sender: None,
            received,
            sent: Arc::default(),
            key_frame_wanted: Arc::new(AtomicBool::new(true)),
            speaks: Arc::default(),
            tasks: Vec::new(),
        };
        if publishes {
            let (audio, _) = peer.add_track(MIME_TYPE_OPUS, 48_000, 2, "audio").await;
            let (video, sender) = peer.add_track(MIME_TYPE_VP8, 90_000, 0, "video").await;
            peer.audio = Some(audio);
            peer.video = Some(video);
            peer.video_sender = Some(sender);
        }
        peer.add_slots(RTPCodecType::Audio, audio_slots).await;
        peer.add_slots(RTPCodecType::Video, video_slots).await;
        peer
    }

    async fn add_track(
        &self,
        mime: &str,
        clock_rate: u32,
        channels: u16,
        id: &str,
    ) -> (Arc<TrackLocalStaticRTP>, Arc<RTCRtpSender>) {
        let capability = RTCRtpCodecCapability {
            mime_type: mime.to_owned(),
            clock_rate,
            channels,
            ..Default::default()
        };
        let track = Arc::new(TrackLocalStaticRTP::new(
            capability,
            id.to_owned(),
            "stream".to_owned(),
        ));
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Sendonly,
            send_encodings: Vec::new(),
        };
        let transceiver = self
            .connection
            .add_transceiver_from_track(track.clone(), Some(init))
            .await
            .expect("a track can be added");
        (track, transceiver.sender().await)
    }

    async fn add_slots(&self, kind: RTPCodecType, count: usize) {
        for _ in 0..count {
            let init = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Recvonly,
                send_encodings: Vec::new(),
            };
            self.connection
                .add_transceiver_from_kind(kind, Some(init))
                .await
                .expect("a slot can be added");
        }
    }

    /// The offer, with candidates.
    pub(crate) async fn offer(&self) -> String {
        self.describe(false).await
    }

    /// An offer on the same connection that restarts ICE.
    pub(crate) async fn restarting_offer(&self) -> String {
        self.describe(true).await
    }

    async fn describe(&self, ice_restart: bool) -> String {
        let options = RTCOfferOptions {
            ice_restart,
            ..Default::default()
        };
        let offer = self
            .connection
            .create_offer(Some(options))
            .await
            .expect("an offer");
        let mut gathered = self.connection.gathering_complete_promise().await;
        self.connection
            .set_local_description(offer)
            .await
            .expect("the own offer is accepted");
        let _ = gathered.recv().await;
        self.connection.local_description().await.expect("it was set").sdp
    }

    /// Takes the server's answer.
    pub(crate) async fn accept(&self, answer: &str) {
        let answer = RTCSessionDescription::answer(answer.to_owned())
            .unwrap_or_else(|error| panic!("the answer parses ({error}):\n{answer}"));
        let text = answer.sdp.clone();
        self.connection
            .set_remote_description(answer)
            .await
            .unwrap_or_else(|error| panic!("the answer is accepted ({error}):\n{text}"));
    }

    /// Waits until ICE and DTLS are done.
    pub(crate) async fn connected(&mut self) {
        let wanted = self
            .state
            .wait_for(|state| *state == RTCPeerConnectionState::Connected);
        tokio::time::timeout(kall_tests::wait::DEADLINE, wanted)
            .await
            .expect("the peer connects in time")
            .expect("the peer lives");
    }

    /// Whether the connection is up now.
    pub(crate) fn is_connected(&self) -> bool {
        *self.state.borrow() == RTCPeerConnectionState::Connected
    }

    /// Lets media flow: an Opus packet each 20 ms, a VP8 frame each 33 ms, a key frame at the start
    /// and whenever the server asks for one.
    pub(crate) fn start_media(&mut self) {
        if let Some(track) = self.audio.clone() {
            let sent = Arc::clone(&self.sent);
            let speaks = Arc::clone(&self.speaks);
            self.tasks.push(tokio::spawn(send_audio(track, sent, speaks)));
        }
        if let (Some(track), Some(sender)) = (self.video.clone(), self.video_sender.clone()) {
            let wanted = Arc::clone(&self.key_frame_wanted);
            self.tasks
                .push(tokio::spawn(note_key_frame_requests(sender, wanted)));
            let (sent, wanted) = (Arc::clone(&self.sent), Arc::clone(&self.key_frame_wanted));
            self.tasks.push(tokio::spawn(send_video(track, sent, wanted)));
        }
    }

    /// From now on its sound is a voice. Before, its packets do not say how loud they are.
    pub(crate) fn speak(&self) {
        self.speaks.store(true, Ordering::Relaxed);
    }

    /// What came in one slot so far.
    pub(crate) fn slot(&self, mid: &str) -> Vec<Received> {
        self.received
            .lock()
            .expect("no reader panicked")
            .get(mid)
            .cloned()
            .unwrap_or_default()
    }

    /// How many packets came in one slot so far.
    pub(crate) fn count(&self, mid: &str) -> usize {
        self.received
            .lock()
            .expect("no reader panicked")
            .get(mid)
            .map_or(0, Vec::len)
    }

    /// Ends the media and closes the connection with a DTLS close_notify.
    pub(crate) async fn close(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        self.connection.close().await.expect("a connection can be closed");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }
}

fn collect(connection: &RTCPeerConnection, received: &ReceivedByMid) {
    let received = Arc::clone(received);
    connection.on_track(Box::new(move |track, _, transceiver| {
        let received = Arc::clone(&received);
        let mid = transceiver.mid().map(|mid| mid.to_string()).unwrap_or_default();
        tokio::spawn(async move {
            while let Ok((packet, _)) = track.read_rtp().await {
                let packet = Received {
                    sequence: packet.header.sequence_number,
                    timestamp: packet.header.timestamp,
                    ssrc: packet.header.ssrc,
                    payload: packet.payload.to_vec(),
                };
                // Packets of nothing but padding carry no media.
                if !packet.payload.is_empty() {
                    let mut received = received.lock().expect("no reader panicked");
                    received.entry(mid.clone()).or_default().push(packet);
                }
            }
        });
        Box::pin(async {})
    }));
}

/// A voice (RFC 6464 section 3: in -dBov): words of half a second, and what is heard between them. One constant sound
/// would be noise.
fn voice(number: u64) -> AudioLevelExtension {
    let word = number % 32 < 24;
    AudioLevelExtension {
        level: if word { 18 + (number % 5) as u8 } else { 90 },
        voice: word,
    }
}

async fn send_audio(track: Arc<TrackLocalStaticRTP>, sent: Arc<Mutex<Sent>>, speaks: Arc<AtomicBool>) {
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let first = first_number();
    for number in 0u64.. {
        pace.tick().await;
        let payload = opus_payload(first + number);
        sent.lock()
            .expect("no sender panicked")
            .audio
            .push(payload.clone());
        // The sequence number starts near its end, so that every run crosses the wrap.
        let sequence = 65_500u16.wrapping_add(number as u16);
        let packet = packet(sequence, (number as u32).wrapping_mul(960), number == 0, payload);
        let level = speaks
            .load(Ordering::Relaxed)
            .then_some(HeaderExtension::AudioLevel(voice(number)));
        if track
            .write_rtp_with_extensions(&packet, level.as_slice())
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn send_video(track: Arc<TrackLocalStaticRTP>, sent: Arc<Mutex<Sent>>, wanted: Arc<AtomicBool>) {
    let mut pace = tokio::time::interval(Duration::from_millis(33));
    let mut frames = Vp8Frames::new();
    let mut sequence = 65_400u16;
    let mut timestamp = 0u32.wrapping_sub(300_000);
    loop {
        pace.tick().await;
        let payloads = frames.next(wanted.swap(false, Ordering::Relaxed));
        let last = payloads.len() - 1;
        for (index, payload) in payloads.into_iter().enumerate() {
            let media = crate::pattern::behind_descriptor(&payload).expect("own payloads are whole");
            sent.lock()
                .expect("no sender panicked")
                .video
                .push(media.to_vec());
            if track
                .write_rtp(&packet(sequence, timestamp, index == last, payload))
                .await
                .is_err()
            {
                return;
            }
            sequence = sequence.wrapping_add(1);
        }
        timestamp = timestamp.wrapping_add(2_970);
    }
}

fn packet(sequence_number: u16, timestamp: u32, marker: bool, payload: Vec<u8>) -> Packet {
    Packet {
        // Version 2; SSRC and payload type are set by the track.
        header: Header {
            version: 2,
            sequence_number,
            timestamp,
            marker,
            ..Default::default()
        },
        payload: payload.into(),
    }
}

async fn note_key_frame_requests(sender: Arc<RTCRtpSender>, wanted: Arc<AtomicBool>) {
    while let Ok((packets, _)) = sender.read_rtcp().await {
        let asks = packets.iter().any(|packet| {
            let packet = packet.as_any();
            packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>()
        });
        if asks {
            wanted.store(true, Ordering::Relaxed);
        }
    }
}
