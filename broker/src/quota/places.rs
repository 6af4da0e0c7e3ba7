//! How many sockets tenants have in the whole cluster, and whether there may be one
//! more.
//!
//! A gateway counts its own and tells Redis; whoever asks for a place is told what the
//! others said. Only tenants with a quota are counted there. A gateway that dies is
//! forgotten after a while, and until then its sockets still count.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::Script;
use tracing::warn;

use super::{Exceeded, Kind, Quotas, Refused};
use crate::error::Error;
use crate::topic::Tenant;

/// Notes how many sockets a gateway has, and asks whether that is within the quota.
static NOTE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("note.lua")));

/// A gateway says this often how many sockets it has.
const INTERVAL: Duration = Duration::from_secs(5);
/// What a gateway said longer ago than this does not count, in milliseconds.
const STALE: u64 = 15_000;
/// Who was told that there is no place is told so again for so long without asking,
/// unless one becomes free here.
const FULL_FOR: Duration = Duration::from_secs(1);

/// The sockets that a gateway has of each tenant. Cheap to clone.
#[derive(Clone)]
pub struct Places {
    inner: Arc<Inner>,
}

struct Inner {
    quotas: Quotas,
    node: Box<str>,
    /// Never held across an await.
    counts: Mutex<HashMap<Tenant, Count>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    sockets: usize,
    /// Whether Redis was told of some.
    told: bool,
    full_until: Option<Instant>,
}

/// A socket's place among those of its tenant; dropping it frees the place.
pub struct Place {
    inner: Arc<Inner>,
    tenant: Tenant,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Place({})", self.tenant)
    }
}

impl Places {
    /// Those of the gateway called `node`.
    pub fn new(quotas: Quotas, node: &str) -> Self {
        let inner = Inner {
            quotas,
            node: node.into(),
            counts: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// A place for one more socket of the tenant.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn place(&self, tenant: &Tenant) -> Result<Place, Refused> {
        let quota = self.inner.quotas.of(tenant).await;
        let quota = quota.map_err(Refused::Unavailable)?;
        let place = self.count_one(tenant);
        let Some(limit) = quota.limit(Kind::Sockets) else {
            return Ok(place);
        };
        let exceeded = Refused::Exceeded(Exceeded {
            kind: Kind::Sockets,
            limit,
            retry_after: Some(INTERVAL),
        });
        let here = self.inner.counts().get(tenant).copied().unwrap_or_default();
        let full = here.full_until.is_some_and(|until| Instant::now() < until);
        if full || (limit as usize) < here.sockets {
            return Err(exceeded);
        }
        if self.note(tenant, here.sockets, Some(limit)).await? {
            return Ok(place);
        }
        // Dropped first: a place that becomes free says that there is one.
        drop(place);
        if let Some(count) = self.inner.counts().get_mut(tenant) {
            count.full_until = Some(Instant::now() + FULL_FOR);
        }
        Err(exceeded)
    }

    fn count_one(&self, tenant: &Tenant) -> Place {
        let mut counts = self.inner.counts();
        counts.entry(tenant.clone()).or_default().sockets += 1;
        Place {
            inner: Arc::clone(&self.inner),
            tenant: tenant.clone(),
        }
    }

    /// Tells Redis how many sockets there are here; whether that is within the limit.
    async fn note(
        &self,
        tenant: &Tenant,
        sockets: usize,
        limit: Option<u32>,
    ) -> Result<bool, Error> {
        let quotas = &self.inner.quotas;
        let mut note = NOTE.key(quotas.keys.socket_counts(tenant));
        note.arg(&*self.inner.node).arg(sockets).arg(STALE);
        note.arg(limit.map_or(String::new(), |limit| limit.to_string()));
        let within: u8 = quotas.redis.invoke(&note).await?;
        let within = within == 1;
        if let Some(count) = self.inner.counts().get_mut(tenant) {
            count.told |= within;
        }
        Ok(within)
    }

    /// Tells Redis of all tenants with a quota, every few seconds, until `stop`
    /// resolves; and then that this gateway has no sockets any more.
    pub async fn announce(self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            let ended = tokio::select! {
                _ = ticks.tick() => false,
                () = &mut stop => true,
            };
            let told = self.tell_all(ended).await;
            // Only a change is news.
            if let (Err(error), false) = (&told, failing) {
                warn!(%error, "it cannot be told how many sockets tenants have here");
            }
            failing = told.is_err();
            if ended {
                return;
            }
        }
    }

    async fn tell_all(&self, ended: bool) -> Result<(), Arc<Error>> {
        let counts: Vec<_> = {
            let mut counts = self.inner.counts();
            counts.retain(|_, count| 0 < count.sockets || count.told);
            let all = counts
                .iter()
                .map(|(tenant, count)| (tenant.clone(), *count));
            all.collect()
        };
        for (tenant, count) in counts {
            let sockets = if ended { 0 } else { count.sockets };
            let quota = self.inner.quotas.of(&tenant).await?;
            let limited = quota.limit(Kind::Sockets).is_some();
            if limited || count.told {
                self.note(&tenant, sockets, None).await?;
            }
            if (sockets == 0 || !limited)
                && let Some(count) = self.inner.counts().get_mut(&tenant)
            {
                count.told = false;
            }
        }
        Ok(())
    }
}

impl Inner {
    fn counts(&self) -> MutexGuard<'_, HashMap<Tenant, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(count) = self.inner.counts().get_mut(&self.tenant) {
            count.sockets -= 1;
            count.full_until = None;
        }
    }
}
