//! State of RTP streams: sequence and time, loss, reports, feedback. No I/O, no keys.
