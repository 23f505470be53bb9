//! Who speaks: everybody is told, and sees it.

use kall_shared::id::Identity;
use kall_shared::media::{Kind, Source};
use kall_shared::signalling::ServerMessage;

use super::member::{Member, Session};
use super::slots::{self, Candidate};
use super::subscriptions::{Offered, seen_by};
use super::{Room, wish};
use crate::domain::outbox::{Topic, encode};

impl Room {
    /// Somebody speaks to the room from now on.
    pub(super) fn speaks(&mut self, identity: &Identity) {
        let Some(member) = self.members.get_mut(identity) else {
            return;
        };
        let place = member.place.clone();
        if self.speakers.get(&place) == Some(identity) {
            return;
        }
        self.turns += 1;
        member.spoke = self.turns;
        self.speakers.insert(place.clone(), identity.clone());
        let message = ServerMessage::ActiveSpeaker {
            identity: identity.to_string(),
        };
        let text = encode(None, message);
        for member in self.members.values().filter(|member| member.place == place) {
            if let Some(outbox) = member.outbox() {
                outbox.send_latest_text(Topic::ActiveSpeaker, text.clone());
            }
        }
        self.show_speaker(identity);
    }

    /// Tells a newcomer who speaks.
    pub(super) fn send_speaker(&self, identity: &Identity) {
        let place = self.members.get(identity).map(|member| &member.place);
        let speaker = place.and_then(|place| self.speakers.get(place));
        if let (Some(speaker), Some(outbox)) = (speaker, self.outbox(identity)) {
            let message = ServerMessage::ActiveSpeaker {
                identity: speaker.to_string(),
            };
            outbox.send_latest(Topic::ActiveSpeaker, message);
        }
    }

    /// Whoever lets slots fill by themselves sees who speaks, even if all are taken.
    fn show_speaker(&mut self, speaker: &Identity) {
        let players = self.members.values().filter(|member| member.view().is_some());
        for player in players.map(|player| player.identity.clone()).collect::<Vec<_>>() {
            self.fill_slots(&player);
        }
        let offered = self.offered(Kind::Video);
        let Some(camera) = self.camera_of(speaker) else {
            return;
        };
        let Some(member) = self.members.get(speaker) else {
            return;
        };
        let candidates = seen_by(member, &offered, |_, _| true);
        let place = self.place_of(speaker);
        let receivers = self.members.values().filter(|member| member.place == place);
        for receiver in receivers
            .map(|member| member.identity.clone())
            .collect::<Vec<_>>()
        {
            if receiver != *speaker {
                self.make_way(&receiver, &offered, &candidates, &camera);
            }
        }
    }

    /// What there is to see of somebody.
    fn camera_of(&self, identity: &Identity) -> Option<Candidate> {
        let member = self.members.get(identity)?;
        let mut tracks = member.session.iter().flat_map(|session| &session.tracks);
        tracks.find_map(|track| {
            let order = track.started?;
            (track.source == Source::Camera && !track.muted).then(|| Candidate {
                track: track.id.clone(),
                source: track.source,
                spoke: member.spoke,
                order,
            })
        })
    }

    /// Shows a camera to one receiver, in a free slot or in one that came by itself.
    fn make_way(
        &mut self,
        receiver: &Identity,
        offered: &[Offered],
        candidates: &[Candidate],
        camera: &Candidate,
    ) {
        let free = |member: &Member| member.session.as_ref().is_some_and(Session::has_free_video_slot);
        if self.members.get(receiver).is_some_and(free) {
            return self.fill_slots_from(receiver, offered);
        }
        let Some(member) = self.members.get_mut(receiver) else {
            return;
        };
        if !member.auto_subscribe || !member.permissions().subscribe {
            return;
        }
        let Some(session) = &mut member.session else {
            return;
        };
        let Some(mid) = slots::give_way(&session.slots, candidates, camera, &member.unwanted) else {
            return;
        };
        let wish = wish::of_source(camera.source);
        let request = session.set_slot(mid, Some(camera.track.clone()), wish);
        self.context.media.tell(request);
    }
}
