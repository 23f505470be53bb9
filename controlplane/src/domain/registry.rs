//! Every open room of this server: made, found, closed. The lock covers map operations only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kall_shared::id::RoomId;
use kall_shared::signalling::{AuthMode, ErrorCode};
use time::OffsetDateTime;

use super::context::Context;
use super::room::{self, Census, Ended, Opening, RoomHandle, millis};
use super::{Rejection, names, store_failed};
use crate::store::{NewRoom, RoomRow, RoomStatus, StoreError};

/// Attempts to find a slug that is free; four random letters rarely meet.
const SLUG_ATTEMPTS: usize = 8;

/// Wishes for a new room; what is absent comes from the configuration.
#[derive(Debug, Clone, Default)]
pub struct RoomWishes {
    /// For people.
    pub name: String,
    /// A fixed slug, of an open server.
    pub slug: Option<String>,
    /// Most participants.
    pub max_participants: Option<u32>,
    /// Argon2id in PHC form.
    pub password_hash: Option<String>,
    /// Whether newcomers wait for a host.
    pub lobby_enabled: Option<bool>,
    /// Whether it may be recorded.
    pub recording_enabled: Option<bool>,
    /// Who may join.
    pub mode: Option<AuthMode>,
    /// Whether chat is kept.
    pub chat_history: Option<bool>,
}

/// Why a room could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// `room.max_rooms` are open.
    #[error("{0} rooms are open, more are not allowed")]
    TooMany(u32),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No free slug was found.
    #[error("no free slug was found for this name")]
    Slug,
}

/// The rooms.
#[derive(Debug)]
pub struct Registry {
    context: Arc<Context>,
    rooms: Mutex<HashMap<RoomId, RoomHandle>>,
}

impl Registry {
    /// Brings the open rooms of the database back to life. Do this before the data plane is
    /// connected, so that its sessions find their rooms.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn restore(context: Arc<Context>) -> Result<Arc<Self>, StoreError> {
        let registry = Arc::new(Self {
            context,
            rooms: Mutex::default(),
        });
        let (rows, _) = registry
            .context
            .store
            .rooms(Some(RoomStatus::Active), u32::MAX, 0)
            .await?;
        for row in rows {
            registry.open(row).await?;
        }
        Ok(registry)
    }

    /// What all rooms share.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Makes a room: kept before it is answered.
    ///
    /// # Errors
    /// [`CreateError`]
    pub async fn create(self: &Arc<Self>, wishes: RoomWishes) -> Result<RoomHandle, CreateError> {
        let limits = &self.context.config.room;
        if self.lock().len() >= limits.max_rooms as usize {
            return Err(CreateError::TooMany(limits.max_rooms));
        }
        for _ in 0..SLUG_ATTEMPTS {
            let room = NewRoom {
                mode: wishes.mode,
                chat_history: wishes.chat_history.unwrap_or(true),
                id: names::room_id(),
                slug: wishes.slug.clone().unwrap_or_else(|| names::slug(&wishes.name)),
                name: wishes.name.clone(),
                max_participants: wishes.max_participants.unwrap_or(limits.default_max_participants),
                password_hash: wishes.password_hash.clone(),
                lobby_enabled: wishes.lobby_enabled.unwrap_or(limits.lobby_enabled),
                recording_enabled: wishes.recording_enabled.unwrap_or(limits.recording_enabled),
                created_at: millis(OffsetDateTime::now_utc()),
            };
            if let Some(row) = self.context.store.insert_room(&room).await? {
                return self.open(row).await?.ok_or(CreateError::Slug);
            }
            // A fixed slug was taken by somebody a moment ago: that is the room.
            if let Some(slug) = &wishes.slug
                && let Some(handle) = self.find(slug)
            {
                return Ok(handle);
            }
        }
        Err(CreateError::Slug)
    }

    /// Whether somebody without a token may come into some room.
    #[must_use]
    pub fn takes_strangers(&self) -> bool {
        let default = self.context.config.auth.mode;
        let rooms = self.lock();
        default != AuthMode::Token
            || rooms
                .values()
                .any(|room| room.row().mode_or(default) != AuthMode::Token)
    }

    /// The open room with this id or slug.
    #[must_use]
    pub fn find(&self, id_or_slug: &str) -> Option<RoomHandle> {
        let rooms = self.lock();
        let by_id = RoomId::new(id_or_slug).ok().and_then(|id| rooms.get(&id));
        by_id
            .or_else(|| rooms.values().find(|room| room.row().slug == id_or_slug))
            .cloned()
    }

    /// The room a client wants to enter. On an open server an unknown slug makes the room, and
    /// a closed room opens again.
    ///
    /// # Errors
    /// `room_not_found`, or `internal` when the database fails.
    pub async fn enter(self: &Arc<Self>, id_or_slug: &str) -> Result<RoomHandle, Rejection> {
        if let Some(handle) = self.find(id_or_slug) {
            return Ok(handle);
        }
        let missing = || {
            Rejection::new(
                ErrorCode::RoomNotFound,
                format!("room: no open room '{id_or_slug}'"),
            )
        };
        if self.context.config.auth.mode != AuthMode::Open {
            return Err(missing());
        }
        match self
            .context
            .store
            .room(id_or_slug)
            .await
            .map_err(|error| store_failed(&error))?
        {
            Some(row) => {
                let opened = self.reopen(&row.id).await.map_err(|error| store_failed(&error))?;
                opened.ok_or_else(missing)
            }
            None if names::is_slug(id_or_slug) => {
                let wishes = RoomWishes {
                    name: id_or_slug.to_owned(),
                    slug: Some(id_or_slug.to_owned()),
                    ..RoomWishes::default()
                };
                self.create(wishes).await.map_err(|error| match error {
                    CreateError::Store(error) => store_failed(&error),
                    error => Rejection::new(ErrorCode::RoomNotFound, error.to_string()),
                })
            }
            None => Err(missing()),
        }
    }

    /// A closed room begins anew: what was said before is not for those who come now.
    async fn reopen(self: &Arc<Self>, id: &str) -> Result<Option<RoomHandle>, StoreError> {
        let store = &self.context.store;
        store.forget_messages(id).await?;
        store.keep_breakouts(id, None).await?;
        store.reopen_room(id).await?;
        match store.room(id).await? {
            Some(row) => self.open(row).await,
            None => Ok(None),
        }
    }

    /// Closes a room: kept before it is answered. False: there is no open room of this name.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn close(&self, id_or_slug: &str) -> Result<bool, StoreError> {
        let Some(handle) = self.find(id_or_slug) else {
            return Ok(false);
        };
        self.context
            .store
            .close_room(handle.id().as_str(), millis(OffsetDateTime::now_utc()))
            .await?;
        handle.close().await;
        Ok(true)
    }

    /// Every open room.
    #[must_use]
    pub fn all(&self) -> Vec<RoomHandle> {
        self.lock().values().cloned().collect()
    }

    /// How many rooms are open, and the sum of what is in them.
    pub async fn census(&self) -> (usize, Census) {
        let rooms = self.all();
        let mut sum = Census::default();
        for room in &rooms {
            if let Some(census) = room.census().await {
                sum.participants += census.participants;
                sum.waiting += census.waiting;
                sum.audio += census.audio;
                sum.video += census.video;
                sum.screen += census.screen;
            }
        }
        (rooms.len(), sum)
    }

    /// Starts a kept room's task, or finds the one that runs. `None`: its id is not one of ours.
    async fn open(self: &Arc<Self>, row: RoomRow) -> Result<Option<RoomHandle>, StoreError> {
        let Ok(id) = RoomId::new(row.id.clone()) else {
            return Ok(None);
        };
        let store = &self.context.store;
        let opening = Opening {
            bans: store.bans(&row.id).await?,
            breakouts: store.breakouts(&row.id).await?,
            last_message: store.last_message(&row.id).await?,
            row,
        };
        let mut rooms = self.lock();
        if let Some(running) = rooms.get(&id) {
            return Ok(Some(running.clone()));
        }
        // The task must not keep the registry alive: it outlives nothing.
        let registry = Arc::downgrade(self);
        let ended = move |handle: RoomHandle, ended: Ended| async move {
            if let Some(registry) = registry.upgrade() {
                registry.ended(&handle, ended).await;
            }
        };
        let handle = room::spawn(id.clone(), opening, Arc::clone(&self.context), ended);
        rooms.insert(id, handle.clone());
        Ok(Some(handle))
    }

    async fn ended(&self, handle: &RoomHandle, ended: Ended) {
        if ended == Ended::Empty {
            tracing::info!(room = %handle.id(), "closed, nobody was there");
            let now = millis(OffsetDateTime::now_utc());
            if let Err(error) = self.context.store.close_room(handle.id().as_str(), now).await {
                tracing::error!(%error, room = %handle.id(), "a closed room could not be kept");
            }
        }
        // Forgotten only now, and in one step: whoever opens the room again finds it closed in
        // the database and its old events gone.
        let mut rooms = self.lock();
        if rooms.get(handle.id()).is_some_and(|current| current.same(handle)) {
            rooms.remove(handle.id());
            self.context.media.detach(handle.id());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, RoomHandle>> {
        // Insert and remove leave the map whole, so a panic elsewhere spoils nothing.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
