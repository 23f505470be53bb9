//! ICE-lite (RFC 8445 section 2.5) with consent (RFC 7675) and change of path.
