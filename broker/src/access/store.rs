//! How access keys are kept in Redis: a hash per key, and the set of their ids.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::cmd;

use super::scope::Scopes;
use super::{AccessError, AccessKeyInfo};
use crate::error::Error;
use crate::keys::Keys;
use crate::time::Timestamp;
use crate::topic::Tenant;
use crate::topology::Redis;

/// One key, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) digest: [u8; 32],
    pub(super) tenant: Tenant,
    pub(super) scopes: Arc<Scopes>,
    pub(super) name: Option<String>,
    /// `None` only if it stands in a file.
    pub(super) created_at: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) disabled_at: Option<Timestamp>,
    pub(super) last_used_at: Option<Timestamp>,
}

impl Record {
    /// Whether its holder may still use it.
    pub(super) fn usable(&self, now: Timestamp) -> Result<(), AccessError> {
        if self.disabled_at.is_some() {
            Err(AccessError::Disabled)
        } else if self.expires_at.is_some_and(|end| end <= now) {
            Err(AccessError::Expired)
        } else {
            Ok(())
        }
    }

    pub(super) fn info(self, id: String) -> AccessKeyInfo {
        AccessKeyInfo {
            id,
            tenant: self.tenant,
            scopes: self.scopes,
            name: self.name,
            created_at: self.created_at,
            expires_at: self.expires_at,
            disabled_at: self.disabled_at,
            last_used_at: self.last_used_at,
        }
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("digest", URL_SAFE_NO_PAD.encode(self.digest)),
            ("tenant", self.tenant.to_string()),
            ("scopes", self.scopes.to_string()),
        ];
        if let Some(name) = &self.name {
            fields.push(("name", name.clone()));
        }
        let times = [
            ("created", self.created_at),
            ("expires", self.expires_at),
            ("disabled", self.disabled_at),
            ("used", self.last_used_at),
        ];
        for (field, at) in times {
            if let Some(at) = at {
                fields.push((field, at.millis().to_string()));
            }
        }
        fields
    }

    fn from_fields(mut fields: HashMap<String, String>) -> Option<Self> {
        fn read<T: FromStr>(fields: &HashMap<String, String>, name: &str) -> Option<T> {
            fields.get(name)?.parse().ok()
        }
        // An unreadable time must not turn into none: the key would live on.
        let time = |name: &str| match fields.get(name) {
            None => Some(None),
            Some(millis) => millis
                .parse()
                .ok()
                .map(|millis| Some(Timestamp::from_millis(millis))),
        };
        let (created_at, expires_at) = (Some(time("created")??), time("expires")?);
        let (disabled_at, last_used_at) = (time("disabled")?, time("used")?);
        Some(Self {
            digest: URL_SAFE_NO_PAD
                .decode(fields.get("digest")?)
                .ok()?
                .try_into()
                .ok()?,
            tenant: read(&fields, "tenant")?,
            scopes: Arc::new(read(&fields, "scopes")?),
            name: fields.remove("name"),
            created_at,
            expires_at,
            disabled_at,
            last_used_at,
        })
    }
}

/// Reads and writes keys.
#[derive(Clone)]
pub(super) struct Store {
    redis: Redis,
    keys: Keys,
}

impl Store {
    pub(super) fn new(redis: Redis, keys: Keys) -> Self {
        Self { redis, keys }
    }

    pub(super) async fn now(&self) -> Result<Timestamp, Error> {
        self.redis.time().await
    }

    /// The id is listed first: whatever happens in between, no key that opens
    /// something is missing from the list.
    pub(super) async fn insert(&self, id: &str, record: &Record) -> Result<(), Error> {
        self.redis
            .query::<()>(cmd("SADD").arg(self.keys.access_keys()).arg(id))
            .await?;
        let mut insert = cmd("HSET");
        insert.arg(self.keys.access_key(id));
        for (field, value) in record.fields() {
            insert.arg(field).arg(value);
        }
        self.redis.query(&insert).await
    }

    pub(super) async fn ids(&self) -> Result<Vec<String>, Error> {
        self.redis
            .query(cmd("SMEMBERS").arg(self.keys.access_keys()))
            .await
    }

    pub(super) async fn find(&self, id: &str) -> Result<Option<Record>, Error> {
        let fields: HashMap<String, String> = self
            .redis
            .query(cmd("HGETALL").arg(self.keys.access_key(id)))
            .await?;
        if fields.is_empty() {
            return Ok(None);
        }
        Record::from_fields(fields)
            .map(Some)
            .ok_or(Error::Corrupt("access key"))
    }

    /// The first time stays.
    pub(super) async fn disable(&self, id: &str, at: Timestamp) -> Result<(), Error> {
        let key = self.keys.access_key(id);
        self.redis
            .query(cmd("HSETNX").arg(key).arg("disabled").arg(at.millis()))
            .await
    }

    pub(super) async fn expire(&self, id: &str, at: Timestamp) -> Result<(), Error> {
        self.set(id, "expires", at).await
    }

    pub(super) async fn used(&self, id: &str, at: Timestamp) -> Result<(), Error> {
        self.set(id, "used", at).await
    }

    async fn set(&self, id: &str, field: &str, at: Timestamp) -> Result<(), Error> {
        let key = self.keys.access_key(id);
        self.redis
            .query(cmd("HSET").arg(key).arg(field).arg(at.millis()))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_key_with_an_unreadable_time_is_no_key() {
        let record = Record {
            digest: [7; 32],
            tenant: "acme".parse().unwrap(),
            scopes: Arc::new("a:b".parse().unwrap()),
            name: None,
            created_at: Some(Timestamp::from_millis(1)),
            expires_at: Some(Timestamp::from_millis(2)),
            disabled_at: None,
            last_used_at: None,
        };
        let fields: HashMap<String, String> = record
            .fields()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        assert_eq!(Record::from_fields(fields.clone()), Some(record));
        for name in ["digest", "tenant", "scopes", "created", "expires"] {
            let mut spoilt = fields.clone();
            spoilt.insert(name.to_owned(), "?".to_owned());
            assert_eq!(Record::from_fields(spoilt), None, "{name}");
        }
    }
}
