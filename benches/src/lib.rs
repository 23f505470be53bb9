//! What the benches share: the clock they trust, a table of ratios, the floor ([`limit`]), and a generator of
//! [`load`] for the whole.
//!
//! A packet path is judged by the CPU time of its own thread. Wall time on a shared machine says
//! more about the neighbours than about the code.

pub mod cpu_time;
pub mod limit;
pub mod load;
pub mod many;
pub mod ratio;
