//! When a core is past what it can do, how much it sheds, and whether it takes newcomers.
//!
//! The driver says after every turn how late the core was and what it did with its time. As with CoDel (RFC 8289) only
//! delay that stays counts: a key picture to a thousand receivers makes one turn late, a core past saturation is late in
//! every turn. Each level takes more away (`shedding.rs` says what); they rise fast and fall slowly, and more
//! slowly each time what was given back turned out to be too much.
//!
//! Pure: time is an argument.

use std::time::Duration;

use crate::time::Time;

/// Delay that a core may have in every turn. Half of a packet of sound, and what a full turn takes.
const TARGET: Duration = Duration::from_millis(10);

/// How long delay must stay above [`TARGET`].
const WINDOW: Duration = Duration::from_millis(100);

/// Turns such a window has at least: on a host that lets the core's thread wait for its CPU, two late turns in a row
/// are no sign that the core has too much to do.
const WINDOW_TURNS: u32 = 5;

/// Between two levels upwards: what the first took away must show.
const RAISE_SPACING: Duration = Duration::from_millis(300);

/// Delay of a core whose media leaves more than this of its time is not made by media, in percent.
const SLEEPS_PERCENT: u32 = 20;

/// Share of a core's work that goes into sealing and sending, in percent, below which shedding would not relieve it:
/// whoever floods it with what is dropped must not take anybody's picture away.
const SENDING_PERCENT: u32 = 33;

/// How long the load is looked at before anything is given back or anybody is kept out.
const PERIOD: Duration = Duration::from_secs(2);

/// Media leaves so much of a core's time before a level is given back, in percent.
const ROOM_PERCENT: u32 = 20;

/// A core whose media leaves less takes no newcomers, in percent: where queues begin to grow.
const FULL_PERCENT: u32 = 10;

/// A level that has to be raised again so soon after it was lowered should not have been lowered.
const FAILS_WITHIN: Duration = Duration::from_secs(20);

/// How often the time doubles until the next one is lowered: up to a minute.
const FAILED_MAX: u32 = 5;

/// What one turn of a core says of its load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// How long the oldest of what it took had waited, or what is not sent yet, whichever is more.
    pub delay: Duration,
    /// How long it slept before the turn.
    pub slept: Duration,
    /// How much of its work was sealing and sending.
    pub sending: Duration,
    /// How much of it was for handshakes, which take what time media leaves as long as that is not late.
    pub handshakes: Duration,
}

/// Sums over turns.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    since: Time,
    turns: u32,
    /// The least of any turn.
    delay: Duration,
    slept: Duration,
    sending: Duration,
    handshakes: Duration,
}

impl Window {
    fn begin(now: Time) -> Self {
        Self {
            since: now,
            delay: Duration::MAX,
            ..Self::default()
        }
    }

    fn add(&mut self, load: &Load) {
        self.turns += 1;
        self.delay = self.delay.min(load.delay);
        self.slept += load.slept;
        self.sending += load.sending;
        // In a late turn they took their time from media.
        if load.delay < TARGET {
            self.handshakes += load.handshakes;
        }
    }

    /// Whether media leaves so much of the time, `percent`, to sleep or for those who come: a crowd at the door is no
    /// sign that there is no room.
    fn has_left(&self, now: Time, percent: u32) -> bool {
        (self.slept + self.handshakes) * 100 > now.since(self.since) * percent
    }

    /// Whether what it does is to send, so that sending less would help.
    fn sends(&self, now: Time) -> bool {
        let worked = now.since(self.since).saturating_sub(self.slept);
        self.sending * 100 >= worked * SENDING_PERCENT
    }
}

/// The load of one core, and what follows from it.
#[derive(Debug, Default)]
pub struct Overload {
    top: u8,
    level: u8,
    full: bool,
    window: Window,
    period: Window,
    /// Whether a window of the period was late.
    late: bool,
    /// Periods in a row with room for more.
    calm: u32,
    raised_at: Time,
    lowered_at: Time,
    /// How often in a row a level that was lowered had to be raised soon.
    failed: u32,
}

impl Overload {
    /// A core without load, and the highest level there is.
    #[must_use]
    pub fn new(now: Time, top: u8) -> Self {
        Self {
            top,
            window: Window::begin(now),
            period: Window::begin(now),
            ..Self::default()
        }
    }

    /// How much is shed; 0 is nothing.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Whether newcomers would only make it worse.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.level > 0 || self.full
    }

    /// Takes in a turn that ended `now`. `settled`: what the level takes away was taken from everybody. True when the
    /// level or [`Self::refuses`] changed.
    pub fn on_turn(&mut self, now: Time, load: &Load, settled: bool) -> bool {
        let before = (self.level, self.refuses());
        self.window.add(load);
        self.period.add(load);
        if self.window.turns >= WINDOW_TURNS && now.since(self.window.since) >= WINDOW {
            self.close_window(now, settled);
        }
        if now.since(self.period.since) >= PERIOD {
            self.close_period(now);
        }
        before != (self.level, self.refuses())
    }

    fn close_window(&mut self, now: Time, settled: bool) {
        let window = std::mem::replace(&mut self.window, Window::begin(now));
        if window.delay < TARGET || window.has_left(now, SLEEPS_PERCENT) {
            return;
        }
        self.late = true;
        let spaced = now.since(self.raised_at) >= RAISE_SPACING;
        if !window.sends(now) || !spaced || !settled || self.level >= self.top {
            return;
        }
        // Another rise after the same fall tells nothing new.
        if self.lowered_at > self.raised_at {
            let failed = now.since(self.lowered_at) < FAILS_WITHIN;
            self.failed = if failed {
                (self.failed + 1).min(FAILED_MAX)
            } else {
                0
            };
        }
        self.level += 1;
        self.raised_at = now;
        self.look_anew(now);
    }

    fn close_period(&mut self, now: Time) {
        let period = self.period;
        self.full = if self.full {
            !period.has_left(now, ROOM_PERCENT)
        } else {
            !period.has_left(now, FULL_PERCENT) && period.sends(now)
        };
        let has_room = !self.late && period.has_left(now, ROOM_PERCENT);
        let calm = if has_room { self.calm + 1 } else { 0 };
        self.look_anew(now);
        self.calm = calm;
        // What was given back and held needs no more caution than the first time.
        let held = self.lowered_at > self.raised_at && now.since(self.lowered_at) >= FAILS_WITHIN;
        if held {
            self.failed = 0;
        }
        if self.level > 0 && calm >= 1 << self.failed {
            self.level -= 1;
            self.lowered_at = now;
            self.calm = 0;
        }
    }

    fn look_anew(&mut self, now: Time) {
        self.period = Window::begin(now);
        self.late = false;
        self.calm = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u8 = 9;

    /// A core that is told its load turn by turn.
    struct Core {
        now: Time,
        overload: Overload,
        /// Every level it had, in order.
        levels: Vec<u8>,
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A turn of 10 ms of a core that never sleeps, nearly all of it sending.
    const SATURATED: Load = Load {
        delay: Duration::from_millis(40),
        slept: Duration::ZERO,
        sending: Duration::from_millis(8),
        handshakes: Duration::ZERO,
    };

    /// One that works half of the time.
    const HALF: Load = Load {
        delay: Duration::from_micros(200),
        slept: Duration::from_millis(5),
        sending: Duration::from_millis(4),
        handshakes: Duration::ZERO,
    };

    impl Core {
        fn new() -> Self {
            let now = Time::from_millis(1_000);
            Self {
                now,
                overload: Overload::new(now, TOP),
                levels: Vec::new(),
            }
        }

        fn turn(&mut self, load: Load) {
            self.now += ms(10);
            if self.overload.on_turn(self.now, &load, true)
                && self.levels.last() != Some(&self.overload.level)
            {
                self.levels.push(self.overload.level);
            }
        }

        fn turns(&mut self, load: Load, millis: u64) {
            for _ in 0..millis / 10 {
                self.turn(load);
            }
        }
    }

    #[test]
    fn levels_rise_one_by_one_while_delay_stays_and_fall_when_there_is_room() {
        let mut core = Core::new();
        core.turns(SATURATED, 90);
        assert_eq!(core.overload.level(), 0, "a burst is no overload");
        core.turns(SATURATED, 1_000);
        assert_eq!(core.levels, [1, 2, 3, 4]);
        assert!(core.overload.refuses());
        core.turns(SATURATED, 20_000);
        assert_eq!(core.overload.level(), TOP);
        core.turns(HALF, 30_000);
        assert_eq!(
            core.levels,
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
        );
        assert!(!core.overload.refuses());
    }

    #[test]
    fn one_turn_in_time_shows_that_nothing_piles_up() {
        let mut core = Core::new();
        for _ in 0..1_000 {
            core.turns(SATURATED, 50);
            core.turn(Load {
                delay: ms(1),
                ..SATURATED
            });
        }
        assert_eq!(core.overload.level(), 0);
    }

    #[test]
    fn a_thread_that_wakes_late_has_not_too_much_to_do() {
        let mut core = Core::new();
        let stolen = Load {
            slept: ms(6),
            ..SATURATED
        };
        core.turns(stolen, 10_000);
        assert!(!core.overload.refuses());
        // Nor is one that was stopped for a while in the middle of its work.
        let mut core = Core::new();
        core.now += ms(150);
        for _ in 0..WINDOW_TURNS - 1 {
            core.turn(SATURATED);
        }
        core.turn(HALF);
        assert_eq!(core.overload.level(), 0);
    }

    #[test]
    fn a_flood_of_what_is_dropped_takes_nobodys_picture() {
        let mut core = Core::new();
        let flooded = Load {
            sending: ms(1),
            ..SATURATED
        };
        core.turns(flooded, 10_000);
        assert_eq!((core.overload.level(), core.overload.refuses()), (0, false));
    }

    #[test]
    fn nothing_more_is_taken_before_everybody_gave_what_is_due() {
        let mut core = Core::new();
        core.turns(SATURATED, 200);
        assert_eq!(core.overload.level(), 1);
        for _ in 0..100 {
            core.now += ms(10);
            core.overload.on_turn(core.now, &SATURATED, false);
        }
        assert_eq!(core.overload.level(), 1);
        core.turns(SATURATED, 100);
        assert_eq!(core.overload.level(), 2);
    }

    #[test]
    fn a_core_without_room_keeps_its_level_and_its_door_shut() {
        let mut core = Core::new();
        core.turns(SATURATED, 200);
        let tight = Load { slept: ms(1), ..HALF };
        core.turns(tight, 60_000);
        assert_eq!(core.levels, [1]);
        assert!(core.overload.refuses());
    }

    #[test]
    fn a_core_that_hardly_sleeps_takes_nobody_before_it_is_late() {
        let mut core = Core::new();
        let tight = Load {
            slept: Duration::from_micros(500),
            sending: ms(8),
            ..HALF
        };
        core.turns(tight, 2_000);
        assert_eq!((core.overload.level(), core.overload.refuses()), (0, true));
        // It opens again with room, not as soon as it sleeps a little more.
        core.turns(
            Load {
                slept: ms(1),
                ..tight
            },
            10_000,
        );
        assert!(core.overload.refuses());
        core.turns(HALF, 2_000);
        assert!(!core.overload.refuses());
    }

    #[test]
    fn a_crowd_at_the_door_shuts_it_for_nobody() {
        let mut core = Core::new();
        // Never asleep, but media takes half of the time and is not late.
        let crowded = Load {
            delay: ms(2),
            sending: ms(5),
            handshakes: ms(4),
            ..SATURATED
        };
        core.turns(crowded, 20_000);
        assert_eq!((core.overload.level(), core.overload.refuses()), (0, false));
        // Where they make it late there is no time left.
        let late = Load {
            delay: ms(20),
            ..crowded
        };
        core.turns(late, 2_000);
        assert!(core.overload.level() > 0);
        let level = core.overload.level();
        core.turns(late, 20_000);
        assert!(core.overload.level() >= level);
    }

    #[test]
    fn what_can_not_be_given_back_is_tried_later_each_time() {
        let mut core = Core::new();
        core.turns(SATURATED, 200);
        // At level 1 half of the time is left, at level 0 it is saturated.
        let mut tries = 0;
        let mut level = core.overload.level();
        for _ in 0..30_000 {
            let load = if core.overload.level() == 0 {
                SATURATED
            } else {
                HALF
            };
            core.turn(load);
            tries += u32::from(core.overload.level() < level);
            level = core.overload.level();
        }
        // In 300 seconds: after 2, 4, 8, 16, 32, and then every 64.
        assert!((6..=9).contains(&tries), "{tries}");
        // With the load gone it is not held against anybody for ever.
        core.turns(HALF, 120_000);
        assert_eq!((core.overload.level(), core.overload.failed), (0, 0));
    }

    #[test]
    fn load_that_comes_and_goes_does_not_flap() {
        let mut core = Core::new();
        for _ in 0..60 {
            core.turns(SATURATED, 500);
            core.turns(HALF, 500);
        }
        // Whatever it needed at first it keeps: no period was calm.
        assert!(core.levels.is_sorted(), "{:?}", core.levels);
    }
}
