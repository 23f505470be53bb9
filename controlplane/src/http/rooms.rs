//! `/rooms`: create, list, get, delete, and who is in one.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use kall_shared::media::{Kind, Source};
use kall_shared::signalling::limits;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::App;
use super::error::ApiError;
use super::extract::{self, ApiCaller, Query};
use crate::domain::registry::RoomWishes;
use crate::domain::{names, password, room};
use crate::store::{RoomRow, RoomStatus};

/// Rooms in one page at most.
const PAGE_MAX: u32 = 200;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/rooms", get(list).post(create))
        .route("/rooms/{id}", get(one).delete(close))
        .route("/rooms/{id}/participants", get(participants))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRoom {
    name: String,
    #[serde(default)]
    max_participants: Option<u32>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    lobby_enabled: Option<bool>,
    #[serde(default)]
    recording_enabled: Option<bool>,
}

async fn create(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    extract::Json(body): extract::Json<NewRoom>,
) -> Result<Response, ApiError> {
    let name = names::display_name(&body.name).map_err(ApiError::invalid)?;
    if body
        .max_participants
        .is_some_and(|max| !(1..=100_000).contains(&max))
    {
        return Err(ApiError::invalid("max_participants: 1 to 100000"));
    }
    let password_hash = match body.password.filter(|password| !password.is_empty()) {
        Some(password) if password.len() > limits::PASSWORD => {
            return Err(ApiError::invalid(format!(
                "password: at most {} bytes",
                limits::PASSWORD
            )));
        }
        Some(password) => Some(
            password::hash(password)
                .await
                .map_err(|error| ApiError::internal(&error))?,
        ),
        None => None,
    };
    let wishes = RoomWishes {
        name,
        slug: None,
        max_participants: body.max_participants,
        password_hash,
        lobby_enabled: body.lobby_enabled,
        recording_enabled: body.recording_enabled,
    };
    let room = app.rooms.create(wishes).await?;
    Ok((StatusCode::CREATED, Json(describe(room.row(), 0))).into_response())
}

#[derive(Debug, Deserialize)]
struct Page {
    status: Option<String>,
    limit: Option<u32>,
    offset: Option<u32>,
}

async fn list(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, ApiError> {
    let status = match page.status.as_deref() {
        None => None,
        Some("active") => Some(RoomStatus::Active),
        Some("closed") => Some(RoomStatus::Closed),
        Some(_) => return Err(ApiError::invalid("status: active or closed")),
    };
    let limit = page.limit.unwrap_or(50);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(ApiError::invalid(format!("limit: 1 to {PAGE_MAX}")));
    }
    let store = &app.rooms.context().store;
    let (rows, total) = store.rooms(status, limit, page.offset.unwrap_or(0)).await?;
    let mut rooms = Vec::with_capacity(rows.len());
    for row in rows {
        let count = participant_count(&app, &row.id).await;
        rooms.push(describe(&row, count));
    }
    Ok(Json(json!({"rooms": rooms, "total": total})))
}

async fn one(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let row = app
        .rooms
        .context()
        .store
        .room(&id)
        .await?
        .ok_or_else(|| ApiError::room_not_found(&id))?;
    let count = participant_count(&app, &row.id).await;
    Ok(Json(describe(&row, count)))
}

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

async fn participants(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let room = app.rooms.find(&id).ok_or_else(|| ApiError::room_not_found(&id))?;
    let roster = room.roster().await.ok_or_else(|| ApiError::room_not_found(&id))?;
    let participants: Vec<Value> = roster
        .iter()
        .map(|participant| {
            let has = |wanted: &dyn Fn(Source) -> bool| {
                participant
                    .tracks
                    .iter()
                    .any(|track| !track.muted && wanted(track.source))
            };
            json!({
                "identity": participant.identity,
                "name": participant.name,
                "role": participant.role,
                "joined_at": participant.joined_at,
                "tracks": {
                    "audio": has(&|source| source == Source::Microphone),
                    "video": has(&|source| source.kind() == Kind::Video && source != Source::Screen),
                    "screen": has(&|source| source == Source::Screen),
                },
            })
        })
        .collect();
    Ok(Json(json!({"participants": participants})))
}

async fn participant_count(app: &App, id: &str) -> usize {
    match app.rooms.find(id) {
        Some(room) => room.census().await.map_or(0, |census| census.participants),
        None => 0,
    }
}

fn describe(row: &RoomRow, participant_count: usize) -> Value {
    let created = OffsetDateTime::from_unix_timestamp_nanos(i128::from(row.created_at) * 1_000_000);
    json!({
        "id": row.id,
        "name": row.name,
        "slug": row.slug,
        "status": row.status,
        "max_participants": row.max_participants,
        "participant_count": participant_count,
        "password_protected": row.password_hash.is_some(),
        "locked": row.locked,
        "lobby_enabled": row.lobby_enabled,
        "recording_enabled": row.recording_enabled,
        "created_at": room::rfc3339(created.unwrap_or(OffsetDateTime::UNIX_EPOCH)),
    })
}
