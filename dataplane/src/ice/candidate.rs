//! The candidate pairs of a session: one per remote address that proved to know the password.

use std::net::IpAddr;

use crate::address::TransportAddress;
use crate::io::prefetch::prefetch;
use crate::time::Time;

/// Pairs kept per session. A browser on Wi-Fi, mobile data and a VPN, with IPv4 and IPv6, uses six.
pub const PAIRS_MAX: usize = 8;

/// Where packets of a session go to and leave from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// The peer's address.
    pub remote: TransportAddress,
    /// Our address that the peer sends to; answers leave from it, or a NAT drops them.
    pub local: IpAddr,
}

/// A validated pair.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) path: Path,
    /// The last check or packet over it whose authenticity was proved.
    pub(super) heard: Time,
}

/// What [`Pairs::validate`] changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validated {
    pub(super) new: bool,
    pub(super) evicted: Option<TransportAddress>,
}

/// At most [`PAIRS_MAX`] pairs, and which of them is in use.
#[derive(Debug, Clone)]
pub(super) struct Pairs {
    pairs: Vec<Pair>,
    /// The path of the pair in use, here as well: it is looked up for every packet.
    selected: Option<Path>,
}

impl Pairs {
    pub(super) fn new() -> Self {
        Self {
            pairs: Vec::with_capacity(PAIRS_MAX),
            selected: None,
        }
    }

    /// Fetches the path in use.
    pub(super) fn prefetch(&self) {
        prefetch(&self.selected);
    }

    /// Notes an authenticated check over `path`. A ninth pair takes the place of the one that was
    /// silent for longest and is not in use.
    pub(super) fn validate(&mut self, now: Time, path: Path) -> Validated {
        if let Some(pair) = self.get_mut(path.remote) {
            pair.heard = now;
            // A peer that reached us over another of our addresses expects answers from there.
            pair.path.local = path.local;
            if let Some(selected) = self.selected.as_mut().filter(|own| own.remote == path.remote) {
                selected.local = path.local;
            }
            return Validated {
                new: false,
                evicted: None,
            };
        }
        let evicted = if self.pairs.len() == PAIRS_MAX {
            self.evict()
        } else {
            None
        };
        self.pairs.push(Pair { path, heard: now });
        Validated { new: true, evicted }
    }

    fn evict(&mut self) -> Option<TransportAddress> {
        let oldest = self
            .pairs
            .iter()
            .enumerate()
            .filter(|(_, pair)| Some(pair.path) != self.selected)
            .min_by_key(|(_, pair)| pair.heard)?
            .0;
        Some(self.pairs.remove(oldest).path.remote)
    }

    /// Puts a validated pair into use; whether that changed anything.
    pub(super) fn select(&mut self, remote: TransportAddress) -> bool {
        let Some(path) = self.get(remote).map(|pair| pair.path) else {
            return false;
        };
        self.selected.replace(path) != Some(path)
    }

    /// The path in use.
    pub(super) fn selected(&self) -> Option<Path> {
        self.selected
    }

    pub(super) fn get(&self, remote: TransportAddress) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.path.remote == remote)
    }

    pub(super) fn get_mut(&mut self, remote: TransportAddress) -> Option<&mut Pair> {
        self.pairs.iter_mut().find(|pair| pair.path.remote == remote)
    }

    /// Forgets the pair of an address that is no more. If it was in use, the one heard last takes its
    /// place, if there is one.
    pub(super) fn remove(&mut self, remote: TransportAddress) {
        self.pairs.retain(|pair| pair.path.remote != remote);
        if self.selected.is_some_and(|selected| selected.remote == remote) {
            let latest = self.pairs.iter().max_by_key(|pair| pair.heard);
            self.selected = latest.map(|pair| pair.path);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter()
    }
}
