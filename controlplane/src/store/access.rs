//! Queries on who may not come in: revoked tokens and bans.

use sqlx::FromRow;
use sqlx::error::ErrorKind;

use super::{Store, StoreError, execute, on};

/// What a ban goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BanKind {
    /// The identity of a token.
    Identity,
    /// The network address.
    Address,
}

impl BanKind {
    /// As the API and the database spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Address => "address",
        }
    }
}

/// A ban as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct BanRow {
    /// `ban_...`
    pub id: String,
    /// The room.
    pub room_id: String,
    /// `identity` or `address`.
    pub kind: String,
    /// Who, or from where.
    pub value: String,
    /// Who did it.
    pub created_by: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

impl Store {
    /// Makes a token good for nothing. `expires_at`: when it would have expired, in seconds since 1970.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn revoke_token(&self, jti: &str, expires_at: i64) -> Result<(), StoreError> {
        execute!(
            self,
            "INSERT INTO revoked_tokens (jti, expires_at) VALUES ($1, $2) ON CONFLICT (jti) DO NOTHING",
            jti,
            expires_at
        )?;
        Ok(())
    }

    /// Whether a token was revoked.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn is_revoked(&self, jti: &str) -> Result<bool, StoreError> {
        let found: Option<i64> = on!(self, pool => sqlx::query_scalar(
                "SELECT expires_at FROM revoked_tokens WHERE jti = $1",
            )
            .bind(jti)
            .fetch_optional(pool)
            .await)?;
        Ok(found.is_some())
    }

    /// Forgets revoked tokens that have expired by `now`, in seconds since 1970.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn forget_revoked(&self, now: i64) -> Result<(), StoreError> {
        execute!(self, "DELETE FROM revoked_tokens WHERE expires_at < $1", now)?;
        Ok(())
    }

    /// Keeps a ban. False: there is such a one already.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn insert_ban(&self, ban: &BanRow) -> Result<bool, StoreError> {
        let done = execute!(
            self,
            "INSERT INTO bans (id, room_id, kind, value, created_by, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            &ban.id,
            &ban.room_id,
            &ban.kind,
            &ban.value,
            &ban.created_by,
            ban.created_at
        );
        match done {
            Ok(_) => Ok(true),
            Err(sqlx::Error::Database(error)) if error.kind() == ErrorKind::UniqueViolation => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A room's bans, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn bans(&self, room: &str) -> Result<Vec<BanRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as(
                "SELECT id, room_id, kind, value, created_by, created_at FROM bans \
                 WHERE room_id = $1 ORDER BY created_at, id",
            )
            .bind(room)
            .fetch_all(pool)
            .await)?)
    }

    /// Lifts a ban. False: there is none of this id.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn delete_ban(&self, room: &str, id: &str) -> Result<bool, StoreError> {
        let deleted = execute!(self, "DELETE FROM bans WHERE room_id = $1 AND id = $2", room, id)?;
        Ok(deleted > 0)
    }
}
