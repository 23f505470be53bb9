//! `/meetings`: what pages may do without an API key on an open server, limited per address.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kall_shared::id::Identity;
use kall_shared::signalling::{AuthMode, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{self, ClientAddress, Path};
use super::limiter::{Caller, PAGES};
use super::shapes;
use crate::domain::registry::RoomWishes;
use crate::domain::room::RoomHandle;
use crate::domain::{Rejection, names, password};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(guest))
}

/// A meeting to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMeeting {
    /// Of the meeting.
    #[serde(default)]
    #[schema(schema_with = shapes::name_or_none)]
    name: Option<String>,
}

/// A way into a meeting.
#[derive(Serialize, ToSchema)]
struct Entrance {
    /// Id of the room.
    room: String,
    /// For links: `/r/` and this.
    slug: String,
    /// JWT for `/ws?token=`.
    token: String,
}

/// Makes a meeting and a host's token. In open mode only.
#[utoipa::path(post, path = "/meetings", tag = "Meetings", request_body = NewMeeting, security(()),
    responses((status = 201, description = "The meeting", body = Entrance),
        (status = 409, description = "Too many rooms are open", body = super::error::ErrorBody),
        (status = 503, description = "The media server takes nobody new now; Retry-After says when", body = super::error::ErrorBody)))]
async fn create(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    extract::Json(body): extract::Json<NewMeeting>,
) -> Result<(StatusCode, Json<Entrance>), ApiError> {
    admit(&app, address)?;
    if app.config().auth.mode != AuthMode::Open {
        return Err(forbidden("this server makes meetings for its API's callers only"));
    }
    has_room(&app)?;
    let name = body.name.as_deref().unwrap_or("Meeting");
    let name = names::display_name(name).map_err(ApiError::invalid)?;
    let wishes = RoomWishes {
        name,
        ..RoomWishes::default()
    };
    let room = app.rooms.create(wishes).await?;
    Ok((
        StatusCode::CREATED,
        Json(entrance(&app, &room, "host", "", Role::Host)?),
    ))
}

/// Who wants to come in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Guest {
    /// Display name.
    #[schema(schema_with = shapes::name)]
    name: String,
    /// If the meeting has one.
    #[serde(default)]
    #[schema(max_length = 128)]
    password: Option<String>,
}

/// Makes a guest's token, where guests may come without one from elsewhere.
#[utoipa::path(post, path = "/meetings/{slug}/guest", tag = "Meetings", request_body = Guest, security(()),
    params(("slug" = String, Path, description = "Slug or id of the meeting")),
    responses((status = 200, description = "The way in", body = Entrance),
        (status = 409, description = "Too many rooms are open", body = super::error::ErrorBody),
        (status = 503, description = "The media server takes nobody new now; Retry-After says when", body = super::error::ErrorBody)))]
async fn guest(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    Path(slug): Path<String>,
    extract::Json(body): extract::Json<Guest>,
) -> Result<Json<Entrance>, ApiError> {
    admit(&app, address)?;
    if !app.rooms.takes_strangers() {
        return Err(token_mode());
    }
    has_room(&app)?;
    let name = names::display_name(&body.name).map_err(ApiError::invalid)?;
    let password = password::bounded(body.password).map_err(ApiError::invalid)?;
    let room = app.rooms.enter(&slug).await?;
    let row = room.row();
    if row.mode_or(app.config().auth.mode) == AuthMode::Token {
        return Err(token_mode());
    }
    match password::check(password, row.password_hash.clone()).await {
        password::Check::NotNeeded | password::Check::Right => {}
        password::Check::Missing => return Err(refused("password_required", "password: the room has one")),
        password::Check::Wrong => return Err(refused("password_wrong", "password: another one")),
    }
    Ok(Json(entrance(&app, &room, "guest", &name, Role::Guest)?))
}

fn entrance(app: &App, room: &RoomHandle, who: &str, name: &str, role: Role) -> Result<Entrance, ApiError> {
    Ok(Entrance {
        room: room.id().to_string(),
        slug: room.row().slug.clone(),
        token: token(app, room, who, name, role)?,
    })
}

fn token_mode() -> ApiError {
    forbidden("this server lets in holders of a token only")
}

fn token(app: &App, room: &RoomHandle, who: &str, name: &str, role: Role) -> Result<String, ApiError> {
    let identity = Identity::new(format!("{who}-{}", names::random_text(8)))
        .map_err(|error| ApiError::internal(&error))?;
    let context = app.rooms.context();
    context
        .tokens
        .issue(
            room.id(),
            &identity,
            name,
            role,
            context.config.auth.guest_ttl,
            None,
        )
        .map_err(|error| ApiError::internal(&error))
}

fn admit(app: &App, address: std::net::IpAddr) -> Result<(), ApiError> {
    let caller = Caller::Address(address);
    app.limiter
        .allow(caller, PAGES, Instant::now())
        .map_err(ApiError::rate_limited)
}

/// Nobody is given a way in where the way would end: a page says at once that it has to wait.
fn has_room(app: &App) -> Result<(), ApiError> {
    if app.rooms.context().media.refuses_newcomers() {
        return Err(Rejection::busy().into());
    }
    Ok(())
}

fn forbidden(message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "forbidden", message)
}

fn refused(code: &'static str, message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, code, message)
}
