//! One side's path to the server: it checks connectivity, and seals and opens with an SRTP that is not
//! the data plane's.

use std::collections::VecDeque;
use std::time::Duration;

use kall_dataplane::srtp::Profile;
use kall_dataplane::time::Time;
use kall_dataplane::wire::demux::{Class, classify};
use kall_dataplane::wire::stun::{self, BindingRequest, Role, TransactionId};
use kall_network::Random;
use kall_shared::media::SessionDescription;
use webrtc_srtp::context::Context;
use webrtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use webrtc_srtp::protection_profile::ProtectionProfile;

/// Packets an SRTP context looks back over.
const REPLAY_WINDOW: usize = 1024;

/// Interval of checks before the first answer, and after it (RFC 7675).
const CHECK_FIRST: Duration = Duration::from_millis(50);
const CHECK_AGAIN: Duration = Duration::from_millis(2500);

/// The one that both sides use here.
const PROFILE: Profile = Profile::AeadAes128Gcm;

/// What came, opened.
pub(crate) enum Opened {
    Rtp(Vec<u8>),
    Rtcp(Vec<u8>),
    Nothing,
}

pub(crate) struct Transport {
    ufrag: String,
    server: SessionDescription,
    sealing: Context,
    opening: Context,
    checks: u64,
    next_check: Time,
    pub(crate) connected: bool,
    pub(crate) outgoing: VecDeque<Vec<u8>>,
}

/// Keying material for a session, in the order of the exporter (RFC 5764 section 4.2).
pub(crate) fn material(random: &mut Random) -> (Profile, Vec<u8>) {
    let mut material = vec![0; 2 * (PROFILE.key_len() + PROFILE.salt_len())];
    random.fill(&mut material);
    (PROFILE, material)
}

impl Transport {
    pub(crate) fn new(ufrag: &str, server: SessionDescription, material: &[u8]) -> Self {
        let (key, salt) = (PROFILE.key_len(), PROFILE.salt_len());
        let (keys, salts) = material.split_at(2 * key);
        let context = |side: usize| {
            Context::new(
                &keys[side * key..][..key],
                &salts[side * salt..][..salt],
                ProtectionProfile::AeadAes128Gcm,
                Some(srtp_replay_protection(REPLAY_WINDOW)),
                Some(srtcp_replay_protection(REPLAY_WINDOW)),
            )
            .expect("keys of the profile's length")
        };
        Self {
            ufrag: ufrag.to_owned(),
            server,
            sealing: context(0),
            opening: context(1),
            checks: 0,
            next_check: Time::ZERO,
            connected: false,
            outgoing: VecDeque::new(),
        }
    }

    pub(crate) fn tick(&mut self, now: Time) {
        if now < self.next_check {
            return;
        }
        self.next_check = now + if self.connected { CHECK_AGAIN } else { CHECK_FIRST };
        self.checks += 1;
        let mut id = [0; 12];
        id[4..].copy_from_slice(&self.checks.to_be_bytes());
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
        self.outgoing.push_back(bytes);
    }

    pub(crate) fn send_rtp(&mut self, packet: &[u8]) {
        let sealed = self.sealing.encrypt_rtp(packet).expect("seals");
        self.outgoing.push_back(sealed.to_vec());
    }

    pub(crate) fn send_rtcp(&mut self, message: &[u8]) {
        let sealed = self.sealing.encrypt_rtcp(message).expect("seals");
        self.outgoing.push_back(sealed.to_vec());
    }

    pub(crate) fn open(&mut self, data: &[u8]) -> Opened {
        match classify(data) {
            Class::Stun => {
                let message = stun::Message::parse(data).expect("well-formed");
                assert!(message.verify_integrity(self.server.pwd.as_bytes()));
                self.connected = true;
                Opened::Nothing
            }
            Class::Rtp => {
                let plain = self.opening.decrypt_rtp(data).expect("opens");
                Opened::Rtp(plain.to_vec())
            }
            Class::Rtcp => {
                let plain = self.opening.decrypt_rtcp(data).expect("opens");
                Opened::Rtcp(plain.to_vec())
            }
            Class::Dtls | Class::Other => panic!("nothing sends such datagrams"),
        }
    }
}
