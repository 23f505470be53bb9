//! Page-aligned anonymous memory that the kernel may share.

use std::io;
use std::ptr::{self, NonNull};

/// Zeroed pages, touched only where used.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    leaked: bool,
}

impl Mapping {
    /// At least `len` bytes.
    pub(super) fn new(len: usize) -> io::Result<Self> {
        // SAFETY: a fresh private mapping at an address of the kernel's choice; touches no existing memory.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap gave the null page"))?;
        Ok(Self {
            base,
            len,
            leaked: false,
        })
    }

    /// The first byte.
    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Never unmaps: the kernel may still write here.
    pub(super) fn leak(&mut self) {
        self.leaked = true;
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if !self.leaked {
            // SAFETY: exactly the range mapped by `new`, which nothing refers to any more.
            unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
        }
    }
}
