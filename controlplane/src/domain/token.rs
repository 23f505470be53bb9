//! Tokens: access tokens of participants (JWT, RFC 7519, HS256) and resume tokens.
//!
//! Resume tokens are signed with a key derived from the secret, so that neither kind can pass for
//! the other. They carry all that is needed to take somebody back in after a restart.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use kall_shared::id::{Identity, RoomId};
use kall_shared::signalling::Role;
use ring::hmac;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use super::claims::ClaimNames;
use super::permission::Narrowing;
use super::room::Ticket;

/// How long a resume token is good for, in seconds; waiting for a resume is far shorter, the rest
/// serves laptops that slept.
pub const RESUME_TTL: i64 = 24 * 3600;

/// Clock difference forgiven between issuer and server, in seconds.
const LEEWAY: u64 = 5;

/// A token was refused. The reason is for the log and the client; it holds nothing of the token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenRefused {
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// Anything else.
    #[error("{0}")]
    Bad(String),
}

/// Claims of an access token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// The participant.
    pub sub: Identity,
    /// Display name.
    #[serde(default)]
    pub name: String,
    /// The only room it opens, by id.
    pub room: RoomId,
    /// What its holder is there.
    pub role: Role,
    /// Issued at.
    pub iat: i64,
    /// Not before.
    pub nbf: i64,
    /// Expires.
    pub exp: i64,
    /// Id of the token.
    pub jti: String,
    /// Narrows the role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Narrowing>,
}

impl Claims {
    /// What a kick makes worthless.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        Ticket {
            jti: self.jti.clone(),
            expires_at: self.exp,
        }
    }
}

/// Claims of a resume token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResumeClaims {
    /// Issuer.
    pub iss: String,
    /// The participant.
    pub sub: Identity,
    /// Display name.
    pub name: String,
    /// The room.
    pub room: RoomId,
    /// What its holder is there.
    pub role: Role,
    /// Narrows the role.
    #[serde(default)]
    pub permissions: Narrowing,
    /// Counts the participant's tokens; once a number was used, lower ones are not.
    pub number: u32,
    /// What it came in with first: what revokes one revokes the other.
    pub ticket: Ticket,
    /// Expires.
    pub exp: i64,
}

/// Signs and checks tokens.
pub struct Tokens {
    issuer: String,
    /// Signs, and checks what carries its `kid`.
    current: Key,
    /// Check what was signed by them before, or by others.
    others: Vec<Key>,
    resume: (EncodingKey, DecodingKey),
    names: ClaimNames,
}

/// One signing key.
struct Key {
    /// `kid` of tokens it signs; none: the key of `auth.secret`, whose tokens carry none.
    kid: Option<String>,
    pair: (EncodingKey, DecodingKey),
}

/// A named secret (RFC 7515 section 4.1.4), so that keys can change while tokens are out.
#[derive(Clone)]
pub struct NamedSecret {
    /// `kid` of tokens.
    pub kid: String,
    /// 32 bytes or more.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

impl Tokens {
    /// From the signing secret of the configuration.
    #[must_use]
    pub fn new(issuer: &str, secret: &[u8]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"kall resume token");
        Self {
            issuer: issuer.to_owned(),
            current: Key::new(None, secret),
            others: Vec::new(),
            resume: pair(derived.as_ref()),
            names: ClaimNames::default(),
        }
    }

    /// Signs with the first of these from now on, and takes tokens of all of them. Tokens without a
    /// `kid` are of the secret given first.
    #[must_use]
    pub fn with_keys(mut self, keys: &[NamedSecret]) -> Self {
        let mut keys = keys
            .iter()
            .map(|key| Key::new(Some(key.kid.clone()), &key.secret));
        if let Some(first) = keys.next() {
            let unnamed = std::mem::replace(&mut self.current, first);
            self.others.push(unnamed);
            self.others.extend(keys);
        }
        self
    }

    /// Reads and writes claims by these names.
    #[must_use]
    pub fn with_claims(mut self, names: ClaimNames) -> Self {
        self.names = names;
        self
    }

    /// An access token that is good for `ttl` seconds.
    ///
    /// # Errors
    /// [`TokenRefused`] when it can't be encoded, which only a bug can cause.
    pub fn issue(
        &self,
        room: &RoomId,
        identity: &Identity,
        name: &str,
        role: Role,
        ttl: u64,
        permissions: Option<Narrowing>,
    ) -> Result<String, TokenRefused> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: identity.clone(),
            name: name.to_owned(),
            room: room.clone(),
            role,
            iat: now,
            nbf: now,
            exp: now.saturating_add_unsigned(ttl),
            jti: super::names::random_text(16),
            permissions,
        };
        let claims = serde_json::to_value(&claims)
            .map_err(|error| TokenRefused::Bad(format!("token can't be written: {error}")))?;
        sign(
            &self.names.outward(claims),
            &self.current.pair.0,
            self.current.kid.clone(),
        )
    }

    /// The claims of a valid access token.
    ///
    /// # Errors
    /// [`TokenRefused`] for a wrong signature, algorithm, issuer or time.
    pub fn check(&self, token: &str) -> Result<Claims, TokenRefused> {
        self.access(token, self.validation())
    }

    fn access(&self, token: &str, mut validation: Validation) -> Result<Claims, TokenRefused> {
        validation.validate_nbf = true;
        // Another issuer's tokens need no "nbf"; what else is missing shows when they are read.
        validation.set_required_spec_claims(&["exp", "iss"]);
        let header = jsonwebtoken::decode_header(token)
            .map_err(|_| TokenRefused::Bad("the token is malformed".to_owned()))?;
        let mut keys = std::iter::once(&self.current).chain(&self.others);
        let key = keys.find(|key| key.kid == header.kid);
        let key =
            key.ok_or_else(|| TokenRefused::Bad("the token was signed by an unknown key".to_owned()))?;
        let claims: serde_json::Value = open(token, &key.pair.1, &validation)?;
        self.names
            .inward(claims, token)
            .map_err(|_| TokenRefused::Bad("the token is malformed".to_owned()))
    }

    /// The claims of an access token that was valid once, whether it has expired or not. They open
    /// nothing by themselves: they say whose resume token has to come with them.
    ///
    /// # Errors
    /// [`TokenRefused`] for a wrong signature, algorithm or issuer.
    pub fn check_lapsed(&self, token: &str) -> Result<Claims, TokenRefused> {
        let mut validation = self.validation();
        validation.validate_exp = false;
        self.access(token, validation)
    }

    /// A resume token from its claims; issuer and expiry are filled in.
    ///
    /// # Errors
    /// [`TokenRefused`] when it can't be encoded, which only a bug can cause.
    pub fn issue_resume(&self, mut claims: ResumeClaims) -> Result<String, TokenRefused> {
        claims.iss.clone_from(&self.issuer);
        claims.exp = OffsetDateTime::now_utc().unix_timestamp() + RESUME_TTL;
        sign(&claims, &self.resume.0, None)
    }

    /// The claims of a valid resume token.
    ///
    /// # Errors
    /// [`TokenRefused`] for a wrong signature, algorithm, issuer or time.
    pub fn check_resume(&self, token: &str) -> Result<ResumeClaims, TokenRefused> {
        let mut validation = self.validation();
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        open(token, &self.resume.1, &validation)
    }

    fn validation(&self) -> Validation {
        // One algorithm: "none" and key confusion are out by construction (RFC 8725 section 3.1).
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[&self.issuer]);
        validation.leeway = LEEWAY;
        validation.validate_aud = false;
        validation
    }
}

fn pair(key: &[u8]) -> (EncodingKey, DecodingKey) {
    (EncodingKey::from_secret(key), DecodingKey::from_secret(key))
}

impl Key {
    fn new(kid: Option<String>, secret: &[u8]) -> Self {
        Self {
            kid,
            pair: pair(secret),
        }
    }
}

fn sign<T: Serialize>(claims: &T, key: &EncodingKey, kid: Option<String>) -> Result<String, TokenRefused> {
    let mut header = Header::new(Algorithm::HS256);
    header.kid = kid;
    jsonwebtoken::encode(&header, claims, key)
        .map_err(|error| TokenRefused::Bad(format!("token can't be signed: {error}")))
}

fn open<T: serde::de::DeserializeOwned + Clone>(
    token: &str,
    key: &DecodingKey,
    validation: &Validation,
) -> Result<T, TokenRefused> {
    use jsonwebtoken::errors::ErrorKind;
    jsonwebtoken::decode::<T>(token, key, validation)
        .map(|data| data.claims)
        .map_err(|error| {
            TokenRefused::Bad(
                match error.kind() {
                    ErrorKind::ExpiredSignature => return TokenRefused::Expired,
                    ErrorKind::ImmatureSignature => "the token is not valid yet",
                    ErrorKind::InvalidIssuer => "the token is from another issuer",
                    ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
                        "the token uses another algorithm than HS256"
                    }
                    ErrorKind::InvalidSignature => "the token's signature is wrong",
                    _ => "the token is malformed",
                }
                .to_owned(),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn tokens() -> Tokens {
        Tokens::new("koder-kall", SECRET)
    }

    fn claims(exp: i64) -> Claims {
        Claims {
            iss: "koder-kall".into(),
            sub: Identity::new("user-1").expect("valid"),
            name: "Alice".into(),
            room: RoomId::new("rm_a").expect("valid"),
            role: Role::Host,
            iat: 0,
            nbf: 0,
            exp,
            jti: "x".into(),
            permissions: None,
        }
    }

    fn issue() -> String {
        let (room, identity) = (
            RoomId::new("rm_a").expect("valid"),
            Identity::new("user-1").expect("valid"),
        );
        tokens()
            .issue(&room, &identity, "Alice", Role::Host, 60, None)
            .expect("signs")
    }

    #[test]
    fn what_was_issued_is_accepted() {
        let claims = tokens().check(&issue()).expect("valid");
        assert_eq!((claims.sub.as_str(), claims.role), ("user-1", Role::Host));
    }

    #[test]
    fn forged_expired_and_foreign_tokens_are_refused() {
        let refused = |token: &str| tokens().check(token).expect_err("refused").to_string();
        assert!(refused("nonsense").contains("malformed"));
        let expired = sign(&claims(1), &EncodingKey::from_secret(SECRET), None).expect("signs");
        assert!(refused(&expired).contains("expired"));
        assert_eq!(
            tokens().check_lapsed(&expired).expect("was good").sub.as_str(),
            "user-1"
        );
        assert!(tokens().check_lapsed("nonsense").is_err());
        let other_key = Tokens::new("koder-kall", b"another secret of 32 bytes or so");
        assert!(
            other_key
                .check(&issue())
                .expect_err("refused")
                .to_string()
                .contains("signature")
        );
        assert!(other_key.check_lapsed(&issue()).is_err());
        let other_issuer = Tokens::new("somebody", SECRET);
        assert!(
            other_issuer
                .check(&issue())
                .expect_err("refused")
                .to_string()
                .contains("issuer")
        );
    }

    #[test]
    fn other_algorithms_are_refused() {
        let far = i64::from(i32::MAX);
        let strong = jsonwebtoken::encode(
            &Header::new(Algorithm::HS512),
            &claims(far),
            &EncodingKey::from_secret(SECRET),
        )
        .expect("signs");
        assert!(tokens().check(&strong).is_err());
        // {"alg":"none","typ":"JWT"} with the body of a good token and no signature.
        let body = issue().split('.').nth(1).expect("three parts").to_owned();
        assert!(
            tokens()
                .check(&format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}."))
                .is_err()
        );
    }

    #[test]
    fn keys_change_while_tokens_are_out() {
        let named = |kid: &str| NamedSecret {
            kid: kid.to_owned(),
            secret: format!("{kid}-0123456789abcdef0123456789abcdef").into_bytes(),
        };
        let issue = |tokens: &Tokens| {
            let (room, identity) = (RoomId::new("rm_a"), Identity::new("user-1"));
            let (room, identity) = (room.expect("valid"), identity.expect("valid"));
            tokens
                .issue(&room, &identity, "", Role::Guest, 60, None)
                .expect("signs")
        };
        let before = issue(&tokens());
        let first = tokens().with_keys(&[named("2026-01")]);
        let old = issue(&first);
        assert!(
            first.check(&before).is_ok(),
            "tokens of the unnamed secret stay good"
        );
        let rotated = tokens().with_keys(&[named("2026-02"), named("2026-01")]);
        let new = issue(&rotated);
        let header = jsonwebtoken::decode_header(&new).expect("a header");
        assert_eq!(header.kid.as_deref(), Some("2026-02"));
        for token in [&before, &old, &new] {
            assert!(rotated.check(token).is_ok());
        }
        let retired = tokens().with_keys(&[named("2026-02")]);
        let refused = retired.check(&old).expect_err("the key is gone").to_string();
        assert!(refused.contains("unknown key"), "{refused}");
        // A name does not lend its key's trust to another signature.
        let other = Tokens::new("koder-kall", SECRET).with_keys(&[NamedSecret {
            kid: "2026-02".into(),
            secret: b"somebody else's secret of 32 bytes".to_vec(),
        }]);
        assert!(rotated.check(&issue(&other)).is_err());
    }

    #[test]
    fn neither_kind_passes_for_the_other() {
        let resume = tokens()
            .issue_resume(ResumeClaims {
                iss: String::new(),
                sub: Identity::new("user-1").expect("valid"),
                name: "Alice".into(),
                room: RoomId::new("rm_a").expect("valid"),
                role: Role::Guest,
                permissions: Narrowing::default(),
                number: 3,
                ticket: Ticket {
                    jti: "x".into(),
                    expires_at: 0,
                },
                exp: 0,
            })
            .expect("signs");
        assert_eq!(tokens().check_resume(&resume).expect("valid").number, 3);
        assert!(tokens().check(&resume).is_err());
        assert!(tokens().check_resume(&issue()).is_err());
    }
}
