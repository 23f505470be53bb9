//! `/meetings`: what pages may do without an API key on an open server, limited per address.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use kall_shared::id::Identity;
use kall_shared::signalling::Role;
use serde::Deserialize;
use serde_json::json;

use super::App;
use super::error::ApiError;
use super::extract::{self, ClientAddress};
use crate::config::AuthMode;
use crate::domain::registry::RoomWishes;
use crate::domain::room::RoomHandle;
use crate::domain::{names, password};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/meetings", post(create))
        .route("/meetings/{slug}/guest", post(guest))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMeeting {
    /// Of the meeting.
    #[serde(default)]
    name: Option<String>,
}

async fn create(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    extract::Json(body): extract::Json<NewMeeting>,
) -> Result<Response, ApiError> {
    admit(&app, address)?;
    if app.config().auth.mode != AuthMode::Open {
        return Err(forbidden("this server makes meetings for its API's callers only"));
    }
    let given = body.name.filter(|name| !name.trim().is_empty());
    let name = names::display_name(given.as_deref().unwrap_or("Meeting")).map_err(ApiError::invalid)?;
    let wishes = RoomWishes {
        name,
        ..RoomWishes::default()
    };
    let room = app.rooms.create(wishes).await?;
    let token = token(&app, &room, "host", "", Role::Host)?;
    let answer = json!({"room": room.id().as_str(), "slug": room.row().slug, "token": token});
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Guest {
    name: String,
    #[serde(default)]
    password: Option<String>,
}

async fn guest(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    Path(slug): Path<String>,
    extract::Json(body): extract::Json<Guest>,
) -> Result<Response, ApiError> {
    admit(&app, address)?;
    if app.config().auth.mode == AuthMode::Token {
        return Err(forbidden("this server lets in holders of a token only"));
    }
    let name = names::display_name(&body.name).map_err(ApiError::invalid)?;
    let room = app.rooms.enter(&slug).await?;
    match password::check(body.password, room.row().password_hash.clone()).await {
        password::Check::NotNeeded | password::Check::Right => {}
        password::Check::Missing => return Err(refused("password_required", "password: the room has one")),
        password::Check::Wrong => return Err(refused("password_wrong", "password: another one")),
    }
    let token = token(&app, &room, "guest", &name, Role::Guest)?;
    let answer = json!({"room": room.id().as_str(), "slug": room.row().slug, "token": token});
    Ok(Json(answer).into_response())
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
    if app.limiter.allow(address, Instant::now()) {
        Ok(())
    } else {
        Err(ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "too many requests, wait a moment",
        ))
    }
}

fn forbidden(message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "forbidden", message)
}

fn refused(code: &'static str, message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, code, message)
}
