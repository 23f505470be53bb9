//! Checked views over received bytes, and writers of the same formats. No state, no allocation.
