//! One peer connection as a browser has it: it checks the path, publishes, receives, and gives feedback.

pub(crate) mod arrivals;
pub(crate) mod audio_slot;
pub(crate) mod camera;
pub(crate) mod encoder;
pub(crate) mod microphone;
pub(crate) mod negotiation;
pub(crate) mod opening;
pub(crate) mod report;
pub(crate) mod transmitter;
pub(crate) mod video_slot;

use std::time::Duration;

use kall_dataplane::srtp::{Inbound, SessionKeys};
use kall_dataplane::time::{Ntp, Time};
use kall_dataplane::wire::rtcp::{self, Rtcp};
use kall_dataplane::wire::stun::{self, BindingRequest, Role, TransactionId};
use kall_network::Random;
use kall_shared::id::SessionId;
use kall_shared::media::{Kind, SessionDescription};

use crate::scenario::Video;
use crate::talk::Voice;
use arrivals::Arrivals;
use audio_slot::AudioSlot;
use camera::Camera;
use microphone::Microphone;
use negotiation::slot_of;
use opening::{Content, Delivery, Media};
use report::Reception;
use transmitter::{Outgoing, Transmitter};
use video_slot::VideoSlot;

/// Interval of checks before the first answer, and after it (RFC 7675).
const CHECK_FIRST: Duration = Duration::from_millis(50);
const CHECK_AGAIN: Duration = Duration::from_millis(2500);

/// Interval of receiver reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Report blocks of one message (RFC 3550 section 6.4.2).
const BLOCKS_MAX: usize = 31;

/// How long a browser takes from keys to the first captured frame, at most: the camera runs already.
const CAMERA_PHASE: Duration = Duration::from_millis(33);

/// What a peer is going to send.
#[derive(Debug)]
pub(crate) struct Publishes {
    pub(crate) video: Option<Video>,
    pub(crate) audio: bool,
    /// What the microphone picks up; one constant sound without it.
    pub(crate) voice: Option<Voice>,
}

/// One peer connection.
pub(crate) struct Peer {
    /// Index of the peer, and of the person it belongs to.
    pub(crate) index: u16,
    pub(crate) person: usize,
    pub(crate) session: SessionId,
    ufrag: String,
    server: SessionDescription,
    publishes: Publishes,
    random: Random,
    clock: Duration,
    /// Silent from now on, as a browser whose page is gone.
    pub(crate) gone: bool,
    checks: u64,
    next_check: Time,
    first_check: Option<Time>,
    /// When the path was found, and its round trip.
    pub(crate) checked: Option<(Time, Duration)>,
    inbound: Option<Inbound>,
    out: Transmitter,
    ssrc: u32,
    pub(crate) camera: Option<Camera>,
    microphone: Option<Microphone>,
    pub(crate) audio: Vec<(AudioSlot, Reception)>,
    pub(crate) video: Vec<(VideoSlot, Reception)>,
    arrivals: Arrivals,
    next_report: Time,
    /// The earliest wake-up that is planned.
    pub(crate) wake_at: Time,
}

impl Peer {
    /// A peer whose offer was answered with `server`; it begins to check the path at `now`.
    pub(crate) fn new(
        (index, person): (u16, usize),
        (session, server): (SessionId, SessionDescription),
        ufrag: &str,
        publishes: Publishes,
        now: Time,
        mut random: Random,
    ) -> Self {
        let slots = |wanted: Kind| {
            server
                .slots
                .iter()
                .filter(move |slot| slot_of(slot.mid.as_str()).is_some_and(|(kind, _)| kind == wanted))
        };
        let audio = slots(Kind::Audio).map(|slot| (AudioSlot::new(slot.ssrc), Reception::default()));
        let video = slots(Kind::Video).map(|slot| {
            let rtx = slot.rtx_ssrc.expect("video has retransmissions");
            (VideoSlot::new(slot.ssrc, rtx), Reception::default())
        });
        Self {
            index,
            person,
            session,
            ufrag: ufrag.to_owned(),
            audio: audio.collect(),
            video: video.collect(),
            server,
            publishes,
            clock: Duration::from_secs(1_700_000_000 + random.below(1_000_000)),
            gone: false,
            checks: 0,
            next_check: now,
            first_check: None,
            checked: None,
            inbound: None,
            out: Transmitter::new(random.bits() as u16),
            ssrc: random.bits() as u32,
            camera: None,
            microphone: None,
            arrivals: Arrivals::new(),
            next_report: Time::FAR_FUTURE,
            wake_at: Time::FAR_FUTURE,
            random,
        }
    }

    /// When the first connectivity check was sent.
    pub(crate) const fn first_check(&self) -> Option<Time> {
        self.first_check
    }

    /// This peer's wall clock, which agrees with nobody's.
    fn ntp(&self, now: Time) -> Ntp {
        Ntp::from_unix(self.clock + Duration::from_nanos(now.as_nanos()))
    }

    /// The handshake is done: media flows.
    pub(crate) fn on_keys(&mut self, now: Time, keys: &SessionKeys) {
        self.inbound = Some(Inbound::new(&keys.server));
        self.out.set_key(&keys.client);
        let start = now + CAMERA_PHASE.mul_f64(self.random.unit());
        if let Some(video) = &self.publishes.video {
            self.camera = Some(Camera::new(self.index, video, start, &mut self.random));
        }
        if self.publishes.audio {
            let voice = self.publishes.voice.take();
            self.microphone = Some(Microphone::new(self.index, voice, start, &mut self.random));
        }
        self.next_report = now + REPORT_INTERVAL.mul_f64(self.random.unit());
    }

    /// When [`Self::wake`] is wanted.
    pub(crate) fn poll_deadline(&self) -> Time {
        if self.gone {
            return Time::FAR_FUTURE;
        }
        let camera = self.camera.as_ref().map(Camera::poll_deadline);
        let microphone = self.microphone.as_ref().map(Microphone::poll_deadline);
        let slots = self.video.iter().map(|(slot, _)| slot.poll_deadline());
        let fixed = [self.next_check, self.next_report, self.arrivals.poll_deadline()];
        let all = fixed.into_iter().chain(camera).chain(microphone).chain(slots);
        all.min().unwrap_or(Time::FAR_FUTURE)
    }

    /// Does what is due.
    pub(crate) fn wake(&mut self, now: Time) {
        if self.gone {
            return;
        }
        if now >= self.next_check {
            self.next_check = now
                + if self.checked.is_some() {
                    CHECK_AGAIN
                } else {
                    CHECK_FIRST
                };
            self.check(now);
        }
        if !self.out.has_key() {
            return;
        }
        let ntp = self.ntp(now);
        if let Some(camera) = &mut self.camera {
            camera.poll(now, ntp, &mut self.out);
        }
        if let Some(microphone) = &mut self.microphone {
            microphone.poll(now, ntp, &mut self.out);
        }
        let media = self.server.slots.first().map_or(0, |slot| slot.ssrc);
        self.arrivals.poll(now, self.ssrc, media, &mut self.out);
        let rtt = self.rtt();
        for (slot, _) in &mut self.video {
            if slot.poll_deadline() <= now {
                slot.poll(now, self.ssrc, rtt, &mut self.out);
            }
        }
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            self.report(now);
        }
    }

    fn rtt(&self) -> Duration {
        self.checked.map_or(Duration::from_millis(100), |(_, rtt)| rtt)
    }

    fn check(&mut self, now: Time) {
        self.first_check.get_or_insert(now);
        self.checks += 1;
        let mut id = [0; 12];
        id[4..].copy_from_slice(&(self.checks << 16 | u64::from(self.index)).to_be_bytes());
        let username = format!("{}:{}", self.server.ufrag, self.ufrag);
        let mut bytes = vec![0; 400];
        let request = BindingRequest {
            transaction_id: TransactionId(id),
            username: username.as_bytes(),
            password: self.server.pwd.as_bytes(),
            priority: 1,
            role: Role::Controlling(1),
            use_candidate: true,
            nomination: None,
        };
        let len = stun::write_binding_request(&mut bytes, &request).expect("a check fits");
        bytes.truncate(len);
        self.out.send_clear(bytes);
    }

    fn report(&mut self, now: Time) {
        let mut blocks = Vec::new();
        for (slot, reception) in &mut self.audio {
            blocks.extend(
                slot.highest()
                    .and_then(|highest| reception.block(now, slot.ssrc, highest)),
            );
        }
        for (slot, reception) in &mut self.video {
            blocks.extend(
                slot.highest()
                    .and_then(|highest| reception.block(now, slot.ssrc, highest)),
            );
        }
        for blocks in blocks.chunks(BLOCKS_MAX) {
            self.out.send_rtcp(|buf| rtcp::rr::write(buf, self.ssrc, blocks));
        }
    }

    /// Something arrived.
    pub(crate) fn on_delivery(&mut self, now: Time, delivery: Delivery) {
        if self.gone {
            return;
        }
        match delivery {
            Delivery::Checked => {
                if self.checked.is_none() {
                    let rtt = now.since(self.first_check.unwrap_or(now));
                    self.checked = Some((now, rtt));
                    self.next_check = now + CHECK_AGAIN;
                }
            }
            Delivery::Media(media) => self.on_media(now, &media),
            Delivery::Control(compound) => self.on_control(now, &compound),
        }
    }

    fn on_media(&mut self, now: Time, media: &Media) {
        if let Some(number) = media.transport {
            self.arrivals.on_packet(now, number, usize::from(media.len));
        }
        let index = usize::from(media.slot);
        match media.content {
            Content::Padding => {}
            Content::Audio(spoken) => {
                let (slot, reception) = &mut self.audio[index];
                reception.on_packet(media.sequence);
                slot.on_packet(now, media.sequence, spoken);
            }
            Content::Video(facts) => {
                let (slot, reception) = &mut self.video[index];
                if !media.again {
                    reception.on_packet(media.sequence);
                }
                slot.on_packet(now, media.sequence, media.timestamp, media.marker, facts);
            }
        }
    }

    fn on_control(&mut self, now: Time, compound: &[u8]) {
        for message in rtcp::packets(compound) {
            match message.expect("the server's own") {
                Rtcp::Nack(nack) => {
                    if let Some(camera) = &mut self.camera {
                        for sequence in nack.lost() {
                            camera.resend(nack.media_ssrc(), sequence, &mut self.out);
                        }
                    }
                }
                Rtcp::Pli(pli) => {
                    if let Some(camera) = &mut self.camera {
                        camera.on_pli(now, pli.media_ssrc);
                    }
                }
                Rtcp::SenderReport(report) => {
                    let info = report.info();
                    let audio = self
                        .audio
                        .iter_mut()
                        .map(|(slot, reception)| (slot.ssrc, reception));
                    let video = self
                        .video
                        .iter_mut()
                        .map(|(slot, reception)| (slot.ssrc, reception));
                    for (ssrc, reception) in audio.chain(video) {
                        if ssrc == info.ssrc {
                            reception.on_sender_report(now, info.ntp);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// What is to be sent.
    pub(crate) fn take(&mut self) -> Vec<Outgoing> {
        self.out.take()
    }

    /// The list of [`Self::take`], emptied.
    pub(crate) fn recycle_list(&mut self, list: Vec<Outgoing>) {
        self.out.recycle_list(list);
    }

    /// A buffer of [`Self::take`].
    pub(crate) fn recycle(&mut self, bytes: Vec<u8>) {
        self.out.recycle(bytes);
    }
}
