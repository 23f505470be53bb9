//! What a completion is about: operation kinds as `user_data`.

/// An operation the kernel has, or had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// The multishot receive. The kernel owns the header and every provided buffer until a completion hands
    /// one back.
    Receive,
    /// The multishot poll of the wake-up eventfd. Borrows no memory.
    Wake,
    /// The poll of the connections' epoll. Borrows no memory.
    Connections,
    /// The send in this slot. Over, one way or the other, when the submission that carried it returns; only
    /// failures complete visibly.
    Send(u8),
}

const RECEIVE: u64 = 1 << 8;
const WAKE: u64 = 2 << 8;
const SEND: u64 = 3 << 8;
const CONNECTIONS: u64 = 4 << 8;

impl Op {
    /// For a submission.
    pub(super) fn encode(self) -> u64 {
        match self {
            Self::Receive => RECEIVE,
            Self::Wake => WAKE,
            Self::Connections => CONNECTIONS,
            Self::Send(slot) => SEND | u64::from(slot),
        }
    }

    /// From a completion; none for a value that [`Self::encode`] never gives.
    pub(super) fn decode(user_data: u64) -> Option<Self> {
        match (user_data & !0xff, user_data as u8) {
            (RECEIVE, 0) => Some(Self::Receive),
            (WAKE, 0) => Some(Self::Wake),
            (CONNECTIONS, 0) => Some(Self::Connections),
            (SEND, slot) => Some(Self::Send(slot)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::limits::SEND_BATCH;

    const _: () = assert!(SEND_BATCH <= 256);

    #[test]
    fn every_operation_comes_back_as_itself() {
        let all = [Op::Receive, Op::Wake, Op::Connections]
            .into_iter()
            .chain((0..=255).map(Op::Send));
        for op in all {
            assert_eq!(Op::decode(op.encode()), Some(op));
        }
        for foreign in [0, 1, RECEIVE + 1, WAKE + 9, CONNECTIONS + 1, 5 << 8, u64::MAX] {
            assert_eq!(Op::decode(foreign), None);
        }
    }
}
