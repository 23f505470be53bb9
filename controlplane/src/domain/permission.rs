//! What a role may do, and how a token narrows it. A token never widens.

use kall_shared::signalling::{Permissions, Role};
use serde::{Deserialize, Serialize};

/// The `permissions` claim of a token; what is absent stays as the role has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
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

/// What the role has by itself.
#[must_use]
pub fn of(role: Role) -> Permissions {
    let moderator = matches!(role, Role::Host | Role::CoHost);
    let speaker = moderator || role == Role::Guest;
    Permissions {
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
pub fn narrowed(role: Role, by: Narrowing) -> Permissions {
    let own = of(role);
    let keep = |has: bool, claim: Option<bool>| has && claim.unwrap_or(true);
    Permissions {
        publish: keep(own.publish, by.publish),
        subscribe: keep(own.subscribe, by.subscribe),
        chat: keep(own.chat, by.chat),
        screen: keep(own.screen, by.screen),
        record: keep(own.record, by.record),
        admin: keep(own.admin, by.admin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_only_watches() {
        let viewer = of(Role::Viewer);
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
        let guest = narrowed(Role::Guest, claim);
        assert!(!guest.publish && !guest.admin && guest.chat);
    }
}
