//! The last line before a nonce is used twice.
//!
//! Two different packets under one key, SSRC and index give away GCM's authentication key, or in
//! counter mode the XOR of both plaintexts (RFC 7714 section 8, RFC 3711 section 9.1). Sequence
//! numbers are rewritten above this layer, where mistakes are easy, so every index is checked here
//! again by code that knows nothing of rewriting. A hit is a bug, counted as `bug_egress_guard`.

use super::replay::Window;

/// The index was sealed before, or is too old to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reused;

/// The last [`EgressGuard::WINDOW`] indices of one outgoing SSRC. It lives as long as the session's
/// keys: whoever recreates a stream keeps its guard or takes a fresh SSRC.
#[derive(Debug, Clone)]
pub struct EgressGuard {
    sent: Window<32>,
}

impl EgressGuard {
    /// Indices that are remembered: at 1000 packets per second two seconds, twice as long as a
    /// packet waits for retransmission or for a late source packet.
    pub const WINDOW: usize = 2048;

    /// Nothing sent yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { sent: Window::new() }
    }

    /// Takes `index`, once.
    ///
    /// # Errors
    /// [`Reused`] if it was taken before or lies behind the window.
    pub fn take(&mut self, index: u64) -> Result<(), Reused> {
        if !self.sent.is_fresh(index) {
            return Err(Reused);
        }
        self.sent.mark(index);
        Ok(())
    }
}

impl Default for EgressGuard {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_goes_out_once() {
        let mut guard = EgressGuard::new();
        for index in [7, 9, 8, 65_535, 65_536] {
            assert_eq!(guard.take(index), Ok(()));
            assert_eq!(guard.take(index), Err(Reused));
        }
    }

    #[test]
    fn what_is_forgotten_counts_as_used() {
        let mut guard = EgressGuard::new();
        guard.take(10_000).unwrap();
        assert_eq!(guard.take(10_000 - 2047), Ok(()));
        assert_eq!(guard.take(10_000 - 2048), Err(Reused));
    }
}
