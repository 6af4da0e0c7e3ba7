//! Ending what waits: cancellations and revocations.

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::call::{CANCEL, CANCEL_COPIES, Call, REVOKE};
use super::row::{Row, hex, message};
use super::{AT_ONCE, Messages, REVOCATION_KEPT, Revoked, millis};
use crate::error::Error;
use crate::event::revoked_payload;
use crate::keys::{Keys, Partition};
use crate::message::{GlobalMessage, Message, MessageId};
use crate::time::Timestamp;
use crate::topic::{Tenant, Topic};

impl Messages {
    /// Cancels a message if it is pending, and returns it as it is then; none
    /// if this tenant has no such message.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn cancel(&self, tenant: &Tenant, id: MessageId) -> Result<Option<Message>, Error> {
        let call = Call::new(&CANCEL)
            .keys(&self.log_keys(id.partition, tenant))
            .arg(self.keys.base(id.partition))
            .arg(tenant.as_str())
            .arg(hex(id))
            .arg(self.retention());
        let row: Option<Row> = call.run(&self.redis).await?;
        let found = row.map(|row| message(row, id.partition)).transpose()?;
        let found = found.into_iter().collect();
        Ok(self.fill_in(tenant, found).await?.pop())
    }

    /// Ends the sending of a global message and cancels its pending copies, and
    /// returns it; none if this tenant has no such global message.
    ///
    /// # Errors
    /// If Redis fails. Some copies may have been cancelled; cancelling again
    /// completes it.
    pub async fn cancel_global(
        &self,
        tenant: &Tenant,
        id: MessageId,
    ) -> Result<Option<GlobalMessage>, Error> {
        if id.partition != Topic::all(tenant).partition() {
            return Ok(None);
        }
        let Some(global) = self.globals(tenant, &[id]).await?.remove(&id) else {
            return Ok(None);
        };
        let mut forget = redis::pipe();
        let scheduled = self.keys.scheduled(id.partition);
        forget.zrem(scheduled, format!("{} {tenant}", hex(id)));
        forget.hdel(self.keys.active_globals(tenant), hex(id));
        self.redis.pipeline::<()>(&forget).await?;
        stream::iter(Partition::every())
            .map(|partition| self.cancel_copies(partition, tenant, id))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(Some(global))
    }

    /// Cancels everything that waits for a recipient, ends its tokens issued so
    /// far, and tells the gateways to close its sockets.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn revoke(&self, recipient: &Topic) -> Result<Revoked, Error> {
        let call = Call::new(&REVOKE)
            .keys(self.keys.pending(recipient))
            .keys(self.keys.history(recipient))
            .keys(self.keys.expiring(recipient.partition()))
            .keys(self.keys.revoked(recipient))
            .arg(Keys::rest(recipient))
            .arg(self.keys.channel(recipient))
            .arg(revoked_payload())
            .arg(self.retention())
            .arg(millis(REVOCATION_KEPT));
        let (cancelled, at) = call.run(&self.redis).await?;
        Ok(Revoked {
            cancelled,
            at: Timestamp::from_millis(at),
        })
    }

    async fn cancel_copies(
        &self,
        partition: Partition,
        tenant: &Tenant,
        id: MessageId,
    ) -> Result<(), Error> {
        let mut cursor = "0".to_owned();
        loop {
            let call = Call::new(&CANCEL_COPIES)
                .keys(self.keys.global_copies(partition, tenant, id))
                .keys(self.keys.expiring(partition))
                .arg(self.keys.base(partition))
                .arg(tenant.as_str())
                .arg(self.retention())
                .arg(cursor);
            cursor = call.run(&self.redis).await?;
            if cursor == "0" {
                return Ok(());
            }
        }
    }
}
