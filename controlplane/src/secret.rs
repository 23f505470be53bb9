//! Secrets the server makes for itself, kept beside the database for the owner's eyes only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::config::Config;

/// Bytes of randomness in a generated secret.
const SECRET_LEN: usize = 32;

/// Name of the file with the generated signing secret.
const FILE: &str = "kall.secret";

/// A new secret in hexadecimal.
#[must_use]
pub fn generate() -> String {
    hex::encode(rand::random::<[u8; SECRET_LEN]>())
}

/// The signing secret: the configured one, else the one beside the database, made if absent.
///
/// # Errors
/// When the file can't be read or written.
pub fn signing_secret(config: &Config) -> io::Result<Vec<u8>> {
    if !config.auth.secret.is_empty() {
        return Ok(config.auth.secret.as_bytes().to_vec());
    }
    let path = config.data_dir().join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= SECRET_LEN => Ok(text.trim().as_bytes().to_vec()),
        Ok(_) => Err(io::Error::other(format!(
            "{}: too short, remove it to get a new one",
            path.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = generate();
            match write_private(&path, secret.as_bytes(), false) {
                // Another process was faster: its secret is the one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => signing_secret(config),
                Err(error) => Err(error),
                Ok(()) => Ok(secret.into_bytes()),
            }
        }
        Err(error) => Err(io::Error::other(format!("{}: {error}", path.display()))),
    }
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// `AlreadyExists` unless `replace`, else what the file system says.
pub fn write_private(path: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    if replace {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_generated_secret_is_kept_for_its_owner() {
        let dir = tempfile::tempdir().expect("temp dir");
        let mut config = Config::default();
        config.database.url = dir.path().join("kall.db").display().to_string();
        let first = signing_secret(&config).expect("made");
        assert_eq!(first.len(), 2 * SECRET_LEN);
        assert_eq!(signing_secret(&config).expect("read"), first);
        let mode = fs::metadata(dir.path().join(FILE))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
