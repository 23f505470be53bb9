//! Randomness of a shard: AES-128-CTR over a seed the driver draws from the operating system.
//!
//! A simulation passes a fixed seed and gets the same credentials, SSRCs and sequence numbers
//! every time; the shard itself never asks the system.

use aes::Aes128;
use aes::cipher::{KeyIvInit, StreamCipher};

/// A deterministic random bit generator, unpredictable without its seed.
pub(super) struct Entropy {
    stream: ctr::Ctr128BE<Aes128>,
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy(..)")
    }
}

/// Alphabet of ICE credentials: a subset of ice-char (RFC 8839 section 5.1) with 32 letters, so that
/// five random bits make one.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

impl Entropy {
    /// Key and counter from the seed's halves.
    #[must_use]
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let (mut key, mut counter) = ([0; 16], [0; 16]);
        key.copy_from_slice(&seed[..16]);
        counter.copy_from_slice(&seed[16..]);
        Self {
            stream: ctr::Ctr128BE::new(&key.into(), &counter.into()),
        }
    }

    /// The next 32 bits.
    pub(super) fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.stream.apply_keystream(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// An SSRC: anything but zero, which some peers take for "none", and none that is `taken`. Two
    /// streams of one session under one SSRC would share their SRTP indices (RFC 3711 section 9.1).
    pub(super) fn ssrc(&mut self, taken: impl Fn(u32) -> bool) -> u32 {
        loop {
            let ssrc = self.next_u32();
            if ssrc != 0 && !taken(ssrc) {
                return ssrc;
            }
        }
    }

    /// `letters` characters with five random bits each.
    pub(super) fn ice_text(&mut self, letters: usize) -> String {
        let mut bytes = vec![0; letters];
        self.stream.apply_keystream(&mut bytes);
        bytes
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(byte & 31)]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Entropy;

    #[test]
    fn the_same_seed_gives_the_same_values_and_another_does_not() {
        let draw = |seed| {
            let mut entropy = Entropy::new([seed; 32]);
            (entropy.ssrc(|_| false), entropy.ice_text(24))
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn an_ssrc_that_is_taken_is_not_given_again() {
        let draw = |taken: &[u32]| Entropy::new([1; 32]).ssrc(|ssrc| taken.contains(&ssrc));
        let first = draw(&[]);
        let second = draw(&[first]);
        assert_ne!(first, second);
        assert!(![first, second].contains(&draw(&[first, second])));
    }
}
