//! What turns a publisher's packets into a subscriber's: publications, slots, rewriting.

pub mod keyframe;
mod projection;
pub mod rewriter;
mod sent_window;
