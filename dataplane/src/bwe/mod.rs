//! How much one subscriber's path carries: send-side bandwidth estimation and the pacer that obeys it.
//!
//! Every packet to a subscriber carries a transport-wide number; the peer tells which of them came and
//! when (draft-holmer-rmcat-transport-wide-cc-extensions-01). From that [`Estimator`] works out a
//! rate as draft-ietf-rmcat-gcc-02 does: growing delay and loss lower it, their absence raises it, and
//! short probes find room that the media itself, which comes in steps, would never show.
//!
//! Nothing here does I/O, reads a clock or draws a random number, and nothing allocates after
//! construction. What the feedback says is only believed about packets that were sent.

mod acked_rate;
mod aimd;
mod busy_rate;
mod cluster;
mod estimator;
mod feedback;
mod groups;
mod history;
mod loss;
mod pacer;
mod probe;
mod queue;
mod reports;
mod silence;
mod trendline;

pub use estimator::{Demand, Estimator, Outcome};
pub use history::Class;
pub use pacer::Pacer;

/// Lowest estimate, bits per second: speech at its lowest rate. Less could not be measured either.
pub const ESTIMATE_MIN: u64 = 30_000;

/// Highest estimate, bits per second. The memory of sent packets holds 200 ms at this rate, which is as
/// short as feedback can be waited for; nobody watches more than a few dozen streams of 3 Mbit/s.
pub const ESTIMATE_MAX: u64 = 100_000_000;

/// The estimate before anything is known, bits per second: a stream of 640x360, a few thumbnails and
/// everybody's sound, which any path fit for a video call carries; and high enough that the first
/// probe, at three times this, already tells whether the path is fit for high definition. Half of it
/// would show thumbnails for a second on every path, to spare the few that can't do more.
pub const ESTIMATE_START: u64 = 1_000_000;

/// Bytes of IPv4 and UDP headers around each payload. IPv6 has 20 more; counting both alike keeps
/// what is sent and what was acknowledged in the same measure, which is all that matters.
pub const OVERHEAD_BYTES: usize = 28;

/// What is sent is this share of the estimate at least, or what arrives of it on a congested path says little of
/// what would.
const TELLING_SHARE: f64 = 0.5;

/// A rate as the integer the outside sees, within the bounds.
fn bounded(bps: f64) -> u64 {
    // Saturates, and takes what is no number for zero.
    (bps as u64).clamp(ESTIMATE_MIN, ESTIMATE_MAX)
}

#[cfg(test)]
mod tests;
