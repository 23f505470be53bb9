//! `/health` for people and load balancers, `/health/live` and `/health/ready` for orchestrators.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kall_shared::version::BUILD;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;

/// How long the database may take to answer before it counts as away.
const DATABASE_PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(live))
        .routes(routes!(ready))
}

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Whether everything works.
    status: Wellness,
    /// What does not; absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Of this build.
    #[schema(example = "1.0.0")]
    version: &'static str,
    /// Since the start.
    uptime_seconds: u64,
    /// The way to the media server.
    media: Link,
    /// The way to the database.
    database: Link,
}

/// Whether everything works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HealthStatus)]
enum Wellness {
    /// It does.
    Ok,
    /// Something does not; `reason` says what.
    Degraded,
}

/// Whether another process is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Link {
    /// It answers.
    Connected,
    /// It does not.
    Away,
}

async fn look(app: &App) -> Health {
    let context = app.rooms.context();
    let media = match context.media.info() {
        Some(_) => Link::Connected,
        None => Link::Away,
    };
    let database = match tokio::time::timeout(DATABASE_PATIENCE, context.store.ping()).await {
        Ok(Ok(())) => Link::Connected,
        _ => Link::Away,
    };
    let away = [
        (media, "the media server is away"),
        (database, "the database is away"),
    ];
    let away: Vec<&str> = away
        .into_iter()
        .filter_map(|(link, words)| (link == Link::Away).then_some(words))
        .collect();
    Health {
        status: if away.is_empty() {
            Wellness::Ok
        } else {
            Wellness::Degraded
        },
        reason: (!away.is_empty()).then(|| away.join(", ")),
        version: BUILD,
        uptime_seconds: app.started.elapsed().as_secs(),
        media,
        database,
    }
}

/// Tells how the server is. Always 200: a degraded server goes on with what it can.
#[utoipa::path(get, path = "/health", tag = "Health", security(()),
    responses((status = 200, description = "How the server is", body = Health)))]
async fn health(State(app): State<Arc<App>>) -> Json<Health> {
    Json(look(&app).await)
}

/// Whether the process answers.
#[derive(Debug, Serialize, ToSchema)]
struct Alive {
    /// `ok`
    status: &'static str,
}

/// Answers as long as the process does: restart it when it does not.
#[utoipa::path(get, path = "/health/live", tag = "Health", security(()),
    responses((status = 200, description = "The process answers", body = Alive)))]
async fn live() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// Whether new calls can begin here: database and media server answer.
#[utoipa::path(get, path = "/health/ready", tag = "Health", security(()),
    responses((status = 200, description = "They can", body = Health),
        (status = 503, description = "Not now", body = Health)))]
async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Health>) {
    let health = look(&app).await;
    let status = match health.status {
        Wellness::Ok => StatusCode::OK,
        Wellness::Degraded => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(health))
}
