//! `/rooms/:id/breakouts`, and the messages of a room.

#![expect(unused_qualifications, reason = "the OpenAPI macro writes them")]

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kall_shared::error::InvalidValue;
use kall_shared::id::{Identity, RoomId};
use kall_shared::signalling::{BreakoutAssign, Breakouts, ChatMessage, limits};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{self, ApiCaller, Path, Query};
use super::rooms::{act, done, open_room};
use super::shapes;
use super::values::Whole;
use crate::domain::room::{Action, Page, RoomHandle, history};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(get, create, remove))
        .routes(routes!(open))
        .routes(routes!(close))
        .routes(routes!(assign))
        .routes(routes!(broadcast))
        .routes(routes!(messages))
}

async fn present(room: &RoomHandle) -> Result<Breakouts, ApiError> {
    let breakouts = room.breakouts().await;
    let breakouts = breakouts.ok_or_else(|| ApiError::room_not_found(room.id().as_str()))?;
    Ok(breakouts.unwrap_or_else(Breakouts::none))
}

/// Gets the breakout rooms of a room, and who is in them.
#[utoipa::path(get, path = "/rooms/{id}/breakouts", tag = "Breakout rooms",
    params(("id" = String, Path, description = "Id or slug of the main room")),
    responses((status = 200, description = "All of them", body = Breakouts)))]
async fn get(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Breakouts>, ApiError> {
    Ok(Json(present(&open_room(&app, &id)?).await?))
}

/// Breakout rooms to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBreakouts {
    /// How many; if more are named, as many as are named.
    #[schema(value_type = u32, minimum = 1, maximum = 50)]
    count: Whole,
    /// Their names, in order; `Room 1` and so on where there is none.
    #[serde(default)]
    #[schema(schema_with = shapes::breakout_names)]
    names: Vec<String>,
    /// How people get into them.
    #[serde(default = "manual")]
    #[schema(default = "manual")]
    assign: BreakoutAssign,
}

fn manual() -> BreakoutAssign {
    BreakoutAssign::Manual
}

/// Makes breakout rooms in place of those there are. Nobody is moved before they are opened.
#[utoipa::path(post, path = "/rooms/{id}/breakouts", tag = "Breakout rooms", request_body = NewBreakouts,
    params(("id" = String, Path, description = "Id or slug of the main room")),
    responses((status = 201, description = "All of them", body = Breakouts)))]
async fn create(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    extract::Json(body): extract::Json<NewBreakouts>,
) -> Result<(StatusCode, Json<Breakouts>), ApiError> {
    let room = open_room(&app, &id)?;
    let action = Action::BreakoutsCreate {
        count: body.count.0,
        names: body.names,
        assign: body.assign,
    };
    act(&room, action).await?;
    Ok((StatusCode::CREATED, Json(present(&room).await?)))
}

/// Brings everybody back and forgets the breakout rooms.
#[utoipa::path(delete, path = "/rooms/{id}/breakouts", tag = "Breakout rooms",
    params(("id" = String, Path, description = "Id or slug of the main room")),
    responses((status = 204, description = "There are none any more")))]
async fn remove(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    done(&app, &id, Action::BreakoutsRemove).await
}

/// For how long.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Duration {
    /// After so many seconds everybody returns; null: when they are closed.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 86_400)]
    duration_seconds: Option<Whole>,
}

/// Opens the breakout rooms: everybody assigned is moved.
#[utoipa::path(post, path = "/rooms/{id}/breakouts/open", tag = "Breakout rooms", request_body = Duration,
    params(("id" = String, Path, description = "Id or slug of the main room")),
    responses((status = 200, description = "All of them", body = Breakouts)))]
async fn open(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    extract::Json(body): extract::Json<Duration>,
) -> Result<Json<Breakouts>, ApiError> {
    let room = open_room(&app, &id)?;
    let seconds = body.duration_seconds.map(|seconds| seconds.0);
    act(&room, Action::BreakoutsOpen { seconds }).await?;
    Ok(Json(present(&room).await?))
}

/// Brings everybody back; the rooms can be opened again.
#[utoipa::path(post, path = "/rooms/{id}/breakouts/close", tag = "Breakout rooms",
    params(("id" = String, Path, description = "Id or slug of the main room")),
    responses((status = 200, description = "All of them", body = Breakouts)))]
async fn close(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Breakouts>, ApiError> {
    let room = open_room(&app, &id)?;
    act(&room, Action::BreakoutsClose).await?;
    Ok(Json(present(&room).await?))
}

/// Who belongs where.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Assignment {
    /// Who.
    #[schema(schema_with = shapes::identity)]
    identity: Identity,
    /// Id of the breakout room; null: the main room.
    #[serde(default)]
    room: Option<String>,
}

/// Puts somebody into a breakout room, or back into the main one.
#[utoipa::path(post, path = "/rooms/{id}/breakouts/assign", tag = "Breakout rooms", request_body = Assignment,
    params(("id" = String, Path, description = "Id or slug of the main room")),
    responses((status = 200, description = "All of them", body = Breakouts)))]
async fn assign(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    extract::Json(body): extract::Json<Assignment>,
) -> Result<Json<Breakouts>, ApiError> {
    let main = open_room(&app, &id)?;
    // A name that no room can have is no room's.
    let unknown =
        |error: InvalidValue| ApiError::new(StatusCode::NOT_FOUND, "breakout_not_found", error.to_string());
    let action = Action::BreakoutAssign {
        identity: body.identity,
        room: body.room.map(RoomId::new).transpose().map_err(unknown)?,
    };
    act(&main, action).await?;
    Ok(Json(present(&main).await?))
}

/// What to say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Announcement {
    /// The text.
    #[schema(min_length = 1, max_length = 4096)]
    text: String,
}

/// Says something to everybody in all breakout rooms and the main one.
#[utoipa::path(post, path = "/rooms/{id}/breakouts/broadcast", tag = "Breakout rooms", request_body = Announcement,
    params(("id" = String, Path, description = "Id or slug of the main room")),
    responses((status = 204, description = "It was said")))]
async fn broadcast(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    extract::Json(body): extract::Json<Announcement>,
) -> Result<StatusCode, ApiError> {
    done(&app, &id, Action::BreakoutsBroadcast(body.text)).await
}

/// Which messages.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those before this message; the newest if absent.
    before: Option<String>,
    /// At most so many, 1 to 100; default 50.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// Those of this breakout room; absent: of the main room.
    breakout: Option<String>,
}

/// A page of messages, oldest first.
#[derive(Debug, Serialize, ToSchema)]
struct Messages {
    messages: Vec<ChatMessage>,
    /// Whether there are older ones.
    more: bool,
}

/// Lists what was said to everybody in a room, also after it was closed. Private messages are not shown.
#[utoipa::path(get, path = "/rooms/{id}/messages", tag = "Chat",
    params(("id" = String, Path, description = "Id or slug"), Which),
    responses((status = 200, description = "A page of messages", body = Messages)))]
async fn messages(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<Messages>, ApiError> {
    let limit = extract::within("limit", which.limit, 50, 1..=limits::HISTORY_PAGE)?;
    let store = &app.rooms.context().store;
    let row = store
        .room(&id)
        .await?
        .ok_or_else(|| ApiError::room_not_found(&id))?;
    let before = match &which.before {
        None => i64::MAX,
        Some(before) => {
            let found = store.message(&row.id, before).await?;
            let found = found.ok_or_else(|| {
                ApiError::new(
                    StatusCode::NOT_FOUND,
                    "message_not_found",
                    "before: no such message",
                )
            })?;
            found.number
        }
    };
    let page = Page {
        place: which.breakout.as_deref(),
        reader: None,
        before,
        limit,
    };
    let (messages, more) = history(store, &row.id, page).await?;
    Ok(Json(Messages { messages, more }))
}
