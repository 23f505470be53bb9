//! The messages a lite agent answers with, and the requests that test peers send it.

use std::net::SocketAddr;

use super::super::{crc32, writer::Writer};
use super::{FINGERPRINT_XOR, HEADER_LEN, INTEGRITY_LEN, MAGIC_COOKIE, TransactionId};
use super::{attribute, canonical, integrity};

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_INDICATION: u16 = 0x0011;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

/// Who nominates, with the tie-breaker (RFC 8445 section 7.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// ICE-CONTROLLING.
    Controlling(u64),
    /// ICE-CONTROLLED.
    Controlled(u64),
}

/// A connectivity check.
#[derive(Debug, Clone, Copy)]
pub struct BindingRequest<'a> {
    /// Fresh and unpredictable for each request.
    pub transaction_id: TransactionId,
    /// `receiver:sender` ufrags.
    pub username: &'a [u8],
    /// The receiver's ICE password.
    pub password: &'a [u8],
    /// Priority of the candidate the check would make known.
    pub priority: u32,
    /// The sender's role.
    pub role: Role,
    /// Whether the pair is nominated by it.
    pub use_candidate: bool,
    /// A renomination's value.
    pub nomination: Option<u32>,
}

/// Writes a connectivity check (RFC 8445 section 7.2.2) and gives its length.
pub fn write_binding_request(buf: &mut [u8], request: &BindingRequest<'_>) -> Option<usize> {
    let mut out = start(buf, BINDING_REQUEST, request.transaction_id)?;
    write_attribute(&mut out, attribute::USERNAME, request.username)?;
    write_attribute(&mut out, attribute::PRIORITY, &request.priority.to_be_bytes())?;
    let (role, tie_breaker) = match request.role {
        Role::Controlling(tie_breaker) => (attribute::ICE_CONTROLLING, tie_breaker),
        Role::Controlled(tie_breaker) => (attribute::ICE_CONTROLLED, tie_breaker),
    };
    write_attribute(&mut out, role, &tie_breaker.to_be_bytes())?;
    if request.use_candidate {
        write_attribute(&mut out, attribute::USE_CANDIDATE, &[])?;
    }
    if let Some(value) = request.nomination {
        write_attribute(&mut out, attribute::NOMINATION, &value.to_be_bytes())?;
    }
    finish(out, Some(request.password))
}

/// Writes a keepalive without credentials (RFC 8445 section 11) and gives its length.
pub fn write_binding_indication(buf: &mut [u8], transaction_id: TransactionId) -> Option<usize> {
    finish(start(buf, BINDING_INDICATION, transaction_id)?, None)
}

/// Writes the answer to a check (RFC 8445 section 7.3): the address it came from, under the
/// password the request was made with. Gives its length.
pub fn write_binding_success(
    buf: &mut [u8],
    transaction_id: TransactionId,
    mapped: SocketAddr,
    password: &[u8],
) -> Option<usize> {
    let mut out = start(buf, BINDING_SUCCESS, transaction_id)?;
    attribute::write_xor_address(&mut out, canonical(mapped), transaction_id)?;
    finish(out, Some(password))
}

/// Writes the answer to a bare Binding request, which has no credentials (RFC 8489 section 12): the
/// address it came from. Gives its length.
pub fn write_bare_success(
    buf: &mut [u8],
    transaction_id: TransactionId,
    mapped: SocketAddr,
) -> Option<usize> {
    let mut out = start(buf, BINDING_SUCCESS, transaction_id)?;
    attribute::write_xor_address(&mut out, canonical(mapped), transaction_id)?;
    finish(out, None)
}

/// Writes an error answer and gives its length. `code` is 300 to 699; `unknown` lists the attributes
/// of a 420; an answer to a request whose integrity did not hold carries none itself
/// (RFC 8489 section 9.1.3).
pub fn write_binding_error(
    buf: &mut [u8],
    transaction_id: TransactionId,
    code: u16,
    password: Option<&[u8]>,
    unknown: &[u16],
) -> Option<usize> {
    if !(300..=699).contains(&code) {
        return None;
    }
    let mut out = start(buf, BINDING_ERROR, transaction_id)?;
    let [hundreds, rest] = [code / 100, code % 100].map(|part| part.to_be_bytes()[1]);
    write_attribute(&mut out, attribute::ERROR_CODE, &[0, 0, hundreds, rest])?;
    if !unknown.is_empty() {
        out.u16(attribute::UNKNOWN_ATTRIBUTES)?;
        out.u16(u16::try_from(unknown.len() * 2).ok()?)?;
        for kind in unknown {
            out.u16(*kind)?;
        }
        out.align4()?;
    }
    finish(out, password)
}

fn start(buf: &mut [u8], kind: u16, transaction_id: TransactionId) -> Option<Writer<'_>> {
    let mut out = Writer::new(buf);
    out.u16(kind)?;
    out.u16(0)?;
    out.u32(MAGIC_COOKIE)?;
    out.bytes(&transaction_id.0)?;
    Some(out)
}

fn write_attribute(out: &mut Writer<'_>, kind: u16, value: &[u8]) -> Option<()> {
    out.u16(kind)?;
    out.u16(u16::try_from(value.len()).ok()?)?;
    out.bytes(value)?;
    out.align4()
}

/// Appends MESSAGE-INTEGRITY if there is a password, then FINGERPRINT (RFC 8445 section 7.1.2
/// wants it on every check), each over a header whose length already counts it.
fn finish(mut out: Writer<'_>, password: Option<&[u8]>) -> Option<usize> {
    if let Some(password) = password {
        let tag = integrity(out.written(), password);
        write_attribute(&mut out, attribute::MESSAGE_INTEGRITY, tag.as_ref())?;
        debug_assert_eq!(tag.as_ref().len(), INTEGRITY_LEN);
    }
    let body_len = out.len() + 8 - HEADER_LEN;
    out.patch_u16(2, u16::try_from(body_len).ok()?)?;
    let fingerprint = crc32::checksum(out.written()) ^ FINGERPRINT_XOR;
    write_attribute(&mut out, attribute::FINGERPRINT, &fingerprint.to_be_bytes())?;
    Some(out.len())
}
