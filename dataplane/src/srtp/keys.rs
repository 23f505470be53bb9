//! Master keys as the DTLS exporter hands them over (RFC 5764 section 4.2).
//!
//! The bytes are never printed and are wiped when dropped.

use std::fmt;

use zeroize::Zeroize;

use super::Profile;

/// The longest master key, of AES-256.
const KEY_MAX: usize = 32;

/// The longest master salt, of AES-CM.
const SALT_MAX: usize = 14;

/// Master key and salt of one direction.
#[derive(Clone)]
pub struct MasterKey {
    profile: Profile,
    key: [u8; KEY_MAX],
    salt: [u8; SALT_MAX],
}

impl MasterKey {
    /// `None` if a length is not the profile's.
    #[must_use]
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Option<Self> {
        if key.len() != profile.key_len() || salt.len() != profile.salt_len() {
            return None;
        }
        let mut this = Self {
            profile,
            key: [0; KEY_MAX],
            salt: [0; SALT_MAX],
        };
        this.key[..key.len()].copy_from_slice(key);
        this.salt[..salt.len()].copy_from_slice(salt);
        Some(this)
    }

    /// The profile it was made for.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// The master key.
    pub(super) fn key(&self) -> &[u8] {
        &self.key[..self.profile.key_len()]
    }

    /// The master salt as the key derivation wants it: 14 bytes. The AEAD profiles' 12 bytes are
    /// followed by zeros (RFC 7714 section 11).
    pub(super) const fn kdf_salt(&self) -> &[u8; SALT_MAX] {
        &self.salt
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.key.zeroize();
        self.salt.zeroize();
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.profile)
    }
}

/// The keys of both directions. "Client" and "server" are the DTLS roles: we are always the
/// server, so `client` opens and `server` seals.
#[derive(Debug, Clone)]
pub struct SessionKeys {
    /// The negotiated profile.
    pub profile: Profile,
    /// What the DTLS client seals with.
    pub client: MasterKey,
    /// What the DTLS server seals with.
    pub server: MasterKey,
}

impl SessionKeys {
    /// Splits exported keying material: client key, server key, client salt, server salt.
    /// `None` if its length is not the profile's.
    #[must_use]
    pub fn from_exporter(profile: Profile, material: &[u8]) -> Option<Self> {
        if material.len() != profile.keying_material_len() {
            return None;
        }
        let (keys, salts) = material.split_at(2 * profile.key_len());
        let (client_key, server_key) = keys.split_at(profile.key_len());
        let (client_salt, server_salt) = salts.split_at(profile.salt_len());
        Some(Self {
            profile,
            client: MasterKey::new(profile, client_key, client_salt)?,
            server: MasterKey::new(profile, server_key, server_salt)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exporter_is_split_keys_first() {
        for profile in Profile::ALL {
            let material: Vec<u8> = (0..profile.keying_material_len())
                .map(|index| index as u8)
                .collect();
            let keys = SessionKeys::from_exporter(profile, &material).unwrap();
            let (key, salt) = (profile.key_len(), profile.salt_len());
            assert_eq!(keys.client.key(), &material[..key]);
            assert_eq!(keys.server.key(), &material[key..2 * key]);
            assert_eq!(
                &keys.client.kdf_salt()[..salt],
                &material[2 * key..2 * key + salt]
            );
            assert_eq!(&keys.server.kdf_salt()[..salt], &material[2 * key + salt..]);
            assert!(SessionKeys::from_exporter(profile, &material[1..]).is_none());
        }
    }

    #[test]
    fn no_key_byte_is_printed() {
        let profile = Profile::AeadAes128Gcm;
        let keys = SessionKeys::from_exporter(profile, &[0xab; 56]).unwrap();
        let printed = format!("{keys:?}");
        assert!(!printed.contains("171") && !printed.to_lowercase().contains("ab, "));
    }
}
