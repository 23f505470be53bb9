//! Who gets how much of a receiver's path: from the estimate and what each slot could use to one step
//! for each slot.
//!
//! A pure function. Everybody gets the lowest step first, in the order of priority; what does not fit
//! is paused, and behind it only what is much smaller is shown: faces beside a screen that the path is too narrow
//! for. Then the highest priority rises as far as it can, then the next; equals rise in turns.
//! Rising needs more room than staying ([`RISE_PERCENT`]), so that an estimate that wavers around a
//! sum of layers does not make them flap. Whoever may not rise yet is said by the caller, which
//! knows the time.

/// The estimate must be so many percent of the new sum before anything rises.
pub(crate) const RISE_PERCENT: u64 = 115;

/// Steps of one slot: three layers, each with its temporal ones.
pub const STEPS_MAX: usize = 6;

/// One thing a slot could show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// Index of the layer.
    pub layer: u8,
    /// Highest temporal layer of it.
    pub temporal: u8,
    /// What it costs in bits per second.
    pub bps: u64,
}

/// What one slot could use.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demand {
    /// Index of the slot.
    pub slot: u8,
    /// Higher first.
    pub priority: u8,
    steps: [Step; STEPS_MAX],
    count: u8,
    /// The step it has now; none while it is paused or new.
    pub current: Option<u8>,
    /// Whether it may rise above what it has, or begin.
    pub may_rise: bool,
    /// Whether it would have more steps if its core had less to do; without any the core gives it nothing.
    pub capped: bool,
    /// What it gets.
    pub granted: Option<u8>,
    /// Somebody more important has to get something before it may.
    behind: bool,
}

impl Demand {
    /// A slot without steps.
    #[must_use]
    pub fn new(slot: u8, priority: u8) -> Self {
        Self {
            slot,
            priority,
            may_rise: true,
            ..Self::default()
        }
    }

    /// Adds the next better step. One that costs no more than the one before replaces it: better and
    /// cheaper needs no choice.
    pub fn push(&mut self, step: Step) {
        while let Some(last) = self.steps().last()
            && last.bps >= step.bps
        {
            self.count -= 1;
        }
        if let Some(free) = self.steps.get_mut(usize::from(self.count)) {
            *free = step;
            self.count += 1;
        }
    }

    /// Its steps, each dearer than the one before.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps[..usize::from(self.count).min(STEPS_MAX)]
    }

    /// The step it gets, none when it is paused.
    #[must_use]
    pub fn step(&self) -> Option<Step> {
        self.granted
            .and_then(|index| self.steps().get(usize::from(index)))
            .copied()
    }

    /// Whether its core has too much to do to give it anything.
    #[must_use]
    pub fn is_shed(&self) -> bool {
        self.capped && self.count == 0
    }

    /// The step it has now, none while it is paused or new.
    #[must_use]
    pub fn had(&self) -> Option<Step> {
        self.current
            .and_then(|index| self.steps().get(usize::from(index)))
            .copied()
    }

    fn cost(&self) -> u64 {
        self.step().map_or(0, |step| step.bps)
    }

    /// What it has now costs.
    fn held(&self) -> u64 {
        self.had().map_or(0, |step| step.bps)
    }

    /// The next step up and what it adds.
    fn next(&self) -> Option<(u8, u64)> {
        let index = self.granted.map_or(0, |granted| granted + 1);
        let step = self.steps().get(usize::from(index))?;
        Some((index, step.bps - self.cost()))
    }

    fn rises(&self, index: u8) -> bool {
        self.current.is_none_or(|current| index > current)
    }
}

/// What came of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// What the granted steps cost.
    pub used_bps: u64,
    /// What the best step of every slot would cost.
    pub wanted_bps: u64,
    /// The least budget at which somebody would get more; none when everybody has all.
    pub next_step_bps: Option<u64>,
    /// Somebody would have got more if it were proven that the path carries it.
    pub awaited: bool,
}

/// What there is to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// What the path is thought to carry.
    pub bps: u64,
    /// What it was just seen to carry: as far as this, what is shown may become better.
    pub proven_bps: u64,
}

impl Budget {
    /// All of it is known.
    #[must_use]
    pub fn proven(bps: u64) -> Self {
        Self { bps, proven_bps: bps }
    }
}

/// Grants each demand a step within the budget. Demands are reordered by priority.
pub fn allocate(budget: Budget, demands: &mut [Demand]) -> Plan {
    // Stable for equals: who came first in the list goes first every time.
    demands.sort_unstable_by_key(|demand| (std::cmp::Reverse(demand.priority), demand.slot));
    let mut used = 0;
    let mut room = Room {
        budget,
        held: demands.iter().map(Demand::held).sum(),
        awaited: false,
    };
    let mut waiting = Waiting::default();
    for demand in demands.iter_mut() {
        demand.granted = None;
        demand.behind = waiting.comes_before(demand);
        if !demand.behind && !raise(demand, &mut room, &mut used) {
            waiting.add(demand, &room, used);
        }
    }
    // Above the lowest, whatever is more than somebody has is a rise.
    room.held = 0;
    let mut start = 0;
    while start < demands.len() {
        let priority = demands[start].priority;
        let len = demands[start..]
            .iter()
            .take_while(|demand| demand.priority == priority)
            .count();
        let group = &mut demands[start..start + len];
        // In turns, until a whole round gave nobody anything. Each turn raises somebody by one of
        // at most STEPS_MAX steps, so this ends.
        while group
            .iter_mut()
            .filter(|demand| demand.granted.is_some())
            .fold(false, |any, demand| raise(demand, &mut room, &mut used) | any)
        {}
        start += len;
    }
    let next = demands
        .iter()
        .filter(|demand| !demand.behind)
        .filter_map(|demand| {
            let (_, more) = demand.next()?;
            let beside = match demand.granted {
                Some(_) => used,
                // What is less important gives way.
                None => demands
                    .iter()
                    .filter(|other| other.priority >= demand.priority)
                    .map(Demand::cost)
                    .sum(),
            };
            Some(with_margin(beside + more))
        })
        .min();
    let wanted = demands.iter().filter_map(|demand| demand.steps().last());
    Plan {
        used_bps: used,
        wanted_bps: wanted.map(|step| step.bps).sum(),
        next_step_bps: next,
        awaited: room.awaited,
    }
}

/// What may be given out.
#[derive(Debug, Clone, Copy)]
struct Room {
    budget: Budget,
    /// What is given out already: as long as no more is, taking from one to begin another is no rise.
    held: u64,
    /// Something was refused only because it is not proven.
    awaited: bool,
}

impl Room {
    /// The budget that a sum of grants takes.
    fn needed(&self, rises: bool, sum: u64) -> u64 {
        if rises && sum > self.held {
            with_margin(sum)
        } else {
            sum
        }
    }
}

/// Those that have to wait for their lowest step.
#[derive(Debug, Clone, Copy, Default)]
struct Waiting {
    /// Of higher priority than the one at hand.
    above: Refusals,
    /// Of the priority at hand, and that.
    here: Refusals,
    priority: u8,
}

#[derive(Debug, Clone, Copy, Default)]
struct Refusals {
    /// The least that the budget refused.
    least: Option<u64>,
    /// The budget would have done, but somebody may not begin yet.
    too_early: bool,
}

impl Refusals {
    fn with(self, other: Self) -> Self {
        Self {
            least: self.least.into_iter().chain(other.least).min(),
            too_early: self.too_early || other.too_early,
        }
    }
}

impl Waiting {
    fn add(&mut self, demand: &Demand, room: &Room, used: u64) {
        let Some(step) = demand.steps().first() else {
            return;
        };
        self.reach(demand.priority);
        let does_not_fit = room.needed(demand.rises(0), used + step.bps) > room.budget.bps;
        self.here = self.here.with(Refusals {
            least: does_not_fit.then_some(step.bps),
            too_early: !does_not_fit,
        });
    }

    /// Priorities come from the highest to the lowest.
    fn reach(&mut self, priority: u8) {
        if priority == self.priority {
            return;
        }
        self.above = self.above.with(self.here);
        self.here = Refusals::default();
        self.priority = priority;
    }

    /// Whether those that wait go first: nobody begins before one that only may not yet, and of what costs
    /// about as much as what was refused, nothing is shown. Something much smaller may still fit beside it.
    fn comes_before(&mut self, demand: &Demand) -> bool {
        self.reach(demand.priority);
        let cost = demand.steps().first().map_or(0, |step| step.bps);
        self.above.too_early && demand.current.is_none()
            || self.above.least.is_some_and(|least| cost * 2 > least)
    }
}

fn with_margin(bps: u64) -> u64 {
    bps * RISE_PERCENT / 100
}

fn raise(demand: &mut Demand, room: &mut Room, used: &mut u64) -> bool {
    let Some((index, more)) = demand.next() else {
        return false;
    };
    let rises = demand.rises(index);
    let sum = *used + more;
    let needed = room.needed(rises, sum);
    if needed > room.budget.bps || rises && !demand.may_rise {
        return false;
    }
    // What begins is needed, and on a path that nothing is known of it is all there is to see.
    if rises && demand.current.is_some() && needed > room.budget.proven_bps {
        room.awaited = true;
        return false;
    }
    demand.granted = Some(index);
    *used = sum;
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn demand(slot: u8, priority: u8, rates: &[u64], current: Option<u8>) -> Demand {
        let mut demand = Demand::new(slot, priority);
        for (layer, bps) in rates.iter().enumerate() {
            demand.push(Step {
                layer: layer as u8,
                temporal: 3,
                bps: *bps,
            });
        }
        demand.current = current;
        demand
    }

    fn granted(demands: &[Demand]) -> Vec<(u8, Option<u8>)> {
        let mut list: Vec<_> = demands
            .iter()
            .map(|demand| (demand.slot, demand.granted))
            .collect();
        list.sort_unstable();
        list
    }

    const LAYERS: [u64; 3] = [150, 500, 1200];

    #[test]
    fn everybody_gets_the_lowest_before_anybody_gets_more() {
        let mut demands = [
            demand(0, 100, &LAYERS, None),
            demand(1, 200, &LAYERS, None),
            demand(2, 100, &LAYERS, None),
        ];
        allocate(Budget::proven(1_000), &mut demands);
        // 150 each, then the second rises to 500: 800 with its margin is 920.
        assert_eq!(granted(&demands), [(0, Some(0)), (1, Some(1)), (2, Some(0))]);
    }

    #[test]
    fn what_does_not_fit_is_paused_by_priority() {
        let mut demands = [demand(0, 100, &LAYERS, Some(0)), demand(1, 200, &LAYERS, Some(2))];
        let plan = allocate(Budget::proven(200), &mut demands);
        assert_eq!(granted(&demands), [(0, None), (1, Some(0))]);
        assert_eq!(
            (plan.used_bps, plan.wanted_bps, plan.next_step_bps),
            (150, 2400, Some(345))
        );
    }

    #[test]
    fn a_more_important_slot_takes_the_place_of_another() {
        // Both fit only without the margin: the one that is shown is the less important.
        let mut demands = [demand(0, 110, &LAYERS, Some(0)), demand(1, 120, &LAYERS, None)];
        allocate(Budget::proven(160), &mut demands);
        assert_eq!(granted(&demands), [(0, None), (1, Some(0))]);
        // It may not begin yet: nobody less important begins before it, but who is there stays.
        let mut demands = [
            demand(0, 110, &LAYERS, Some(0)),
            demand(1, 120, &LAYERS, None),
            demand(2, 110, &LAYERS, None),
        ];
        demands[1].may_rise = false;
        allocate(Budget::proven(400), &mut demands);
        assert_eq!(granted(&demands), [(0, Some(0)), (1, None), (2, None)]);
    }

    #[test]
    fn something_much_smaller_fits_beside_what_waits() {
        for current in [None, Some(0)] {
            let mut demands = [demand(0, 200, &[1500], None), demand(1, 100, &LAYERS, current)];
            let plan = allocate(Budget::proven(500), &mut demands);
            assert_eq!(granted(&demands), [(0, None), (1, Some(0))]);
            // It gives way to what it is shown instead of.
            assert_eq!(
                plan.next_step_bps,
                Some(with_margin(500)),
                "its own next layer is nearer"
            );
            allocate(Budget::proven(with_margin(1500)), &mut demands);
            assert_eq!(granted(&demands)[0], (0, Some(0)));
        }
    }

    #[test]
    fn staying_needs_less_room_than_rising() {
        let mut held = [demand(0, 100, &LAYERS, Some(2))];
        let mut fresh = [demand(0, 100, &LAYERS, Some(1))];
        allocate(Budget::proven(1_250), &mut held);
        allocate(Budget::proven(1_250), &mut fresh);
        assert_eq!((held[0].granted, fresh[0].granted), (Some(2), Some(1)));
    }

    #[test]
    fn equals_rise_in_turns() {
        let mut demands = [demand(0, 100, &LAYERS, None), demand(1, 100, &LAYERS, None)];
        allocate(Budget::proven(1_200), &mut demands);
        assert_eq!(granted(&demands), [(0, Some(1)), (1, Some(1))]);
    }

    #[test]
    fn what_is_missing_is_what_the_one_that_waits_needs() {
        let screens = [demand(0, 200, &[1_000], None), demand(1, 200, &[1_000], None)];
        let shown = |cameras: [Demand; 2]| {
            let mut demands = [&screens[..], &cameras].concat();
            let plan = allocate(Budget::proven(1_500), &mut demands);
            (granted(&demands), plan.next_step_bps)
        };
        // Two faces fit beside the screen; that they would make room is no reason to ask for less.
        let small = [demand(2, 100, &[100], None), demand(3, 100, &[100], None)];
        let (granted, next) = shown(small);
        assert_eq!(granted, [(0, Some(0)), (1, None), (2, Some(0)), (3, Some(0))]);
        assert_eq!(next, Some(with_margin(2_000)));
        // What costs as much as a screen waits behind it.
        let large = [demand(2, 100, &[600], None), demand(3, 100, &[100], None)];
        let (granted, next) = shown(large);
        assert_eq!(granted, [(0, Some(0)), (1, None), (2, None), (3, Some(0))]);
        assert_eq!(next, Some(with_margin(2_000)));
    }

    #[test]
    fn what_is_not_proven_is_no_reason_to_rise() {
        let budget = Budget {
            bps: 10_000,
            proven_bps: 700,
        };
        let mut demands = [demand(0, 100, &LAYERS, Some(0)), demand(1, 100, &LAYERS, None)];
        let plan = allocate(budget, &mut demands);
        assert_eq!(granted(&demands), [(0, Some(0)), (1, Some(2))], "who begins may");
        assert!(plan.awaited);
        // Nobody loses for it what is there.
        let mut demands = [demand(0, 200, &LAYERS, Some(1)), demand(1, 100, &LAYERS, Some(2))];
        let plan = allocate(budget, &mut demands);
        assert_eq!(granted(&demands), [(0, Some(1)), (1, Some(2))]);
        assert!(plan.awaited);
        // Nothing else stands in the way of what is proven, nor of who has all.
        let mut demands = [demand(0, 200, &LAYERS[..2], Some(0))];
        let plan = allocate(budget, &mut demands);
        assert_eq!(granted(&demands), [(0, Some(1))]);
        assert!(!plan.awaited);
    }

    #[test]
    fn who_may_not_rise_keeps_what_it_has() {
        let mut demands = [demand(0, 100, &LAYERS, Some(0)), demand(1, 100, &LAYERS, None)];
        demands[0].may_rise = false;
        demands[1].may_rise = false;
        allocate(Budget::proven(10_000), &mut demands);
        assert_eq!(granted(&demands), [(0, Some(0)), (1, None)]);
    }

    #[test]
    fn a_better_step_that_is_cheaper_takes_the_place_of_the_worse() {
        let demand = demand(0, 1, &[300, 200, 900], None);
        let kept: Vec<(u8, u64)> = demand.steps().iter().map(|step| (step.layer, step.bps)).collect();
        assert_eq!(kept, [(1, 200), (2, 900)]);
    }

    proptest! {
        #[test]
        fn the_budget_is_kept_and_nobody_waits_for_what_fits(
            budget in 0u64..6_000,
            list in prop::collection::vec(
                (any::<u8>(), prop::collection::vec(1u64..3_000, 1..5), prop::option::of(0u8..3), any::<bool>()),
                1..9,
            ),
        ) {
            let mut demands: Vec<Demand> = list
                .iter()
                .enumerate()
                .map(|(slot, (priority, rates, current, may_rise))| {
                    let mut rates = rates.clone();
                    rates.sort_unstable();
                    let mut demand = demand(slot as u8, *priority, &rates, *current);
                    demand.may_rise = *may_rise;
                    demand
                })
                .collect();
            let plan = allocate(Budget::proven(budget), &mut demands);
            prop_assert!(plan.used_bps <= budget);
            prop_assert_eq!(plan.used_bps, demands.iter().map(Demand::cost).sum::<u64>());
            // Nobody could be raised further who waits behind nobody.
            for demand in &demands {
                if !demand.behind {
                    let mut used = plan.used_bps;
                    let mut copy = *demand;
                    let mut room = Room {
                        budget: Budget::proven(budget),
                        held: 0,
                        awaited: false,
                    };
                    prop_assert!(!raise(&mut copy, &mut room, &mut used));
                }
            }
            // And of what is alike, nobody is shown at the cost of somebody more important, who waits for room and not
            // for one before it that may not begin yet.
            for one in &demands {
                let held_back = demands.iter().any(|first| {
                    first.priority >= one.priority && !first.may_rise && first.granted.is_none()
                });
                for other in &demands {
                    let alike = one.steps()[0].bps == other.steps()[0].bps && one.may_rise;
                    if alike && !held_back && one.priority > other.priority && other.granted.is_some() {
                        prop_assert!(one.granted.is_some());
                    }
                }
            }
        }
    }
}
