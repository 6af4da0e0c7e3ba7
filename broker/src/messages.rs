//! Where pushed messages are kept, and every change of their state.
//!
//! A tenant's messages of one partition stand in one log (a stream); a
//! recipient has a sorted set of what is pending and one of what has ended. A
//! message leaves the first exactly once, and the script that takes it out
//! enters it in the second, so no message ends twice and none ends in two ways.
//! Every change is one script on one hash slot, timed by Redis' clock.
//!
//! What ends a pending message:
//! * a mark, once a frame was flushed: delivered. Between its expiry and the
//!   sweep a mark still counts, since the frame left in time; nothing new is
//!   sent then, and readers are already shown the message as cancelled;
//! * the sweep, some seconds after the expiry: cancelled, as of the expiry;
//! * a cancellation, a revocation, or a newer message over the cap: cancelled,
//!   as of now, or as of the expiry if that has passed;
//! * for the copy of a global message without expiry, the end of that message's
//!   life: as an expiry, though the copy shows none;
//! * the retention, counted from creation: past it a message is no more. No
//!   reading finds it, whatever its state was, so nothing stays pending forever.
//!
//! A scheduled message is stored at once and pending; nothing sends it before it is
//! released, which is one script that gives it its place among what is sent to
//! its recipient and publishes it. What was due before it is pushed is released
//! as it is stored.
//!
//! A global message has a log of its own, and each recipient that gets it a copy
//! without text, made at most once. A push that repeats an idempotency key gets
//! the first message as it is by then, also if it asks for something else.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;

use self::call::{CHECK_IN, Call};
use crate::error::Error;
use crate::keys::{Keys, Partition};
use crate::message::{Message, MessageId};
use crate::quota::{Kind, Quota, Quotas};
use crate::time::Timestamp;
use crate::topic::{Tenant, Topic};
use crate::topology::Redis;
use crate::trace::Tracing;

mod call;
mod row;
mod push;
mod backlog;
mod end;
mod list;
mod sweep;
mod release;

/// How many partitions are asked at the same time by what asks several.
const AT_ONCE: usize = 16;
/// How long a revocation is remembered: longer than any token lives.
const REVOCATION_KEPT: Duration = Duration::from_secs(31 * 24 * 3600);

/// The message store. Cheap to clone.
#[derive(Clone)]
pub struct Messages {
    redis: Redis,
    keys: Keys,
    limits: Limits,
    quotas: Option<Quotas>,
    tracing: Tracing,
    crowded_out: IntCounter,
}

/// How much is kept, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pending messages per recipient, at least 1; one more cancels the oldest.
    /// Also the active global messages per tenant, of which the oldest is then
    /// not sent any more. Default 1,000.
    pub pending: usize,
    /// How long after its creation a message can be read, at least a
    /// millisecond. Default 30 days.
    pub retention: Duration,
    /// How long a global message without expiry is sent to recipients that
    /// connect, and its copies wait; zero sends it only to those connected, whose
    /// copies wait a minute to be acknowledged. Default 24 hours.
    pub global_default_life: Duration,
    /// How long an idempotency key is remembered, at least a millisecond.
    /// Default 24 hours.
    pub idempotency: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self {
            pending: 1000,
            retention: 30 * day,
            global_default_life: day,
            idempotency: day,
        }
    }
}

/// What a socket has not been sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsent<'a> {
    /// The label the socket was registered with.
    pub label: Option<&'a str>,
    /// Only what is younger than this.
    pub after: Option<MessageId>,
    /// When the socket was opened, by Redis' clock: what was created from then
    /// on is the socket's even if another socket has taken it. `None`: only
    /// what is pending.
    pub since: Option<Timestamp>,
}

/// A recipient coming in, see [`Messages::check_in`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckIn {
    /// By Redis' clock.
    pub now: Timestamp,
    /// Tokens issued up to then are revoked.
    pub revoked_at: Option<Timestamp>,
}

/// How much to read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most this many messages.
    pub count: usize,
    /// At most about this many bytes of text, but at least one message.
    pub bytes: usize,
}

/// What waits for a recipient, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The messages, all pending and unexpired.
    pub messages: Vec<Message>,
    /// If there are further ones: the last that was looked at, to read on after.
    pub more: Option<MessageId>,
    /// How many were left out because they cannot be read. Each is logged.
    pub unreadable: u64,
    /// Up to when the recipient's tokens are revoked, if they are: sockets asked
    /// for before have no right to any of this, nor to stay.
    pub revoked_at: Option<Timestamp>,
}

/// That a message was flushed to one of its recipient's sockets, or acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The recipient's topic.
    pub recipient: Topic,
    /// The message.
    pub id: MessageId,
}

/// What a [`Mark`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Marked {
    /// The message is delivered as of now.
    Delivered,
    /// It was delivered before.
    Already,
    /// It was cancelled before, or is past its retention.
    Cancelled,
}

/// A page of a list, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The items. There may be fewer than asked for, even none, with more to come.
    pub items: Vec<T>,
    /// Continue before this; none if the list ends here.
    pub next: Option<MessageId>,
}

/// A stretch of time, ends included; an absent end is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Not before this.
    pub from: Option<Timestamp>,
    /// Not after this.
    pub to: Option<Timestamp>,
}

/// Which messages to list; all conditions hold for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessagesFilter {
    /// Of this recipient.
    pub recipient: Option<Arc<str>>,
    /// Copies of this global message.
    pub global_id: Option<MessageId>,
    /// Created within.
    pub created: Span,
    /// Expiring within; if an end is set, those without expiry are left out.
    pub expires: Span,
    /// With this label.
    pub label: Option<Arc<str>>,
}

/// Which global messages to list; all conditions hold for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalFilter {
    /// Created within.
    pub created: Span,
    /// Expiring within; if an end is set, those without expiry are left out.
    pub expires: Span,
    /// With this label.
    pub label: Option<Arc<str>>,
}

/// What one sweep of a partition did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Due expiries looked at; as many as the batch allows means there are more.
    pub seen: u64,
    /// Messages cancelled.
    pub cancelled: u64,
    /// The earliest expiry among those seen.
    pub oldest_due: Option<Timestamp>,
}

/// What one look for scheduled messages that are due did in a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Due ones looked at; as many as the batch allows means there are more.
    pub seen: u64,
    /// Messages published.
    pub released: u64,
    /// The earliest time of delivery among those seen.
    pub oldest_due: Option<Timestamp>,
}

/// What a revocation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Pending messages cancelled.
    pub cancelled: u64,
    /// Tokens issued up to this are no longer valid.
    pub at: Timestamp,
}

/// How much one trim of a partition removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Messages past their retention.
    pub messages: u64,
    /// Global messages past twice the retention, when no copy is left.
    pub globals: u64,
}

impl Messages {
    /// Messages kept in `redis` under the names of `keys`.
    pub fn new(redis: Redis, keys: Keys, limits: Limits) -> Self {
        Self {
            redis,
            keys,
            limits,
            quotas: None,
            tracing: Tracing::default(),
            crowded_out: IntCounter::new("crowded_out", "For who does not ask.")
                .expect("the name is a constant"),
        }
    }

    /// The same, counting in `crowded_out` the messages that it cancels because
    /// their recipients have too many pending.
    #[must_use]
    pub fn counting(mut self, crowded_out: IntCounter) -> Self {
        self.crowded_out = crowded_out;
        self
    }

    /// The same, with quotas of tenants before the limits.
    #[must_use]
    pub fn within(mut self, quotas: Quotas) -> Self {
        self.quotas = Some(quotas);
        self
    }

    /// The same, recording what is pushed for requests that are recorded.
    #[must_use]
    pub fn traced(mut self, tracing: Tracing) -> Self {
        self.tracing = tracing;
        self
    }

    /// How many messages may wait for a recipient of the tenant.
    async fn most_pending(&self, tenant: &Tenant) -> usize {
        let quota = match &self.quotas {
            // If it cannot be read, nor can what it is for.
            Some(quotas) => quotas.of(tenant).await.unwrap_or_default(),
            None => Quota::default(),
        };
        let pending = quota.limit(Kind::Pending);
        // One at least: what is pushed now is not crowded out by itself.
        pending.map_or(self.limits.pending, |pending| pending.max(1) as usize)
    }

    /// A recipient comes in: the time by Redis' clock, and up to when its tokens
    /// are revoked, if any are.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn check_in(&self, recipient: &Topic) -> Result<CheckIn, Error> {
        let call = Call::new(&CHECK_IN).keys(self.keys.revoked(recipient));
        let (now, revoked_at): (i64, Option<i64>) = call.run(&self.redis).await?;
        Ok(CheckIn {
            now: Timestamp::from_millis(now),
            revoked_at: revoked_at.map(Timestamp::from_millis),
        })
    }

    /// A message of this tenant, if there is one of this id.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn message(&self, tenant: &Tenant, id: MessageId) -> Result<Option<Message>, Error> {
        Ok(self.read(tenant, &[id]).await?.pop())
    }

    /// The retention in milliseconds, as scripts take it.
    fn retention(&self) -> u64 {
        millis(self.limits.retention)
    }

    /// The keys of a recipient's log, pending messages, history, of its partition's
    /// expiries and tenants, and of what was released to it.
    fn recipient_keys(&self, recipient: &Topic, tenant: &Tenant) -> [String; 6] {
        let partition = recipient.partition();
        [
            self.keys.log(partition, tenant),
            self.keys.pending(recipient),
            self.keys.history(recipient),
            self.keys.expiring(partition),
            self.keys.tenants(partition),
            self.keys.released(recipient),
        ]
    }

    fn log_keys(&self, partition: Partition, tenant: &Tenant) -> [String; 2] {
        [
            self.keys.log(partition, tenant),
            self.keys.expiring(partition),
        ]
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
