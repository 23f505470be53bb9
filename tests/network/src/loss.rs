//! What a path loses: packets one by one, or in bursts.

use serde::Deserialize;

use crate::random::Random;

/// How packets are lost, whatever their size.
///
/// In a file: `loss = { random = 0.05 }`, or
/// `loss = { bursty = { enter = 0.01, leave = 0.25, good = 0.0, bad = 0.5 } }`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// Nothing is lost.
    #[default]
    None,
    /// Each packet with the same probability, apart from every other.
    Random(f64),
    /// Gilbert's channel as Elliott generalised it (1963): two states, each with its own probability
    /// of loss. A packet first moves the state, then meets that state's loss.
    Bursty {
        /// Probability that a packet moves the good state to the bad one.
        enter: f64,
        /// Probability that a packet moves the bad state to the good one; its inverse is the mean
        /// length of a bad spell in packets.
        leave: f64,
        /// Loss in the good state.
        good: f64,
        /// Loss in the bad state.
        bad: f64,
    },
}

impl Loss {
    /// The share of packets that is lost in the long run.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match *self {
            Self::None => 0.0,
            Self::Random(probability) => probability,
            Self::Bursty {
                enter,
                leave,
                good,
                bad,
            } => {
                let bad_share = if enter + leave > 0.0 {
                    enter / (enter + leave)
                } else {
                    0.0
                };
                bad_share * bad + (1.0 - bad_share) * good
            }
        }
    }
}

/// A path's losses as they happen.
#[derive(Debug, Clone)]
pub(crate) struct LossProcess {
    loss: Loss,
    bad: bool,
    random: Random,
}

impl LossProcess {
    pub(crate) fn new(loss: Loss, random: Random) -> Self {
        Self {
            loss,
            bad: false,
            random,
        }
    }

    /// From now on `loss`; a bad spell ends.
    pub(crate) fn set(&mut self, loss: Loss) {
        self.loss = loss;
        self.bad = false;
    }

    /// Whether the next packet is lost.
    pub(crate) fn next(&mut self) -> bool {
        match self.loss {
            Loss::None => false,
            Loss::Random(probability) => self.random.chance(probability),
            Loss::Bursty {
                enter,
                leave,
                good,
                bad,
            } => {
                let turn = if self.bad { leave } else { enter };
                self.bad ^= self.random.chance(turn);
                let probability = if self.bad { bad } else { good };
                self.random.chance(probability)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: u32 = 200_000;

    fn losses(loss: Loss) -> Vec<bool> {
        let mut process = LossProcess::new(loss, Random::new(11));
        (0..PACKETS).map(|_| process.next()).collect()
    }

    fn share(losses: &[bool]) -> f64 {
        losses.iter().filter(|lost| **lost).count() as f64 / losses.len() as f64
    }

    /// How often a lost packet is followed by another lost one.
    fn again(losses: &[bool]) -> f64 {
        let pairs: Vec<bool> = losses
            .windows(2)
            .filter(|pair| pair[0])
            .map(|pair| pair[1])
            .collect();
        share(&pairs)
    }

    #[test]
    fn random_loss_has_its_share_and_no_memory() {
        let lost = losses(Loss::Random(0.05));
        assert!((share(&lost) - 0.05).abs() < 0.003, "{}", share(&lost));
        assert!((again(&lost) - 0.05).abs() < 0.01, "{}", again(&lost));
        assert!(!losses(Loss::None).contains(&true));
    }

    #[test]
    fn bursty_loss_has_its_share_and_comes_in_bursts() {
        let bursty = Loss::Bursty {
            enter: 0.01,
            leave: 0.2,
            good: 0.0,
            bad: 1.0,
        };
        let lost = losses(bursty);
        assert!((bursty.mean() - 0.0476).abs() < 0.001);
        assert!((share(&lost) - bursty.mean()).abs() < 0.005, "{}", share(&lost));
        // A bad spell that loses everything goes on with probability 1 - leave.
        assert!((again(&lost) - 0.8).abs() < 0.02, "{}", again(&lost));
    }
}
