//! Moderators and those they moderate: kicks and bans, roles, hands, and who becomes host when the
//! last one has gone.

use std::net::IpAddr;

use kall_shared::id::Identity;
use kall_shared::link::Request;
use kall_shared::signalling::{BanBy, ErrorCode, Permissions, Role, ServerMessage, close};
use time::OffsetDateTime;

use super::action::Actor;
use super::messages::{bad, gone};
use super::{Room, millis, now_utc};
use crate::domain::outbox::Close;
use crate::domain::token::RESUME_TTL;
use crate::domain::{Rejection, names, store_failed};
use crate::store::{BanKind, BanRow};

/// Bans of one room: a list somebody may still read.
const BANS_MAX: usize = 1000;

/// Roles remembered of people who have left; above it the room forgets those who came back least.
const GRANTED_MAX: usize = 10_000;

/// Ends the connection of somebody who was sent away.
pub(super) const REMOVED: Close = Close {
    code: close::REMOVED,
    reason: "removed by a moderator",
};

impl Room {
    /// Sends somebody away. What it came in with opens nothing any more, a resume token neither.
    pub(super) async fn kick(
        &mut self,
        by: &Actor,
        whom: &Identity,
        ban: Option<BanBy>,
    ) -> Result<(), Rejection> {
        if *by == Actor::Participant(whom.clone()) {
            return Err(Rejection::new(ErrorCode::Conflict, "identity: leave instead"));
        }
        let member = self.present(whom)?;
        let ticket = member.ticket.clone();
        let address = member.address;
        let until = now_utc().unix_timestamp() + RESUME_TTL;
        let revoked = self
            .context
            .store
            .revoke_token(&ticket.jti, ticket.expires_at.max(until))
            .await;
        revoked.map_err(|error| store_failed(&error))?;
        match ban {
            Some(BanBy::Identity) => self.ban(BanBy::Identity, whom.to_string(), &by.name()).await?,
            Some(BanBy::Address) => self.ban(BanBy::Address, address.to_string(), &by.name()).await?,
            None => {}
        }
        let message = ServerMessage::Kicked {
            identity: whom.to_string(),
            by: by.name(),
        };
        self.broadcast(None, message);
        if let Some(outbox) = self.outbox(whom) {
            outbox.close(REMOVED);
        }
        tracing::info!(room = %self.id, identity = %whom, by = by.name(), "kicked");
        self.leave(whom);
        Ok(())
    }

    pub(super) async fn ban(&mut self, kind: BanBy, value: String, by: &str) -> Result<(), Rejection> {
        let (kind, value) = match kind {
            BanBy::Identity => (BanKind::Identity, Identity::new(value).map_err(bad)?.to_string()),
            BanBy::Address => {
                let address: IpAddr = value
                    .parse()
                    .map_err(|_| Rejection::new(ErrorCode::BadMessage, "address: an IPv4 or IPv6 address"))?;
                (BanKind::Address, address.to_canonical().to_string())
            }
        };
        if self
            .bans
            .iter()
            .any(|ban| ban.kind == kind.as_str() && ban.value == value)
        {
            return Ok(());
        }
        if self.bans.len() >= BANS_MAX {
            let message = format!("a room has at most {BANS_MAX} bans");
            return Err(Rejection::new(ErrorCode::Conflict, message));
        }
        let row = BanRow {
            id: format!("ban_{}", names::random_text(12)),
            room_id: self.id.to_string(),
            kind: kind.as_str().to_owned(),
            value,
            created_by: by.to_owned(),
            created_at: millis(now_utc()),
        };
        self.context
            .store
            .insert_ban(&row)
            .await
            .map_err(|error| store_failed(&error))?;
        self.bans.push(row);
        Ok(())
    }

    pub(super) async fn lift_ban(&mut self, id: &str) -> Result<(), Rejection> {
        let lifted = self.context.store.delete_ban(self.id.as_str(), id).await;
        lifted.map_err(|error| store_failed(&error))?;
        let before = self.bans.len();
        self.bans.retain(|ban| ban.id != id);
        if self.bans.len() == before {
            return Err(Rejection::new(ErrorCode::BanNotFound, format!("no ban '{id}'")));
        }
        Ok(())
    }

    /// Whether somebody is kept out. Moderators share addresses with those they banned.
    pub(super) fn is_banned(&self, identity: &Identity, address: IpAddr, moderator: bool) -> bool {
        let address = address.to_canonical().to_string();
        self.bans.iter().any(|ban| {
            let by_identity = ban.kind == BanKind::Identity.as_str() && ban.value == identity.as_str();
            let by_address = ban.kind == BanKind::Address.as_str() && ban.value == address && !moderator;
            by_identity || by_address
        })
    }

    /// The role somebody was given here, else the one it comes with.
    pub(super) fn granted_role(&self, identity: &Identity, own: Role) -> Role {
        self.granted.get(identity).copied().unwrap_or(own)
    }

    pub(super) async fn set_role(&mut self, whom: &Identity, role: Role, by: &str) -> Result<(), Rejection> {
        let before = self.present(whom)?.permissions();
        if self.present(whom)?.role == role {
            return Ok(());
        }
        self.members.set_role(whom, role);
        self.announce_promoted(whom);
        let now = self.present(whom)?.permissions();
        let changed = |permissions| ServerMessage::RoleChanged {
            identity: whom.to_string(),
            role,
            by: by.to_owned(),
            permissions,
        };
        self.broadcast(Some(whom), changed(None));
        if let Some(outbox) = self.outbox(whom) {
            outbox.send(None, changed(Some(now)));
        }
        if self.granted.len() >= GRANTED_MAX {
            self.granted.pop_first();
        }
        self.granted.insert(whom.clone(), role);
        self.save_label(whom);
        self.enforce(whom, before, now).await?;
        if now.admin && !before.admin {
            self.tell_who_waits(whom);
        }
        self.presence_changed();
        self.offer_host();
        tracing::info!(room = %self.id, identity = %whom, ?role, by, "role");
        Ok(())
    }

    /// Who was only counted as a viewer is told of by name on stage.
    fn announce_promoted(&mut self, whom: &Identity) {
        let Some(member) = self.members.get_mut(whom) else {
            return;
        };
        if member.announced || member.role == Role::Viewer {
            return;
        }
        member.announced = true;
        let (place, name, role) = (member.place.clone(), member.name.clone(), member.role);
        let identity = whom.to_string();
        let joined = ServerMessage::ParticipantJoined { identity, name, role };
        self.broadcast_in(&place, Some(whom), joined);
    }

    /// What somebody may not do any more ends at once, whatever its client goes on sending.
    async fn enforce(
        &mut self,
        whom: &Identity,
        before: Permissions,
        now: Permissions,
    ) -> Result<(), Rejection> {
        let stops = |source: kall_shared::media::Source| {
            use kall_shared::media::Source;
            let shares = matches!(source, Source::Screen | Source::ScreenAudio);
            !now.publish || (shares && !now.screen)
        };
        if before.publish == now.publish && before.screen == now.screen {
            return Ok(());
        }
        let member = self.members.get_mut(whom).ok_or_else(gone)?;
        member.sources.retain(|_, source| !stops(*source));
        let Some(session) = &member.session else {
            return Ok(());
        };
        let mut params = session.params.clone();
        let mut changed = false;
        for line in &mut params.lines {
            if line.publish.as_ref().is_some_and(|publish| stops(publish.source)) {
                line.publish = None;
                changed = true;
            }
        }
        if !changed {
            return Ok(());
        }
        let request = Request::UpdateSession {
            session: session.id,
            label: None,
            params: params.clone(),
        };
        let answer = self.context.media.clone().request(request).await;
        let kall_shared::link::Response::Session { description, .. } =
            answer.map_err(super::media::media_error)?
        else {
            return Err(super::media::media_error(crate::media::MediaError::Unexpected));
        };
        let lost = self.members.refresh_session(whom, params, None, &description);
        self.unpublish(whom, &lost);
        // Its next offer is answered by what it may do now.
        if let Some(outbox) = self.outbox(whom) {
            outbox.send(None, ServerMessage::Renegotiate);
        }
        Ok(())
    }

    pub(super) fn set_hand(&mut self, whom: &Identity, raised: bool, by: &str) -> Result<(), Rejection> {
        let member = self.members.get_mut(whom).ok_or_else(gone)?;
        if member.hand == raised {
            return Ok(());
        }
        member.hand = raised;
        let place = member.place.clone();
        let message = ServerMessage::Hand {
            identity: whom.to_string(),
            raised,
            by: by.to_owned(),
        };
        self.broadcast_in(&place, None, message);
        self.save_label(whom);
        Ok(())
    }

    /// Asks the oldest co-host to become host when there is none. The offer falls when a host comes.
    pub(super) fn offer_host(&mut self) {
        let hosts = self.members.on_stage().any(|member| member.role == Role::Host);
        if hosts || !self.had_host {
            self.had_host |= hosts;
            self.host_offer = None;
            self.declined.clear();
            return;
        }
        let asked = self.host_offer.as_ref();
        let still = |asked: &Identity| {
            let member = self.members.get(asked);
            member.is_some_and(|member| member.role == Role::CoHost)
        };
        if asked.is_some_and(still) {
            return;
        }
        let candidates = self.members.on_stage().filter(|member| {
            member.role == Role::CoHost
                && member.outbox().is_some()
                && !self.declined.contains(&member.identity)
        });
        let oldest = candidates.min_by_key(|member| member.joined_at);
        self.host_offer = oldest.map(|member| member.identity.clone());
        if let Some(outbox) = oldest.and_then(super::member::Member::outbox) {
            outbox.send(None, ServerMessage::HostOffer);
        }
    }

    pub(super) async fn answer_offer(&mut self, identity: &Identity, accepts: bool) -> Result<(), Rejection> {
        if self.host_offer.as_ref() != Some(identity) {
            return Err(Rejection::new(ErrorCode::Conflict, "nothing was offered"));
        }
        self.host_offer = None;
        if accepts {
            return self.set_role(identity, Role::Host, identity.as_str()).await;
        }
        self.declined.insert(identity.clone());
        self.offer_host();
        Ok(())
    }

    /// Ends the room: kept before anybody is told.
    pub(super) async fn end(&mut self, by: &str) -> Result<(), Rejection> {
        let now = millis(OffsetDateTime::now_utc());
        let closed = self.context.store.close_room(self.id.as_str(), now).await;
        closed.map_err(|error| store_failed(&error))?;
        tracing::info!(room = %self.id, by, "ended");
        self.ended = true;
        Ok(())
    }
}
