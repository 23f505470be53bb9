//! Reads the configuration: file, then environment, then the checks.
//!
//! `KALL_SERVER__PORT=8080` overrides `server.port`: section, two underscores, key. Variables
//! without the two underscores are none of ours.

use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use thiserror::Error;

use super::{Config, check};

/// Why the configuration can't be used. Every line names the key's path and what is allowed.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is not there or can't be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Unknown keys, wrong types, broken TOML.
    #[error("{0}")]
    Malformed(String),
    /// Values out of bounds, one per line.
    #[error("{}", .0.join("\n"))]
    Impossible(Vec<String>),
}

/// A configuration and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Whether there was a file.
    pub from_file: bool,
}

/// Reads `path` and the environment. Without a file, and unless the caller insists on one,
/// the defaults of [`Config::development`] are the base.
///
/// # Errors
/// [`ConfigError`] with the keys at fault.
pub fn load(path: &Path, must_exist: bool) -> Result<Loaded, ConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => None,
        Err(source) => {
            return Err(ConfigError::Unreadable {
                path: path.display().to_string(),
                source,
            });
        }
    };
    let figment = match &text {
        Some(text) => Figment::from(Toml::string(text)),
        None => Figment::from(Serialized::defaults(Config::development())),
    };
    let config = extract(&figment.merge(environment()))?;
    Ok(Loaded {
        config,
        from_file: text.is_some(),
    })
}

/// Reads a TOML text without the environment.
///
/// # Errors
/// [`ConfigError`] with the keys at fault.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    extract(&Figment::from(Toml::string(text)))
}

fn environment() -> Env {
    Env::prefixed("KALL_")
        .filter(|key| key.as_str().contains("__"))
        .split("__")
}

fn extract(figment: &Figment) -> Result<Config, ConfigError> {
    let config: Config = figment.extract().map_err(|errors| {
        let lines: Vec<String> = errors
            .into_iter()
            .map(|error| {
                let path = error.path.join(".");
                if path.is_empty() {
                    error.kind.to_string()
                } else {
                    format!("{path}: {}", error.kind)
                }
            })
            .collect();
        ConfigError::Malformed(lines.join("\n"))
    })?;
    let faults = check::faults(&config);
    if faults.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError::Impossible(faults))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AuthMode;

    #[test]
    fn an_unknown_key_is_named_with_its_path() {
        let error = parse("[server]\nprot = 1\n")
            .expect_err("unknown key")
            .to_string();
        assert!(error.contains("prot") && error.contains("port"), "{error}");
        let error = parse("[sever]\n").expect_err("unknown section").to_string();
        assert!(error.contains("sever") && error.contains("server"), "{error}");
    }

    #[test]
    fn a_wrong_type_is_named_with_its_path() {
        for (text, path) in [
            ("[server]\nport = \"x\"\n", "server.port"),
            ("[auth]\nmode = \"closed\"\n", "auth.mode"),
            ("[dataplane]\ncores = true\n", "dataplane.cores"),
            ("[media]\ncodecs = [\"MP3\"]\n", "media.codecs"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(path), "{error} names {path}");
        }
    }

    #[test]
    fn an_impossible_value_is_named_with_what_is_allowed() {
        for (text, path, allowed) in [
            (
                "[media]\naudio_sample_rate = 44100\n",
                "media.audio_sample_rate",
                "48000",
            ),
            ("[auth]\nsecret = \"short\"\n", "auth.secret", "32"),
            ("[server]\ntls_cert = \"a.pem\"\n", "server.tls_key", "tls_cert"),
            ("[dataplane]\ncores = \"some\"\n", "dataplane.cores", "auto"),
            (
                "[room]\ndefault_max_participants = 0\n",
                "room.default_max_participants",
                "1",
            ),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(path) && error.contains(allowed), "{error}");
        }
    }

    #[test]
    fn the_example_holds_every_key_with_its_default() {
        let text = include_str!("../../../kall.example.toml");
        assert_eq!(parse(text).expect("the example is valid"), Config::default());
        let example: toml::Table = text.parse().expect("TOML");
        let defaults = toml::Table::try_from(Config::default()).expect("serialises");
        for (section, keys) in &defaults {
            let keys = keys.as_table().expect("a section");
            let given = example.get(section).and_then(toml::Value::as_table);
            for key in keys.keys() {
                let in_comment = text.contains(&format!("[[{section}.{key}]]"));
                assert!(
                    given.is_some_and(|given| given.contains_key(key)) || in_comment,
                    "{section}.{key} is in the example"
                );
            }
        }
    }

    #[test]
    fn no_file_means_open_on_loopback() {
        let loaded = load(Path::new("does-not-exist.toml"), false).expect("defaults");
        assert!(!loaded.from_file);
        assert_eq!(loaded.config.auth.mode, AuthMode::Open);
        assert!(loaded.config.server.host.is_loopback());
        assert!(load(Path::new("does-not-exist.toml"), true).is_err());
    }
}
