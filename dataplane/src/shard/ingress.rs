//! From a datagram to what it means: demultiplex, authenticate, parse, account, fan out.
//!
//! Nothing is believed before it is authenticated: a datagram that fails leaves a counter and no
//! other trace. State is created only for peers that a session was opened for.

use kall_shared::link::Event;
use kall_shared::media::{Codec, Extension};

use super::counters::Counters;
use super::fan_out::Order;
use super::{Datagram, Shard, session_key, ufrag};
use crate::address::TransportAddress;
use crate::forward::inspect;
use crate::forward::keyframe::Meanwhile;
use crate::forward::publication::{Incoming, Taken};
use crate::ice::Ignored;
use crate::session::formats::Format;
use crate::session::incoming::{Stream, Unmapped};
use crate::shard::slab::Key;
use crate::shard::transmit::MAX_DATAGRAM;
use crate::srtp::{Inbound, Refused};
use crate::time::Time;
use crate::wire::demux::{Class, classify};
use crate::wire::rtp::Packet;
use crate::wire::rtp_ext::read_transport_sequence;
use crate::wire::stun;

impl Shard {
    /// Takes one datagram; `datagram.data` is decrypted in place.
    pub fn handle_datagram(&mut self, now: Time, mut datagram: Datagram<'_>) {
        self.counters.rx_packets += 1;
        self.counters.rx_bytes += datagram.data.len() as u64;
        match classify(datagram.data) {
            Class::Stun => self.on_stun(now, &datagram),
            Class::Dtls => self.on_dtls(&datagram),
            Class::Rtp => self.on_rtp(now, &mut datagram),
            Class::Rtcp => self.on_rtcp(now, &mut datagram),
            Class::Other => self.counters.drop_unknown_class += 1,
        }
    }

    /// What comes after the next datagrams is from there: the session's state is fetched, and of the one told of before
    /// what that leads to.
    pub fn expect_from(&mut self, from: Option<TransportAddress>) {
        let next = from.and_then(|from| self.flows.owner(&from));
        let before = std::mem::replace(&mut self.expected, next);
        if next == before {
            // A publisher's packets come one after the other.
            return;
        }
        if let Some(session) = before.and_then(|key| self.sessions.get(key)) {
            session.prefetch_incoming_linked();
        }
        if let Some(session) = next.and_then(|key| self.sessions.get(key)) {
            session.prefetch_incoming();
        }
    }

    fn on_stun(&mut self, now: Time, datagram: &Datagram<'_>) {
        let Ok(message) = stun::Message::parse(datagram.data) else {
            self.counters.drop_stun_malformed += 1;
            return;
        };
        if message.class() == stun::Class::Request && message.username().is_none() {
            return self.on_bare_stun(now, &message, datagram);
        }
        let key = message
            .username()
            .and_then(|username| self.session_of_username(username));
        let Some((key, session)) =
            key.and_then(|key| self.sessions.get_mut(key).map(|session| (key, session)))
        else {
            self.counters.drop_stun_unknown_user += 1;
            return;
        };
        let known = self.flows.owner(&datagram.from) == Some(key);
        let allowed =
            known || self.check_limit.allow(now, datagram.from.ip()) && session.transport.unproved.allow(now);
        if !allowed {
            self.counters.drop_stun_rate += 1;
            return;
        }
        let mut reply = [0; MAX_DATAGRAM];
        let had_path = session.transport.path().is_some();
        let outcome =
            session
                .transport
                .ice
                .handle_request(now, &message, datagram.from, datagram.to, &mut reply);
        if let Some(ignored) = outcome.ignored {
            *match ignored {
                Ignored::Answer => &mut self.counters.drop_stun_refused,
                Ignored::UnknownUser => &mut self.counters.drop_stun_unknown_user,
                Ignored::Integrity => &mut self.counters.drop_stun_integrity,
            } += 1;
        }
        if had_path && outcome.path_changed {
            self.counters.path_changes += 1;
            session.on_path_change(now);
        }
        // Only a message that knows the password is answered, and a refusal validates nothing.
        let valid = outcome.reply_len > 0 && session.transport.ice.is_validated(&datagram.from);
        if let Some(evicted) = outcome.evicted {
            self.forget_address(&evicted, key);
        }
        if valid {
            self.flows.claim(datagram.from, key);
        }
        if outcome.reply_len > 0 {
            self.counters.stun_answered += 1;
            self.push_control(&reply[..outcome.reply_len], datagram.from, datagram.to);
        }
        self.reschedule(now, key);
    }

    /// Somebody asks for its own address. The answer is twice as long as the shortest question, so it is
    /// rationed by source: a forged one gains nothing worth having.
    fn on_bare_stun(&mut self, now: Time, message: &stun::Message<'_>, datagram: &Datagram<'_>) {
        let Some(limit) = &mut self.bare_limit else {
            self.counters.drop_stun_unknown_user += 1;
            return;
        };
        if !limit.allow(now, datagram.from.ip()) {
            self.counters.drop_stun_rate += 1;
            return;
        }
        let mut reply = [0; MAX_DATAGRAM];
        let mapped = datagram.from.socket();
        if let Some(len) = stun::write_bare_success(&mut reply, message.transaction_id(), mapped) {
            self.counters.stun_bare_answered += 1;
            self.push_control(&reply[..len], datagram.from, datagram.to);
        }
    }

    /// The session of this core that a user fragment was made for.
    fn session_of_username(&self, username: &[u8]) -> Option<Key> {
        let id = ufrag::session_of(username)?;
        (id.core() == self.config.core).then(|| session_key(id))
    }

    pub(super) fn flow(&mut self, from: &TransportAddress) -> Option<Key> {
        let key = self.flows.owner(from);
        if key.is_none() {
            self.counters.drop_unknown_tuple += 1;
        }
        key
    }

    /// Opens a packet with the keys of the session that its address belongs to, and notes that the peer is heard from
    /// there. None when there is no such session, or the packet is refused; that is counted.
    pub(super) fn open<T>(
        &mut self,
        now: Time,
        datagram: &mut Datagram<'_>,
        unprotect: impl FnOnce(&mut Inbound, &mut [u8]) -> Result<T, Refused>,
    ) -> Option<(Key, T)> {
        let key = self.flow(&datagram.from)?;
        let session = self.sessions.get_mut(key)?;
        let Some(keyed) = &mut session.transport.keyed else {
            self.counters.drop_no_keys += 1;
            return None;
        };
        match unprotect(&mut keyed.inbound, datagram.data) {
            Ok(opened) => {
                if session.transport.ice.on_authenticated_packet(now, datagram.from) {
                    self.counters.path_changes += 1;
                    session.on_path_change(now);
                }
                Some((key, opened))
            }
            Err(refused) => {
                Self::count_refused(&mut self.counters, refused);
                None
            }
        }
    }

    fn count_refused(counters: &mut Counters, refused: Refused) {
        *match refused {
            Refused::Short => &mut counters.drop_srtp_short,
            Refused::Replay => &mut counters.drop_srtp_replay,
            Refused::Auth | Refused::Clear => &mut counters.drop_srtp_auth,
            Refused::TooManyStreams => &mut counters.drop_srtp_streams,
        } += 1;
    }

    fn on_rtp(&mut self, now: Time, datagram: &mut Datagram<'_>) {
        let Some((key, opened)) = self.open(now, datagram, Inbound::unprotect_rtp) else {
            return;
        };
        self.counters.rtp_in += 1;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.received.add(now, datagram.data.len());
        let Ok(packet) = Packet::parse(&datagram.data[..opened.len]) else {
            self.counters.drop_rtp_malformed += 1;
            return;
        };
        // Feedback counts every packet of the bundle: probes and padding tell of the path as well.
        if let Some(sequence) = session
            .extensions
            .id(Extension::TransportCc)
            .and_then(|id| packet.extension(id))
            .and_then(read_transport_sequence)
        {
            session
                .arrivals
                .on_packet(datagram.received, sequence, opened.len);
        } else {
            session.remb.on_packet(opened.len);
        }
        match session
            .incoming
            .resolve(&packet, &session.params.lines, &session.extensions)
        {
            Ok((stream, format)) => self.on_media(now, datagram.received, key, &packet, stream, format),
            Err(Unmapped::Unknown) => self.counters.drop_rtp_unmapped += 1,
            Err(Unmapped::TooMany) => self.counters.drop_srtp_streams += 1,
        }
        self.reschedule(now, key);
    }

    fn on_media(
        &mut self,
        now: Time,
        received: Time,
        key: Key,
        packet: &Packet<'_>,
        stream: Stream,
        format: Format,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(publication_key) = session.publication_on(stream.line) else {
            self.counters.drop_rtp_unmapped += 1;
            return;
        };
        let Some(publication) = self.publications.get_mut(publication_key) else {
            return;
        };
        let (codec, ssrc, sequence, payload) = match format {
            Format::Primary(codec) => (codec, Some(packet.ssrc()), packet.sequence(), packet.payload()),
            Format::Rtx(codec) => {
                // RFC 4588 section 4: the original number, then the original payload. Without it
                // the packet is a probe that only feedback cares about.
                let Some((original, payload)) = packet.payload().split_first_chunk::<2>() else {
                    return;
                };
                (codec, None, u16::from_be_bytes(*original), payload)
            }
        };
        let facts = inspect::payload_facts(codec.codec, packet, payload, &session.extensions);
        let descriptor = session
            .extensions
            .id(Extension::DependencyDescriptor)
            .filter(|_| codec.codec == Codec::Av1)
            .and_then(|id| packet.extension(id))
            .unwrap_or_default();
        // Other cores must know what a packet is of before it comes.
        let told_layers = (!publication.peers.is_empty()).then_some(publication.layers.len());
        let taken = publication.take(
            now,
            received,
            &Incoming {
                layer: stream.layer,
                ssrc,
                codec,
                sequence,
                timestamp: packet.timestamp(),
                facts,
                descriptor,
                payload,
            },
            &mut self.sources,
        );
        match taken {
            Taken::NoStream => self.counters.drop_rtp_unmapped += 1,
            Taken::Duplicate => self.counters.drop_rtp_duplicate += 1,
            Taken::Kept {
                seq,
                late,
                keyframe_start,
                first_of_track,
                first_of_stream,
                keyframe_needed,
                codec_changed,
            } => {
                if ssrc.is_none() {
                    self.counters.rtx_in += 1;
                }
                if keyframe_needed {
                    publication.request_keyframe(now, stream.layer, session.rtt, Meanwhile::Something);
                }
                if first_of_stream {
                    session
                        .receiver_reports
                        .hasten(now + crate::rtp::report::RECEIVER_FIRST);
                }
                if first_of_track {
                    let (session, track) = (session.id, publication.track.clone());
                    self.outgoing.event(Event::TrackStarted { session, track });
                    self.on_track_started(now, publication_key);
                }
                if codec_changed {
                    self.check_codecs(now, publication_key);
                }
                if let Some(told) = told_layers {
                    let found = self.publications.get(publication_key);
                    if found.is_some_and(|publication| publication.layers.len() != told) {
                        self.tell_layers(publication_key, false);
                    }
                    if first_of_track || codec_changed {
                        self.tell_codec(publication_key);
                    }
                }
                // Before it is forwarded: a first word makes its own way.
                let heard =
                    !late && ssrc.is_some() && self.on_sound(now, publication_key, facts.meta.audio_level);
                let order = Order::of(late, keyframe_start, heard.then_some(received));
                self.fan_out(now, publication_key, stream.layer, seq, order);
            }
        }
    }
}
