//! The only place with sockets, threads, the clock and `unsafe`.
//!
//! One pinned thread per core turns a shard ([`driver`]); one thread serves the control link ([`control`]).
//! Shards know nothing of it: datagrams, commands and the time go in; batches and events come out. Two
//! drivers move the packets behind one enum: io_uring ([`uring`]), and plain system calls ([`syscall`]) for kernels and
//! containers without it. Connections of peers that no datagram reaches ([`tcp`]) stand beside either.

#![allow(
    unsafe_code,
    reason = "the kernel takes pointers; every block says why its pointers hold"
)]

pub mod addresses;
pub mod affinity;
pub mod clients;
pub mod clock;
mod cmsg;
pub mod control;
pub mod counters;
pub mod crossing;
pub mod doorbell;
pub mod driver;
#[cfg(test)]
mod driver_tests;
mod epoll;
pub mod limits;
mod load;
pub mod outbox;
pub mod panic;
pub mod prefetch;
pub mod process;
mod receive;
mod receive_slots;
mod send;
pub mod signals;
mod sockaddr;
pub mod sync;
pub mod syscall;
pub mod tcp;
pub mod thread;
pub mod udp;
pub mod uring;
pub mod wake;
