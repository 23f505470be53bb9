//! SIGTERM and SIGINT as messages: both mean an orderly end.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use crossbeam_channel::{Receiver, bounded};

/// A signal that asks for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

/// Blocks both signals in the calling thread and in every thread it starts from here on, and gives them as
/// messages. Call it before any other thread runs: an unblocked thread would die of them.
///
/// # Errors
/// The thread that waits for them could not be started.
pub fn listen() -> io::Result<Receiver<Signal>> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set it is given; the other calls get an initialised set and
    // valid signal numbers.
    let set = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
        libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
        set.assume_init()
    };
    // SAFETY: an initialised set; the old mask is not wanted.
    let status = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
    if status != 0 {
        return Err(io::Error::from_raw_os_error(status));
    }
    let (sender, receiver) = bounded(1);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            loop {
                let mut number = 0;
                // SAFETY: an initialised set of blocked signals and a live out-pointer.
                if unsafe { libc::sigwait(&raw const set, &raw mut number) } != 0 {
                    return;
                }
                let signal = match number {
                    libc::SIGTERM => Signal::Terminate,
                    _ => Signal::Interrupt,
                };
                // A second one while the first is under way says nothing new.
                let _ = sender.try_send(signal);
            }
        })?;
    Ok(receiver)
}

/// Leaves the session of whoever started the process, so that no terminal's end reaches it. A process
/// that leads its group already (started by a shell, or in a session of its own) stays where it is.
pub fn leave_session() {
    // SAFETY: takes no arguments; EPERM is the case described above.
    unsafe { libc::setsid() };
}
