//! Answers as frames, whatever their size.

use kall_shared::frame::{self, FrameError};
use kall_shared::link::{Refusal, RefusalCode, Response, ToControl};
use tracing::warn;

/// An answer as a frame. A page of a snapshot that is too long is cut: the rest comes with the next page.
pub(super) fn encode_answer(mut message: ToControl) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match frame::encode(&message, &mut bytes) {
            Ok(()) => return bytes,
            Err(error) => {
                let ToControl::Answer { id, result } = &mut message else {
                    return bytes;
                };
                match result {
                    Ok(Response::Snapshot { sessions, more })
                        if matches!(error, FrameError::TooLong(_)) && sessions.len() > 1 =>
                    {
                        sessions.truncate(sessions.len() / 2);
                        *more = true;
                    }
                    _ => {
                        warn!(%error, id, "an answer can't be encoded");
                        *result = Err(Refusal::new(
                            RefusalCode::Exhausted,
                            "the answer does not fit a frame",
                        ));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::router_tests::session;
    use super::*;
    use kall_shared::id::SessionId;

    #[test]
    fn a_page_that_does_not_fit_a_frame_is_cut_and_says_so() {
        let sessions: Vec<_> = (0..64)
            .map(|slot| {
                let mut session = session(SessionId::pack(0, slot, 0));
                // Bytes over 127 take two each in MessagePack.
                session.label = vec![0xff; kall_shared::link::LABEL_MAX_LEN * 2];
                session
            })
            .collect();
        let bytes = encode_answer(ToControl::Answer {
            id: 5,
            result: Ok(Response::Snapshot {
                sessions,
                more: false,
            }),
        });
        let (message, _) = frame::decode::<ToControl>(&bytes).expect("valid").expect("whole");
        let ToControl::Answer {
            id: 5,
            result: Ok(Response::Snapshot { sessions, more: true }),
        } = message
        else {
            panic!("{message:?}");
        };
        assert_eq!(sessions.len(), 16);
    }
}
