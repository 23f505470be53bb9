//! Everybody of a room, and who is who: by session, by track, on stage or not.
//!
//! A room has thousands of people and as many events in a second, so nothing that happens to one of them may look at
//! all. What is asked often is kept beside: it follows what [`Members`] does to somebody, so roles and sessions
//! change through it alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;

use kall_shared::id::{Identity, SessionId, TrackId};
use kall_shared::media::{SessionDescription, SessionParams};
use kall_shared::signalling::Role;

use super::member::{Member, Negotiated, Session, Track};
use crate::sdp;

/// Who is in a room. Reads as the map from identities to members.
#[derive(Debug, Default)]
pub(super) struct Members {
    all: BTreeMap<Identity, Member>,
    owners: HashMap<SessionId, Identity>,
    publishers: HashMap<TrackId, Identity>,
    /// Who has tracks, begun or not.
    publishing: BTreeSet<Identity>,
    /// Who is no viewer.
    stage: BTreeSet<Identity>,
    /// Who watches and decodes H264's constrained high profile.
    h264_high: BTreeSet<Identity>,
    /// Who watches and does not.
    h264_basic: BTreeSet<Identity>,
}

impl Deref for Members {
    type Target = BTreeMap<Identity, Member>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Members {
    /// Somebody, to be changed in all but role and session.
    pub(super) fn get_mut(&mut self, identity: &Identity) -> Option<&mut Member> {
        self.all.get_mut(identity)
    }

    /// Everybody, as with [`Self::get_mut`].
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.all.values_mut()
    }

    /// Somebody new, in place of whoever had that identity.
    pub(super) fn insert(&mut self, member: Member) {
        let identity = member.identity.clone();
        self.remove(&identity);
        if member.role != Role::Viewer {
            self.stage.insert(identity.clone());
        }
        self.all.insert(identity.clone(), member);
        self.note_session(&identity);
    }

    pub(super) fn remove(&mut self, identity: &Identity) -> Option<Member> {
        let session = self.all.get_mut(identity)?.session.take();
        if let Some(session) = &session {
            self.forget(identity, session);
        }
        self.stage.remove(identity);
        let mut member = self.all.remove(identity)?;
        member.session = session;
        Some(member)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn set_role(&mut self, identity: &Identity, role: Role) {
        if let Some(member) = self.all.get_mut(identity) {
            member.role = role;
            if role == Role::Viewer {
                self.stage.remove(identity);
            } else {
                self.stage.insert(identity.clone());
            }
        }
    }

    /// Gives somebody a media session, in place of the one it may have.
    pub(super) fn open_session(&mut self, identity: &Identity, session: Session) {
        self.take_session(identity);
        if let Some(member) = self.all.get_mut(identity) {
            member.session = Some(session);
            self.note_session(identity);
        }
    }

    /// Takes the session of somebody away.
    pub(super) fn take_session(&mut self, identity: &Identity) -> Option<Session> {
        let session = self.all.get_mut(identity)?.session.take()?;
        self.forget(identity, &session);
        Some(session)
    }

    /// Brings a session in line with new parameters and their description, see [`Session::refresh`]. Returns the tracks
    /// that are gone.
    pub(super) fn refresh_session(
        &mut self,
        identity: &Identity,
        params: SessionParams,
        negotiated: Option<Negotiated>,
        description: &SessionDescription,
    ) -> Vec<Track> {
        let Some(mut session) = self.take_session(identity) else {
            return Vec::new();
        };
        session.params = params;
        session.negotiated = negotiated.unwrap_or(session.negotiated);
        let lost = session.refresh(description);
        self.open_session(identity, session);
        lost
    }

    /// Whose a session is.
    pub(super) fn owner(&self, session: SessionId) -> Option<&Identity> {
        self.owners.get(&session)
    }

    /// Whose a track is, and the track.
    pub(super) fn track(&self, id: &TrackId) -> Option<(&Member, &Track)> {
        let member = self.all.get(self.publishers.get(id)?)?;
        let mut tracks = member.session.iter().flat_map(|session| &session.tracks);
        tracks.find(|track| track.id == *id).map(|track| (member, track))
    }

    /// Who has tracks.
    pub(super) fn publishing(&self) -> impl Iterator<Item = &Member> {
        self.publishing
            .iter()
            .filter_map(|identity| self.all.get(identity))
    }

    /// Who is no viewer.
    pub(super) fn on_stage(&self) -> impl Iterator<Item = &Member> {
        self.stage.iter().filter_map(|identity| self.all.get(identity))
    }

    /// How many are viewers.
    pub(super) fn viewers(&self) -> usize {
        self.all.len() - self.stage.len()
    }

    /// Whether others than this one watch, and all of them decode H264's constrained high profile.
    pub(super) fn others_take_h264_high(&self, identity: &Identity) -> bool {
        let others = |all: &BTreeSet<Identity>| all.len() - usize::from(all.contains(identity));
        others(&self.h264_basic) == 0 && others(&self.h264_high) > 0
    }

    fn note_session(&mut self, identity: &Identity) {
        let Some(session) = self.all.get(identity).and_then(|member| member.session.as_ref()) else {
            return;
        };
        self.owners.insert(session.id, identity.clone());
        let tracks = session.tracks.iter();
        self.publishers
            .extend(tracks.map(|track| (track.id.clone(), identity.clone())));
        if !session.tracks.is_empty() {
            self.publishing.insert(identity.clone());
        }
        match sdp::takes_h264_high(&session.params) {
            Some(true) => self.h264_high.insert(identity.clone()),
            Some(false) => self.h264_basic.insert(identity.clone()),
            None => false,
        };
    }

    fn forget(&mut self, identity: &Identity, session: &Session) {
        // A data plane that began anew gives the same ids again: what is somebody else's by now stays.
        if self.owners.get(&session.id) == Some(identity) {
            self.owners.remove(&session.id);
        }
        for track in &session.tracks {
            if self.publishers.get(&track.id) == Some(identity) {
                self.publishers.remove(&track.id);
            }
        }
        self.publishing.remove(identity);
        self.h264_high.remove(identity);
        self.h264_basic.remove(identity);
    }
}

#[cfg(test)]
mod tests {
    use kall_shared::id::Mid;
    use kall_shared::media::{
        Codec, CodecParams, Feedback, Fingerprint, Kind, MediaLine, PublishParams, RemoteTransport, Source,
    };
    use proptest::prelude::*;

    use super::super::member::{Presence, ResumeNumbers, Ticket};
    use super::*;

    /// What happens to one of a few people.
    #[derive(Debug, Clone)]
    enum Step {
        Come(u8, Role),
        Go(u8),
        Role(u8, Role),
        /// A session with tracks of these numbers, and whether it decodes constrained high.
        Open(u8, u32, Vec<u8>, Option<bool>),
        Refresh(u8, Vec<u8>, Option<bool>),
        Close(u8),
    }

    fn who(number: u8) -> Identity {
        Identity::new(format!("p{number}")).expect("valid")
    }

    fn track_id(number: u8) -> TrackId {
        TrackId::new(format!("tr_{number}")).expect("valid")
    }

    fn member(identity: Identity, role: Role) -> Member {
        Member {
            name: identity.to_string(),
            identity,
            role,
            narrowing: Default::default(),
            joined_at: time::OffsetDateTime::UNIX_EPOCH,
            presence: Presence::Waiting(tokio::time::Instant::now()),
            resume: ResumeNumbers::default(),
            auto_subscribe: true,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            sources: BTreeMap::new(),
            muted: Default::default(),
            unwanted: BTreeSet::new(),
            spoke: 0,
            hand: false,
            ticket: Ticket::made_up(),
            place: None,
            announced: true,
            had_session: false,
            session: None,
        }
    }

    fn line(mid: String, publish: Option<PublishParams>, high: bool) -> MediaLine {
        MediaLine {
            mid: Mid::new(mid).expect("valid"),
            kind: Kind::Video,
            codecs: vec![CodecParams {
                pt: 102,
                rtx_pt: None,
                codec: Codec::H264,
                h264_profile: Some(if high { 0x64_0c1f } else { 0x42_e01f }),
                feedback: Feedback::default(),
            }],
            extensions: Vec::new(),
            slot: publish.is_none(),
            publish,
        }
    }

    /// `takes`: whether it watches, and decodes constrained high.
    fn params(tracks: &[u8], takes: Option<bool>) -> SessionParams {
        let tracks: BTreeSet<u8> = tracks.iter().copied().collect();
        let publish = |number: &u8| {
            let publish = PublishParams {
                track: track_id(*number),
                source: Source::Camera,
                rids: Vec::new(),
                ssrcs: Vec::new(),
                muted: false,
            };
            line(format!("t{number}"), Some(publish), true)
        };
        let slot = takes.map(|high| line("s".to_owned(), None, high));
        SessionParams {
            transport: RemoteTransport {
                ufrag: "ufrag".to_owned(),
                pwd: "password".to_owned(),
                fingerprints: Vec::new(),
            },
            lines: tracks.iter().map(publish).chain(slot).collect(),
        }
    }

    fn description() -> SessionDescription {
        SessionDescription {
            ufrag: "ufrag".to_owned(),
            pwd: "password".to_owned(),
            fingerprint: Fingerprint { sha256: [0; 32] },
            udp_port: 3478,
            cname: "cname".to_owned(),
            slots: Vec::new(),
        }
    }

    /// `latest`: who got a session of an id last.
    fn apply(members: &mut Members, latest: &mut BTreeMap<SessionId, Identity>, step: Step) {
        let negotiated = Negotiated {
            client: 1,
            version: 1,
            run: 0,
        };
        // A track belongs to one person: two hundred and fifty-six numbers, a share for each.
        let own = |person: u8, tracks: Vec<u8>| -> Vec<u8> {
            tracks.iter().map(|track| person * 32 + track % 32).collect()
        };
        match step {
            Step::Come(person, role) => members.insert(member(who(person), role)),
            Step::Go(person) => drop(members.remove(&who(person))),
            Step::Role(person, role) => members.set_role(&who(person), role),
            Step::Open(person, id, tracks, takes) => {
                // Two people may have the same, as after a restart of the data plane.
                let id = SessionId::pack(0, u32::from(person / 2), id);
                if members.contains_key(&who(person)) {
                    latest.insert(id, who(person));
                }
                let params = params(&own(person, tracks), takes);
                let session = Session::new((id, 1, 1), negotiated, params, &description());
                members.open_session(&who(person), session);
            }
            Step::Refresh(person, tracks, takes) => {
                let params = params(&own(person, tracks), takes);
                let session = members
                    .get(&who(person))
                    .and_then(|member| member.session.as_ref());
                if let Some(session) = session {
                    latest.insert(session.id, who(person));
                }
                members.refresh_session(&who(person), params, None, &description());
            }
            Step::Close(person) => drop(members.take_session(&who(person))),
        }
    }

    /// What is kept beside is what a look at everybody finds.
    fn check(members: &Members, latest: &BTreeMap<SessionId, Identity>) {
        let scan = |found: &dyn Fn(&Member) -> bool| -> Vec<Identity> {
            let found = members.values().filter(|member| found(member));
            found.map(|member| member.identity.clone()).collect()
        };
        let named = |found: &mut dyn Iterator<Item = &Member>| -> Vec<Identity> {
            found.map(|member| member.identity.clone()).collect()
        };
        let stage = scan(&|member| member.role != Role::Viewer);
        assert_eq!(members.viewers(), members.len() - stage.len());
        assert_eq!(named(&mut members.on_stage()), stage);
        let has_tracks = |member: &Member| {
            member
                .session
                .as_ref()
                .is_some_and(|session| !session.tracks.is_empty())
        };
        assert_eq!(named(&mut members.publishing()), scan(&has_tracks));
        let takes = |member: &Member| {
            let session = member.session.as_ref()?;
            sdp::takes_h264_high(&session.params)
        };
        for person in 0..8 {
            let identity = who(person);
            let mut others = members.values().filter(|member| member.identity != identity);
            let all = !others.clone().any(|member| takes(member) == Some(false))
                && others.any(|member| takes(member) == Some(true));
            assert_eq!(members.others_take_h264_high(&identity), all);
        }
        for (id, last) in latest {
            let session = members.get(last).and_then(|member| member.session.as_ref());
            let has_it = session.is_some_and(|session| session.id == *id);
            assert_eq!(members.owner(*id), has_it.then_some(last));
        }
        let mut tracks = 0;
        for member in members.values() {
            if let Some(session) = &member.session {
                for track in &session.tracks {
                    tracks += 1;
                    let (publisher, found) = members.track(&track.id).expect("indexed");
                    assert_eq!((&publisher.identity, &found.id), (&member.identity, &track.id));
                }
            }
        }
        assert_eq!(members.publishers.len(), tracks);
    }

    fn role() -> impl Strategy<Value = Role> {
        prop_oneof![Just(Role::Viewer), Just(Role::Guest), Just(Role::Host)]
    }

    fn step() -> impl Strategy<Value = Step> {
        let tracks = || prop::collection::vec(0..32_u8, 0..4);
        let person = || 0..8_u8;
        let takes = || prop::option::of(any::<bool>());
        prop_oneof![
            (person(), role()).prop_map(|(person, role)| Step::Come(person, role)),
            person().prop_map(Step::Go),
            (person(), role()).prop_map(|(person, role)| Step::Role(person, role)),
            (person(), 0..9_u32, tracks(), takes())
                .prop_map(|(person, id, tracks, takes)| Step::Open(person, id, tracks, takes)),
            (person(), tracks(), takes())
                .prop_map(|(person, tracks, takes)| Step::Refresh(person, tracks, takes)),
            person().prop_map(Step::Close),
        ]
    }

    proptest! {
        #[test]
        fn what_is_kept_beside_is_what_a_look_at_everybody_finds(
            steps in prop::collection::vec(step(), 1..60),
        ) {
            let (mut members, mut latest) = (Members::default(), BTreeMap::new());
            for step in steps {
                apply(&mut members, &mut latest, step);
                check(&members, &latest);
            }
        }
    }
}
