//! How another thread ends a core's sleep: an eventfd that the core's driver watches.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

/// The sleeping side, and the source of [`Waker`]s.
#[derive(Debug)]
pub struct WakeFd {
    fd: Arc<OwnedFd>,
}

/// Ends the sleep of one core. Cheap to clone; never blocks.
#[derive(Debug, Clone)]
pub struct Waker {
    fd: Arc<OwnedFd>,
}

impl WakeFd {
    /// A new eventfd, quiet.
    ///
    /// # Errors
    /// What the kernel said: no descriptors left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor the kernel just gave, owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd: Arc::new(fd) })
    }

    /// A handle for other threads.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker {
            fd: Arc::clone(&self.fd),
        }
    }

    /// Forgets every wake so far. Call it before looking for work, so that none is missed.
    pub fn reset(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: reads at most the eight bytes of a live buffer. An empty counter gives EAGAIN, which means
        // the same: nothing to forget.
        unsafe { libc::read(self.fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsRawFd for WakeFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Waker {
    /// Ends the core's sleep, or the next one if it is awake.
    pub fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: writes eight live bytes. The only error of an eventfd is a full counter: awake already.
        unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}
