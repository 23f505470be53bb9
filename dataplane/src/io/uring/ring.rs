//! The ring itself: set up, submit, wait, and sort completions by what they are about.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Submitter, cqueue, opcode, squeue};

use super::Unavailable;
use super::buffer_ring::GROUP;
use super::op::Op;
use crate::io::limits::{RING_BUFFERS, RING_COMPLETIONS, RING_ENTRIES};
use crate::io::send::{SendMessages, SendSlots};

/// Index of the UDP socket among the registered files.
const SOCKET: Fixed = Fixed(0);

/// Index of the wake-up eventfd among the registered files.
const WAKE: Fixed = Fixed(1);

/// Rounds a submission may take when the kernel is short of memory; far more than was ever needed.
const SUBMIT_ROUNDS: usize = 1000;

/// What a completion of the receive said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Completed {
    /// Bytes written to the buffer, or a negative errno.
    pub(super) result: i32,
    /// The buffer they are in.
    pub(super) buffer: Option<u16>,
}

/// One ring with its standing operations.
pub(super) struct Ring {
    io: IoUring,
    /// Receives that completed and wait to be taken.
    pub(super) received: VecDeque<Completed>,
    receiving: bool,
    watching: bool,
    /// The eventfd was written to.
    pub(super) woken: bool,
    /// The connections' epoll, if there is one.
    pub(super) connections: Option<RawFd>,
    polling: bool,
    /// There is something on the connections.
    pub(super) connections_ready: bool,
}

impl Ring {
    /// A ring for the calling thread alone, over a socket and a wake-up eventfd.
    pub(super) fn new(socket: RawFd, wake: RawFd) -> Result<Self, Unavailable> {
        let io = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(RING_COMPLETIONS)
            .build(RING_ENTRIES)
            .map_err(|error| Unavailable::new(setup_feature(&error), error))?;
        let lacks = |feature| Unavailable::new(feature, io::ErrorKind::Unsupported.into());
        if !io.params().is_feature_ext_arg() {
            return Err(lacks("IORING_FEAT_EXT_ARG (Linux 5.11)"));
        }
        if !io.params().is_feature_skip_cqe_on_success() {
            return Err(lacks("IORING_FEAT_CQE_SKIP (Linux 5.17)"));
        }
        io.submitter()
            .register_files(&[socket, wake])
            .map_err(|error| Unavailable::new("IORING_REGISTER_FILES", error))?;
        Ok(Self {
            io,
            received: VecDeque::with_capacity(2 * usize::from(RING_BUFFERS)),
            receiving: false,
            watching: false,
            woken: false,
            connections: None,
            polling: false,
            connections_ready: false,
        })
    }

    /// For registrations.
    pub(super) fn submitter(&self) -> Submitter<'_> {
        self.io.submitter()
    }

    /// Queues what is not under way: the receive and the polls.
    ///
    /// # Safety
    /// `header` and the provided buffers must stay where they are until [`Self::quiesce`] has answered true.
    pub(super) unsafe fn arm(&mut self, header: *const libc::msghdr) {
        // With every buffer in our hands the receive would only end again.
        if !self.receiving && self.received.len() < usize::from(RING_BUFFERS) {
            let receive = opcode::RecvMsgMulti::new(SOCKET, header, GROUP).build();
            // SAFETY: the caller's promise.
            unsafe { self.push(&receive.user_data(Op::Receive.encode())) };
            self.receiving = true;
        }
        if !self.watching {
            let poll = opcode::PollAdd::new(WAKE, libc::POLLIN as u32)
                .multi(true)
                .build();
            // SAFETY: a poll borrows no memory.
            unsafe { self.push(&poll.user_data(Op::Wake.encode())) };
            self.watching = true;
        }
        if let (Some(fd), false) = (self.connections, self.polling) {
            // Armed anew each time, so that what was left over is told again.
            let poll = opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).build();
            // SAFETY: a poll borrows no memory, and the kernel holds the file while it lasts.
            unsafe { self.push(&poll.user_data(Op::Connections.encode())) };
            self.polling = true;
        }
    }

    /// Whether the receive is under way, as far as completions tell.
    pub(super) fn is_receiving(&self) -> bool {
        self.receiving
    }

    /// Submits, and sleeps until a completion or `timeout` (none: for ever). With a zero timeout it only
    /// enters the kernel when that has something to do.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let entered = match timeout {
            Some(Duration::ZERO) => self.poll(),
            Some(timeout) => {
                let timespec = Timespec::from(timeout);
                let args = SubmitArgs::new().timespec(&timespec);
                self.io.submitter().submit_with_args(1, &args).map(drop)
            }
            None => self.io.submit_and_wait(1).map(drop),
        };
        self.reap(None);
        match entered {
            Ok(()) => Ok(()),
            // The time is up; a signal came; completions had to be taken first, and now are.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Lets the kernel run the receive work it has put off, if there is any. With DEFER_TASKRUN it does that only
    /// when asked, and sends alone do not ask.
    fn poll(&mut self) -> io::Result<()> {
        let queue = self.io.submission();
        let (queued, due) = (queue.len(), queue.taskrun() || queue.cq_overflow());
        drop(queue);
        if queued == 0 && !due {
            return Ok(());
        }
        // SAFETY: submits entries whose memory `arm` and `send_messages` vouch for; no signal mask is passed.
        unsafe {
            self.io
                .submitter()
                .enter::<libc::sigset_t>(queued as u32, 0, EnterFlags::GETEVENTS.bits(), None)
                .map(drop)
        }
    }

    /// Takes every completion that is there.
    fn reap(&mut self, mut failed: Option<&mut Vec<(usize, i32)>>) {
        for completion in self.io.completion() {
            let (result, flags) = (completion.result(), completion.flags());
            let more = cqueue::more(flags);
            match Op::decode(completion.user_data()) {
                Some(Op::Receive) => {
                    self.receiving = more;
                    self.received.push_back(Completed {
                        result,
                        buffer: cqueue::buffer_select(flags),
                    });
                }
                Some(Op::Wake) => {
                    self.watching = more;
                    self.woken = true;
                }
                Some(Op::Connections) => {
                    self.polling = false;
                    self.connections_ready = true;
                }
                Some(Op::Send(slot)) => {
                    if let (Some(failed), true) = (failed.as_mut(), result < 0) {
                        failed.push((usize::from(slot), -result));
                    }
                }
                None => debug_assert!(false, "a completion of no operation of ours"),
            }
        }
    }

    /// Ends the standing operations and waits until the kernel has let go of their memory. False: it has not, and
    /// that memory must never be freed.
    pub(super) fn quiesce(&mut self) -> bool {
        // Entries that were never submitted are never read: the ring's owner submits no more.
        let everything = io_uring::types::CancelBuilder::any();
        let second = Timespec::new().sec(1);
        // ENOENT: nothing was under way.
        let _ = self.io.submitter().register_sync_cancel(Some(second), everything);
        for _ in 0..8 {
            let _ = self.poll_all();
            self.reap(None);
            if !self.receiving && !self.watching {
                return true;
            }
        }
        false
    }

    fn poll_all(&mut self) -> io::Result<usize> {
        // SAFETY: submits nothing, only takes completions.
        unsafe {
            self.io
                .submitter()
                .enter::<libc::sigset_t>(0, 0, EnterFlags::GETEVENTS.bits(), None)
        }
    }

    /// Queues an entry, submitting first when the queue is full.
    ///
    /// # Safety
    /// Everything the entry points at must live until the operation ends.
    unsafe fn push(&mut self, entry: &Entry) {
        for _ in 0..SUBMIT_ROUNDS {
            // SAFETY: the caller's promise.
            if unsafe { self.io.submission().push(entry) }.is_ok() {
                return;
            }
            self.submit_all(None);
        }
        panic!("the submission queue stays full");
    }

    /// Submits until the queue is empty: what stays in it would be read when its memory has gone.
    fn submit_all(&mut self, mut failed: Option<&mut Vec<(usize, i32)>>) {
        for _ in 0..SUBMIT_ROUNDS {
            let submitted = self.io.submit();
            // Completions may be what stands in the way (EBUSY).
            self.reap(failed.as_deref_mut());
            if self.io.submission().is_empty() {
                return;
            }
            if let Err(error) = submitted
                && !matches!(
                    error.raw_os_error(),
                    Some(libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ENOMEM)
                )
            {
                panic!("io_uring_enter: {error}");
            }
        }
        panic!("the kernel takes no submissions");
    }
}

impl SendMessages for Ring {
    fn send_messages(&mut self, slots: &mut SendSlots, count: usize, failed: &mut Vec<(usize, i32)>) {
        for (slot, header) in slots.headers()[..count].iter().enumerate() {
            // MSG_DONTWAIT: the send ends within the submission, done or failed. Without it a full send buffer
            // would keep the operation, out of order, and its memory with it.
            let send = opcode::SendMsg::new(SOCKET, &raw const header.msg_hdr)
                .flags(libc::MSG_DONTWAIT as u32)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS)
                .user_data(Op::Send(slot as u8).encode());
            // SAFETY: the slots outlive this call, and `submit_all` does not return before the kernel has taken
            // every entry; by MSG_DONTWAIT the sends are then over.
            unsafe { self.push(&send) };
        }
        self.submit_all(Some(failed));
    }
}

/// What a failed io_uring_setup says about the kernel or its settings.
fn setup_feature(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => "io_uring (not in this kernel, or hidden by the container's seccomp profile)",
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring (forbidden: kernel.io_uring_disabled or the container's seccomp profile)"
        }
        Some(libc::EINVAL) => "IORING_SETUP_SINGLE_ISSUER and IORING_SETUP_DEFER_TASKRUN (Linux 6.1)",
        Some(libc::ENOMEM) => "io_uring_setup (memory; RLIMIT_MEMLOCK before Linux 5.12)",
        _ => "io_uring_setup",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_setup_names_its_cause() {
        for (errno, word) in [
            (libc::ENOSYS, "not in this kernel"),
            (libc::EPERM, "io_uring_disabled"),
            (libc::EINVAL, "Linux 6.1"),
            (libc::EMFILE, "io_uring_setup"),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert!(setup_feature(&error).contains(word), "{errno}");
        }
    }
}
