//! Persistence through sqlx: a SQLite file, or a PostgreSQL server. What a caller was told happened has
//! been committed before.
//!
//! No rules of the product live here; one function per query. Queries are written once, in the part of
//! SQL that both engines share.

mod access;
mod breakout;
mod idempotency;
mod message;
mod room;

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use thiserror::Error;

use crate::config::{Database, DatabaseDriver};

pub use access::{BanKind, BanRow};
pub use idempotency::{Claim, Kept};
pub use message::{MessageRow, NewMessage, ReactionRow};
pub(crate) use room::mode_name;
pub use room::{NewRoom, RoomRow, RoomStatus};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Connections of the pool: SQLite has one writer, more readers than cores gain nothing.
const SQLITE_CONNECTIONS: u32 = 4;

/// Connections to PostgreSQL: a tenth of what its default configuration has for everybody.
const POSTGRES_CONNECTIONS: u32 = 10;

/// How long a writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a query waits for a free connection before it fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a query failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database said no.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
}

#[derive(Debug, Clone)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Runs the same query on whichever engine there is: the types differ, the words do not.
macro_rules! on {
    ($store:expr, $pool:ident => $query:expr) => {
        match &$store.pool {
            $crate::store::Pool::Sqlite($pool) => $query,
            $crate::store::Pool::Postgres($pool) => $query,
        }
    };
}
pub(crate) use on;

/// Runs a statement with its values in order, and tells how many rows it touched.
macro_rules! execute {
    ($store:expr, $sql:expr $(, $value:expr)* $(,)?) => {
        $crate::store::on!($store, pool => sqlx::query($sql)
            $(.bind($value))*
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))
    };
}
pub(crate) use execute;

/// How busy the pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolFigures {
    /// Open connections.
    pub open: u32,
    /// Those that nobody uses.
    pub idle: u32,
    /// Most that may be open.
    pub max: u32,
}

impl Store {
    /// Opens what the configuration names and brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be used or a migration fails.
    pub async fn connect(database: &Database) -> Result<Self, StoreError> {
        match database.driver {
            DatabaseDriver::Sqlite => Self::open(Path::new(&database.url)).await,
            DatabaseDriver::Postgres => Self::server(&database.url).await,
        }
    }

    /// Opens the file, creating it if absent, and brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError`] when the file can't be used or a migration fails.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A room that was acknowledged outlives a power cut, too.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(SQLITE_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await?;
        MIGRATIONS.run(&pool).await?;
        Ok(Self {
            pool: Pool::Sqlite(pool),
        })
    }

    async fn server(url: &str) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.application_name("kall"))
            .await?;
        MIGRATIONS.run(&pool).await?;
        Ok(Self {
            pool: Pool::Postgres(pool),
        })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`StoreError`] when it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        execute!(self, "SELECT 1")?;
        Ok(())
    }

    /// How busy the pool is.
    #[must_use]
    pub fn pool_figures(&self) -> PoolFigures {
        on!(self, pool => PoolFigures {
            open: pool.size(),
            idle: u32::try_from(pool.num_idle()).unwrap_or(u32::MAX),
            max: pool.options().get_max_connections(),
        })
    }

    /// Closes every connection; SQLite's write-ahead log is folded into the file.
    pub async fn close(&self) {
        on!(self, pool => pool.close().await);
    }
}
