//! The only place with sockets, threads, the clock and `unsafe`.
