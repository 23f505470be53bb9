//! AEAD_AES_128_GCM and AEAD_AES_256_GCM (RFC 7714) on `ring`, in place.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::cipher::{BadTag, RTCP_CLEAR, RTCP_ENCRYPTED};
use super::kdf::{Label, derive};
use super::{MasterKey, Profile};
use crate::io::prefetch::prefetch;

/// Bytes of the tag; the profiles fix it (RFC 7714 section 12).
const TAG_LEN: usize = 16;

/// Bytes of the ESRTCP word.
const WORD_LEN: usize = 4;

/// Keys and salts of one direction.
pub(super) struct Gcm {
    rtp: Keyed,
    rtcp: Keyed,
}

struct Keyed {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Gcm {
    pub(super) fn new(master: &MasterKey) -> Self {
        Self {
            rtp: Keyed::new(master, Label::RtpEncryption, Label::RtpSalt),
            rtcp: Keyed::new(master, Label::RtcpEncryption, Label::RtcpSalt),
        }
    }

    /// Fetches the keys of RTP packets.
    pub(super) fn prefetch(&self) {
        prefetch(&self.rtp);
    }

    /// Fetches the keys of RTCP packets.
    pub(super) fn prefetch_rtcp(&self) {
        prefetch(&self.rtcp);
    }

    #[inline]
    pub(super) fn seal_rtp(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) {
        let plain_len = packet.len() - TAG_LEN;
        let (header, rest) = packet.split_at_mut(header_len);
        let (payload, tag) = rest.split_at_mut(plain_len - header_len);
        // RFC 7714 section 8.3: the whole header, with CSRCs and extension, is associated data.
        self.rtp.seal(ssrc, index, header, payload, tag);
    }

    #[inline]
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, BadTag> {
        let plain_len = packet.len() - TAG_LEN;
        let (header, sealed) = packet.split_at_mut(header_len);
        self.rtp.open(ssrc, index, header, sealed)?;
        Ok(plain_len)
    }

    pub(super) fn seal_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) {
        let (front, word) = packet.split_at_mut(packet.len() - WORD_LEN);
        word.copy_from_slice(&(RTCP_ENCRYPTED | index).to_be_bytes());
        let aad = rtcp_aad(front, word);
        let (plain, tag) = front.split_at_mut(front.len() - TAG_LEN);
        self.rtcp
            .seal(ssrc, index.into(), &aad, &mut plain[RTCP_CLEAR..], tag);
    }

    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<usize, BadTag> {
        let (front, word) = packet.split_at_mut(packet.len() - WORD_LEN);
        let aad = rtcp_aad(front, word);
        self.rtcp
            .open(ssrc, index.into(), &aad, &mut front[RTCP_CLEAR..])?;
        Ok(front.len() - TAG_LEN)
    }
}

impl Keyed {
    fn new(master: &MasterKey, key_label: Label, salt_label: Label) -> Self {
        let algorithm = match master.profile() {
            Profile::AeadAes256Gcm => &AES_256_GCM,
            Profile::AeadAes128Gcm | Profile::AesCm128HmacSha1_80 => &AES_128_GCM,
        };
        let mut key = [0; 32];
        let key = &mut key[..algorithm.key_len()];
        derive(master, key_label, key);
        let mut salt = [0; 12];
        derive(master, salt_label, &mut salt);
        Self::from_session_key(algorithm, key, salt)
    }

    fn from_session_key(algorithm: &'static ring::aead::Algorithm, key: &[u8], salt: [u8; 12]) -> Self {
        let key =
            UnboundKey::new(algorithm, key).expect("the slice was cut to the algorithm's own key length");
        Self {
            key: LessSafeKey::new(key),
            salt,
        }
    }

    /// RFC 7714 section 8.1 for RTP, where the index is ROC and SEQ, and section 9.1 for RTCP,
    /// where it is the 31-bit SRTCP index: in both a 48-bit number at the end.
    #[inline]
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut iv = self.salt;
        for (byte, part) in iv[2..6].iter_mut().zip(ssrc.to_be_bytes()) {
            *byte ^= part;
        }
        for (byte, part) in iv[6..].iter_mut().zip(&index.to_be_bytes()[2..]) {
            *byte ^= part;
        }
        Nonce::assume_unique_for_key(iv)
    }

    #[inline]
    fn seal(&self, ssrc: u32, index: u64, aad: &[u8], text: &mut [u8], tag_out: &mut [u8]) {
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(ssrc, index), Aad::from(aad), text)
            .expect("a datagram is far below GCM's limit of 64 GiB");
        tag_out.copy_from_slice(tag.as_ref());
    }

    #[inline]
    fn open(&self, ssrc: u32, index: u64, aad: &[u8], sealed: &mut [u8]) -> Result<(), BadTag> {
        self.key
            .open_in_place(self.nonce(ssrc, index), Aad::from(aad), sealed)
            .map(|_| ())
            .map_err(|_| BadTag)
    }
}

/// RFC 7714 section 9.2: the clear header and the ESRTCP word.
fn rtcp_aad(front: &[u8], word: &[u8]) -> [u8; RTCP_CLEAR + WORD_LEN] {
    let mut aad = [0; RTCP_CLEAR + WORD_LEN];
    aad[..RTCP_CLEAR].copy_from_slice(&front[..RTCP_CLEAR]);
    aad[RTCP_CLEAR..].copy_from_slice(word);
    aad
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; 12] = *b"Quid pro quo";

    fn keyed(key_len: u8) -> Gcm {
        let key: Vec<u8> = (0..key_len).collect();
        let algorithm = if key_len == 16 { &AES_128_GCM } else { &AES_256_GCM };
        let keyed = || Keyed::from_session_key(algorithm, &key, SALT);
        Gcm {
            rtp: keyed(),
            rtcp: keyed(),
        }
    }

    /// RFC 7714 sections 16.1 and 16.2: the vectors give session keys, not master keys.
    #[test]
    fn rfc_7714_section_16() {
        let header = hex::decode("8040f17b8041f8d35501a0b2").unwrap();
        let plain = b"Gallia est omnis divisa in partes tres";
        let sealed = [
            (
                16,
                "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
                 899d7f27beb16a9152cf765ee4390cce",
            ),
            (
                32,
                "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
                 7aa3db36dfffd6b0f9bb7878d7a76c13",
            ),
        ];
        for (key_len, expected) in sealed {
            let gcm = keyed(key_len);
            let mut packet = header.clone();
            packet.extend_from_slice(plain);
            packet.extend_from_slice(&[0; TAG_LEN]);

            gcm.seal_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b);
            assert_eq!(hex::encode(&packet[12..]), expected);

            let len = gcm.open_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b).unwrap();
            assert_eq!(&packet[12..len], plain);
        }
    }

    /// RFC 7714 sections 17.1 and 17.2: SRTCP, encrypted.
    #[test]
    fn rfc_7714_section_17() {
        let plain = hex::decode(
            "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
             deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
        )
        .unwrap();
        let sealed = [
            (
                16,
                "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32d\
                 c676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf872\
                 45d9eade800005d4",
            ),
            (
                32,
                "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50\
                 a2eaa5c1110555be8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6c\
                 b26ac3be800005d4",
            ),
        ];
        for (key_len, expected) in sealed {
            let gcm = keyed(key_len);
            let mut packet = plain.clone();
            packet.extend_from_slice(&[0; TAG_LEN + WORD_LEN]);
            gcm.seal_rtcp(&mut packet, 0x4d61_7273, 0x5d4);
            assert_eq!(hex::encode(&packet), expected);
            let len = gcm.open_rtcp(&mut packet, 0x4d61_7273, 0x5d4).unwrap();
            assert_eq!(&packet[..len], plain);
        }
    }
}
