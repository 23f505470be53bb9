//! `/health` and `/stats`. The Prometheus page is in [`super::metrics`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use kall_shared::link::{Request, Response, Stats};
use kall_shared::version::BUILD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::error::ApiError;
use super::extract::{ApiCaller, Query};
use super::room_stats;

/// Sessions in one answer at most: each has up to 74 slots of some 300 bytes.
const ROOM_SESSIONS_MAX: usize = 1024;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/health", get(health))
        .route("/stats", get(stats))
}

async fn health(State(app): State<Arc<App>>) -> Json<Value> {
    let media = if app.rooms.context().media.info().is_some() {
        "connected"
    } else {
        "away"
    };
    Json(json!({
        "status": "ok",
        "version": BUILD,
        "uptime_seconds": app.started.elapsed().as_secs(),
        "media": media,
    }))
}

#[derive(Debug, Deserialize)]
struct Of {
    /// Id or slug; absent: the server as a whole.
    room: Option<String>,
}

async fn stats(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Query(of): Query<Of>,
) -> Result<Json<Value>, ApiError> {
    match of.room {
        Some(room) => of_room(&app, &room).await,
        None => Ok(Json(of_server(&app).await)),
    }
}

/// Who sends and receives what in one room.
async fn of_room(app: &App, room: &str) -> Result<Json<Value>, ApiError> {
    let missing = || ApiError::room_not_found(room);
    let handle = app.rooms.find(room).ok_or_else(missing)?;
    let media = &app.rooms.context().media;
    let figures = media
        .session_stats(Some(handle.id().clone()), ROOM_SESSIONS_MAX)
        .await;
    let (figures, more) = figures.map_err(|error| {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "media_unavailable",
            error.to_string(),
        )
    })?;
    let people = handle.sessions().await.ok_or_else(missing)?;
    Ok(Json(json!({
        "room": handle.id(),
        "slug": handle.row().slug,
        "sessions": room_stats::sessions(&people, figures),
        "more": more,
    })))
}

async fn of_server(app: &App) -> Value {
    let (rooms, census) = app.rooms.census().await;
    let info = app.rooms.context().media.info();
    let counters = data_plane_stats(app).await;
    let data_plane = info.map(|info| {
        json!({
            "pid": info.pid,
            // As text: a random 64-bit number does not survive a JavaScript reader.
            "instance": format!("{:016x}", info.instance),
            "build": info.build,
            "io": info.io,
            "udp_ports": info.udp_ports,
            "tcp_port": info.tcp_port,
            "addresses": info.addresses,
            "cores": counters.map(|stats| stats.cores).unwrap_or_default(),
        })
    });
    json!({
        "rooms": rooms,
        "participants": census.participants,
        "tracks": {"audio": census.audio, "video": census.video, "screen": census.screen},
        "websockets": app.sockets.load(Ordering::Relaxed),
        "uptime_seconds": app.started.elapsed().as_secs(),
        "memory_mb": memory_mb(),
        "dataplane": data_plane,
    })
}

/// Counters of the data plane; none while it is away.
pub(super) async fn data_plane_stats(app: &App) -> Option<Stats> {
    match app.rooms.context().media.request(Request::Stats).await {
        Ok(Response::Stats(stats)) => Some(stats),
        _ => None,
    }
}

/// Resident memory of this process, from the kernel; zero where there is no procfs.
fn memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}
