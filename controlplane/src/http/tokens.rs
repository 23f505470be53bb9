//! `POST /tokens`: access tokens for participants.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use kall_shared::id::{Identity, RoomId};
use kall_shared::signalling::Role;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{self, ApiCaller};
use super::shapes;
use super::values::{Object, Whole};
use crate::domain::names;
use crate::domain::permission::Narrowing;

/// A token without a `ttl` is good for a day, as in the reference's example.
const DEFAULT_TTL: u32 = 86_400;

/// Longest life of a token: a year.
const TTL_MAX: u32 = 31_536_000;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(issue))
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Id or slug of the room it opens.
    #[schema(example = "rm_a1b2c3d4")]
    room: String,
    /// Who its holder is.
    #[schema(schema_with = shapes::identity)]
    identity: Identity,
    /// Display name.
    #[serde(default)]
    #[schema(schema_with = shapes::name_or_none)]
    name: Option<String>,
    /// What its holder is there.
    role: Role,
    /// Its life in seconds; default a day.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 31_536_000, example = 86400)]
    ttl: Option<Whole>,
    /// Narrows the role.
    #[serde(default)]
    #[schema(value_type = Option<Narrowing>)]
    permissions: Option<Object<Narrowing>>,
}

/// A token.
#[derive(Serialize, ToSchema)]
struct Issued {
    /// JWT for `/ws?token=`.
    #[schema(example = "eyJhbGciOi...")]
    token: String,
}

/// Makes a token with which a participant joins a room.
#[utoipa::path(post, path = "/tokens", tag = "Tokens", request_body = Wanted,
    responses((status = 200, description = "The token", body = Issued)))]
async fn issue(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    extract::Json(body): extract::Json<Wanted>,
) -> Result<Json<Issued>, ApiError> {
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
    let ttl = extract::within("ttl", body.ttl.map(|ttl| ttl.0), DEFAULT_TTL, 1..=TTL_MAX)?;
    let token = context
        .tokens
        .issue(
            &room,
            &body.identity,
            &name,
            body.role,
            ttl.into(),
            body.permissions.map(|own| own.0),
        )
        .map_err(|error| ApiError::internal(&error))?;
    Ok(Json(Issued { token }))
}
