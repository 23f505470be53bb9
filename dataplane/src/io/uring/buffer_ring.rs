//! The provided buffer ring (`IORING_REGISTER_PBUF_RING`, Linux 5.19): memory the kernel picks from when a
//! datagram comes.
//!
//! A buffer is the kernel's from [`BufferRing::give`] until a completion names it, and ours from then until
//! it is given back. The caller keeps that order; a buffer id is never given twice.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use super::mapping::Mapping;

/// The one group of a ring.
pub(super) const GROUP: u16 = 0;

/// Ring entries and the buffers they point at.
#[derive(Debug)]
pub(super) struct BufferRing {
    entries: Mapping,
    memory: Mapping,
    count: u16,
    buffer_len: usize,
    /// Our copy of the ring's tail; the kernel sees it at [`Self::publish`].
    tail: u16,
}

impl BufferRing {
    /// `count` (a power of two) buffers of `buffer_len` bytes, not yet known to the kernel.
    pub(super) fn new(count: u16, buffer_len: usize) -> io::Result<Self> {
        debug_assert!(count.is_power_of_two());
        let mut ring = Self {
            entries: Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?,
            memory: Mapping::new(usize::from(count) * buffer_len)?,
            count,
            buffer_len,
            tail: 0,
        };
        for buffer in 0..count {
            ring.give(buffer);
        }
        ring.publish();
        Ok(ring)
    }

    /// Tells the kernel of the ring.
    pub(super) fn register(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        // SAFETY: page-aligned memory of `count` entries, which the owner keeps until the ring is closed and no
        // operation is under way, or leaks.
        unsafe { submitter.register_buf_ring_with_flags(self.entries.as_ptr() as u64, self.count, GROUP, 0) }
    }

    /// A buffer that a completion has named and that is not given back yet; none for an id out of range.
    pub(super) fn buffer(&mut self, id: u16, len: usize) -> Option<&mut [u8]> {
        if id >= self.count {
            return None;
        }
        // SAFETY: within the mapping by the check above. The kernel does not touch a buffer between naming it
        // in a completion and getting it back, and the `&mut self` borrow allows one slice at a time.
        Some(unsafe {
            std::slice::from_raw_parts_mut(
                self.memory.as_ptr().add(usize::from(id) * self.buffer_len),
                len.min(self.buffer_len),
            )
        })
    }

    /// Puts a buffer at the ring's tail. The kernel sees it after [`Self::publish`].
    pub(super) fn give(&mut self, id: u16) {
        if id >= self.count {
            return;
        }
        let place = usize::from(self.tail & (self.count - 1));
        // SAFETY: within the mapping, aligned for an entry. The kernel reads only entries before the published
        // tail, and this one is behind it: at most `count` buffers exist and each is given once. Field by field,
        // because the first entry's unused field is the ring's tail.
        unsafe {
            let entry = &mut *self.entries.as_ptr().cast::<BufRingEntry>().add(place);
            entry.set_addr(self.memory.as_ptr().add(usize::from(id) * self.buffer_len) as u64);
            entry.set_len(self.buffer_len as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel every buffer given so far.
    pub(super) fn publish(&mut self) {
        // SAFETY: the tail is a live, aligned u16 in the first entry. The release orders the entries written
        // above before it, and the kernel reads it with acquire.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr().cast::<BufRingEntry>());
            AtomicU16::from_ptr(tail.cast_mut()).store(self.tail, Ordering::Release);
        }
    }

    /// Never frees the memory: the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        self.entries.leak();
        self.memory.leak();
    }
}
