//! `kall setup`: a configuration that works, with secrets of its own.

use std::net::IpAddr;
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::{Environment, Failure, print};
use crate::secret;

#[derive(Debug, Args)]
pub(super) struct Setup {
    /// Also make a certificate for HTTPS: browsers give no camera to other machines without it
    #[arg(long)]
    self_signed: bool,
    /// Host names and addresses of the certificate, besides localhost
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Replace what is there
    #[arg(long)]
    force: bool,
}

impl Setup {
    pub(super) fn run(&self, path: &Path, env: Environment, json: bool) -> Result<(), Failure> {
        if path.exists() && !self.force {
            return Err(format!("{} is there already; --force replaces it", path.display()).into());
        }
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(folder)?;
        let certificate = match self.self_signed {
            true => Some(self.certificate(folder)?),
            false => None,
        };
        let key_secret = secret::generate();
        let text = render(env, certificate.is_some(), &key_secret);
        crate::config::parse(&text)?;
        // The file holds the API key's secret.
        secret::write_private(path, text.as_bytes(), self.force)?;
        if json {
            let answer =
                json!({"config": path, "certificate": certificate.as_ref().map(|_| "kall-cert.pem")});
            return print(&answer.to_string());
        }
        print(&format!("{} written", path.display()))?;
        if certificate.is_some() {
            print("kall-cert.pem and kall-key.pem written: browsers will ask before they trust it")?;
        }
        Ok(())
    }

    fn certificate(&self, folder: &Path) -> Result<(), Failure> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        names.extend(self.host.iter().cloned());
        names.extend(own_address().map(|address| address.to_string()));
        names.sort();
        names.dedup();
        let made = rcgen::generate_simple_self_signed(names)?;
        let key = made.signing_key.serialize_pem();
        secret::write_private(&folder.join("kall-key.pem"), key.as_bytes(), self.force)?;
        secret::write_private(
            &folder.join("kall-cert.pem"),
            made.cert.pem().as_bytes(),
            self.force,
        )?;
        Ok(())
    }
}

/// The address of this machine's default route, as other machines in its network see it. Nothing
/// is sent: connecting a datagram socket only asks the routing table.
fn own_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn render(env: Environment, tls: bool, key_secret: &str) -> String {
    let (host, mode) = match env {
        // Other machines get no camera without HTTPS, so there is nothing to listen for.
        Environment::Development if !tls => ("127.0.0.1", "open"),
        Environment::Development => ("0.0.0.0", "open"),
        Environment::Production => ("0.0.0.0", "token"),
    };
    let (cert, key) = if tls {
        ("kall-cert.pem", "kall-key.pem")
    } else {
        ("", "")
    };
    format!(
        "# Written by kall setup. Every key, its default and unit: kall.example.toml\n\
         \n\
         [server]\n\
         host = \"{host}\"\n\
         port = 7880\n\
         base_url = \"\"              # public URL, such as \"https://kall.example.com\"\n\
         tls_cert = \"{cert}\"\n\
         tls_key = \"{key}\"\n\
         \n\
         # Callers of the REST API: Authorization: Bearer key:secret\n\
         [[api.keys]]\n\
         key = \"devkey\"\n\
         secret = \"{key_secret}\"\n\
         \n\
         [auth]\n\
         mode = \"{mode}\"            # token, open, lobby\n\
         \n\
         [database]\n\
         url = \"kall.db\"            # the signing secret is generated beside it\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AuthMode, parse};
    use std::os::unix::fs::PermissionsExt;

    fn setup(self_signed: bool, force: bool) -> Setup {
        Setup {
            self_signed,
            host: vec!["kall.example.com".into()],
            force,
        }
    }

    #[test]
    fn development_is_open_on_loopback_and_production_is_not() {
        let config = parse(&render(Environment::Development, false, "0123456789abcdef")).expect("valid");
        assert_eq!(config.auth.mode, AuthMode::Open);
        assert!(config.server.host.is_loopback());
        let config = parse(&render(Environment::Production, false, "0123456789abcdef")).expect("valid");
        assert_eq!(config.auth.mode, AuthMode::Token);
    }

    #[test]
    fn setup_writes_for_the_owner_only_and_replaces_only_by_force() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("kall.toml");
        setup(true, false)
            .run(&path, Environment::Development, false)
            .expect("written");
        for file in ["kall.toml", "kall-key.pem"] {
            let mode = std::fs::metadata(dir.path().join(file))
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let before = std::fs::read_to_string(&path).expect("read");
        assert!(
            setup(false, false)
                .run(&path, Environment::Development, false)
                .is_err()
        );
        assert_eq!(std::fs::read_to_string(&path).expect("read"), before);
        setup(true, true)
            .run(&path, Environment::Development, false)
            .expect("replaced");
        assert_ne!(std::fs::read_to_string(&path).expect("read"), before);
    }
}
