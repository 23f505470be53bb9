//! STUN as ICE uses it: Binding messages (RFC 8489), their ICE attributes (RFC 8445 section 16.1),
//! and the answers of a lite agent.
//!
//! Parsing checks structure and the fingerprint; whose message it is only
//! [`Message::verify_integrity`] can say, and nothing may be believed before it did.

mod attribute;
mod write;

use std::net::{IpAddr, SocketAddr};

use ring::hmac;
use subtle::ConstantTimeEq;

use super::{Malformed, crc32, u16_at, u32_at, u64_at};
pub use write::{
    BindingRequest, Role, write_bare_success, write_binding_error, write_binding_indication,
    write_binding_request, write_binding_success,
};

/// Bytes of the message header.
pub const HEADER_LEN: usize = 20;

/// Most unknown comprehension-required attributes that are remembered for a 420 answer; the answer
/// stays shorter than the request that caused it.
pub const UNKNOWN_ATTRIBUTES_MAX: usize = 8;

/// RFC 8489 section 14.3: a USERNAME is less than 509 bytes.
const USERNAME_MAX_LEN: usize = 508;

const MAGIC_COOKIE: u32 = 0x2112_a442;
const FINGERPRINT_XOR: u32 = 0x5354_554e;
const INTEGRITY_LEN: usize = 20;
const METHOD_BINDING: u16 = 1;

/// Ties an answer to its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// The two class bits (RFC 8489 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// Answers a request.
    Success,
    /// Refuses a request.
    Error,
}

/// Attributes below 0x8000 that this server does not know, in wire order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnknownAttributes {
    types: [u16; UNKNOWN_ATTRIBUTES_MAX],
    len: usize,
}

impl UnknownAttributes {
    /// Their types; those after the first [`UNKNOWN_ATTRIBUTES_MAX`] are forgotten.
    #[must_use]
    pub fn as_slice(&self) -> &[u16] {
        &self.types[..self.len]
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn push(&mut self, kind: u16) {
        if let Some(free) = self.types.get_mut(self.len) {
            *free = kind;
            self.len += 1;
        }
    }
}

/// A parsed message. Of an attribute that comes twice the first counts (RFC 8489 section 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    data: &'a [u8],
    class: Class,
    username: Option<&'a [u8]>,
    priority: Option<u32>,
    use_candidate: bool,
    nomination: Option<u32>,
    ice_controlled: Option<u64>,
    ice_controlling: Option<u64>,
    mapped_address: Option<SocketAddr>,
    error_code: Option<u16>,
    unknown: UnknownAttributes,
    /// Where MESSAGE-INTEGRITY starts.
    integrity_at: Option<usize>,
    fingerprint: bool,
}

impl<'a> Message<'a> {
    /// Checks header, attributes and, when there is one, the fingerprint. Methods other than
    /// Binding are refused.
    ///
    /// # Errors
    /// [`Malformed`] names the rule that is broken.
    pub fn parse(data: &'a [u8]) -> Result<Self, Malformed> {
        let class = parse_header(data)?;
        let mut message = Self {
            data,
            class,
            username: None,
            priority: None,
            use_candidate: false,
            nomination: None,
            ice_controlled: None,
            ice_controlling: None,
            mapped_address: None,
            error_code: None,
            unknown: UnknownAttributes::default(),
            integrity_at: None,
            fingerprint: false,
        };
        let mut at = HEADER_LEN;
        // Each turn moves on by at least four bytes, so the datagram's size bounds the loop.
        while at < data.len() {
            let (Some(kind), Some(len)) = (u16_at(data, at), u16_at(data, at + 2)) else {
                return Err(Malformed::Truncated);
            };
            // RFC 8489 section 14.7: FINGERPRINT is the last attribute.
            if message.fingerprint {
                return Err(Malformed::Length);
            }
            let len = usize::from(len);
            let value = data.get(at + 4..at + 4 + len).ok_or(Malformed::Truncated)?;
            message.attribute(at, kind, value)?;
            at += 4 + len.next_multiple_of(4);
        }
        // The last attribute's padding is part of the message too.
        if at == data.len() {
            Ok(message)
        } else {
            Err(Malformed::Truncated)
        }
    }

    fn attribute(&mut self, at: usize, kind: u16, value: &'a [u8]) -> Result<(), Malformed> {
        // RFC 8489 section 14.5: what follows MESSAGE-INTEGRITY is not protected by it and ignored.
        if self.integrity_at.is_some() && kind != attribute::FINGERPRINT {
            return Ok(());
        }
        match kind {
            attribute::USERNAME if self.username.is_none() => {
                if value.len() > USERNAME_MAX_LEN {
                    return Err(Malformed::Length);
                }
                self.username = Some(value);
            }
            attribute::PRIORITY if self.priority.is_none() => self.priority = Some(exact_u32(value)?),
            attribute::USE_CANDIDATE => self.use_candidate = true,
            attribute::NOMINATION if self.nomination.is_none() => {
                self.nomination = Some(exact_u32(value)?);
            }
            attribute::ICE_CONTROLLED if self.ice_controlled.is_none() => {
                self.ice_controlled = Some(exact_u64(value)?);
            }
            attribute::ICE_CONTROLLING if self.ice_controlling.is_none() => {
                self.ice_controlling = Some(exact_u64(value)?);
            }
            attribute::XOR_MAPPED_ADDRESS if self.mapped_address.is_none() => {
                self.mapped_address = Some(attribute::read_xor_address(value, self.transaction_id())?);
            }
            attribute::ERROR_CODE if self.error_code.is_none() => {
                self.error_code = Some(attribute::read_error_code(value)?);
            }
            attribute::MESSAGE_INTEGRITY => {
                if value.len() != INTEGRITY_LEN {
                    return Err(Malformed::Length);
                }
                self.integrity_at = Some(at);
            }
            attribute::FINGERPRINT => {
                let expected = crc32::checksum(&self.data[..at]) ^ FINGERPRINT_XOR;
                if exact_u32(value)? != expected {
                    return Err(Malformed::Fingerprint);
                }
                self.fingerprint = true;
            }
            other if attribute::comprehension_required(other) && !attribute::is_known(other) => {
                self.unknown.push(other);
            }
            _ => {}
        }
        Ok(())
    }

    /// Request, indication or answer.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// Ties an answer to its request.
    #[must_use]
    pub fn transaction_id(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.data[8..HEADER_LEN]);
        TransactionId(id)
    }

    /// USERNAME as it stands: `receiver:sender` in ICE, unchecked bytes.
    #[must_use]
    pub fn username(&self) -> Option<&'a [u8]> {
        self.username
    }

    /// USERNAME split at its colon into the receiver's and the sender's ufrag (RFC 8445 section 7.2.2).
    #[must_use]
    pub fn ufrags(&self) -> Option<(&'a [u8], &'a [u8])> {
        let username = self.username?;
        let colon = username.iter().position(|&byte| byte == b':')?;
        Some((&username[..colon], &username[colon + 1..]))
    }

    /// PRIORITY of the candidate the check would make known.
    #[must_use]
    pub fn priority(&self) -> Option<u32> {
        self.priority
    }

    /// Whether the controlling agent nominates this pair.
    #[must_use]
    pub fn use_candidate(&self) -> bool {
        self.use_candidate
    }

    /// The value of a renomination (draft-thatcher-ice-renomination-01): the highest wins.
    #[must_use]
    pub fn nomination(&self) -> Option<u32> {
        self.nomination
    }

    /// Tie-breaker of a peer that says it is controlled.
    #[must_use]
    pub fn ice_controlled(&self) -> Option<u64> {
        self.ice_controlled
    }

    /// Tie-breaker of a peer that says it is controlling.
    #[must_use]
    pub fn ice_controlling(&self) -> Option<u64> {
        self.ice_controlling
    }

    /// XOR-MAPPED-ADDRESS of an answer.
    #[must_use]
    pub fn mapped_address(&self) -> Option<SocketAddr> {
        self.mapped_address
    }

    /// ERROR-CODE of an answer, 300 to 699.
    #[must_use]
    pub fn error_code(&self) -> Option<u16> {
        self.error_code
    }

    /// Attributes that forbid an answer other than 420.
    #[must_use]
    pub fn unknown_attributes(&self) -> &UnknownAttributes {
        &self.unknown
    }

    /// Whether MESSAGE-INTEGRITY is there to be verified.
    #[must_use]
    pub fn has_integrity(&self) -> bool {
        self.integrity_at.is_some()
    }

    /// Whether a FINGERPRINT was there; if so it was right.
    #[must_use]
    pub fn has_fingerprint(&self) -> bool {
        self.fingerprint
    }

    /// Whether MESSAGE-INTEGRITY is there and was made with this password (short-term credentials,
    /// RFC 8489 section 9.1.1). The comparison takes the same time wherever the two differ.
    #[must_use]
    pub fn verify_integrity(&self, password: &[u8]) -> bool {
        let Some(at) = self.integrity_at else {
            return false;
        };
        let expected = integrity(&self.data[..at], password);
        let given = &self.data[at + 4..at + 4 + INTEGRITY_LEN];
        expected.as_ref().ct_eq(given).into()
    }
}

fn parse_header(data: &[u8]) -> Result<Class, Malformed> {
    let (Some(kind), Some(len), Some(cookie)) = (u16_at(data, 0), u16_at(data, 2), u32_at(data, 4)) else {
        return Err(Malformed::Truncated);
    };
    if data.len() < HEADER_LEN {
        return Err(Malformed::Truncated);
    }
    if kind & 0xc000 != 0 || cookie != MAGIC_COOKIE {
        return Err(Malformed::Version);
    }
    if len % 4 != 0 || usize::from(len) + HEADER_LEN != data.len() {
        return Err(Malformed::Length);
    }
    // RFC 8489 section 5, figure 3: the class bits stand inside the method's.
    let class = match kind & 0x0110 {
        0x0000 => Class::Request,
        0x0010 => Class::Indication,
        0x0100 => Class::Success,
        _ => Class::Error,
    };
    if kind & !0x0110 == METHOD_BINDING {
        Ok(class)
    } else {
        Err(Malformed::Value)
    }
}

/// HMAC-SHA1 over everything before MESSAGE-INTEGRITY, with the header's length field as if the
/// message ended after it (RFC 8489 section 14.5).
fn integrity(before: &[u8], password: &[u8]) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password);
    let mut context = hmac::Context::with_key(&key);
    // A message is a datagram: its length fits 16 bits.
    let len = (before.len() - HEADER_LEN + 4 + INTEGRITY_LEN) as u16;
    context.update(&before[..2]);
    context.update(&len.to_be_bytes());
    context.update(&before[4..]);
    context.sign()
}

fn exact_u32(value: &[u8]) -> Result<u32, Malformed> {
    match value.len() {
        4 => u32_at(value, 0).ok_or(Malformed::Length),
        _ => Err(Malformed::Length),
    }
}

fn exact_u64(value: &[u8]) -> Result<u64, Malformed> {
    match value.len() {
        8 => u64_at(value, 0).ok_or(Malformed::Length),
        _ => Err(Malformed::Length),
    }
}

/// The address as peers know it: a dual-stack socket reports IPv4 peers as IPv4-mapped IPv6.
fn canonical(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
