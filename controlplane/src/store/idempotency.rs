//! Queries on answers that are given again to a repeated `Idempotency-Key`.

use super::{Store, StoreError, execute, on};

/// What became of the wish to be the first with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nobody was before: do it, then [`Store::settle`] or [`Store::release`].
    First,
    /// Somebody was.
    Taken(Kept),
}

/// What is kept of the first request.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Kept {
    /// SHA-256 of path and body, hexadecimal.
    pub fingerprint: String,
    /// Its status; none while it is under way.
    pub status: Option<i64>,
    /// Its body.
    pub answer: Option<String>,
}

impl Store {
    /// Claims a caller's key. Claims older than `dead_before` without an answer were left behind by a
    /// process that died, those older than `old_before` are over; both in seconds since 1970.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn claim(
        &self,
        (caller, name): (&str, &str),
        fingerprint: &str,
        now: i64,
        (dead_before, old_before): (i64, i64),
    ) -> Result<Claim, StoreError> {
        execute!(
            self,
            "DELETE FROM idempotency WHERE created_at < $1 OR (status IS NULL AND created_at < $2)",
            old_before,
            dead_before
        )?;
        let inserted = execute!(
            self,
            "INSERT INTO idempotency (caller, name, fingerprint, created_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (caller, name) DO NOTHING",
            caller,
            name,
            fingerprint,
            now
        )?;
        if inserted > 0 {
            return Ok(Claim::First);
        }
        let kept: Option<Kept> = on!(self, pool => sqlx::query_as(
                "SELECT fingerprint, status, answer FROM idempotency WHERE caller = $1 AND name = $2",
            )
            .bind(caller)
            .bind(name)
            .fetch_optional(pool)
            .await)?;
        // Released in this very moment: as if it were under way, the caller comes again.
        Ok(Claim::Taken(kept.unwrap_or_else(|| Kept {
            fingerprint: fingerprint.to_owned(),
            status: None,
            answer: None,
        })))
    }

    /// Keeps the answer to a claimed key.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn settle(
        &self,
        (caller, name): (&str, &str),
        status: u16,
        answer: &str,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            "UPDATE idempotency SET status = $3, answer = $4 WHERE caller = $1 AND name = $2",
            caller,
            name,
            i64::from(status),
            answer
        )?;
        Ok(())
    }

    /// Gives a claimed key back: what was asked was not done.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn release(&self, (caller, name): (&str, &str)) -> Result<(), StoreError> {
        execute!(
            self,
            "DELETE FROM idempotency WHERE caller = $1 AND name = $2 AND status IS NULL",
            caller,
            name
        )?;
        Ok(())
    }
}
