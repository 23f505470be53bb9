//! Chat: messages to the room or to one reader, kept for those who come later unless the room says
//! otherwise; reactions, changes and taking back.
//!
//! A message that is kept is committed before anybody sees it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use kall_shared::id::Identity;
use kall_shared::signalling::{ChatMessage, ErrorCode, ServerMessage, limits};
use serde_json::Value;

use super::member::Place;
use super::messages::{bad, gone};
use super::{Room, now_utc};
use crate::domain::outbox;
use crate::domain::{Rejection, names, store_failed};
use crate::store::{MessageRow, NewMessage, ReactionRow, Store, StoreError};

/// Messages whose audience is remembered without asking the database; in a room that keeps no chat
/// they are all that can be reacted to, changed and taken back.
const RECENT_MAX: usize = 500;

/// Reactions to one message: more is a flood and not a feeling.
const REACTIONS_MAX: i64 = 500;

/// Messages in a page that names no number.
const PAGE_DEFAULT: u32 = 50;

/// Who said something to whom.
#[derive(Debug, Clone)]
struct Said {
    id: String,
    sender: String,
    recipient: Option<String>,
    place: Place,
    kept: bool,
}

/// The room's memory of what was said.
#[derive(Debug, Default)]
pub(super) struct Chat {
    /// Number of the last message.
    last: i64,
    recent: VecDeque<Said>,
}

impl Chat {
    /// A room whose last message had this number.
    pub(super) fn after(last: i64) -> Self {
        Self {
            last,
            recent: VecDeque::new(),
        }
    }

    fn remember(&mut self, said: Said) {
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(said);
    }
}

/// Whether text may be said.
fn check_text(text: &str) -> Result<(), Rejection> {
    if text.trim().is_empty() || text.chars().count() > limits::CHAT_TEXT {
        let message = format!("text: 1 to {} characters", limits::CHAT_TEXT);
        return Err(Rejection::new(ErrorCode::BadMessage, message));
    }
    Ok(())
}

impl Room {
    pub(super) async fn chat(
        &mut self,
        identity: &Identity,
        re: Option<Value>,
        text: String,
        to: Option<&str>,
    ) -> Result<(), Rejection> {
        self.may_chat(identity)?;
        check_text(&text)?;
        let reader = to.map(|to| self.find(identity, to).cloned()).transpose()?;
        let member = self.members.get(identity).ok_or_else(gone)?;
        let (name, place) = (member.name.clone(), member.place.clone());
        let id = format!("msg-{}", names::random_text(12));
        let timestamp = now_utc().unix_timestamp();
        let kept = self.row.chat_history;
        self.chat.last += 1;
        if kept {
            let row = NewMessage {
                id: id.clone(),
                room_id: self.id.to_string(),
                number: self.chat.last,
                place: place.as_ref().map(ToString::to_string),
                sender: identity.to_string(),
                name,
                recipient: to.map(str::to_owned),
                body: text.clone(),
                sent_at: timestamp,
            };
            let done = self.context.store.insert_message(&row).await;
            done.map_err(|error| store_failed(&error))?;
        }
        self.chat.remember(Said {
            id: id.clone(),
            sender: identity.to_string(),
            recipient: to.map(str::to_owned),
            place: place.clone(),
            kept,
        });
        let message = ServerMessage::Chat {
            id,
            from: identity.to_string(),
            text,
            to: to.map(str::to_owned),
            timestamp,
        };
        match reader {
            None => self.broadcast_in(&place, Some(identity), message.clone()),
            Some(reader) => {
                // A note to oneself comes once, as the answer below.
                if to != Some(identity.as_str()) {
                    reader.send(None, message.clone());
                }
            }
        }
        self.answer(identity, re, message);
        Ok(())
    }

    pub(super) async fn chat_edit(
        &mut self,
        identity: &Identity,
        re: Option<Value>,
        id: String,
        text: String,
    ) -> Result<(), Rejection> {
        self.may_chat(identity)?;
        check_text(&text)?;
        let said = self.said(identity, &id).await?;
        if said.sender != identity.as_str() {
            let message = "message_id: only its author may change it";
            return Err(Rejection::new(ErrorCode::PermissionDenied, message));
        }
        let edited_at = now_utc().unix_timestamp();
        if said.kept {
            let done = self.context.store.edit_message(&id, &text, edited_at).await;
            done.map_err(|error| store_failed(&error))?;
        }
        let message = ServerMessage::ChatEdited { id, text, edited_at };
        self.to_audience(&said, identity, re, message);
        Ok(())
    }

    pub(super) async fn chat_delete(
        &mut self,
        identity: &Identity,
        re: Option<Value>,
        id: String,
    ) -> Result<(), Rejection> {
        let said = self.said(identity, &id).await?;
        let moderates = self
            .members
            .get(identity)
            .is_some_and(super::member::Member::moderates);
        if said.sender != identity.as_str() && !moderates {
            let message = "message_id: only its author or a moderator may take it back";
            return Err(Rejection::new(ErrorCode::PermissionDenied, message));
        }
        if said.kept {
            let done = self.context.store.delete_message(&id).await;
            done.map_err(|error| store_failed(&error))?;
        }
        self.chat.recent.retain(|recent| recent.id != id);
        let by = identity.to_string();
        self.to_audience(&said, identity, re, ServerMessage::ChatDeleted { id, by });
        Ok(())
    }

    /// A reaction of anybody, viewers included.
    pub(super) async fn react(
        &mut self,
        identity: &Identity,
        re: Option<Value>,
        emoji: String,
        message_id: Option<String>,
        removed: bool,
    ) -> Result<(), Rejection> {
        let odd = |letter: char| letter.is_control() || letter.is_whitespace();
        if emoji.is_empty() || emoji.chars().count() > limits::EMOJI || emoji.chars().any(odd) {
            let message = format!("emoji: 1 to {} printable characters", limits::EMOJI);
            return Err(Rejection::new(ErrorCode::BadMessage, message));
        }
        let message = ServerMessage::Reaction {
            from: identity.to_string(),
            emoji: emoji.clone(),
            message_id: message_id.clone(),
            removed,
        };
        let Some(message_id) = message_id else {
            if removed {
                let message = "remove: a reaction to the meeting passes by itself";
                return Err(Rejection::new(ErrorCode::BadMessage, message));
            }
            let place = self.place_of(identity);
            self.broadcast_in(&place, Some(identity), message.clone());
            self.answer(identity, re, message);
            return Ok(());
        };
        let said = self.said(identity, &message_id).await?;
        if said.kept {
            let row = ReactionRow {
                message_id,
                sender: identity.to_string(),
                emoji,
            };
            let store = self.context.store.clone();
            let done = if removed {
                store.delete_reaction(&row).await
            } else if store
                .reaction_count(&row.message_id)
                .await
                .map_err(|error| store_failed(&error))?
                >= REACTIONS_MAX
            {
                let message = format!("message_id: at most {REACTIONS_MAX} reactions");
                return Err(Rejection::new(ErrorCode::Conflict, message));
            } else {
                store.insert_reaction(&row).await
            };
            done.map_err(|error| store_failed(&error))?;
        }
        self.to_audience(&said, identity, re, message);
        Ok(())
    }

    pub(super) async fn chat_history(
        &mut self,
        identity: &Identity,
        re: Option<Value>,
        before: Option<&str>,
        limit: Option<u32>,
    ) -> Result<(), Rejection> {
        let limit = limit.unwrap_or(PAGE_DEFAULT);
        if !(1..=limits::HISTORY_PAGE).contains(&limit) {
            let message = format!("limit: 1 to {}", limits::HISTORY_PAGE);
            return Err(Rejection::new(ErrorCode::BadMessage, message));
        }
        let store = self.context.store.clone();
        let number = match before {
            None => i64::MAX,
            Some(before) => {
                let found = store.message(self.id.as_str(), before).await;
                let found = found.map_err(|error| store_failed(&error))?;
                found.ok_or_else(|| no_message(before))?.number
            }
        };
        let place = self.place_of(identity);
        let (messages, more) = if self.row.chat_history {
            let page = Page {
                place: place.as_ref().map(kall_shared::id::RoomId::as_str),
                reader: Some(identity.as_str()),
                before: number,
                limit,
            };
            let read = history(&store, self.id.as_str(), page).await;
            read.map_err(|error| store_failed(&error))?
        } else {
            (Vec::new(), false)
        };
        self.answer(identity, re, ServerMessage::ChatHistory { messages, more });
        Ok(())
    }

    fn may_chat(&self, identity: &Identity) -> Result<(), Rejection> {
        if self.members.get(identity).ok_or_else(gone)?.permissions().chat {
            return Ok(());
        }
        Err(Rejection::new(
            ErrorCode::PermissionDenied,
            "the role does not allow chat",
        ))
    }

    /// A message that this participant can see.
    async fn said(&self, identity: &Identity, id: &str) -> Result<Said, Rejection> {
        let missing = || no_message(id);
        let recent = self.chat.recent.iter().find(|said| said.id == id);
        let said = if let Some(said) = recent {
            said.clone()
        } else {
            let row = self.context.store.message(self.id.as_str(), id).await;
            let row = row.map_err(|error| store_failed(&error))?.ok_or_else(missing)?;
            if row.deleted {
                return Err(missing());
            }
            Said {
                id: row.id,
                sender: row.sender,
                recipient: row.recipient,
                place: row
                    .place
                    .and_then(|place| kall_shared::id::RoomId::new(place).ok()),
                kept: true,
            }
        };
        let own = said.sender == identity.as_str() || said.recipient.as_deref() == Some(identity.as_str());
        let seen = said.recipient.is_none() && said.place == self.place_of(identity);
        if own || seen { Ok(said) } else { Err(missing()) }
    }

    /// Tells everybody who saw the message.
    fn to_audience(&self, said: &Said, by: &Identity, re: Option<Value>, message: ServerMessage) {
        match &said.recipient {
            None => self.broadcast_in(&said.place, Some(by), message.clone()),
            Some(recipient) => {
                for reader in [&said.sender, recipient] {
                    if reader != by.as_str()
                        && let Ok(reader) = Identity::new(reader.as_str())
                        && let Some(outbox) = self.outbox(&reader)
                    {
                        outbox.send(None, message.clone());
                    }
                }
            }
        }
        self.answer(by, re, message);
    }

    /// Somebody who is online in the same place.
    pub(super) fn find(&self, from: &Identity, identity: &str) -> Result<&outbox::Outbox, Rejection> {
        let identity = Identity::new(identity).map_err(bad)?;
        let place = self.place_of(from);
        let member = self.members.get(&identity).filter(|member| member.place == place);
        member.and_then(super::member::Member::outbox).ok_or_else(|| {
            Rejection::new(
                ErrorCode::ParticipantNotFound,
                format!("to: '{identity}' is not here"),
            )
        })
    }

    pub(super) fn answer(&self, identity: &Identity, re: Option<Value>, message: ServerMessage) {
        if let Some(outbox) = self.outbox(identity) {
            outbox.send(re, message);
        }
    }
}

fn no_message(id: &str) -> Rejection {
    let id: String = id.chars().take(40).collect();
    Rejection::new(
        ErrorCode::MessageNotFound,
        format!("message_id: no message '{id}'"),
    )
}

/// Which messages are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// A breakout room; none: the main room.
    pub place: Option<&'a str>,
    /// Whose private messages are among them; none: nobody's.
    pub reader: Option<&'a str>,
    /// Only those with a lower number.
    pub before: i64,
    /// At most so many.
    pub limit: u32,
}

/// A page of what was said, oldest first, and whether there is more before it.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn history(
    store: &Store,
    room: &str,
    page: Page<'_>,
) -> Result<(Vec<ChatMessage>, bool), StoreError> {
    let mut rows = store
        .messages(room, page.place, page.reader, page.before, page.limit + 1)
        .await?;
    let more = rows.len() > page.limit as usize;
    rows.truncate(page.limit as usize);
    rows.reverse();
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Ok((Vec::new(), false));
    };
    let mut reactions: HashMap<String, BTreeMap<String, Vec<String>>> = HashMap::new();
    for reaction in store.reactions(room, first.number, last.number).await? {
        let of_message = reactions.entry(reaction.message_id).or_default();
        of_message
            .entry(reaction.emoji)
            .or_default()
            .push(reaction.sender);
    }
    let shown = |row: MessageRow| ChatMessage {
        reactions: reactions.remove(&row.id).unwrap_or_default(),
        id: row.id,
        from: row.sender,
        name: row.name,
        text: row.body,
        to: row.recipient,
        timestamp: row.sent_at,
        edited_at: row.edited_at,
        deleted: row.deleted,
    };
    Ok((rows.into_iter().map(shown).collect(), more))
}
