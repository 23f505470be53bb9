//! What a datagram is, by its first two bytes: RFC 7983 section 7 as updated by RFC 9443, and
//! RTP against RTCP by RFC 5761 section 4. Looks at nothing else, so it costs the same for
//! any input; the parser of each protocol does the rest.

/// The protocol of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// RFC 8489.
    Stun,
    /// A DTLS record, of 1.2 or with the unified header of 1.3.
    Dtls,
    /// RTP, or SRTP.
    Rtp,
    /// RTCP, or SRTCP.
    Rtcp,
    /// Nothing this server speaks, or too short for what its first byte says.
    Other,
}

/// A STUN header (RFC 8489 section 5).
pub const STUN_MIN_LEN: usize = 20;
/// A DTLS record header (RFC 6347 section 4.1).
pub const DTLS_MIN_LEN: usize = 13;
/// An RTP header without CSRCs or extensions (RFC 3550 section 5.1).
pub const RTP_MIN_LEN: usize = 12;
/// The part of SRTCP that is never encrypted (RFC 3711 section 3.4).
pub const RTCP_MIN_LEN: usize = 8;

/// Sorts a datagram. A class says that it is worth parsing, not that it is well-formed.
#[must_use]
pub fn classify(datagram: &[u8]) -> Class {
    let &[first, second, ..] = datagram else {
        return Class::Other;
    };
    let (class, min_len) = match first {
        0..=3 => (Class::Stun, STUN_MIN_LEN),
        20..=63 => (Class::Dtls, DTLS_MIN_LEN),
        // With the marker bit set, payload types 64 to 95 read as 192 to 223: they are never
        // allotted, so the second byte tells the two apart.
        128..=191 if matches!(second, 192..=223) => (Class::Rtcp, RTCP_MIN_LEN),
        128..=191 => (Class::Rtp, RTP_MIN_LEN),
        _ => return Class::Other,
    };
    if datagram.len() < min_len {
        Class::Other
    } else {
        class
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(first: u8, second: u8, len: usize) -> Class {
        let mut datagram = vec![0; len];
        datagram[0] = first;
        datagram[1] = second;
        classify(&datagram)
    }

    #[test]
    fn every_first_byte_has_the_class_of_rfc_7983() {
        for first in 0..=255 {
            let expected = match first {
                0..=3 => Class::Stun,
                20..=63 => Class::Dtls,
                128..=191 => Class::Rtp,
                _ => Class::Other,
            };
            assert_eq!(of(first, 96, 64), expected, "first byte {first}");
        }
    }

    #[test]
    fn rtcp_is_told_by_the_second_byte() {
        assert_eq!(of(0x80, 191, 64), Class::Rtp);
        assert_eq!(of(0x80, 192, 64), Class::Rtcp);
        assert_eq!(of(0x81, 200, 64), Class::Rtcp);
        assert_eq!(of(0x8f, 205, 64), Class::Rtcp);
        assert_eq!(of(0x80, 223, 64), Class::Rtcp);
        assert_eq!(of(0x80, 224, 64), Class::Rtp);
        // Opus 111 with the marker bit.
        assert_eq!(of(0x90, 0x80 | 111, 64), Class::Rtp);
    }

    #[test]
    fn what_is_too_short_is_nothing() {
        assert_eq!(classify(&[]), Class::Other);
        assert_eq!(classify(&[0x80]), Class::Other);
        for (first, second, min_len) in [
            (0, 1, STUN_MIN_LEN),
            (22, 254, DTLS_MIN_LEN),
            (0x80, 96, RTP_MIN_LEN),
            (0x80, 200, RTCP_MIN_LEN),
        ] {
            assert_eq!(of(first, second, min_len - 1), Class::Other);
            assert_ne!(of(first, second, min_len), Class::Other);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = classify(&bytes);
        }
    }
}
