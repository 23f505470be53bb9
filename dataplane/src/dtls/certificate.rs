//! Our certificate, and the fingerprint of anybody's (RFC 8122 section 5).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kall_shared::media::Fingerprint;
use ring::digest::{SHA256, digest};

use crate::time::Time;

/// Longest datagram of a handshake flight, in bytes: below the path MTU of any network that
/// carries video, with the IP and UDP headers.
const FLIGHT_MTU: usize = 1200;

/// First wait for an answer before a flight is sent again. It doubles each time; DTLS's own second
/// (RFC 6347 section 4.2.4.1) would be a second more until the first picture.
const FLIGHT_RTO: Duration = Duration::from_millis(100);

/// How often one flight is sent again: above what [`HANDSHAKE_TIMEOUT`] lets happen, because the
/// peer's repeated flights count too.
const FLIGHT_RETRIES: usize = 16;

/// Datagrams of the peer that wait for missing fragments: a post-quantum ClientHello takes three,
/// a long certificate chain some more.
const WAITING_MAX: usize = 30;

/// A handshake that takes longer has failed.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// The certificate could not be made; the text is for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityError(String);

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no DTLS identity: {}", self.0)
    }
}

impl std::error::Error for IdentityError {}

/// One process's certificate with its key, and what all its handshakes share. Cores hold it in an
/// [`Arc`].
pub struct Identity {
    certificate: dimpl::DtlsCertificate,
    fingerprint: Fingerprint,
    config: Arc<dimpl::Config>,
    /// The library counts in [`Instant`]s, of which only the differences matter to it. This one,
    /// read once, stands for [`Time::ZERO`], so no handshake reads a clock.
    zero: Instant,
}

impl Identity {
    /// A fresh self-signed certificate: ECDSA P-256, random serial, valid for a year.
    ///
    /// # Errors
    /// [`IdentityError`] if the system's randomness fails.
    pub fn generate() -> Result<Self, IdentityError> {
        let certificate = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|error| IdentityError(error.to_string()))?;
        let config = dimpl::Config::builder()
            // The peer's certificate is what its SDP fingerprint speaks of (RFC 8827 section 6.5).
            .require_client_certificate(true)
            // ICE has already proved that the peer receives at this address, which is all that a
            // cookie proves: datagrams are only taken from validated addresses.
            .use_server_cookie(false)
            .mtu(FLIGHT_MTU)
            .max_queue_rx(WAITING_MAX)
            .flight_start_rto(FLIGHT_RTO)
            .flight_retries(FLIGHT_RETRIES)
            .handshake_timeout(HANDSHAKE_TIMEOUT)
            .build()
            .map_err(|error| IdentityError(error.to_string()))?;
        Ok(Self {
            fingerprint: fingerprint(&certificate.certificate),
            certificate,
            config: Arc::new(config),
            zero: Instant::now(),
        })
    }

    /// What the SDP answer announces.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    /// `now` as the library counts.
    pub(super) fn instant(&self, now: Time) -> Instant {
        let since = Duration::from_nanos(now.as_nanos());
        self.zero.checked_add(since).unwrap_or(self.zero)
    }

    /// The library's time as we count; what lies beyond our range never comes.
    pub(super) fn time(&self, instant: Instant) -> Time {
        Time::ZERO + instant.saturating_duration_since(self.zero)
    }

    /// A new server side.
    ///
    /// DTLS 1.2 and not 1.3: the library's 1.3 server takes the first SRTP profile of the client's
    /// list, and Chromium lists `AES128_CM_SHA1_80` first, which costs three times what GCM does
    /// per packet for the whole call. Its 1.2 server prefers the AEAD profiles whatever the
    /// client's order. Both browsers still offer 1.2, with the same ECDHE and AEAD suites.
    pub(super) fn server(&self, now: Time) -> dimpl::Dtls {
        dimpl::Dtls::new_12(
            Arc::clone(&self.config),
            self.certificate.clone(),
            self.instant(now),
        )
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// SHA-256 over a certificate's DER.
pub(super) fn fingerprint(der: &[u8]) -> Fingerprint {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest(&SHA256, der).as_ref());
    Fingerprint { sha256 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_maps_there_and_back() {
        let identity = Identity::generate().unwrap();
        for nanos in [0, 1, 5_000_000_000, 3_600_000_000_000_000] {
            let time = Time::from_nanos(nanos);
            assert_eq!(identity.time(identity.instant(time)), time);
        }
        // Even the end of time is no panic.
        identity.instant(Time::FAR_FUTURE);
    }

    #[test]
    fn two_identities_differ() {
        let (one, two) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        assert_ne!(one.fingerprint(), two.fingerprint());
    }
}
