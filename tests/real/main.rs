//! Tests with the two real programs and media peers that nobody of this project wrote.

mod bad_input;
mod call;
mod forwarding;
mod moderation;
mod pattern;
mod peer;
mod profiles;
mod relay;
mod restart;
mod subscribing;
