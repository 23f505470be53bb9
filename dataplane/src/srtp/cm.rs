//! AES_CM_128_HMAC_SHA1_80 (RFC 3711 sections 4.1.1 and 4.2.1), in place.
//!
//! SHA-1 is what this profile costs, so the two compressions that only hash the HMAC key are done
//! once per session and their states kept: 40 bytes instead of a hasher that is cloned per packet.

use aes::Aes128;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;
use sha1::block_api::compress;
use subtle::ConstantTimeEq;

use super::MasterKey;
use super::cipher::{BadTag, RTCP_CLEAR, RTCP_ENCRYPTED};
use super::kdf::{Label, derive};

/// Bytes of the tag: HMAC-SHA1 cut to 80 bits.
const TAG_LEN: usize = 10;

/// Bytes of the ESRTCP word.
const WORD_LEN: usize = 4;

/// Bytes of an HMAC-SHA1 key (RFC 3711 section 5.2).
const AUTH_KEY_LEN: usize = 20;

/// SHA-1's block.
const BLOCK_LEN: usize = 64;

/// Keys and salts of one direction.
pub(super) struct Cm {
    rtp: Keyed,
    rtcp: Keyed,
}

struct Keyed {
    key: Aes128,
    salt: [u8; 14],
    auth: HmacSha1,
}

impl Cm {
    pub(super) fn new(master: &MasterKey) -> Self {
        Self {
            rtp: Keyed::new(
                master,
                [Label::RtpEncryption, Label::RtpAuthentication, Label::RtpSalt],
            ),
            rtcp: Keyed::new(
                master,
                [Label::RtcpEncryption, Label::RtcpAuthentication, Label::RtcpSalt],
            ),
        }
    }

    #[inline]
    pub(super) fn seal_rtp(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) {
        let (plain, tag) = packet.split_at_mut(packet.len() - TAG_LEN);
        self.rtp.apply(ssrc, index, &mut plain[header_len..]);
        tag.copy_from_slice(&self.rtp.auth.tag(plain, &roc(index)));
    }

    #[inline]
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, BadTag> {
        let (sealed, tag) = packet.split_at_mut(packet.len() - TAG_LEN);
        self.rtp.auth.verify(sealed, &roc(index), tag)?;
        self.rtp.apply(ssrc, index, &mut sealed[header_len..]);
        Ok(sealed.len())
    }

    pub(super) fn seal_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) {
        let (front, tag) = packet.split_at_mut(packet.len() - TAG_LEN);
        let (plain, word) = front.split_at_mut(front.len() - WORD_LEN);
        self.rtcp.apply(ssrc, index.into(), &mut plain[RTCP_CLEAR..]);
        word.copy_from_slice(&(RTCP_ENCRYPTED | index).to_be_bytes());
        // RFC 3711 section 3.4: the tag covers the ESRTCP word, and there is no ROC.
        tag.copy_from_slice(&self.rtcp.auth.tag(front, &[]));
    }

    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<usize, BadTag> {
        let (front, tag) = packet.split_at_mut(packet.len() - TAG_LEN);
        self.rtcp.auth.verify(front, &[], tag)?;
        let plain_len = front.len() - WORD_LEN;
        self.rtcp
            .apply(ssrc, index.into(), &mut front[RTCP_CLEAR..plain_len]);
        Ok(plain_len)
    }
}

/// The rollover counter, which is authenticated but not sent (RFC 3711 section 4.2).
fn roc(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

impl Keyed {
    fn new(master: &MasterKey, [encryption, authentication, salting]: [Label; 3]) -> Self {
        let mut key = [0; 16];
        derive(master, encryption, &mut key);
        let mut salt = [0; 14];
        derive(master, salting, &mut salt);
        let mut auth = [0; AUTH_KEY_LEN];
        derive(master, authentication, &mut auth);
        Self {
            key: Aes128::new(&key.into()),
            salt,
            auth: HmacSha1::new(&auth),
        }
    }

    /// Encrypts or decrypts: XOR with the segment's keystream.
    #[inline]
    fn apply(&self, ssrc: u32, index: u64, text: &mut [u8]) {
        // RFC 3711 section 4.1.1: IV = (salt << 16) XOR (SSRC << 64) XOR (i << 16).
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        for (byte, part) in iv[4..8].iter_mut().zip(ssrc.to_be_bytes()) {
            *byte ^= part;
        }
        for (byte, part) in iv[8..14].iter_mut().zip(&index.to_be_bytes()[2..]) {
            *byte ^= part;
        }
        // The key schedule is borrowed: a counter that owned it would copy 176 bytes a packet.
        CtrCore::<&Aes128, Ctr128BE>::inner_iv_init(&self.key, &iv.into())
            .apply_keystream_partial(text.into());
    }
}

/// HMAC-SHA1 (RFC 2104) after its key blocks.
struct HmacSha1 {
    inner: [u32; 5],
    outer: [u32; 5],
}

impl HmacSha1 {
    fn new(key: &[u8; AUTH_KEY_LEN]) -> Self {
        let midstate = |pad: u8| {
            let mut block = [pad; BLOCK_LEN];
            for (byte, part) in block.iter_mut().zip(key) {
                *byte ^= part;
            }
            // FIPS 180-4 section 5.3.1.
            let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
            compress(&mut state, &[block]);
            state
        };
        Self {
            inner: midstate(0x36),
            outer: midstate(0x5c),
        }
    }

    /// The tag of `message` followed by `suffix`, which is at most a word long.
    #[inline]
    fn tag(&self, message: &[u8], suffix: &[u8]) -> [u8; TAG_LEN] {
        let (blocks, rest) = message.as_chunks::<BLOCK_LEN>();
        let mut state = self.inner;
        compress(&mut state, blocks);

        // What is left, the suffix, a one bit and the length fit into two blocks.
        let mut tail = [[0; BLOCK_LEN]; 2];
        let filled = rest.len() + suffix.len();
        let flat = tail.as_flattened_mut();
        flat[..rest.len()].copy_from_slice(rest);
        flat[rest.len()..filled].copy_from_slice(suffix);
        flat[filled] = 0x80;
        let used = if filled < BLOCK_LEN - 8 { 1 } else { 2 };
        let hashed = BLOCK_LEN + message.len() + suffix.len();
        flat[used * BLOCK_LEN - 8..used * BLOCK_LEN].copy_from_slice(&(hashed as u64 * 8).to_be_bytes());
        compress(&mut state, &tail[..used]);

        let mut last = [0; BLOCK_LEN];
        for (bytes, word) in last.chunks_exact_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        last[20] = 0x80;
        last[BLOCK_LEN - 8..].copy_from_slice(&((BLOCK_LEN as u64 + 20) * 8).to_be_bytes());
        let mut state = self.outer;
        compress(&mut state, &[last]);

        let mut tag = [0; TAG_LEN];
        for (bytes, word) in tag.chunks_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes()[..bytes.len()]);
        }
        tag
    }

    fn verify(&self, message: &[u8], suffix: &[u8], tag: &[u8]) -> Result<(), BadTag> {
        if self.tag(message, suffix).ct_eq(tag).into() {
            Ok(())
        } else {
            Err(BadTag)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3711 appendix B.2: the keystream of AES-CM for SSRC 0 and index 0.
    #[test]
    fn rfc_3711_b_2() {
        let key: [u8; 16] = hex::decode("2B7E151628AED2A6ABF7158809CF4F3C")
            .unwrap()
            .try_into()
            .unwrap();
        let salt: [u8; 14] = hex::decode("F0F1F2F3F4F5F6F7F8F9FAFBFCFD")
            .unwrap()
            .try_into()
            .unwrap();
        let keyed = Keyed {
            key: Aes128::new(&key.into()),
            salt,
            auth: HmacSha1::new(&[0; 20]),
        };
        let mut text = [0; 40];
        keyed.apply(0, 0, &mut text);
        assert_eq!(
            hex::encode_upper(text),
            "E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB\
             41E95B3BB0A2E8DD"
        );
    }

    /// RFC 2202 section 3, test case 3, cut to 80 bits, and every split of message and suffix.
    #[test]
    fn rfc_2202() {
        let hmac = HmacSha1::new(&[0xaa; 20]);
        let message = [0xdd; 50];
        for split in 46..=50 {
            let (message, suffix) = message.split_at(split);
            assert_eq!(hex::encode(hmac.tag(message, suffix)), "125d7342b9ac11cd91a3");
        }
    }
}
