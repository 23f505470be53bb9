//! Which of the data plane's counters are packets that got lost in it, and why.

/// The reason a counter stands for, in the words operators see; none for one that counts no loss.
#[must_use]
pub fn reason(counter: &str) -> Option<&str> {
    match counter {
        "tx_eagain" => Some("send_buffer_full"),
        "tx_errors" => Some("send_failed"),
        "rx_errors" => Some("receive_failed"),
        other => other.strip_prefix("drop_"),
    }
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn losses_are_told_from_what_went_well() {
        assert_eq!(reason("drop_srtp_auth"), Some("srtp_auth"));
        assert_eq!(reason("tx_eagain"), Some("send_buffer_full"));
        assert_eq!(reason("tx_packets"), None);
    }
}
