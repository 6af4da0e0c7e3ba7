//! What a tenant may use of a cluster that it shares with others.
//!
//! A quota is a field of a hash of the tenant; what is not there is as the settings
//! of each process say. It is remembered for 30 seconds, and forgotten sooner when
//! somebody says on the control channel that it changed.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::cmd;

pub use self::places::{Place, Places};
use self::stock::Stocks;
use crate::bus::Bus;
use crate::control::Control;
use crate::error::Error;
use crate::keys::Keys;
use crate::recent::{KNOWN_FOR, Recent};
use crate::topic::Tenant;
use crate::topology::Redis;

mod places;
mod stock;
#[cfg(test)]
mod tests;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Open sockets, in the whole cluster.
    Sockets,
    /// Messages pushed per second: one for each recipient, and one for a global one.
    Pushes,
    /// Messages that wait for one recipient.
    Pending,
    /// Bytes of the text of a message.
    Payload,
}

impl Kind {
    /// All of them.
    pub const EVERY: [Self; 4] = [Self::Sockets, Self::Pushes, Self::Pending, Self::Payload];

    /// Its name: the field of the hash, on the command line, and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::Pushes => "pushes",
            Self::Pending => "pending",
            Self::Payload => "payload",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names nothing that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected sockets, pushes, pending or payload")]
pub struct NoKind;

impl FromStr for Kind {
    type Err = NoKind;

    fn from_str(text: &str) -> Result<Self, NoKind> {
        let mut every = Self::EVERY.into_iter();
        every.find(|kind| kind.as_str() == text).ok_or(NoKind)
    }
}

/// A tenant's quotas; those that are not set are as settings say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    limits: [Option<u32>; Kind::EVERY.len()],
}

impl Quota {
    /// How much of this there may be, if that is limited for the tenant.
    pub fn limit(&self, kind: Kind) -> Option<u32> {
        self.limits[kind as usize]
    }

    /// The same with another limit, or none.
    #[must_use]
    pub fn with(mut self, kind: Kind, limit: Option<u32>) -> Self {
        self.limits[kind as usize] = limit;
        self
    }

    /// Whether nothing is limited for the tenant.
    pub fn is_empty(&self) -> bool {
        self.limits.iter().all(Option::is_none)
    }

    fn from_fields(fields: &HashMap<String, String>) -> Result<Self, Error> {
        let mut quota = Self::default();
        for kind in Kind::EVERY {
            // What cannot be read must not turn into no limit.
            let read = |text: &String| text.parse().map_err(|_| Error::Corrupt("quota"));
            let limit = fields.get(kind.as_str()).map(read).transpose()?;
            quota = quota.with(kind, limit);
        }
        Ok(quota)
    }
}

/// More than a tenant may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which of its quotas.
    pub kind: Kind,
    /// How much that allows.
    pub limit: u32,
    /// When the same may succeed; `None` if it never does.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, limit, .. } = self;
        match (kind, self.retry_after) {
            (Kind::Sockets, _) => write!(f, "the tenant may have {limit} sockets"),
            (Kind::Pushes, Some(wait)) => {
                let seconds = wait.as_secs_f64();
                write!(
                    f,
                    "the tenant may push {limit} messages per second; try again in {seconds:.1} s"
                )
            }
            (Kind::Pushes, None) => write!(
                f,
                "the tenant may push {limit} messages per second, and no more at once"
            ),
            (Kind::Pending, _) => write!(f, "{limit} messages may wait for a recipient"),
            (Kind::Payload, _) => write!(f, "a message may have {limit} bytes"),
        }
    }
}

/// Why something that is limited is not let through.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It would be too much.
    #[error("{0}")]
    Exceeded(Exceeded),
    /// Nobody can tell at the moment.
    #[error("quotas cannot be checked: {0}")]
    Unavailable(#[source] Arc<Error>),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

/// The quotas of all tenants. Cheap to clone; all clones share what they remember.
#[derive(Clone)]
pub struct Quotas {
    redis: Redis,
    keys: Keys,
    bus: Bus,
    recent: Arc<Recent<Quota>>,
    stocks: Arc<Stocks>,
}

impl Quotas {
    /// The quotas kept in this Redis.
    pub fn new(redis: Redis, keys: Keys) -> Self {
        Self {
            bus: Bus::new(redis.clone(), keys.clone()),
            redis,
            keys,
            recent: Arc::default(),
            stocks: Arc::default(),
        }
    }

    /// What the tenant may use, as of at most 30 seconds ago.
    ///
    /// # Errors
    /// If Redis cannot be reached and nothing is remembered.
    pub async fn of(&self, tenant: &Tenant) -> Result<Quota, Arc<Error>> {
        let read = async {
            let quota = self.read(tenant).await?;
            Ok(Some((quota, KNOWN_FOR)))
        };
        let known = self
            .recent
            .get(tenant.as_str(), Instant::now(), read)
            .await?;
        Ok(known.map(|quota| *quota).unwrap_or_default())
    }

    /// What the tenant may use, as it is now.
    ///
    /// # Errors
    /// If Redis cannot be reached, or holds what is no quota.
    pub async fn read(&self, tenant: &Tenant) -> Result<Quota, Error> {
        let fields: HashMap<String, String> = self
            .redis
            .query(cmd("HGETALL").arg(self.keys.quota(tenant)))
            .await?;
        Quota::from_fields(&fields)
    }

    /// Changes some of a tenant's quotas, for every process within about a second;
    /// `None` ends one. Returns all that hold then.
    ///
    /// # Errors
    /// If Redis cannot be reached. Some may then be changed, and some processes go by
    /// the others for up to 30 seconds; to set them again does no harm.
    pub async fn set(
        &self,
        tenant: &Tenant,
        changes: &[(Kind, Option<u32>)],
    ) -> Result<Quota, Error> {
        let key = self.keys.quota(tenant);
        let listed = self.keys.quotas();
        // Listed first: whatever happens in between, no quota is missing from the list.
        self.redis
            .query::<()>(cmd("SADD").arg(&listed).arg(tenant.as_str()))
            .await?;
        let mut pipe = redis::pipe();
        for (kind, limit) in changes {
            match limit {
                Some(limit) => pipe.hset(&key, kind.as_str(), limit).ignore(),
                None => pipe.hdel(&key, kind.as_str()).ignore(),
            };
        }
        self.redis.pipeline::<()>(&pipe).await?;
        let quota = self.read(tenant).await?;
        if quota.is_empty() {
            self.redis
                .query::<()>(cmd("SREM").arg(&listed).arg(tenant.as_str()))
                .await?;
        }
        self.forget(tenant);
        let tenant = tenant.as_str().to_owned();
        self.bus.tell(&Control::QuotaChanged { tenant }).await?;
        Ok(quota)
    }

    /// All tenants for whom something is limited, by name.
    ///
    /// # Errors
    /// If Redis cannot be reached, or holds what is no quota.
    pub async fn list(&self) -> Result<Vec<(Tenant, Quota)>, Error> {
        let names: Vec<String> = self
            .redis
            .query(cmd("SMEMBERS").arg(self.keys.quotas()))
            .await?;
        let mut found = Vec::new();
        for name in names {
            let tenant: Tenant = name.parse().map_err(|_| Error::Corrupt("tenant"))?;
            let quota = self.read(&tenant).await?;
            found.push((tenant, quota));
        }
        found.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        Ok(found)
    }

    /// Forgets what is remembered of a tenant, because another process changed it
    /// ([`Control::QuotaChanged`]).
    pub fn forget(&self, tenant: &Tenant) {
        self.recent.forget(tenant.as_str());
        self.stocks.forget(tenant);
    }

    /// Counts `messages` that the tenant is about to push, if it may.
    ///
    /// A tenant without a quota costs nothing. For one with a quota, this process
    /// draws a tenth of a second's worth at a time from what there is in Redis, which
    /// fills at the rate that is allowed and holds a second's worth; what it has drawn
    /// it may use within a second. So few pushes wait for a round trip, and in a second
    /// each process may let pass a tenth more than the quota.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing is counted.
    pub async fn push(&self, tenant: &Tenant, messages: usize) -> Result<(), Refused> {
        let quota = self.of(tenant).await.map_err(Refused::Unavailable)?;
        let Some(limit) = quota.limit(Kind::Pushes) else {
            return Ok(());
        };
        let key = self.keys.push_bucket(tenant);
        self.stocks
            .take(&self.redis, &key, tenant, limit, messages)
            .await
    }
}
