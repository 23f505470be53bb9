//! The estimator against feedback that the project's own receiver writes.

use super::*;
use crate::rtp::TwccRecorder;
use crate::time::Time;
use crate::wire::rtcp::{Rtcp, packets};

#[test]
fn rises_while_everything_comes_and_falls_when_much_is_lost() {
    let mut estimator = Estimator::new(Time::ZERO);
    let mut receiver = TwccRecorder::new(Time::ZERO);
    let mut run = |from: u64, to: u64, lost_of_ten: u64| {
        let mut buf = [0; 1200];
        for millis in from..to {
            let now = Time::from_millis(millis);
            if millis % 8 == 0 {
                let sequence = estimator.next_sequence();
                estimator.on_sent(now, 1200, Class::Video);
                if millis / 8 % 10 >= lost_of_ten {
                    receiver.on_packet(now, sequence, 1200);
                }
            }
            while let Some(len) = receiver.poll(now, &mut buf, 1, 2) {
                for packet in packets(&buf[..len]) {
                    let Ok(Rtcp::Twcc(twcc)) = packet else {
                        panic!("{packet:?}");
                    };
                    estimator.on_feedback(now, now, &twcc);
                }
            }
        }
        estimator.estimate()
    };
    let risen = run(0, 10_000, 0);
    assert!(risen > 1_500_000, "{risen}");
    let fallen = run(10_000, 20_000, 5);
    assert!(fallen < 600_000, "{fallen}");
}
