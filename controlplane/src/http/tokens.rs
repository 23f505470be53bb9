//! `POST /tokens`: access tokens for participants.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use kall_shared::id::{Identity, RoomId};
use kall_shared::signalling::Role;
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::error::ApiError;
use super::extract::{self, ApiCaller};
use crate::domain::names;
use crate::domain::permission::Narrowing;

/// A token without a `ttl` is good for a day, as in the reference's example.
const DEFAULT_TTL: u64 = 86_400;

/// Longest life of a token: a year.
const TTL_MAX: u64 = 31_536_000;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/tokens", post(issue))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    room: String,
    identity: Identity,
    #[serde(default)]
    name: Option<String>,
    role: Role,
    #[serde(default)]
    ttl: Option<u64>,
    #[serde(default)]
    permissions: Option<Narrowing>,
}

async fn issue(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    extract::Json(body): extract::Json<Wanted>,
) -> Result<Json<Value>, ApiError> {
    let context = app.rooms.context();
    let row = context
        .store
        .room(&body.room)
        .await?
        .ok_or_else(|| ApiError::room_not_found(&body.room))?;
    let room = RoomId::new(row.id).map_err(|error| ApiError::internal(&error))?;
    let name = match body.name {
        Some(name) => names::display_name(&name).map_err(ApiError::invalid)?,
        None => String::new(),
    };
    let ttl = body.ttl.unwrap_or(DEFAULT_TTL);
    if !(1..=TTL_MAX).contains(&ttl) {
        return Err(ApiError::invalid(format!("ttl: 1 to {TTL_MAX} seconds")));
    }
    let token = context
        .tokens
        .issue(&room, &body.identity, &name, body.role, ttl, body.permissions)
        .map_err(|error| ApiError::internal(&error))?;
    Ok(Json(json!({"token": token})))
}
