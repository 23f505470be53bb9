//! Whatever a peer feeds back, the estimate stays within its bounds, feedback on what was not sent moves
//! nothing, and the estimator never wants to be woken without end.
//!
//! The input is a list of events: a byte that chooses one, and the bytes of it.
#![no_main]

use std::time::Duration;

use kall_dataplane::bwe::{Class, Demand, ESTIMATE_MAX, ESTIMATE_MIN, Estimator};
use kall_dataplane::time::Time;
use kall_dataplane::wire::rtcp::twcc::{Feedback, write};
use kall_dataplane::wire::rtcp::{Rtcp, packets};
use libfuzzer_sys::fuzz_target;

struct World {
    estimator: Estimator,
    now: Time,
    buf: Vec<u8>,
}

impl World {
    fn send(&mut self, count: u8, size: usize, class: Class) {
        for _ in 0..count {
            self.estimator.on_sent(self.now, size, class);
            self.now += Duration::from_millis(1);
        }
    }

    fn hear(&mut self, message: &[u8]) {
        for packet in packets(message) {
            match packet {
                Ok(Rtcp::Twcc(twcc)) => {
                    let before = self.estimator.estimate();
                    let outcome = self.estimator.on_feedback(self.now, self.now, &twcc);
                    // Packets are acknowledged once, and only those that the message names.
                    assert!(outcome.acked <= u32::from(twcc.status_count()));
                    let next = self.estimator.next_sequence();
                    let ahead = twcc.base_sequence().wrapping_sub(next).cast_signed() >= 0;
                    if ahead || twcc.arrivals().all(|(_, arrival)| arrival.is_none()) {
                        assert_eq!(outcome.acked, 0);
                    }
                    if ahead {
                        assert_eq!(outcome.lost, 0);
                        assert_eq!(self.estimator.estimate(), before);
                    }
                }
                Ok(Rtcp::Remb(remb)) => self.estimator.on_remb(self.now, remb.bitrate()),
                Ok(Rtcp::ReceiverReport(report)) => {
                    for block in report.reports() {
                        self.estimator.on_report(self.now, block.fraction_lost, None);
                    }
                }
                _ => {}
            }
        }
    }

    /// Feedback as a receiver writes it: how far back it begins, its number, and the gaps between
    /// arrivals; zero for a packet that did not come.
    fn told(&mut self, back: u8, count: u8, gaps: &[u8]) {
        let header = Feedback {
            sender_ssrc: 1,
            media_ssrc: 2,
            base_sequence: self.estimator.next_sequence().wrapping_sub(u16::from(back)),
            feedback_count: count,
        };
        let mut clock = self.now.as_nanos() / 250_000;
        let arrivals: Vec<_> = gaps
            .iter()
            .map(|gap| {
                clock += u64::from(*gap);
                (*gap > 0).then_some(clock)
            })
            .collect();
        let mut buf = std::mem::take(&mut self.buf);
        if let Some(written) = write(&mut buf, &header, &arrivals) {
            self.hear(&buf[..written.len]);
        }
        self.buf = buf;
    }

    fn check(&mut self) {
        for _ in 0..2 {
            if self.estimator.poll_deadline() <= self.now {
                self.estimator.handle_timeout(self.now);
            }
        }
        assert!(self.estimator.poll_deadline() > self.now);
        let wanted = self.estimator.probe_bytes(self.now);
        self.send(wanted.div_ceil(250).min(20) as u8, 250, Class::Padding);
        let estimate = self.estimator.estimate();
        assert!((ESTIMATE_MIN..=ESTIMATE_MAX).contains(&estimate));
        assert!(self.estimator.loss_permille() <= 1000);
    }
}

/// The next `len` bytes, or as many as there are.
fn take<'a>(data: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (head, tail) = data.split_at(len.min(data.len()));
    *data = tail;
    head
}

fn number(data: &mut &[u8]) -> u64 {
    take(data, 2)
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let mut world = World {
        estimator: Estimator::new(Time::ZERO),
        now: Time::ZERO,
        buf: vec![0; 1200],
    };
    while let [event, count, rest @ ..] = data {
        data = rest;
        match event % 8 {
            0 | 1 => {
                let size = usize::from(*event >> 3) * 48;
                world.send(*count, size, Class::ALL[usize::from(*event & 1)]);
            }
            2 | 3 => {
                let back = take(&mut data, 1).first().copied().unwrap_or(0);
                let gaps = take(&mut data, usize::from(*count));
                world.told(back, *event >> 3, gaps);
            }
            4 => {
                let message = take(&mut data, usize::from(*count));
                world.hear(message);
            }
            5 => world.now += Duration::from_millis(number(&mut data)),
            6 => {
                let (wanted, next) = (number(&mut data) * 1000, number(&mut data) * 1000);
                let demand = Demand {
                    wanted_bps: wanted,
                    next_step_bps: (next > 0).then_some(next),
                    awaited: event >> 3 & 1 == 1,
                };
                world.estimator.set_demand(world.now, demand);
            }
            _ if *count == 0 => world.estimator.on_path_change(world.now),
            _ => {
                let rtt = Duration::from_millis(u64::from(*count));
                world.estimator.on_report(world.now, *event, Some(rtt));
            }
        }
        world.check();
    }
});
