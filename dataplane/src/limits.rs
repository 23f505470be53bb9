//! Every bound of the data plane: its unit and the reason for its number.
