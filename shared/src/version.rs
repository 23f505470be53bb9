//! Versions that two processes of different builds compare before they talk.

/// Version of the control link ([`crate::link`]). Raised when a message changes its meaning.
pub const LINK_VERSION: u16 = 4;

/// Oldest link version this build still speaks: N and N−1 interoperate, so that either plane
/// can be upgraded first.
pub const LINK_VERSION_MIN: u16 = 3;

/// The version of this build, as in `GET /health` and `joined.server.version`.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");

/// The highest version both sides speak, if there is one.
#[must_use]
pub fn negotiate(ours: (u16, u16), theirs: (u16, u16)) -> Option<u16> {
    let (our_min, our_max) = ours;
    let (their_min, their_max) = theirs;
    let version = our_max.min(their_max);
    (version >= our_min && version >= their_min).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::negotiate;

    #[test]
    fn neighbouring_versions_meet_at_the_older() {
        assert_eq!(negotiate((1, 2), (2, 3)), Some(2));
        assert_eq!(negotiate((2, 3), (1, 2)), Some(2));
    }

    #[test]
    fn distant_versions_do_not_meet() {
        assert_eq!(negotiate((1, 2), (3, 4)), None);
        assert_eq!(negotiate((3, 4), (1, 2)), None);
    }
}
