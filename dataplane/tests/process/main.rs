//! The real binary as a process: its control link, its cores, its end.

mod control_link;
mod link;
mod live_cores;
