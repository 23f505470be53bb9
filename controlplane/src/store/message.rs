//! Queries on chat messages and the reactions to them.

use sqlx::FromRow;

use super::{Store, StoreError, execute, on};

/// A message to be kept.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// `msg-...`
    pub id: String,
    /// The room.
    pub room_id: String,
    /// Its place in the room's order.
    pub number: i64,
    /// The breakout room it was said in.
    pub place: Option<String>,
    /// Who said it.
    pub sender: String,
    /// Display name.
    pub name: String,
    /// The only reader.
    pub recipient: Option<String>,
    /// The text.
    pub body: String,
    /// Seconds since 1970.
    pub sent_at: i64,
}

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct MessageRow {
    /// `msg-...`
    pub id: String,
    /// Its place in the room's order.
    pub number: i64,
    /// The breakout room it was said in.
    pub place: Option<String>,
    /// Who said it.
    pub sender: String,
    /// Display name.
    pub name: String,
    /// The only reader.
    pub recipient: Option<String>,
    /// The text; empty once it was taken back.
    pub body: String,
    /// Seconds since 1970.
    pub sent_at: i64,
    /// Seconds since 1970.
    pub edited_at: Option<i64>,
    /// Whether it was taken back.
    pub deleted: bool,
}

/// A reaction as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ReactionRow {
    /// To which message.
    pub message_id: String,
    /// Whose.
    pub sender: String,
    /// Which.
    pub emoji: String,
}

impl Store {
    /// Keeps a message.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn insert_message(&self, message: &NewMessage) -> Result<(), StoreError> {
        execute!(
            self,
            "INSERT INTO messages (id, room_id, number, place, sender, name, recipient, body, sent_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &message.id,
            &message.room_id,
            message.number,
            &message.place,
            &message.sender,
            &message.name,
            &message.recipient,
            &message.body,
            message.sent_at
        )?;
        Ok(())
    }

    /// One message of a room.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn message(&self, room: &str, id: &str) -> Result<Option<MessageRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as(
                "SELECT id, number, place, sender, name, recipient, body, sent_at, edited_at, deleted \
                 FROM messages WHERE room_id = $1 AND id = $2",
            )
            .bind(room)
            .bind(id)
            .fetch_optional(pool)
            .await)?)
    }

    /// The newest `limit` messages of one place before number `before`, newest first: those to
    /// everybody, and if a reader is named those of and to it. Without a reader everything said there.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn messages(
        &self,
        room: &str,
        place: Option<&str>,
        reader: Option<&str>,
        before: i64,
        limit: u32,
    ) -> Result<Vec<MessageRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as(
                "SELECT id, number, place, sender, name, recipient, body, sent_at, edited_at, deleted \
                 FROM messages WHERE room_id = $1 AND COALESCE(place, '') = $2 AND number < $4 \
                 AND (recipient IS NULL OR recipient = $3 OR (sender = $3 AND recipient IS NOT NULL)) \
                 ORDER BY number DESC LIMIT $5",
            )
            .bind(room)
            .bind(place.unwrap_or_default())
            .bind(reader.unwrap_or_default())
            .bind(before)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?)
    }

    /// The highest number of a room's messages; zero: there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn last_message(&self, room: &str) -> Result<i64, StoreError> {
        let last: Option<i64> = on!(self, pool => sqlx::query_scalar(
                "SELECT MAX(number) FROM messages WHERE room_id = $1",
            )
            .bind(room)
            .fetch_one(pool)
            .await)?;
        Ok(last.unwrap_or(0))
    }

    /// Gives a message another text.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn edit_message(&self, id: &str, body: &str, at: i64) -> Result<(), StoreError> {
        execute!(
            self,
            "UPDATE messages SET body = $2, edited_at = $3 WHERE id = $1",
            id,
            body,
            at
        )?;
        Ok(())
    }

    /// Takes a message back: its place stays, its text and reactions go together.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn delete_message(&self, id: &str) -> Result<(), StoreError> {
        on!(self, pool => {
            let mut both = pool.begin().await?;
            sqlx::query("UPDATE messages SET body = '', deleted = TRUE WHERE id = $1")
                .bind(id)
                .execute(&mut *both)
                .await?;
            sqlx::query("DELETE FROM reactions WHERE message_id = $1")
                .bind(id)
                .execute(&mut *both)
                .await?;
            both.commit().await?;
        });
        Ok(())
    }

    /// Forgets everything said in a room.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn forget_messages(&self, room: &str) -> Result<(), StoreError> {
        execute!(self, "DELETE FROM messages WHERE room_id = $1", room)?;
        Ok(())
    }

    /// Keeps a reaction. False: it was there already.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn insert_reaction(&self, reaction: &ReactionRow) -> Result<bool, StoreError> {
        let inserted = execute!(
            self,
            "INSERT INTO reactions (message_id, sender, emoji) VALUES ($1, $2, $3) \
                 ON CONFLICT (message_id, emoji, sender) DO NOTHING",
            &reaction.message_id,
            &reaction.sender,
            &reaction.emoji
        )?;
        Ok(inserted > 0)
    }

    /// Takes a reaction back. False: it was not there.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn delete_reaction(&self, reaction: &ReactionRow) -> Result<bool, StoreError> {
        let deleted = execute!(
            self,
            "DELETE FROM reactions WHERE message_id = $1 AND sender = $2 AND emoji = $3",
            &reaction.message_id,
            &reaction.sender,
            &reaction.emoji
        )?;
        Ok(deleted > 0)
    }

    /// How many reactions a message has.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn reaction_count(&self, message: &str) -> Result<i64, StoreError> {
        Ok(
            on!(self, pool => sqlx::query_scalar("SELECT COUNT(*) FROM reactions WHERE message_id = $1")
            .bind(message)
            .fetch_one(pool)
            .await)?,
        )
    }

    /// Reactions to a room's messages of these numbers, both included.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn reactions(&self, room: &str, from: i64, to: i64) -> Result<Vec<ReactionRow>, StoreError> {
        Ok(on!(self, pool => sqlx::query_as(
                "SELECT r.message_id, r.sender, r.emoji FROM reactions r JOIN messages m ON m.id = r.message_id \
                 WHERE m.room_id = $1 AND m.number BETWEEN $2 AND $3 ORDER BY r.emoji, r.sender",
            )
            .bind(room)
            .bind(from)
            .bind(to)
            .fetch_all(pool)
            .await)?)
    }
}
