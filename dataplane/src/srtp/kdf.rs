//! Session keys from a master key: the AES-CM PRF of RFC 3711 section 4.3, and with AES-256 the
//! one of RFC 6188 section 3. The key derivation rate is zero, so each key is derived once.

use aes::cipher::{KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use ctr::Ctr128BE;

use super::MasterKey;

/// What a derived key is for (RFC 3711 section 4.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Fills `out` with the key of `label`.
pub(super) fn derive(master: &MasterKey, label: Label, out: &mut [u8]) {
    // RFC 3711 section 4.3.1: x = (label || 48 bits of r, here 0) XOR salt, and the PRF's counter
    // block is x shifted left by 16 bits.
    let mut block = [0u8; 16];
    block[..14].copy_from_slice(master.kdf_salt());
    block[7] ^= label as u8;

    out.fill(0);
    if let Ok(key) = <&[u8; 16]>::try_from(master.key()) {
        Ctr128BE::<Aes128>::new(key.into(), &block.into()).apply_keystream(out);
    } else if let Ok(key) = <&[u8; 32]>::try_from(master.key()) {
        Ctr128BE::<Aes256>::new(key.into(), &block.into()).apply_keystream(out);
    } else {
        unreachable!("a master key has its profile's length, 16 or 32 bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::Profile;

    /// RFC 3711 appendix B.3.
    #[test]
    fn rfc_3711_b_3() {
        let master = MasterKey::new(
            Profile::AesCm128HmacSha1_80,
            &hex::decode("E1F97A0D3E018BE0D64FA32C06DE4139").unwrap(),
            &hex::decode("0EC675AD498AFEEBB6960B3AABE6").unwrap(),
        )
        .unwrap();

        let mut key = [0; 16];
        derive(&master, Label::RtpEncryption, &mut key);
        assert_eq!(hex::encode_upper(key), "C61E7A93744F39EE10734AFE3FF7A087");

        let mut salt = [0; 14];
        derive(&master, Label::RtpSalt, &mut salt);
        assert_eq!(hex::encode_upper(salt), "30CBBC08863D8C85D49DB34A9AE1");

        let mut auth = [0; 94];
        derive(&master, Label::RtpAuthentication, &mut auth);
        assert_eq!(
            hex::encode_upper(auth),
            "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE\
             E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25\
             6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2"
        );
    }
}
