//! Tokens that a provider signed: JSON Web Tokens, by keys it publishes.

use std::time::{Duration, Instant};

use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::key_set::KeySet;
use super::settings::{Claims, JwtSettings};
use super::vouched::{self, Vouched};
use crate::error::Error;

/// How far the provider's clock may be from ours.
const LEEWAY: Duration = Duration::from_secs(30);

/// Checks signed tokens.
pub(super) struct Jwt {
    keys: KeySet,
    claims: Claims,
}

impl Jwt {
    pub(super) fn new(settings: &JwtSettings, claims: Claims) -> Self {
        Self {
            keys: KeySet::new(settings),
            claims,
        }
    }

    /// Whether the token has the form of a signed one: three parts, the first
    /// of which is the header.
    pub(super) fn recognises(token: &str) -> bool {
        // An object in base64url.
        token.starts_with("eyJ") && token.bytes().filter(|&b| b == b'.').count() == 2
    }

    /// Whom it names; `None` if it is not to be believed.
    ///
    /// # Errors
    /// If the key it names cannot be had now.
    pub(super) async fn ask(&self, token: &str, now: Instant) -> Result<Option<Vouched>, Error> {
        // Fails for algorithms that we do not know, `none` among them.
        let Ok(header) = decode_header(token) else {
            return Ok(None);
        };
        // What is critical there has to be understood, and we understand none.
        let (None, Some(id)) = (&header.crit, &header.kid) else {
            return Ok(None);
        };
        let Some(key) = self.keys.key(id, now).await? else {
            return Ok(None);
        };
        // The key decides about the algorithm; the header has to agree.
        let mut rules = Validation::new(key.algorithm);
        rules.leeway = LEEWAY.as_secs();
        rules.validate_nbf = true;
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.set_issuer(self.claims.issuer.as_slice());
        rules.set_audience(self.claims.audience.as_slice());
        let Ok(token) = decode::<Map<String, Value>>(token, &key.key, &rules) else {
            return Ok(None);
        };
        let ends = token.claims.get("exp").and_then(vouched::time);
        Ok(ends.and_then(|at| Vouched::read(&token.claims, &self.claims, Some(at + LEEWAY))))
    }
}
