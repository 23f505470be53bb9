//! A client of the call: checks the path, seals and opens with an SRTP of its own, publishes a
//! microphone and a camera, and receives the other's.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kall_dataplane::srtp::Profile;
use kall_dataplane::time::{Ntp, Time};
use kall_dataplane::wire::demux::{Class, classify};
use kall_dataplane::wire::rtcp::{self, ReportBlock, Rtcp};
use kall_dataplane::wire::rtp::Packet;
use kall_dataplane::wire::stun::{self, BindingRequest, Role, TransactionId};
use kall_shared::media::{Kind, SessionDescription};
use webrtc_srtp::context::Context;
use webrtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use webrtc_srtp::protection_profile::ProtectionProfile;

use crate::publish::{Plain, Publisher};
use crate::receive::Receiver;

/// Packets an SRTP context looks back over.
const REPLAY_WINDOW: usize = 1024;

/// Interval of checks before the first answer, and after it (RFC 7675).
const CHECK_FIRST: Duration = Duration::from_millis(50);
const CHECK_AGAIN: Duration = Duration::from_millis(2500);

const REPORT_INTERVAL: Duration = Duration::from_millis(1000);

/// What this client calls things; no two clients agree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Formats {
    pub(crate) opus: u8,
    pub(crate) vp8: u8,
    pub(crate) rtx_pt: u8,
    pub(crate) mid: u8,
    pub(crate) transport: u8,
    pub(crate) level: u8,
}

impl Formats {
    pub(crate) fn pt(&self, kind: Kind) -> u8 {
        match kind {
            Kind::Audio => self.opus,
            Kind::Video => self.vp8,
        }
    }
}

/// A client's half of the keys.
pub(crate) struct Keys {
    pub(crate) profile: Profile,
    pub(crate) client: (Vec<u8>, Vec<u8>),
    pub(crate) server: (Vec<u8>, Vec<u8>),
}

/// A datagram on its way, and what a loss of it would lose.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) bytes: Vec<u8>,
    pub(crate) carries: Option<(u32, u64)>,
    pub(crate) transport: Option<u16>,
}

/// One side of the call.
pub(crate) struct Peer {
    name: &'static str,
    ufrag: String,
    server: SessionDescription,
    /// The server's password before a restart of ICE: its answers may still be on their way.
    former_pwd: Option<String>,
    checks: u64,
    next_check: Time,
    connected: bool,
    /// A restart of ICE has had no answer yet.
    restarting: bool,
    sealing: Context,
    opening: Context,
    transport: u16,
    pub(crate) publishers: Vec<Publisher>,
    /// With the line of each.
    pub(crate) receivers: Vec<(String, Receiver)>,
    next_report: Time,
    ssrc: u32,
    /// What the server reported last about each of our streams, and the round trips that gave.
    pub(crate) reported: BTreeMap<u32, ReportBlock>,
    pub(crate) round_trips: Vec<Duration>,
    /// Arrival in ticks of 250 us by transport-wide number, as the server tells it.
    pub(crate) feedback: BTreeMap<u16, Option<i64>>,
    pub(crate) plis: u64,
    outgoing: VecDeque<Outgoing>,
}

fn context(profile: Profile, (key, salt): &(Vec<u8>, Vec<u8>)) -> Context {
    let profile = match profile {
        Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Profile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        Profile::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    Context::new(
        key,
        salt,
        profile,
        Some(srtp_replay_protection(REPLAY_WINDOW)),
        Some(srtcp_replay_protection(REPLAY_WINDOW)),
    )
    .expect("keys of the profile's length")
}

impl Peer {
    pub(crate) fn new(
        name: &'static str,
        ufrag: &str,
        server: SessionDescription,
        keys: &Keys,
        publishers: Vec<Publisher>,
        receivers: Vec<(String, Receiver)>,
    ) -> Self {
        Self {
            name,
            ufrag: ufrag.to_owned(),
            server,
            former_pwd: None,
            checks: 0,
            next_check: Time::ZERO,
            connected: false,
            restarting: false,
            sealing: context(keys.profile, &keys.client),
            opening: context(keys.profile, &keys.server),
            transport: 65_400,
            ssrc: publishers[0].ssrc(),
            publishers,
            receivers,
            next_report: Time::ZERO,
            reported: BTreeMap::new(),
            round_trips: Vec::new(),
            feedback: BTreeMap::new(),
            plis: 0,
            outgoing: VecDeque::new(),
        }
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Outgoing> {
        self.outgoing.pop_front()
    }

    /// This client's wall clock, which agrees with nobody's.
    fn ntp(&self, now: Time) -> Ntp {
        let offset = self.name.len() as u64 * 1_000_003;
        Ntp::from_unix(Duration::from_secs(1_700_000_000 + offset) + Duration::from_nanos(now.as_nanos()))
    }

    /// What the clock brings; called every few milliseconds.
    pub(crate) fn tick(&mut self, now: Time) {
        if now >= self.next_check {
            let settled = self.connected && !self.restarting;
            self.next_check = now + if settled { CHECK_AGAIN } else { CHECK_FIRST };
            self.check();
        }
        if !self.connected {
            return;
        }
        for index in 0..self.publishers.len() {
            let packets = self.publishers[index].poll(now, &mut self.transport);
            self.send_all(packets);
        }
        let mut feedback = Vec::new();
        for (_, receiver) in &mut self.receivers {
            let lost = receiver.poll_nack(now);
            let mut buf = [0; 1200];
            if let Some(len) = rtcp::nack::write(&mut buf, self.ssrc, receiver.ssrc, &lost) {
                feedback.push(buf[..len].to_vec());
            }
            if receiver.poll_pli(now)
                && let Some(len) = rtcp::pli::write(&mut buf, self.ssrc, receiver.ssrc)
            {
                feedback.push(buf[..len].to_vec());
            }
        }
        for message in feedback {
            self.send_rtcp(&message);
        }
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            self.report(now);
        }
    }

    /// New credentials on both sides; media goes on meanwhile.
    pub(crate) fn restart_ice(&mut self, now: Time, ufrag: &str, server: SessionDescription) {
        assert_eq!(server.slots, self.server.slots, "a restart changes no stream");
        ufrag.clone_into(&mut self.ufrag);
        self.former_pwd = Some(std::mem::replace(&mut self.server, server).pwd);
        self.restarting = true;
        self.next_check = now;
    }

    fn check(&mut self) {
        self.checks += 1;
        let mut id = [0; 12];
        id[4..].copy_from_slice(&(self.checks << 8 | self.name.len() as u64).to_be_bytes());
        let username = format!("{}:{}", self.server.ufrag, self.ufrag);
        let mut bytes = vec![0; 400];
        let len = stun::write_binding_request(
            &mut bytes,
            &BindingRequest {
                transaction_id: TransactionId(id),
                username: username.as_bytes(),
                password: self.server.pwd.as_bytes(),
                priority: 1,
                role: Role::Controlling(1),
                use_candidate: true,
                nomination: None,
            },
        )
        .expect("a check fits");
        bytes.truncate(len);
        self.outgoing.push_back(Outgoing {
            bytes,
            carries: None,
            transport: None,
        });
    }

    fn report(&mut self, now: Time) {
        let blocks: Vec<ReportBlock> = self
            .receivers
            .iter()
            .filter_map(|(_, receiver)| receiver.report_block(now))
            .collect();
        for index in 0..self.publishers.len() {
            let info = self.publishers[index].sender_info(now, self.ntp(now));
            let blocks = if index == 0 { &blocks[..] } else { &[] };
            let mut buf = [0; 1200];
            let len = rtcp::sr::write(&mut buf, &info, blocks).expect("a report fits");
            self.send_rtcp(&buf[..len]);
        }
    }

    fn send_all(&mut self, packets: impl IntoIterator<Item = Plain>) {
        for plain in packets {
            let packet = Packet::parse(&plain.bytes).expect("our own packet");
            let transport = self
                .publishers
                .first()
                .and_then(|publisher| packet.extension(publisher.transport_id()))
                .and_then(|data| Some(u16::from_be_bytes(data.try_into().ok()?)));
            let bytes = self.sealing.encrypt_rtp(&plain.bytes).expect("seals").to_vec();
            self.outgoing.push_back(Outgoing {
                bytes,
                carries: Some(plain.carries),
                transport,
            });
        }
    }

    fn send_rtcp(&mut self, message: &[u8]) {
        let bytes = self.sealing.encrypt_rtcp(message).expect("seals").to_vec();
        self.outgoing.push_back(Outgoing {
            bytes,
            carries: None,
            transport: None,
        });
    }

    pub(crate) fn handle_datagram(&mut self, now: Time, data: &[u8]) {
        match classify(data) {
            Class::Stun => {
                let message = stun::Message::parse(data).expect("well-formed");
                if message.verify_integrity(self.server.pwd.as_bytes()) {
                    self.connected = true;
                    self.restarting = false;
                } else {
                    let former = self.former_pwd.as_ref().expect("an answer to a check of ours");
                    assert!(message.verify_integrity(former.as_bytes()));
                }
            }
            Class::Rtp => {
                // What the path duplicated is refused as a replay; what can't be opened at all shows as
                // missing packets.
                if let Ok(plain) = self.opening.decrypt_rtp(data) {
                    self.on_rtp(now, &plain);
                }
            }
            Class::Rtcp => {
                if let Ok(plain) = self.opening.decrypt_rtcp(data) {
                    self.on_rtcp(now, &plain);
                }
            }
            Class::Dtls | Class::Other => panic!("{}: nothing sends such datagrams", self.name),
        }
    }

    fn on_rtp(&mut self, now: Time, plain: &[u8]) {
        let packet = Packet::parse(plain).expect("well-formed");
        let (mid, receiver) = self
            .receivers
            .iter_mut()
            .find(|(_, receiver)| receiver.takes(packet.ssrc()))
            .expect("an SSRC of the answer");
        receiver.on_packet(now, mid, &packet);
    }

    fn on_rtcp(&mut self, now: Time, plain: &[u8]) {
        for message in rtcp::packets(plain) {
            match message.expect("well-formed") {
                Rtcp::Nack(nack) => {
                    let lost: Vec<u16> = nack.lost().collect();
                    self.resend(nack.media_ssrc(), &lost);
                }
                Rtcp::Pli(pli) => {
                    self.plis += 1;
                    self.publisher(pli.media_ssrc).on_pli();
                }
                Rtcp::Twcc(twcc) => {
                    for (seq, arrival) in twcc.arrivals() {
                        let known = self.feedback.entry(seq).or_insert(arrival);
                        *known = known.or(arrival);
                    }
                }
                Rtcp::SenderReport(report) => {
                    let info = report.info();
                    let found = self
                        .receivers
                        .iter_mut()
                        .find(|(_, found)| found.ssrc == info.ssrc);
                    found.expect("a slot").1.on_sender_report(now, info);
                }
                Rtcp::ReceiverReport(report) => {
                    for block in report.reports() {
                        let here = self.ntp(now).compact();
                        if block.last_sr != 0 {
                            let units = here
                                .wrapping_sub(block.last_sr)
                                .wrapping_sub(block.delay_since_last_sr);
                            self.round_trips
                                .push(Duration::from_micros(u64::from(units) * 1_000_000 / 65_536));
                        }
                        self.reported.insert(block.ssrc, block);
                    }
                }
                Rtcp::Sdes(_) => {}
                other => panic!("{}: {other:?} was not agreed on", self.name),
            }
        }
    }

    fn resend(&mut self, ssrc: u32, lost: &[u16]) {
        for sequence in lost {
            let index = self
                .publishers
                .iter()
                .position(|publisher| publisher.ssrc() == ssrc)
                .expect("one of our streams");
            let again = self.publishers[index].resend(*sequence, &mut self.transport);
            self.send_all(again);
        }
    }

    fn publisher(&mut self, ssrc: u32) -> &mut Publisher {
        self.publishers
            .iter_mut()
            .find(|publisher| publisher.ssrc() == ssrc)
            .expect("one of our streams")
    }
}
