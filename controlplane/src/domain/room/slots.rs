//! Which track goes into which free video slot: a pure function of what begins and what is free.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use kall_shared::id::{Mid, TrackId};
use kall_shared::media::{Kind, Source};

use super::member::Slot;

/// A video track that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) track: TrackId,
    pub(super) source: Source,
    /// The publisher's last turn to speak; zero before any.
    pub(super) spoke: u64,
    /// Place in the order of publication.
    pub(super) order: u64,
}

/// Fills free video slots: screens first, then who spoke last, then in the order of publication. A track that has a
/// slot keeps it, one that the client sent away stays away. Returns the new pairs.
pub(super) fn fill(
    slots: &[Slot],
    mut candidates: Vec<Candidate>,
    unwanted: &BTreeSet<TrackId>,
) -> Vec<(Mid, Candidate)> {
    candidates.retain(|candidate| {
        !unwanted.contains(&candidate.track)
            && !slots
                .iter()
                .any(|slot| slot.wanted.as_ref() == Some(&candidate.track))
    });
    rank(&mut candidates);
    let free = slots
        .iter()
        .filter(|slot| slot.kind == Kind::Video && slot.wanted.is_none());
    free.zip(candidates)
        .map(|(slot, candidate)| (slot.mid.clone(), candidate))
        .collect()
}

/// Puts what is shown first to the front: screens, then who spoke last, then the order of publication.
pub(super) fn rank(candidates: &mut [Candidate]) {
    candidates.sort_by_key(|candidate| {
        let camera = candidate.source != Source::Screen;
        (camera, Reverse(candidate.spoke), candidate.order)
    });
}

/// Lets the slots of a kind show the best of what there is, given best first: what falls behind leaves
/// its slot, what stays keeps it. Returns the slots that change, and to what.
pub(super) fn follow(slots: &[Slot], kind: Kind, ranked: &[Candidate]) -> Vec<(Mid, Option<Candidate>)> {
    let slots: Vec<&Slot> = slots.iter().filter(|slot| slot.kind == kind).collect();
    let best = &ranked[..ranked.len().min(slots.len())];
    let shown = |candidate: &&Candidate| {
        slots
            .iter()
            .any(|slot| slot.wanted.as_ref() == Some(&candidate.track))
    };
    let mut new = best.iter().filter(|candidate| !shown(candidate));
    let mut changes = Vec::new();
    for slot in &slots {
        let stays = |wanted: &TrackId| best.iter().any(|candidate| candidate.track == *wanted);
        if slot.wanted.as_ref().is_some_and(stays) {
            continue;
        }
        let next = new.next().cloned();
        if next.is_some() || slot.wanted.is_some() {
            changes.push((slot.mid.clone(), next));
        }
    }
    changes
}

/// The slot that shall show whoever speaks, where none is free: of those that came by themselves the
/// one whose person has not spoken for the longest time, and among equals came last. None when the speaker is shown
/// already, was sent away, or nobody gives way to it.
pub(super) fn give_way(
    slots: &[Slot],
    candidates: &[Candidate],
    speaker: &Candidate,
    unwanted: &BTreeSet<TrackId>,
) -> Option<Mid> {
    let shown = slots
        .iter()
        .any(|slot| slot.wanted.as_ref() == Some(&speaker.track));
    if shown || unwanted.contains(&speaker.track) {
        return None;
    }
    let yielding = slots
        .iter()
        .filter(|slot| slot.kind == Kind::Video && !slot.asked)
        .filter_map(|slot| {
            let wanted = slot.wanted.as_ref()?;
            let candidate = candidates.iter().find(|candidate| candidate.track == *wanted)?;
            (candidate.source == Source::Camera).then_some((slot, candidate))
        });
    let (slot, _) = yielding.min_by_key(|(_, candidate)| (candidate.spoke, Reverse(candidate.order)))?;
    Some(slot.mid.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(mid: &str, kind: Kind, wanted: Option<&str>) -> Slot {
        let mut slot = Slot::new(Mid::new(mid).expect("mid"), kind);
        slot.wanted = wanted.map(|id| TrackId::new(id).expect("id"));
        slot
    }

    fn candidate(id: &str, source: Source, order: u64) -> Candidate {
        Candidate {
            track: TrackId::new(id).expect("id"),
            source,
            spoke: 0,
            order,
        }
    }

    fn speaker(id: &str, spoke: u64, order: u64) -> Candidate {
        Candidate {
            spoke,
            ..candidate(id, Source::Camera, order)
        }
    }

    fn pairs(filled: &[(Mid, Candidate)]) -> Vec<(&str, &str)> {
        filled
            .iter()
            .map(|(mid, candidate)| (mid.as_str(), candidate.track.as_str()))
            .collect()
    }

    #[test]
    fn screens_come_first_then_the_order_of_publication() {
        let slots = [
            slot("1", Kind::Audio, None),
            slot("2", Kind::Video, None),
            slot("3", Kind::Video, None),
            slot("4", Kind::Video, None),
        ];
        let tracks = vec![
            candidate("tr_b", Source::Camera, 2),
            candidate("tr_a", Source::Camera, 1),
            candidate("tr_s", Source::Screen, 3),
        ];
        let filled = fill(&slots, tracks, &BTreeSet::new());
        assert_eq!(pairs(&filled), [("2", "tr_s"), ("3", "tr_a"), ("4", "tr_b")]);
    }

    #[test]
    fn who_spoke_last_comes_first() {
        let slots = [slot("2", Kind::Video, None), slot("3", Kind::Video, None)];
        let tracks = vec![
            speaker("tr_a", 0, 1),
            speaker("tr_b", 4, 2),
            speaker("tr_c", 7, 3),
        ];
        let filled = fill(&slots, tracks, &BTreeSet::new());
        assert_eq!(pairs(&filled), [("2", "tr_c"), ("3", "tr_b")]);
    }

    #[test]
    fn who_has_not_spoken_gives_way_to_the_speaker() {
        let mut slots = [
            slot("2", Kind::Video, Some("tr_a")),
            slot("3", Kind::Video, Some("tr_b")),
            slot("4", Kind::Video, Some("tr_s")),
        ];
        let mut tracks = vec![
            speaker("tr_a", 3, 1),
            speaker("tr_b", 2, 2),
            candidate("tr_s", Source::Screen, 3),
            speaker("tr_c", 9, 4),
        ];
        let nobody = BTreeSet::new();
        let chosen = |slots: &[Slot], tracks: &[Candidate]| {
            give_way(slots, tracks, &tracks[3], &nobody).map(|mid| mid.to_string())
        };
        assert_eq!(chosen(&slots, &tracks).as_deref(), Some("3"));
        (tracks[0].spoke, tracks[1].spoke) = (0, 0);
        assert_eq!(chosen(&slots, &tracks).as_deref(), Some("3"), "the last to come");
        slots[1].asked = true;
        assert_eq!(chosen(&slots, &tracks).as_deref(), Some("2"));
        slots[0].asked = true;
        assert_eq!(
            chosen(&slots, &tracks),
            None,
            "what was asked for stays, and so does a screen"
        );
        assert_eq!(
            give_way(&slots, &tracks, &tracks[0], &nobody),
            None,
            "it is shown"
        );
        let sent_away = BTreeSet::from([tracks[3].track.clone()]);
        slots[0].asked = false;
        assert_eq!(give_way(&slots, &tracks, &tracks[3], &sent_away), None);
    }

    #[test]
    fn what_has_a_slot_keeps_it_and_what_was_sent_away_stays_away() {
        let slots = [slot("2", Kind::Video, Some("tr_a")), slot("3", Kind::Video, None)];
        let tracks = || {
            vec![
                candidate("tr_a", Source::Camera, 1),
                candidate("tr_b", Source::Camera, 2),
                candidate("tr_c", Source::Camera, 3),
            ]
        };
        assert_eq!(pairs(&fill(&slots, tracks(), &BTreeSet::new())), [("3", "tr_b")]);
        let unwanted = BTreeSet::from([TrackId::new("tr_b").expect("id")]);
        assert_eq!(pairs(&fill(&slots, tracks(), &unwanted)), [("3", "tr_c")]);
    }

    fn changes(slots: &[Slot], ranked: &[Candidate]) -> Vec<(String, Option<String>)> {
        let changes = follow(slots, Kind::Video, ranked);
        let text = |change: Option<Candidate>| change.map(|candidate| candidate.track.to_string());
        changes
            .into_iter()
            .map(|(mid, change)| (mid.to_string(), text(change)))
            .collect()
    }

    #[test]
    fn a_player_follows_the_best_and_keeps_what_stays() {
        let mut tracks = vec![
            candidate("tr_a", Source::Camera, 1),
            candidate("tr_b", Source::Camera, 2),
        ];
        let one = [slot("0", Kind::Audio, Some("tr_x")), slot("1", Kind::Video, None)];
        assert_eq!(changes(&one, &tracks), [("1".into(), Some("tr_a".into()))]);
        let one = [slot("1", Kind::Video, Some("tr_a"))];
        assert_eq!(changes(&one, &tracks), []);

        // A screen pushes the last one out, the other stays where it is.
        tracks.push(candidate("tr_s", Source::Screen, 3));
        rank(&mut tracks);
        let two = [
            slot("1", Kind::Video, Some("tr_b")),
            slot("2", Kind::Video, Some("tr_a")),
        ];
        assert_eq!(changes(&two, &tracks), [("1".into(), Some("tr_s".into()))]);
        assert_eq!(changes(&two, &[]), [("1".into(), None), ("2".into(), None)]);
    }
}
