//! HTTP and WebSocket: the only place with axum's types. Each file offers a `router()`; they are
//! nested here, so that all URLs show on one page.

mod breakouts;
mod docs;
mod error;
mod extract;
pub(crate) mod first_bytes;
mod health;
mod histogram;
mod idempotency;
mod layers;
mod limiter;
mod media_sample;
mod meetings;
mod metrics;
mod openapi;
mod pages;
mod participants;
mod room_stats;
mod rooms;
mod shapes;
mod stats;
mod tokens;
mod values;
mod whip;
mod ws;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Instant;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

pub use pages::Assets;
use utoipa_axum::router::OpenApiRouter;

use crate::config::Config;
use crate::domain::registry::Registry;

/// Longest request body in bytes; the largest real one is a room with a long name.
const BODY_MAX: usize = 64 << 10;

/// What every handler sees.
#[derive(Debug)]
pub struct App {
    rooms: Arc<Registry>,
    assets: Assets,
    started: Instant,
    sockets: AtomicUsize,
    requests: layers::RequestCounts,
    /// Seconds from a client's message to its end in the room.
    messages: histogram::Histogram,
    limiter: limiter::Limiter,
    run: u32,
    next_request: AtomicU64,
    sampler: media_sample::Sampler,
}

impl App {
    /// The application around the rooms.
    #[must_use]
    pub fn new(rooms: Arc<Registry>, assets: Assets) -> Arc<Self> {
        Arc::new(Self {
            rooms,
            assets,
            started: Instant::now(),
            sockets: AtomicUsize::new(0),
            requests: layers::RequestCounts::default(),
            messages: histogram::Histogram::default(),
            limiter: limiter::Limiter::default(),
            run: rand::random(),
            next_request: AtomicU64::new(0),
            sampler: media_sample::Sampler::default(),
        })
    }

    /// A name for a request that came without one: this run and its number.
    fn request_id(&self) -> String {
        let number = self
            .next_request
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            + 1;
        format!("{:08x}-{number:x}", self.run)
    }

    fn config(&self) -> &Config {
        &self.rooms.context().config
    }
}

/// Every URL of the server.
pub fn router(app: &Arc<App>) -> Router {
    let metrics = &app.config().metrics;
    let with_key = OpenApiRouter::new()
        .merge(stats::router())
        .merge(rooms::router())
        .merge(participants::router())
        .merge(breakouts::router())
        .merge(tokens::router())
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(app),
            idempotency::replay,
        ))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(app),
            extract::authenticate,
        ));
    let (router, api) = OpenApiRouter::with_openapi(openapi::base())
        .merge(health::router())
        .merge(meetings::router())
        .merge(with_key)
        .split_for_parts();
    let api = openapi::finish(api);
    let mut router = router
        .merge(openapi::router(&api))
        .merge(docs::router(&api))
        .merge(whip::router())
        .merge(ws::router());
    if metrics.enabled {
        router = router.merge(metrics::router(&metrics.endpoint));
    }
    router
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .merge(pages::router())
        .method_not_allowed_fallback(error::method_not_allowed)
        .fallback(error::not_found)
        .layer(CompressionLayer::new())
        .layer(layers::cors(&app.config().auth.allowed_origins))
        .layer(middleware::from_fn(whip::announce))
        .layer(middleware::map_response(layers::security_headers))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(middleware::from_fn_with_state(Arc::clone(app), layers::observe))
        .with_state(Arc::clone(app))
}
