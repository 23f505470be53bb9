//! `/rooms/:id/participants` and what is done to them: kick, mute, role; lobby and bans.

#![expect(unused_qualifications, reason = "the OpenAPI macro writes them")]

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kall_shared::id::Identity;
use kall_shared::media::{Kind, Source};
use kall_shared::signalling::{BanBy, Participant, Role};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{self, ApiCaller, OFFSET_MAX, Path, Query};
use super::rooms::{act, done, open_room};
use super::shapes;
use crate::domain::room::{Action, rfc3339};
use crate::store::{BanKind, BanRow};

/// Participants in one page at most.
const PAGE_MAX: u32 = 1000;

/// Participants in a page that names no number.
const PAGE_DEFAULT: u32 = 200;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(kick))
        .routes(routes!(mute))
        .routes(routes!(set_role))
        .routes(routes!(lobby))
        .routes(routes!(admit))
        .routes(routes!(reject))
        .routes(routes!(admit_all))
        .routes(routes!(bans, ban))
        .routes(routes!(lift))
}

/// Which participants.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Page {
    /// At most so many, 1 to 1000; default 200.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Without the first so many, in the order of identities.
    #[param(minimum = 0, maximum = 2_147_483_647)]
    offset: Option<u32>,
    /// Only those of this role.
    role: Option<Role>,
}

/// A page of participants.
#[derive(Debug, Serialize, ToSchema)]
struct Participants {
    participants: Vec<Entry>,
    /// Of all pages.
    total: usize,
}

/// Somebody in a room.
#[derive(Debug, Serialize, ToSchema)]
struct Entry {
    /// Who.
    #[schema(example = "user-1")]
    identity: String,
    /// Display name.
    #[schema(example = "Alice")]
    name: String,
    /// What it may do.
    role: Role,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    joined_at: String,
    /// Whether it raised its hand.
    hand: bool,
    /// What it sends and is not muted.
    tracks: Sends,
    /// The breakout room it is in; null: the main room.
    breakout: Option<String>,
}

/// What somebody sends.
#[derive(Debug, Serialize, ToSchema)]
struct Sends {
    /// A microphone.
    audio: bool,
    /// A camera.
    video: bool,
    /// A screen.
    screen: bool,
}

/// Lists who is in a room.
#[utoipa::path(get, path = "/rooms/{id}/participants", tag = "Participants",
    params(("id" = String, Path, description = "Id or slug"), Page),
    responses((status = 200, description = "A page of participants", body = Participants)))]
async fn list(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<Participants>, ApiError> {
    let limit = extract::within("limit", page.limit, PAGE_DEFAULT, 1..=PAGE_MAX)?;
    let offset = extract::within("offset", page.offset, 0, 0..=OFFSET_MAX)?;
    let room = open_room(&app, &id)?;
    let roster = room.roster().await.ok_or_else(|| ApiError::room_not_found(&id))?;
    let wanted = |(participant, _): &&(Participant, Option<String>)| {
        page.role.is_none_or(|role| participant.role == role)
    };
    let total = roster.iter().filter(wanted).count();
    let skipped = roster.iter().filter(wanted).skip(offset as usize);
    let participants = skipped
        .take(limit as usize)
        .map(|(participant, breakout)| entry(participant, breakout.clone()))
        .collect();
    Ok(Json(Participants { participants, total }))
}

fn entry(participant: &Participant, breakout: Option<String>) -> Entry {
    let has = |wanted: &dyn Fn(Source) -> bool| {
        let mut tracks = participant.tracks.iter();
        tracks.any(|track| !track.muted && wanted(track.source))
    };
    Entry {
        identity: participant.identity.clone(),
        name: participant.name.clone(),
        role: participant.role,
        joined_at: participant.joined_at.clone(),
        hand: participant.hand,
        tracks: Sends {
            audio: has(&|source| source == Source::Microphone),
            video: has(&|source| source.kind() == Kind::Video && source != Source::Screen),
            screen: has(&|source| source == Source::Screen),
        },
        breakout,
    }
}

/// Whom to send away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Kick {
    /// Who.
    #[schema(schema_with = shapes::identity)]
    identity: Identity,
    /// Whether the same identity or address may come back with another token.
    #[serde(default)]
    ban: Option<BanBy>,
}

/// Sends a participant away. Its token opens nothing any more.
#[utoipa::path(post, path = "/rooms/{id}/kick", tag = "Participants", request_body = Kick,
    params(("id" = String, Path, description = "Id or slug")),
    responses((status = 204, description = "It is gone")))]
async fn kick(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    extract::Json(body): extract::Json<Kick>,
) -> Result<StatusCode, ApiError> {
    let action = Action::Kick {
        identity: body.identity,
        ban: body.ban,
    };
    done(&app, &id, action).await
}

/// What to silence.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Mute {
    /// Whose.
    #[schema(schema_with = shapes::identity)]
    identity: Identity,
    /// `audio`, `video`, `screen` or a track id.
    #[schema(example = "audio")]
    track_type: String,
}

/// Silences a participant's track. It alone can lift that again.
#[utoipa::path(post, path = "/rooms/{id}/mute", tag = "Participants", request_body = Mute,
    params(("id" = String, Path, description = "Id or slug")),
    responses((status = 204, description = "It is silent")))]
async fn mute(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    extract::Json(body): extract::Json<Mute>,
) -> Result<StatusCode, ApiError> {
    let action = Action::Mute {
        identity: body.identity,
        track: body.track_type,
    };
    done(&app, &id, action).await
}

/// What somebody is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRole {
    /// Which.
    role: Role,
}

/// Gives a participant another role.
#[utoipa::path(post, path = "/rooms/{id}/participants/{identity}/role", tag = "Participants", request_body = NewRole,
    params(("id" = String, Path, description = "Id or slug"), ("identity" = String, Path, description = "Who")),
    responses((status = 204, description = "It has the role")))]
async fn set_role(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path((id, identity)): Path<(String, String)>,
    extract::Json(body): extract::Json<NewRole>,
) -> Result<StatusCode, ApiError> {
    let identity = who(identity)?;
    let role = body.role;
    done(&app, &id, Action::SetRole { identity, role }).await
}

/// Somebody of a path. A name that nobody can have is nobody's.
fn who(identity: String) -> Result<Identity, ApiError> {
    Identity::new(identity)
        .map_err(|error| ApiError::new(StatusCode::NOT_FOUND, "participant_not_found", error.to_string()))
}

/// Who waits.
#[derive(Debug, Serialize, ToSchema)]
struct Lobby {
    waiting: Vec<Waiting>,
}

/// Somebody in the lobby.
#[derive(Debug, Serialize, ToSchema)]
struct Waiting {
    /// Who.
    identity: String,
    /// Display name.
    name: String,
}

/// Lists who waits in a room's lobby.
#[utoipa::path(get, path = "/rooms/{id}/lobby", tag = "Lobby",
    params(("id" = String, Path, description = "Id or slug")),
    responses((status = 200, description = "Who waits", body = Lobby)))]
async fn lobby(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Lobby>, ApiError> {
    let room = open_room(&app, &id)?;
    let waiting = room.lobby().await.ok_or_else(|| ApiError::room_not_found(&id))?;
    let waiting = waiting
        .into_iter()
        .map(|(identity, name)| Waiting { identity, name });
    Ok(Json(Lobby {
        waiting: waiting.collect(),
    }))
}

/// Lets somebody in who waits.
#[utoipa::path(post, path = "/rooms/{id}/lobby/{identity}/admit", tag = "Lobby",
    params(("id" = String, Path, description = "Id or slug"), ("identity" = String, Path, description = "Who")),
    responses((status = 204, description = "It is in")))]
async fn admit(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path((id, identity)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    done(&app, &id, Action::Admit(who(identity)?)).await
}

/// Why somebody is not let in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rejected {
    /// In words, for the one who waits.
    #[serde(default)]
    #[schema(max_length = 256)]
    reason: String,
}

/// Sends somebody away who waits.
#[utoipa::path(post, path = "/rooms/{id}/lobby/{identity}/reject", tag = "Lobby", request_body = Rejected,
    params(("id" = String, Path, description = "Id or slug"), ("identity" = String, Path, description = "Who")),
    responses((status = 204, description = "It is gone")))]
async fn reject(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path((id, identity)): Path<(String, String)>,
    extract::Json(body): extract::Json<Rejected>,
) -> Result<StatusCode, ApiError> {
    let identity = who(identity)?;
    let reason = body.reason;
    done(&app, &id, Action::Reject { identity, reason }).await
}

/// Lets everybody in who waits.
#[utoipa::path(post, path = "/rooms/{id}/lobby/admit_all", tag = "Lobby",
    params(("id" = String, Path, description = "Id or slug")),
    responses((status = 204, description = "The lobby is empty")))]
async fn admit_all(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    done(&app, &id, Action::AdmitAll).await
}

/// Who is kept out.
#[derive(Debug, Serialize, ToSchema)]
struct Bans {
    bans: Vec<Ban>,
}

/// A ban of one room.
#[derive(Debug, Serialize, ToSchema)]
struct Ban {
    /// `ban_` and letters or digits.
    id: String,
    /// What it goes by.
    by: BanBy,
    /// The identity or the address.
    value: String,
    /// Who did it; `api` for a caller of this API.
    created_by: String,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    created_at: String,
}

fn shown(row: BanRow) -> Ban {
    let created = OffsetDateTime::from_unix_timestamp_nanos(i128::from(row.created_at) * 1_000_000);
    Ban {
        by: if row.kind == BanKind::Address.as_str() {
            BanBy::Address
        } else {
            BanBy::Identity
        },
        id: row.id,
        value: row.value,
        created_by: row.created_by,
        created_at: rfc3339(created.unwrap_or(OffsetDateTime::UNIX_EPOCH)),
    }
}

/// Lists who is kept out of a room.
#[utoipa::path(get, path = "/rooms/{id}/bans", tag = "Bans",
    params(("id" = String, Path, description = "Id or slug")),
    responses((status = 200, description = "All bans, oldest first", body = Bans)))]
async fn bans(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Bans>, ApiError> {
    let room = open_room(&app, &id)?;
    let bans = room.bans().await.ok_or_else(|| ApiError::room_not_found(&id))?;
    Ok(Json(Bans {
        bans: bans.into_iter().map(shown).collect(),
    }))
}

/// Whom to keep out.
#[derive(Debug, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
enum NewBan {
    /// Somebody.
    Identity {
        /// Its identity.
        value: Identity,
    },
    /// Everybody but moderators who come from there.
    Address {
        /// IPv4 or IPv6.
        value: IpAddr,
    },
}

impl PartialSchema for NewBan {
    fn schema() -> RefOr<Schema> {
        shapes::new_ban()
    }
}

impl ToSchema for NewBan {}

/// Keeps an identity or an address out of a room. Who is in stays: kick them with `ban`.
#[utoipa::path(post, path = "/rooms/{id}/bans", tag = "Bans", request_body = NewBan,
    params(("id" = String, Path, description = "Id or slug")),
    responses((status = 201, description = "All bans", body = Bans)))]
async fn ban(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    extract::Json(body): extract::Json<NewBan>,
) -> Result<(StatusCode, Json<Bans>), ApiError> {
    let room = open_room(&app, &id)?;
    let action = match body {
        NewBan::Identity { value } => Action::Ban {
            by: BanBy::Identity,
            value: value.to_string(),
        },
        NewBan::Address { value } => Action::Ban {
            by: BanBy::Address,
            value: value.to_string(),
        },
    };
    act(&room, action).await?;
    let bans = room.bans().await.ok_or_else(|| ApiError::room_not_found(&id))?;
    let bans = bans.into_iter().map(shown).collect();
    Ok((StatusCode::CREATED, Json(Bans { bans })))
}

/// Lifts a ban.
#[utoipa::path(delete, path = "/rooms/{id}/bans/{ban}", tag = "Bans",
    params(("id" = String, Path, description = "Id or slug"), ("ban" = String, Path, description = "Id of the ban")),
    responses((status = 204, description = "It is lifted")))]
async fn lift(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Path((id, ban)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    done(&app, &id, Action::LiftBan(ban)).await
}
