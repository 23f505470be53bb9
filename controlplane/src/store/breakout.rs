//! Queries on breakout rooms, which are kept as one document for each room.

use super::{Store, StoreError, on};

impl Store {
    /// The document of a room, if it has breakout rooms.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn breakouts(&self, room: &str) -> Result<Option<String>, StoreError> {
        Ok(
            on!(self, pool => sqlx::query_scalar("SELECT state FROM breakouts WHERE room_id = $1")
            .bind(room)
            .fetch_optional(pool)
            .await)?,
        )
    }

    /// Keeps the document of a room, in place of the one before; none removes it.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn keep_breakouts(&self, room: &str, state: Option<&str>) -> Result<(), StoreError> {
        match state {
            Some(state) => on!(self, pool => sqlx::query(
                    "INSERT INTO breakouts (room_id, state) VALUES ($1, $2) \
                     ON CONFLICT (room_id) DO UPDATE SET state = excluded.state",
                )
                .bind(room)
                .bind(state)
                .execute(pool)
                .await
                .map(drop))?,
            None => on!(self, pool => sqlx::query("DELETE FROM breakouts WHERE room_id = $1")
                .bind(room)
                .execute(pool)
                .await
                .map(drop))?,
        }
        Ok(())
    }
}
