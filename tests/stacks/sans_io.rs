//! The `str0m` crate: a stack without sockets, driven here over one of loopback. Its packets, ICE, SRTP and
//! SDP are its own; its DTLS is the library that the server uses, too. ffmpeg codes for it.

use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kall_tests::server::Server;
use kall_tests::wait::DEADLINE;
use kall_tests::whip::{self, Session};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, Frequency, MediaData, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::task::JoinHandle;

use crate::clip::{Clip, RATE};
use crate::decoded::Decoded;
use crate::film::Film;
use crate::matrix::Coding;

/// The longest wait for a packet, after which the order to stop is looked at.
const TURN: Duration = Duration::from_millis(10);

/// A peer and the session behind it.
struct Peer {
    rtc: Rtc,
    socket: UdpSocket,
    session: Session,
    video: Mid,
    audio: Mid,
}

impl Peer {
    /// # Errors
    /// What the server said instead of 201, or what is wrong with its answer.
    async fn new(
        server: &Server,
        path: &str,
        token: &str,
        coding: Coding,
        direction: Direction,
    ) -> Result<Self, String> {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("it is bound");
        let config = Rtc::builder().clear_codecs().enable_opus(true, false);
        let config = match coding {
            Coding::Vp8 => config.enable_vp8(true),
            Coding::Vp9 => config.enable_vp9(true),
            Coding::H264 => config.enable_h264(true),
            Coding::Av1 => config.enable_av1(true),
        };
        let mut rtc = config.build(Instant::now());
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("a candidate"));
        let mut change = rtc.sdp_api();
        let video = change.add_media(MediaKind::Video, direction, None, None, None);
        let audio = change.add_media(MediaKind::Audio, direction, None, None, None);
        let (offer, pending) = change.apply().expect("an offer");
        let session = whip::post(server, path, Some(token), offer.to_sdp_string()).await;
        let session = session.map_err(|(status, body)| format!("{status} {body}"))?;
        let answer = SdpAnswer::from_sdp_string(&session.answer).map_err(|error| error.to_string())?;
        let accepted = rtc.sdp_api().accept_answer(pending, answer);
        accepted.map_err(|error| error.to_string())?;
        Ok(Self {
            rtc,
            socket,
            session,
            video,
            audio,
        })
    }

    /// Sends what is to be sent, hands out what came, and waits for a packet, but not beyond `until`.
    ///
    /// # Errors
    /// What the stack says when it can't go on.
    fn turn(&mut self, until: Instant, mut take: impl FnMut(MediaData)) -> Result<(), String> {
        let due = loop {
            match self.rtc.poll_output().map_err(|error| error.to_string())? {
                Output::Timeout(due) => break due,
                Output::Transmit(packet) => {
                    let sent = self.socket.send_to(&packet.contents, packet.destination);
                    sent.map_err(|error| error.to_string())?;
                }
                Output::Event(Event::MediaData(data)) => take(data),
                Output::Event(_) => {}
            }
        };
        let wait = due.min(until).saturating_duration_since(Instant::now());
        let wait = wait.clamp(Duration::from_millis(1), TURN);
        self.socket
            .set_read_timeout(Some(wait))
            .expect("a time above zero");
        let mut buffer = [0; 2048];
        let input = match self.socket.recv_from(&mut buffer) {
            Ok((len, source)) => Input::Receive(
                Instant::now(),
                Receive {
                    proto: Protocol::Udp,
                    source,
                    destination: self.socket.local_addr().expect("it is bound"),
                    contents: buffer[..len].try_into().map_err(|_| "not a packet of media")?,
                },
            ),
            Err(_) => Input::Timeout(Instant::now()),
        };
        self.rtc.handle_input(input).map_err(|error| error.to_string())
    }

    fn write(&mut self, mid: Mid, time: MediaTime, data: &[u8]) -> Result<(), String> {
        let Some(writer) = self.rtc.writer(mid) else {
            return Ok(());
        };
        // The codec that is sent comes first in the answer.
        let Some(pt) = writer
            .payload_params()
            .next()
            .map(str0m::format::PayloadParams::pt)
        else {
            return Ok(());
        };
        let written = writer.write(pt, Instant::now(), time, data);
        written.map_err(|error| error.to_string())
    }
}

/// A publisher on a thread of its own.
pub(crate) struct Publisher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), String>>,
    session: Session,
}

impl Publisher {
    /// Sends a clip, again and again.
    ///
    /// # Errors
    /// What the server said.
    pub(crate) async fn start(
        server: &Server,
        path: &str,
        token: &str,
        coding: Coding,
        clip: &Arc<Clip>,
    ) -> Result<Self, String> {
        let mut peer = Peer::new(server, path, token, coding, Direction::SendOnly).await?;
        let session = peer.session.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let (clip, ended) = (Arc::clone(clip), Arc::clone(&stop));
        let thread = tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            let (mut pictures, mut packets) = (0u32, 0u32);
            let picture_at = |number: u32| start + Duration::from_secs(1) * number / RATE as u32;
            let packet_at = |number: u32| start + Duration::from_millis(20) * number;
            while !ended.load(Ordering::Relaxed) {
                peer.turn(picture_at(pictures).min(packet_at(packets)), |_| {})?;
                let now = Instant::now();
                let connected = peer.rtc.is_connected();
                if now >= picture_at(pictures) {
                    let picture = &clip.pictures[pictures as usize % clip.pictures.len()];
                    let time = MediaTime::from_90khz(u64::from(pictures) * 90_000 / RATE);
                    if connected {
                        peer.write(peer.video, time, picture)?;
                    }
                    pictures += 1;
                } else if now >= packet_at(packets) {
                    let packet = &clip.sound[packets as usize % clip.sound.len()];
                    let time = MediaTime::new(u64::from(packets) * 960, Frequency::FORTY_EIGHT_KHZ);
                    if connected {
                        peer.write(peer.audio, time, packet)?;
                    }
                    packets += 1;
                }
            }
            Ok(())
        });
        Ok(Self {
            stop,
            thread,
            session,
        })
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// What it complained about.
    pub(crate) async fn stop(self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.await.map_err(|error| error.to_string())??;
        let status = self.session.delete().await;
        status
            .is_success()
            .then_some(())
            .ok_or(format!("DELETE: {status}"))
    }
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
    let mut peer = Peer::new(server, path, token, coding, Direction::RecvOnly).await?;
    let session = peer.session.clone();
    let film = tokio::task::spawn_blocking(move || {
        let mut film = Film::new(coding);
        let end = Instant::now() + DEADLINE;
        let video = peer.video;
        while !film.is_enough() && Instant::now() < end {
            peer.turn(end, |data| {
                let bytes = Bytes::copy_from_slice(&data.data);
                if data.mid == video {
                    film.pictures.push(bytes);
                } else {
                    film.sound.push((data.time.numer() as u32, bytes));
                }
            })?;
        }
        Ok::<_, String>(film)
    });
    let film = film.await.map_err(|error| error.to_string())?;
    let status = session.delete().await;
    let film = film?;
    if !film.is_enough() {
        return Err(film.shortfall());
    }
    if !status.is_success() {
        return Err(format!("DELETE: {status}"));
    }
    Ok(film.decode(folder))
}
