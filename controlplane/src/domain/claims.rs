//! `auth.claims`: tokens of another issuer say the same under other names.
//!
//! A name may be a path with dots, such as `context.user.name`. What such tokens lack has a default: they
//! are valid from when they are seen, and their holder is a guest. A name that was not changed is read as
//! it is.

use std::collections::BTreeMap;

use ring::digest;
use serde_json::{Map, Value, json};

use super::token::Claims;

/// Our names of claims that may be called otherwise.
pub const MAPPABLE: [&str; 6] = ["sub", "name", "room", "role", "jti", "permissions"];

/// What claims are called.
#[derive(Debug, Clone, Default)]
pub struct ClaimNames(BTreeMap<String, String>);

impl ClaimNames {
    /// Ours to the issuer's.
    #[must_use]
    pub fn new(names: BTreeMap<String, String>) -> Self {
        Self(names)
    }

    /// The issuer's claims as ours.
    pub(super) fn inward(&self, mut claims: Value, token: &str) -> Result<Claims, serde_json::Error> {
        if self.0.is_empty() {
            return serde_json::from_value(claims);
        }
        let mut ours = Map::new();
        for (own, theirs) in &self.0 {
            if let Some(value) = lookup(&claims, theirs) {
                ours.insert(own.clone(), value.clone());
            }
        }
        let Some(fields) = claims.as_object_mut() else {
            return serde_json::from_value(claims);
        };
        fields.extend(ours);
        let exp = fields.get("exp").cloned().unwrap_or_default();
        let defaults = [
            ("role", json!("guest")),
            ("iat", json!(0)),
            ("nbf", json!(0)),
            ("exp", exp),
            ("jti", json!(digest_of(token))),
        ];
        for (name, value) in defaults {
            fields.entry(name).or_insert(value);
        }
        // Numeric identities are common elsewhere.
        for name in ["sub", "name", "room", "jti"] {
            if let Some(value) = fields.get_mut(name)
                && let Value::Number(number) = value
            {
                *value = Value::String(number.to_string());
            }
        }
        serde_json::from_value(claims)
    }

    /// Our claims as the issuer's.
    pub(super) fn outward(&self, mut claims: Value) -> Value {
        for (own, theirs) in &self.0 {
            if let Some(value) = claims.as_object_mut().and_then(|fields| fields.remove(own)) {
                place(&mut claims, theirs, value);
            }
        }
        claims
    }
}

fn lookup<'a>(claims: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(claims, |value, name| value.get(name))
}

fn place(claims: &mut Value, path: &str, value: Value) {
    let mut at = claims;
    for name in path.split('.') {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[name];
    }
    *at = value;
}

/// Stands for the id of a token without one.
fn digest_of(token: &str) -> String {
    let hash = digest::digest(&digest::SHA256, token.as_bytes());
    format!("sha256-{}", hex::encode(&hash.as_ref()[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kall_shared::signalling::Role;

    fn names() -> ClaimNames {
        let pairs = [
            ("name", "context.user.name"),
            ("sub", "user_id"),
            ("role", "kall_role"),
        ];
        ClaimNames::new(
            pairs
                .map(|(own, theirs)| (own.to_owned(), theirs.to_owned()))
                .into(),
        )
    }

    #[test]
    fn another_issuers_names_are_read() {
        let theirs = json!({
            "iss": "x", "exp": 9, "user_id": 17, "room": "rm_a", "sub": "tenant",
            "context": {"user": {"name": "Alice"}},
        });
        let claims = names().inward(theirs, "the token").expect("complete");
        assert_eq!((claims.sub.as_str(), claims.name.as_str()), ("17", "Alice"));
        assert_eq!((claims.role, claims.nbf), (Role::Guest, 0));
        assert!(claims.jti.starts_with("sha256-"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let own = json!({"iss": "x", "sub": "u", "name": "N", "room": "rm_a", "role": "host", "iat": 1,
            "nbf": 1, "exp": 9, "jti": "j"});
        let theirs = names().outward(own.clone());
        assert_eq!(
            (&theirs["kall_role"], &theirs["context"]["user"]["name"]),
            (&json!("host"), &json!("N"))
        );
        assert_eq!(theirs.get("role"), None);
        let claims = names().inward(theirs, "").expect("complete");
        assert_eq!(claims, serde_json::from_value(own).expect("complete"));
    }

    #[test]
    fn without_names_nothing_may_be_missing() {
        let none = ClaimNames::default();
        assert!(
            none.inward(json!({"iss": "x", "exp": 9, "sub": "u", "room": "rm_a"}), "")
                .is_err()
        );
    }
}
