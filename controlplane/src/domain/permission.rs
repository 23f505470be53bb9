//! What a role may do, and how a token narrows it. A token never widens.

use kall_shared::signalling::{self, Role};
use serde::{Deserialize, Serialize};

/// What one participant may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Send audio and video.
    pub publish: bool,
    /// Receive them.
    pub subscribe: bool,
    /// Write messages.
    pub chat: bool,
    /// Share a screen.
    pub screen: bool,
    /// Start recordings.
    pub record: bool,
    /// Moderate.
    pub admin: bool,
}

/// The `permissions` claim of a token; what is absent stays as the role has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Narrowing {
    /// See [`Permissions::publish`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<bool>,
    /// See [`Permissions::subscribe`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<bool>,
    /// See [`Permissions::chat`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<bool>,
    /// See [`Permissions::screen`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<bool>,
    /// See [`Permissions::record`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<bool>,
    /// See [`Permissions::admin`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<bool>,
}

impl Permissions {
    /// What the role has by itself.
    #[must_use]
    pub fn of(role: Role) -> Self {
        let moderator = matches!(role, Role::Host | Role::CoHost);
        let speaker = moderator || role == Role::Guest;
        Self {
            publish: speaker,
            subscribe: true,
            chat: speaker,
            screen: speaker,
            record: moderator,
            admin: moderator,
        }
    }

    /// The role's, without what the token takes away.
    #[must_use]
    pub fn narrowed(role: Role, by: Narrowing) -> Self {
        let of = Self::of(role);
        let keep = |has: bool, claim: Option<bool>| has && claim.unwrap_or(true);
        Self {
            publish: keep(of.publish, by.publish),
            subscribe: keep(of.subscribe, by.subscribe),
            chat: keep(of.chat, by.chat),
            screen: keep(of.screen, by.screen),
            record: keep(of.record, by.record),
            admin: keep(of.admin, by.admin),
        }
    }
}

impl From<Permissions> for signalling::Permissions {
    fn from(permissions: Permissions) -> Self {
        let Permissions {
            publish,
            subscribe,
            chat,
            screen,
            record,
            admin,
        } = permissions;
        Self {
            publish,
            subscribe,
            chat,
            screen,
            record,
            admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_only_watches() {
        let viewer = Permissions::of(Role::Viewer);
        assert!(viewer.subscribe);
        assert!(!viewer.publish && !viewer.chat && !viewer.screen && !viewer.admin);
    }

    #[test]
    fn a_token_narrows_and_never_widens() {
        let claim = Narrowing {
            publish: Some(false),
            admin: Some(true),
            ..Narrowing::default()
        };
        let guest = Permissions::narrowed(Role::Guest, claim);
        assert!(!guest.publish && !guest.admin && guest.chat);
    }
}
