//! Values under stable small indices, with an epoch per index so that a recycled one is recognised.

/// Storage of a bounded number of values.
#[derive(Debug)]
pub struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    len: usize,
    max: usize,
}

/// Values are boxed, so that the entries of thousands are small enough to stay in the nearer caches: whether a key is
/// valid is then known without waiting for the value's own memory, and that can be fetched ahead.
#[derive(Debug)]
struct Entry<T> {
    epoch: u32,
    value: Option<Box<T>>,
}

/// The place of a value and how often the place was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Index, reused.
    pub index: u32,
    /// Never the same twice for one index.
    pub epoch: u32,
}

impl<T> Slab<T> {
    /// An empty slab for at most `max` values. The entries for all of them are reserved here; values have memory of
    /// their own, and never move.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            entries: Vec::with_capacity(max),
            free: Vec::new(),
            len: 0,
            max,
        }
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reserves a key and stores what `make` gives for it; `None` when full.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Option<Key> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.entries.len() < self.max => {
                self.entries.push(Entry {
                    epoch: 0,
                    value: None,
                });
                (self.entries.len() - 1) as u32
            }
            None => return None,
        };
        let entry = &mut self.entries[index as usize];
        let key = Key {
            index,
            epoch: entry.epoch,
        };
        entry.value = Some(Box::new(make(key)));
        self.len += 1;
        Some(key)
    }

    /// Takes a value out; its key is never valid again.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self
            .entries
            .get_mut(key.index as usize)
            .filter(|entry| entry.epoch == key.epoch)?;
        let value = entry.value.take()?;
        entry.epoch = entry.epoch.wrapping_add(1);
        self.free.push(key.index);
        self.len -= 1;
        Some(*value)
    }

    /// The value of a key that is still valid.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        self.entries
            .get(key.index as usize)
            .filter(|entry| entry.epoch == key.epoch)?
            .value
            .as_deref()
    }

    /// The value of a key that is still valid.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.entries
            .get_mut(key.index as usize)
            .filter(|entry| entry.epoch == key.epoch)?
            .value
            .as_deref_mut()
    }

    /// One more than the highest index that was ever given out.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.entries.len() as u32
    }

    /// The key of the value at an index, if there is one.
    #[must_use]
    pub fn at(&self, index: u32) -> Option<Key> {
        let entry = self.entries.get(index as usize)?;
        let epoch = entry.epoch;
        entry.value.as_ref().map(|_| Key { index, epoch })
    }

    /// Keys and values by ascending index.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let key = Key {
                index: index as u32,
                epoch: entry.epoch,
            };
            entry.value.as_deref().map(|value| (key, value))
        })
    }

    /// Keys and values by ascending index.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.entries.iter_mut().enumerate().filter_map(|(index, entry)| {
            let key = Key {
                index: index as u32,
                epoch: entry.epoch,
            };
            entry.value.as_deref_mut().map(|value| (key, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn a_recycled_index_does_not_answer_for_its_former_tenant() {
        let mut slab = Slab::new(1);
        let first = slab.insert_with(|_| 'a').expect("room for one");
        assert!(slab.insert_with(|_| 'b').is_none());
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert_with(|_| 'c').expect("room again");
        assert_eq!(second.index, first.index);
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&'c')));
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.len(), 1);
    }
}
