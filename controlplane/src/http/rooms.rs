//! `/rooms`: create, list, get, change, lock and delete.

#![expect(unused_qualifications, reason = "the OpenAPI macro writes them")]

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kall_shared::signalling::AuthMode;
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{self, ApiCaller, OFFSET_MAX, Path, Query};
use super::shapes;
use super::values::Whole;
use crate::domain::registry::RoomWishes;
use crate::domain::room::{Action, Actor, RoomHandle, RoomPatch, rfc3339};
use crate::domain::{names, password};
use crate::store::{RoomRow, RoomStatus};

/// Rooms in one page at most.
const PAGE_MAX: u32 = 200;

/// Most places of a room.
const PLACES_MAX: u32 = 100_000;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(one, change, close))
        .routes(routes!(lock))
        .routes(routes!(unlock))
}

/// A room.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Room {
    /// `rm_` and letters or digits.
    #[schema(example = "rm_a1b2c3d4")]
    id: String,
    /// For people.
    #[schema(example = "Team Standup")]
    name: String,
    /// For links.
    #[schema(example = "team-standup-a1b2")]
    slug: String,
    /// `active` or `closed`.
    status: Status,
    /// Most participants.
    max_participants: u32,
    /// Who is there now.
    participant_count: usize,
    /// Whether newcomers are asked for a password.
    password_protected: bool,
    /// Whether newcomers are refused.
    locked: bool,
    /// Whether newcomers wait for a moderator.
    lobby_enabled: bool,
    /// Whether it may be recorded.
    recording_enabled: bool,
    /// Who may join; null: as the server's configuration says.
    mode: Option<AuthMode>,
    /// Whether chat is kept for those who come later.
    chat_history: bool,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    created_at: String,
}

/// Whether a room takes participants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// It does.
    Active,
    /// It is over.
    Closed,
}

/// A room to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRoom {
    /// For people.
    #[schema(schema_with = shapes::name)]
    name: String,
    /// Most participants.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 100_000, example = 20)]
    max_participants: Option<Whole>,
    /// Empty or null: none.
    #[serde(default)]
    #[schema(max_length = 128)]
    password: Option<String>,
    /// Whether newcomers wait for a moderator.
    #[serde(default)]
    lobby_enabled: Option<bool>,
    /// Whether it may be recorded.
    #[serde(default)]
    recording_enabled: Option<bool>,
    /// Who may join; null: as the server's configuration says.
    #[serde(default)]
    mode: Option<AuthMode>,
    /// Whether chat is kept for those who come later.
    #[serde(default)]
    chat_history: Option<bool>,
}

/// Makes a room.
#[utoipa::path(post, path = "/rooms", tag = "Rooms", request_body = NewRoom,
    responses((status = 201, description = "The room", body = Room)))]
async fn create(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    extract::Json(body): extract::Json<NewRoom>,
) -> Result<(StatusCode, Json<Room>), ApiError> {
    let name = names::display_name(&body.name).map_err(ApiError::invalid)?;
    let max_participants = places(body.max_participants)?;
    let wishes = RoomWishes {
        name,
        slug: None,
        max_participants,
        password_hash: hashed(body.password).await?,
        lobby_enabled: body.lobby_enabled,
        recording_enabled: body.recording_enabled,
        mode: body.mode,
        chat_history: body.chat_history,
    };
    let room = app.rooms.create(wishes).await?;
    Ok((StatusCode::CREATED, Json(describe(&room.row(), 0))))
}

fn places(wanted: Option<Whole>) -> Result<Option<u32>, ApiError> {
    wanted
        .map(|max| extract::within("max_participants", Some(max.0), PLACES_MAX, 1..=PLACES_MAX))
        .transpose()
}

async fn hashed(password: Option<String>) -> Result<Option<String>, ApiError> {
    match password::bounded(password).map_err(ApiError::invalid)? {
        Some(password) => {
            let hash = password::hash(password).await;
            Ok(Some(hash.map_err(|error| ApiError::internal(&error))?))
        }
        None => Ok(None),
    }
}

/// Which rooms.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Only those in this state.
    status: Option<Status>,
    /// At most so many, 1 to 200; default 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Without the first so many.
    #[param(minimum = 0, maximum = 2_147_483_647)]
    offset: Option<u32>,
}

/// A page of rooms, oldest first.
#[derive(Debug, Serialize, ToSchema)]
struct Rooms {
    rooms: Vec<Room>,
    /// Of all pages.
    total: i64,
}

/// Lists rooms, oldest first.
#[utoipa::path(get, path = "/rooms", tag = "Rooms", params(Page),
    responses((status = 200, description = "A page of rooms", body = Rooms)))]
async fn list(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Query(page): Query<Page>,
) -> Result<Json<Rooms>, ApiError> {
    let limit = extract::within("limit", page.limit, 50, 1..=PAGE_MAX)?;
    let offset = extract::within("offset", page.offset, 0, 0..=OFFSET_MAX)?;
    let status = page.status.map(|status| match status {
        Status::Active => RoomStatus::Active,
        Status::Closed => RoomStatus::Closed,
    });
    let store = &app.rooms.context().store;
    let (rows, total) = store.rooms(status, limit, offset).await?;
    let mut rooms = Vec::with_capacity(rows.len());
    for row in rows {
        let count = participant_count(&app, &row.id).await;
        rooms.push(describe(&row, count));
    }
    Ok(Json(Rooms { rooms, total }))
}

/// Gets a room, an open or a closed one.
#[utoipa::path(get, path = "/rooms/{id}", tag = "Rooms",
    params(("id" = String, Path, description = "Id or slug")),
    responses((status = 200, description = "The room", body = Room)))]
async fn one(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Room>, ApiError> {
    let row = app.rooms.context().store.room(&id).await?;
    let row = row.ok_or_else(|| ApiError::room_not_found(&id))?;
    let count = participant_count(&app, &row.id).await;
    Ok(Json(describe(&row, count)))
}

/// Settings to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Changes {
    /// For people.
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = shapes::name)]
    name: Option<String>,
    /// Most participants; nobody who is there leaves.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>, nullable = false, minimum = 1, maximum = 100_000)]
    max_participants: Option<Whole>,
    /// A new password; null or empty: none any more.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 128)]
    password: Option<Option<String>>,
    /// Whether newcomers are refused.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<bool>, nullable = false)]
    locked: Option<bool>,
    /// Whether newcomers wait for a moderator. Off: whoever waits is let in.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<bool>, nullable = false)]
    lobby_enabled: Option<bool>,
    /// Whether it may be recorded.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<bool>, nullable = false)]
    recording_enabled: Option<bool>,
    /// Who may join; null: as the server's configuration says.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<AuthMode>)]
    mode: Option<Option<AuthMode>>,
    /// Whether chat is kept for those who come later.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<bool>, nullable = false)]
    chat_history: Option<bool>,
}

/// A field that is there has its value, be it null; one that is absent is `None`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Changes settings of an open room; everybody in it is told.
#[utoipa::path(patch, path = "/rooms/{id}", tag = "Rooms", request_body = Changes,
    params(("id" = String, Path, description = "Id or slug")),
    responses((status = 200, description = "The room as it is now", body = Room)))]
async fn change(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    extract::Json(body): extract::Json<Changes>,
) -> Result<Json<Room>, ApiError> {
    let room = open_room(&app, &id)?;
    let max_participants = places(body.max_participants)?;
    let name = body.name.map(|name| names::display_name(&name)).transpose();
    let patch = RoomPatch {
        name: name.map_err(ApiError::invalid)?,
        max_participants,
        password_hash: match body.password {
            None => None,
            Some(password) => Some(hashed(password).await?),
        },
        locked: body.locked,
        lobby_enabled: body.lobby_enabled,
        recording_enabled: body.recording_enabled,
        mode: body.mode,
        chat_history: body.chat_history,
    };
    updated(&room, patch).await
}

async fn updated(room: &RoomHandle, patch: RoomPatch) -> Result<Json<Room>, ApiError> {
    act(room, Action::Update(Box::new(patch))).await?;
    let count = room.census().await.map_or(0, |census| census.participants);
    Ok(Json(describe(&room.row(), count)))
}

/// Locks a room: nobody but moderators comes in any more.
#[utoipa::path(post, path = "/rooms/{id}/lock", tag = "Rooms",
    params(("id" = String, Path, description = "Id or slug")),
    responses((status = 200, description = "The room as it is now", body = Room)))]
async fn lock(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Room>, ApiError> {
    set_locked(&app, &id, true).await
}

/// Opens a locked room again.
#[utoipa::path(post, path = "/rooms/{id}/unlock", tag = "Rooms",
    params(("id" = String, Path, description = "Id or slug")),
    responses((status = 200, description = "The room as it is now", body = Room)))]
async fn unlock(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Room>, ApiError> {
    set_locked(&app, &id, false).await
}

async fn set_locked(app: &App, id: &str, locked: bool) -> Result<Json<Room>, ApiError> {
    let patch = RoomPatch {
        locked: Some(locked),
        ..RoomPatch::default()
    };
    updated(&open_room(app, id)?, patch).await
}

/// Closes a room: everybody is told and leaves.
#[utoipa::path(delete, path = "/rooms/{id}", tag = "Rooms",
    params(("id" = String, Path, description = "Id or slug")),
    responses((status = 204, description = "It is closed")))]
async fn close(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if app.rooms.close(&id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::room_not_found(&id))
    }
}

/// The open room of a path.
pub(super) fn open_room(app: &App, id: &str) -> Result<RoomHandle, ApiError> {
    app.rooms.find(id).ok_or_else(|| ApiError::room_not_found(id))
}

/// Does something to a room in the name of the API's caller, which has no more to be told.
pub(super) async fn done(app: &App, id: &str, action: Action) -> Result<StatusCode, ApiError> {
    act(&open_room(app, id)?, action).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Does something to a room in the name of the API's caller.
pub(super) async fn act(room: &RoomHandle, action: Action) -> Result<(), ApiError> {
    let outcome = room.act(Actor::Api, action).await;
    outcome.ok_or_else(|| ApiError::room_not_found(room.id().as_str()))??;
    Ok(())
}

async fn participant_count(app: &App, id: &str) -> usize {
    match app.rooms.find(id) {
        Some(room) => room.census().await.map_or(0, |census| census.participants),
        None => 0,
    }
}

fn describe(row: &RoomRow, participant_count: usize) -> Room {
    let created = OffsetDateTime::from_unix_timestamp_nanos(i128::from(row.created_at) * 1_000_000);
    Room {
        id: row.id.clone(),
        name: row.name.clone(),
        slug: row.slug.clone(),
        status: match row.status() {
            RoomStatus::Active => Status::Active,
            RoomStatus::Closed => Status::Closed,
        },
        max_participants: u32::try_from(row.max_participants).unwrap_or(u32::MAX),
        participant_count,
        password_protected: row.password_hash.is_some(),
        locked: row.locked,
        lobby_enabled: row.lobby_enabled,
        recording_enabled: row.recording_enabled,
        mode: row.own_mode(),
        chat_history: row.chat_history,
        created_at: rfc3339(created.unwrap_or(OffsetDateTime::UNIX_EPOCH)),
    }
}
