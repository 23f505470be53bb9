//! Everybody's paths, and what was measured on them.

use std::collections::BTreeMap;
use std::time::Duration;

use kall_dataplane::time::Time;
use kall_network::{Arrivals, Drop, Link, Random};

use crate::scenario::{CrossedLink, Scenario};

/// Headers below UDP that a bottleneck carries as well: IPv4 and UDP.
pub(crate) const HEADERS: usize = 28;

/// How long a packet waited in a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waited {
    pub(crate) at: Time,
    pub(crate) wait: Duration,
}

/// One link, and its log if it has a bottleneck.
#[derive(Debug)]
pub(crate) struct Logged {
    pub(crate) link: Link,
    pub(crate) waits: Vec<Waited>,
    /// The latest time a packet was handed in: with paths in a row the next link's packets come in
    /// the order in which the one before lets them go.
    entered: Duration,
}

impl Logged {
    fn new(link: Link) -> Self {
        Self {
            link,
            waits: Vec::new(),
            entered: Duration::ZERO,
        }
    }

    fn send(&mut self, at: Duration, bytes: usize) -> Arrivals {
        let at = at.max(self.entered);
        self.entered = at;
        if self.link.config().rate.is_some() {
            self.waits.push(Waited {
                at: Time::ZERO + at,
                wait: self.link.queueing_delay(at),
            });
        }
        self.link.send(at, bytes + HEADERS)
    }
}

/// The paths of one person.
#[derive(Debug)]
struct PersonPaths {
    up: Logged,
    down: Logged,
    behind: Option<String>,
}

/// All paths of a call.
#[derive(Debug)]
pub(crate) struct Paths {
    people: Vec<PersonPaths>,
    bottlenecks: BTreeMap<String, Logged>,
}

/// When a datagram arrives, and whether a queue refused it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Passage {
    pub(crate) first: Option<Time>,
    pub(crate) duplicate: Option<Time>,
    /// The wire lost it: nobody's fault.
    pub(crate) lost_on_wire: bool,
}

impl Passage {
    fn of(arrivals: Arrivals) -> Self {
        Self {
            first: arrivals.first.ok().map(|at| Time::ZERO + at),
            duplicate: arrivals.duplicate.map(|at| Time::ZERO + at),
            lost_on_wire: arrivals.first == Err(Drop::Wire),
        }
    }
}

impl Paths {
    pub(crate) fn new(scenario: &Scenario, random: &mut Random) -> Self {
        let mut people = Vec::new();
        for group in &scenario.people {
            for _ in 0..group.count {
                people.push(PersonPaths {
                    up: Logged::new(Link::new(group.up.clone(), random.bits())),
                    down: Logged::new(Link::new(group.down.clone(), random.bits())),
                    behind: group.behind.clone(),
                });
            }
        }
        let bottlenecks = scenario
            .bottlenecks
            .iter()
            .map(|(name, config)| {
                (
                    name.clone(),
                    Logged::new(Link::new(config.clone(), random.bits())),
                )
            })
            .collect();
        Self { people, bottlenecks }
    }

    /// From a person to the server.
    pub(crate) fn up(&mut self, now: Time, person: usize, bytes: usize) -> Passage {
        Passage::of(self.people[person].up.send(now.since(Time::ZERO), bytes))
    }

    /// From the server to a person.
    pub(crate) fn down(&mut self, now: Time, person: usize, bytes: usize) -> Passage {
        let PersonPaths { down, behind, .. } = &mut self.people[person];
        let mut at = now.since(Time::ZERO);
        if let Some(bottleneck) = behind.as_ref().and_then(|name| self.bottlenecks.get_mut(name)) {
            let passed = bottleneck.send(at, bytes);
            match passed.first {
                Ok(left) => at = left,
                Err(_) => return Passage::of(passed),
            }
        }
        Passage::of(down.send(at, bytes))
    }

    /// A packet of somebody else's, that only takes room.
    pub(crate) fn cross(&mut self, now: Time, on: &CrossedLink, scenario: &Scenario, bytes: usize) {
        if let Some(link) = self.crossed(on, scenario) {
            link.send(now.since(Time::ZERO), bytes);
        }
    }

    fn crossed(&mut self, on: &CrossedLink, scenario: &Scenario) -> Option<&mut Logged> {
        match on {
            CrossedLink::Bottleneck(name) => self.bottlenecks.get_mut(name),
            CrossedLink::Up(who) => Some(&mut self.people.get_mut(scenario.person(who).ok()?)?.up),
            CrossedLink::Down(who) => Some(&mut self.people.get_mut(scenario.person(who).ok()?)?.down),
        }
    }

    /// What a person's way down can carry at `now`, in bit/s: the narrowest link of it.
    pub(crate) fn capacity(&self, person: usize, now: Time) -> Option<u64> {
        let now = now.since(Time::ZERO);
        self.downward(person)
            .filter_map(|logged| Some(logged.link.config().rate.as_ref()?.at(now)))
            .min()
    }

    /// The links of a person's way down.
    pub(crate) fn downward(&self, person: usize) -> impl Iterator<Item = &Logged> {
        let paths = &self.people[person];
        let shared = paths.behind.as_ref().and_then(|name| self.bottlenecks.get(name));
        shared.into_iter().chain([&paths.down])
    }
}
