//! Identifiers that cross a process boundary: bounded strings and one packed number.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::InvalidValue;

macro_rules! bounded_text_id {
    ($(#[$doc:meta])* $name:ident, $field:literal, $max:expr, $allowed:expr, $words:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The longest value, in characters.
            pub const MAX_LEN: usize = $max;

            /// Checks length and alphabet.
            ///
            /// # Errors
            /// [`InvalidValue`] when empty, too long, or with a character that is not allowed.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidValue> {
                let text = text.into();
                let allowed: fn(char) -> bool = $allowed;
                if text.is_empty() || text.chars().count() > Self::MAX_LEN || !text.chars().all(allowed) {
                    return Err(InvalidValue::new(
                        $field,
                        format!("1 to {} characters: {}", Self::MAX_LEN, $words),
                    ));
                }
                Ok(Self(text))
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

bounded_text_id!(
    /// A room: `rm_` and letters or digits.
    RoomId, "room", 64, |c| c.is_ascii_alphanumeric() || c == '_' || c == '-', "letters, digits, '_' and '-'"
);
bounded_text_id!(
    /// A published track: `tr_` and letters or digits. Given by the control plane, opaque to the data plane.
    TrackId, "track_id", 48, |c| c.is_ascii_alphanumeric() || c == '_' || c == '-', "letters, digits, '_' and '-'"
);
bounded_text_id!(
    /// A participant of a room, the `sub` of its token.
    Identity, "identity", 128, |c| !c.is_control() && c != '/' && c != '\\', "printable characters without slashes"
);
bounded_text_id!(
    /// The `a=mid` of a media line (RFC 5888): an SDP token. 32 bytes is what the one-byte
    /// header extension of RFC 9143 can carry twice over; browsers use one or two digits.
    Mid, "mid", 16, |c| c.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]".contains(c), "SDP token characters"
);
bounded_text_id!(
    /// A simulcast layer's `a=rid` (RFC 8851).
    Rid, "rid", 16, |c| c.is_ascii_alphanumeric() || c == '-' || c == '_', "letters, digits, '-' and '_'"
);

/// A media session in one data plane: core, slot in that core and the slot's epoch, packed so that
/// the owner is found by arithmetic and a recycled slot never answers for its former tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

impl SessionId {
    /// Packs `core` (8 bits), `slot` (24 bits) and `epoch` (32 bits).
    #[must_use]
    pub fn pack(core: u8, slot: u32, epoch: u32) -> Self {
        debug_assert!(slot < 1 << 24, "slots are bounded far below 24 bits");
        Self((u64::from(core) << 56) | (u64::from(slot & 0x00ff_ffff) << 32) | u64::from(epoch))
    }

    /// The core whose shard owns the session.
    #[must_use]
    pub fn core(self) -> u8 {
        (self.0 >> 56) as u8
    }

    /// The session's place in its shard.
    #[must_use]
    pub fn slot(self) -> u32 {
        ((self.0 >> 32) & 0x00ff_ffff) as u32
    }

    /// How often the slot was given out before.
    #[must_use]
    pub fn epoch(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.core(), self.slot(), self.epoch())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_id_keeps_its_parts() {
        let id = SessionId::pack(63, 0x00ab_cdef, u32::MAX);
        assert_eq!((id.core(), id.slot(), id.epoch()), (63, 0x00ab_cdef, u32::MAX));
    }

    #[test]
    fn text_ids_refuse_what_is_out_of_bounds() {
        assert!(RoomId::new("rm_a1b2c3d4").is_ok());
        assert!(RoomId::new("").is_err());
        assert!(RoomId::new("a/b").is_err());
        assert!(Mid::new("m".repeat(17)).is_err());
        let refused = serde_json::from_str::<Rid>("\"a b\"");
        assert!(refused.is_err());
    }
}
