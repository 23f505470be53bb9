//! The web client's files: embedded in the binary, or from a folder while developing.
//!
//! Pages are one `index.html`, the client routes by itself. Files whose name holds a hash of their
//! content never change and are cached for good.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use super::App;
use super::error::ApiError;

#[derive(RustEmbed)]
#[folder = "web/dist/"]
struct Embedded;

/// Where the web client's files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assets {
    /// From the binary.
    Embedded,
    /// From this folder, read anew for each request.
    Folder(PathBuf),
}

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <title>kall</title><h1>The web client is not built yet</h1>\
    <p>Run <code>npm ci &amp;&amp; npm run build</code> in <code>controlplane/web</code>, then build the server \
    again, or run <code>make run</code>, which does both.</p></html>";

pub(super) fn router() -> Router<Arc<App>> {
    let mut router = Router::new();
    for path in ["/", "/join", "/r/{slug}"] {
        router = router.route(path, get(page));
    }
    router
        .route("/assets/{*file}", get(file))
        .route("/favicon.svg", get(file))
        .route("/favicon.ico", get(file))
        .route("/manifest.webmanifest", get(file))
        .route("/robots.txt", get(file))
}

async fn page(State(app): State<Arc<App>>) -> Response {
    match app.assets.read("index.html").await {
        Some(bytes) => {
            let headers = [
                (header::CACHE_CONTROL, "no-cache"),
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            ];
            (headers, bytes.into_owned()).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, Html(NOT_BUILT)).into_response(),
    }
}

async fn file(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    let Some(bytes) = app.assets.read(path).await else {
        return ApiError::new(StatusCode::NOT_FOUND, "not_found", "no such file").into_response();
    };
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let cache = if has_hash(path) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut response = bytes.into_owned().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(kind) = HeaderValue::from_str(kind.as_ref()) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    response
}

impl Assets {
    async fn read(&self, path: &str) -> Option<Cow<'static, [u8]>> {
        match self {
            Self::Embedded => Embedded::get(path).map(|file| file.data),
            Self::Folder(root) => {
                let relative = Path::new(path);
                // Names only: nothing above the folder can be asked for.
                if !relative
                    .components()
                    .all(|part| matches!(part, Component::Normal(_)))
                {
                    return None;
                }
                tokio::fs::read(root.join(relative)).await.ok().map(Cow::Owned)
            }
        }
    }
}

/// Vite writes `name-<8 or more of [A-Za-z0-9_-]>.ext` into `assets/`.
fn has_hash(path: &str) -> bool {
    let Some(name) = path.strip_prefix("assets/") else {
        return false;
    };
    let stem = name
        .rsplit('/')
        .next()
        .unwrap_or(name)
        .split('.')
        .next()
        .unwrap_or_default();
    // The hash itself may hold a hyphen, so its eight letters are counted from the end.
    let letters: Vec<char> = stem.chars().collect();
    letters.len() > 9
        && letters[letters.len() - 9] == '-'
        && letters[letters.len() - 8..]
            .iter()
            .all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(*letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hashed_names_are_immutable() {
        assert!(has_hash("assets/index-BxY3_-9z.js"));
        assert!(has_hash("assets/index-B1c2D3e4.css"));
        assert!(!has_hash("assets/logo.svg"));
        assert!(!has_hash("index-BxY3_-9z.js"));
    }

    #[tokio::test]
    async fn a_folder_gives_nothing_from_above_it() {
        let dir = tempfile::tempdir().expect("temp dir");
        let dist = dir.path().join("dist");
        std::fs::create_dir(&dist).expect("mkdir");
        std::fs::write(dir.path().join("secret"), "x").expect("write");
        std::fs::write(dist.join("index.html"), "y").expect("write");
        let assets = Assets::Folder(dist);
        assert!(assets.read("index.html").await.is_some());
        assert!(assets.read("../secret").await.is_none());
        assert!(assets.read("/etc/passwd").await.is_none());
    }
}
