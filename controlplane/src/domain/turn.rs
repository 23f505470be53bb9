//! Time-limited TURN credentials as coturn's `use-auth-secret` checks them: the user name is an
//! expiry and an identity, the password its HMAC-SHA1 under the shared secret.

use ring::hmac;
use time::OffsetDateTime;

/// Longest part of an identity in a user name in bytes: with the time it is below the 509 bytes of RFC 8489
/// section 14.3.
const IDENTITY_MAX: usize = 480;

/// How long credentials open new allocations, in seconds.
const TTL: i64 = 12 * 3600;

/// User name and credential for `identity`.
#[must_use]
pub(super) fn credentials(secret: &str, identity: &str) -> (String, String) {
    let identity = &identity[..identity.floor_char_boundary(IDENTITY_MAX)];
    let username = format!("{}:{identity}", OffsetDateTime::now_utc().unix_timestamp() + TTL);
    let credential = credential(secret, &username);
    (username, credential)
}

fn credential(secret: &str, username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    base64(hmac::sign(&key, username.as_bytes()).as_ref())
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (at, byte)| {
            word | (u32::from(*byte) << (16 - 8 * at))
        });
        for at in 0..4 {
            if at <= chunk.len() {
                text.push(char::from(ALPHABET[(word >> (18 - 6 * at)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_rfc_4648_section_10() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn the_credential_is_the_hmac_of_the_user_name() {
        // RFC 2202 section 3, test case 2.
        let expected = hex::decode("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79").expect("hex");
        assert_eq!(
            credential("Jefe", "what do ya want for nothing?"),
            base64(&expected)
        );
    }
}
