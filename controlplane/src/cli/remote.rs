//! A running server, seen over its REST API: what `rooms`, `rooms:close` and `stats` talk to.

use std::time::Duration;

use clap::Args;
use reqwest::{Certificate, Method};
use serde_json::Value;

use super::Failure;
use crate::config::Config;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which server, and who asks.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The server [default: as the configuration says]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Key and secret of the REST API [default: the first of [[api.keys]]]
    #[arg(long, value_name = "KEY:SECRET", env = "KALL_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

/// Again and again.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// Show it again every so many seconds, until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
}

/// A way to the server.
pub(super) struct Api {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Remote {
    pub(super) fn connect(&self, config: &Config) -> Result<Api, Failure> {
        let url = self.url.clone().unwrap_or_else(|| own_url(config));
        let url = url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(format!("--url: '{url}' is no http:// or https:// URL").into());
        }
        let own = config
            .api
            .keys
            .first()
            .map(|key| format!("{}:{}", key.key, key.secret));
        let key = self.api_key.clone().or(own).ok_or(
            "no API key: give --api-key KEY:SECRET, or put one into [[api.keys]] of the configuration",
        )?;
        if !key.contains(':') {
            return Err("--api-key: key and secret with a colon between them".into());
        }
        // A provider may have been installed before, by an embedder; either will do.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut http = reqwest::Client::builder().timeout(PATIENCE);
        // A certificate of one's own is trusted by whoever has it.
        if config.tls() {
            let pem = std::fs::read(&config.server.tls_cert)
                .map_err(|error| format!("{}: {error}", config.server.tls_cert))?;
            for certificate in Certificate::from_pem_bundle(&pem)? {
                http = http.add_root_certificate(certificate);
            }
        }
        Ok(Api {
            http: http.build()?,
            url,
            key,
        })
    }
}

/// Where a server with this configuration listens, seen from its own machine.
fn own_url(config: &Config) -> String {
    if !config.server.base_url.is_empty() {
        return config.server.base_url.clone();
    }
    let scheme = if config.tls() { "https" } else { "http" };
    let host = match config.server.host {
        ip if ip.is_unspecified() || ip.is_loopback() => "localhost".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    format!("{scheme}://{host}:{}", config.server.port)
}

impl Api {
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.call(Method::DELETE, path).await.map(drop)
    }

    async fn call(&self, method: Method, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.url);
        let request = self.http.request(method, &url).bearer_auth(&self.key);
        let response = request.send().await.map_err(|error| {
            let why = if error.is_connect() {
                "nobody answers there; is the server running?".to_owned()
            } else if error.is_timeout() {
                "it did not answer in time".to_owned()
            } else {
                error.to_string()
            };
            format!("{}: {why}", self.url)
        })?;
        let status = response.status();
        let text = response.text().await?;
        if status.is_success() {
            return match text.as_str() {
                "" => Ok(Value::Null),
                text => Ok(serde_json::from_str(text)
                    .map_err(|_| format!("{url}: the answer is no JSON; is that a kall server?"))?),
            };
        }
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let words = answer["error"]["message"]
            .as_str()
            .unwrap_or("no reason was given");
        Err(match status.as_u16() {
            401 => format!("{}: the API key is wrong", self.url),
            _ => format!("{}: {words} ({status})", self.url),
        }
        .into())
    }
}

impl Watch {
    /// Shows it once, or until interrupted; `clear` wipes the screen between.
    pub(super) async fn run(
        &self,
        clear: bool,
        mut show: impl AsyncFnMut() -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        let Some(seconds) = self.watch else {
            return super::print(show().await?.trim_end());
        };
        let mut ticks = tokio::time::interval(Duration::from_secs(seconds));
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
            let text = show().await?;
            // ECMA-48: cursor home, erase below.
            let before = if clear { "\x1b[H\x1b[J" } else { "" };
            super::print(&format!("{before}{}", text.trim_end()))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ApiKey;

    fn remote(url: Option<&str>, key: Option<&str>) -> Remote {
        Remote {
            url: url.map(str::to_owned),
            api_key: key.map(str::to_owned),
        }
    }

    #[test]
    fn server_and_key_come_from_the_configuration_unless_given() {
        let mut config = Config::default();
        assert!(remote(None, None).connect(&config).is_err(), "there is no key");
        config.api.keys.push(ApiKey {
            key: "a".into(),
            secret: "b".into(),
        });
        let api = remote(None, None).connect(&config).expect("complete");
        assert_eq!(
            (api.url.as_str(), api.key.as_str()),
            ("http://localhost:7880", "a:b")
        );
        let api = remote(Some("https://kall.example.com/"), Some("c:d"))
            .connect(&config)
            .expect("complete");
        assert_eq!(
            (api.url.as_str(), api.key.as_str()),
            ("https://kall.example.com", "c:d")
        );
        assert!(remote(Some("kall.example.com"), None).connect(&config).is_err());
        assert!(remote(None, Some("no-colon")).connect(&config).is_err());
    }
}
