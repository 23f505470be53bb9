//! One peer: transport, published tracks and slots, wired together.
