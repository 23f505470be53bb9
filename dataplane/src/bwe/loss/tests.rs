//! Senders that obey and senders that don't, on paths that lose for one reason or the other.

use super::*;

/// A sender that obeys, on a path of this kind.
struct World {
    loss: Loss,
    millis: u64,
    /// Bits per second; what is sent beyond it is lost without any delay.
    capacity: f64,
    random: f64,
    standing: Duration,
    /// What the delay allows.
    by_delay: f64,
    credit: f64,
    seed: u32,
    overflow: f64,
}

impl World {
    fn new(by_delay: f64) -> Self {
        Self {
            loss: Loss::new(Time::ZERO),
            millis: 0,
            capacity: f64::INFINITY,
            random: 0.0,
            standing: Duration::ZERO,
            by_delay,
            credit: 0.0,
            seed: 1,
            overflow: 0.0,
        }
    }

    fn estimate(&self) -> f64 {
        self.loss.limit().unwrap_or(f64::INFINITY).min(self.by_delay)
    }

    fn draw(&mut self) -> f64 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(self.seed >> 8) / f64::from(1 << 24)
    }

    /// Sends at the estimate, at most `most`, and gives the least estimate on the way.
    fn run(&mut self, seconds: u64, most: f64) -> f64 {
        let mut least = self.estimate();
        for _ in 0..seconds * 1000 {
            self.millis += 1;
            let now = Time::from_millis(self.millis);
            let rate = self.estimate().min(most);
            self.credit += rate / 8000.0;
            while self.credit >= 1000.0 {
                self.credit -= 1000.0;
                self.overflow += (1.0 - self.capacity / rate).max(0.0);
                let overflows = self.overflow >= 1.0;
                self.overflow -= f64::from(u8::from(overflows));
                let lost = overflows || self.draw() < self.random;
                self.loss.on_settled(now, 1000, lost, self.standing);
            }
            if self.millis.is_multiple_of(50) {
                self.loss.update(now, self.estimate());
                self.loss.rise(now, self.by_delay);
            }
            least = least.min(self.estimate());
        }
        least
    }
}

#[test]
fn without_loss_there_is_no_limit() {
    let mut world = World::new(3e6);
    world.run(10, 3e6);
    assert_eq!((world.loss.limit(), world.loss.permille()), (None, 0));
}

#[test]
fn light_random_loss_costs_nothing() {
    let mut world = World::new(3e6);
    world.random = 0.05;
    let least = world.run(30, 3e6);
    assert!(least > 2.7e6, "{least}");
    assert!(world.estimate() > 2.9e6, "{}", world.estimate());
    assert!((0.03..0.08).contains(&world.loss.inherent()));
}

#[test]
fn heavy_random_loss_is_found_to_be_the_path_s_own() {
    let mut world = World::new(3e6);
    world.run(10, 3e6);
    world.random = 0.2;
    let least = world.run(30, 3e6);
    assert!(least > 1.5e6, "{least}");
    assert!(world.estimate() > 2.9e6, "{}", world.estimate());
    assert!(
        (150..250).contains(&world.loss.permille()),
        "{}",
        world.loss.permille()
    );
    // And that it ended, too.
    world.random = 0.0;
    world.run(20, 3e6);
    assert!(world.loss.inherent() < 0.01);
}

#[test]
fn overflow_without_delay_takes_the_limit_to_the_capacity() {
    let mut world = World::new(3e6);
    world.run(10, 3e6);
    world.capacity = 1e6;
    world.run(2, 3e6);
    assert!(world.estimate() < 1.2e6, "{}", world.estimate());
    for _ in 0..60 {
        world.run(1, 3e6);
        assert!((0.7e6..1.4e6).contains(&world.estimate()), "{}", world.estimate());
    }
}

#[test]
fn overflow_that_is_grown_into_is_seen() {
    let mut world = World::new(3e6);
    world.capacity = 1e6;
    // The sender's own rate rises by 2 % a second.
    for step in 0..60 {
        world.run(1, 0.8e6 * 1.02f64.powi(step));
    }
    assert!(world.estimate() < 1.3e6, "{}", world.estimate());
}

#[test]
fn loss_while_a_queue_stands_is_congestion() {
    let mut world = World::new(3e6);
    world.run(10, 3e6);
    world.random = 0.15;
    world.standing = Duration::from_millis(80);
    world.run(3, 3e6);
    assert!(world.estimate() < 2.2e6, "{}", world.estimate());
}

/// Sends the same whatever the estimate, a minute long, and gives the least estimate on the way.
fn stubborn(world: &mut World, packets_per_second: u64, bytes: u64) -> f64 {
    let mut least = world.estimate();
    for _ in 0..60 * packets_per_second {
        world.millis += 1000 / packets_per_second;
        let now = Time::from_millis(world.millis);
        let lost = world.draw() < world.random;
        world.loss.on_settled(now, bytes, lost, Duration::ZERO);
        world.loss.update(now, world.estimate());
        world.loss.rise(now, world.by_delay);
        least = least.min(world.estimate());
    }
    least
}

#[test]
fn sound_is_nothing_to_experiment_with() {
    let mut world = World::new(3e6);
    world.random = 0.2;
    let least = stubborn(&mut world, 50, 150);
    assert!(least > 2.9e6, "{least}");
}

#[test]
fn a_sender_that_does_not_follow_is_not_starved() {
    let mut world = World::new(3e6);
    world.random = 0.2;
    let least = stubborn(&mut world, 100, 1000);
    assert!(least > 300_000.0, "{least}");
    assert!(world.estimate() > 2.9e6, "{}", world.estimate());
}
