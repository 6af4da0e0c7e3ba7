//! Sending what was scheduled, once it is due.

use super::call::{Call, RELEASE};
use super::{Messages, Released};
use crate::error::Error;
use crate::keys::Partition;
use crate::time::Timestamp;

impl Messages {
    /// Publishes up to `batch` scheduled messages of this partition that are due,
    /// the earliest first: each once, whoever else does this at the same time.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn release(&self, partition: Partition, batch: usize) -> Result<Released, Error> {
        let call = Call::new(&RELEASE)
            .keys(self.keys.scheduled(partition))
            .arg(self.keys.base(partition))
            .arg(self.keys.channel_prefix())
            .arg(batch)
            .arg(self.retention());
        let (seen, released, oldest): (u64, u64, String) = call.run(&self.redis).await?;
        Ok(Released {
            seen,
            released,
            oldest_due: oldest.parse().ok().map(Timestamp::from_millis),
        })
    }
}
