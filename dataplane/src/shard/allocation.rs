//! Which slot shows which layer: what receivers wish and their paths carry, against what publishers
//! send and are told to send.

use std::time::Duration;

use kall_shared::link::Event;
use kall_shared::media::{Kind, SlotWish};

use super::Shard;
use super::shedding::Shedding;
use super::slab::{Key, Slab};
use crate::bwe;
use crate::forward::allocator::{Budget, Demand, Step, allocate};
use crate::forward::publication::Publication;
use crate::forward::slot::{Aim, Slot};
use crate::session::Session;
use crate::session::downstream::ALLOCATE_INTERVAL;
use crate::time::Time;

/// A slot that was given less, or was paused, is not given more for so long: a path that has just
/// failed to carry something will fail again, and people mind flapping more than a small picture.
const HOLD: Duration = Duration::from_secs(8);

/// The same for a slot that shows fewer pictures of the same layer: nobody sees more than that motion is less smooth,
/// and going back takes no key frame.
const HOLD_THINNED: Duration = Duration::from_secs(2);

/// The same after a pause.
const HOLD_PAUSED: Duration = Duration::from_secs(5);

/// Between two rises of one receiver there is a round trip and this: the effect of the first must show
/// in the estimate.
const RISE_SPACING: Duration = Duration::from_secs(1);

/// How long what was given is left alone afterwards, if the path does not fail outright: the key frame of
/// a new layer is a burst, and its echo in the estimate is no verdict on the layer.
const SETTLING: Duration = Duration::from_millis(1500);

/// Unless the path carries less than this of what was given, in percent.
const SETTLING_PERCENT: u64 = 85;

/// What a sounding slot is planned with before it was measured, in bits per second.
const AUDIO_BPS: u64 = 64_000;

/// Share of the path that is left to retransmissions and feedback, in percent; what the path loses by itself
/// comes on top.
const RESERVE_PERCENT: u64 = 5;

/// A path that carries less than this of what is sent must be relieved at once, in percent: waiting for
/// the key frame of a smaller layer would fill its queue.
const RELIEF_PERCENT: u64 = 75;

impl Shard {
    /// The receiver's slots are given their shares anew in this turn: once, whatever else asks for it.
    pub(super) fn allocate_soon(&mut self, now: Time, key: Key) {
        if let Some(session) = self.sessions.get_mut(key) {
            let planned = &mut session.downstream.allocate_at;
            *planned = (*planned).min(now);
            self.reschedule(now, key);
        }
    }

    /// What a receiver wants of a slot's occupant changed.
    pub(super) fn set_wish(&mut self, now: Time, key: Key, slot: u8, wish: SlotWish) {
        if let Some(slot) = self.slot_mut(key, slot)
            && slot.wish != wish
        {
            slot.wish = wish;
            // It asks for something else: what was too much before says nothing about that.
            slot.release_hold(Time::ZERO);
            self.allocate(now, key);
        }
    }

    /// Everybody who takes a track chooses anew.
    pub(super) fn choose_anew(&mut self, now: Time, publication: Key) {
        let mut index = 0;
        while let Some(subscriber) = self
            .publications
            .get(publication)
            .and_then(|found| found.subscribers.get(index))
        {
            let session = subscriber.session;
            index += 1;
            self.allocate_soon(now, session);
        }
    }

    /// Looks after the layers of a session's tracks: which flow, and which are told to.
    pub(super) fn look_after_tracks(&mut self, now: Time, key: Key) {
        let mut index = 0;
        while let Some(published) = self
            .sessions
            .get(key)
            .and_then(|session| session.published.get(index))
        {
            let publication_key = published.publication;
            index += 1;
            let Some(publication) = self.publications.get_mut(publication_key) else {
                continue;
            };
            let looks = now >= publication.look_at;
            if publication.look(now) {
                self.choose_anew(now, publication_key);
            }
            if looks {
                let goes_on = self
                    .publications
                    .get(publication_key)
                    .is_some_and(|publication| publication.look_at != Time::FAR_FUTURE);
                self.tell_layers(publication_key, goes_on);
            }
            self.update_dynacast(now, publication_key);
        }
    }

    /// Tells a publisher which of its layers are taken, when that changed.
    pub(super) fn update_dynacast(&mut self, now: Time, publication_key: Key) {
        let Some(publication) = self.publications.get_mut(publication_key) else {
            return;
        };
        let Some(owner) = publication.own_session() else {
            // Its publisher's core does that.
            return self.sync_wanted(publication_key);
        };
        // A track nothing has come of yet can't be taken by anybody, and must not be stopped for it.
        if !publication.has_named_layers() || !publication.started {
            return;
        }
        let (takers, flows) = (publication.takers(), publication.flows(now));
        let changed = publication.dynacast.update(now, &takers, &flows);
        if changed {
            self.outgoing.event(Event::Dynacast {
                session: publication.session,
                track: publication.track.clone(),
                layers: publication.dynacast_layers(),
            });
            self.tell_layers(publication_key, false);
        }
        self.reschedule(now, owner);
    }

    /// Takes over which layers a slot needs packets of.
    pub(super) fn sync_layers(&mut self, now: Time, key: Key, slot: u8, publication_key: Key) {
        let Some(own) = self.slot_mut(key, slot) else {
            return;
        };
        let wanted = own.wanted_layers();
        if std::mem::replace(&mut own.synced_layers, wanted) == wanted {
            return;
        }
        if let Some(publication) = self.publications.get_mut(publication_key)
            && publication.set_layers(key, slot, wanted)
        {
            self.update_dynacast(now, publication_key);
        }
    }

    /// Gives a receiver's video slots their shares of its path.
    pub(super) fn allocate(&mut self, now: Time, key: Key) {
        let mut demands = std::mem::take(&mut self.demands);
        demands.clear();
        let Some(session) = self.sessions.get_mut(key) else {
            self.demands = demands;
            return;
        };
        session.downstream.allocate_at = Time::FAR_FUTURE;
        session.downstream.allocated_at = now;
        let rtt = session.rtt;
        let may_rise = now >= session.downstream.risen_at + rtt + RISE_SPACING;
        for (index, slot) in session.slots.iter().enumerate() {
            let given = (&self.publications, &self.shedding);
            if let Some(demand) = demand_of(now, (key, index as u8), slot, given, may_rise) {
                demands.push(demand);
            }
        }
        let audio: u64 = session
            .slots
            .iter()
            .filter(|slot| slot.kind() == Kind::Audio && slot.occupant().is_some())
            .map(|slot| match slot.sent.bps(now) {
                0 => AUDIO_BPS,
                bps => bps,
            })
            .sum();
        let budget = session.downstream.budget();
        let path_loss = session.downstream.estimator.path_loss();
        session.rtx_budget.set_path_loss(path_loss);
        // The loss is below one half.
        let kept = 100 - RESERVE_PERCENT - (path_loss * 100.0) as u64;
        let share = |bps: u64| (bps / 100 * kept).saturating_sub(audio);
        // Rounded so that a share of it is not less.
        let whole = |bps: u64| (bps + audio).div_ceil(kept) * 100;
        let downstream = &mut session.downstream;
        let falls_below =
            |percent: u64| budget.is_some_and(|budget| share(budget) < downstream.used_bps * percent / 100);
        let relief = falls_below(RELIEF_PERCENT);
        let settled_at = downstream.risen_at + SETTLING;
        let settling = now < settled_at && !falls_below(SETTLING_PERCENT);
        let guessed = downstream.is_guessed();
        let budget = match budget {
            Some(budget) if settling => Some(budget.max(downstream.used_bps)),
            // What has begun is not taken away for a guess, as far as the pacer lets it through.
            Some(budget) if guessed => {
                let had = demands.iter().filter_map(Demand::had).map(|step| step.bps).sum();
                Some(budget.max(whole(had).min(budget * 2)))
            }
            budget => budget,
        };
        let shared = budget.map_or(u64::MAX / 1_000, share);
        let shares = Budget {
            bps: shared,
            proven_bps: share(downstream.proven(now)).min(shared),
        };
        let plan = allocate(shares, &mut demands);
        downstream.allocated_by = downstream.estimator.estimate();
        downstream.used_bps = whole(plan.used_bps);
        // What goes beyond a guess must be found out about, even if nobody wants more.
        let unproven =
            (guessed && downstream.used_bps > downstream.allocated_by).then_some(downstream.used_bps);
        downstream.estimator.set_demand(
            now,
            bwe::Demand {
                wanted_bps: whole(plan.wanted_bps),
                next_step_bps: plan.next_step_bps.map(whole).or(unproven),
                awaited: plan.awaited,
            },
        );
        if !demands.is_empty() {
            let next = if settling { settled_at } else { Time::FAR_FUTURE };
            downstream.allocate_at = next.min(now + ALLOCATE_INTERVAL);
        }
        let mut risen = false;
        for demand in &demands {
            risen |= self.grant(now, key, demand, shared, relief);
        }
        if risen && let Some(session) = self.sessions.get_mut(key) {
            session.downstream.risen_at = now;
        }
        self.demands = demands;
        self.reschedule(now, key);
    }

    /// Acts on one slot's share. True when it rose above what it had.
    ///
    /// `budget_bps` is what all of them have together, and `relief` whether that is much less than before.
    fn grant(&mut self, now: Time, key: Key, demand: &Demand, budget_bps: u64, relief: bool) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        let known = session.downstream.is_measured() && !session.downstream.is_guessed();
        let estimator = &session.downstream.estimator;
        let Some(slot) = session.slots.get_mut(usize::from(demand.slot)) else {
            return false;
        };
        let Some(publication_key) = slot.occupant() else {
            return false;
        };
        let fell = match (demand.current, demand.granted) {
            (Some(current), Some(granted)) => granted < current,
            (Some(_), None) => true,
            _ => false,
        };
        let mut risen = false;
        let mut news = false;
        self.counters.slots_shed += u64::from(demand.capped && !slot.capped);
        slot.capped = demand.capped;
        match demand.step() {
            Some(Step { layer, temporal, bps }) => {
                news = slot.is_paused();
                risen = demand.current.is_some() && demand.granted > demand.current;
                slot.aim(Aim { layer, temporal });
                if risen {
                    slot.on_rise(now);
                }
                if fell {
                    let thinned = demand.had().is_some_and(|had| had.layer == layer);
                    slot.hold(now, estimator.spread(if thinned { HOLD_THINNED } else { HOLD }));
                    let shown = slot.shown_layer();
                    if let Some(shown) = shown.filter(|shown| relief && *shown != layer) {
                        let flow = self
                            .publications
                            .get(publication_key)
                            .and_then(|found| Some(found.layers.get(usize::from(shown))?.flow));
                        // Its base, if there is one that fits; what does not would only keep the smaller layer out.
                        // Into a queue that is full both must fit, as the key frame comes on top of it.
                        let beside = if estimator.is_full() { bps } else { 0 };
                        let base = flow
                            .filter(|flow| flow.highest_temporal() > 0)
                            .and_then(|flow| flow.bps(now, 0))
                            .is_some_and(|bps| bps + beside <= budget_bps);
                        slot.cut_current(base);
                    }
                }
            }
            // Before anything is known of the path, what is held back is so for a moment only.
            None if !known && !demand.is_shed() => slot.withhold(),
            None => {
                news = slot.pause();
                // What has only come may begin as soon as there is room, and what the core gives nothing as soon as
                // it can: the path has not failed.
                if news && fell && !demand.is_shed() {
                    slot.hold(now, estimator.spread(HOLD_PAUSED));
                }
            }
        }
        // What waits for its turn on the path is asked for no second time.
        let answered = |layer: u8| {
            let publication = self.publications.get(publication_key);
            publication
                .and_then(|found| found.layers.get(usize::from(layer)))
                .is_some_and(|layer| layer.keyframes.is_answered(now))
        };
        let asks = slot.needs_keyframe() && !slot.aimed().is_some_and(|aim| answered(aim.layer));
        self.sync_layers(now, key, demand.slot, publication_key);
        if asks {
            self.request_keyframe_for(now, key, usize::from(demand.slot));
        }
        if news {
            self.counters.slot_pauses += u64::from(demand.granted.is_none() && !demand.is_shed());
            self.announce_slot(key, demand.slot);
        }
        risen
    }

    /// Slots that began or changed their layer: they need no other any more, and say what they show.
    pub(super) fn after_switches(&mut self, now: Time) {
        while let Some((key, slot)) = self.switched.pop() {
            let occupant = self
                .sessions
                .get(key)
                .and_then(|session| session.slots.get(usize::from(slot)))
                .filter(|slot| slot.kind() == Kind::Video)
                .and_then(Slot::occupant);
            if let Some(publication) = occupant {
                self.counters.layer_changes += 1;
                self.sync_layers(now, key, slot, publication);
                self.announce_slot(key, slot);
            }
        }
    }
}

/// What one slot could use; none when it is to be given nothing.
fn demand_of(
    now: Time,
    (viewer, index): (Key, u8),
    slot: &Slot,
    (publications, shedding): (&Slab<Publication>, &Shedding),
    may_rise: bool,
) -> Option<Demand> {
    if slot.kind() != Kind::Video || slot.reason().is_some() {
        return None;
    }
    let occupant = slot.occupant()?;
    let publication = publications.get(occupant)?;
    if publication.muted {
        return None;
    }
    let mut demand = Demand::new(index, slot.wish.priority);
    match shedding.share(occupant, publication.source, viewer, &slot.wish) {
        Some(cap) => publication.view().fill(now, &slot.wish, cap, &mut demand),
        None => demand.capped = true,
    }
    demand.current = slot.aimed().map(|aim| {
        let rank = |layer| publication.ranks.rank_of(layer);
        let has = |step: &Step| {
            rank(step.layer) < rank(aim.layer) || step.layer == aim.layer && step.temporal <= aim.temporal
        };
        let steps = demand.steps();
        // It has some of its layer, even if the layer is cut into other steps by now.
        let first_of_layer = steps.iter().position(|step| step.layer == aim.layer);
        let found = steps.iter().rposition(has).max(first_of_layer);
        // What it has is below everything that can be had: the lowest is no rise.
        found.unwrap_or(0) as u8
    });
    let held = slot.is_held(now);
    demand.may_rise = !held && (may_rise || demand.current.is_none());
    Some(demand)
}

impl Session {
    /// Whether something waits for its turn on the path and may leave now.
    pub(super) fn may_drain(&mut self, now: Time) -> bool {
        self.outbox.paced_len() > 0 && self.transport.has_room() && self.downstream.may_send(now)
    }
}
