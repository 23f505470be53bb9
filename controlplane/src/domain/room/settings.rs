//! The room's settings: kept first, then in force, then told.

use std::sync::Arc;

use kall_shared::signalling::{AuthMode, RoomInfo, ServerMessage};

use super::Room;
use super::action::RoomPatch;
use crate::domain::{Rejection, store_failed};
use crate::store::RoomRow;

impl RoomPatch {
    /// The row with what is to change changed.
    fn applied_to(self, row: &RoomRow) -> RoomRow {
        let mut row = row.clone();
        if let Some(name) = self.name {
            row.name = name;
        }
        if let Some(max) = self.max_participants {
            row.max_participants = i64::from(max);
        }
        if let Some(hash) = self.password_hash {
            row.password_hash = hash;
        }
        if let Some(locked) = self.locked {
            row.locked = locked;
        }
        if let Some(lobby) = self.lobby_enabled {
            row.lobby_enabled = lobby;
        }
        if let Some(recording) = self.recording_enabled {
            row.recording_enabled = recording;
        }
        if let Some(mode) = self.mode {
            row.mode = mode.map(|mode| crate::store::mode_name(mode).to_owned());
        }
        if let Some(history) = self.chat_history {
            row.chat_history = history;
        }
        row
    }
}

impl Room {
    pub(super) async fn update(&mut self, patch: RoomPatch, by: &str) -> Result<(), Rejection> {
        let row = patch.applied_to(&self.row);
        if row == *self.row {
            return Ok(());
        }
        let kept = self.context.store.update_room(&row).await;
        kept.map_err(|error| store_failed(&error))?;
        self.row = Arc::new(row);
        self.published.send_replace(Arc::clone(&self.row));
        let message = ServerMessage::RoomUpdated {
            room_info: self.info(),
            by: by.to_owned(),
        };
        self.broadcast(None, message);
        if !self.has_lobby() {
            self.let_all_in();
        }
        Ok(())
    }

    pub(super) fn mode(&self) -> AuthMode {
        self.row.mode_or(self.context.config.auth.mode)
    }

    pub(super) fn info(&self) -> RoomInfo {
        RoomInfo {
            id: self.id.to_string(),
            slug: self.row.slug.clone(),
            name: self.row.name.clone(),
            max_participants: u32::try_from(self.row.max_participants).unwrap_or(u32::MAX),
            locked: self.row.locked,
            mode: self.mode(),
            lobby_enabled: self.has_lobby(),
            password_protected: self.row.password_hash.is_some(),
            recording_enabled: self.row.recording_enabled,
            chat_history: self.row.chat_history,
        }
    }
}
