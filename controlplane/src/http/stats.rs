//! `/stats`. The Prometheus page is in [`super::metrics`].

#![expect(unused_qualifications, reason = "the OpenAPI macro writes them")]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use kall_shared::id::RoomId;
use kall_shared::link::{Request, Response, Stats};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{ApiCaller, Query};
use super::room_stats;

/// Sessions in one answer at most: each has up to 74 slots of some 300 bytes.
const ROOM_SESSIONS_MAX: usize = 1024;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(stats))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Of {
    /// Id or slug; absent: the server as a whole.
    room: Option<String>,
}

/// Figures of the server, or of one room.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Figures {
    /// The server.
    Server(ServerFigures),
    /// One room.
    Room(RoomFigures),
}

/// Figures of the server.
#[derive(Debug, Serialize, ToSchema)]
struct ServerFigures {
    /// Open rooms.
    #[schema(example = 12)]
    rooms: usize,
    /// People in them.
    #[schema(example = 87)]
    participants: usize,
    /// People in lobbies.
    waiting: usize,
    /// What they publish.
    tracks: Tracks,
    /// Open WebSockets.
    websockets: usize,
    /// Since the start.
    #[schema(example = 86400)]
    uptime_seconds: u64,
    /// Resident memory of this process in MiB.
    #[schema(example = 512)]
    memory_mb: u64,
    /// The media server and its counters; null while it is away.
    #[schema(value_type = Option<Object>)]
    dataplane: Option<Value>,
}

/// Published tracks by kind.
#[derive(Debug, Serialize, ToSchema)]
struct Tracks {
    /// Microphones and the sound of screens.
    audio: usize,
    /// Cameras.
    video: usize,
    /// Screens.
    screen: usize,
}

/// Who sends and receives what in one room.
#[derive(Debug, Serialize, ToSchema)]
struct RoomFigures {
    /// Its id.
    room: String,
    /// For links.
    slug: String,
    /// Its media sessions.
    #[schema(value_type = Vec<Object>)]
    sessions: Value,
    /// Whether there are more sessions than are shown.
    more: bool,
}

/// Gets figures of the server, or with `room` of one room.
#[utoipa::path(get, path = "/stats", tag = "Statistics", params(Of),
    responses((status = 200, description = "The figures", body = Figures)))]
async fn stats(
    _: ApiCaller,
    State(app): State<Arc<App>>,
    Query(of): Query<Of>,
) -> Result<Json<Figures>, ApiError> {
    Ok(Json(match of.room {
        Some(room) => Figures::Room(of_room(&app, &room).await?),
        None => Figures::Server(of_server(&app).await),
    }))
}

async fn of_room(app: &App, room: &str) -> Result<RoomFigures, ApiError> {
    let missing = || ApiError::room_not_found(room);
    let handle = app.rooms.find(room).ok_or_else(missing)?;
    let media = &app.rooms.context().media;
    // Sessions in breakout rooms are other rooms to the media server.
    let mut figures = Vec::new();
    let mut more = false;
    let breakouts = handle.breakouts().await.flatten();
    let parts = breakouts.iter().flat_map(|breakouts| &breakouts.rooms);
    let parts = parts.filter_map(|breakout| RoomId::new(breakout.id.as_str()).ok());
    for part in std::iter::once(handle.id().clone()).chain(parts) {
        let page = media.session_stats(Some(part), ROOM_SESSIONS_MAX).await;
        let (page, further) = page.map_err(|error| ApiError::media_unavailable(error.to_string()))?;
        figures.extend(page);
        more |= further;
    }
    let people = handle.sessions().await.ok_or_else(missing)?;
    Ok(RoomFigures {
        room: handle.id().to_string(),
        slug: handle.row().slug.clone(),
        sessions: json!(room_stats::sessions(&people, figures)),
        more,
    })
}

async fn of_server(app: &App) -> ServerFigures {
    let (rooms, census) = app.rooms.census().await;
    let info = app.rooms.context().media.info();
    let counters = data_plane_stats(app).await;
    let dataplane = info.map(|info| {
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
    ServerFigures {
        rooms,
        participants: census.participants,
        waiting: census.waiting,
        tracks: Tracks {
            audio: census.audio,
            video: census.video,
            screen: census.screen,
        },
        websockets: app.sockets.load(Ordering::Relaxed),
        uptime_seconds: app.started.elapsed().as_secs(),
        memory_mb: memory_mb(),
        dataplane,
    }
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
