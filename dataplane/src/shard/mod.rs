//! All sessions of one core: the top of the sans-IO part.
