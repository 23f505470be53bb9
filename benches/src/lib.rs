//! What the benches share: the clock they trust, and a table of ratios.
//!
//! A packet path is judged by the CPU time of its own thread. Wall time on a shared machine says
//! more about the neighbours than about the code.

pub mod cpu_time;
pub mod ratio;
