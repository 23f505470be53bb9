//! State of RTP streams: sequence and time, loss, reports, feedback. No I/O, no keys.
//!
//! Everything here is a plain state machine: packets and a time go in, numbers and a deadline come
//! out. Memory is taken when a stream is opened; the steady state allocates nothing. Sequence numbers,
//! timestamps and picture ids are extended to 64 bits at the edge (RFC 3550 appendix A.1) and stay
//! that wide until a header is written.

pub mod capture_clock;
pub mod ext_seq;
pub mod nack_generator;
pub mod nack_map;
pub mod packet_ring;
pub mod rate_meter;
pub mod recv_stream;
pub mod remb_source;
pub mod report;
pub mod rtx_budget;
pub mod send_stream;
pub mod twcc_recorder;

pub use capture_clock::{CaptureClock, SrPair};
pub use ext_seq::{PictureIdUnwrapper, SeqUnwrapper, TsUnwrapper};
pub use nack_generator::NackGenerator;
pub use nack_map::NackMap;
pub use packet_ring::{PacketMeta, PacketRing};
pub use rate_meter::RateMeter;
pub use recv_stream::RecvStream;
pub use remb_source::RembSource;
pub use report::ReportSchedule;
pub use rtx_budget::RtxBudget;
pub use send_stream::SendStream;
pub use twcc_recorder::TwccRecorder;
