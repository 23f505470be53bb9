//! Queries on rooms.

use kall_shared::signalling::AuthMode;
use sqlx::FromRow;
use sqlx::error::ErrorKind;

use super::{Store, StoreError, execute, on};

/// Whether a room takes participants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomStatus {
    /// It does.
    Active,
    /// It is over.
    Closed,
}

impl RoomStatus {
    /// As the API and the database spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Closed => "closed",
        }
    }
}

/// A room as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct RoomRow {
    /// `rm_...`
    pub id: String,
    /// For links.
    pub slug: String,
    /// For people.
    pub name: String,
    /// `active` or `closed`.
    pub status: String,
    /// Most participants.
    pub max_participants: i64,
    /// Argon2id in PHC form.
    pub password_hash: Option<String>,
    /// Whether newcomers are refused.
    pub locked: bool,
    /// Whether newcomers wait for a host.
    pub lobby_enabled: bool,
    /// Whether it may be recorded.
    pub recording_enabled: bool,
    /// `token`, `open` or `lobby`; none: as the server's configuration says.
    pub mode: Option<String>,
    /// Whether chat is kept for those who come later.
    pub chat_history: bool,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub closed_at: Option<i64>,
}

impl RoomRow {
    /// Whether it takes participants.
    #[must_use]
    pub fn status(&self) -> RoomStatus {
        if self.status == RoomStatus::Active.as_str() {
            RoomStatus::Active
        } else {
            RoomStatus::Closed
        }
    }

    /// Who may join, if the room says so itself.
    #[must_use]
    pub fn own_mode(&self) -> Option<AuthMode> {
        match self.mode.as_deref()? {
            "token" => Some(AuthMode::Token),
            "open" => Some(AuthMode::Open),
            "lobby" => Some(AuthMode::Lobby),
            _ => None,
        }
    }

    /// Who may join, on a server whose configuration says `default`.
    #[must_use]
    pub fn mode_or(&self, default: AuthMode) -> AuthMode {
        self.own_mode().unwrap_or(default)
    }
}

/// A mode as the API and the database spell it.
#[must_use]
pub(crate) fn mode_name(mode: AuthMode) -> &'static str {
    match mode {
        AuthMode::Token => "token",
        AuthMode::Open => "open",
        AuthMode::Lobby => "lobby",
    }
}

/// What a new room starts with.
#[derive(Debug, Clone)]
pub struct NewRoom {
    /// `rm_...`
    pub id: String,
    /// For links.
    pub slug: String,
    /// For people.
    pub name: String,
    /// Most participants.
    pub max_participants: u32,
    /// Argon2id in PHC form.
    pub password_hash: Option<String>,
    /// Whether newcomers wait for a host.
    pub lobby_enabled: bool,
    /// Whether it may be recorded.
    pub recording_enabled: bool,
    /// Who may join, if not as the server's configuration says.
    pub mode: Option<AuthMode>,
    /// Whether chat is kept for those who come later.
    pub chat_history: bool,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

impl Store {
    /// Keeps a new room. `None`: its id or slug is taken.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn insert_room(&self, room: &NewRoom) -> Result<Option<RoomRow>, StoreError> {
        let done = execute!(
            self,
            "INSERT INTO rooms (id, slug, name, status, max_participants, password_hash, \
                 lobby_enabled, recording_enabled, mode, chat_history, created_at) \
                 VALUES ($1, $2, $3, 'active', $4, $5, $6, $7, $8, $9, $10)",
            &room.id,
            &room.slug,
            &room.name,
            i64::from(room.max_participants),
            &room.password_hash,
            room.lobby_enabled,
            room.recording_enabled,
            room.mode.map(mode_name),
            room.chat_history,
            room.created_at
        );
        match done {
            Ok(_) => self.room(&room.id).await,
            Err(sqlx::Error::Database(error)) if error.kind() == ErrorKind::UniqueViolation => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The room with this id or slug.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn room(&self, id_or_slug: &str) -> Result<Option<RoomRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as(
                "SELECT id, slug, name, status, max_participants, password_hash, locked, lobby_enabled, \
                 recording_enabled, mode, chat_history, created_at, closed_at \
                 FROM rooms WHERE id = $1 OR slug = $1 ORDER BY id = $1 DESC LIMIT 1",
            )
            .bind(id_or_slug)
            .fetch_optional(pool)
            .await)?)
    }

    /// A page of rooms, oldest first, and how many there are.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn rooms(
        &self,
        status: Option<RoomStatus>,
        limit: u32,
        offset: u32,
    ) -> Result<(Vec<RoomRow>, i64), StoreError> {
        let status = status.map(RoomStatus::as_str);
        let rows = on!(self, pool => sqlx::query_as(
                "SELECT id, slug, name, status, max_participants, password_hash, locked, lobby_enabled, \
                 recording_enabled, mode, chat_history, created_at, closed_at FROM rooms \
                 WHERE $1 IS NULL OR status = $1 ORDER BY created_at, id LIMIT $2 OFFSET $3",
            )
            .bind(status)
            .bind(i64::from(limit))
            .bind(i64::from(offset))
            .fetch_all(pool)
            .await)?;
        let total = on!(self, pool => sqlx::query_scalar(
                "SELECT COUNT(*) FROM rooms WHERE $1 IS NULL OR status = $1",
            )
            .bind(status)
            .fetch_one(pool)
            .await)?;
        Ok((rows, total))
    }

    /// Keeps the settings of a room: everything that may change while it is open.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn update_room(&self, row: &RoomRow) -> Result<(), StoreError> {
        execute!(
            self,
            "UPDATE rooms SET name = $2, max_participants = $3, password_hash = $4, locked = $5, \
                 lobby_enabled = $6, recording_enabled = $7, mode = $8, chat_history = $9 WHERE id = $1",
            &row.id,
            &row.name,
            row.max_participants,
            &row.password_hash,
            row.locked,
            row.lobby_enabled,
            row.recording_enabled,
            &row.mode,
            row.chat_history
        )?;
        Ok(())
    }

    /// Marks a room closed. False: it was closed already, or there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn close_room(&self, id: &str, at: i64) -> Result<bool, StoreError> {
        let closed = execute!(
            self,
            "UPDATE rooms SET status = 'closed', closed_at = $2 WHERE id = $1 AND status = 'active'",
            id,
            at
        )?;
        Ok(closed > 0)
    }

    /// Opens a closed room again, as an open server does when somebody comes back to its link.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn reopen_room(&self, id: &str) -> Result<(), StoreError> {
        execute!(
            self,
            "UPDATE rooms SET status = 'active', closed_at = NULL WHERE id = $1",
            id
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_room(id: &str, slug: &str) -> NewRoom {
        NewRoom {
            id: id.to_owned(),
            slug: slug.to_owned(),
            name: "Team".to_owned(),
            max_participants: 3,
            password_hash: None,
            lobby_enabled: false,
            recording_enabled: false,
            mode: None,
            chat_history: true,
            created_at: 1,
        }
    }

    #[tokio::test]
    async fn a_room_is_found_by_id_and_slug_and_survives_a_reopen() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("t.db");
        let store = Store::open(&path).await.expect("opens");
        let row = store
            .insert_room(&new_room("rm_a", "team-1"))
            .await
            .expect("insert")
            .expect("new");
        assert_eq!(store.room("team-1").await.expect("query"), Some(row.clone()));
        assert_eq!(
            store
                .insert_room(&new_room("rm_b", "team-1"))
                .await
                .expect("insert"),
            None
        );
        store.close().await;

        let store = Store::open(&path).await.expect("opens again");
        assert_eq!(store.room("rm_a").await.expect("query"), Some(row));
        assert!(store.close_room("rm_a", 5).await.expect("close"));
        assert!(!store.close_room("rm_a", 6).await.expect("close"));
        let (rows, total) = store.rooms(Some(RoomStatus::Active), 10, 0).await.expect("list");
        assert_eq!((rows.len(), total), (0, 0));
        let (rows, total) = store.rooms(None, 10, 0).await.expect("list");
        assert_eq!((rows[0].closed_at, total), (Some(5), 1));
    }
}
