//! Counters of one core. One list names them all; the names are what `/stats` and metrics show.

use std::collections::BTreeMap;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the start of the process.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// By name, for the control link.
            #[must_use]
            pub fn to_map(&self) -> BTreeMap<String, u64> {
                BTreeMap::from([$((stringify!($name).to_owned(), self.$name),)*])
            }
        }
    };
}

counters! {
    /// Datagrams handed to the shard.
    rx_packets,
    /// Their bytes.
    rx_bytes,
    /// Datagrams handed to the driver.
    tx_packets,
    /// Their bytes.
    tx_bytes,
    /// Sends they were grouped into.
    tx_runs,
    /// Authenticated RTP packets.
    rtp_in,
    /// Sealed RTP packets, retransmissions included.
    rtp_out,
    /// Packets handed to other cores.
    lane_out,
    /// Packets that other cores handed over.
    lane_in,
    /// Packets that another core was too busy for.
    drop_lane_full,
    /// Tracks of other cores there was no room for.
    drop_tracks_full,
    /// Authenticated SRTCP compounds.
    rtcp_in,
    /// Sealed SRTCP compounds.
    rtcp_out,
    /// Sequence numbers we asked publishers to send again.
    nack_sent,
    /// Sequence numbers subscribers asked us to send again.
    nack_received,
    /// Retransmissions from publishers that filled a gap.
    rtx_in,
    /// Packets of padding to subscribers, to measure their paths.
    padding_out,
    /// Times a slot was held back because its receiver's path was too narrow.
    slot_pauses,
    /// How much the core sheds, 0 for nothing: the one figure here that falls again.
    overload_level,
    /// Times it began to shed more.
    overload_raised,
    /// Times a slot was given less, or nothing, because the core had too much to do.
    slots_shed,
    /// Times somebody else got a place among those who are heard.
    seat_changes,
    /// Times somebody else was the one who speaks.
    speaker_changes,
    /// Times a video slot began to show a layer: the first, another one, or one of another track.
    layer_changes,
    /// Transport-wide feedback messages from subscribers.
    twcc_received,
    /// Bitrate limits (REMB) from subscribers.
    remb_received,
    /// Retransmissions to subscribers.
    rtx_out,
    /// Sequence numbers asked for that are gone, over a limit or never were.
    rtx_refused,
    /// Key frame requests to publishers.
    pli_sent,
    /// Key frame requests from subscribers.
    pli_received,
    /// Transport-wide feedback messages to publishers.
    twcc_sent,
    /// Answered connectivity checks.
    stun_answered,
    /// ICE restarts of living sessions.
    ice_restarts,
    /// Times the path to a peer became another one.
    path_changes,
    /// Sessions opened.
    sessions_opened,
    /// Sessions ended.
    sessions_closed,
    /// Sessions that moved to another room.
    sessions_moved,
    /// Neither STUN nor DTLS nor RTP by its first byte (RFC 7983), or too short for its class.
    drop_unknown_class,
    /// DTLS or RTP from an address no connectivity check has validated.
    drop_unknown_tuple,
    /// Not a well-formed STUN message, or not a Binding.
    drop_stun_malformed,
    /// STUN for a user fragment no session has.
    drop_stun_unknown_user,
    /// STUN whose MESSAGE-INTEGRITY does not verify.
    drop_stun_integrity,
    /// Checks from an address that sent too many before any of its own was valid.
    drop_stun_rate,
    /// Bare Binding requests that were answered.
    stun_bare_answered,
    /// STUN refused for another reason: wrong peer fragment, role conflict.
    drop_stun_refused,
    /// DTLS that no handshake could use.
    drop_dtls,
    /// RTP or RTCP before the keys.
    drop_no_keys,
    /// An SRTP tag that does not verify.
    drop_srtp_auth,
    /// An SRTP index seen before or older than the window.
    drop_srtp_replay,
    /// More streams than one session may have.
    drop_srtp_streams,
    /// A packet too short for SRTP.
    drop_srtp_short,
    /// Authenticated, but not RTP.
    drop_rtp_malformed,
    /// Authenticated, but belongs to no line of the session.
    drop_rtp_unmapped,
    /// A second copy of a packet.
    drop_rtp_duplicate,
    /// Authenticated, but not RTCP; the rest of the compound is skipped.
    drop_rtcp_malformed,
    /// A session's outbox was full.
    drop_outbox_full,
    /// A handshake's datagrams that too many others were before.
    drop_handshake_full,
    /// Pictures that waited too long for their receiver's path.
    drop_queue_late,
    /// The core's control queue was full.
    drop_control_full,
    /// A reference to a packet that had left the ring.
    drop_packet_gone,
    /// Packets of tracks that are muted, whatever their publishers go on sending.
    drop_muted,
    /// Tracks of sound beyond what one room may have: nobody hears them.
    drop_sounds_full,
    /// The receiver has no payload type for the codec.
    drop_codec,
    /// A packet that grew past a datagram.
    drop_too_long,
    /// The egress guard refused an index used before: a bug, never a peer's doing.
    bug_egress_guard,
}

impl Counters {
    /// Adds what happened, saturating: a counter never wraps to a small number.
    pub fn bump(counter: &mut u64, by: u64) {
        *counter = counter.saturating_add(by);
    }
}
