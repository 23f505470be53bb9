//! The estimator in closed loops: simulated calls over simulated links, in the spirit of RFC 8867, and
//! feedback that no receiver would write.

mod call;
mod hostile;
mod link;
mod peers;
mod scenarios;
