//! Entries of tenants that have pushed as much as they may, or for whom something
//! failed: they wait here, and hold up nobody else.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redis::{ErrorKind, RedisError, cmd};

use super::{Entry, GROUP, Intake};
use crate::error::Error;
use crate::message::rules::Rules;
use crate::quota::{Exceeded, Kind, Refused};
use crate::topic::Tenant;

/// When a push may be.
pub(super) enum Let {
    Now,
    Later(Duration),
    /// And why.
    Never(String),
}

/// What waits, by tenant.
#[derive(Default)]
pub(super) struct Held(HashMap<Tenant, (Instant, Vec<Entry>)>);

impl Held {
    /// Holds entries of one tenant, after those that wait already.
    pub(super) fn hold(&mut self, entries: &[Entry], until: Instant) {
        let Some(first) = entries.first() else { return };
        let of_tenant = self.0.entry(first.tenant.clone());
        let (at, held) = of_tenant.or_insert((until, Vec::new()));
        *at = until;
        for entry in entries {
            if held.iter().all(|other| other.id != entry.id) {
                held.push(entry.clone());
            }
        }
    }

    /// Whether some of the tenant wait.
    pub(super) fn holds(&self, tenant: &Tenant) -> bool {
        self.0.contains_key(tenant)
    }

    /// How long it takes until some need not wait any more.
    pub(super) fn next(&self, now: Instant) -> Option<Duration> {
        let times = self.0.values().map(|(at, _)| *at);
        times.min().map(|at| at.saturating_duration_since(now))
    }

    /// Lets those go that need not wait any more.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Entry> {
        let due = self.0.extract_if(|_, (at, _)| *at <= now);
        due.flat_map(|(_, (_, entries))| entries).collect()
    }
}

impl Intake {
    /// What must hold of this tenant's pushes.
    pub(super) async fn rules_of(&self, tenant: &Tenant) -> Result<Rules, Error> {
        let quota = self.quotas.of(tenant).await.map_err(|why| unknown(&why))?;
        let payload = quota.limit(Kind::Payload).map(|bytes| bytes as usize);
        Ok(Rules {
            text: payload.unwrap_or(self.rules.text),
            ..self.rules.clone()
        })
    }

    /// Whether the tenant may push so many messages, which then count.
    pub(super) async fn may_push(&self, tenant: &Tenant, messages: usize) -> Result<Let, Error> {
        if messages == 0 {
            return Ok(Let::Now);
        }
        match self.quotas.push(tenant, messages).await {
            Ok(()) => Ok(Let::Now),
            Err(Refused::Exceeded(
                exceeded @ Exceeded {
                    retry_after: None, ..
                },
            )) => Ok(Let::Never(exceeded.to_string())),
            Err(Refused::Exceeded(Exceeded {
                retry_after: Some(wait),
                ..
            })) => Ok(Let::Later(wait)),
            Err(Refused::Unavailable(why)) => Err(unknown(&why)),
        }
    }

    /// Tells Redis that what is held here is not left by somebody who died.
    pub(super) async fn keep_held(&self) -> Result<(), Error> {
        for (tenant, (_, entries)) in &self.held.0 {
            let mut keep = cmd("XCLAIM");
            keep.arg(self.keys.intake(tenant)).arg(GROUP);
            keep.arg(&self.worker).arg(0);
            for entry in entries {
                keep.arg(&entry.id);
            }
            // Without counting it as taken once more.
            self.redis.query::<Vec<String>>(keep.arg("JUSTID")).await?;
        }
        Ok(())
    }
}

/// A failure that others were told of too.
fn unknown(why: &Error) -> Error {
    let why = why.to_string();
    Error::Redis(RedisError::from((
        ErrorKind::Io,
        "quotas cannot be read",
        why,
    )))
}
