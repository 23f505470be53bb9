//! Puts the parts together in the right order: storage, rooms, data plane, then the listener.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use thiserror::Error;

use crate::config::Config;
use crate::domain::claims::ClaimNames;
use crate::domain::context::Context;
use crate::domain::registry::Registry;
use crate::domain::token::{NamedSecret, Tokens};
use crate::http::first_bytes::Accepting;
use crate::http::{self, App, Assets};
use crate::media::{MediaClient, Supervisor};
use crate::secret;
use crate::store::{Store, StoreError};

/// Why the server does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Files and sockets.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> StartError {
    let what = what.into();
    move |source| StartError::Io { what, source }
}

/// What a caller decides beyond the configuration.
#[derive(Debug)]
pub struct Options {
    /// Where pages come from.
    pub assets: Assets,
    /// The data plane's executable.
    pub program: Option<PathBuf>,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    tls: bool,
    handle: Handle<SocketAddr>,
    serving: tokio::task::JoinHandle<io::Result<()>>,
    supervisor: Supervisor,
    rooms: Arc<Registry>,
    drain: Duration,
}

impl Server {
    /// Starts everything. Returns once the port is open.
    ///
    /// # Errors
    /// [`StartError`] with what could not be had.
    pub async fn start(config: Config, options: Options) -> Result<Self, StartError> {
        let folder = config.data_dir();
        std::fs::create_dir_all(&folder).map_err(io_error(folder.display().to_string()))?;
        let signing = secret::signing_secret(&config).map_err(io_error("signing secret"))?;
        let store = Store::connect(&config.database).await?;
        // Bound before the data plane is started: a second server on the same port must not
        // take the first one's data plane away.
        let wanted = SocketAddr::new(config.server.host, config.server.port);
        let listener =
            std::net::TcpListener::bind(wanted).map_err(io_error(format!("listening on {wanted}")))?;
        listener.set_nonblocking(true).map_err(io_error("listener"))?;
        let address = listener.local_addr().map_err(io_error("listener"))?;
        let tls = match config.tls() {
            true => Some(load_tls(&config).await?),
            false => None,
        };
        for key in config.without_effect() {
            tracing::warn!(key, "set, but without effect in this version");
        }
        let media = MediaClient::new();
        let context = Arc::new(Context {
            tokens: tokens(&config, &signing),
            public_addresses: resolve(&config).await,
            config: config.clone(),
            store,
            media: media.clone(),
        });
        let rooms = Registry::restore(context).await?;
        let supervisor = Supervisor::start(config.clone(), media, options.program).await;
        let app = App::new(Arc::clone(&rooms), options.assets);
        let service = http::router(&app).into_make_service_with_connect_info::<SocketAddr>();
        let handle = Handle::new();
        let limit = Duration::from_secs(config.server.request_timeout);
        let serving = match tls.clone() {
            Some(tls) => {
                let server = axum_server::from_tcp_rustls(listener, tls).map_err(io_error("listener"))?;
                let mut server = server.map(|inner| Accepting { inner, limit });
                patience(server.http_builder(), limit);
                tokio::spawn(server.handle(handle.clone()).serve(service))
            }
            None => {
                let server = axum_server::from_tcp(listener).map_err(io_error("listener"))?;
                let mut server = server.map(|inner| Accepting { inner, limit });
                patience(server.http_builder(), limit);
                tokio::spawn(server.handle(handle.clone()).serve(service))
            }
        };
        Ok(Self {
            address,
            tls: tls.is_some(),
            handle,
            serving,
            supervisor,
            rooms,
            drain: Duration::from_secs(config.server.drain_timeout),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to open in a browser on this machine.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let port = self.address.port();
        match self.address.ip() {
            ip if ip.is_unspecified() || ip.is_loopback() => format!("{scheme}://localhost:{port}"),
            ip => format!("{scheme}://{}", SocketAddr::new(ip, port)),
        }
    }

    /// The rooms.
    #[must_use]
    pub fn rooms(&self) -> &Arc<Registry> {
        &self.rooms
    }

    /// Serves until `stop` resolves, then ends in order: no new connections, open ones get their
    /// time, the data plane stops if it is ours.
    ///
    /// # Errors
    /// What ended the listener.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let early = tokio::select! {
            () = stop => None,
            ended = &mut self.serving => Some(ended),
        };
        self.handle.graceful_shutdown(Some(self.drain));
        self.supervisor.stop().await;
        let ended = match early {
            Some(ended) => ended,
            None => {
                // WebSockets have no end of their own: clients see them close and come back.
                self.handle.shutdown();
                self.serving.await
            }
        };
        self.rooms.context().store.close().await;
        ended.map_err(io::Error::other)?
    }
}

/// How long a connection may take to say what it wants, once its version of HTTP is known.
fn patience(
    http: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>,
    timeout: Duration,
) {
    http.http1()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(timeout);
    http.http2()
        .timer(hyper_util::rt::TokioTimer::new())
        .keep_alive_interval(timeout)
        .keep_alive_timeout(timeout);
}

/// Tokens as the configuration has them; `secret` is `auth.secret` or the generated one.
#[must_use]
pub fn tokens(config: &Config, secret: &[u8]) -> Tokens {
    let named: Vec<NamedSecret> = config
        .auth
        .keys
        .iter()
        .map(|key| NamedSecret {
            kid: key.kid.clone(),
            secret: key.secret.as_bytes().to_vec(),
        })
        .collect();
    Tokens::new(&config.auth.issuer, secret)
        .with_keys(&named)
        .with_claims(ClaimNames::new(config.auth.claims.clone()))
}

async fn load_tls(config: &Config) -> Result<RustlsConfig, StartError> {
    // A provider may have been installed before, by a test or an embedder; either will do.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (cert, key) = (&config.server.tls_cert, &config.server.tls_key);
    RustlsConfig::from_pem_file(cert, key)
        .await
        .map_err(io_error(format!("tls_cert {cert}, tls_key {key}")))
}

/// Addresses of the public name, which a NAT in front of this host may own.
async fn resolve(config: &Config) -> Vec<IpAddr> {
    if !config.dataplane.advertise.is_empty() {
        return Vec::new();
    }
    let uri: Option<axum::http::Uri> = config.server.base_url.parse().ok();
    let Some(host) = uri.as_ref().and_then(axum::http::Uri::host) else {
        return Vec::new();
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match tokio::net::lookup_host((host, 0)).await {
        Ok(addresses) => addresses.map(|address| address.ip()).collect(),
        Err(error) => {
            tracing::warn!(%error, host, "the host of server.base_url does not resolve");
            Vec::new()
        }
    }
}
