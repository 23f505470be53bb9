//! What turns a publisher's packets into a subscriber's: publications, slots, rewriting.

pub mod allocator;
pub mod chains;
pub mod dependencies;
pub mod dynacast;
pub mod flow;
mod hold;
pub mod inspect;
pub mod keyframe;
pub mod layer_stream;
pub mod layers;
pub mod projection;
pub mod publication;
pub mod relay;
pub mod rewriter;
pub mod sent_window;
pub mod slot;
pub mod spatial;
pub mod templates;
pub mod turns;
