//! Participants without a WebSocket: WHIP publishers (RFC 9725) and WHEP players
//! (draft-ietf-wish-whep). Each is named by a resource URL, is here as long as its media session lives,
//! and is never spoken to: what a client would be told, these are not.
//!
//! A player says what it watches when it comes. Its slots then follow the room by themselves.

use std::net::IpAddr;

use kall_shared::id::{Identity, TrackId};
use kall_shared::link::{Request, Response};
use kall_shared::media::{Kind, SlotWish};
use kall_shared::signalling::{ErrorCode, Role, ServerMessage};
use serde::{Deserialize, Serialize};

use super::member::{Member, Negotiated, Presence, Resource, ResumeNumbers, Ticket};
use super::messages::gone;
use super::slots::{self, Candidate};
use super::{Room, media, now_utc, wish};
use crate::domain::password::Check;
use crate::domain::permission::{self, Narrowing};
use crate::domain::{Rejection, names};
use crate::media::MediaError;
use crate::sdp;

/// What a media session without a WebSocket is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// WHIP: it sends.
    Publish,
    /// WHEP: it receives.
    Play(View),
}

/// What a player watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Whatever the room shows first, and the sound of everybody.
    Stage,
    /// One track, and nothing else.
    Track(TrackId),
    /// One participant's picture and sound.
    Participant(Identity),
}

impl Purpose {
    /// One direction only, whatever the role allows.
    fn narrow(&self, permissions: Narrowing) -> Narrowing {
        match self {
            Self::Publish => Narrowing {
                subscribe: Some(false),
                ..permissions
            },
            Self::Play(_) => Narrowing {
                publish: Some(false),
                ..permissions
            },
        }
    }
}

/// A newcomer whose token and password were looked at.
#[derive(Debug)]
pub struct AttachRequest {
    /// Who it says it is, from a token; a guest of an open room has none.
    pub identity: Option<Identity>,
    /// Display name.
    pub name: String,
    /// What it will be.
    pub role: Role,
    /// Narrows the role.
    pub permissions: Narrowing,
    /// What came of its password.
    pub password: Check,
    /// Where it comes from, for the class of candidates it can use.
    pub address: IpAddr,
    /// What it wants to do.
    pub purpose: Purpose,
    /// What it came with.
    pub ticket: Ticket,
    /// Its offer.
    pub offer: sdp::Offer,
}

/// A newcomer that was let in.
#[derive(Debug)]
pub struct Attached {
    /// Names the session in its URL.
    pub resource: String,
    /// Who it is.
    pub identity: Identity,
    /// The answer's text.
    pub answer: String,
    /// Names this run of ICE.
    pub ice_session: String,
}

/// A WHIP or WHEP session as it is now.
#[derive(Debug, Clone)]
pub struct ResourceInfo {
    /// Whose it is.
    pub identity: Identity,
    /// Whether it sends: what `/whip` made is not found below `/whep`.
    pub publishes: bool,
    /// Names this run of ICE.
    pub ice_session: String,
    /// The peer's user fragment and password in it.
    pub remote: (String, String),
}

/// The server's half of a new run of ICE.
#[derive(Debug, Clone)]
pub struct Restarted {
    /// Runs that the session had before.
    pub run: u32,
    /// User fragment; also names this run.
    pub ufrag: String,
    /// Password.
    pub pwd: String,
    /// Where the data plane is reached, best first.
    pub addresses: Vec<IpAddr>,
    /// The port there.
    pub udp_port: u16,
    /// The port for connections, if it takes them.
    pub tcp_port: Option<u16>,
}

impl Room {
    pub(super) async fn attach(&mut self, request: AttachRequest) -> Result<Attached, Rejection> {
        let AttachRequest {
            identity,
            name,
            role,
            permissions,
            password,
            address,
            purpose,
            ticket,
            offer,
        } = request;
        let identity = identity.unwrap_or_else(|| self.guest_identity());
        let role = self.granted_role(&identity, role);
        self.admit(&identity, role, false, password, address)?;
        if self.has_lobby() && !permission::of(role).admin {
            let message = "the room has a lobby: only moderators come in without being let in";
            return Err(Rejection::new(ErrorCode::PermissionDenied, message));
        }
        self.check_view(&purpose)?;
        let resource = Resource {
            id: names::random_text(names::RESOURCE_LEN),
            purpose,
        };
        let id = resource.id.clone();
        let member = Member {
            identity: identity.clone(),
            name,
            role,
            narrowing: resource.purpose.narrow(permissions),
            joined_at: now_utc(),
            presence: Presence::Media(resource),
            resume: ResumeNumbers::default(),
            auto_subscribe: true,
            spoke: 0,
            hand: false,
            ticket,
            place: None,
            announced: self.announces(role),
            had_session: self.had_session(&identity),
            address,
            sources: std::collections::BTreeMap::new(),
            muted: Default::default(),
            unwanted: std::collections::BTreeSet::new(),
            session: None,
        };
        let permissions = member.permissions();
        if !permissions.publish && !permissions.subscribe {
            let message = "the role does not allow this direction";
            return Err(Rejection::new(ErrorCode::PermissionDenied, message));
        }
        let params = self.accept(&member, &offer)?;
        if !params
            .lines
            .iter()
            .any(|line| line.publish.is_some() || line.slot)
        {
            let message =
                "sdp: no line in the direction of this endpoint with a codec that is forwarded here";
            return Err(Rejection::new(ErrorCode::SdpInvalid, message));
        }
        let announcement = ServerMessage::ParticipantJoined {
            identity: identity.to_string(),
            name: member.name.clone(),
            role,
        };
        // Only now, as everything that can be wrong with the newcomer was looked at.
        self.replace(&identity);
        let announced = member.announced;
        self.members.insert(member);
        let answer = match self.establish(&identity, &offer, params).await {
            Ok(answer) => answer,
            Err(rejection) => {
                self.end_session(&identity);
                self.members.remove(&identity);
                return Err(rejection);
            }
        };
        if announced {
            self.broadcast_in(&None, Some(&identity), announcement);
        }
        self.presence_changed();
        self.claim_sound(&identity);
        self.established(&identity);
        tracing::info!(room = %self.id, %identity, ?role, resource = id, "attached");
        let info = self.resource(&id).ok_or_else(gone)?;
        Ok(Attached {
            resource: id,
            identity,
            answer,
            ice_session: info.ice_session,
        })
    }

    /// A track or a participant that a player names has to be there.
    fn check_view(&self, purpose: &Purpose) -> Result<(), Rejection> {
        match purpose {
            Purpose::Play(View::Track(track)) if self.members.track(track).is_none() => Err(Rejection::new(
                ErrorCode::TrackNotFound,
                format!("track: no track '{track}'"),
            )),
            Purpose::Play(View::Participant(identity)) if !self.members.contains_key(identity) => {
                Err(Rejection::new(
                    ErrorCode::ParticipantNotFound,
                    format!("participant: '{identity}' is not here"),
                ))
            }
            Purpose::Play(_) | Purpose::Publish => Ok(()),
        }
    }

    pub(super) fn resource(&self, id: &str) -> Option<ResourceInfo> {
        let member = self.member_of(id)?;
        let session = member.session.as_ref()?;
        let remote = &session.params.transport;
        Some(ResourceInfo {
            identity: member.identity.clone(),
            publishes: member.view().is_none(),
            ice_session: session.ufrag.clone(),
            remote: (remote.ufrag.clone(), remote.pwd.clone()),
        })
    }

    fn member_of(&self, id: &str) -> Option<&Member> {
        let names = |member: &&Member| member.resource().is_some_and(|resource| resource.id == id);
        self.members.values().find(names)
    }

    pub(super) fn detach(&mut self, id: &str) -> bool {
        let identity = self.member_of(id).map(|member| member.identity.clone());
        let Some(identity) = identity else {
            return false;
        };
        self.leave(&identity);
        true
    }

    /// Lets the data plane begin a new run of ICE, everything else being as it was (RFC 9725 section
    /// 4.3.3). What it can't do stays refused, and the old run goes on.
    pub(super) async fn restart_ice(
        &mut self,
        id: &str,
        ufrag: String,
        pwd: String,
    ) -> Result<Restarted, Rejection> {
        let member = self.member_of(id).ok_or_else(gone)?;
        let (identity, address) = (member.identity.clone(), member.address);
        let session = member.session.as_ref().ok_or_else(gone)?;
        let mut params = session.params.clone();
        params.transport.ufrag = ufrag;
        params.transport.pwd = pwd;
        let negotiated = Negotiated {
            run: session.run_with(&params.transport),
            ..session.negotiated
        };
        let request = Request::UpdateSession {
            session: session.id,
            label: Some(member.label(negotiated)),
            params: params.clone(),
        };
        let client = self.context.media.clone();
        let answer = client.request(request).await.map_err(media::media_error)?;
        let Response::Session { description, .. } = answer else {
            return Err(media::media_error(MediaError::Unexpected));
        };
        self.members
            .refresh_session(&identity, params, Some(negotiated), &description);
        Ok(Restarted {
            run: negotiated.run,
            addresses: self.candidate_addresses(address)?,
            ufrag: description.ufrag,
            pwd: description.pwd,
            udp_port: description.udp_port,
            tcp_port: self.context.media.info().and_then(|info| info.tcp_port),
        })
    }

    /// Takes the sound of a player that named what it wants out of the choice among those who speak.
    fn claim_sound(&self, identity: &Identity) {
        let Some(member) = self.members.get(identity).filter(|member| member.chooses_sound()) else {
            return;
        };
        let slots = member.session.iter().flat_map(|session| {
            let slots = session.slots.iter().filter(|slot| slot.kind == Kind::Audio);
            slots.map(|slot| (session.id, slot.mid.clone()))
        });
        for (session, mid) in slots {
            self.context.media.tell(Request::SetSlot {
                session,
                mid,
                track: None,
                wish: SlotWish::default(),
            });
        }
    }

    /// Fills a player's slots with what it watches.
    pub(super) fn show(&mut self, identity: &Identity, view: &View) {
        // Sound that nobody named is the data plane's to choose.
        let kinds: &[Kind] = match view {
            View::Stage => &[Kind::Video],
            View::Track(_) | View::Participant(_) => &[Kind::Video, Kind::Audio],
        };
        for kind in kinds {
            let ranked = self.on_view(identity, view, *kind);
            let session = self
                .members
                .get_mut(identity)
                .and_then(|member| member.session.as_mut());
            let Some(session) = session else { return };
            for (mid, candidate) in slots::follow(&session.slots, *kind, &ranked) {
                let wish = candidate
                    .as_ref()
                    .map_or_else(SlotWish::default, |candidate| wish::of_source(candidate.source));
                let track = candidate.map(|candidate| candidate.track);
                self.context.media.tell(session.set_slot(mid, track, wish));
            }
        }
    }

    /// What there is to see or hear in a view, best first.
    fn on_view(&self, receiver: &Identity, view: &View, kind: Kind) -> Vec<Candidate> {
        let mut candidates = self.candidates(receiver, kind, |from, track| match view {
            View::Stage => true,
            View::Track(wanted) => track == wanted,
            View::Participant(wanted) => from == wanted,
        });
        slots::rank(&mut candidates);
        candidates
    }
}
