//! The Prometheus page: the reference's names, and what the data plane tells as a whole.
//!
//! Labels have few and fixed values; nothing is labelled by room or participant. Figures of single
//! sessions are at `/stats?room=`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use kall_shared::link::Stats;

use super::App;
use super::histogram::BOUNDS;
use super::media_sample::MediaSample;
use super::stats::data_plane_stats;
use crate::media::drops;

pub(super) fn router(path: &str) -> Router<Arc<App>> {
    Router::new().route(path, get(metrics))
}

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let mut page = Page(String::new());
    let stats = data_plane_stats(&app).await;
    reference(&mut page, &app, stats.as_ref()).await;
    server(&mut page, &app).await;
    if let Some(stats) = &stats {
        counters(&mut page, stats);
        cores(&mut page, stats);
    }
    if let Some(sample) = app.sampler.sample(&app.rooms.context().media).await {
        gauges(&mut page, &sample);
    }
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        page.0,
    )
}

/// What the product's reference promises, name for name.
async fn reference(page: &mut Page, app: &App, stats: Option<&Stats>) {
    let (rooms, census) = app.rooms.census().await;
    page.family("koder_kall_rooms_active", "gauge", "Number of active rooms");
    page.value("koder_kall_rooms_active", "", rooms);
    page.family(
        "koder_kall_participants_total",
        "gauge",
        "Total participants across all rooms",
    );
    page.value("koder_kall_participants_total", "", census.participants);
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
        page.value("koder_kall_tracks_total", &format!("kind=\"{kind}\""), count);
    }
    if let Some(stats) = stats {
        page.family(
            "koder_kall_bandwidth_bytes_total",
            "counter",
            "Total bandwidth in bytes",
        );
        for (direction, name) in [("ingress", "rx_bytes"), ("egress", "tx_bytes")] {
            let labels = format!("direction=\"{direction}\"");
            page.value("koder_kall_bandwidth_bytes_total", &labels, sum(stats, name));
        }
    }
    page.family(
        "koder_kall_http_requests_total",
        "counter",
        "Total HTTP API requests",
    );
    for ((method, status), count) in app.requests.snapshot() {
        let labels = format!("method=\"{method}\",status=\"{status}\"");
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
        app.sockets.load(Ordering::Relaxed),
    );
}

/// What this process says of itself beyond the reference.
async fn server(page: &mut Page, app: &App) {
    for (name, help, histogram) in [
        (
            "koder_kall_http_request_seconds",
            "Time until an HTTP request was answered",
            &app.requests.latency,
        ),
        (
            "koder_kall_ws_message_seconds",
            "Time until a client's WebSocket message was handed to its room or answered",
            &app.messages,
        ),
    ] {
        page.family(name, "histogram", help);
        let reading = histogram.read();
        for (bound, count) in BOUNDS.iter().zip(reading.cumulative) {
            page.value(&format!("{name}_bucket"), &format!("le=\"{bound}\""), count);
        }
        page.value(&format!("{name}_bucket"), "le=\"+Inf\"", reading.count);
        page.value(&format!("{name}_sum"), "", reading.seconds);
        page.value(&format!("{name}_count"), "", reading.count);
    }
    let pool = app.rooms.context().store.pool_figures();
    let name = "koder_kall_database_connections";
    page.family(
        name,
        "gauge",
        "Connections of the database pool, and how many it may have",
    );
    for (state, count) in [
        ("used", pool.open.saturating_sub(pool.idle)),
        ("idle", pool.idle),
        ("max", pool.max),
    ] {
        page.value(name, &format!("state=\"{state}\""), count);
    }
    let (_, census) = app.rooms.census().await;
    page.family(
        "koder_kall_lobby_waiting",
        "gauge",
        "People who wait to be let in",
    );
    page.value("koder_kall_lobby_waiting", "", census.waiting);
}

/// Counters that each core has for itself; a machine whose cores differ shows here.
const BY_CORE: [CoreFamily; 9] = [
    (
        "koder_kall_core_packets_total",
        "counter",
        "Datagrams of a core",
        &[
            ("direction=\"ingress\"", "rx_packets"),
            ("direction=\"egress\"", "tx_packets"),
        ],
    ),
    (
        "koder_kall_core_bytes_total",
        "counter",
        "Bytes of a core, all headers above UDP included",
        &[
            ("direction=\"ingress\"", "rx_bytes"),
            ("direction=\"egress\"", "tx_bytes"),
        ],
    ),
    (
        "koder_kall_core_loop_turns_total",
        "counter",
        "Turns of a core's loop",
        &[("", "loop_turns")],
    ),
    (
        "koder_kall_core_loop_busy_seconds_total",
        "counter",
        "Time a core's loop was at work",
        &[("", "loop_busy_micros")],
    ),
    (
        "koder_kall_core_lane_depth",
        "gauge",
        "Commands that wait for a core",
        &[("", "lane_depth")],
    ),
    (
        "koder_kall_core_overload_level",
        "gauge",
        "How much of everybody's video a core takes away because it has too much to do; 0 is nothing",
        &[("", "overload_level")],
    ),
    (
        "koder_kall_core_overload_raised_total",
        "counter",
        "Times a core began to take away more",
        &[("", "overload_raised")],
    ),
    (
        "koder_kall_core_slots_shed_total",
        "counter",
        "Times a slot was given less, or nothing, because its core had too much to do",
        &[("", "slots_shed")],
    ),
    (
        "koder_kall_core_sessions_refused_total",
        "counter",
        "Newcomers refused because the core had too much to do",
        &[("", "sessions_refused")],
    ),
];

/// A family with a value for each core.
type CoreFamily = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

fn cores(page: &mut Page, stats: &Stats) {
    for (name, kind, help, samples) in BY_CORE {
        page.family(name, kind, help);
        for (core, counted) in stats.cores.iter().enumerate() {
            for (labels, counter) in samples {
                let value = counted.counters.get(*counter).copied().unwrap_or(0);
                let comma = if labels.is_empty() { "" } else { "," };
                let labels = format!("core=\"{core}\"{comma}{labels}");
                if counter.ends_with("_micros") {
                    page.value(name, &labels, value as f64 / 1e6);
                } else {
                    page.value(name, &labels, value);
                }
            }
        }
    }
    let name = "koder_kall_core_drops_total";
    page.family(name, "counter", "What a core refused, by reason");
    for (core, counted) in stats.cores.iter().enumerate() {
        for (counter, value) in counted.counters.iter().filter(|(_, value)| **value > 0) {
            if let Some(reason) = drops::reason(counter) {
                page.value(name, &format!("core=\"{core}\",reason=\"{reason}\""), value);
            }
        }
    }
}

/// A family of the data plane's counters: its name, its words, and which counter each label means.
type CounterFamily = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const COUNTERS: [CounterFamily; 11] = [
    (
        "koder_kall_media_packets_total",
        "RTP packets: ingress authenticated from publishers, egress sent to receivers, retransmissions included",
        &[
            ("direction=\"ingress\"", "rtp_in"),
            ("direction=\"egress\"", "rtp_out"),
        ],
    ),
    (
        "koder_kall_media_nack_total",
        "Sequence numbers asked for again: sent to publishers, received from receivers",
        &[
            ("direction=\"sent\"", "nack_sent"),
            ("direction=\"received\"", "nack_received"),
        ],
    ),
    (
        "koder_kall_media_pli_total",
        "Key frame requests: sent to publishers, received from receivers",
        &[
            ("direction=\"sent\"", "pli_sent"),
            ("direction=\"received\"", "pli_received"),
        ],
    ),
    (
        "koder_kall_media_rtx_packets_total",
        "Retransmissions: ingress that filled a gap of a publisher, egress sent again to receivers",
        &[
            ("direction=\"ingress\"", "rtx_in"),
            ("direction=\"egress\"", "rtx_out"),
        ],
    ),
    (
        "koder_kall_media_rtx_refused_total",
        "Sequence numbers receivers asked for that are gone, over a limit or never were",
        &[("", "rtx_refused")],
    ),
    (
        "koder_kall_media_padding_packets_total",
        "Packets sent to receivers only to measure their path",
        &[("", "padding_out")],
    ),
    (
        "koder_kall_media_layer_changes_total",
        "Times a video slot began to show a layer: the first, another one, or one of another track",
        &[("", "layer_changes")],
    ),
    (
        "koder_kall_media_slot_pauses_total",
        "Times a slot was held back because the receiver's path was too narrow",
        &[("", "slot_pauses")],
    ),
    (
        "koder_kall_media_path_changes_total",
        "Times the path to a participant became another one",
        &[("", "path_changes")],
    ),
    (
        "koder_kall_media_ice_restarts_total",
        "ICE restarts of living sessions",
        &[("", "ice_restarts")],
    ),
    (
        "koder_kall_media_tcp_connections_total",
        "ICE-TCP connections: accepted, refused for what they began with, taken in by a core, closed, and closed because they took nothing any more",
        &[
            ("event=\"accepted\"", "tcp_gate_accepted"),
            ("event=\"refused\"", "tcp_gate_refused"),
            ("event=\"opened\"", "tcp_opened"),
            ("event=\"closed\"", "tcp_closed"),
            ("event=\"stuck\"", "tcp_stuck"),
        ],
    ),
];

/// What only rises, since the start of the data plane.
fn counters(page: &mut Page, stats: &Stats) {
    for (name, help, samples) in COUNTERS {
        page.family(name, "counter", help);
        for (labels, counter) in samples {
            page.value(name, labels, sum(stats, counter));
        }
    }
    let name = "koder_kall_media_sessions";
    page.family(name, "gauge", "Living media sessions of the data plane");
    let sessions: u64 = stats.cores.iter().map(|core| u64::from(core.sessions)).sum();
    page.value(name, "", sessions);
}

/// What sessions say of this moment.
fn gauges(page: &mut Page, sample: &MediaSample) {
    let mut gauge = |name: &str, help: &str, values: &[(&str, f64)]| {
        page.family(name, "gauge", help);
        for (labels, value) in values {
            page.value(name, labels, value);
        }
    };
    gauge(
        "koder_kall_media_sessions_measured",
        "Media sessions that the following figures are of",
        &[("", sample.sessions as f64)],
    );
    gauge(
        "koder_kall_media_bitrate_bps",
        "Bitrate over the last second in bit/s, all headers above UDP included",
        &[
            ("direction=\"ingress\"", sample.receive_bps as f64),
            ("direction=\"egress\"", sample.send_bps as f64),
        ],
    );
    gauge(
        "koder_kall_media_rtt_seconds",
        "Round trip times to participants; quantile 1 is the longest",
        &sample.rtt_seconds.labelled(),
    );
    gauge(
        "koder_kall_media_loss_ratio",
        "Share of what was sent to a participant that got lost, by transport-wide feedback",
        &sample.loss_ratio.labelled(),
    );
    gauge(
        "koder_kall_media_estimate_bps",
        "What the paths to participants are believed to carry in bit/s; sessions without feedback left out",
        &sample.estimate_bps.labelled(),
    );
    gauge(
        "koder_kall_media_queued_packets",
        "Packets that wait for their turn on the paths to participants",
        &[("", sample.queued_packets as f64)],
    );
    gauge(
        "koder_kall_media_layers_active",
        "Published streams that flow, each simulcast layer for itself",
        &[("", sample.layers_active as f64)],
    );
    gauge(
        "koder_kall_media_slots",
        "Slots that show a track, by layer; single: a track with one layer",
        &[
            ("layer=\"low\"", sample.slots.low as f64),
            ("layer=\"medium\"", sample.slots.medium as f64),
            ("layer=\"high\"", sample.slots.high as f64),
            ("layer=\"single\"", sample.slots.single as f64),
        ],
    );
    gauge(
        "koder_kall_media_slots_paused",
        "Slots that are held back because the receiver's path is too narrow, or the core has too much to do",
        &[("", sample.slots.paused as f64)],
    );
}

fn sum(stats: &Stats, counter: &str) -> u64 {
    let cores = stats.cores.iter();
    cores.filter_map(|core| core.counters.get(counter)).sum()
}

/// The Prometheus text format, version 0.0.4.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kall_shared::link::CoreStats;

    #[test]
    fn counters_are_summed_over_cores_and_a_missing_one_is_zero() {
        let core = |nacks: u64| CoreStats {
            sessions: 2,
            counters: [("nack_sent".to_owned(), nacks)].into(),
        };
        let mut page = Page(String::new());
        let stats = Stats {
            cores: vec![core(3), core(4)],
        };
        counters(&mut page, &stats);
        for line in [
            "koder_kall_media_nack_total{direction=\"sent\"} 7",
            "koder_kall_media_nack_total{direction=\"received\"} 0",
            "koder_kall_media_sessions 4",
        ] {
            assert!(page.0.lines().any(|own| own == line), "{line} in:\n{}", page.0);
        }
    }

    #[test]
    fn every_family_has_its_words_once_and_before_its_values() {
        let mut page = Page(String::new());
        counters(&mut page, &Stats::default());
        gauges(&mut page, &MediaSample::default());
        let mut described: Vec<&str> = Vec::new();
        for line in page.0.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and words");
                assert!(!described.contains(&name) && help.len() > 10, "{line}");
                described.push(name);
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().expect("a name");
                assert_eq!(described.last(), Some(&name), "{line}");
            }
        }
    }
}
