//! What stands on this core for the tracks of others: found by the other core and the track's key there, for every packet
//! that is handed over.

use crate::shard::slab::Key;

/// Tracks of other cores.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    /// By core, then by the index of the track's key there: its epoch, and the publication here.
    cores: Vec<Vec<Option<(u32, Key)>>>,
    len: usize,
}

impl Mirrors {
    /// The publication that stands for a track.
    #[must_use]
    pub(super) fn get(&self, core: u8, track: Key) -> Option<Key> {
        let (epoch, own) = (*self.cores.get(usize::from(core))?.get(track.index as usize)?)?;
        (epoch == track.epoch).then_some(own)
    }

    /// A publication stands for a track from now on.
    pub(super) fn insert(&mut self, core: u8, track: Key, own: Key) {
        let (core, index) = (usize::from(core), track.index as usize);
        if self.cores.len() <= core {
            self.cores.resize_with(core + 1, Vec::new);
        }
        let tracks = &mut self.cores[core];
        if tracks.len() <= index {
            tracks.resize(index + 1, None);
        }
        self.len += usize::from(tracks[index].is_none());
        tracks[index] = Some((track.epoch, own));
    }

    /// It is no more. A younger track in its place stays.
    pub(super) fn remove(&mut self, core: u8, track: Key) {
        if self.get(core, track).is_some() {
            self.cores[usize::from(core)][track.index as usize] = None;
            self.len -= 1;
        }
    }

    /// How many there are.
    #[must_use]
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u32, epoch: u32) -> Key {
        Key { index, epoch }
    }

    #[test]
    fn a_track_is_found_by_its_core_and_its_key() {
        let mut mirrors = Mirrors::default();
        mirrors.insert(2, key(5, 1), key(9, 0));
        mirrors.insert(0, key(5, 1), key(8, 0));
        assert_eq!(mirrors.get(2, key(5, 1)), Some(key(9, 0)));
        assert_eq!(mirrors.get(0, key(5, 1)), Some(key(8, 0)));
        assert_eq!(mirrors.get(1, key(5, 1)), None);
        assert_eq!(mirrors.get(2, key(5, 0)), None, "an older track");
        assert_eq!(mirrors.get(7, key(5, 1)), None);
        mirrors.insert(2, key(5, 2), key(7, 3));
        mirrors.remove(2, key(5, 1));
        assert_eq!(mirrors.get(2, key(5, 2)), Some(key(7, 3)));
        assert_eq!(mirrors.len(), 2);
        mirrors.remove(2, key(5, 2));
        mirrors.remove(2, key(5, 2));
        assert_eq!(mirrors.len(), 1);
    }
}
