//! Tests with the two real programs and media peers that nobody of this project wrote.

mod bad_input;
mod breakouts;
mod call;
mod forwarding;
mod moderation;
mod paths;
mod pattern;
mod peer;
mod profiles;
mod reference;
mod relay;
mod restart;
mod secrets;
mod subscribing;
mod tunnel;
mod whip;
