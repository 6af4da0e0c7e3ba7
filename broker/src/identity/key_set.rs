//! The keys by which a provider signs: read from where it publishes them.
//!
//! The last set that could be read stays in use until another can be. A token
//! that names a key we have not seen makes us look again, but not often.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::settings::JwtSettings;
use super::upstream::{Bounds, Upstream};
use crate::error::Error;

/// The set is not read again sooner for a key that is not in it: anybody can
/// name one.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// If it could not be read, not sooner than this.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A key, and the one way of signing that it is used with.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) key: Arc<DecodingKey>,
}

/// The provider's keys. Time is given by who asks.
pub(super) struct KeySet {
    upstream: Upstream,
    url: Url,
    algorithms: Vec<Algorithm>,
    refresh: Duration,
    /// Never held across an await.
    current: Lock<Option<Arc<Set>>>,
    /// Held by whoever reads the set; when and how that went last.
    reading: Mutex<Option<Attempt>>,
}

struct Set {
    keys: HashMap<String, Key>,
    read_at: Instant,
}

#[derive(Clone, Copy)]
struct Attempt {
    at: Instant,
    well: bool,
}

impl Attempt {
    /// Whether it is too early for another.
    fn holds(self, now: Instant) -> bool {
        let wait = if self.well { AGAIN_AFTER } else { RETRY_AFTER };
        now.saturating_duration_since(self.at) < wait
    }
}

impl KeySet {
    pub(super) fn new(settings: &JwtSettings) -> Self {
        Self {
            upstream: Upstream::new("the provider's key set", Bounds::default()),
            url: settings.keys.clone(),
            algorithms: settings.algorithms.clone(),
            refresh: settings.refresh,
            current: Lock::default(),
            reading: Mutex::default(),
        }
    }

    /// The key of this id; `None` if the provider has none.
    ///
    /// # Errors
    /// If that cannot be found out now.
    pub(super) async fn key(&self, id: &str, now: Instant) -> Result<Option<Key>, Error> {
        let (known, stale) = match self.current() {
            Some(set) => {
                let age = now.saturating_duration_since(set.read_at);
                (set.keys.get(id).cloned(), self.refresh <= age)
            }
            None => (None, true),
        };
        if known.is_some() {
            // Somebody looks whether it is still the provider's; nobody else
            // waits for that.
            if stale
                && let Ok(mut last) = self.reading.try_lock()
                && !last.is_some_and(|attempt| attempt.holds(now))
            {
                *last = Some(self.read(now).await);
                return Ok(self.current().and_then(|set| set.keys.get(id).cloned()));
            }
            return Ok(known);
        }
        let mut last = self.reading.lock().await;
        // Another asker may have read it meanwhile.
        let found = self.current().and_then(|set| set.keys.get(id).cloned());
        if found.is_some() {
            return Ok(found);
        }
        let attempt = match *last {
            Some(attempt) if attempt.holds(now) => attempt,
            _ => *last.insert(self.read(now).await),
        };
        if attempt.well {
            Ok(self.current().and_then(|set| set.keys.get(id).cloned()))
        } else {
            Err(Error::Provider("its keys cannot be read"))
        }
    }

    fn current(&self) -> Option<Arc<Set>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    /// Reads the set; if that fails, the one before stays.
    async fn read(&self, now: Instant) -> Attempt {
        let reply = self
            .upstream
            .ask(|client| client.get(self.url.clone()))
            .await;
        let keys = reply
            .ok()
            .filter(|reply| reply.status.is_success())
            .and_then(|reply| self.keys(&reply.body));
        let well = keys.is_some();
        if let Some(keys) = keys {
            let set = Arc::new(Set { keys, read_at: now });
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            *current = Some(set);
        }
        Attempt { at: now, well }
    }

    /// The keys of a set that can be used. What we do not know among them is
    /// passed over: providers publish keys for other uses too.
    fn keys(&self, json: &[u8]) -> Option<HashMap<String, Key>> {
        #[derive(Deserialize)]
        struct Published {
            keys: Vec<Value>,
        }
        let Published { keys } = serde_json::from_slice(json).ok()?;
        let usable = keys.into_iter().filter_map(|key| self.usable(key));
        Some(usable.collect())
    }

    fn usable(&self, key: Value) -> Option<(String, Key)> {
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        if !matches!(
            jwk.common.public_key_use,
            None | Some(PublicKeyUse::Signature)
        ) {
            return None;
        }
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            _ => return None,
        };
        let meant_for = jwk.common.key_algorithm.map(|meant| meant.to_string());
        let fits = self.algorithms.contains(&algorithm)
            && meant_for.is_none_or(|meant| meant == format!("{algorithm:?}"));
        if !fits {
            return None;
        }
        let key = Arc::new(DecodingKey::from_jwk(&jwk).ok()?);
        Some((jwk.common.key_id?, Key { algorithm, key }))
    }
}
