//! Queries on rooms.

use sqlx::FromRow;
use sqlx::error::ErrorKind;

use super::{Store, StoreError};

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
    /// Milliseconds since 1970.
    pub created_at: i64,
}

impl Store {
    /// Keeps a new room. `None`: its id or slug is taken.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn insert_room(&self, room: &NewRoom) -> Result<Option<RoomRow>, StoreError> {
        let done = sqlx::query(
            "INSERT INTO rooms (id, slug, name, status, max_participants, password_hash, \
             lobby_enabled, recording_enabled, created_at) \
             VALUES ($1, $2, $3, 'active', $4, $5, $6, $7, $8)",
        )
        .bind(&room.id)
        .bind(&room.slug)
        .bind(&room.name)
        .bind(i64::from(room.max_participants))
        .bind(&room.password_hash)
        .bind(room.lobby_enabled)
        .bind(room.recording_enabled)
        .bind(room.created_at)
        .execute(&self.pool)
        .await;
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
        const SQL: &str = "SELECT id, slug, name, status, max_participants, password_hash, locked, \
                           lobby_enabled, recording_enabled, created_at, closed_at \
                           FROM rooms WHERE id = $1 OR slug = $1 ORDER BY id = $1 DESC LIMIT 1";
        Ok(sqlx::query_as(SQL)
            .bind(id_or_slug)
            .fetch_optional(&self.pool)
            .await?)
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
        const PAGE: &str = "SELECT id, slug, name, status, max_participants, password_hash, locked, \
                            lobby_enabled, recording_enabled, created_at, closed_at FROM rooms \
                            WHERE $1 IS NULL OR status = $1 ORDER BY created_at, id LIMIT $2 OFFSET $3";
        const TOTAL: &str = "SELECT COUNT(*) FROM rooms WHERE $1 IS NULL OR status = $1";
        let status = status.map(RoomStatus::as_str);
        let rows = sqlx::query_as(PAGE)
            .bind(status)
            .bind(i64::from(limit))
            .bind(i64::from(offset))
            .fetch_all(&self.pool)
            .await?;
        let total = sqlx::query_scalar(TOTAL)
            .bind(status)
            .fetch_one(&self.pool)
            .await?;
        Ok((rows, total))
    }

    /// Marks a room closed. False: it was closed already, or there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn close_room(&self, id: &str, at: i64) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE rooms SET status = 'closed', closed_at = $2 WHERE id = $1 AND status = 'active'",
        )
        .bind(id)
        .bind(at)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Opens a closed room again, as an open server does when somebody comes back to its link.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn reopen_room(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE rooms SET status = 'active', closed_at = NULL WHERE id = $1")
            .bind(id)
            .execute(&self.pool)
            .await?;
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
