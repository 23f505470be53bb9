//! Breakout rooms: parts of a room in which people see and hear only each other. They belong to the
//! room's task like everything else of it, are kept as one document, and survive a restart.
//!
//! Who is moved keeps its WebSocket and its peer connection: the data plane takes the session into
//! another of its rooms, and slots fill anew.

use std::collections::BTreeMap;
use std::time::Duration;

use kall_shared::id::{Identity, RoomId};
use kall_shared::link::Request;
use kall_shared::signalling::{self, BreakoutAssign, ErrorCode, ServerMessage, limits};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::member::{Member, Place};
use super::messages::gone;
use super::{Room, now_utc, rfc3339};
use crate::domain::{Rejection, names, store_failed};

/// How long before the end everybody is warned, at most; half of the whole time if that is shorter.
const WARNING: Duration = Duration::from_secs(60);

/// Link version of the first data plane that moves sessions.
const MOVES_SINCE: u16 = 3;

/// The breakout rooms of a room, as they are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Breakouts {
    rooms: Vec<Breakout>,
    assign: BreakoutAssign,
    assigned: BTreeMap<Identity, RoomId>,
    open: bool,
    end: Option<End>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Breakout {
    id: RoomId,
    name: String,
}

/// When everybody returns; milliseconds since 1970.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct End {
    at: i64,
    warn_at: i64,
    warned: bool,
}

impl Breakouts {
    /// From the document that is kept; one that can't be read is none.
    pub(super) fn read(document: &str) -> Option<Self> {
        serde_json::from_str(document)
            .inspect_err(|error| tracing::error!(%error, "breakout rooms can't be read"))
            .ok()
    }

    /// Ids of all of them.
    pub(super) fn ids(&self) -> impl Iterator<Item = &RoomId> {
        self.rooms.iter().map(|room| &room.id)
    }

    fn has(&self, id: &RoomId) -> bool {
        self.ids().any(|own| own == id)
    }

    /// Where somebody belongs now.
    fn place_for(&self, identity: &Identity) -> Place {
        let assigned = self.assigned.get(identity).filter(|_| self.open);
        assigned.filter(|room| self.has(room)).cloned()
    }
}

fn instant_of(millis: i64) -> Instant {
    let ahead = millis - super::millis(OffsetDateTime::now_utc());
    Instant::now() + Duration::from_millis(u64::try_from(ahead).unwrap_or(0))
}

impl Room {
    /// As everybody sees them.
    pub(super) fn public_breakouts(&self) -> Option<signalling::Breakouts> {
        let breakouts = self.breakouts.as_ref()?;
        let ends_at = breakouts.end.and_then(|end| {
            let nanos = i128::from(end.at) * 1_000_000;
            OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()
        });
        let rooms = breakouts.rooms.iter().map(|room| {
            let assigned = breakouts.assigned.iter().filter(|(_, place)| **place == room.id);
            let here = |member: &&Member| member.place.as_ref() == Some(&room.id);
            signalling::Breakout {
                id: room.id.to_string(),
                name: room.name.clone(),
                assigned: assigned.map(|(identity, _)| identity.to_string()).collect(),
                present: self
                    .members
                    .values()
                    .filter(here)
                    .map(|member| member.identity.to_string())
                    .collect(),
            }
        });
        Some(signalling::Breakouts {
            open: breakouts.open,
            assign: breakouts.assign,
            ends_at: ends_at.map(rfc3339),
            rooms: rooms.collect(),
        })
    }

    pub(super) async fn breakouts_create(
        &mut self,
        count: u32,
        given: Vec<String>,
        assign: BreakoutAssign,
    ) -> Result<(), Rejection> {
        let named = given.len();
        if named > limits::BREAKOUTS {
            let message = format!("names: at most {}", limits::BREAKOUTS);
            return Err(Rejection::new(ErrorCode::BadMessage, message));
        }
        let count = count as usize;
        if !(1..=limits::BREAKOUTS).contains(&count) {
            let message = format!("count: 1 to {}", limits::BREAKOUTS);
            return Err(Rejection::new(ErrorCode::BadMessage, message));
        }
        let count = count.max(named);
        if self.breakouts.as_ref().is_some_and(|breakouts| breakouts.open) {
            let message = "breakout rooms are open: close them first";
            return Err(Rejection::new(ErrorCode::Conflict, message));
        }
        let mut rooms = Vec::with_capacity(count);
        for number in 1..=count {
            let name = match given.get(number - 1) {
                Some(name) => names::display_name(name)
                    .map_err(|error| Rejection::new(ErrorCode::BadMessage, format!("names: {error}")))?,
                None => format!("Room {number}"),
            };
            let id = RoomId::new(names::room_id()).map_err(super::messages::bad)?;
            rooms.push(Breakout { id, name });
        }
        let mut assigned = BTreeMap::new();
        if assign == BreakoutAssign::Random {
            let guests = self
                .members
                .values()
                .filter(|member| !member.moderates() && !member.is_resource());
            let mut guests: Vec<Identity> = guests.map(|member| member.identity.clone()).collect();
            guests.shuffle(&mut rand::rng());
            for (index, identity) in guests.into_iter().enumerate() {
                assigned.insert(identity, rooms[index % count].id.clone());
            }
        }
        self.change_breakouts(Some(Breakouts {
            rooms,
            assign,
            assigned,
            open: false,
            end: None,
        }))
        .await
    }

    pub(super) async fn breakout_assign(&mut self, whom: &Identity, room: Place) -> Result<(), Rejection> {
        self.present(whom)?;
        let mut breakouts = self.breakouts.clone().ok_or_else(none)?;
        match &room {
            Some(id) if !breakouts.has(id) => return Err(unknown(id)),
            Some(id) => breakouts.assigned.insert(whom.clone(), id.clone()),
            None => breakouts.assigned.remove(whom),
        };
        let open = breakouts.open;
        if open {
            self.move_to(whom, room).await?;
        }
        self.change_breakouts(Some(breakouts)).await
    }

    pub(super) async fn breakouts_open(&mut self, seconds: Option<u32>) -> Result<(), Rejection> {
        if seconds.is_some_and(|seconds| !(1..=limits::BREAKOUT_SECONDS).contains(&seconds)) {
            let message = format!("duration_seconds: 1 to {}", limits::BREAKOUT_SECONDS);
            return Err(Rejection::new(ErrorCode::BadMessage, message));
        }
        let mut breakouts = self.breakouts.clone().ok_or_else(none)?;
        if breakouts.open {
            return Err(Rejection::new(
                ErrorCode::Conflict,
                "breakout rooms are open already",
            ));
        }
        if let Some(info) = self.context.media.info()
            && info.version < MOVES_SINCE
        {
            let message = "the media server is of an older version and can't move anybody: restart it";
            return Err(Rejection::new(ErrorCode::MediaUnavailable, message));
        }
        breakouts.open = true;
        breakouts.end = seconds.map(|seconds| {
            let now = super::millis(now_utc());
            let whole = Duration::from_secs(u64::from(seconds));
            let at = now + i64::from(seconds) * 1000;
            End {
                at,
                warn_at: at - WARNING.min(whole / 2).as_millis() as i64,
                warned: false,
            }
        });
        self.change_breakouts(Some(breakouts)).await?;
        self.place_everybody().await;
        self.tell_breakouts();
        Ok(())
    }

    /// Somebody goes by itself.
    pub(super) async fn breakout_join(&mut self, identity: &Identity, room: Place) -> Result<(), Rejection> {
        let mut breakouts = self.breakouts.clone().ok_or_else(none)?;
        let member = self.members.get(identity).ok_or_else(gone)?;
        if breakouts.assign != BreakoutAssign::Choice && !member.moderates() {
            let message = "only moderators say who is in which breakout room";
            return Err(Rejection::new(ErrorCode::PermissionDenied, message));
        }
        if !breakouts.open {
            return Err(Rejection::new(
                ErrorCode::Conflict,
                "the breakout rooms are not open",
            ));
        }
        match &room {
            Some(id) if !breakouts.has(id) => return Err(unknown(id)),
            Some(id) => breakouts.assigned.insert(identity.clone(), id.clone()),
            None => breakouts.assigned.remove(identity),
        };
        self.move_to(identity, room).await?;
        self.change_breakouts(Some(breakouts)).await
    }

    pub(super) fn breakouts_broadcast(&self, text: String, from: String) -> Result<(), Rejection> {
        if text.trim().is_empty() || text.chars().count() > limits::CHAT_TEXT {
            let message = format!("text: 1 to {} characters", limits::CHAT_TEXT);
            return Err(Rejection::new(ErrorCode::BadMessage, message));
        }
        self.breakouts.as_ref().ok_or_else(none)?;
        self.broadcast(None, ServerMessage::Announcement { from, text });
        Ok(())
    }

    pub(super) async fn breakouts_close(&mut self) -> Result<(), Rejection> {
        let mut breakouts = self.breakouts.clone().ok_or_else(none)?;
        if !breakouts.open {
            return Err(Rejection::new(
                ErrorCode::Conflict,
                "the breakout rooms are not open",
            ));
        }
        breakouts.open = false;
        breakouts.end = None;
        self.change_breakouts(Some(breakouts)).await?;
        self.place_everybody().await;
        self.tell_breakouts();
        Ok(())
    }

    pub(super) async fn breakouts_remove(&mut self) -> Result<(), Rejection> {
        match &self.breakouts {
            // Gone already: who asks twice for it gets what it wants.
            None => return Ok(()),
            Some(breakouts) if breakouts.open => self.breakouts_close().await?,
            Some(_) => {}
        }
        self.change_breakouts(None).await
    }

    /// Keeps the new state, then it is in force, then everybody is told.
    async fn change_breakouts(&mut self, next: Option<Breakouts>) -> Result<(), Rejection> {
        let document = match &next {
            None => None,
            Some(next) => Some(serde_json::to_string(next).map_err(|error| {
                tracing::error!(%error, "breakout rooms can't be written");
                Rejection::new(ErrorCode::Internal, "the server could not keep that")
            })?),
        };
        let store = &self.context.store;
        let kept = store.keep_breakouts(self.id.as_str(), document.as_deref()).await;
        kept.map_err(|error| store_failed(&error))?;
        self.breakouts = next;
        self.route_breakouts();
        self.tell_breakouts();
        Ok(())
    }

    /// Events of sessions in breakout rooms are this room's.
    pub(super) fn route_breakouts(&self) {
        let ids = self.breakouts.iter().flat_map(Breakouts::ids).cloned();
        self.context.media.route_parts(&self.id, ids.collect());
    }

    fn tell_breakouts(&self) {
        self.broadcast(
            None,
            ServerMessage::Breakouts {
                breakouts: self.public_breakouts(),
            },
        );
    }

    /// Moves everybody to where they belong.
    async fn place_everybody(&mut self) {
        for identity in self.members.keys().cloned().collect::<Vec<_>>() {
            let place = self.assigned_place(&identity);
            // Moderators go where they choose while the rooms are open.
            let roams = self.members.get(&identity).is_some_and(Member::moderates) && place.is_none();
            if roams && self.breakouts.as_ref().is_some_and(|breakouts| breakouts.open) {
                continue;
            }
            if let Err(rejection) = self.move_to(&identity, place).await {
                tracing::warn!(room = %self.id, %identity, %rejection, "could not be moved");
            }
        }
    }

    /// Where somebody belongs now.
    pub(super) fn assigned_place(&self, identity: &Identity) -> Place {
        self.breakouts
            .as_ref()
            .and_then(|breakouts| breakouts.place_for(identity))
    }

    /// The next time something happens to breakout rooms by itself.
    pub(super) fn breakouts_at(&self) -> Option<Instant> {
        let end = self.breakouts.as_ref().and_then(|breakouts| breakouts.end)?;
        Some(instant_of(if end.warned { end.at } else { end.warn_at }))
    }

    /// Warns of the end, and ends.
    pub(super) async fn run_breakouts(&mut self) {
        let now = super::millis(now_utc());
        let Some(breakouts) = &mut self.breakouts else {
            return;
        };
        let Some(end) = &mut breakouts.end else { return };
        if end.at <= now {
            if let Err(rejection) = self.breakouts_close().await {
                tracing::error!(room = %self.id, %rejection, "breakout rooms could not be closed");
                // Tried again when the database is back: not in a loop.
                if let Some(end) = self
                    .breakouts
                    .as_mut()
                    .and_then(|breakouts| breakouts.end.as_mut())
                {
                    end.at = now + WARNING.as_millis() as i64;
                }
            }
        } else if end.warn_at <= now && !end.warned {
            end.warned = true;
            let left = u32::try_from((end.at - now + 999) / 1000).unwrap_or(0);
            self.broadcast(None, ServerMessage::BreakoutsEnding { seconds: left });
        }
    }

    /// Notes who is somewhere that is no more: a restart came between.
    pub(super) fn recall_strays(&mut self) {
        let valid = |place: &RoomId| {
            let breakouts = self.breakouts.as_ref();
            breakouts.is_some_and(|breakouts| breakouts.open && breakouts.has(place))
        };
        let strays = self
            .members
            .values()
            .filter(|member| member.place.as_ref().is_some_and(|place| !valid(place)));
        self.strays = strays.map(|member| member.identity.clone()).collect();
    }

    /// Moves them back.
    pub(super) async fn return_strays(&mut self) {
        for identity in std::mem::take(&mut self.strays) {
            let place = self.assigned_place(&identity);
            if let Err(rejection) = self.move_to(&identity, place).await {
                tracing::warn!(room = %self.id, %identity, %rejection, "a stray could not be moved");
            }
        }
    }

    /// Moves somebody, its media included, to a breakout room or to the main one.
    pub(super) async fn move_to(&mut self, identity: &Identity, to: Place) -> Result<(), Rejection> {
        let member = self.members.get(identity).ok_or_else(gone)?;
        let from = member.place.clone();
        if from == to {
            return Ok(());
        }
        if let Some(session) = &member.session {
            let request = Request::MoveSession {
                session: session.id,
                room: to.clone().unwrap_or_else(|| self.id.clone()),
            };
            let moved = self.context.media.clone().request(request).await;
            moved.map_err(super::media::media_error)?;
        }
        self.depart(identity, &from);
        let member = self.members.get_mut(identity).ok_or_else(gone)?;
        member.place = to.clone();
        self.arrive(identity, &to);
        tracing::info!(room = %self.id, %identity, ?to, "moved");
        Ok(())
    }

    /// What leaving a place means for those who stay, and for the slots of both.
    fn depart(&mut self, identity: &Identity, from: &Place) {
        if self.speakers.get(from) == Some(identity) {
            self.speakers.remove(from);
        }
        let own: Vec<_> = self.members.get(identity).map_or_else(Vec::new, |member| {
            let tracks = member.session.iter().flat_map(|session| &session.tracks);
            tracks.map(|track| track.id.clone()).collect()
        });
        for member in self.members.values_mut().filter(|member| member.place == *from) {
            let mover = member.identity == *identity;
            let slots = member.session.iter_mut().flat_map(|session| &mut session.slots);
            for slot in slots {
                if mover || slot.wanted.as_ref().is_some_and(|track| own.contains(track)) {
                    slot.release();
                }
            }
        }
        let left = ServerMessage::ParticipantLeft {
            identity: identity.to_string(),
        };
        self.broadcast_in(from, Some(identity), left);
    }

    /// What coming into a place means for those who are there, and for the one who comes.
    fn arrive(&mut self, identity: &Identity, to: &Place) {
        let Some(member) = self.members.get(identity) else {
            return;
        };
        let joined = ServerMessage::ParticipantJoined {
            identity: identity.to_string(),
            name: member.name.clone(),
            role: member.role,
        };
        let tracks = member.session.iter().flat_map(|session| &session.tracks);
        let tracks = tracks.filter(|track| track.started.is_some());
        let tracks: Vec<_> = tracks.map(|track| track.announcement(identity)).collect();
        let moved = ServerMessage::RoomMoved {
            breakout: to.as_ref().map(ToString::to_string),
            name: self.name_of(to),
            participants: self.visible_to(identity),
        };
        self.broadcast_in(to, Some(identity), joined);
        for track in tracks {
            self.broadcast_in(to, Some(identity), track);
        }
        self.answer(identity, None, moved);
        self.send_speaker(identity);
        self.fill_all_slots();
    }

    fn name_of(&self, place: &Place) -> String {
        let breakouts = self.breakouts.as_ref();
        let breakout = place.as_ref().and_then(|place| {
            let mut rooms = breakouts?.rooms.iter();
            rooms.find(|room| room.id == *place)
        });
        breakout.map_or_else(|| self.row.name.clone(), |breakout| breakout.name.clone())
    }
}

fn none() -> Rejection {
    Rejection::new(ErrorCode::BreakoutNotFound, "there are no breakout rooms")
}

fn unknown(id: &RoomId) -> Rejection {
    Rejection::new(
        ErrorCode::BreakoutNotFound,
        format!("room: no breakout room '{id}'"),
    )
}
