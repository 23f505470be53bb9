//! What recvmmsg writes into: for the plain driver's one socket, and for many that take turns.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::ptr;

use super::counters::IoCounters;
use super::limits::{RECEIVE_BATCH, RECEIVE_CONTROL_LEN};
use super::receive::{self, EXPECTED_AHEAD, Message, TakeDatagrams};
use super::sockaddr;

/// Memory for one recvmmsg, of whatever socket.
pub(super) struct ReceiveSlots {
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    names: Box<[[u8; sockaddr::LEN_MAX]]>,
    controls: Box<[[u8; RECEIVE_CONTROL_LEN]]>,
    payloads: Box<[u8]>,
    slot_len: usize,
}

// SAFETY: its pointers go into memory that it owns and that does not move with it; they are set anew before each
// use, and the kernel keeps none of them.
unsafe impl Send for ReceiveSlots {}

impl ReceiveSlots {
    /// Takes all of it.
    pub(super) fn new(slot_len: usize) -> Self {
        // SAFETY: all-zero is a valid mmsghdr: null pointers with zero lengths.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let iovec = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            headers: vec![header; RECEIVE_BATCH].into_boxed_slice(),
            iovecs: vec![iovec; RECEIVE_BATCH].into_boxed_slice(),
            names: vec![[0; sockaddr::LEN_MAX]; RECEIVE_BATCH].into_boxed_slice(),
            controls: vec![[0; RECEIVE_CONTROL_LEN]; RECEIVE_BATCH].into_boxed_slice(),
            payloads: vec![0; RECEIVE_BATCH * slot_len].into_boxed_slice(),
            slot_len,
        }
    }

    /// Gives what a socket has to `receiver`, up to about `limit` datagrams (a train is never split), and says how many it
    /// gave. `fixed` is the socket's own address, if it is bound to one.
    pub(super) fn receive(
        &mut self,
        fd: RawFd,
        fixed: Option<IpAddr>,
        limit: usize,
        counters: &mut IoCounters,
        receiver: &mut impl TakeDatagrams,
    ) -> usize {
        let mut taken = 0;
        while taken < limit {
            let count = match self.fill(fd) {
                Ok(count) => count,
                Err(error) => {
                    let usual = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
                    counters.rx_errors += u64::from(!usual.contains(&error.kind()));
                    break;
                }
            };
            for index in 0..EXPECTED_AHEAD {
                receiver.expect(self.sender_of(index, count));
            }
            for index in 0..count {
                receiver.expect(self.sender_of(index + EXPECTED_AHEAD, count));
                taken += receive::deliver(self.message(index), fixed, counters, receiver);
            }
            if count < RECEIVE_BATCH {
                break;
            }
        }
        taken
    }

    /// One recvmmsg: how many messages it gave.
    fn fill(&mut self, fd: RawFd) -> io::Result<usize> {
        for (index, payload) in self.payloads.chunks_exact_mut(self.slot_len).enumerate() {
            self.iovecs[index] = libc::iovec {
                iov_base: payload.as_mut_ptr().cast(),
                iov_len: payload.len(),
            };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = self.names[index].as_mut_ptr().cast();
            header.msg_namelen = sockaddr::LEN_MAX as libc::socklen_t;
            header.msg_iov = &raw mut self.iovecs[index];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[index].as_mut_ptr().cast();
            header.msg_controllen = RECEIVE_CONTROL_LEN;
            header.msg_flags = 0;
        }
        // SAFETY: every pointer set above is into memory this struct owns, with its true length; the call
        // is over before any of it is touched again. MSG_WAITFORONE would wait for a first message, and
        // MSG_DONTWAIT does not wait at all.
        let count = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                RECEIVE_BATCH as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((count as usize).min(RECEIVE_BATCH))
    }

    fn sender_of(&mut self, index: usize, count: usize) -> Option<SocketAddr> {
        (index < count).then(|| sockaddr::decode(self.message(index).name))?
    }

    fn message(&mut self, index: usize) -> Message<'_> {
        let header = &self.headers[index];
        let start = index * self.slot_len;
        let len = (header.msg_len as usize).min(self.slot_len);
        let name_len = (header.msg_hdr.msg_namelen as usize).min(sockaddr::LEN_MAX);
        let control_len = header.msg_hdr.msg_controllen.min(RECEIVE_CONTROL_LEN);
        Message {
            name: &self.names[index][..name_len],
            control: &self.controls[index][..control_len],
            truncated: header.msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
            payload: &mut self.payloads[start..start + len],
        }
    }
}
