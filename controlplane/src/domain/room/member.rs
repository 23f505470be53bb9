//! One participant of a room, its media session, and the label that lets it survive a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use kall_shared::id::{Identity, Mid, Rid, RoomId, SessionId, TrackId};
use kall_shared::link::{Request, SlotSnapshot};
use kall_shared::media::{Kind, RemoteTransport, SessionDescription, SessionParams, SlotWish, Source};
use kall_shared::signalling::{self, Permissions, Role, ServerMessage};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::handle::{MediaSession, MediaTrack};
use super::resource::{Purpose, View};
use crate::domain::names;
use crate::domain::outbox::Outbox;
use crate::domain::permission::{self, Narrowing};

/// Unwanted tracks in a label: 48 bytes each at most, so half of what a label may have.
const LABEL_UNWANTED_MAX: usize = 256;

/// Whether the participant can be reached.
#[derive(Debug)]
pub(super) enum Presence {
    /// By this connection.
    Online(Outbox),
    /// Not now; it is gone for good at this time.
    Waiting(Instant),
    /// By its media session alone, and is gone with it: it came over WHIP or WHEP.
    Media(Resource),
}

/// A WHIP or WHEP session as its URL names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Resource {
    /// Last part of the URL.
    pub(super) id: String,
    pub(super) purpose: Purpose,
}

/// Numbers of the participant's resume tokens.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct ResumeNumbers {
    /// Tokens below this one were replaced by a used successor.
    pub(super) used: u32,
    /// The last one given out.
    pub(super) issued: u32,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) identity: Identity,
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) narrowing: Narrowing,
    pub(super) joined_at: OffsetDateTime,
    pub(super) presence: Presence,
    pub(super) resume: ResumeNumbers,
    pub(super) auto_subscribe: bool,
    pub(super) address: IpAddr,
    /// Sources named by `publish`, by line.
    pub(super) sources: BTreeMap<Mid, Source>,
    /// Sources that are muted, also for tracks yet to come.
    pub(super) muted: MutedSources,
    /// Tracks the client unsubscribed: they do not come back by themselves.
    pub(super) unwanted: BTreeSet<TrackId>,
    /// The room's last turn to speak that it had; zero before any.
    pub(super) spoke: u64,
    pub(super) hand: bool,
    /// What a kick makes worthless.
    pub(super) ticket: Ticket,
    /// The breakout room it is in; none: the main room.
    pub(super) place: Place,
    /// Whether the others were told of it by name.
    pub(super) announced: bool,
    /// Whether it, or whoever it replaced, was let into the data plane: it comes back where newcomers are refused.
    pub(super) had_session: bool,
    pub(super) session: Option<Session>,
}

/// Where in a room somebody is: a breakout room, or none for the main one.
pub(super) type Place = Option<RoomId>;

/// What somebody came in with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Id of the access token, or one made up for a guest without.
    pub jti: String,
    /// When it would expire, in seconds since 1970.
    pub expires_at: i64,
}

/// One flag per source.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct MutedSources {
    camera: bool,
    microphone: bool,
    screen: bool,
    screen_audio: bool,
}

impl MutedSources {
    pub(super) fn get(self, source: Source) -> bool {
        match source {
            Source::Camera => self.camera,
            Source::Microphone => self.microphone,
            Source::Screen => self.screen,
            Source::ScreenAudio => self.screen_audio,
        }
    }

    pub(super) fn set(&mut self, source: Source, muted: bool) {
        *match source {
            Source::Camera => &mut self.camera,
            Source::Microphone => &mut self.microphone,
            Source::Screen => &mut self.screen,
            Source::ScreenAudio => &mut self.screen_audio,
        } = muted;
    }
}

/// A media session of the data plane.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// The process that has it.
    pub(super) instance: u64,
    /// The request that opened it.
    pub(super) request: u64,
    pub(super) negotiated: Negotiated,
    /// The server's ICE user fragment: names one run of ICE.
    pub(super) ufrag: String,
    pub(super) params: SessionParams,
    pub(super) tracks: Vec<Track>,
    pub(super) slots: Vec<Slot>,
}

/// What the next answer needs beyond the parameters (RFC 8866 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Negotiated {
    /// Session id of the client's `o=` line: tells a new peer connection from a new offer.
    pub(super) client: u64,
    /// Version of the last answer's `o=` line.
    pub(super) version: u32,
    /// Runs of ICE before the one that goes on; absent in labels of older versions.
    #[serde(default)]
    pub(super) run: u32,
}

/// A publication.
#[derive(Debug, Clone)]
pub(super) struct Track {
    pub(super) id: TrackId,
    pub(super) mid: Mid,
    pub(super) source: Source,
    pub(super) muted: bool,
    pub(super) simulcast: bool,
    /// Place in the room's order of publication, once media flows.
    pub(super) started: Option<u64>,
    /// Which layers anybody takes, as the data plane said last; empty before it said anything.
    pub(super) layers: Vec<(Rid, bool)>,
}

impl Track {
    pub(super) fn announcement(&self, from: &Identity) -> ServerMessage {
        ServerMessage::TrackPublished {
            track_id: self.id.to_string(),
            kind: self.source.kind(),
            source: self.source,
            from: from.to_string(),
            mid: self.mid.to_string(),
            muted: self.muted,
            simulcast: self.simulcast,
        }
    }
}

/// A receiving line.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) mid: Mid,
    pub(super) kind: Kind,
    /// What was asked of the data plane; video only, it fills audio slots itself.
    pub(super) wanted: Option<TrackId>,
    /// Whether the client asked for it: what came by itself may give way to whoever speaks.
    pub(super) asked: bool,
    /// What of it is wanted.
    pub(super) wish: SlotWish,
    /// What the data plane said last.
    pub(super) state: SlotSnapshot,
}

impl Slot {
    pub(super) fn new(mid: Mid, kind: Kind) -> Self {
        let state = SlotSnapshot {
            mid: mid.clone(),
            epoch: 0,
            track: None,
            reason: None,
            layer: None,
            paused: false,
            wish: SlotWish::default(),
        };
        Self {
            mid,
            kind,
            wanted: None,
            asked: false,
            wish: SlotWish::default(),
            state,
        }
    }

    /// Nothing is wanted here any more.
    pub(super) fn release(&mut self) {
        self.wanted = None;
        self.asked = false;
        self.wish = SlotWish::default();
    }

    /// Whether a client sees the same in both states: what it asked for itself is no news to it.
    pub(super) fn looks_like(&self, state: &SlotSnapshot) -> bool {
        let known = &self.state;
        (known.epoch, &known.track, known.layer, known.paused, known.reason)
            == (state.epoch, &state.track, state.layer, state.paused, state.reason)
    }
}

impl Session {
    /// A session as it was just described by the data plane, nothing flowing yet.
    pub(super) fn new(
        (id, instance, request): (SessionId, u64, u64),
        negotiated: Negotiated,
        params: SessionParams,
        description: &SessionDescription,
    ) -> Self {
        let mut session = Self {
            id,
            instance,
            request,
            negotiated,
            ufrag: String::new(),
            params,
            tracks: Vec::new(),
            slots: Vec::new(),
        };
        session.refresh(description);
        session
    }

    /// Notes what a slot is to show from now on, and gives the request that makes it so.
    pub(super) fn set_slot(&mut self, mid: Mid, track: Option<TrackId>, wish: SlotWish) -> Request {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.mid == mid) {
            slot.wanted.clone_from(&track);
            slot.wish = wish;
        }
        Request::SetSlot {
            session: self.id,
            mid,
            track,
            wish,
        }
    }

    /// Number of the run of ICE that goes on with these parameters: other credentials begin another one (RFC 8839
    /// section 4.4.1.1.1).
    pub(super) fn run_with(&self, transport: &RemoteTransport) -> u32 {
        let own = &self.params.transport;
        let restarts = (&own.ufrag, &own.pwd) != (&transport.ufrag, &transport.pwd);
        self.negotiated.run.saturating_add(u32::from(restarts))
    }

    pub(super) fn has_free_video_slot(&self) -> bool {
        let mut video = self.slots.iter().filter(|slot| slot.kind == Kind::Video);
        video.any(|slot| slot.wanted.is_none())
    }

    /// Brings tracks and slots in line with `params` and a new description; what stays keeps its
    /// state. Returns the tracks that are gone.
    pub(super) fn refresh(&mut self, description: &SessionDescription) -> Vec<Track> {
        self.ufrag.clone_from(&description.ufrag);
        let mut old_tracks = std::mem::take(&mut self.tracks);
        let old_slots = std::mem::take(&mut self.slots);
        for line in &self.params.lines {
            if let Some(publish) = &line.publish {
                let kept = old_tracks.iter().position(|track| track.id == publish.track);
                self.tracks.push(match kept {
                    Some(at) => old_tracks.swap_remove(at),
                    None => Track {
                        id: publish.track.clone(),
                        mid: line.mid.clone(),
                        source: publish.source,
                        muted: publish.muted,
                        simulcast: publish.rids.len() > 1,
                        started: None,
                        layers: Vec::new(),
                    },
                });
            }
            if description.slots.iter().any(|slot| slot.mid == line.mid) {
                let kept = old_slots.iter().find(|slot| slot.mid == line.mid);
                self.slots.push(
                    kept.cloned()
                        .unwrap_or_else(|| Slot::new(line.mid.clone(), line.kind)),
                );
            }
        }
        old_tracks
    }
}

/// What a session's label holds: enough to carry on after a restart.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Label {
    identity: Identity,
    name: String,
    role: Role,
    narrowing: Narrowing,
    /// Milliseconds since 1970.
    joined_at: i64,
    resume: ResumeNumbers,
    auto_subscribe: bool,
    address: IpAddr,
    muted: MutedSources,
    unwanted: BTreeSet<TrackId>,
    #[serde(default)]
    hand: bool,
    /// Absent in labels of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ticket: Option<Ticket>,
    pub(super) negotiated: Negotiated,
    /// Absent for whoever has a WebSocket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<Resource>,
}

impl Ticket {
    /// For somebody who came without a token.
    #[must_use]
    pub fn made_up() -> Self {
        Self {
            jti: format!("guest-{}", names::random_text(16)),
            expires_at: 0,
        }
    }
}

impl Member {
    /// Whether it may moderate.
    pub(super) fn moderates(&self) -> bool {
        self.permissions().admin
    }

    pub(super) fn permissions(&self) -> Permissions {
        permission::narrowed(self.role, self.narrowing)
    }

    pub(super) fn is_connection(&self, id: u64) -> bool {
        matches!(&self.presence, Presence::Online(outbox) if outbox.id() == id)
    }

    pub(super) fn outbox(&self) -> Option<&Outbox> {
        match &self.presence {
            Presence::Online(outbox) => Some(outbox),
            Presence::Waiting(_) | Presence::Media(_) => None,
        }
    }

    pub(super) fn resource(&self) -> Option<&Resource> {
        match &self.presence {
            Presence::Media(resource) => Some(resource),
            Presence::Online(_) | Presence::Waiting(_) => None,
        }
    }

    /// Whether it is here by its media session alone.
    pub(super) fn is_resource(&self) -> bool {
        self.resource().is_some()
    }

    /// What a WHEP player watches; none for everybody else.
    pub(super) fn view(&self) -> Option<&View> {
        match &self.resource()?.purpose {
            Purpose::Play(view) => Some(view),
            Purpose::Publish => None,
        }
    }

    /// Whether its audio slots carry what was asked for instead of who speaks.
    pub(super) fn chooses_sound(&self) -> bool {
        self.view().is_some_and(|view| *view != View::Stage)
    }

    /// As the label of its session; `negotiated` is the session's, or of the one being opened.
    pub(super) fn label(&self, negotiated: Negotiated) -> Vec<u8> {
        let label = Label {
            identity: self.identity.clone(),
            name: self.name.clone(),
            role: self.role,
            narrowing: self.narrowing,
            joined_at: millis(self.joined_at),
            resume: self.resume,
            auto_subscribe: self.auto_subscribe,
            address: self.address,
            muted: self.muted,
            unwanted: self.unwanted.iter().take(LABEL_UNWANTED_MAX).cloned().collect(),
            hand: self.hand,
            ticket: Some(self.ticket.clone()),
            negotiated,
            resource: self.resource().cloned(),
        };
        serde_json::to_vec(&label).expect("a label has string keys and finite numbers")
    }

    /// The participant a label speaks of; one with a WebSocket waits for a resume until `until`.
    pub(super) fn from_label(label: &[u8], place: Place, until: Instant) -> Option<(Self, Negotiated)> {
        let label: Label = serde_json::from_slice(label).ok()?;
        let joined_at =
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(label.joined_at) * 1_000_000).ok()?;
        let member = Self {
            identity: label.identity,
            name: label.name,
            role: label.role,
            narrowing: label.narrowing,
            joined_at,
            presence: match label.resource {
                Some(resource) => Presence::Media(resource),
                None => Presence::Waiting(until),
            },
            resume: label.resume,
            auto_subscribe: label.auto_subscribe,
            address: label.address,
            sources: BTreeMap::new(),
            muted: label.muted,
            unwanted: label.unwanted,
            spoke: 0,
            hand: label.hand,
            ticket: label.ticket.unwrap_or_else(Ticket::made_up),
            place,
            announced: true,
            had_session: true,
            session: None,
        };
        Some((member, label.negotiated))
    }

    /// Its media session, if it has one.
    pub(super) fn media_session(&self) -> Option<MediaSession> {
        let session = self.session.as_ref()?;
        let tracks = session.tracks.iter().map(|track| MediaTrack {
            track: track.id.clone(),
            source: track.source,
            muted: track.muted,
        });
        let video = session.slots.iter().filter(|slot| slot.kind == Kind::Video);
        Some(MediaSession {
            session: session.id,
            identity: self.identity.clone(),
            name: self.name.clone(),
            tracks: tracks.collect(),
            wishes: video.map(|slot| (slot.mid.clone(), slot.wish)).collect(),
        })
    }

    /// As others see it: only tracks that have begun.
    pub(super) fn public(&self) -> signalling::Participant {
        let tracks = self.session.iter().flat_map(|session| &session.tracks);
        signalling::Participant {
            identity: self.identity.to_string(),
            name: self.name.clone(),
            role: self.role,
            joined_at: rfc3339(self.joined_at),
            hand: self.hand,
            tracks: tracks
                .filter(|track| track.started.is_some())
                .map(|track| signalling::Track {
                    track_id: track.id.to_string(),
                    kind: track.source.kind(),
                    source: track.source,
                    muted: track.muted,
                    simulcast: track.simulcast,
                })
                .collect(),
        }
    }
}

/// RFC 3339 in UTC with `Z`, to the second.
#[must_use]
pub fn rfc3339(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    let whole = time.replace_nanosecond(0).unwrap_or(time);
    whole
        .format(&Rfc3339)
        .expect("years 0 to 9999 can be written in RFC 3339")
}

/// Milliseconds since 1970.
#[must_use]
pub fn millis(time: OffsetDateTime) -> i64 {
    (time.unix_timestamp_nanos() / 1_000_000) as i64
}
