//! Server user fragments: each begins with the id of its session, so that the first check of a peer
//! finds its session, and its core, without a table.

use kall_shared::id::SessionId;

/// Hexadecimal digits of a session id at the start of a fragment.
const ID_LEN: usize = 16;

/// Random letters after the session id: 40 bits, so that it can't be guessed. They are drawn anew for
/// each ICE restart.
pub(super) const RANDOM_LEN: usize = 8;

/// The fragment of a session.
pub(crate) fn of_session(session: SessionId, random: &str) -> String {
    format!("{:0width$x}{random}", session.0, width = ID_LEN)
}

/// The session that a check's USERNAME is for: the receiver's fragment stands first in it
/// (RFC 8445 section 7.2.2).
#[must_use]
pub fn session_of(username: &[u8]) -> Option<SessionId> {
    let digits = username.get(..ID_LEN)?;
    // `from_str_radix` would take a sign as well.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(digits, 16).ok().map(SessionId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_names_its_session() {
        let session = SessionId::pack(3, 70_000, 9);
        let ufrag = of_session(session, "abcdefgh");
        assert_eq!(ufrag.len(), ID_LEN + RANDOM_LEN);
        assert_eq!(session_of(format!("{ufrag}:peer").as_bytes()), Some(session));
        for foreign in [
            &b""[..],
            b"peer:0123456789abcdef",
            b"+123456789abcdef:x",
            b"0123456789abcde",
        ] {
            assert_eq!(session_of(foreign), None, "{foreign:?}");
        }
    }
}
