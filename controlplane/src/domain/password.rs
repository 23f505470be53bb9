//! Room passwords: Argon2id (RFC 9106) in PHC form, off the async threads.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use kall_shared::signalling::limits;

/// What a newcomer gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The room has no password.
    NotNeeded,
    /// The room has one, and nothing was given.
    Missing,
    /// Another one.
    Wrong,
    /// The right one.
    Right,
}

/// What was given, if it is short enough to be looked at; empty is none.
///
/// # Errors
/// What is allowed.
pub fn bounded(given: Option<String>) -> Result<Option<String>, String> {
    match given.filter(|password| !password.is_empty()) {
        Some(password) if password.chars().count() > limits::PASSWORD => {
            Err(format!("password: at most {} characters", limits::PASSWORD))
        }
        given => Ok(given),
    }
}

/// Hashes a password with a fresh salt.
///
/// # Errors
/// What the hash function says.
pub async fn hash(password: String) -> Result<String, String> {
    tokio::task::spawn_blocking(move || {
        let salt: [u8; 16] = rand::random();
        Argon2::default()
            .hash_password_with_salt(password.as_bytes(), &salt)
            .map(|hash: PasswordHash| hash.to_string())
            .map_err(|error| error.to_string())
    })
    .await
    .map_err(|error| error.to_string())?
}

/// Compares what was given with the room's hash.
pub async fn check(given: Option<String>, hash: Option<String>) -> Check {
    let Some(hash) = hash else {
        return Check::NotNeeded;
    };
    let Some(given) = given else {
        return Check::Missing;
    };
    let right = tokio::task::spawn_blocking(move || {
        PasswordHash::new(&hash)
            .is_ok_and(|hash| Argon2::default().verify_password(given.as_bytes(), &hash).is_ok())
    })
    .await
    .unwrap_or(false);
    if right { Check::Right } else { Check::Wrong }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_not_looked_at() {
        let longest = "ä".repeat(limits::PASSWORD);
        assert_eq!(bounded(Some(longest.clone())), Ok(Some(longest.clone())));
        assert!(bounded(Some(longest + "a")).is_err());
        assert_eq!(bounded(Some(String::new())), Ok(None));
    }

    #[tokio::test]
    async fn only_the_right_password_passes() {
        let hash = hash("secret".into()).await.expect("hashes");
        assert!(hash.starts_with("$argon2id$"));
        assert_eq!(
            check(Some("secret".into()), Some(hash.clone())).await,
            Check::Right
        );
        assert_eq!(
            check(Some("Secret".into()), Some(hash.clone())).await,
            Check::Wrong
        );
        assert_eq!(check(None, Some(hash)).await, Check::Missing);
        assert_eq!(check(None, None).await, Check::NotNeeded);
    }
}
