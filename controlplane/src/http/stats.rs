//! `/health`, `/stats` and the Prometheus page.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use kall_shared::link::{Request, Response, Stats};
use kall_shared::version::BUILD;
use serde_json::{Value, json};

use super::App;
use super::extract::ApiCaller;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/health", get(health))
        .route("/stats", get(stats))
}

pub(super) fn metrics_router(path: &str) -> Router<Arc<App>> {
    Router::new().route(path, get(metrics))
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

async fn stats(_: ApiCaller, State(app): State<Arc<App>>) -> Json<Value> {
    let (rooms, census) = app.rooms.census().await;
    let info = app.rooms.context().media.info();
    let counters = data_plane_stats(&app).await;
    let data_plane = info.map(|info| {
        json!({
            "pid": info.pid,
            // As text: a random 64-bit number does not survive a JavaScript reader.
            "instance": format!("{:016x}", info.instance),
            "build": info.build,
            "io": info.io,
            "udp_ports": info.udp_ports,
            "addresses": info.addresses,
            "cores": counters.map(|stats| stats.cores).unwrap_or_default(),
        })
    });
    Json(json!({
        "rooms": rooms,
        "participants": census.participants,
        "tracks": {"audio": census.audio, "video": census.video, "screen": census.screen},
        "websockets": app.sockets.load(Ordering::Relaxed),
        "uptime_seconds": app.started.elapsed().as_secs(),
        "memory_mb": memory_mb(),
        "dataplane": data_plane,
    }))
}

async fn data_plane_stats(app: &App) -> Option<Stats> {
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

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let (rooms, census) = app.rooms.census().await;
    let mut page = Page(String::new());
    page.family("koder_kall_rooms_active", "gauge", "Number of active rooms");
    page.value("koder_kall_rooms_active", "", rooms as u64);
    page.family(
        "koder_kall_participants_total",
        "gauge",
        "Total participants across all rooms",
    );
    page.value("koder_kall_participants_total", "", census.participants as u64);
    page.family(
        "koder_kall_tracks_total",
        "gauge",
        "Total published tracks by kind",
    );
    for (kind, count) in [
        ("audio", census.audio),
        ("video", census.video),
        ("screen", census.screen),
    ] {
        page.value(
            "koder_kall_tracks_total",
            &format!("{{kind=\"{kind}\"}}"),
            count as u64,
        );
    }
    if let Some(stats) = data_plane_stats(&app).await {
        let sum = |name: &str| -> u64 {
            stats
                .cores
                .iter()
                .filter_map(|core| core.counters.get(name))
                .sum()
        };
        page.family(
            "koder_kall_bandwidth_bytes_total",
            "counter",
            "Total bandwidth in bytes",
        );
        for (direction, name) in [("ingress", "rx_bytes"), ("egress", "tx_bytes")] {
            let labels = format!("{{direction=\"{direction}\"}}");
            page.value("koder_kall_bandwidth_bytes_total", &labels, sum(name));
        }
    }
    page.family(
        "koder_kall_http_requests_total",
        "counter",
        "Total HTTP API requests",
    );
    for ((method, status), count) in app.requests.snapshot() {
        let labels = format!("{{method=\"{method}\",status=\"{status}\"}}");
        page.value("koder_kall_http_requests_total", &labels, count);
    }
    page.family(
        "koder_kall_ws_connections_active",
        "gauge",
        "Active WebSocket connections",
    );
    page.value(
        "koder_kall_ws_connections_active",
        "",
        app.sockets.load(Ordering::Relaxed) as u64,
    );
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        page.0,
    )
}

/// The Prometheus text format, version 0.0.4.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}
