//! Queries on breakout rooms, which are kept as one document for each room.

use super::{Store, StoreError, execute, on};

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
        let _rows = match state {
            Some(state) => execute!(
                self,
                "INSERT INTO breakouts (room_id, state) VALUES ($1, $2) \
                     ON CONFLICT (room_id) DO UPDATE SET state = excluded.state",
                room,
                state
            )?,
            None => execute!(self, "DELETE FROM breakouts WHERE room_id = $1", room)?,
        };
        Ok(())
    }
}
