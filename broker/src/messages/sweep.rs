//! Ending what expired, forgetting what is past its retention.

use std::time::Duration;

use super::call::{Call, SWEEP, TRIM_GLOBALS};
use super::{Messages, Swept, Trimmed, millis};
use crate::error::Error;
use crate::keys::Partition;
use crate::time::Timestamp;
use crate::topic::{Tenant, Topic};

/// Entries trimmed per command: about a millisecond of Redis' time.
const TRIMMED_PER_COMMAND: u64 = 10_000;

impl Messages {
    /// Cancels up to `batch` messages of this partition that expired more than
    /// `grace` ago, as of their expiry. The grace lets a mark arrive that was
    /// on its way when the message expired.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn sweep(
        &self,
        partition: Partition,
        grace: Duration,
        batch: usize,
    ) -> Result<Swept, Error> {
        let call = Call::new(&SWEEP)
            .keys(self.keys.expiring(partition))
            .arg(self.keys.base(partition))
            .arg(millis(grace))
            .arg(batch)
            .arg(self.retention());
        let (seen, cancelled, oldest): (u64, u64, String) = call.run(&self.redis).await?;
        Ok(Swept {
            seen,
            cancelled,
            oldest_due: oldest.parse().ok().map(Timestamp::from_millis),
        })
    }

    /// Removes from this partition what is past its retention.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn trim(&self, partition: Partition) -> Result<Trimmed, Error> {
        let members = redis::Cmd::smembers(self.keys.tenants(partition));
        let tenants: Vec<String> = self.redis.query(&members).await?;
        let mut trimmed = Trimmed::default();
        if tenants.is_empty() {
            return Ok(trimmed);
        }
        let oldest = self.redis.time().await? - self.limits.retention;
        for tenant in tenants {
            let tenant: Tenant = tenant.parse().map_err(|_| Error::Corrupt("tenant"))?;
            trimmed.messages += self.trim_log(partition, &tenant, oldest).await?;
            if Topic::all(&tenant).partition() == partition {
                let call = Call::new(&TRIM_GLOBALS)
                    .keys(self.keys.global_log(&tenant))
                    .keys(self.keys.active_globals(&tenant))
                    .arg(self.retention());
                trimmed.globals += call.run::<u64>(&self.redis).await?;
            }
        }
        Ok(trimmed)
    }

    async fn trim_log(
        &self,
        partition: Partition,
        tenant: &Tenant,
        oldest: Timestamp,
    ) -> Result<u64, Error> {
        let log = self.keys.log(partition, tenant);
        let oldest = oldest.millis().max(0);
        let mut trimmed = 0;
        loop {
            let mut whole_nodes = redis::cmd("XTRIM");
            whole_nodes.arg(&log).arg("MINID").arg("~").arg(oldest);
            whole_nodes.arg("LIMIT").arg(TRIMMED_PER_COMMAND);
            let some: u64 = self.redis.query(&whole_nodes).await?;
            trimmed += some;
            if some == 0 {
                break;
            }
        }
        let mut rest = redis::cmd("XTRIM");
        rest.arg(&log).arg("MINID").arg("=").arg(oldest);
        Ok(trimmed + self.redis.query::<u64>(&rest).await?)
    }
}
