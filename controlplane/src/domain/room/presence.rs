//! How many are here, and who is told of whom.
//!
//! In a small room everybody is announced. Above `room.presence_limit` viewers are counted instead:
//! thousands who come and go would be millions of messages, and nobody reads such a list.

use std::time::Duration;

use kall_shared::id::Identity;
use kall_shared::signalling::{self, Presence, Role, ServerMessage};
use tokio::time::Instant;

use super::Room;
use super::member::{Member, Place};
use crate::domain::outbox::{self, Topic};

/// How often the numbers are told while they change.
const DIGEST_INTERVAL: Duration = Duration::from_secs(1);

/// When the numbers are told next.
#[derive(Debug, Default)]
pub(super) struct Digest {
    due: Option<Instant>,
    told: Option<(Presence, Instant)>,
}

impl Room {
    pub(super) fn place_of(&self, identity: &Identity) -> Place {
        self.members.get(identity).and_then(|member| member.place.clone())
    }

    pub(super) fn presence(&self) -> Presence {
        Presence {
            participants: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
            viewers: u32::try_from(self.members.viewers()).unwrap_or(u32::MAX),
        }
    }

    fn is_large(&self) -> bool {
        self.members.len() > self.context.config.room.presence_limit as usize
    }

    /// Whether a newcomer of this role is told of by name.
    pub(super) fn announces(&self, role: Role) -> bool {
        role != Role::Viewer || !self.is_large()
    }

    /// Those somebody sees in its room, the ones who may speak first, up to the limit.
    pub(super) fn visible_to(&self, identity: &Identity) -> Vec<signalling::Participant> {
        let place = self.place_of(identity);
        let limit = self.context.config.room.presence_limit as usize;
        let here = |member: &&Member| member.identity != *identity && member.place == place;
        let speakers = self.members.on_stage().filter(here);
        // Of others nobody is told when they go.
        let viewers = self
            .members
            .values()
            .filter(here)
            .filter(|member| member.role == Role::Viewer && member.announced);
        speakers.chain(viewers).take(limit).map(Member::public).collect()
    }

    /// The numbers may have changed: large rooms are told soon.
    pub(super) fn presence_changed(&mut self) {
        if !self.is_large() && self.digest.told.is_none() {
            return;
        }
        if self.digest.due.is_none() {
            let now = Instant::now();
            let after = self.digest.told.map_or(now, |(_, at)| at + DIGEST_INTERVAL);
            self.digest.due = Some(after.max(now));
        }
    }

    pub(super) fn digest_at(&self) -> Option<Instant> {
        self.digest.due
    }

    pub(super) fn tell_presence(&mut self, now: Instant) {
        if self.digest.due.is_none_or(|due| due > now) {
            return;
        }
        self.digest.due = None;
        let presence = self.presence();
        if self.digest.told.is_some_and(|(told, _)| told == presence) {
            return;
        }
        self.digest.told = Some((presence, now));
        let text = outbox::encode(None, ServerMessage::Presence { presence });
        for member in self.members.values() {
            if let Some(outbox) = member.outbox() {
                outbox.send_latest_text(Topic::Presence, text.clone());
            }
        }
    }
}
