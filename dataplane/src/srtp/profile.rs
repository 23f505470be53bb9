//! The protection profiles of DTLS-SRTP (RFC 5764 section 4.1.2, RFC 7714 section 14.2).

use std::fmt;

/// How a session's packets are protected. Both AEAD profiles cost a third of the SHA-1 one, so the
/// handshake takes the latter only from a peer that has nothing else.
///
/// `AES_CM_128_HMAC_SHA1_32` is absent on purpose: a 32-bit tag is forged too easily.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// RFC 7714: AES-128 in Galois/counter mode, 16-byte tag.
    AeadAes128Gcm,
    /// RFC 7714: AES-256 in Galois/counter mode, 16-byte tag.
    AeadAes256Gcm,
    /// RFC 3711: AES-128 in counter mode, HMAC-SHA1 cut to 10 bytes. WebRTC's mandatory profile
    /// (RFC 8827 section 6.5).
    AesCm128HmacSha1_80,
}

impl Profile {
    /// Every profile, for tests and tables.
    pub const ALL: [Self; 3] = [
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
        Self::AesCm128HmacSha1_80,
    ];

    /// The profile's number in the `use_srtp` extension (IANA DTLS-SRTP protection profiles).
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::AesCm128HmacSha1_80 => 0x0001,
            Self::AeadAes128Gcm => 0x0007,
            Self::AeadAes256Gcm => 0x0008,
        }
    }

    /// Its IANA name without the `SRTP_` prefix; what is reported to the control plane.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
        }
    }

    /// Bytes of the master key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AesCm128HmacSha1_80 => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of the master salt.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::AesCm128HmacSha1_80 => 14,
        }
    }

    /// Bytes that the DTLS exporter gives for both directions (RFC 5764 section 4.2).
    #[must_use]
    pub const fn keying_material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }

    /// Bytes that sealing adds to an RTP packet: its tag.
    #[must_use]
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
            Self::AesCm128HmacSha1_80 => 10,
        }
    }

    /// Bytes that sealing adds to a compound RTCP packet: tag and ESRTCP word.
    #[must_use]
    pub const fn rtcp_overhead(self) -> usize {
        self.rtp_overhead() + 4
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
