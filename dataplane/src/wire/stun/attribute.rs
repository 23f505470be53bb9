//! Attribute types and the few attributes with a structure of their own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::{Malformed, u16_at, u32_at, writer::Writer};
use super::{MAGIC_COOKIE, TransactionId};

// RFC 8489 section 18.3.
pub(super) const USERNAME: u16 = 0x0006;
pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(super) const ERROR_CODE: u16 = 0x0009;
pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(super) const FINGERPRINT: u16 = 0x8028;
// RFC 8445 section 20.1.
pub(super) const PRIORITY: u16 = 0x0024;
pub(super) const USE_CANDIDATE: u16 = 0x0025;
pub(super) const ICE_CONTROLLED: u16 = 0x8029;
pub(super) const ICE_CONTROLLING: u16 = 0x802a;
/// As libwebrtc numbers it; the draft never got a number of its own.
pub(super) const NOMINATION: u16 = 0xc001;

const MAPPED_ADDRESS: u16 = 0x0001;

const FAMILY_IPV4: u8 = 1;
const FAMILY_IPV6: u8 = 2;

/// RFC 8489 section 14: the lower half of the types must be understood.
pub(super) fn comprehension_required(kind: u16) -> bool {
    kind < 0x8000
}

/// Known, though not all of them carry something for us.
pub(super) fn is_known(kind: u16) -> bool {
    matches!(
        kind,
        MAPPED_ADDRESS
            | USERNAME
            | MESSAGE_INTEGRITY
            | ERROR_CODE
            | UNKNOWN_ATTRIBUTES
            | MESSAGE_INTEGRITY_SHA256
            | XOR_MAPPED_ADDRESS
            | PRIORITY
            | USE_CANDIDATE
    )
}

/// RFC 8489 section 14.2: the port is XORed with the cookie's high half, an IPv4 address with the
/// cookie, an IPv6 address with cookie and transaction id.
fn mask_ipv6(transaction: TransactionId) -> u128 {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&transaction.0);
    u128::from_be_bytes(mask)
}

const PORT_MASK: u16 = (MAGIC_COOKIE >> 16) as u16;

pub(super) fn read_xor_address(value: &[u8], transaction: TransactionId) -> Result<SocketAddr, Malformed> {
    let (Some(&family), Some(port)) = (value.get(1), u16_at(value, 2)) else {
        return Err(Malformed::Length);
    };
    let ip = match (family, &value[4..]) {
        (FAMILY_IPV4, &[a, b, c, d]) => {
            let bits = u32::from_be_bytes([a, b, c, d]) ^ MAGIC_COOKIE;
            IpAddr::V4(Ipv4Addr::from_bits(bits))
        }
        (FAMILY_IPV6, address) => {
            let bytes: [u8; 16] = address.try_into().map_err(|_| Malformed::Length)?;
            IpAddr::V6(Ipv6Addr::from_bits(
                u128::from_be_bytes(bytes) ^ mask_ipv6(transaction),
            ))
        }
        (FAMILY_IPV4, _) => return Err(Malformed::Length),
        _ => return Err(Malformed::Value),
    };
    Ok(SocketAddr::new(ip, port ^ PORT_MASK))
}

pub(super) fn write_xor_address(
    out: &mut Writer<'_>,
    (ip, port): (IpAddr, u16),
    transaction: TransactionId,
) -> Option<()> {
    out.u16(XOR_MAPPED_ADDRESS)?;
    out.u16(if ip.is_ipv4() { 8 } else { 20 })?;
    out.u8(0)?;
    out.u8(if ip.is_ipv4() { FAMILY_IPV4 } else { FAMILY_IPV6 })?;
    out.u16(port ^ PORT_MASK)?;
    match ip {
        IpAddr::V4(ip) => out.u32(ip.to_bits() ^ MAGIC_COOKIE),
        IpAddr::V6(ip) => out.bytes(&(ip.to_bits() ^ mask_ipv6(transaction)).to_be_bytes()),
    }
}

/// RFC 8489 section 14.8: the hundreds in one byte's low three bits, the rest in the next.
pub(super) fn read_error_code(value: &[u8]) -> Result<u16, Malformed> {
    let bits = u32_at(value, 0).ok_or(Malformed::Length)?;
    let (hundreds, rest) = ((bits >> 8) & 0x07, bits & 0xff);
    if !(3..=6).contains(&hundreds) || rest > 99 {
        return Err(Malformed::Value);
    }
    // At most 699.
    Ok((hundreds * 100 + rest) as u16)
}
