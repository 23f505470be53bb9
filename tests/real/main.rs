//! Tests with the two real programs.
