//! Brings a room in line with what the data plane really has: after a restart of either process, and
//! after events that were lost.

use std::collections::BTreeSet;

use kall_shared::id::{Identity, SessionId, TrackId};
use kall_shared::link::{Request, SessionSnapshot};
use kall_shared::media::Kind;
use kall_shared::signalling::ServerMessage;
use tokio::time::Instant;

use super::member::{Member, Presence, Session};
use super::{RESUME_WINDOW, Room};

impl Room {
    /// Brings the room in line with what the data plane really has: after every connect, be it this
    /// process that is new or the other one, and after lost events.
    pub(super) fn reconcile(&mut self, instance: u64, up_to: u64, snapshots: Vec<SessionSnapshot>) {
        let alive: BTreeSet<SessionId> = snapshots.iter().map(|snapshot| snapshot.session).collect();
        let lost = |session: &Session| {
            session.instance != instance || (session.request <= up_to && !alive.contains(&session.id))
        };
        let bereft: Vec<Identity> = self
            .members
            .values()
            .filter(|member| member.session.as_ref().is_some_and(lost))
            .map(|member| member.identity.clone())
            .collect();
        for identity in &bereft {
            self.lose_session(identity);
        }
        let mut adopted = Vec::new();
        let speaks = |snapshot: &SessionSnapshot| snapshot.tracks.iter().any(|track| track.speaks);
        // One for each room that people are in: the main one and its breakout rooms.
        let speakers = snapshots.iter().filter(|snapshot| speaks(snapshot));
        let speakers: Vec<SessionId> = speakers.map(|snapshot| snapshot.session).collect();
        for snapshot in snapshots {
            if self.owner(snapshot.session).is_some() {
                self.refresh_from(&snapshot);
            } else {
                adopted.extend(self.adopt(instance, snapshot));
            }
        }
        // Their order of publication is not kept; who came first is close to it.
        adopted.sort();
        for (_, identity, track) in adopted {
            let session = self
                .members
                .get_mut(&identity)
                .and_then(|member| member.session.as_mut());
            let track = session.and_then(|own| own.tracks.iter_mut().find(|own| own.id == track));
            if let Some(track) = track {
                track.started = Some(self.begun);
                self.begun += 1;
            }
        }
        for speaker in speakers {
            if let Some(identity) = self.owner(speaker) {
                self.speaks(&identity);
            }
        }
        self.recall_strays();
        for identity in &bereft {
            if let Some(outbox) = self.outbox(identity) {
                outbox.send(None, ServerMessage::MediaRestarted);
            }
        }
        self.fill_all_slots();
    }

    /// A session this room knows: what events said meanwhile may have been lost.
    fn refresh_from(&mut self, snapshot: &SessionSnapshot) {
        for track in snapshot.tracks.iter().filter(|track| track.started) {
            self.track_started(snapshot.session, &track.track);
        }
        for track in &snapshot.tracks {
            self.dynacast(snapshot.session, &track.track, track.layers.clone());
        }
        for state in &snapshot.slots {
            self.slot_changed(snapshot.session, state);
        }
    }

    /// A session of before this process: its participant waits for a resume from now on. Returns
    /// its tracks that have begun.
    fn adopt(&mut self, instance: u64, snapshot: SessionSnapshot) -> Vec<(i128, Identity, TrackId)> {
        // Where the session is decides, not what was meant to become of it.
        let place = (snapshot.room != self.id).then(|| snapshot.room.clone());
        let restored = Member::from_label(&snapshot.label, place, Instant::now() + RESUME_WINDOW);
        let Some((mut member, negotiated)) = restored else {
            tracing::warn!(session = %snapshot.session, "closing a session with an unreadable label");
            self.context.media.tell(Request::CloseSession {
                session: snapshot.session,
            });
            return Vec::new();
        };
        if self.members.contains_key(&member.identity) {
            // A leftover of an attempt whose answer never came.
            self.context.media.tell(Request::CloseSession {
                session: snapshot.session,
            });
            return Vec::new();
        }
        let mut session = Session::new(
            (snapshot.session, instance, 0),
            negotiated,
            snapshot.params,
            &snapshot.description,
        );
        let mut begun = Vec::new();
        let since = member.joined_at.unix_timestamp_nanos();
        for track in &mut session.tracks {
            member.sources.insert(track.mid.clone(), track.source);
            if let Some(state) = snapshot.tracks.iter().find(|state| state.track == track.id) {
                track.muted = state.muted;
                track.layers.clone_from(&state.layers);
                if state.started {
                    begun.push((since, member.identity.clone(), track.id.clone()));
                }
            }
        }
        for state in snapshot.slots {
            if let Some(slot) = session.slots.iter_mut().find(|slot| slot.mid == state.mid) {
                if slot.kind == Kind::Video || member.chooses_sound() {
                    slot.wanted.clone_from(&state.track);
                    slot.wish = state.wish;
                    // Somebody has said how he wants it, if it is not as everything is.
                    slot.asked = state.wish.max_height.is_some() || state.wish.max_width.is_some();
                }
                slot.state = state;
            }
        }
        tracing::info!(room = %self.id, identity = %member.identity, session = %session.id, "adopted");
        member.session = Some(session);
        member.announced = self.announces(member.role);
        if let Presence::Waiting(until) = member.presence {
            self.expire_by(until);
        }
        self.members.insert(member);
        begun
    }
}
